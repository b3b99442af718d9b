//! [`Entry`]: one file, directory or other object of a tree, as a listing names it.

use crate::{escape::Escaped, path::RelPath, time::Timestamp};
use bytes::Bytes;
use std::{borrow::Cow, fmt};

/// The longest name of an owner or a group, in bytes.
pub const MAX_OWNER_LEN: usize = 255;

/// Whether this can be the name of an owner or a group.
pub(crate) fn is_owner_name(name: &[u8]) -> bool {
    (1..=MAX_OWNER_LEN).contains(&name.len())
}

/// One object of a tree: the same value in a listing, in a manifest and on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, below the root of the tree. The root directory itself is listed with the empty path.
    pub path: RelPath,
    /// What it is.
    pub kind: EntryKind,
    /// Owner, permissions and times.
    pub meta: EntryMeta,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A block device.
    BlockDevice(DeviceNumber),
    /// A character device.
    CharDevice(DeviceNumber),
    /// A directory.
    Dir,
    /// A named pipe.
    Fifo,
    /// A regular file.
    File {
        /// Length in bytes, as listed; the content that arrives may have another one if the file is being written.
        len: u64,
        /// For a further name of a file that was listed before: the path it was first listed under.
        hardlink_to: Option<RelPath>,
    },
    /// A Unix socket.
    Socket,
    /// A symbolic link and its text.
    Symlink(LinkTarget),
}

/// Major and minor number of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceNumber {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

/// The text of a symbolic link: bytes that may lead anywhere, so deliberately not a [`RelPath`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LinkTarget(Bytes);

impl LinkTarget {
    /// The text, if it is one: 1 to 4095 bytes without NUL.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Option<Self> {
        let bytes = bytes.into();
        ((1..=4095).contains(&bytes.len()) && !bytes.contains(&0)).then_some(Self(bytes))
    }

    /// The bytes of the text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a link with this text, standing at `at`, stays inside its tree whatever other links do.
    ///
    /// Unsafe are absolute targets, those that leave the root by counting, and those with `..` after a normal part, which
    /// another link could turn into a way out (CVE-2024-12088).
    #[must_use]
    pub fn stays_inside(&self, at: &RelPath) -> bool {
        if self.0.starts_with(b"/") {
            return false;
        }
        let mut depth = at.parts().count().saturating_sub(1);
        let mut went_down = false;
        for part in self.0.split(|&b| b == b'/') {
            match part {
                b"" | b"." => {}
                b".." if went_down || depth == 0 => return false,
                b".." => depth -= 1,
                _ => went_down = true,
            }
        }
        true
    }
}

impl fmt::Display for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl fmt::Debug for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Escaped(&self.0), f)
    }
}

/// Owner, permissions and times of an [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntryMeta {
    /// Permission bits with setuid, setgid and sticky: at most 0o7777.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Name of the owner, where known (1 to 255 bytes).
    pub user: Option<Bytes>,
    /// Name of the group, where known (1 to 255 bytes).
    pub group: Option<Bytes>,
    /// Time of the last change of content.
    pub mtime: Timestamp,
    /// What is known about changes that size and `mtime` do not show.
    pub freshness: Freshness,
}

/// What a listing knows about a change since the scan that the request named ([`crate::transport::PullRequest::since`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freshness {
    /// The change time shows that neither content nor metadata were touched since then.
    Settled,
    /// The change time moved since then, or is too young to be trusted: equal size and time prove nothing.
    Touched,
    /// Nothing is known: only size and time can be compared.
    #[default]
    Unknown,
}

impl Entry {
    /// The entry as a snapshot keeps it: without the name of an owner or group that is empty or longer than
    /// [`MAX_OWNER_LEN`].
    #[must_use]
    pub fn keepable(&self) -> Cow<'_, Self> {
        let is_odd = |name: &Option<Bytes>| name.as_ref().is_some_and(|name| !is_owner_name(name));
        if !is_odd(&self.meta.user) && !is_odd(&self.meta.group) {
            return Cow::Borrowed(self);
        }
        let mut kept = self.clone();
        kept.meta.user.take_if(|name| !is_owner_name(name));
        kept.meta.group.take_if(|name| !is_owner_name(name));
        Cow::Owned(kept)
    }

    /// A directory with mode 0755, for tests and made-up parents.
    #[must_use]
    pub fn dir(path: RelPath) -> Self {
        Self { path, kind: EntryKind::Dir, meta: EntryMeta { mode: 0o755, ..EntryMeta::default() } }
    }

    /// A regular file with mode 0644.
    #[must_use]
    pub fn file(path: RelPath, len: u64, mtime: Timestamp) -> Self {
        let meta = EntryMeta { mode: 0o644, mtime, ..EntryMeta::default() };
        Self { path, kind: EntryKind::File { len, hardlink_to: None }, meta }
    }

    /// Length of a regular file, in bytes; `None` for everything else.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // Most entries have no length at all.
    pub const fn len(&self) -> Option<u64> {
        match self.kind {
            EntryKind::File { len, .. } => Some(len),
            _ => None,
        }
    }

    /// Whether this is a regular file whose content travels (not a further name of another one).
    #[must_use]
    pub const fn has_content(&self) -> bool {
        matches!(self.kind, EntryKind::File { hardlink_to: None, .. })
    }

    /// Whether this is a directory.
    #[must_use]
    pub const fn is_dir(&self) -> bool {
        matches!(self.kind, EntryKind::Dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_out_are_seen() {
        let at = RelPath::try_from("a/b/link").unwrap();
        for (text, inside) in [
            ("c", true),
            ("../x", true),
            ("../../x", true),
            ("../../../x", false),
            ("/etc/passwd", false),
            ("c/../x", false),
            ("c/..", false),
            ("./../x", true),
            (".", true),
        ] {
            assert_eq!(LinkTarget::new(text).unwrap().stays_inside(&at), inside, "{text}");
        }
        assert!(!LinkTarget::new("../x").unwrap().stays_inside(&RelPath::try_from("link").unwrap()));
    }
}
