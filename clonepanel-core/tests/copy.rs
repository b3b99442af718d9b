//! Copying trees: everything arrives, and trouble with one path stays with that path.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may.

use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    entry::Entry,
    filter::Filter,
    memory::MemoryTree,
    observer::{Event, Observer},
    path::RelPath,
    problem::{Problem, ProblemKind},
    retry::Retry,
    testkit::{Fault, Faulty, Gated, block_on, differences, generator, path},
    time::Timestamp,
    transport::PullRequest,
    tree::{self, CopyError, EntryStream, FileStream, Listed, TreeError, TreeSource},
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex},
};

/// What one file of a [`Script`] does when it is read.
#[derive(Clone)]
enum Does {
    Breaks(fn(RelPath) -> TreeError),
    BreaksLater(fn(RelPath) -> TreeError),
    Gives(&'static str),
}

/// A source that lists what it is told to.
#[derive(Default)]
struct Script {
    listed: Vec<Listed>,
    files: BTreeMap<RelPath, Does>,
}

impl Script {
    fn file(mut self, at: &str, len: u64, does: Does) -> Self {
        self.listed.push(Listed::Entry(Entry::file(path(at), len, Timestamp::default())));
        self.files.insert(path(at), does);
        self
    }
}

struct List(VecDeque<Listed>);
struct Content(VecDeque<Result<Bytes, TreeError>>);

#[async_trait]
impl TreeSource for Script {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(List(self.listed.clone().into())))
    }
    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        match &self.files[path] {
            Does::Breaks(error) => Err(error(path.clone())),
            Does::BreaksLater(error) => {
                Ok(Box::new(Content([Ok(Bytes::from("begin")), Err(error(path.clone()))].into())))
            }
            Does::Gives(content) => Ok(Box::new(Content([Ok(Bytes::from(*content))].into()))),
        }
    }
}

#[async_trait]
impl EntryStream for List {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        Ok(self.0.pop_front())
    }
}

#[async_trait]
impl FileStream for Content {
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError> {
        self.0.pop_front().transpose()
    }
}

#[derive(Default)]
struct Watch(Mutex<Vec<String>>);

impl Observer for Watch {
    fn notice(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(match event {
            Event::Data { literal_bytes, matched_bytes } => format!("data {literal_bytes} {matched_bytes}"),
            Event::Finished { path } => format!("finished {path}"),
            Event::Listed { entries, bytes } => format!("listed {entries} {bytes}"),
            Event::Problem(problem) => problem.to_string(),
            other => panic!("{other:?}"),
        });
    }
}

fn broken(path: RelPath) -> TreeError {
    TreeError::Backend { action: "read", path, retry: Retry::Never, source: "bad sector".into() }
}

#[test]
fn random_trees_arrive_exactly() {
    block_on(async {
        for seed in 0..50 {
            let tree = generator::Shape::new().tree(seed);
            let copied = MemoryTree::new();
            let report = tree::copy(&tree, &copied, &()).await.unwrap();
            assert_eq!(differences(&copied, &tree), [""; 0], "seed {seed}");
            assert!(report.problems.is_empty());
            assert_eq!(report.entries, tree.list().len() as u64);
            let lens = tree.list().into_iter().filter(Entry::has_content).filter_map(|entry| entry.len());
            assert_eq!(report.literal_bytes, lens.sum::<u64>());
            let again = tree::copy(&tree, &copied.pass(), &()).await.unwrap();
            assert_eq!((again.files, again.literal_bytes, again.entries), (0, 0, report.entries));
        }
    });
}

#[test]
fn trouble_with_one_path_is_a_problem_of_that_path() {
    block_on(async {
        let listed = Problem::new(path("locked"), ProblemKind::Unlisted, "permission denied");
        let script = Script { listed: vec![Listed::Problem(listed)], ..Script::default() }
            .file("broken", 5, Does::Breaks(broken))
            .file("damaged", 5, Does::BreaksLater(|path| TreeError::Damaged { path }))
            .file("denied", 5, Does::Breaks(|path| TreeError::Denied { path }))
            .file("good", 5, Does::Gives("12345"))
            .file("gone", 5, Does::Breaks(|path| TreeError::NotFound { path }))
            .file("good/below", 5, Does::Gives("12345"))
            .file("grown", 5, Does::Gives("1234567"))
            .file("vanishing", 5, Does::BreaksLater(|path| TreeError::NotFound { path }));
        let (copied, watch) = (MemoryTree::new(), Watch::default());
        let report = tree::copy(&script, &copied, &watch).await.unwrap();
        let mut told: Vec<_> = report.problems.listed().iter().map(Problem::to_string).collect();
        told.sort();
        assert_eq!(
            told,
            [
                "broken: failed: read broken failed: bad sector",
                "damaged: failed: damaged is damaged",
                "denied: unreadable: denied may not be accessed",
                "gone: vanished: gone does not exist",
                "good/below: refused: its parent is not a directory of this tree",
                "grown: changed: 5 bytes were listed and 7 read",
                "locked: unlisted: permission denied",
                "vanishing: vanished: vanishing does not exist",
            ]
        );
        let kept: Vec<_> = copied.list().iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(kept, [".", "good", "grown"]);
        assert_eq!((report.entries, report.files), (8, 2));
        let seen = watch.0.into_inner().unwrap();
        assert!(told.iter().all(|problem| seen.contains(problem)));
        assert_eq!(seen.iter().filter(|line| line.starts_with("listed 1 5")).count(), 8);
        assert!(seen.contains(&"finished good".to_owned()) && seen.contains(&"data 7 0".to_owned()));
    });
}

