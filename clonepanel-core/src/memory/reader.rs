//! [`MemoryReader`]: one committed snapshot in memory.

use super::{
    Content,
    store::{Kept, Snapshot},
};
use crate::{
    manifest::Record,
    path::RelPath,
    store::{RecordStream, SnapshotInfo, SnapshotReader, StoreError},
    tree::{EntryStream, FileStream, Listed, TreeError, TreeSource},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;

pub(super) struct MemoryReader(pub(super) Arc<Snapshot>);

#[async_trait]
impl SnapshotReader for MemoryReader {
    fn info(&self) -> &SnapshotInfo {
        &self.0.info
    }

    async fn records(&self) -> Result<Box<dyn RecordStream>, StoreError> {
        Ok(Box::new(Walk { snapshot: Arc::clone(&self.0), at: 0 }))
    }

    async fn record(&self, path: &RelPath) -> Result<Option<Record>, StoreError> {
        Ok(self.0.find(path).map(|kept| kept.record.clone()))
    }
}

#[async_trait]
impl TreeSource for MemoryReader {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(Walk { snapshot: Arc::clone(&self.0), at: 0 }))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        match self.0.find(path) {
            Some(Kept { content: Some(content), .. }) => Ok(Box::new(Content(Bytes::clone(content)))),
            _ => Err(TreeError::NotFound { path: path.clone() }),
        }
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
