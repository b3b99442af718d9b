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

impl Kept {
    /// All of it; `None` when it cannot be had, or is not what was stored.
    pub(crate) async fn read(&self) -> Option<Vec<u8>> {
        let mut stream = self.snapshot.open(&self.path).await.ok()?;
        let mut content = Vec::new();
        while let Some(piece) = stream.read().await.ok()? {
            content.extend_from_slice(&piece);
        }
        Some(content)
    }
}