#[test]
fn only_what_is_covered_is_listed_and_read() {
    block_on(async {
        let script = Script::default()
            .file("a.txt", 5, Does::Gives("12345"))
            // Reading it would be a problem.
            .file("secret.tmp", 5, Does::Breaks(broken));
        let request = PullRequest::new().filter(Filter::parse(["*.tmp"]).unwrap());
        let copied = MemoryTree::new();
        let report = tree::copy_covered(&script, &request, &copied, &()).await.unwrap();
        assert!(report.problems.is_empty());
        assert_eq!(report.entries, 1);
    });
}

#[test]
fn a_group_goes_on_without_its_first_name() {
    block_on(async {
        let tree = MemoryTree::new();
        tree.put_file(path("a"), "content", Timestamp::default()).unwrap();
        for further in ["b", "c"] {
            let kind = clonepanel_core::entry::EntryKind::File { len: 0, hardlink_to: Some(path("a")) };
            tree.put(&Entry { kind, ..Entry::file(path(further), 0, Timestamp::default()) }, "").unwrap();
        }
        let request = PullRequest::new().filter(Filter::parse(["/a"]).unwrap());
        let copied = MemoryTree::new();
        tree::copy_covered(&tree, &request, &copied, &()).await.unwrap();
        let expected = tree.fork();
        expected.remove(&path("a"));
        assert_eq!(differences(&copied, &expected), [""; 0]);
    });
}

#[test]
fn blocks_that_are_there_already_count_as_matched() {
    block_on(async {
        let old: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
        let mut new = old.clone();
        new[50_000] ^= 1;
        new.extend(b"appended");
        let tree = MemoryTree::new();
        tree.put_file(path("a"), new, Timestamp::from_secs(2)).unwrap();
        let target = MemoryTree::new();
        target.put_file(path("a"), old, Timestamp::from_secs(1)).unwrap();
        let report = tree::copy(&tree, &target, &()).await.unwrap();
        assert_eq!(differences(&target, &tree), [""; 0]);
        assert_eq!(report.literal_bytes + report.matched_bytes, 100_008);
        assert!(report.literal_bytes <= 2 * 4096, "{}", report.literal_bytes);
    });
}

#[test]
fn an_error_of_either_end_ends_the_copy_and_says_which() {
    block_on(async {
        let tree = generator::Shape::new().entries(12).tree(1);
        let mut ended = 0;
        for call in 0.. {
            let faulty = Arc::new(Faulty::from(call, Fault::NoSpace));
            let copied = tree::copy(&tree, &Gated::new(MemoryTree::new(), Arc::clone(&faulty)), &()).await;
            if !faulty.has_struck() {
                assert!(copied.is_ok());
                break;
            }
            assert!(matches!(copied, Err(CopyError::Sink(TreeError::NoSpace { .. }))), "{call}");
            ended += 1;
        }
        assert!(ended > 20, "{ended}");
        let listing = Gated::new(tree, Faulty::at(0, Fault::Denied));
        assert!(matches!(
            tree::copy(&listing, &MemoryTree::new(), &()).await,
            Err(CopyError::Source(TreeError::Denied { .. }))
        ));
    });
}

#[test]
fn want_of_open_files_or_memory_is_no_problem_of_a_file() {
    // ENFILE, EMFILE, ENOMEM.
    let errors: [fn(RelPath) -> TreeError; 3] =
        [|path| exhausted(&path, 23), |path| exhausted(&path, 24), |path| exhausted(&path, 12)];
    for error in errors {
        for does in [Does::Breaks(error), Does::BreaksLater(error)] {
            let script = Script::default().file("a", 5, does).file("b", 5, Does::Gives("12345"));
            let copied = block_on(tree::copy(&script, &MemoryTree::new(), &()));
            assert!(matches!(copied, Err(CopyError::Source(TreeError::Exhausted { .. }))), "{copied:?}");
        }
    }
}

fn exhausted(path: &RelPath, code: i32) -> TreeError {
    TreeError::from_io("open", path, io::Error::from_raw_os_error(code))
}
