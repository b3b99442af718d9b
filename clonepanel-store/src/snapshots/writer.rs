//! [`Writer`]: writes one snapshot.

use super::{
    commit,
    copy::CopyDirs,
    draft::Draft,
    incoming::Incoming,
    lock::SourceLock,
    offer::{Decision, Hashed},
    store::Root,
    work::Workers,
};
use crate::blocking::{self, Stop};
use async_trait::async_trait;
use clonepanel_core::{
    entry::Entry,
    manifest::Record,
    snapshot_id::SnapshotId,
    store::{Seal, SnapshotInfo, SnapshotWriter, StoreError, Tally},
    time::Timestamp,
    tree::{FileSink, TreeError, TreeSink, Want},
};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// Writes one snapshot: decides about each entry at once, and leaves the disk to its workers.
#[derive(Debug)]
pub(crate) struct Writer {
    // Dropped in this order: the workers end before anybody else gets the lock.
    pub(crate) _workers: Workers,
    pub(crate) draft: Arc<Draft>,
    pub(crate) root: Arc<Root>,
    pub(crate) id: SnapshotId,
    pub(crate) begun: Timestamp,
    /// Of a copy: where what is here is linked from and to.
    pub(crate) copy_dirs: Arc<Mutex<Option<CopyDirs>>>,
    pub(crate) _lock: SourceLock,
}

impl Drop for Writer {
    fn drop(&mut self) {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if self.draft.queue.failure().is_some_and(|failure| full.contains(&failure.error().kind())) {
            self.root.mark_full(&self.draft.staging.name);
        }
    }
}

#[async_trait]
impl TreeSink for Writer {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        self.draft.check()?;
        if self.draft.copied.is_some() {
            return Err(TreeError::Refused { path: entry.path.clone(), why: "a copy is offered what is kept" });
        }
        self.draft.make_way().await?;
        let entry = &*entry.keepable();
        let mut decision = self.draft.decide(entry, Hashed::NotYet)?;
        if let Decision::Hash(adopted) = decision {
            let sound = blocking::run(move || adopted.is_sound(), |error| error)
                .await
                .map_err(|error| TreeError::from_io("read what was received of", &entry.path, error))?;
            decision = self.draft.decide(entry, if sound { Hashed::Good } else { Hashed::Bad })?;
        }
        match decision {
            Decision::Wanted(basis) => Ok(Want::Data { basis }),
            Decision::Done | Decision::Hash(_) => Ok(Want::Nothing),
        }
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.draft.check()?;
        Ok(Box::new(Incoming::new(&self.draft, &entry.keepable())?))
    }
}

#[async_trait]
impl SnapshotWriter for Writer {
    fn id(&self) -> &SnapshotId {
        &self.id
    }

    fn base(&self) -> Option<&SnapshotInfo> {
        self.draft.base.as_ref().map(|base| &base.info)
    }

    fn tally(&self) -> Tally {
        self.draft.copied.as_ref().map_or_else(|| self.draft.lock().tally, |info| info.tally)
    }

    async fn offer_kept(&self, record: &Record) -> Result<Want, TreeError> {
        self.draft.check()?;
        let path = record.entry.path.clone();
        if self.draft.copied.is_none() {
            return Err(TreeError::Refused { path, why: "the snapshot is no copy" });
        }
        self.draft.make_way().await?;
        let (draft, dirs, record) = (Arc::clone(&self.draft), Arc::clone(&self.copy_dirs), record.clone());
        let decide = move |_: &Stop| {
            let mut dirs = dirs.lock().unwrap_or_else(PoisonError::into_inner);
            draft.take_kept(&record, dirs.get_or_insert_with(|| CopyDirs::new(&draft)))
        };
        // To its end: what is linked after the commit would be in no snapshot.
        blocking::run_to_end(decide, |error| TreeError::from_io("link", &path, error)).await
    }

    async fn commit(self: Box<Self>, seal: Seal) -> Result<SnapshotInfo, StoreError> {
        blocking::run_to_end(
            move |stop| commit::commit(*self, seal, stop),
            |error| StoreError::from_io("commit the snapshot", error),
        )
        .await
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        blocking::run_to_end(
            move |_| {
                // What was received is complete and written down before the workers end.
                self.draft.flush();
                self.draft.queue.wait_idle();
                drop(self);
                Ok(())
            },
            |error| StoreError::from_io("give up the snapshot", error),
        )
        .await
    }
}
