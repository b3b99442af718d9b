//! [`PartSink`]: one part of a snapshot, as the sink of one transfer.

use crate::{
    entry::Entry,
    path::RelPath,
    tree::{FileSink, TreeError, TreeSink, Under, Want},
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// From so many entries on a directory is wide: sessions, caches and mail queues grow like that, and cost time in every run.
const WIDE: u64 = 50_000;

/// What is below a prefix. A root that the source does not list is made up, so that what is in the part has a parent.
pub(super) struct PartSink<'a> {
    inner: Under<&'a dyn TreeSink>,
    rooted: AtomicBool,
    widths: Mutex<Widths>,
}

/// How many entries lie in each directory.
#[derive(Default)]
struct Widths {
    hashing: RandomState,
    /// By a hash of the path: a wrong count once in a very long while costs a remark.
    counts: HashMap<u64, u64>,
    wide: BTreeMap<RelPath, u64>,
}

impl Widths {
    fn count(&mut self, path: &RelPath) {
        let Some(parent) = path.parent() else { return };
        let count = self.counts.entry(self.hashing.hash_one(&parent)).or_default();
        *count += 1;
        if *count >= WIDE {
            self.wide.insert(parent, *count);
        }
    }
}

impl<'a> PartSink<'a> {
    pub(super) fn new(prefix: RelPath, sink: &'a dyn TreeSink) -> Self {
        // Nothing stands above the root of the snapshot, and it need not be listed.
        let rooted = AtomicBool::new(prefix.is_root());
        Self { inner: Under::new(prefix, sink), rooted, widths: Mutex::default() }
    }

    /// The directories with very many entries, and how many.
    pub(super) fn wide_dirs(self) -> Vec<(RelPath, u64)> {
        self.widths.into_inner().unwrap_or_else(PoisonError::into_inner).wide.into_iter().collect()
    }

    /// Makes the root up if there is none.
    pub(super) async fn root(&self) -> Result<(), TreeError> {
        if !self.rooted.load(Ordering::Acquire) {
            self.inner.offer(&Entry::dir(RelPath::root())).await?;
            self.rooted.store(true, Ordering::Release);
        }
        Ok(())
    }
}

#[async_trait]
impl TreeSink for PartSink<'_> {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        if !entry.path.is_root() {
            self.root().await?;
            let want = self.inner.offer(entry).await?;
            self.widths.lock().unwrap_or_else(PoisonError::into_inner).count(&entry.path);
            return Ok(want);
        }
        let want = self.inner.offer(entry).await?;
        self.rooted.store(true, Ordering::Release);
        Ok(want)
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.inner.file(entry).await
    }
}
