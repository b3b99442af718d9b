//! The jobs, driven with the back ends in memory and with such as fail.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may.

use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    diff::{Change, Diff, DiffCounts},
    entry::{Entry, EntryKind},
    history,
    job::{BackupError, BackupJob, BackupOutcome, PruneError, PruneJob, RestoreError, RestoreJob, VerifyJob},
    manifest::Record,
    memory::{MemoryStore, MemoryTransport, MemoryTree},
    observer::Observer,
    path::RelPath,
    problem::{MAX_LISTED, Problem, ProblemKind, Problems},
    retention::{RetentionPolicy, Verdict},
    snapshot_id::{SnapshotId, SourceName},
    store::{
        NewSnapshot, RecordStream, Slice, SnapshotInfo, SnapshotReader, SnapshotState, SnapshotStore, SnapshotWriter,
        StoreError, StoredCopy,
    },
    suspicion::{Suspicion, SuspicionRules},
    testkit::{Fault, Faulty, Gated, Yields, block_on, cancel_everywhere, differences, generator, path, read_tree},
    time::Timestamp,
    transport::{PullRequest, PushRequest, TransferReport, Transport, TransportError},
    tree::{EntryStream, FileStream, TreeError, TreeSink, TreeSource, Under},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

const DAY: i64 = 86_400;
const NOW: Timestamp = Timestamp::from_secs(1_787_443_200);

fn source() -> SourceName {
    SourceName::new("example.org").unwrap()
}

fn day(number: i64) -> Timestamp {
    Timestamp::from_secs(1_787_443_200 + number * DAY)
}

fn small_tree() -> MemoryTree {
    let tree = MemoryTree::new();
    for dir in ["a", "a/b"] {
        tree.put_dir(path(dir)).unwrap();
    }
    for (file, content) in [("a/one", "first"), ("a/b/two", "second"), ("top", "")] {
        tree.put_file(path(file), content, day(-100)).unwrap();
    }
    tree
}

fn backup_of(store: &(impl SnapshotStore + Clone + 'static), tree: &MemoryTree) -> BackupJob {
    let transport = Arc::new(MemoryTransport::new(tree.clone()));
    BackupJob::new(Arc::new(store.clone()), source()).part(path("files"), transport, PullRequest::new())
}

async fn back_up(store: &(impl SnapshotStore + Clone + 'static), tree: &MemoryTree, now: Timestamp) -> BackupOutcome {
    backup_of(store, tree).run(&now, &()).await.unwrap()
}

async fn restored(store: &dyn SnapshotStore, id: &SnapshotId, at: &str) -> MemoryTree {
    let tree = MemoryTree::new();
    let outcome = RestoreJob::new(store.open(id).await.unwrap(), path(at)).run(&tree, &()).await.unwrap();
    assert!(outcome.report.problems.is_empty(), "{:?}", outcome.report.problems);
    tree
}

fn shown(problems: &Problems) -> Vec<String> {
    problems.listed().iter().map(|problem| format!("{} {}", problem.path, problem.kind.word())).collect()
}

#[test]
fn every_snapshot_restores_exactly() {
    block_on(async {
        for seed in 0..15 {
            let store = MemoryStore::new();
            let shape = generator::Shape::new().longest(20_000);
            let mut tree = shape.tree(seed);
            let mut made = Vec::new();
            for night in 0..5 {
                // Five random edits at once do look like an accident at times.
                let job = backup_of(&store, &tree).suspicion(SuspicionRules::accept_everything());
                let outcome = job.run(&day(night), &()).await.unwrap();
                assert_eq!(outcome.info.state(), SnapshotState::Complete, "{:?}", outcome.info);
                made.push((outcome.info.id, tree.fork()));
                for edit in 0..5 {
                    tree = generator::edit(&tree, &shape, seed * 100 + edit + u64::try_from(night).unwrap() * 10);
                }
            }
            for (id, tree) in &made {
                assert_eq!(differences(&restored(&store, id, "files").await, tree), [""; 0], "seed {seed} {id}");
                let verified = VerifyJob::new(Arc::new(store.clone()), id.clone()).run(&()).await.unwrap();
                assert!(verified.is_sound());
            }
        }
    });
}

#[test]
fn a_snapshot_has_its_parts_where_they_belong() {
    block_on(async {
        let store = MemoryStore::new();
        let (first, second) = (small_tree(), small_tree());
        let rootless = Under::new(path("a"), Rootless(small_tree()));
        let job = backup_of(&store, &small_tree())
            .tree(path("databases/first"), Arc::new(first))
            .tree(path("databases/second"), Arc::new(second))
            .tree(path("databases/third"), Arc::new(rootless))
            .tree(path("dns"), Arc::new(Rootless(MemoryTree::new())));
        let outcome = job.run(&day(0), &()).await.unwrap();
        assert_eq!(outcome.info.state(), SnapshotState::Complete, "{:?}", outcome.info);
        assert_eq!(outcome.parts.iter().map(|part| part.report.files).collect::<Vec<_>>(), [3, 3, 3, 2, 0]);
        let whole = restored(&store, &outcome.info.id, "").await;
        assert_eq!(whole.content(&path("databases/third/b/two")).unwrap(), "second");
        for part in ["files", "databases/first", "databases/second"] {
            assert_eq!(differences(&restored(&store, &outcome.info.id, part).await, &small_tree()), [""; 0]);
        }
        assert_eq!(restored(&store, &outcome.info.id, "dns").await.list().len(), 1);
    });
}

/// Does not list its root.
struct Rootless(MemoryTree);

struct RootlessEntries(Box<dyn EntryStream>);

#[async_trait]
impl TreeSource for Rootless {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(RootlessEntries(self.0.entries().await?)))
    }
    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        self.0.open(path).await
    }
}

