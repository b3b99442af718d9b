//! [`StoreFixture`], and what the rules do with a store.

use crate::{
    entry::Entry,
    manifest::Record,
    memory::MemoryTree,
    path::RelPath,
    snapshot_id::{SnapshotId, SourceName},
    store::{NewSnapshot, Seal, SnapshotInfo, SnapshotStore, SnapshotWriter},
    testkit::{path, read_tree},
    time::Timestamp,
    tree::{TreeError, TreeSink, TreeSource, Under, Want},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc};

/// A store to be tested: empty when the fixture is made.
#[async_trait]
pub trait StoreFixture: Send + Sync {
    /// Opens the store, as a program that starts would. Opened twice, both are the same store, as after a restart.
    async fn open(&self) -> Arc<dyn SnapshotStore>;
}

/// When the `n`-th snapshot of a test is made; all contents are years older.
pub(super) fn day(n: u32) -> Timestamp {
    Timestamp::from_secs(1_780_000_000 + i64::from(n) * 86_400)
}

pub(super) fn old(secs: i64) -> Timestamp {
    Timestamp::new(1_600_000_000 + secs, 123_456_789)
}

pub(super) fn source() -> SourceName {
    SourceName::new("contract.example").expect("a valid name")
}

/// The part of a snapshot that the rules write to and read from.
pub(super) fn files() -> RelPath {
    path("files")
}

pub(super) fn in_files(below: &str) -> RelPath {
    files().join(&path(below)).expect("a short path")
}

/// A small tree: directories, files of some lengths, one shared content.
pub(super) fn sample() -> MemoryTree {
    let tree = MemoryTree::new();
    for dir in ["a", "a/b", "empty"] {
        tree.put_dir(path(dir)).expect("a free place");
    }
    for (name, content) in [("a/one", "the first"), ("a/b/two", "the second"), ("copy", "the second"), ("nothing", "")]
    {
        tree.put_file(path(name), content, old(1)).expect("a free place");
    }
    tree.put_file(path("a/large"), vec![b'x'; 300_000], old(2)).expect("a free place");
    tree
}

pub(super) async fn begin(store: &dyn SnapshotStore, now: Timestamp) -> Box<dyn SnapshotWriter> {
    store.begin(NewSnapshot::new(source(), now)).await.expect("begin a snapshot")
}

/// Writes a whole tree, as a transport would; tells for each file whether its content was asked for.
pub(super) async fn fill(writer: &dyn TreeSink, tree: &MemoryTree) -> BTreeMap<RelPath, Asked> {
    fill_entries(writer, tree, &tree.list()).await.expect("write a tree")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    No,
    Yes,
}

pub(super) async fn fill_entries(
    writer: &dyn TreeSink,
    tree: &MemoryTree,
    entries: &[Entry],
) -> Result<BTreeMap<RelPath, Asked>, TreeError> {
    let sink = Under::new(files(), writer);
    let mut asked = BTreeMap::new();
    for entry in entries {
        let want = sink.offer(entry).await?;
        if entry.has_content() {
            let is_wanted = matches!(want, Want::Data { .. });
            asked.insert(entry.path.clone(), if is_wanted { Asked::Yes } else { Asked::No });
        }
        if matches!(want, Want::Data { .. }) {
            send(&sink, entry, &tree.content(&entry.path).unwrap_or_default()).await?;
        }
    }
    Ok(asked)
}

pub(super) async fn send(sink: &dyn TreeSink, entry: &Entry, content: &[u8]) -> Result<(), TreeError> {
    let mut file = sink.file(entry).await?;
    for chunk in content.chunks(100_000) {
        file.write(Bytes::copy_from_slice(chunk)).await?;
    }
    file.finish().await.map(drop)
}

/// A whole backup of `tree`.
pub(super) async fn back_up(store: &dyn SnapshotStore, tree: &MemoryTree, now: Timestamp) -> SnapshotInfo {
    let writer = begin(store, now).await;
    fill(&*writer, tree).await;
    writer.commit(Seal::new(now)).await.expect("commit a snapshot")
}

/// The account's files as the snapshot gives them back.
pub(super) async fn tree_of(store: &dyn SnapshotStore, id: &SnapshotId) -> MemoryTree {
    let reader = store.open(id).await.expect("open a snapshot");
    read_tree(&Under::new(files(), reader)).await.expect("read a snapshot")
}

/// Everything that a snapshot says and holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Everything {
    info: SnapshotInfo,
    pub(super) records: Vec<Record>,
    contents: BTreeMap<RelPath, Bytes>,
}

pub(super) async fn everything(store: &dyn SnapshotStore, id: &SnapshotId) -> Everything {
    let reader = store.open(id).await.expect("open a snapshot");
    let mut records = Vec::new();
    let mut stream = reader.records().await.expect("read a manifest");
    while let Some(record) = stream.next().await.expect("read a manifest") {
        records.push(record);
    }
    let mut contents = BTreeMap::new();
    for record in records.iter().filter(|record| record.content.is_some()) {
        let mut content = Vec::new();
        let mut stream = reader.open(&record.entry.path).await.expect("open a file");
        while let Some(chunk) = stream.read().await.expect("read a file") {
            content.extend_from_slice(&chunk);
        }
        contents.insert(record.entry.path.clone(), content.into());
    }
    Everything { info: reader.info().clone(), records, contents }
}

pub(super) async fn ids(store: &dyn SnapshotStore) -> Vec<SnapshotId> {
    let list = store.list(&source()).await.expect("list the snapshots");
    list.into_iter().map(|info| info.id).collect()
}
