//! Where a path of a snapshot lies on disk.

use std::borrow::Cow;

/// Name of the manifest in a snapshot's directory.
pub(crate) const MANIFEST: &str = "manifest";
/// Where files lie whose path the file system cannot hold.
pub(crate) const OVERFLOW: &str = "overflow";

/// Finds the place of a path: mostly the path itself. What has a name longer than the file system takes, or lies where the
/// store keeps things of its own, goes to `overflow` under the hash of its path: a pure function, so every reader finds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    pub(crate) longest_name: usize,
}

impl Places {
    /// The place of what is not a directory, relative to the snapshot's directory.
    pub(crate) fn of(self, path: &[u8]) -> Cow<'_, [u8]> {
        if self.is_plain(path) {
            return Cow::Borrowed(path);
        }
        Cow::Owned(format!("{OVERFLOW}/{}", blake3::hash(path).to_hex()).into_bytes())
    }

    /// Whether a path lies where it says; a directory that does not is kept in the manifest only.
    pub(crate) fn is_plain(self, path: &[u8]) -> bool {
        let mut parts = path.split(|&b| b == b'/');
        let own = [MANIFEST.as_bytes(), OVERFLOW.as_bytes()];
        parts.clone().next().is_none_or(|first| !own.contains(&first))
            && parts.all(|part| part.len() <= self.longest_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_lie_plainly_is_moved() {
        let places = Places { longest_name: 143 };
        let long = format!("files/{}/x", "n".repeat(144));
        for (path, plain) in [
            ("", true),
            ("files/manifest", true),
            ("manifests", true),
            ("manifest", false),
            ("overflow/x", false),
            (&long, false),
        ] {
            assert_eq!(places.is_plain(path.as_bytes()), plain, "{path}");
            assert_eq!(places.of(path.as_bytes()).as_ref() == path.as_bytes(), plain, "{path}");
        }
    }
}