#[async_trait]
impl EntryStream for RootlessEntries {
    async fn next(&mut self) -> Result<Option<clonepanel_core::tree::Listed>, TreeError> {
        use clonepanel_core::tree::Listed;
        let is_root =
            |listed: &Listed| matches!(listed, Listed::Entry(entry) if matches!(entry.path.as_bytes(), b"" | b"a"));
        loop {
            match self.0.next().await? {
                Some(listed) if is_root(&listed) => {}
                listed => return Ok(listed),
            }
        }
    }
}

/// Says what it was asked and answers what it is told to.
#[derive(Default)]
struct Scripted {
    asked: Mutex<Vec<PullRequest>>,
    answers: Mutex<Vec<Result<TransferReport, TransportError>>>,
    entries: Vec<Entry>,
}

#[async_trait]
impl Transport for Scripted {
    fn endpoint(&self) -> &str {
        "script"
    }
    async fn pull(
        &self,
        request: &PullRequest,
        sink: &dyn TreeSink,
        _: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        self.asked.lock().unwrap().push(request.clone());
        for entry in &self.entries {
            sink.offer(entry).await.map_err(TransportError::Sink)?;
        }
        self.answers.lock().unwrap().pop().unwrap_or_else(|| Ok(TransferReport::default()))
    }
    async fn push(
        &self,
        _: &PushRequest,
        _: &dyn TreeSource,
        _: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        unreachable!("a backup only pulls")
    }
}

#[test]
fn the_next_run_asks_for_what_changed_since_this_one() {
    block_on(async {
        let store = MemoryStore::new();
        let transport = Arc::new(Scripted { entries: vec![Entry::dir(RelPath::root())], ..Scripted::default() });
        let clocks = [Some(day(0)), None, Some(day(3)), Some(day(2))];
        for clock in clocks {
            transport
                .answers
                .lock()
                .unwrap()
                .push(Ok(TransferReport { source_clock: clock, ..TransferReport::default() }));
        }
        // Two parts with two clocks: the earlier one counts.
        let job = BackupJob::new(Arc::new(store), source())
            .part(path("one"), transport.clone(), PullRequest::new())
            .part(path("two"), transport.clone(), PullRequest::new());
        let outcome = job.run(&day(3), &()).await.unwrap();
        assert_eq!(outcome.info.source_clock, Some(day(2)));
        let outcome = job.run(&day(4), &()).await.unwrap();
        assert_eq!(outcome.info.source_clock, Some(day(0)));
        let since: Vec<_> = transport.asked.lock().unwrap().iter().map(PullRequest::fresh_since).collect();
        assert_eq!(since, [None, None, Some(day(2)), Some(day(2))]);
    });
}

