//! [`MemoryCopy`]: a copy in the making of a snapshot that another store has.

use super::{
    lock,
    store::{Kept, Place, Snapshot},
    tree::refused,
};
use crate::{
    digest::{DigestBuilder, FileDigest},
    entry::{Entry, EntryKind, EntryMeta, Freshness},
    manifest::Record,
    path::RelPath,
    snapshot_id::SnapshotId,
    store::{Seal, SnapshotInfo, SnapshotWriter, StoreError, Tally},
    tree::{FileSink, TreeError, TreeSink, Want},
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
};

pub(super) struct MemoryCopy {
    place: Arc<Place>,
    info: SnapshotInfo,
    kept: Arc<Mutex<BTreeMap<RelPath, Kept>>>,
}

impl MemoryCopy {
    pub(super) fn new(place: Place, info: SnapshotInfo) -> Self {
        Self { place: Arc::new(place), info, kept: Arc::default() }
    }
}

#[async_trait]
impl TreeSink for MemoryCopy {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        Err(refused(&entry.path, "a copy is offered what is kept"))
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        let kept = lock(&self.kept);
        let content = kept.get(&entry.path).and_then(|kept| kept.record.content);
        let expected = content.ok_or_else(|| refused(&entry.path, "its content was not asked for"))?;
        Ok(Box::new(CopiedFile {
            place: Arc::downgrade(&self.place),
            kept: Arc::clone(&self.kept),
            path: entry.path.clone(),
            expected,
            digest: DigestBuilder::new(),
            content: BytesMut::new(),
        }))
    }
}

#[async_trait]
impl SnapshotWriter for MemoryCopy {
    fn id(&self) -> &SnapshotId {
        &self.info.id
    }

    fn base(&self) -> Option<&SnapshotInfo> {
        None
    }

    fn tally(&self) -> Tally {
        self.info.tally
    }

    async fn offer_kept(&self, record: &Record) -> Result<Want, TreeError> {
        let mut all = lock(&self.kept);
        let path = &record.entry.path;
        if all.contains_key(path) {
            return Err(refused(path, "its path was offered before"));
        }
        let parent = path.parent().filter(|parent| !parent.is_root());
        if parent.is_some_and(|parent| !all.get(&parent).is_some_and(|kept| kept.record.entry.is_dir())) {
            return Err(refused(path, "its parent is not a directory of this tree"));
        }
        let leader = match &record.entry.kind {
            EntryKind::File { hardlink_to, .. } => hardlink_to.as_ref(),
            _ => None,
        };
        if leader.is_some_and(|leader| !all.get(leader).is_some_and(|kept| kept.record.entry.has_content())) {
            return Err(refused(path, "its first name is not a file of this tree"));
        }
        let content = record.content.and_then(|content| self.place.known(&content.hash));
        let is_wanted = record.entry.has_content() && content.is_none();
        let meta = EntryMeta { freshness: Freshness::Unknown, ..record.entry.meta.clone() };
        let entry = Entry { meta, ..record.entry.clone() };
        all.insert(path.clone(), Kept { record: Record { entry, ..record.clone() }, content });
        Ok(if is_wanted { Want::Data { basis: None } } else { Want::Nothing })
    }

    async fn commit(self: Box<Self>, _: Seal) -> Result<SnapshotInfo, StoreError> {
        let mut all = std::mem::take(&mut *lock(&self.kept));
        let arrived: BTreeMap<_, _> =
            all.iter().filter_map(|(path, kept)| Some((path.clone(), kept.content.clone()?))).collect();
        for (path, kept) in &mut all {
            if let EntryKind::File { hardlink_to: Some(leader), .. } = &kept.record.entry.kind {
                kept.content = arrived.get(leader).cloned();
            }
            if kept.record.content.is_some() && kept.content.is_none() {
                return Err(StoreError::Damaged { id: self.info.id.clone(), path: path.clone() });
            }
        }
        Ok(self.place.publish(Snapshot { info: self.info.clone(), kept: all.into_values().collect() }))
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

struct CopiedFile {
    /// Gone when the snapshot is closed.
    place: Weak<Place>,
    kept: Arc<Mutex<BTreeMap<RelPath, Kept>>>,
    path: RelPath,
    expected: FileDigest,
    digest: DigestBuilder,
    content: BytesMut,
}

#[async_trait]
impl FileSink for CopiedFile {
    async fn write(&mut self, chunk: Bytes) -> Result<(), TreeError> {
        self.digest.update(&chunk);
        self.content.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<FileDigest, TreeError> {
        let digest = self.digest.finish();
        if digest != self.expected {
            return Err(TreeError::Damaged { path: self.path });
        }
        let Some(place) = self.place.upgrade() else { return Err(refused(&self.path, "the snapshot is closed")) };
        let (content, _) = place.keep(digest.hash, self.content.freeze());
        if let Some(kept) = lock(&self.kept).get_mut(&self.path) {
            kept.content = Some(content);
        }
        Ok(digest)
    }
}
