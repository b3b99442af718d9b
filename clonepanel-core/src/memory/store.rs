//! [`MemoryStore`]: snapshots in memory.

use super::{copy::MemoryCopy, lock, reader::MemoryReader, writer::MemoryWriter};
use crate::{
    digest::ContentHash,
    manifest::Record,
    path::RelPath,
    snapshot_id::{SnapshotId, SourceName},
    store::{NewSnapshot, SnapshotInfo, SnapshotReader, SnapshotStore, SnapshotWriter, StoreError},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, Weak},
};

/// A store in memory. Clones share the snapshots; they are gone with the last clone and the last reader.
#[derive(Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(super) struct State {
    snapshots: BTreeMap<SourceName, Vec<Arc<Snapshot>>>,
    writing: BTreeSet<SourceName>,
    /// Every content that some snapshot or writer holds, so that equal ones are kept once.
    contents: HashMap<ContentHash, Weak<Bytes>>,
    /// Copies that are not to be taken again.
    distrusted: Vec<Weak<Bytes>>,
}

impl State {
    pub(super) fn distrust(&mut self, content: &Arc<Bytes>) {
        self.distrusted.push(Arc::downgrade(content));
        self.contents.retain(|_, known| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(content)));
    }
}

/// A committed snapshot.
pub(super) struct Snapshot {
    pub(super) info: SnapshotInfo,
    /// Sorted by path.
    pub(super) kept: Vec<Kept>,
}

/// A record and its content, shared with every equal one.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) record: Record,
    pub(super) content: Option<Arc<Bytes>>,
}

impl Snapshot {
    pub(super) fn find(&self, path: &RelPath) -> Option<&Kept> {
        let at = self.kept.binary_search_by(|kept| kept.record.entry.path.cmp(path)).ok()?;
        self.kept.get(at)
    }

    /// Everything at and below `path`.
    pub(super) fn within<'a>(&'a self, path: &'a RelPath) -> impl Iterator<Item = &'a Kept> {
        let start = self.kept.partition_point(|kept| kept.record.entry.path < *path);
        self.kept.iter().skip(start).take_while(|kept| kept.record.entry.path.is_within(path))
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn find(&self, id: &SnapshotId) -> Result<Arc<Snapshot>, StoreError> {
        let state = lock(&self.state);
        let mut snapshots = state.snapshots.get(id.source()).into_iter().flatten();
        snapshots
            .find(|snapshot| snapshot.info.id == *id)
            .cloned()
            .ok_or_else(|| StoreError::NotFound { id: id.clone() })
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_list().entries(state.snapshots.values().flatten().map(|snapshot| snapshot.info.id.to_string())).finish()
    }
}

#[async_trait]
impl SnapshotStore for MemoryStore {
    async fn begin(&self, new: NewSnapshot) -> Result<Box<dyn SnapshotWriter>, StoreError> {
        let source = new.source().clone();
        let copied = new.copied().map(|info| info.id.clone());
        let base = {
            let mut state = lock(&self.state);
            let here = state.snapshots.get(&source).into_iter().flatten();
            if let Some(id) = copied.as_ref().filter(|id| here.clone().any(|snapshot| snapshot.info.id == **id)) {
                return Err(StoreError::Exists { id: id.clone() });
            }
            if !state.writing.insert(source.clone()) {
                return Err(StoreError::Busy { source_name: source });
            }
            state.snapshots.get(&source).and_then(|snapshots| snapshots.last()).cloned()
        };
        if let Some(info) = new.copied() {
            let place = Place(Arc::clone(&self.state), info.id.clone());
            return Ok(Box::new(MemoryCopy::new(place, info.clone())));
        }
        let id = SnapshotId::next(source, new.now(), base.as_ref().map(|base| &base.info.id));
        Ok(Box::new(MemoryWriter::new(Place(Arc::clone(&self.state), id), new, base)))
    }

    async fn open(&self, id: &SnapshotId) -> Result<Arc<dyn SnapshotReader>, StoreError> {
        Ok(Arc::new(MemoryReader { snapshot: self.find(id)?, state: Arc::clone(&self.state) }))
    }

    async fn list(&self, source: &SourceName) -> Result<Vec<SnapshotInfo>, StoreError> {
        let state = lock(&self.state);
        Ok(state.snapshots.get(source).into_iter().flatten().map(|snapshot| snapshot.info.clone()).collect())
    }

    async fn sources(&self) -> Result<Vec<SourceName>, StoreError> {
        Ok(lock(&self.state).snapshots.keys().cloned().collect())
    }

    async fn delete(&self, id: &SnapshotId) -> Result<(), StoreError> {
        self.find(id)?;
        let mut state = lock(&self.state);
        if let Some(snapshots) = state.snapshots.get_mut(id.source()) {
            snapshots.retain(|snapshot| snapshot.info.id != *id);
            if snapshots.is_empty() {
                state.snapshots.remove(id.source());
            }
        }
        state.contents.retain(|_, content| content.strong_count() > 0);
        state.distrusted.retain(|content| content.strong_count() > 0);
        Ok(())
    }
}

/// The one writer's place at a source; giving it up lets the next one in.
pub(super) struct Place(Arc<Mutex<State>>, pub(super) SnapshotId);

impl Place {
    /// Keeps a content, once; tells whether it was not there before.
    pub(super) fn keep(&self, hash: ContentHash, content: Bytes) -> (Arc<Bytes>, Novelty) {
        let mut state = lock(&self.0);
        if let Some(here) = state.contents.get(&hash).and_then(Weak::upgrade) {
            return (here, Novelty::Known);
        }
        let content = Arc::new(content);
        state.contents.insert(hash, Arc::downgrade(&content));
        (content, Novelty::New)
    }

    /// A content that is here, if it can be trusted.
    pub(super) fn known(&self, hash: &ContentHash) -> Option<Arc<Bytes>> {
        lock(&self.0).contents.get(hash).and_then(Weak::upgrade)
    }

    pub(super) fn is_distrusted(&self, content: &Arc<Bytes>) -> bool {
        lock(&self.0).distrusted.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(content)))
    }

    pub(super) fn publish(&self, snapshot: Snapshot) -> SnapshotInfo {
        let info = snapshot.info.clone();
        let mut state = lock(&self.0);
        let snapshots = state.snapshots.entry(self.1.source().clone()).or_default();
        let at = snapshots.partition_point(|other| other.info.id < info.id);
        snapshots.insert(at, Arc::new(snapshot));
        info
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.0).writing.remove(self.1.source());
    }
}

/// Whether a content takes space that was not taken before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Novelty {
    Known,
    New,
}
