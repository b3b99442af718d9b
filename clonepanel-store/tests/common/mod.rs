//! What the tests of the store do with it.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used)]

use clonepanel_core::{
    entry::Entry,
    memory::MemoryTree,
    path::RelPath,
    problem::Problems,
    snapshot_id::{SnapshotId, SourceName},
    store::{NewSnapshot, Seal, SnapshotInfo, SnapshotStore as _, SnapshotWriter, StoreError},
    testkit::{path, read_tree},
    time::Timestamp,
    tree::{Basis, TreeSink, Under, Want, copy},
};
use clonepanel_store::{HardLinkStore, StoreOptions};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

/// A store in a temporary directory.
pub(crate) struct Kept {
    _dir: Option<TempDir>,
    root: PathBuf,
    pub(crate) options: StoreOptions,
    pub(crate) store: HardLinkStore,
}

/// When the `n`-th snapshot is made.
pub(crate) fn day(n: u32) -> Timestamp {
    Timestamp::from_secs(1_780_000_000 + i64::from(n) * 86_400)
}

/// A time long before all snapshots.
pub(crate) fn old(secs: i64) -> Timestamp {
    Timestamp::new(1_600_000_000 + secs, 123_456_789)
}

pub(crate) fn source(name: &str) -> SourceName {
    SourceName::new(name).unwrap()
}

impl Kept {
    pub(crate) fn new() -> Self {
        Self::with(StoreOptions::new())
    }

    pub(crate) fn with(options: StoreOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kept = Self::open(&dir.path().join("store"), options);
        Self { _dir: Some(dir), ..kept }
    }

    /// A store in a directory of the caller's.
    pub(crate) fn open(root: &Path, options: StoreOptions) -> Self {
        let store = HardLinkStore::with_options(root, options.clone()).unwrap();
        Self { _dir: None, root: root.to_owned(), options, store }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.root.clone()
    }

    pub(crate) fn reopen(&mut self) {
        self.store = HardLinkStore::open_with_options(self.root(), self.options.clone()).unwrap();
    }

    /// The directory of a snapshot on disk.
    pub(crate) fn at(&self, id: &SnapshotId) -> PathBuf {
        self.root().join(id.source().as_str()).join(id.stem())
    }

    pub(crate) fn file(&self, id: &SnapshotId, name: &str) -> PathBuf {
        self.at(id).join("files").join(name)
    }

    pub(crate) fn stat(&self, id: &SnapshotId, name: &str) -> fs::Metadata {
        fs::symlink_metadata(self.file(id, name)).unwrap()
    }

    pub(crate) fn content_of(&self, id: &SnapshotId, name: &str) -> Vec<u8> {
        fs::read(self.file(id, name)).unwrap()
    }

    pub(crate) async fn begin(&self, n: u32) -> Box<dyn SnapshotWriter> {
        self.store.begin(NewSnapshot::new(source("site"), day(n))).await.unwrap()
    }

    /// A whole backup of a tree on day `n`.
    pub(crate) async fn back_up(&self, tree: &MemoryTree, n: u32) -> SnapshotInfo {
        self.back_up_as("site", tree, n).await.unwrap()
    }

    pub(crate) async fn back_up_as(&self, name: &str, tree: &MemoryTree, n: u32) -> Result<SnapshotInfo, StoreError> {
        let writer = self.store.begin(NewSnapshot::new(source(name), day(n))).await?;
        let report = copy(tree, &Under::new(path("files"), &*writer), &()).await;
        let mut problems = Problems::new();
        match report {
            Ok(report) => problems.extend_under(&path("files"), report.problems),
            Err(error) => {
                let error = clonepanel_core::tree::TreeError::from(error);
                writer.abort().await?;
                return Err(error.into());
            }
        }
        writer.commit(Seal::new(day(n)).problems(problems)).await
    }

    /// The files of a snapshot, read back.
    pub(crate) async fn tree(&self, id: &SnapshotId) -> MemoryTree {
        read_tree(&Under::new(path("files"), self.store.open(id).await.unwrap())).await.unwrap()
    }

    /// Everything about a snapshot's directory that must never change.
    pub(crate) fn frozen(&self, id: &SnapshotId) -> BTreeMap<PathBuf, String> {
        freeze(&self.at(id))
    }
}

pub(crate) fn freeze(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.unwrap();
        let stat = fs::symlink_metadata(entry.path()).unwrap();
        let content =
            if stat.is_file() { blake3::hash(&fs::read(entry.path()).unwrap()).to_string() } else { String::new() };
        let facts = format!(
            "{} {:o} {}:{} {}.{} {} {content}",
            stat.ino(),
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.mtime_nsec(),
            stat.len()
        );
        all.insert(entry.path().strip_prefix(root).unwrap().to_owned(), facts);
    }
    all
}

/// A tree of plain files.
pub(crate) fn tree(files: &[(&str, &[u8])]) -> MemoryTree {
    let tree = MemoryTree::new();
    for (name, content) in files {
        let at = path(name);
        let mut above = at.parent();
        let mut missing = Vec::new();
        while let Some(dir) = above.filter(|dir| tree.entry(dir).is_none()) {
            above = dir.parent();
            missing.push(dir);
        }
        for dir in missing.into_iter().rev() {
            tree.put_dir(dir).unwrap();
        }
        tree.put_file(at, content.to_vec(), old(1)).unwrap();
    }
    tree
}

pub(crate) fn long(byte: u8) -> Vec<u8> {
    vec![byte; 5000]
}

/// What a writer says to an entry: nothing wanted, wanted, or wanted with a basis of so many bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Basis(u64),
    No,
    Plain,
}

pub(crate) async fn ask(sink: &dyn TreeSink, entry: &Entry) -> Asked {
    match sink.offer(entry).await.unwrap() {
        Want::Nothing => Asked::No,
        Want::Data { basis: None } => Asked::Plain,
        Want::Data { basis: Some(basis) } => Asked::Basis(basis.len()),
    }
}

pub(crate) async fn basis_content(basis: &Arc<dyn Basis>) -> Vec<u8> {
    basis.read_at(0, usize::try_from(basis.len()).unwrap()).await.unwrap().to_vec()
}

/// Sends content for an entry that was asked for.
pub(crate) async fn send(sink: &dyn TreeSink, entry: &Entry, content: &[u8]) {
    let mut file = sink.file(entry).await.unwrap();
    for piece in content.chunks(100_000) {
        file.write(bytes::Bytes::copy_from_slice(piece)).await.unwrap();
    }
    file.finish().await.unwrap();
}

/// A file entry below `files`.
pub(crate) fn file(name: &str, len: usize) -> Entry {
    Entry::file(path("files").join(&path(name)).unwrap(), len as u64, old(1))
}

pub(crate) async fn offer_files(sink: &dyn TreeSink) {
    assert_eq!(ask(sink, &Entry::dir(path("files"))).await, Asked::No);
}

pub(crate) fn rel(name: &str) -> RelPath {
    path(name)
}
