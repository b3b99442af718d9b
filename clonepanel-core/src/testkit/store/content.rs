//! S5, S6, S8, S10, S12, S14: what snapshots hold.

use super::{
    fixture::{
        Asked, StoreFixture, back_up, begin, day, everything, files, fill, fill_entries, ids, in_files, old, sample,
        send, source, tree_of,
    },
    hold,
};
use crate::{
    digest::FileDigest,
    entry::{Entry, EntryKind, EntryMeta, Freshness},
    memory::MemoryTree,
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    store::{NewSnapshot, Seal, Slice, SnapshotInfo, SnapshotState, SnapshotStore},
    testkit::{
        differences,
        generator::{Devices, Shape, Unreadable},
        owner_differences, path,
    },
    tree::{TreeSink, Under},
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// S5: an entry answered `Nothing` reads back with the content of its base; what may have changed is asked for, and so is
/// what is audited.
pub async fn s5_unchanged_entries_read_back_as_their_base(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let tree = sample();
    back_up(&*store, &tree, day(0)).await;
    for (name, mtime) in [("a/one", old(100)), ("copy", old(1))] {
        // Another content of the same length: with another time, and with the same but known to be touched.
        let content: Vec<u8> = tree.content(&path(name)).expect("the file is there").iter().rev().copied().collect();
        tree.write(&path(name), content, mtime).expect("the file is there");
    }
    let mut entries = tree.list();
    for entry in &mut entries {
        let touched = entry.path == path("copy");
        entry.meta.freshness = if touched { Freshness::Touched } else { Freshness::Settled };
    }
    let store = fixture.open().await;
    let writer = begin(&*store, day(1)).await;
    let asked = fill_entries(&*writer, &tree, &entries).await.expect("write a tree");
    let id = writer.commit(Seal::new(day(1))).await.expect("commit a snapshot").id;
    for (path, asked) in &asked {
        let changed = ["a/one", "copy"].map(crate::testkit::path).contains(path);
        hold!("S5", (*asked == Asked::Yes) == changed, "{path} was asked for: {asked:?}, and has changed: {changed}");
    }
    let differences = differences(&tree, &tree_of(&*store, &id).await);
    hold!("S5", differences.is_empty(), "the snapshot differs: {differences:?}");

    for entry in &mut entries {
        entry.meta.freshness = Freshness::Settled;
    }
    let slice = Slice::new(0, 2).expect("one of two");
    let writer = store.begin(NewSnapshot::new(source(), day(2)).audit(slice)).await.expect("begin a snapshot");
    let asked = fill_entries(&*writer, &tree, &entries).await.expect("write a tree");
    for (path, asked) in &asked {
        let audited = slice.contains(&in_files(&path.to_string()));
        hold!("S5", (*asked == Asked::Yes) == audited, "{path} was asked for: {asked:?}, and is audited: {audited}");
    }
}

/// S6: writing never changes an older snapshot.
pub async fn s6_older_snapshots_never_change(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let tree = sample();
    let further = EntryKind::File { len: 0, hardlink_to: Some(path("a/one")) };
    tree.put(&Entry { kind: further, ..Entry::file(path("linked"), 0, old(1)) }, "").expect("a free place");
    let first = back_up(&*store, &tree, day(0)).await.id;
    let before = everything(&*store, &first).await;

    let mode = |name: &str, mode| {
        let meta = tree.entry(&path(name)).expect("the entry is there").meta;
        tree.set_meta(&path(name), &EntryMeta { mode, ..meta }).expect("the entry is there");
    };
    mode("a/b/two", 0o600);
    mode("a", 0o700);
    mode("nothing", 0o4755);
    tree.write(&path("a/one"), "through one of its names", old(60)).expect("the file is there");
    tree.write(&path("a/large"), vec![b'x'; 300_001], old(61)).expect("the file is there");
    let touched = EntryMeta { mtime: old(62), ..tree.entry(&path("copy")).expect("the file is there").meta };
    tree.set_meta(&path("copy"), &touched).expect("the file is there");
    tree.remove(&path("empty"));
    tree.put_file(path("empty"), "a file now", old(63)).expect("a free place");
    let second = back_up(&*store, &tree, day(1)).await.id;
    hold!("S6", everything(&*store, &first).await == before, "a commit changed an older snapshot");
    let second_before = everything(&*store, &second).await;

    tree.remove(&path("a"));
    tree.put_file(path("a"), "a file now", old(64)).expect("a free place");
    let writer = begin(&*store, day(2)).await;
    fill(&*writer, &tree).await;
    writer.abort().await.expect("abort a snapshot");
    back_up(&*store, &tree, day(3)).await;
    for store in [store, fixture.open().await] {
        hold!("S6", everything(&*store, &first).await == before, "later writing changed an older snapshot");
        hold!("S6", everything(&*store, &second).await == second_before, "later writing changed its base");
    }
}

/// S8: deleting a snapshot leaves every other one as it is.
pub async fn s8_deleting_leaves_the_others(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let tree = sample();
    let mut made = Vec::new();
    for n in 0..4 {
        tree.write(&path("a/one"), format!("version {n}"), old(100 + i64::from(n))).expect("the file is there");
        made.push(back_up(&*store, &tree, day(n)).await.id);
    }
    let mut before = Vec::new();
    for id in &made {
        before.push(everything(&*store, id).await);
    }
    for gone in [1, 0, 3] {
        store.delete(&made[gone]).await.expect("delete a snapshot");
        let left = ids(&*store).await;
        hold!("S8", !left.contains(&made[gone]), "a deleted snapshot is still listed");
        for store in [&store, &fixture.open().await] {
            for (id, before) in made.iter().zip(&before).filter(|(id, _)| left.contains(id)) {
                hold!("S8", everything(&**store, id).await == *before, "deleting changed another snapshot, {id}");
            }
        }
    }
    hold!("S8", ids(&*store).await == [made[2].clone()], "deleting took more than it was told to");
    let next = back_up(&*store, &tree, day(9)).await.id;
    let differences = differences(&tree, &tree_of(&*store, &next).await);
    hold!("S8", differences.is_empty(), "after deleting, a new snapshot differs: {differences:?}");
}

/// S10: names of any bytes, empty files, links, hard-link groups, special files, modes, owners and times round-trip.
pub async fn s10_everything_round_trips(fixture: &dyn StoreFixture) {
    let shape = Shape::new().entries(120).longest(70_000).devices(Devices::With).unreadable(Unreadable::With);
    for seed in 0..3 {
        let tree = shape.tree(seed);
        let named = EntryMeta {
            user: Some(Bytes::from("al ice\u{202e}")),
            group: Some(Bytes::from_static(b"g\xff")),
            ..meta(&tree, "one")
        };
        tree.set_meta(&path("one"), &named).expect("the entry is there");
        let unnamed = EntryMeta { user: None, group: None, ..named.clone() };
        // The first name on the wire need not be the first by path.
        let mut entries = tree.list();
        last_name_first(&mut entries);
        // Names that no system has are left out.
        let odd = EntryMeta { user: Some(Bytes::new()), group: Some(Bytes::from(vec![b'g'; 256])), ..named.clone() };
        entries.push(Entry { meta: odd, ..Entry::dir(path("odd")) });

        let store = fixture.open().await;
        let writer = begin(&*store, day(u32::try_from(seed).unwrap_or(0))).await;
        fill_entries(&*writer, &tree, &entries).await.expect("write a tree");
        let id = writer.commit(Seal::new(day(9))).await.expect("commit a snapshot").id;

        let store = fixture.open().await;
        let reader = store.open(&id).await.expect("open a snapshot");
        let back = crate::testkit::read_tree(&Under::new(files(), &*reader)).await;
        hold!("S10", back.is_ok(), "the snapshot cannot be read in its own order: {:?}", back.err());
        let back = back.unwrap_or_default();
        hold!("S10", meta(&back, "odd") == unnamed, "owners without a name are {:?}", meta(&back, "odd"));
        back.remove(&path("odd"));
        let differences = [differences(&tree, &back), owner_differences(&tree, &back)].concat();
        hold!("S10", differences.is_empty(), "the snapshot differs: {differences:?}");
        hold!("S10", meta(&back, "one") == named, "owners' names are {:?}", meta(&back, "one"));

        let mut last: Option<RelPath> = None;
        let mut records = reader.records().await.expect("read a manifest");
        while let Some(record) = records.next().await.expect("read a manifest") {
            let at = record.entry.path.clone();
            hold!("S10", last.is_none_or(|last| last < at), "the manifest is not sorted at {at}");
            let digest =
                at.strip_prefix(&files()).and_then(|at| tree.content(&at)).map(|content| FileDigest::of(&content));
            hold!("S10", record.content == digest, "the manifest has a wrong hash at {at}");
            let found = reader.record(&at).await.expect("read a manifest");
            hold!("S10", found.as_ref() == Some(&record), "the record of {at} is {found:?}, not {record:?}");
            last = Some(at);
        }
        let nothing = reader.record(&in_files("one/no such")).await.expect("read a manifest");
        hold!("S10", nothing.is_none(), "there is a record of what was never there");
    }
}

fn meta(tree: &MemoryTree, name: &str) -> EntryMeta {
    tree.entry(&path(name)).expect("the entry is there").meta
}

/// Lists each hard-link group under its last name by path, and that one, with the directories it needs, before the others.
fn last_name_first(entries: &mut [Entry]) {
    let mut last_names: BTreeMap<RelPath, RelPath> = BTreeMap::new();
    for entry in entries.iter() {
        if let EntryKind::File { hardlink_to: Some(leader), .. } = &entry.kind {
            last_names.insert(leader.clone(), entry.path.clone());
        }
    }
    for entry in entries.iter_mut() {
        if let EntryKind::File { hardlink_to, .. } = &mut entry.kind {
            let leader = hardlink_to.clone().unwrap_or_else(|| entry.path.clone());
            if let Some(last) = last_names.get(&leader) {
                *hardlink_to = (*last != entry.path).then(|| last.clone());
            }
        }
    }
    let weight = |entry: &Entry| match entry.kind {
        EntryKind::Dir => 0,
        EntryKind::File { hardlink_to: Some(_), .. } => 2,
        _ => 1,
    };
    entries.sort_by_key(weight);
}

/// S12: a content that never arrives does not fail the commit: the older version stands in, and the snapshot says so.
pub async fn s12_a_missing_content_does_not_fail_the_commit(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let tree = MemoryTree::new();
    for name in ["broken", "fine", "unread", "vanished"] {
        tree.put_file(path(name), format!("the older {name}"), old(1)).expect("a free place");
    }
    back_up(&*store, &tree, day(0)).await;
    let older = tree.fork();
    for name in ["broken", "fine", "unread", "vanished", "new", "new vanished"] {
        tree.put_file(path(name), format!("the newer version of {name}"), old(2)).expect("a free place");
    }

    let writer = begin(&*store, day(1)).await;
    let sink = Under::new(files(), &*writer);
    for entry in tree.list() {
        sink.offer(&entry).await.expect("offer an entry");
    }
    let fine = tree.entry(&path("fine")).expect("the file is there");
    send(&sink, &fine, b"the newer version of fine").await.expect("write a file");
    let broken = tree.entry(&path("broken")).expect("the file is there");
    let mut half = sink.file(&broken).await.expect("open a file");
    half.write(Bytes::from_static(b"the newer")).await.expect("write a file");
    drop(half);
    let mut problems = Problems::new();
    for (name, kind) in [
        ("unread", ProblemKind::Unreadable),
        ("vanished", ProblemKind::Vanished),
        ("new vanished", ProblemKind::Vanished),
    ] {
        problems.push(Problem::new(in_files(name), kind, "as the transport said"));
    }
    let committed = writer.commit(Seal::new(day(1)).problems(problems)).await;
    hold!("S12", committed.is_ok(), "a missing content fails the commit: {:?}", committed.err());
    let Ok(info) = committed else { return };

    hold!("S12", info.state() == SnapshotState::Partial, "the snapshot is {}", info.state().word());
    for name in ["broken", "new", "unread"] {
        hold!("S12", loss_at(&info, &in_files(name)), "the loss of {name} is not listed");
    }
    let expected = MemoryTree::new();
    for name in ["broken", "unread"] {
        copy_file(&older, &expected, name);
    }
    copy_file(&tree, &expected, "fine");
    let back = tree_of(&*fixture.open().await, &info.id).await;
    let differences = differences(&expected, &back);
    hold!("S12", differences.is_empty(), "the snapshot differs: {differences:?}");
    check_carried("S12", &*store, &info, &["broken", "unread"], &["fine"]).await;

    // What vanished is not missing.
    let writer = begin(&*store, day(2)).await;
    let sink = Under::new(files(), &*writer);
    sink.offer(&Entry::dir(RelPath::root())).await.expect("offer an entry");
    sink.offer(&Entry::file(path("vanished"), 5, old(3))).await.expect("offer an entry");
    let mut problems = Problems::new();
    problems.push(Problem::new(in_files("vanished"), ProblemKind::Vanished, ""));
    let info = writer.commit(Seal::new(day(2)).problems(problems)).await.expect("commit a snapshot");
    hold!("S12", info.state() == SnapshotState::Complete, "a vanished file makes it {}", info.state().word());
}

fn copy_file(from: &MemoryTree, to: &MemoryTree, name: &str) {
    let entry = from.entry(&path(name)).expect("the file is there");
    to.put(&entry, from.content(&path(name)).unwrap_or_default()).expect("a free place");
}

fn loss_at(info: &SnapshotInfo, path: &RelPath) -> bool {
    info.problems.listed().iter().any(|problem| problem.path == *path && problem.kind.is_loss())
}

async fn check_carried(id: &str, store: &dyn SnapshotStore, info: &SnapshotInfo, carried: &[&str], own: &[&str]) {
    let reader = store.open(&info.id).await.expect("open a snapshot");
    for (names, expected) in [(carried, true), (own, false)] {
        for name in names {
            let record = reader.record(&in_files(name)).await.expect("read a manifest");
            let marked = record.map(|record| record.marks.carried);
            assert_eq!(marked, Some(expected), "{id}: whether {name} is marked as carried forward");
        }
    }
}

/// S14: what could not be listed, alone or with everything below a directory, is carried forward.
pub async fn s14_what_was_not_listed_is_carried(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let tree = MemoryTree::new();
    for dir in ["open", "closed", "closed/deep", "closed/deeper", "lost"] {
        tree.put_dir(path(dir)).expect("a free place");
    }
    for name in
        ["open/gone", "open/stays", "closed/seen", "closed/unseen", "closed/deep/unseen", "lost/unseen", "open/refused"]
    {
        tree.put_file(path(name), format!("the older {name}"), old(1)).expect("a free place");
    }
    let further = EntryKind::File { len: 0, hardlink_to: Some(path("closed/seen")) };
    tree.put(&Entry { kind: further, ..Entry::file(path("lost/linked"), 0, old(1)) }, "").expect("a free place");
    back_up(&*store, &tree, day(0)).await;

    let expected = tree.fork();
    expected.remove(&path("open/gone"));
    // No longer a name of the file that now has another content.
    let content = tree.content(&path("lost/linked")).unwrap_or_default();
    expected.remove(&path("lost/linked"));
    expected.put_file(path("lost/linked"), content, old(1)).expect("a free place");
    expected.write(&path("closed/seen"), "the newer version", old(2)).expect("the file is there");
    let listed = ["", "open", "open/stays", "closed", "closed/seen"].map(path);
    let entries: Vec<_> = expected.list().into_iter().filter(|entry| listed.contains(&entry.path)).collect();
    let writer = begin(&*store, day(1)).await;
    fill_entries(&*writer, &expected, &entries).await.expect("write a tree");
    let mut problems = Problems::new();
    for dir in ["closed", "lost"] {
        problems.push(Problem::new(in_files(dir), ProblemKind::Unlisted, "permission denied"));
    }
    problems.push(Problem::new(in_files("open/refused"), ProblemKind::Unreadable, "permission denied"));
    let info = writer.commit(Seal::new(day(1)).problems(problems)).await.expect("commit a snapshot");

    hold!("S14", info.state() == SnapshotState::Partial, "the snapshot is {}", info.state().word());
    let differences = differences(&expected, &tree_of(&*fixture.open().await, &info.id).await);
    hold!("S14", differences.is_empty(), "the snapshot differs: {differences:?}");
    let carried =
        ["closed/unseen", "closed/deep/unseen", "closed/deeper", "lost/unseen", "lost/linked", "open/refused"];
    check_carried("S14", &*store, &info, &carried, &["closed/seen", "open/stays"]).await;
}
