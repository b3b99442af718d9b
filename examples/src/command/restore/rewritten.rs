//! [`Rewritten`]: a sink that takes no content for granted.

use async_trait::async_trait;
use clonepanel_core::{
    entry::Entry,
    tree::{FileSink, TreeError, TreeSink, Want},
};

/// Asks for every content, also where a file of the same length and time is there: it may hold something else.
pub(super) struct Rewritten<T>(pub(super) T);

#[async_trait]
impl<T: TreeSink> TreeSink for Rewritten<T> {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        match self.0.offer(entry).await? {
            Want::Nothing if entry.has_content() => Ok(Want::Data { basis: None }),
            want => Ok(want),
        }
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.0.file(entry).await
    }
}
