//! [`PartSink`]: one part of a snapshot, as the sink of one transfer.

use crate::{
    entry::Entry,
    path::RelPath,
    tree::{FileSink, TreeError, TreeSink, Under, Want},
};
use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is below a prefix. A root that the source does not list is made up, so that what is in the part has a parent.
pub(super) struct PartSink<'a> {
    inner: Under<&'a dyn TreeSink>,
    rooted: AtomicBool,
}

impl<'a> PartSink<'a> {
    pub(super) fn new(prefix: RelPath, sink: &'a dyn TreeSink) -> Self {
        // Nothing stands above the root of the snapshot, and it need not be listed.
        let rooted = AtomicBool::new(prefix.is_root());
        Self { inner: Under::new(prefix, sink), rooted }
    }

    /// Makes the root up if there is none.
    pub(super) async fn root(&self) -> Result<(), TreeError> {
        if !self.rooted.load(Ordering::Acquire) {
            self.inner.offer(&Entry::dir(RelPath::root())).await?;
            self.rooted.store(true, Ordering::Release);
        }
        Ok(())
    }
}

#[async_trait]
impl TreeSink for PartSink<'_> {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        if !entry.path.is_root() {
            self.root().await?;
            return self.inner.offer(entry).await;
        }
        let want = self.inner.offer(entry).await?;
        self.rooted.store(true, Ordering::Release);
        Ok(want)
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.inner.file(entry).await
    }
}