#[test]
fn a_transfer_that_breaks_commits_nothing_and_the_next_run_works() {
    block_on(async {
        let store = MemoryStore::new();
        back_up(&store, &small_tree(), day(0)).await;
        let broken = TransportError::Interrupted { endpoint: "script".to_owned(), detail: "cable".to_owned() };
        let transport = Scripted { answers: Mutex::new(vec![Err(broken)]), ..Scripted::default() };
        let error = backup_of(&store, &small_tree())
            .part(path("dns"), Arc::new(transport), PullRequest::new())
            .run(&day(1), &())
            .await
            .unwrap_err();
        assert!(matches!(&error, BackupError::Part { prefix, .. } if *prefix == path("dns")), "{error:?}");
        assert_eq!(error.to_string(), "cannot back up dns of example.org");
        assert_eq!(error.retry(), clonepanel_core::retry::Retry::Later);
        assert_eq!(store.list(&source()).await.unwrap().len(), 1);
        back_up(&store, &small_tree(), day(2)).await;
        assert_eq!(store.list(&source()).await.unwrap().len(), 2);
    });
}

#[test]
fn problems_stand_in_the_snapshot_under_their_part() {
    block_on(async {
        let (store, tree) = (MemoryStore::new(), small_tree());
        back_up(&store, &tree, day(0)).await;
        tree.write(&path("a/one"), "changed", day(0)).unwrap();
        tree.forbid_reading(&path("a/one")).unwrap();
        let outcome = back_up(&store, &tree, day(1)).await;
        assert_eq!(shown(&outcome.info.problems), ["files/a/one unreadable"]);
        assert_eq!(outcome.info.state(), SnapshotState::Partial);
        assert!(outcome.parts[0].report.problems.is_empty());
        // The older version stands in.
        let whole = restored(&store, &outcome.info.id, "files").await;
        assert_eq!(whole.content(&path("a/one")).unwrap(), "first");
    });
}

#[test]
fn a_very_wide_directory_is_told() {
    block_on(async {
        let tree = MemoryTree::new();
        for dir in ["sessions", "other"] {
            tree.put_dir(path(dir)).unwrap();
        }
        for n in 0..50_000 {
            tree.put_file(path(&format!("sessions/s{n}")), "", day(-100)).unwrap();
        }
        tree.put_file(path("other/one"), "one", day(-100)).unwrap();
        let outcome = back_up(&MemoryStore::new(), &tree, day(0)).await;
        assert_eq!(outcome.parts[0].wide_dirs, [(path("sessions"), 50_000)]);
        let smaller = small_tree();
        assert_eq!(back_up(&MemoryStore::new(), &smaller, day(0)).await.parts[0].wide_dirs, []);
    });
}

#[test]
fn too_many_problems_to_list_make_nothing_count_as_deleted() {
    block_on(async {
        let store = MemoryStore::new();
        back_up(&store, &small_tree(), day(0)).await;
        let mut problems = Problems::new();
        for number in 0..=MAX_LISTED {
            problems.push(Problem::new(path(&format!("x{number}")), ProblemKind::Failed, "lost"));
        }
        let report = TransferReport { problems, ..TransferReport::default() };
        let transport = Scripted {
            answers: Mutex::new(vec![Ok(report)]),
            entries: vec![Entry::dir(RelPath::root())],
            ..Scripted::default()
        };
        let job = BackupJob::new(Arc::new(store.clone()), source());
        let outcome = job.part(path("files"), Arc::new(transport), PullRequest::new()).run(&day(1), &()).await.unwrap();
        assert_eq!(shown(&outcome.info.problems)[0], "files unlisted");
        assert_eq!(outcome.info.tally.carried_files, 3);
        let whole = restored(&store, &outcome.info.id, "files").await;
        assert_eq!(whole.content(&path("a/b/two")).unwrap(), "second");
    });
}

