//! A store of your own: one that gives each source a quota, around any other store.
//!
//! It shows every trait that a store has to implement, and how its contract is run: `cargo test --example custom_store`.
//!
//! ```sh
//! cargo run --example custom_store
//! ```

#![allow(clippy::print_stdout, reason = "programs talk to people")]

use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    digest::FileDigest,
    entry::Entry,
    job::BackupJob,
    manifest::Record,
    memory::{MemoryStore, MemoryTransport, MemoryTree},
    path::RelPath,
    snapshot_id::{SnapshotId, SourceName},
    store::{NewSnapshot, Seal, SnapshotInfo, SnapshotReader, SnapshotStore, SnapshotWriter, StoreError, Tally},
    time::SystemClock,
    transport::PullRequest,
    tree::{FileSink, TreeError, TreeSink, Want},
};
use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Lets each source take so many bytes of the store within, counted over all of its snapshots.
struct QuotaStore<S> {
    inner: S,
    quota_bytes: u64,
}

#[async_trait]
impl<S: SnapshotStore> SnapshotStore for QuotaStore<S> {
    async fn begin(&self, new: NewSnapshot) -> Result<Box<dyn SnapshotWriter>, StoreError> {
        let snapshots = self.inner.list(new.source()).await?;
        let used: u64 = snapshots.iter().map(|info| info.tally.new_bytes).sum();
        let left = Arc::new(AtomicU64::new(self.quota_bytes.saturating_sub(used)));
        Ok(Box::new(QuotaWriter { inner: self.inner.begin(new).await?, left }))
    }

    async fn open(&self, id: &SnapshotId) -> Result<Arc<dyn SnapshotReader>, StoreError> {
        self.inner.open(id).await
    }

    async fn list(&self, source: &SourceName) -> Result<Vec<SnapshotInfo>, StoreError> {
        self.inner.list(source).await
    }

    async fn sources(&self) -> Result<Vec<SourceName>, StoreError> {
        self.inner.sources().await
    }

    async fn delete(&self, id: &SnapshotId) -> Result<(), StoreError> {
        self.inner.delete(id).await
    }
}

/// A snapshot that is being written.
struct QuotaWriter {
    inner: Box<dyn SnapshotWriter>,
    left: Arc<AtomicU64>,
}

#[async_trait]
impl TreeSink for QuotaWriter {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        self.inner.offer(entry).await
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        let inner = self.inner.file(entry).await?;
        Ok(Box::new(QuotaFile { inner, path: entry.path.clone(), left: Arc::clone(&self.left) }))
    }
}

#[async_trait]
impl SnapshotWriter for QuotaWriter {
    fn id(&self) -> &SnapshotId {
        self.inner.id()
    }

    fn base(&self) -> Option<&SnapshotInfo> {
        self.inner.base()
    }

    fn tally(&self) -> Tally {
        self.inner.tally()
    }

    async fn offer_kept(&self, record: &Record) -> Result<Want, TreeError> {
        self.inner.offer_kept(record).await
    }

    async fn commit(self: Box<Self>, seal: Seal) -> Result<SnapshotInfo, StoreError> {
        self.inner.commit(seal).await
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.inner.abort().await
    }
}

/// The content of one file on its way.
struct QuotaFile {
    inner: Box<dyn FileSink>,
    path: RelPath,
    left: Arc<AtomicU64>,
}

#[async_trait]
impl FileSink for QuotaFile {
    async fn write(&mut self, chunk: Bytes) -> Result<(), TreeError> {
        let take = |left: u64| left.checked_sub(chunk.len() as u64);
        // An error of the sink ends the run: nothing of it becomes visible, and the older snapshots stay.
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Err(TreeError::NoSpace { path: self.path.clone() });
        }
        self.inner.write(chunk).await
    }

    async fn finish(self: Box<Self>) -> Result<FileDigest, TreeError> {
        self.inner.finish().await
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Arc::new(QuotaStore { inner: MemoryStore::new(), quota_bytes: 100 });
    let site = MemoryTree::new();
    let job = BackupJob::new(store, SourceName::new("example.org")?).part(
        RelPath::try_from("files")?,
        Arc::new(MemoryTransport::new(site.clone())),
        PullRequest::new(),
    );
    for (name, len) in [("small", 60), ("large", 60)] {
        site.put_file(RelPath::try_from(name)?, vec![b'x'; len], clonepanel_core::time::Timestamp::from_secs(1))?;
        match job.run(&SystemClock, &()).await {
            Ok(outcome) => println!("{}: {} new bytes", outcome.info.id, outcome.info.tally.new_bytes),
            Err(error) => {
                let mut cause: &dyn Error = &error;
                while let Some(source) = cause.source() {
                    cause = source;
                }
                println!("refused: {error}: {cause}");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clonepanel_core::testkit::store::StoreFixture;

    /// What a contract is run against: the same snapshots each time it is opened.
    struct Fixture(MemoryStore);

    #[async_trait]
    impl StoreFixture for Fixture {
        async fn open(&self) -> Arc<dyn SnapshotStore> {
            Arc::new(QuotaStore { inner: self.0.clone(), quota_bytes: 1 << 30 })
        }
    }

    clonepanel_core::store_contract!(quota_store, Fixture(MemoryStore::new()));
}
