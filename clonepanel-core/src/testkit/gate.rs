//! [`Gated`]: a back end whose every call passes a gate first, which may fail it or wait.

use crate::{
    digest::FileDigest,
    entry::Entry,
    manifest::Record,
    path::RelPath,
    retry::Retry,
    snapshot_id::{SnapshotId, SourceName},
    store::{NewSnapshot, Seal, SnapshotInfo, SnapshotReader, SnapshotStore, SnapshotWriter, StoreError, Tally},
    tree::{Basis, EntryStream, FileSink, FileStream, Listed, TreeError, TreeSink, TreeSource, Want},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

/// What stands before every call of a [`Gated`] back end.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Lets the call through, now or later, or fails it. `path` is the root for what concerns a whole store or tree.
    ///
    /// # Errors
    /// The fault that the call is to answer.
    async fn pass(&self, call: Call, path: &RelPath) -> Result<(), Fault>;
}

/// A call of a store, a tree or one of the things they give out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Call {
    Abort,
    Begin,
    Commit,
    Delete,
    Entries,
    File,
    Finish,
    List,
    NextEntry,
    Offer,
    Open,
    OpenFile,
    Read,
    ReadAt,
    Sources,
    Write,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// An I/O error that stays.
    Backend,
    /// Access is refused.
    Denied,
    /// The disk is full.
    NoSpace,
    /// It is gone.
    NotFound,
    /// The entry breaks a rule.
    Refused,
}

impl Fault {
    fn on_tree(self, path: &RelPath) -> TreeError {
        let path = path.clone();
        match self {
            Self::Backend => {
                TreeError::Backend { action: "use", path, retry: Retry::Never, source: "injected fault".into() }
            }
            Self::Denied => TreeError::Denied { path },
            Self::NoSpace => TreeError::NoSpace { path },
            Self::NotFound => TreeError::NotFound { path },
            Self::Refused => TreeError::Refused { path, why: "injected fault" },
        }
    }

    fn on_store(self) -> StoreError {
        match self {
            Self::Backend | Self::Denied | Self::NotFound | Self::Refused => {
                StoreError::Backend { action: "use the store", retry: Retry::Never, source: "injected fault".into() }
            }
            Self::NoSpace => StoreError::NoSpace { what: "disk space" },
        }
    }
}

/// Fails one call, counted from 0, or all from that one on.
#[derive(Debug)]
pub struct Faulty {
    fault: Fault,
    first: u64,
    last: u64,
    calls: AtomicU64,
}

impl Faulty {
    /// Only the `n`-th call fails.
    #[must_use]
    pub const fn at(n: u64, fault: Fault) -> Self {
        Self { fault, first: n, last: n, calls: AtomicU64::new(0) }
    }

    /// The `n`-th call and all after it fail: a disk that stays full.
    #[must_use]
    pub const fn from(n: u64, fault: Fault) -> Self {
        Self { fault, first: n, last: u64::MAX, calls: AtomicU64::new(0) }
    }

    /// Whether it came to that: the run had as many calls.
    #[must_use]
    pub fn has_struck(&self) -> bool {
        self.calls.load(SeqCst) > self.first
    }
}

#[async_trait]
impl Gate for Faulty {
    async fn pass(&self, _: Call, _: &RelPath) -> Result<(), Fault> {
        let call = self.calls.fetch_add(1, SeqCst);
        if (self.first..=self.last).contains(&call) { Err(self.fault) } else { Ok(()) }
    }
}

/// Waits once at every call, so that it can be cancelled there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Yields;

#[async_trait]
impl Gate for Yields {
    async fn pass(&self, _: Call, _: &RelPath) -> Result<(), Fault> {
        yield_once().await;
        Ok(())
    }
}

/// Waits once.
pub(super) async fn yield_once() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[async_trait]
impl<G: Gate + ?Sized> Gate for Arc<G> {
    async fn pass(&self, call: Call, path: &RelPath) -> Result<(), Fault> {
        (**self).pass(call, path).await
    }
}

/// A store, tree, file or basis whose calls, and those of everything it gives out for writing and reading trees, pass a
/// [`Gate`].
#[derive(Clone)]
pub struct Gated<T> {
    inner: T,
    gate: Arc<dyn Gate>,
}

impl<T: std::fmt::Debug> std::fmt::Debug for Gated<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gated").field(&self.inner).finish()
    }
}

impl<T> Gated<T> {
    /// `inner` behind `gate`. Keep an `Arc` of the gate to ask it afterwards.
    #[must_use]
    pub fn new(inner: T, gate: impl Gate + 'static) -> Self {
        Self { inner, gate: Arc::new(gate) }
    }

