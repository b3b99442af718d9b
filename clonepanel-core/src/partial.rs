//! Where a far end keeps what arrived of a file when the connection broke, and what must be known of it elsewhere.
//!
//! Stock rsync's `--partial-dir` does the same, so either transport goes on with what the other one left.

use crate::path::RelPath;

/// The directory for it, in the file's own directory: the next push goes on from there.
pub const PARTIAL_DIR: &[u8] = b".clonepanel-partial";

/// Whether a path belongs to what is kept there: then it is no part of any tree.
#[must_use]
pub fn is_partial(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|name| name == PARTIAL_DIR)
}

/// The directory that holds the outermost directory of partial files on the way to `path`.
#[must_use]
pub fn holder(path: &RelPath) -> Option<RelPath> {
    let mut at = path.clone();
    while is_partial(at.as_bytes()) {
        at = at.parent()?;
    }
    (at != *path).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_count() {
        let path = |text: &str| RelPath::try_from(text).unwrap();
        for (text, at) in [
            (".clonepanel-partial", Some("")),
            ("a/.clonepanel-partial/b/.clonepanel-partial/c", Some("a")),
            ("a/.clonepanel-partial.txt", None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(is_partial(text.as_bytes()), at.is_some(), "{text}");
            assert_eq!(holder(&path(text)), at.map(path), "{text}");
        }
    }
}
