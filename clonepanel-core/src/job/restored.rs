//! [`Restored`]: a part of a snapshot as a source that checks what it gives.

use crate::{
    digest::{DigestBuilder, FileDigest},
    entry::{Entry, EntryKind},
    manifest::Record,
    path::RelPath,
    retry::Retry,
    store::{RecordStream, SnapshotReader, StoreError},
    time::Timestamp,
    tree::{EntryStream, FileStream, Listed, TreeError, TreeSource},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{collections::HashMap, sync::Arc};

/// What a snapshot holds at and below a path. A directory is the root of the tree; anything else is the only entry in it,
/// under its own name.
pub(super) struct Restored {
    reader: Arc<dyn SnapshotReader>,
    root: RelPath,
}

impl Restored {
    /// What `reader` has at `path`, whose record is `record`.
    pub(super) fn new(reader: Arc<dyn SnapshotReader>, path: &RelPath, record: Option<&Record>) -> Self {
        let is_dir = record.is_none_or(|record| record.entry.is_dir());
        let root = if is_dir { Some(path.clone()) } else { path.parent() };
        Self { reader, root: root.unwrap_or_default() }
    }

    /// The entries of `path`, which is this tree's root or the only entry in it.
    pub(super) async fn entries_of(&self, path: &RelPath) -> Result<Entries, StoreError> {
        let records = self.reader.records().await?;
        Ok(Entries { records, wanted: path.clone(), root: self.root.clone(), first_names: HashMap::new() })
    }
}

pub(super) struct Entries {
    records: Box<dyn RecordStream>,
    wanted: RelPath,
    root: RelPath,
    /// The first name here of each group of hard links whose own first name is not here.
    first_names: HashMap<RelPath, RelPath>,
}

impl Entries {
    pub(super) async fn next(&mut self) -> Result<Option<Entry>, StoreError> {
        while let Some(record) = self.records.next().await? {
            let path = record.entry.path.clone();
            if path.is_within(&self.wanted) {
                return Ok(self.placed(record));
            }
            // Sorted: what is wanted is one range.
            if path > self.wanted {
                break;
            }
        }
        Ok(None)
    }

    fn placed(&mut self, record: Record) -> Option<Entry> {
        let Record { mut entry, content, .. } = record;
        let path = entry.path.strip_prefix(&self.root)?;
        if let EntryKind::File { len, hardlink_to } = &mut entry.kind {
            // What is kept is what is written, whatever was listed once.
            *len = content.map_or(*len, |content| content.len);
            *hardlink_to = hardlink_to.take().and_then(|leader| {
                if leader.is_within(&self.wanted) {
                    return leader.strip_prefix(&self.root);
                }
                let first = self.first_names.entry(leader).or_insert_with(|| path.clone());
                (*first != path).then(|| first.clone())
            });
        }
        entry.path = path;
        Some(entry)
    }
}

/// As a source, over one path.
pub(super) struct RestoredSource<'a> {
    pub(super) restored: &'a Restored,
    pub(super) path: &'a RelPath,
    pub(super) stand_in: StandIn,
}

/// What becomes of a root that the source never listed, which has no time: its mode is made up, and it does not hold all that
/// its place has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StandIn {
    LeftOut,
    Listed,
}

/// Without the root, if it is a stand-in.
struct Rootless(Entries);

#[async_trait]
impl EntryStream for Rootless {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        loop {
            match EntryStream::next(&mut self.0).await? {
                Some(Listed::Entry(entry)) if entry.path.is_root() && entry.meta.mtime == Timestamp::default() => {}
                listed => return Ok(listed),
            }
        }
    }
}

#[async_trait]
impl TreeSource for RestoredSource<'_> {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        let entries = self.restored.entries_of(self.path).await.map_err(tree_error)?;
        Ok(match self.stand_in {
            StandIn::LeftOut => Box::new(Rootless(entries)),
            StandIn::Listed => Box::new(entries),
        })
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        let Restored { reader, root } = self.restored;
        let full = root.join(path).map_err(|error| TreeError::too_deep(path, error))?;
        let record = reader.record(&full).await.map_err(tree_error)?;
        let expected =
            record.and_then(|record| record.content).ok_or_else(|| TreeError::NotFound { path: full.clone() })?;
        Ok(Box::new(Checked::new(reader.open(&full).await?, full, expected)))
    }
}

#[async_trait]
impl EntryStream for Entries {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        Ok(Self::next(self).await.map_err(tree_error)?.map(Listed::Entry))
    }
}

fn tree_error(error: StoreError) -> TreeError {
    match error {
        StoreError::Tree(error) => error,
        StoreError::Damaged { path, .. } => TreeError::Damaged { path },
        error => {
            let retry: Retry = error.retry();
            TreeError::Backend { action: "read the snapshot of", path: RelPath::root(), retry, source: error.into() }
        }
    }
}

/// A content that must turn out to be what the manifest says: otherwise it ends with [`TreeError::Damaged`].
pub(super) struct Checked {
    inner: Box<dyn FileStream>,
    path: RelPath,
    expected: FileDigest,
    read: DigestBuilder,
}

impl Checked {
    pub(super) fn new(inner: Box<dyn FileStream>, path: RelPath, expected: FileDigest) -> Self {
        Self { inner, path, expected, read: DigestBuilder::new() }
    }
}

#[async_trait]
impl FileStream for Checked {
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError> {
        let damaged = || TreeError::Damaged { path: self.path.clone() };
        let Some(piece) = self.inner.read().await? else {
            return if self.read.finish() == self.expected { Ok(None) } else { Err(damaged()) };
        };
        self.read.update(&piece);
        // No need to read on when it can no longer be right.
        if self.read.len() > self.expected.len { Err(damaged()) } else { Ok(Some(piece)) }
    }
}
