//! [`MemoryWriter`]: a snapshot in the making, in memory.

use super::{
    Content,
    draft::{Draft, Origin},
    lock,
    store::{Kept, Place, Snapshot},
    tree::refused,
};
use crate::{
    digest::{DigestBuilder, FileDigest},
    entry::{Entry, EntryKind, Freshness},
    manifest::Record,
    path::RelPath,
    snapshot_id::SnapshotId,
    store::{NewSnapshot, Seal, SnapshotInfo, SnapshotWriter, StoreError, Tally},
    suspicion,
    tree::{Basis, FileSink, TreeError, TreeSink, Want},
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

/// How old a file must be, against the scan that listed it, before its size and time are taken as proof: the coarsest time
/// stamps in use (FAT, HFS+) and a little skew of clocks.
const YOUNG: Duration = Duration::from_secs(2);

pub(super) struct MemoryWriter {
    place: Arc<Place>,
    new: NewSnapshot,
    base: Option<Arc<Snapshot>>,
    draft: Arc<Mutex<Draft>>,
}

impl MemoryWriter {
    pub(super) fn new(place: Place, new: NewSnapshot, base: Option<Arc<Snapshot>>) -> Self {
        Self { place: Arc::new(place), new, base, draft: Arc::default() }
    }

    /// The base's version of `entry` if that is certainly what the source has now.
    fn unchanged<'a>(&self, entry: &Entry, base: &'a Snapshot, older: &'a Kept) -> Option<&'a Kept> {
        let (record, content) = (&older.record, older.record.content?);
        let same = entry.len() == Some(content.len)
            && record.entry.meta.mtime == entry.meta.mtime
            && !record.marks.torn
            && !record.marks.carried
            && !older.content.as_ref().is_some_and(|content| self.place.is_distrusted(content))
            && !self.new.audited().is_some_and(|slice| slice.contains(&entry.path));
        let proven = match entry.meta.freshness {
            Freshness::Settled => true,
            Freshness::Touched => false,
            Freshness::Unknown => {
                let scanned = base.info.source_clock.unwrap_or(base.info.begun);
                entry.meta.mtime < scanned.before(YOUNG)
            }
        };
        (same && proven).then_some(older)
    }
}

#[async_trait]
impl TreeSink for MemoryWriter {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        let entry = &*entry.keepable();
        let mut draft = lock(&self.draft);
        draft.check(entry)?;
        let base = self.base.as_deref();
        let older = base.and_then(|base| base.find(&entry.path)).filter(|kept| kept.content.is_some());
        let (origin, want) = match &entry.kind {
            EntryKind::File { hardlink_to: None, .. } => {
                match base.zip(older).and_then(|(base, older)| self.unchanged(entry, base, older)) {
                    Some(older) => (Origin::Base(older.clone()), Want::Nothing),
                    None => {
                        let basis = older.and_then(|kept| kept.content.as_deref().cloned());
                        let basis = basis.map(|content| Arc::new(Content(content)) as Arc<dyn Basis>);
                        (Origin::Awaited, Want::Data { basis })
                    }
                }
            }
            EntryKind::File { hardlink_to: Some(leader), .. } => (Origin::Name(leader.clone()), Want::Nothing),
            _ => (Origin::Itself, Want::Nothing),
        };
        draft.add(entry, origin, older.is_some());
        Ok(want)
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        if !lock(&self.draft).awaits(&entry.path) {
            return Err(refused(&entry.path, "its content was not asked for"));
        }
        Ok(Box::new(MemoryFile {
            place: Arc::downgrade(&self.place),
            draft: Arc::clone(&self.draft),
            path: entry.path.clone(),
            digest: DigestBuilder::new(),
            content: BytesMut::new(),
        }))
    }
}

#[async_trait]
impl SnapshotWriter for MemoryWriter {
    fn id(&self) -> &SnapshotId {
        &self.place.1
    }

    fn base(&self) -> Option<&SnapshotInfo> {
        self.base.as_ref().map(|base| &base.info)
    }

    fn tally(&self) -> Tally {
        lock(&self.draft).tally()
    }

    async fn offer_kept(&self, record: &Record) -> Result<Want, TreeError> {
        Err(refused(&record.entry.path, "the snapshot is no copy"))
    }

    async fn commit(self: Box<Self>, seal: Seal) -> Result<SnapshotInfo, StoreError> {
        let id = self.place.1.clone();
        let draft = std::mem::take(&mut *lock(&self.draft));
        let (committed, source_clock, problems, rules) = seal.into_parts();
        let (kept, tally, problems) = draft.close(self.base.as_deref(), problems);
        let suspicions = suspicion::judge(&rules, self.base(), &tally);
        let base = self.base.as_ref().map(|base| base.info.id.clone());
        let begun = self.new.now();
        let info = SnapshotInfo { id, begun, committed, source_clock, base, tally, problems, suspicions };
        Ok(self.place.publish(Snapshot { info, kept }))
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

struct MemoryFile {
    /// Gone when the snapshot is closed: what comes then comes too late, and holds nobody up.
    place: Weak<Place>,
    draft: Arc<Mutex<Draft>>,
    path: RelPath,
    digest: DigestBuilder,
    content: BytesMut,
}

#[async_trait]
impl FileSink for MemoryFile {
    async fn write(&mut self, chunk: Bytes) -> Result<(), TreeError> {
        self.digest.update(&chunk);
        self.content.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<FileDigest, TreeError> {
        let digest = self.digest.finish();
        let Some(place) = self.place.upgrade() else { return Err(refused(&self.path, "the snapshot is closed")) };
        let (content, novelty) = place.keep(digest.hash, self.content.freeze());
        lock(&self.draft).arrive(&self.path, digest, content, novelty);
        Ok(digest)
    }
}