#[test]
fn an_accident_is_suspected_until_it_is_accepted() {
    block_on(async {
        let (store, tree) = (MemoryStore::new(), small_tree());
        back_up(&store, &tree, day(0)).await;
        let nothing = MemoryTree::new();
        for night in 1..4 {
            let outcome = back_up(&store, &nothing, day(night)).await;
            assert_eq!(outcome.info.suspicions, [Suspicion::Emptied, Suspicion::CountCollapsed { before: 3, now: 0 }]);
            assert_eq!(outcome.info.state(), SnapshotState::Suspect);
        }
        let accepting = backup_of(&store, &nothing).suspicion(SuspicionRules::accept_everything());
        assert_eq!(accepting.run(&day(4), &()).await.unwrap().info.state(), SnapshotState::Complete);
        assert_eq!(back_up(&store, &nothing, day(5)).await.info.state(), SnapshotState::Complete);
    });
}

#[test]
fn a_source_that_vanishes_while_it_is_read_is_suspect() {
    block_on(async {
        let (store, tree) = (MemoryStore::new(), MemoryTree::new());
        for number in 0..80 {
            tree.put_file(path(&format!("page{number:02}")), "a page", day(-100)).unwrap();
        }
        back_up(&store, &tree, day(0)).await;
        let mut problems = Problems::new();
        let mut entries = tree.list();
        for entry in entries.iter_mut().filter(|entry| entry.has_content()).skip(1) {
            entry.meta.mtime = day(-1);
            problems.push(Problem::new(entry.path.clone(), ProblemKind::Vanished, ""));
        }
        let report = TransferReport { problems, ..TransferReport::default() };
        let transport = Scripted { answers: Mutex::new(vec![Ok(report)]), entries, ..Scripted::default() };
        let job = BackupJob::new(Arc::new(store.clone()), source());
        let outcome = job.part(path("files"), Arc::new(transport), PullRequest::new()).run(&day(1), &()).await.unwrap();
        let expected =
            [Suspicion::CountCollapsed { before: 80, now: 1 }, Suspicion::MassDeleted { removed: 79, of: 80 }];
        assert_eq!(outcome.info.suspicions, expected);
        assert_eq!((outcome.info.tally.files, outcome.info.tally.removed_files), (1, 79));
        // All of it is back.
        assert_eq!(back_up(&store, &tree, day(2)).await.info.state(), SnapshotState::Complete);
    });
}

#[test]
fn an_error_at_any_call_leaves_what_was_there_and_the_next_run_works() {
    block_on(async {
        let tree = small_tree();
        let mut struck = 0;
        for call in 0.. {
            let store = MemoryStore::new();
            let first = back_up(&store, &tree, day(0)).await.info;
            let changed = tree.fork();
            changed.write(&path("a/one"), "changed", day(0)).unwrap();
            let faulty = Arc::new(Faulty::at(call, Fault::Backend));
            let gated = Gated::new(store.clone(), Arc::clone(&faulty));
            let outcome = backup_of(&gated, &changed).run(&day(1), &()).await;
            if !faulty.has_struck() {
                assert_eq!(outcome.unwrap().info.state(), SnapshotState::Complete);
                break;
            }
            struck += 1;
            match outcome {
                // Only giving a basis out may fail unnoticed: it is a saving.
                Ok(outcome) => assert_eq!(outcome.info.state(), SnapshotState::Complete),
                Err(_) => assert_eq!(store.list(&source()).await.unwrap(), std::slice::from_ref(&first)),
            }
            assert_eq!(differences(&restored(&store, &first.id, "files").await, &tree), [""; 0]);
            let next = back_up(&store, &changed, day(2)).await.info;
            assert_eq!(next.state(), SnapshotState::Complete);
            assert_eq!(differences(&restored(&store, &next.id, "files").await, &changed), [""; 0]);
        }
        assert!(struck > 8, "{struck}");
    });
}

#[test]
fn a_backup_can_be_dropped_anywhere() {
    block_on(async {
        let (store, tree) = (MemoryStore::new(), small_tree());
        let job = backup_of(&Gated::new(store.clone(), Yields), &tree);
        let dropped = cancel_everywhere(
            || job.run(&NOW, &()),
            async |_, outcome| {
                let listed = store.list(&source()).await.unwrap();
                assert_eq!(listed.len(), usize::from(outcome.is_some()));
            },
        )
        .await;
        assert!(dropped > 8, "{dropped}");
    });
}

