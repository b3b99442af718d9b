//! [`Record`]: one line of a manifest.

use crate::{digest::FileDigest, entry::Entry};

/// What a snapshot holds at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Record {
    /// The entry as it was listed. Its freshness is not kept.
    pub entry: Entry,
    /// Length and hash of the content that is kept; `Some` exactly for regular files, further names of a hard-link group
    /// included.
    pub content: Option<FileDigest>,
    /// What is special about it.
    pub marks: Marks,
}

/// What is special about a [`Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct Marks {
    /// Carried forward from the base because the source could not give it.
    pub carried: bool,
    /// The content changed while it was read: it is asked for again next time, whatever size and time say.
    pub torn: bool,
}
