//! [`Content`]: the content of a file that was listed.

use super::spool::Held;
use clonepanel_core::{path::RelPath, store::SnapshotReader};
use std::{fmt, sync::Arc};

/// The content of a file that was listed.
#[derive(Debug)]
pub(crate) enum Content {
    /// It was read.
    Held(Held),
    /// It is as it was, and was not read.
    Kept(Kept),
}

/// A content that an older snapshot has.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) snapshot: Arc<dyn SnapshotReader>,
    /// Where it is in the snapshot.
    pub(crate) path: RelPath,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("path", &self.path).finish_non_exhaustive()
    }
}
