//! S17 to S19: snapshots that are copies of another store's.

use super::{
    fixture::{
        StoreFixture, back_up, begin, day, everything, files, fill, fill_entries, ids, in_files, old, sample, send,
    },
    hold,
};
use crate::{
    memory::{MemoryStore, MemoryTree},
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    snapshot_id::{SnapshotId, SourceName},
    store::{NewSnapshot, Seal, SnapshotInfo, SnapshotState, SnapshotStore, SnapshotWriter, StoreError},
    suspicion::SuspicionRules,
    testkit::path,
    tree::{TreeError, TreeSink, Under, Want},
};
use std::collections::BTreeSet;

/// S17: a copy has the id, the place, the records and all that is known of what it is a copy of.
pub async fn s17_a_copy_is_the_snapshot_itself(fixture: &dyn StoreFixture) {
    let other = MemoryStore::new();
    let tree = sample();
    let first = back_up(&other, &tree, day(0)).await;
    let second = suspect(&other, &tree).await;
    hold!("S17", second.state() == SnapshotState::Suspect, "the test has nothing to show: {second:?}");

    let store = &*fixture.open().await;
    let own = back_up(store, &tree, day(9)).await;
    for info in [&second, &first] {
        copy(store, &other, &info.id).await;
        let (copied, expected) = (everything(store, &info.id).await, everything(&other, &info.id).await);
        hold!("S17", copied == expected, "the copy is {copied:?}, not {expected:?}");
    }
    let store = &*fixture.open().await;
    let listed = ids(store).await;
    let expected = [first.id, second.id.clone(), own.id];
    hold!("S17", listed == expected, "listed are {listed:?}, not {expected:?}");
    let infos = store.list(second.id.source()).await.expect("list the snapshots");
    hold!("S17", infos.contains(&second), "the copy is listed otherwise: {infos:?}");
    let again = store.begin(NewSnapshot::copy_of(second.clone(), day(9))).await.map(drop);
    hold!("S17", matches!(&again, Err(StoreError::Exists { id }) if *id == second.id), "a second copy: {again:?}");
}

/// A snapshot with everything that can be known of one: a file that was carried forward, one that is torn, a suspicion.
async fn suspect(store: &MemoryStore, tree: &MemoryTree) -> SnapshotInfo {
    let fewer = MemoryTree::new();
    fewer.put_dir(path("a")).expect("a free place");
    fewer.put_file(path("a/one"), "another", old(5)).expect("a free place");
    fewer.put_file(path("torn"), "torn while it was read", old(5)).expect("a free place");
    let writer = begin(store, day(1)).await;
    let mut entries = fewer.list();
    entries.retain(|entry| entry.path != path("a/one"));
    fill_entries(&*writer, &fewer, &entries).await.expect("write a tree");
    let mut problems = Problems::new();
    problems.push(Problem::new(in_files("a/one"), ProblemKind::Unreadable, "permission denied"));
    problems.push(Problem::new(in_files("torn"), ProblemKind::Changed, "it was written to"));
    let files_before = tree.list().iter().filter(|entry| entry.len().is_some()).count();
    assert!(files_before > 3, "most of them are gone");
    let seal =
        Seal::new(day(2)).source_clock(Some(old(7))).problems(problems).judge(SuspicionRules::new().min_files(0));
    writer.commit(seal).await.expect("commit a snapshot")
}

/// S18: contents are known by their hash, whoever has them, and what arrives is compared with it.
pub async fn s18_a_known_content_is_not_wanted_again(fixture: &dyn StoreFixture) {
    let store = &*fixture.open().await;
    back_up(store, &sample(), day(0)).await;
    let other = MemoryStore::new();
    let tree = MemoryTree::new();
    tree.put_dir(path("moved")).expect("a free place");
    tree.put_file(path("moved/large"), vec![b'x'; 300_000], old(8)).expect("a free place");
    tree.put_file(path("new"), vec![b'n'; 5000], old(8)).expect("a free place");
    let source = SourceName::new("elsewhere.example").expect("a valid name");
    let writer = other.begin(NewSnapshot::new(source, day(1))).await.expect("begin a snapshot");
    fill(&*writer, &tree).await;
    let info = writer.commit(Seal::new(day(1))).await.expect("commit a snapshot");

    let writer = store.begin(NewSnapshot::copy_of(info.clone(), day(2))).await.expect("begin a copy");
    let wanted = offer_all(&*writer, &other, &info.id).await;
    let expected = BTreeSet::from([in_files("new")]);
    hold!("S18", wanted == expected, "wanted are {wanted:?}, and here is all but {expected:?}");
    let entry = tree.entry(&path("new")).expect("it was put there");
    let sink = Under::new(files(), &*writer);
    let bad = send(&sink, &entry, &[b'b'; 5000]).await;
    hold!("S18", matches!(bad, Err(TreeError::Damaged { .. })), "another content than the record's: {bad:?}");
    send(&sink, &entry, &[b'n'; 5000]).await.expect("send a content");
    writer.commit(Seal::new(day(2))).await.expect("commit a copy");
    let (copied, expected) = (everything(store, &info.id).await, everything(&other, &info.id).await);
    hold!("S18", copied == expected, "the copy is {copied:?}, not {expected:?}");
}

/// S19: a copy without all of its contents does not become visible, and holds up no other try.
pub async fn s19_an_incomplete_copy_is_not_committed(fixture: &dyn StoreFixture) {
    let store = &*fixture.open().await;
    let other = MemoryStore::new();
    let info = back_up(&other, &sample(), day(0)).await;
    let writer = store.begin(NewSnapshot::copy_of(info.clone(), day(1))).await.expect("begin a copy");
    let wanted = offer_all(&*writer, &other, &info.id).await;
    assert!(!wanted.is_empty(), "an empty store has no content");
    let committed = writer.commit(Seal::new(day(1))).await;
    hold!("S19", matches!(committed, Err(StoreError::Damaged { .. })), "an incomplete copy: {committed:?}");
    let listed = ids(store).await;
    hold!("S19", listed.is_empty(), "an incomplete copy is listed: {listed:?}");
    copy(store, &other, &info.id).await;
    let listed = ids(store).await;
    hold!("S19", listed == [info.id], "after another try, listed are {listed:?}");
}

/// Offers all records; tells which contents are wanted.
async fn offer_all(writer: &dyn SnapshotWriter, from: &MemoryStore, id: &SnapshotId) -> BTreeSet<RelPath> {
    let reader = from.open(id).await.expect("open a snapshot");
    let mut records = reader.records().await.expect("read a manifest");
    let mut wanted = BTreeSet::new();
    while let Some(record) = records.next().await.expect("read a manifest") {
        if let Want::Data { .. } = writer.offer_kept(&record).await.expect("offer a record") {
            wanted.insert(record.entry.path);
        }
    }
    wanted
}

async fn copy(store: &dyn SnapshotStore, from: &MemoryStore, id: &SnapshotId) {
    let reader = from.open(id).await.expect("open a snapshot");
    let new = NewSnapshot::copy_of(reader.info().clone(), day(9));
    let writer = store.begin(new).await.expect("begin a copy");
    let wanted = offer_all(&*writer, from, id).await;
    for path in wanted {
        let record = reader.record(&path).await.expect("read a manifest").expect("it was listed");
        let mut content = reader.open(&path).await.expect("open a file");
        let mut file = writer.file(&record.entry).await.expect("open a file");
        while let Some(chunk) = content.read().await.expect("read a file") {
            file.write(chunk).await.expect("write a file");
        }
        file.finish().await.expect("write a file");
    }
    writer.commit(Seal::new(day(9))).await.expect("commit a copy");
}