#[test]
fn jobs_can_be_spawned() {
    fn is_send<T: Send>(_: T) {}
    let (store, tree) = (MemoryStore::new(), small_tree());
    let id = block_on(back_up(&store, &tree, day(0))).info.id;
    let backup = backup_of(&store, &tree);
    is_send(backup.run(&Timestamp::from_secs(0), &()));
    let restore = RestoreJob::new(block_on(store.open(&id)).unwrap(), RelPath::root());
    is_send(restore.run(&tree, &()));
    is_send(restore.plan());
    is_send(VerifyJob::new(Arc::new(store.clone()), id).run(&()));
    let prune = PruneJob::new(Arc::new(store.clone()), source(), RetentionPolicy::default());
    is_send(prune.plan(day(0)));
    is_send(prune.apply(&block_on(prune.plan(day(0))).unwrap(), &()));
    is_send(history::of(&store, &source(), &RelPath::root()));
}

#[test]
fn a_part_of_a_snapshot_is_restored_by_itself() {
    block_on(async {
        let (store, tree) = (MemoryStore::new(), small_tree());
        let link = |at: &str, to: &str| Entry {
            kind: EntryKind::File { len: 0, hardlink_to: Some(path(to)) },
            ..Entry::file(path(at), 0, day(-100))
        };
        tree.put(&link("a/b/three", "a/one"), "").unwrap();
        tree.put(&link("a/b/four", "a/one"), "").unwrap();
        let id = back_up(&store, &tree, day(0)).await.info.id;

        // The first name of the group lies outside: the others stay one file.
        let folder = restored(&store, &id, "files/a/b").await;
        let listed = folder.list();
        let shown: Vec<_> = listed.iter().map(|entry| (entry.path.to_string(), entry.has_content())).collect();
        let expected = [(".", false), ("four", true), ("three", false), ("two", true)];
        assert_eq!(shown, expected.map(|(path, has_content)| (path.to_owned(), has_content)));
        assert_eq!(folder.content(&path("three")).unwrap(), "first");

        for (file, content) in [("a/one", "first"), ("a/b/four", "first"), ("top", "")] {
            let alone = restored(&store, &id, &format!("files/{file}")).await;
            let name = RelPath::try_from(path(file).name()).unwrap();
            assert_eq!(alone.list().len(), 2);
            assert_eq!(alone.content(&name).unwrap(), content, "{file}");
        }

        let reader = store.open(&id).await.unwrap();
        for missing in ["files/nothing", "files/a/one/x"] {
            let error = RestoreJob::new(Arc::clone(&reader), path(missing)).run(&MemoryTree::new(), &()).await;
            assert!(matches!(error, Err(RestoreError::NotFound { .. })));
        }
        let plan = RestoreJob::new(reader, path("files/a")).plan().await.unwrap();
        assert_eq!(
            plan.to_string(),
            "directory .\ndirectory b\nfile b/four (5 bytes)\nfile b/three (the same as b/four)\nfile b/two (6 bytes)\n\
             file one (the same as b/four)\n6 entries, 4 files, 11 bytes from example.org/20260823T000000Z"
        );
    });
}

/// A store some contents of which have gone bad.
#[derive(Clone)]
struct Bad {
    inner: MemoryStore,
    contents: BTreeMap<RelPath, Option<&'static str>>,
}

