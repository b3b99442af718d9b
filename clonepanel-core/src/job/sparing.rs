//! [`Sparing`]: a transport that takes from a snapshot what is there already.

use crate::{
    entry::{Entry, Freshness},
    observer::Observer,
    path::RelPath,
    store::SnapshotReader,
    transport::{PullRequest, PushRequest, TransferReport, Transport, TransportError},
    tree::{FileSink, TreeError, TreeSink, TreeSource, Want},
};
use async_trait::async_trait;
use std::sync::Arc;

/// Pulls, but does not transfer what a snapshot has in the same length and time: that is read from there.
pub(super) struct Sparing {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) reader: Arc<dyn SnapshotReader>,
    /// Where the far end's root is in the snapshot.
    pub(super) prefix: RelPath,
}

#[async_trait]
impl Transport for Sparing {
    fn endpoint(&self) -> &str {
        self.transport.endpoint()
    }

    async fn pull(
        &self,
        request: &PullRequest,
        sink: &dyn TreeSink,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        self.transport.pull(request, &Sink { sparing: self, inner: sink }, observer).await
    }

    async fn push(
        &self,
        request: &PushRequest,
        source: &dyn TreeSource,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        self.transport.push(request, source, observer).await
    }
}

struct Sink<'a> {
    sparing: &'a Sparing,
    inner: &'a dyn TreeSink,
}

impl Sink<'_> {
    /// Writes the snapshot's copy of a file, if it has the same. What cannot be read there is transferred.
    async fn copy(&self, entry: &Entry) -> Result<bool, TreeError> {
        let Sparing { reader, prefix, .. } = self.sparing;
        let Ok(path) = prefix.join(&entry.path) else { return Ok(false) };
        let Ok(Some(record)) = reader.record(&path).await else { return Ok(false) };
        let is_same = record.content.map(|content| content.len) == entry.len()
            && record.entry.meta.mtime == entry.meta.mtime
            && entry.meta.freshness != Freshness::Touched;
        let (true, Some(expected)) = (is_same, record.content) else { return Ok(false) };
        let Ok(mut stream) = reader.open(&path).await else { return Ok(false) };
        let mut file = self.inner.file(entry).await?;
        let mut read = crate::digest::DigestBuilder::new();
        loop {
            match stream.read().await {
                Ok(Some(piece)) => {
                    read.update(&piece);
                    file.write(piece).await?;
                }
                Ok(None) if read.finish() == expected => break,
                Ok(None) | Err(_) => return Ok(false),
            }
        }
        file.finish().await.map(|_| true)
    }
}

#[async_trait]
impl TreeSink for Sink<'_> {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        match self.inner.offer(entry).await? {
            Want::Data { .. } if entry.has_content() && self.copy(entry).await? => Ok(Want::Nothing),
            want => Ok(want),
        }
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.inner.file(entry).await
    }
}
