//! Backups of random trees in memory that are dropped at every point, and that meet an error at every call.

#![allow(clippy::unwrap_used)] // A test may.

use clonepanel_core::{
    job::BackupJob,
    memory::{MemoryStore, MemoryTransport, MemoryTree},
    path::RelPath,
    snapshot_id::SourceName,
    store::{SnapshotState, SnapshotStore},
    suspicion::SuspicionRules,
    testkit::{
        Fault, Faulty, Gated, Yields, block_on, cancel_everywhere, differences,
        generator::{Shape, edit},
        path, read_tree,
    },
    time::{Clock, Timestamp},
    transport::PullRequest,
    tree::Under,
};
use std::sync::Arc;

struct Day(i64);

impl Clock for Day {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_780_000_000 + self.0 * 86_400)
    }
}

fn source() -> SourceName {
    SourceName::new("example.org").unwrap()
}

fn files() -> RelPath {
    path("files")
}

fn shape() -> Shape {
    Shape::new().entries(45).longest(9_000)
}

fn job(store: impl SnapshotStore + 'static, far: &MemoryTree) -> BackupJob {
    let transport = Arc::new(MemoryTransport::new(far.clone()));
    // The states differ at random, at times as much as after an accident.
    let job = BackupJob::new(Arc::new(store), source()).suspicion(SuspicionRules::accept_everything());
    job.part(files(), transport, PullRequest::new())
}

/// Every snapshot that is visible is one of these states, oldest first.
async fn assert_holds(store: &MemoryStore, states: &[&MemoryTree]) {
    let list = store.list(&source()).await.unwrap();
    assert_eq!(list.len(), states.len());
    for (info, state) in list.iter().zip(states) {
        assert_eq!(info.state(), SnapshotState::Complete, "{:?}", info.problems);
        let reader = store.open(&info.id).await.unwrap();
        assert_eq!(differences(state, &read_tree(&Under::new(files(), reader)).await.unwrap()), [""; 0]);
    }
}

#[test]
fn a_backup_dropped_anywhere_leaves_all_or_nothing() {
    block_on(async {
        for seed in 0..4 {
            let tree = shape().tree(seed);
            let edited = edit(&tree, &shape(), seed);
            let far = tree.fork();
            let store = MemoryStore::new();
            job(store.clone(), &far).run(&Day(0), &()).await.unwrap();
            far.assign(&edited);
            let dropped = cancel_everywhere(
                || {
                    let (store, far) = (Gated::new(store.clone(), Yields), far.clone());
                    async move { job(store, &far).run(&Day(1), &()).await.map(drop) }
                },
                async |_, outcome| match outcome {
                    None => assert_holds(&store, &[&tree]).await,
                    Some(outcome) => {
                        assert!(outcome.is_ok(), "{outcome:?}");
                        assert_holds(&store, &[&tree, &edited]).await;
                    }
                },
            )
            .await;
            assert!(dropped > 40, "only {dropped} points to cancel at");
        }
    });
}

#[test]
fn an_error_at_any_call_costs_only_the_run_that_met_it() {
    block_on(async {
        for (seed, fault) in [(1, Fault::Backend), (2, Fault::NoSpace), (3, Fault::Denied)] {
            let tree = shape().tree(seed);
            let edited = edit(&tree, &shape(), seed);
            let mut calls = 0;
            loop {
                let far = tree.fork();
                let store = MemoryStore::new();
                job(store.clone(), &far).run(&Day(0), &()).await.unwrap();
                far.assign(&edited);
                // A disk that is full stays full; other errors pass.
                let gate = if fault == Fault::NoSpace { Faulty::from(calls, fault) } else { Faulty::at(calls, fault) };
                let gate = Arc::new(gate);
                let outcome = job(Gated::new(store.clone(), Arc::clone(&gate)), &far).run(&Day(1), &()).await;
                if !gate.has_struck() {
                    outcome.unwrap();
                    assert_holds(&store, &[&tree, &edited]).await;
                    break;
                }
                match outcome {
                    // What fails to give out an older version only costs the saving.
                    Ok(_) => assert_holds(&store, &[&tree, &edited]).await,
                    Err(_) => {
                        assert_holds(&store, &[&tree]).await;
                        job(store.clone(), &far).run(&Day(2), &()).await.unwrap();
                        assert_holds(&store, &[&tree, &edited]).await;
                    }
                }
                calls += 1;
            }
            assert!(calls > 40, "only {calls} calls to fail at");
        }
    });
}

#[test]
fn a_source_that_fails_at_any_call_gives_a_problem_or_no_snapshot() {
    block_on(async {
        let tree = shape().tree(5);
        let edited = edit(&tree, &shape(), 5);
        let (mut calls, mut partial) = (0, 0);
        loop {
            let store = MemoryStore::new();
            let whole = BackupJob::new(Arc::new(store.clone()), source()).tree(files(), Arc::new(tree.clone()));
            whole.run(&Day(0), &()).await.unwrap();
            let gate = Arc::new(Faulty::at(calls, Fault::Backend));
            let failing = Gated::new(edited.clone(), Arc::clone(&gate));
            let run = BackupJob::new(Arc::new(store.clone()), source()).tree(files(), Arc::new(failing));
            let outcome = run.run(&Day(1), &()).await;
            if !gate.has_struck() {
                outcome.unwrap();
                assert_holds(&store, &[&tree, &edited]).await;
                break;
            }
            match outcome {
                // A file that cannot be read: the snapshot says so, and holds the older version if there was one.
                Ok(outcome) => {
                    partial += 1;
                    assert_eq!(outcome.info.state(), SnapshotState::Partial, "{:?}", outcome.info.problems);
                    let reader = store.open(&outcome.info.id).await.unwrap();
                    let back = read_tree(&Under::new(files(), reader)).await.unwrap();
                    for problem in outcome.info.problems.listed() {
                        let at = problem.path.strip_prefix(&files()).unwrap();
                        let older = tree.entry(&at).filter(|entry| entry.len().is_some());
                        assert_eq!(back.content(&at), older.and_then(|_| tree.content(&at)), "{at}");
                    }
                }
                // The listing broke off: nobody knows what is missing.
                Err(_) => assert_holds(&store, &[&tree]).await,
            }
            calls += 1;
        }
        assert!(partial > 5 && calls - partial > 20, "{partial} partial snapshots of {calls} failing runs");
    });
}
