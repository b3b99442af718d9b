//! S15: what the numbers of a snapshot count, and what is judged by them.

use super::{
    fixture::{StoreFixture, back_up, begin, day, everything, files, fill_entries, in_files, old},
    hold,
};
use crate::{
    entry::{Entry, Freshness},
    manifest::Record,
    memory::MemoryTree,
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    store::{Seal, SnapshotInfo, SnapshotStore, Tally},
    suspicion::{self, Suspicion, SuspicionRules},
    testkit::path,
    tree::{TreeSink, Under},
};
use std::collections::{BTreeMap, BTreeSet};

const FEW: usize = 3;
const MANY: usize = 12;

/// S15: numbers and suspicions are about what is committed, not about what was listed.
pub async fn s15_numbers_count_what_is_committed(fixture: &dyn StoreFixture) {
    let store = &*fixture.open().await;
    let tree = MemoryTree::new();
    for dir in ["closed", "open"] {
        tree.put_dir(path(dir)).expect("a free place");
    }
    for (dir, count) in [("closed", MANY), ("open", FEW)] {
        for number in 0..count {
            put(&tree, &format!("{dir}/{number:02}"), "first", 1);
        }
    }
    let [few, many] = [FEW as u64, MANY as u64];
    let first = back_up(store, &tree, day(0)).await;
    hold!("S15", first.tally.new_bytes == first.tally.bytes, "of a first snapshot not all is new: {:?}", first.tally);

    // What is below a directory that cannot be listed is still there, and is no loss once it can be listed again.
    let mut entries = settled(&tree);
    entries.retain(|entry| entry.is_dir() || !is_closed(entry));
    let mut problems = Problems::new();
    problems.push(Problem::new(in_files("closed"), ProblemKind::Unlisted, "permission denied"));
    let second = commit(store, 1, &tree, &entries, problems).await;
    check(store, &first, &second).await;
    let third = commit(store, 2, &tree, &settled(&tree), Problems::new()).await;
    check(store, &second, &third).await;
    hold!("S15", third.suspicions.is_empty(), "what was only not listed is suspect: {:?}", third.suspicions);

    // Other contents at once.
    for entry in tree.list().iter().filter(|entry| entry.has_content()) {
        tree.remove(&entry.path);
        put(&tree, &entry.path.to_string(), "encrypted", 2);
    }
    let fourth = commit(store, 3, &tree, &tree.list(), Problems::new()).await;
    check(store, &third, &fourth).await;
    let encrypted = [Suspicion::ContentsChanged { changed: few + many, of: few + many }];
    hold!("S15", fourth.suspicions == encrypted, "all contents changed, suspected is {:?}", fourth.suspicions);
    let accepted = back_up(store, &tree, day(4)).await;

    // Listed, and gone when their content was asked for; and a new one that never arrives.
    let writer = begin(store, day(5)).await;
    let (closed, open): (Vec<_>, Vec<_>) = settled(&tree).into_iter().partition(is_closed);
    fill_entries(&*writer, &tree, &open).await.expect("write a tree");
    let sink = Under::new(files(), &*writer);
    let mut problems = Problems::new();
    for mut entry in closed {
        if !entry.is_dir() {
            entry.meta.mtime = old(3);
            problems.push(Problem::new(in_files(&entry.path.to_string()), ProblemKind::Vanished, ""));
        }
        sink.offer(&entry).await.expect("offer an entry");
    }
    sink.offer(&Entry::file(path("never"), 7, old(3))).await.expect("offer an entry");
    let committed = writer.commit(Seal::new(day(5)).problems(problems).judge(rules())).await;
    // That it does not fail is another rule.
    let Ok(last) = committed else { return };
    check(store, &accepted, &last).await;
    let vanished = [
        Suspicion::CountCollapsed { before: few + many, now: few },
        Suspicion::MassDeleted { removed: many, of: few + many },
    ];
    hold!("S15", last.suspicions == vanished, "most files vanished, suspected is {:?}", last.suspicions);
}

fn put(tree: &MemoryTree, name: &str, what: &str, mtime: i64) {
    tree.put_file(path(name), format!("the {what} content of {name}"), old(mtime)).expect("a free place");
}

fn is_closed(entry: &Entry) -> bool {
    entry.path.is_within(&path("closed"))
}

/// The entries of a tree that certainly has not changed.
fn settled(tree: &MemoryTree) -> Vec<Entry> {
    let mut entries = tree.list();
    for entry in &mut entries {
        entry.meta.freshness = Freshness::Settled;
    }
    entries
}

fn rules() -> SuspicionRules {
    SuspicionRules::new().min_files(FEW as u64)
}

async fn commit(
    store: &dyn SnapshotStore,
    at: u32,
    tree: &MemoryTree,
    entries: &[Entry],
    problems: Problems,
) -> SnapshotInfo {
    let writer = begin(store, day(at)).await;
    fill_entries(&*writer, tree, entries).await.expect("write a tree");
    let seal = Seal::new(day(at)).problems(problems).judge(rules());
    writer.commit(seal).await.expect("commit a snapshot")
}

/// The numbers are those of the records, and are what was judged.
async fn check(store: &dyn SnapshotStore, base: &SnapshotInfo, info: &SnapshotInfo) {
    let before = everything(store, &base.id).await.records;
    let before: BTreeMap<_, _> = before.iter().filter_map(|record| Some((path_of(record), record.content?))).collect();
    let records = everything(store, &info.id).await.records;
    let mut tally = Tally {
        unchanged_files: info.tally.unchanged_files,
        changed_files: info.tally.changed_files,
        confirmed_files: info.tally.confirmed_files,
        new_bytes: info.tally.new_bytes,
        ..Tally::default()
    };
    let (mut looked_at, mut the_same) = (0, 0);
    for record in &records {
        let Some(content) = record.content else {
            *(if record.entry.is_dir() { &mut tally.dirs } else { &mut tally.others }) += 1;
            continue;
        };
        tally.files += 1;
        tally.bytes += content.len;
        let old = before.get(path_of(record)).filter(|_| !record.marks.carried);
        the_same += u64::from(old == Some(&content));
        *(match old {
            _ if record.marks.carried => &mut tally.carried_files,
            Some(_) => &mut looked_at,
            None => &mut tally.added_files,
        }) += 1;
    }
    let now: BTreeSet<_> = records.iter().filter(|record| record.content.is_some()).map(path_of).collect();
    tally.removed_files = before.keys().filter(|path| !now.contains(*path)).count() as u64;
    hold!("S15", info.tally == tally, "the tally of {} is {:?}, and it holds {tally:?}", info.id, info.tally);
    let compared = tally.unchanged_files + tally.changed_files;
    hold!("S15", compared == looked_at, "{compared} files were there before, and it holds {looked_at} of them");
    let unchanged = tally.unchanged_files + tally.confirmed_files;
    hold!("S15", unchanged == the_same, "{unchanged} files are said to be the same as before, and {the_same} are");
    let judged = suspicion::judge(&rules(), Some(base), &tally);
    hold!("S15", info.suspicions == judged, "{} is suspected of {:?}, not {judged:?}", info.id, info.suspicions);
}

fn path_of(record: &Record) -> &RelPath {
    &record.entry.path
}