struct BadReader(Arc<dyn SnapshotReader>, BTreeMap<RelPath, Option<&'static str>>);

struct Piece(Option<Bytes>);

#[async_trait]
impl SnapshotStore for Bad {
    async fn begin(&self, new: NewSnapshot) -> Result<Box<dyn SnapshotWriter>, StoreError> {
        self.inner.begin(new).await
    }
    async fn open(&self, id: &SnapshotId) -> Result<Arc<dyn SnapshotReader>, StoreError> {
        Ok(Arc::new(BadReader(self.inner.open(id).await?, self.contents.clone())))
    }
    async fn list(&self, source: &SourceName) -> Result<Vec<SnapshotInfo>, StoreError> {
        self.inner.list(source).await
    }
    async fn sources(&self) -> Result<Vec<SourceName>, StoreError> {
        self.inner.sources().await
    }
    async fn delete(&self, id: &SnapshotId) -> Result<(), StoreError> {
        self.inner.delete(id).await
    }
}

#[async_trait]
impl SnapshotReader for BadReader {
    fn info(&self) -> &SnapshotInfo {
        self.0.info()
    }
    async fn records(&self) -> Result<Box<dyn RecordStream>, StoreError> {
        self.0.records().await
    }
    async fn record(&self, path: &RelPath) -> Result<Option<Record>, StoreError> {
        self.0.record(path).await
    }
    async fn stored_copies(&self, paths: &[RelPath]) -> Result<Vec<Option<StoredCopy>>, StoreError> {
        self.0.stored_copies(paths).await
    }
    async fn distrust(&self, path: &RelPath) -> Result<(), StoreError> {
        self.0.distrust(path).await
    }
}

#[async_trait]
impl TreeSource for BadReader {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        self.0.entries().await
    }
    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        match self.1.get(path) {
            None => self.0.open(path).await,
            Some(None) => Err(TreeError::NotFound { path: path.clone() }),
            Some(Some(content)) => Ok(Box::new(Piece(Some(Bytes::from(*content))))),
        }
    }
}

#[async_trait]
impl FileStream for Piece {
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError> {
        Ok(self.0.take())
    }
}

#[test]
fn damage_is_found_and_never_restored() {
    block_on(async {
        let inner = MemoryStore::new();
        let tree = small_tree();
        tree.put_file(path("a/gone"), "gone", day(-100)).unwrap();
        tree.put_file(path("a/longer"), "longer", day(-100)).unwrap();
        let id = back_up(&inner, &tree, day(0)).await.info.id;
        let contents =
            [("files/a/one", Some("FIRST")), ("files/a/gone", None), ("files/a/longer", Some("longer and longer"))];
        let store = Bad { inner, contents: contents.map(|(at, content)| (path(at), content)).into() };

        let outcome = VerifyJob::new(Arc::new(store.clone()), id.clone()).run(&()).await.unwrap();
        let mut found = shown(&outcome.problems);
        found.sort();
        assert_eq!(found, ["files/a/gone failed", "files/a/longer failed", "files/a/one failed"]);
        assert_eq!(outcome.files, 5);

        let target = MemoryTree::new();
        let job = RestoreJob::new(store.open(&id).await.unwrap(), path("files"));
        let outcome = job.run(&target, &()).await.unwrap();
        assert_eq!(outcome.report.problems.total(), 3);
        assert_eq!(target.content(&path("a/one")), None);
        assert_eq!(target.content(&path("a/longer")), None);
        assert_eq!(target.content(&path("a/b/two")).unwrap(), "second");
    });
}

#[test]
fn slices_make_up_the_whole() {
    block_on(async {
        let (store, tree) = (MemoryStore::new(), generator::Shape::new().tree(3));
        let id = back_up(&store, &tree, day(0)).await.info.id;
        let job = || VerifyJob::new(Arc::new(store.clone()), id.clone());
        let whole = job().run(&()).await.unwrap();
        let mut sum = (0, 0);
        for index in 0..4 {
            let part = job().slice(Slice::new(index, 4).unwrap()).run(&()).await.unwrap();
            assert!(part.files < whole.files);
            sum = (sum.0 + part.files, sum.1 + part.bytes);
        }
        assert_eq!(sum, (whole.files, whole.bytes));
        let missing = SnapshotId::next(source(), day(9), None);
        let error = VerifyJob::new(Arc::new(store), missing).run(&()).await.unwrap_err();
        assert!(matches!(error.source, StoreError::NotFound { .. }));
    });
}