    fn with<U>(&self, inner: U) -> Gated<U> {
        Gated { inner, gate: Arc::clone(&self.gate) }
    }

    fn opened<U>(&self, path: &RelPath, inner: U) -> Box<Opened<U>> {
        Box::new(Opened { path: path.clone(), inner, gate: Arc::clone(&self.gate) })
    }

    async fn tree(&self, call: Call, path: &RelPath) -> Result<(), TreeError> {
        pass(&*self.gate, call, path).await
    }

    async fn store(&self, call: Call) -> Result<(), StoreError> {
        self.gate.pass(call, &RelPath::root()).await.map_err(Fault::on_store)
    }
}

#[async_trait]
impl<T: SnapshotStore> SnapshotStore for Gated<T> {
    async fn begin(&self, new: NewSnapshot) -> Result<Box<dyn SnapshotWriter>, StoreError> {
        self.store(Call::Begin).await?;
        Ok(Box::new(self.with(self.inner.begin(new).await?)))
    }

    async fn open(&self, id: &SnapshotId) -> Result<Arc<dyn SnapshotReader>, StoreError> {
        self.store(Call::Open).await?;
        self.inner.open(id).await
    }

    async fn list(&self, source: &SourceName) -> Result<Vec<SnapshotInfo>, StoreError> {
        self.store(Call::List).await?;
        self.inner.list(source).await
    }

    async fn sources(&self) -> Result<Vec<SourceName>, StoreError> {
        self.store(Call::Sources).await?;
        self.inner.sources().await
    }

    async fn delete(&self, id: &SnapshotId) -> Result<(), StoreError> {
        self.store(Call::Delete).await?;
        self.inner.delete(id).await
    }
}

#[async_trait]
impl SnapshotWriter for Gated<Box<dyn SnapshotWriter>> {
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
        self.tree(Call::Offer, &record.entry.path).await?;
        self.inner.offer_kept(record).await
    }

    async fn commit(self: Box<Self>, seal: Seal) -> Result<SnapshotInfo, StoreError> {
        self.store(Call::Commit).await?;
        self.inner.commit(seal).await
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.store(Call::Abort).await?;
        self.inner.abort().await
    }
}

#[async_trait]
impl<T: TreeSink> TreeSink for Gated<T> {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        self.tree(Call::Offer, &entry.path).await?;
        Ok(match self.inner.offer(entry).await? {
            Want::Data { basis: Some(basis) } => Want::Data { basis: Some(Arc::new(self.with(basis))) },
            want => want,
        })
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.tree(Call::File, &entry.path).await?;
        Ok(self.opened(&entry.path, self.inner.file(entry).await?))
    }
}

/// Something open at a path. It passes the gate without being borrowed itself: streams need not be `Sync`.
struct Opened<T> {
    path: RelPath,
    inner: T,
    gate: Arc<dyn Gate>,
}

async fn pass(gate: &dyn Gate, call: Call, path: &RelPath) -> Result<(), TreeError> {
    gate.pass(call, path).await.map_err(|fault| fault.on_tree(path))
}

#[async_trait]
impl FileSink for Opened<Box<dyn FileSink>> {
    async fn write(&mut self, chunk: Bytes) -> Result<(), TreeError> {
        pass(&*self.gate, Call::Write, &self.path).await?;
        self.inner.write(chunk).await
    }

    async fn finish(self: Box<Self>) -> Result<FileDigest, TreeError> {
        pass(&*self.gate, Call::Finish, &self.path).await?;
        self.inner.finish().await
    }
}

#[async_trait]
impl Basis for Gated<Arc<dyn Basis>> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, TreeError> {
        self.tree(Call::ReadAt, &RelPath::root()).await?;
        self.inner.read_at(offset, len).await
    }
}

#[async_trait]
impl<T: TreeSource> TreeSource for Gated<T> {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        self.tree(Call::Entries, &RelPath::root()).await?;
        Ok(self.opened(&RelPath::root(), self.inner.entries().await?))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        self.tree(Call::OpenFile, path).await?;
        Ok(self.opened(path, self.inner.open(path).await?))
    }
}

#[async_trait]
impl EntryStream for Opened<Box<dyn EntryStream>> {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        pass(&*self.gate, Call::NextEntry, &self.path).await?;
        self.inner.next().await
    }
}

#[async_trait]
impl FileStream for Opened<Box<dyn FileStream>> {
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError> {
        pass(&*self.gate, Call::Read, &self.path).await?;
        self.inner.read().await
    }
}
