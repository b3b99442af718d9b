//! [`Draft`]: a snapshot that is being written, as its writer, its open files and its workers share it.

use super::{
    adopt::Adopted,
    content::{ContentIndex, Limits, stored_mode},
    copy::RecordSum,
    place::Places,
    queue::{Batch, Failure, Queue},
    space::Space,
    staging::Staging,
    table::{RowId, Table},
    work::Op,
};
use clonepanel_core::{
    digest::FileDigest,
    path::RelPath,
    store::{Slice, SnapshotInfo, Tally},
    time::Timestamp,
    tree::TreeError,
};
use rustix::fd::OwnedFd;
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher as _, BuildHasherDefault, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Work is queued in batches of this size, or smaller ones that end with a directory.
const FULL_BATCH: usize = 256;
const SMALL_BATCH: usize = 48;

/// What the writer of one snapshot, its open files and its workers share.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) base: Option<Base>,
    pub(crate) adopted: Option<Adopted>,
    pub(crate) staging: Staging,
    pub(crate) content: Arc<ContentIndex>,
    pub(crate) space: Space,
    pub(crate) places: Places,
    pub(crate) limits: Limits,
    pub(crate) audit: Option<Slice>,
    /// What it is a copy of.
    pub(crate) copied: Option<SnapshotInfo>,
    pub(crate) queue: Queue,
    hashing: RandomState,
    state: Mutex<State>,
}

/// The snapshot that a new one builds on.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) info: SnapshotInfo,
    pub(crate) table: Arc<Table>,
    /// Its directory, marked as in use.
    pub(crate) dir: Arc<OwnedFd>,
}

impl Base {
    /// The moment of the scan that it was made by; what changed shortly before or after cannot be trusted to show.
    pub(crate) fn scanned(&self) -> Timestamp {
        self.info.source_clock.unwrap_or(self.info.begun)
    }
}

/// What is known so far.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) table: Table,
    /// Row of each path, by a keyed hash of 64 bits: nobody who does not know the key can make two paths meet.
    pub(crate) by_path: HashMap<u64, RowId, Plain>,
    /// Further names of hard-link groups with their first ones.
    pub(crate) groups: Vec<(RowId, RowId)>,
    /// Contents stored by this run.
    by_hash: HashMap<u64, RowId, Plain>,
    /// Files stored by this run, by name and length.
    pub(crate) by_name: HashMap<u64, RowId, Plain>,
    /// Files of the base by name and length, once they are asked for: hash in the upper half, row in the lower.
    pub(crate) base_names: Option<Vec<u64>>,
    pub(crate) tally: Tally,
    /// Of a copy: the records that were offered.
    pub(crate) offered: RecordSum,
    /// Where the last path was found in the base.
    pub(crate) near: Option<RowId>,
    /// The last directory that was found to be one.
    pub(crate) parent: Option<RelPath>,
    batch: Vec<Op>,
    batch_parent: Vec<u8>,
}

/// For keys that are hashes already.
pub(crate) type Plain = BuildHasherDefault<PlainHasher>;

/// Passes a key of 64 bits through.
#[derive(Debug, Default)]
pub(crate) struct PlainHasher(u64);

impl Hasher for PlainHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// All that a draft is made of.
pub(crate) struct Parts {
    pub(crate) base: Option<Base>,
    pub(crate) adopted: Option<Adopted>,
    pub(crate) staging: Staging,
    pub(crate) content: Arc<ContentIndex>,
    pub(crate) space: Space,
    pub(crate) places: Places,
    pub(crate) limits: Limits,
    pub(crate) audit: Option<Slice>,
    pub(crate) copied: Option<SnapshotInfo>,
}

impl Draft {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { base, adopted, staging, content, space, places, limits, audit, copied } = parts;
        let state = State {
            table: Table::new(base.as_ref().map(|base| Arc::clone(&base.table))),
            by_path: HashMap::default(),
            groups: Vec::new(),
            by_hash: HashMap::default(),
            by_name: HashMap::default(),
            base_names: None,
            tally: Tally::default(),
            offered: RecordSum::default(),
            near: None,
            parent: None,
            batch: Vec::new(),
            batch_parent: Vec::new(),
        };
        Self {
            base,
            adopted,
            staging,
            content,
            space,
            places,
            limits,
            audit,
            copied,
            queue: Queue::new(),
            hashing: RandomState::new(),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a path or name in the maps of the state.
    pub(crate) fn key(&self, value: impl std::hash::Hash) -> u64 {
        self.hashing.hash_one(value)
    }

    /// The key of a name with a length.
    pub(crate) fn name_key(&self, path: &[u8], len: u64) -> u64 {
        self.key((crate::handle::split(path).1, len))
    }

    /// Fails once anything failed behind the caller's back.
    pub(crate) fn check(&self) -> Result<(), TreeError> {
        match self.queue.failure() {
            None => Ok(()),
            Some(failure) => Err(TreeError::from_io(failure.action, &failure.path, failure.error())),
        }
    }

    /// What there was too little of.
    pub(crate) fn shortage(&self) -> &'static str {
        self.space.shortage(1, 1).ok().flatten().unwrap_or("disk space")
    }

