//! A snapshot in which nothing changed beside `cp -al`, and deleting one beside `rm -rf`: 10,000 files, all peers in one run.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a bench")]

use clonepanel_benches::{
    hosting::{self, Shape},
    measure,
};
use clonepanel_core::{
    entry::Entry,
    path::RelPath,
    snapshot_id::{SnapshotId, SourceName},
    store::{NewSnapshot, Seal, SnapshotStore},
    time::{Clock, SystemClock},
    transport::{PullRequest, Transport},
    tree::{TreeSink, Under},
};
use clonepanel_store::{HardLinkStore, LocalTransport};
use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const FILES: usize = 10_000;

struct Fixture {
    dir: TempDir,
    runtime: Runtime,
    store: HardLinkStore,
    source: SourceName,
    first: SnapshotId,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        hosting::build(&tree, Shape { files: FILES, dump_mib: 0.1, ..Shape::default() }).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let store = HardLinkStore::init(dir.path().join("store")).unwrap();
        let source = SourceName::new("site").unwrap();
        let first = runtime.block_on(async {
            let writer = store.begin(NewSnapshot::new(source.clone(), SystemClock.now())).await.unwrap();
            let sink = Under::new(RelPath::try_from("files").unwrap(), &*writer);
            LocalTransport::new(&tree).pull(&PullRequest::new(), &sink, &()).await.unwrap();
            writer.commit(Seal::new(SystemClock.now())).await.unwrap().id
        });
        Self { dir, runtime, store, source, first }
    }

    fn entries(&self) -> Vec<Entry> {
        self.runtime.block_on(async {
            let mut records = self.store.open(&self.first).await.unwrap().records().await.unwrap();
            let mut entries = Vec::new();
            while let Some(record) = records.next().await.unwrap() {
                entries.push(record.entry);
            }
            entries
        })
    }

    fn relink(&self, entries: &[Entry]) -> SnapshotId {
        self.runtime.block_on(async {
            let writer = self.store.begin(NewSnapshot::new(self.source.clone(), SystemClock.now())).await.unwrap();
            for entry in entries {
                writer.offer(entry).await.unwrap();
            }
            writer.commit(Seal::new(SystemClock.now())).await.unwrap().id
        })
    }

    fn delete(&self, id: &SnapshotId) {
        self.runtime.block_on(self.store.delete(id)).unwrap();
    }
}

/// Sums up the times of `timed`, each between a `before` and an `after` that do not count.
fn rounds<T>(count: u64, before: impl Fn() -> T, timed: impl Fn(T) -> T, after: impl Fn(T)) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..count {
        let state = before();
        measure::settle();
        let started = Instant::now();
        let state = timed(state);
        sum += started.elapsed();
        after(state);
    }
    sum
}

fn shell(program: &str, arguments: &[&Path]) {
    assert!(
        Command::new(program.split(' ').next().unwrap())
            .args(program.split(' ').skip(1))
            .args(arguments)
            .status()
            .unwrap()
            .success()
    );
}

fn benches(criterion: &mut Criterion) {
    let fixture = Fixture::new();
    let entries = fixture.entries();
    let (tree, copy) = (fixture.dir.path().join("tree"), fixture.dir.path().join("copy"));
    let copy_all = || shell("cp -al", &[&tree, &copy]);
    let remove_all = || shell("rm -rf", &[&copy]);

    let mut group = criterion.benchmark_group("link");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("cp -al", |b| b.iter_custom(|count| rounds(count, || (), |()| copy_all(), |()| remove_all())));
    group.bench_function("snapshot of what did not change", |b| {
        b.iter_custom(|count| {
            rounds(count, || None, |_| Some(fixture.relink(&entries)), |id| fixture.delete(&id.unwrap()))
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("delete");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("rm -rf", |b| b.iter_custom(|count| rounds(count, copy_all, |()| remove_all(), |()| ())));
    group.bench_function("delete a snapshot", |b| {
        b.iter_custom(|count| {
            let delete = |id: SnapshotId| {
                fixture.delete(&id);
                id
            };
            rounds(count, || fixture.relink(&entries), delete, drop)
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
