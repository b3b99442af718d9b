//! Random histories: whatever happens to a source, older snapshots stay as they are to the byte and to the attribute.
#![allow(clippy::unwrap_used)]

mod common;

use clonepanel_core::{
    problem::Problems,
    snapshot_id::SnapshotId,
    store::{NewSnapshot, Seal, SnapshotState, SnapshotStore as _},
    testkit::{
        Gated, Yields, block_on, cancel_everywhere, differences,
        generator::{Random, Shape, edit},
        path,
    },
    tree::{Under, copy},
};
use clonepanel_store::StoreOptions;
use common::{Kept, day, source};
use std::{collections::BTreeMap, path::PathBuf};

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 12, failure_persistence: None, ..Default::default() })]

    #[test]
    fn older_snapshots_never_change(seed in 0..1_000_000_u64, cap in proptest::option::of(2..5_u64), workers in 1..4_usize) {
        let options = StoreOptions::new().workers(workers);
        block_on(history(seed, cap.into_iter().fold(options, StoreOptions::link_cap)));
    }
}

async fn history(seed: u64, options: StoreOptions) {
    let mut kept = Kept::with(options);
    let shape = Shape::new().entries(60);
    let mut random = Random::new(seed);
    let mut tree = shape.tree(seed);
    let mut frozen: Vec<(SnapshotId, BTreeMap<PathBuf, String>, _)> = Vec::new();
    for n in 0..7 {
        let info = kept.back_up(&tree, n).await;
        assert_eq!(info.state(), SnapshotState::Complete, "{:?}", info.problems);
        frozen.push((info.id.clone(), kept.frozen(&info.id), tree.fork()));
        if n == 4 {
            let at = usize::from(random.content(1)[0]) % frozen.len();
            let (id, ..) = frozen.remove(at);
            kept.store.delete(&id).await.unwrap();
        }
        if n % 2 == 0 {
            kept.reopen();
        }
        for (id, before, content) in &frozen {
            assert_eq!(&kept.frozen(id), before, "seed {seed}, day {n}, {id}");
            assert_eq!(differences(&kept.tree(id).await, content), Vec::<String>::new(), "seed {seed}, day {n}, {id}");
        }
        tree = edit(&tree, &shape, seed + u64::from(n));
    }
}

#[test]
fn a_run_may_be_dropped_anywhere() {
    block_on(async {
        let kept = Kept::new();
        let shape = Shape::new().entries(25).longest(70_000);
        let first_tree = shape.tree(7);
        let first = kept.back_up(&first_tree, 0).await.id;
        let before = kept.frozen(&first);
        let tree = edit(&first_tree, &shape, 8);
        let store = Gated::new(kept.store.clone(), Yields);
        let run = || async {
            let writer = store.begin(NewSnapshot::new(source("site"), day(1))).await.unwrap();
            let report = copy(&tree, &Under::new(path("files"), &*writer), &()).await.unwrap();
            let mut problems = Problems::new();
            problems.extend_under(&path("files"), report.problems);
            writer.commit(Seal::new(day(1)).problems(problems)).await.unwrap().id
        };
        let mut committed = 0;
        let dropped = cancel_everywhere(run, async |polls, _| {
            assert_eq!(kept.frozen(&first), before, "after {polls} polls");
            let list = kept.store.list(&source("site")).await.unwrap();
            // A commit that was dropped late may have come to its end: then it is whole.
            if list.len() > 1 {
                committed += 1;
                let last = &list.last().unwrap().id;
                assert_eq!(differences(&kept.tree(last).await, &tree), Vec::<String>::new(), "after {polls} polls");
                kept.store.delete(last).await.unwrap();
            }
        })
        .await;
        assert!(dropped > 20 && committed > 0, "dropped at {dropped} points, committed {committed} times");
    });
}