    /// Hands the gathered work over if there is enough of it, waiting for room. Nothing is lost when this is dropped.
    pub(crate) async fn make_way(&self) -> Result<(), TreeError> {
        if self.lock().batch.len() >= FULL_BATCH {
            let Some(room) = self.queue.room().await else { return self.closed() };
            let ops = std::mem::take(&mut self.lock().batch);
            self.queue.push(Batch { ops, _room: Some(room) });
        }
        Ok(())
    }

    /// Hands over whatever is gathered.
    pub(crate) fn flush(&self) {
        let ops = std::mem::take(&mut self.lock().batch);
        self.queue.push(Batch { ops, _room: None });
    }

    /// The answer to whoever goes on after the end.
    pub(crate) fn closed<T>(&self) -> Result<T, TreeError> {
        self.check()?;
        Err(TreeError::Refused { path: RelPath::root(), why: "its writer was closed" })
    }

    /// Records a failure that ends the writing.
    pub(crate) fn fail(&self, action: &'static str, path: &[u8], error: std::io::Error) {
        let path = RelPath::try_from(path).unwrap_or_default();
        self.queue.fail(Failure::new(action, path, error));
    }

    /// Whether the base's file at a path is a copy that was found to be damaged. One look at the disk, and only for a content of
    /// which there is such a copy.
    pub(crate) fn is_damaged(&self, base: &Base, path: &[u8], hash: &[u8; 32]) -> bool {
        if !self.limits.damaged.has_content(hash) {
            return false;
        }
        let place = self.places.of(path);
        let (parent, name) = crate::handle::split(&place);
        let stat = crate::handle::walk(&base.dir, parent).and_then(|dir| crate::handle::stat_in(dir, name));
        stat.ok().flatten().is_some_and(|stat| self.limits.damaged.has(stat.st_ino))
    }

    /// Remembers content that is on its place now.
    pub(crate) fn remember(&self, row: RowId, content: &FileDigest, mode: u32, flags: u8) {
        let mut state = self.lock();
        let Some(kept) = state.table.row_mut(row) else { return };
        kept.flags |= flags;
        let key = self.name_key(state.table.path(row), content.len);
        state.by_name.insert(key, row);
        state.by_hash.insert(self.content_key(content, mode), row);
    }

    /// Where this run has stored the same content with the same permission bits.
    pub(crate) fn stored_alike(&self, content: &FileDigest, mode: u32) -> Option<Vec<u8>> {
        let state = self.lock();
        let row = *state.by_hash.get(&self.content_key(content, mode))?;
        let kept = state.table.row(row)?;
        let same = kept.content().as_ref() == Some(content)
            && stored_mode(kept.mode()) == stored_mode(mode)
            && kept.has(super::table::STORED);
        same.then(|| self.places.of(state.table.path(row)).into_owned())
    }

    fn content_key(&self, content: &FileDigest, mode: u32) -> u64 {
        self.key((content.hash, content.len, stored_mode(mode)))
    }
}

impl State {
    /// Ends the gathering: the table without what was needed to fill it.
    pub(crate) fn take_table(&mut self) -> Table {
        (self.by_path, self.by_hash, self.by_name) = Default::default();
        self.base_names = None;
        std::mem::take(&mut self.table)
    }

    /// Gathers work on what lies in the directory `parent`. Small batches end where a directory ends, so that workers stay
    /// out of each other's way.
    pub(crate) fn gather(&mut self, parent: &[u8], op: Op, queue: &Queue) {
        if self.batch_parent != parent {
            self.batch_parent.clear();
            self.batch_parent.extend_from_slice(parent);
            // Without a permit this would be unbounded; a full queue just makes the batch grow up to its limit.
            if self.batch.len() >= SMALL_BATCH
                && let Some(room) = queue.try_room()
            {
                queue.push(Batch { ops: std::mem::take(&mut self.batch), _room: Some(room) });
            }
        }
        self.batch.push(op);
    }
}
