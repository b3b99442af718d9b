//! [`MemoryReader`]: one committed snapshot in memory.

use super::{
    Content, lock,
    store::{Snapshot, State},
};
use crate::{
    manifest::Record,
    path::RelPath,
    store::{RecordStream, SnapshotInfo, SnapshotReader, StoreError, StoredCopy},
    tree::{EntryStream, FileStream, Listed, TreeError, TreeSource},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{Arc, Mutex};

pub(super) struct MemoryReader {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) state: Arc<Mutex<State>>,
}

impl MemoryReader {
    fn content(&self, path: &RelPath) -> Option<&Arc<Bytes>> {
        self.snapshot.find(path)?.content.as_ref()
    }
}

#[async_trait]
impl SnapshotReader for MemoryReader {
    fn info(&self) -> &SnapshotInfo {
        &self.snapshot.info
    }

    async fn records(&self) -> Result<Box<dyn RecordStream>, StoreError> {
        Ok(Box::new(Walk { snapshot: Arc::clone(&self.snapshot), at: 0 }))
    }

    async fn record(&self, path: &RelPath) -> Result<Option<Record>, StoreError> {
        Ok(self.snapshot.find(path).map(|kept| kept.record.clone()))
    }

    async fn stored_copies(&self, paths: &[RelPath]) -> Result<Vec<Option<StoredCopy>>, StoreError> {
        let copy = |content: &Arc<Bytes>| StoredCopy::new(Arc::as_ptr(content).addr() as u64);
        Ok(paths.iter().map(|path| self.content(path).map(copy)).collect())
    }

    async fn distrust(&self, path: &RelPath) -> Result<(), StoreError> {
        if let Some(content) = self.content(path) {
            lock(&self.state).distrust(content);
        }
        Ok(())
    }
}

#[async_trait]
impl TreeSource for MemoryReader {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(Walk { snapshot: Arc::clone(&self.snapshot), at: 0 }))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        let content = self.content(path).ok_or_else(|| TreeError::NotFound { path: path.clone() })?;
        Ok(Box::new(Content(Bytes::clone(content))))
    }
}

struct Walk {
    snapshot: Arc<Snapshot>,
    at: usize,
}

impl Iterator for Walk {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let kept = self.snapshot.kept.get(self.at)?;
        self.at += 1;
        Some(kept.record.clone())
    }
}

#[async_trait]
impl RecordStream for Walk {
    async fn next(&mut self) -> Result<Option<Record>, StoreError> {
        Ok(Iterator::next(self))
    }
}

#[async_trait]
impl EntryStream for Walk {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        Ok(Iterator::next(self).map(|record| Listed::Entry(record.entry)))
    }
}
