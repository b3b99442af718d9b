//! [`RelPath`]: the only kind of path that stores and transports exchange.

use crate::escape::Escaped;
use bytes::Bytes;
use std::{cmp::Ordering, fmt};

/// The longest path, in bytes, that is accepted from anywhere (the limit of the rsync wire and of Linux).
pub const MAX_PATH_LEN: usize = 4095;
/// The longest single name, in bytes.
pub const MAX_NAME_LEN: usize = 255;

/// A path below some root: bytes, validated once, cheap to clone.
///
/// It is relative, has no empty, `.` or `..` part, no NUL, parts of at most 255 bytes and at most 4095 bytes in all. The
/// empty path is the root itself. Paths are bytes and never assumed to be UTF-8; `Display` escapes whatever could harm a
/// terminal.
///
/// The order puts `/` before every other byte, so that a directory stands immediately before what is in it and a subtree is
/// one contiguous range.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct RelPath(Bytes);

/// Why bytes are not a [`RelPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// A part is empty: the path starts or ends with `/` or has `//`.
    #[error("path has an empty part")]
    EmptyPart,
    /// A part is `.` or `..`.
    #[error("path has a dot part")]
    DotPart,
    /// The path has a NUL byte.
    #[error("path has a NUL byte")]
    Nul,
    /// The path or one of its parts is too long.
    #[error("path is too long")]
    TooLong,
}

impl RelPath {
    /// The root itself: the empty path.
    #[must_use]
    pub const fn root() -> Self {
        Self(Bytes::new())
    }

    /// Validates `bytes`, which are kept without a copy.
    ///
    /// # Errors
    /// [`PathError`] says which rule is broken.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Ok(Self(bytes));
        }
        if bytes.len() > MAX_PATH_LEN {
            return Err(PathError::TooLong);
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        for part in bytes.split(|&b| b == b'/') {
            match part {
                b"" => return Err(PathError::EmptyPart),
                b"." | b".." => return Err(PathError::DotPart),
                part if part.len() > MAX_NAME_LEN => return Err(PathError::TooLong),
                _ => {}
            }
        }
        Ok(Self(bytes))
    }

    /// The bytes of the path.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last part; empty for the root.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|&b| b == b'/').next().unwrap_or_default()
    }

    /// The path of the directory that holds this one; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let len = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        Some(Self(self.0.slice(..len)))
    }

    /// The parts from the top; none for the root.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|part| !part.is_empty())
    }

    /// This path with `below` under it.
    ///
    /// # Errors
    /// [`PathError::TooLong`] when the result would be longer than a path may be.
    pub fn join(&self, below: &Self) -> Result<Self, PathError> {
        if self.is_root() {
            return Ok(below.clone());
        }
        if below.is_root() {
            return Ok(self.clone());
        }
        let len = self.0.len() + 1 + below.0.len();
        if len > MAX_PATH_LEN {
            return Err(PathError::TooLong);
        }
        let mut joined = Vec::with_capacity(len);
        joined.extend_from_slice(&self.0);
        joined.push(b'/');
        joined.extend_from_slice(&below.0);
        Ok(Self(joined.into()))
    }

    /// What is left of this path below `ancestor` (the root when they are equal); `None` when it is not at or below it.
    #[must_use]
    pub fn strip_prefix(&self, ancestor: &Self) -> Option<Self> {
        if ancestor.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(&ancestor.0[..])?;
        match rest.first() {
            None => Some(Self::root()),
            Some(b'/') => Some(Self(self.0.slice(ancestor.0.len() + 1..))),
            Some(_) => None,
        }
    }

    /// Whether this path is `ancestor` or below it.
    #[must_use]
    pub fn is_within(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || self.0.strip_prefix(&ancestor.0[..]).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        let shared = self.0.iter().zip(other.0.iter()).position(|(a, b)| a != b);
        let weight = |path: &Self, at: usize| if path.0[at] == b'/' { 0 } else { u16::from(path.0[at]) + 1 };
        match shared {
            Some(at) => weight(self, at).cmp(&weight(other, at)),
            None => self.0.len().cmp(&other.0.len()),
        }
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { Escaped(&self.0).fmt(f) }
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl TryFrom<&str> for RelPath {
    type Error = PathError;
    fn try_from(text: &str) -> Result<Self, PathError> {
        Self::new(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl TryFrom<&[u8]> for RelPath {
    type Error = PathError;
    fn try_from(bytes: &[u8]) -> Result<Self, PathError> {
        Self::new(Bytes::copy_from_slice(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::try_from(text).unwrap()
    }

    #[test]
    fn bad_paths_are_refused() {
        let long = "a".repeat(256);
        let deep = ["a"; 2049].join("/");
        for (text, why) in [
            ("/a", PathError::EmptyPart),
            ("a/", PathError::EmptyPart),
            ("a//b", PathError::EmptyPart),
            (".", PathError::DotPart),
            ("a/..", PathError::DotPart),
            ("a/./b", PathError::DotPart),
            ("a\0", PathError::Nul),
            (&long, PathError::TooLong),
            (&deep, PathError::TooLong),
        ] {
            assert_eq!(RelPath::try_from(text), Err(why), "{text:?}");
        }
        for text in ["", "...", "a/.b", "a/..b", &"a".repeat(255)] {
            assert!(RelPath::try_from(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_subtree_is_contiguous() {
        let mut paths: Vec<_> = ["a-", "a", "a/z", "a/b", "a0", "", "a/b/c", "a/b-"].into_iter().map(path).collect();
        paths.sort();
        let shown: Vec<_> = paths.iter().map(|p| String::from_utf8(p.as_bytes().to_vec()).unwrap()).collect();
        assert_eq!(shown, ["", "a", "a/b", "a/b/c", "a/b-", "a/z", "a-", "a0"]);
    }

    #[test]
    fn parts_and_prefixes() {
        let p = path("a/b/c");
        assert_eq!(p.name(), b"c");
        assert_eq!(p.parent(), Some(path("a/b")));
        assert_eq!(path("a").parent(), Some(RelPath::root()));
        assert_eq!(RelPath::root().parent(), None);
        assert_eq!(p.strip_prefix(&path("a")), Some(path("b/c")));
        assert_eq!(p.strip_prefix(&p), Some(RelPath::root()));
        assert_eq!(path("ab").strip_prefix(&path("a")), None);
        assert!(p.is_within(&RelPath::root()) && p.is_within(&path("a/b")) && !path("ab").is_within(&path("a")));
        assert_eq!(path("a").join(&path("b/c")), Ok(p));
        assert_eq!(RelPath::root().parts().count(), 0);
    }
}