#[test]
fn prune_deletes_what_its_plan_says_and_no_newest_good_one() {
    block_on(async {
        let (store, tree) = (MemoryStore::new(), small_tree());
        for night in 0..4 {
            back_up(&store, &tree, day(night)).await;
        }
        back_up(&store, &MemoryTree::new(), day(4)).await;
        let list =
            async || -> Vec<_> { store.list(&source()).await.unwrap().into_iter().map(|info| info.id).collect() };
        let before = list().await;
        let job = PruneJob::new(Arc::new(store.clone()), source(), RetentionPolicy::newest_only().daily(2));
        let plan = job.plan(day(5)).await.unwrap();
        assert_eq!(list().await, before);

        let mut doctored = plan.clone();
        doctored.decisions[3].verdict = Verdict::Delete;
        let error = job.apply(&doctored, &()).await.unwrap_err();
        assert!(matches!(&error, PruneError::Refused { id, .. } if *id == before[3]), "{error}");
        let stranger =
            PruneJob::new(Arc::new(store.clone()), SourceName::new("other").unwrap(), RetentionPolicy::default());
        assert!(matches!(stranger.apply(&plan, &()).await, Err(PruneError::Refused { .. })));
        assert_eq!(list().await, before);

        let outcome = job.apply(&plan, &()).await.unwrap();
        assert_eq!(outcome.deleted, before[..2]);
        assert_eq!(list().await, before[2..]);
        // Applied once more, there is nothing left of it to do.
        let again = job.apply(&plan, &()).await.unwrap();
        assert_eq!((again.deleted, again.gone), (vec![], before[..2].to_vec()));
        assert_eq!(job.plan(day(5)).await.unwrap().deletions().count(), 0);
    });
}

#[test]
fn history_and_diff_tell_what_changed() {
    block_on(async {
        let (store, tree) = (MemoryStore::new(), small_tree());
        let mut ids = Vec::new();
        let mut keep = async |tree: &MemoryTree, night| ids.push(back_up(&store, tree, day(night)).await.info.id);
        tree.remove(&path("a/one"));
        keep(&tree, 0).await;
        tree.put_file(path("a/one"), "first", day(0)).unwrap();
        keep(&tree, 1).await;
        keep(&tree, 2).await;
        tree.put_file(path("a/one"), "first", day(1)).unwrap();
        tree.write(&path("a/b/two"), "longer than before", day(2)).unwrap();
        keep(&tree, 3).await;
        tree.put_file(path("a/one"), "other", day(2)).unwrap();
        tree.put_file(path("new"), "new", day(2)).unwrap();
        tree.remove(&path("top"));
        keep(&tree, 4).await;
        tree.remove(&path("a/one"));
        keep(&tree, 5).await;

        let versions = history::of(&store, &source(), &path("files/a/one")).await.unwrap();
        let told: Vec<_> = versions.iter().map(|version| (version.id.clone(), version.change)).collect();
        let expected = [(1, Change::Added), (3, Change::Metadata), (4, Change::Content), (5, Change::Removed)];
        assert_eq!(told, expected.map(|(at, change): (usize, _)| (ids[at].clone(), change)));
        assert!(versions[3].record.is_none() && versions[0].record.is_some());
        assert_eq!(history::of(&store, &source(), &path("never")).await.unwrap(), []);

        let streams = async |at: usize| store.open(&ids[at]).await.unwrap().records().await.unwrap();
        let mut diff = Diff::new(streams(1).await, streams(4).await);
        let mut told = Vec::new();
        while let Some(difference) = diff.next().await.unwrap() {
            if difference.change != Change::Metadata {
                told.push(format!("{} {}", difference.change.word(), difference.path()));
            }
        }
        assert_eq!(told, ["changed files/a/b/two", "changed files/a/one", "added files/new", "removed files/top"]);
        let counts = diff.counts();
        let expected = DiffCounts {
            added: 1,
            added_bytes: 3,
            changed: 2,
            changed_bytes: 23,
            removed: 1,
            removed_bytes: 0,
            ..counts
        };
        assert_eq!(counts, expected);
        let mut within = Diff::new(streams(1).await, streams(4).await).within(path("files/a/b"));
        while within.next().await.unwrap().is_some() {}
        assert_eq!((within.counts().changed, within.counts().added + within.counts().removed), (1, 0));
    });
}

#[test]
fn a_restored_tree_can_be_read_back() {
    block_on(async {
        let (store, tree) = (MemoryStore::new(), generator::Shape::new().tree(9));
        let id = back_up(&store, &tree, day(0)).await.info.id;
        let reader = store.open(&id).await.unwrap();
        let read = read_tree(&Under::new(path("files"), reader)).await.unwrap();
        assert_eq!(differences(&read, &tree), [""; 0]);
    });
}
