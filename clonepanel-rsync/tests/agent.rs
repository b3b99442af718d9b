//! Both ends of the agent protocol in one process: the contract, connections cut at every byte and narrowed to one byte, bases that
//! lie, and what unchanged content costs.
#![allow(clippy::unwrap_used)]

#[path = "common/agent.rs"]
mod common;

use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    entry::{Entry, EntryKind},
    filter::Filter,
    memory::MemoryTree,
    path::RelPath,
    problem::{Problem, ProblemKind},
    testkit::{
        block_on, differences,
        generator::{Random, Shape, edit},
        transport::TransportFixture,
    },
    time::Timestamp,
    transport::{Deletion, PullRequest, PushRequest, TransferReport, Transport, TransportError},
    tree::{Basis, EntryStream, FileSink, FileStream, Listed, TreeError, TreeSink, TreeSource, Want},
};
use common::InMemory;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

struct Fixture(MemoryTree);

#[async_trait]
impl TransportFixture for Fixture {
    async fn place(&self, tree: &MemoryTree) {
        self.0.assign(tree);
    }

    async fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(InMemory::new(&self.0).transport())
    }

    async fn far(&self) -> MemoryTree {
        self.0.fork()
    }

    async fn remove(&self, path: &RelPath) {
        self.0.remove(path);
    }

    async fn forbid_reading(&self, path: &RelPath) -> bool {
        self.0.forbid_reading(path).is_ok()
    }
}

clonepanel_core::transport_contract!(in_one_process, Fixture(MemoryTree::new()));

fn path(text: &str) -> RelPath {
    RelPath::try_from(text).unwrap()
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..len.div_ceil(8)).flat_map(|_| random.number().to_le_bytes()).take(len).collect()
}

fn time(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + secs)
}

/// An older and a newer state, with everything that can happen to a content in little space.
fn two_states() -> (MemoryTree, MemoryTree) {
    let older = MemoryTree::new();
    let text = |word: &str| word.repeat(30_000 / word.len());
    older.put_dir(path("d")).unwrap();
    older.put_file(path("d/edited"), text("the same again and "), time(0)).unwrap();
    older.put_file(path("d/grown"), text("grows "), time(0)).unwrap();
    older.put_file(path("touched"), text("only touched "), time(0)).unwrap();
    older
        .put_file(path("small"), "of the same size, but another text than the one that was there before", time(0))
        .unwrap();
    older.put_file(path("same"), "same", time(0)).unwrap();
    let newer = older.fork();
    let mut edited = text("the same again and ").into_bytes();
    edited[10_000..10_003].copy_from_slice(b"new");
    newer.write(&path("d/edited"), edited, time(1)).unwrap();
    newer.write(&path("d/grown"), text("grows ") + "more", time(1)).unwrap();
    newer.write(&path("touched"), text("only touched "), time(1)).unwrap();
    newer
        .write(&path("small"), "OF THE SAME SIZE, BUT ANOTHER TEXT THAN THE ONE THAT WAS THERE BEFORE", time(1))
        .unwrap();
    newer.put_file(path("d/new"), "new", time(1)).unwrap();
    newer.put_file(path("empty"), "", time(1)).unwrap();
    let first = newer.entry(&path("d/new")).unwrap();
    let kind = EntryKind::File { len: 3, hardlink_to: Some(first.path) };
    newer.put(&Entry { path: path("further"), kind, meta: first.meta }, "").unwrap();
    (older, newer)
}

/// Every file is that of the older state or that of the newer one.
fn assert_old_or_new(now: &MemoryTree, older: &MemoryTree, newer: &MemoryTree, at: &str) {
    for entry in now.list().into_iter().filter(|entry| entry.len().is_some()) {
        let content = now.content(&entry.path);
        let known = [older.content(&entry.path), newer.content(&entry.path)];
        assert!(known.contains(&content), "{at}: {} is neither old nor new", entry.path);
    }
}

async fn pull(far: &InMemory, here: &MemoryTree) -> Result<TransferReport, TransportError> {
    far.transport().pull(&PullRequest::new(), here, &()).await
}

async fn push(far: &InMemory, source: &MemoryTree) -> Result<TransferReport, TransportError> {
    let request = PushRequest::new().deletion(Deletion::UpTo(10));
    far.transport().push(&request, source, &()).await
}

/// How many bytes a whole transfer takes, from the far end and to it.
fn lengths(far: &InMemory) -> [usize; 2] {
    far.passed.each_ref().map(|passed| passed.load(SeqCst))
}

#[test]
fn a_pull_cut_at_every_byte() {
    let (older, newer) = two_states();
    let whole = InMemory::new(&newer);
    let report = block_on(pull(&whole, &older.fork())).unwrap();
    // Whole contents, differences and unchanged ones all travel in this.
    assert!(report.literal_bytes > 0 && report.matched_bytes > 80_000, "{report:?}");
    for (way, len) in lengths(&whole).into_iter().enumerate() {
        assert!(len > 300, "{len} bytes");
        block_on(async {
            for cut in 0..=len {
                let mut far = InMemory::new(&newer);
                far.cuts[way] = cut;
                let here = older.fork();
                let at = format!("way {way}, byte {cut} of {len}");
                match pull(&far, &here).await {
                    Ok(report) => {
                        assert!(report.problems.is_empty(), "{at}: {:?}", report.problems);
                        assert_eq!(differences(&newer, &here), [""; 0], "{at}");
                    }
                    Err(error) => assert!(!matches!(error, TransportError::Sink(_)), "{at}: {error:?}"),
                }
                assert_old_or_new(&here, &older, &newer, &at);
                if cut % 50 == 0 {
                    pull(&InMemory::new(&newer), &here.pass()).await.unwrap();
                    assert_eq!(differences(&newer, &here), [""; 0], "{at}, the next time");
                }
            }
        });
    }
}

#[test]
fn a_push_cut_at_every_byte() {
    let (older, newer) = two_states();
    older.put_file(path("d/extra"), "to be deleted", time(0)).unwrap();
    let whole = InMemory::new(&older.fork());
    block_on(push(&whole, &newer)).unwrap();
    for (way, len) in lengths(&whole).into_iter().enumerate() {
        assert!(len > 300, "{len} bytes");
        block_on(async {
            for cut in 0..=len {
                let mut far = InMemory::new(&older.fork());
                far.cuts[way] = cut;
                let at = format!("way {way}, byte {cut} of {len}");
                let pushed = push(&far, &newer).await;
                if pushed.is_ok() {
                    assert_eq!(differences(&newer, &far.far), [""; 0], "{at}");
                }
                assert_old_or_new(&far.far, &older, &newer, &at);
                if far.far.entry(&path("d/extra")).is_none() {
                    // Nothing goes before everything is there.
                    for entry in newer.list() {
                        assert_eq!(far.far.content(&entry.path), newer.content(&entry.path), "{at}: {}", entry.path);
                    }
                }
                if cut % 50 == 0 {
                    push(&InMemory::new(&far.far), &newer).await.unwrap();
                    assert_eq!(differences(&newer, &far.far), [""; 0], "{at}, the next time");
                }
            }
        });
    }
}

/// No matter how the streams are cut into pieces.
#[test]
fn random_trees_through_narrow_pipes() {
    for (seed, piece) in [(1, 1), (2, 7), (3, 1000), (4, usize::MAX)] {
        let shape = Shape::new().entries(60).longest(30_000);
        let older = shape.tree(seed);
        let newer = edit(&older, &shape, seed);
        block_on(async {
            let far = InMemory { piece, ..InMemory::new(&newer) };
            let here = older.fork();
            // What is gone in the newer state stays here: only a push deletes.
            for entry in older.list().iter().rev().filter(|entry| newer.entry(&entry.path).is_none()) {
                here.remove(&entry.path);
            }
            let report = pull(&far, &here).await.unwrap();
            assert!(report.problems.is_empty(), "seed {seed}: {:?}", report.problems);
            assert_eq!(differences(&newer, &here), [""; 0], "seed {seed}");
            let far = InMemory { piece, ..InMemory::new(&older.fork()) };
            let request = PushRequest::new().deletion(Deletion::UpTo(u64::MAX));
            let report = far.transport().push(&request, &newer, &()).await.unwrap();
            assert!(report.problems.is_empty(), "seed {seed}: {:?}", report.problems);
            assert_eq!(differences(&newer, &far.far), [""; 0], "seed {seed}");
        });
    }
}

/// What each of many files costs that are all as they were, but touched.
#[test]
fn unchanged_content_costs_a_hash() {
    let (here, far) = (MemoryTree::new(), MemoryTree::new());
    let files = 1000;
    for number in 0..files {
        let content = noise(5_000, number);
        here.put_file(path(&format!("f{number:04}")), content.clone(), time(0)).unwrap();
        far.put_file(path(&format!("f{number:04}")), content, time(1)).unwrap();
    }
    let report = block_on(pull(&InMemory::new(&far), &here)).unwrap();
    assert_eq!((report.files, report.literal_bytes, report.matched_bytes), (files, 0, files * 5_000));
    // A frame, the number of the question, the path, the length and the hash.
    assert!(report.sent_bytes < files * (32 + 20), "{} bytes to ask", report.sent_bytes);
    assert!(report.received_bytes < files * 20, "{} bytes of answers and listing", report.received_bytes);
    assert_eq!(differences(&far, &here), [""; 0]);
}

/// A sink whose bases are not what they are said to be, in some of the reads.
struct Lying<'a> {
    inner: &'a MemoryTree,
    /// So many of the first whole readings are wrong.
    lies: u32,
    begun: Arc<AtomicU32>,
}

struct Lie {
    inner: Arc<dyn Basis>,
    lies: u32,
    begun: Arc<AtomicU32>,
}

#[async_trait]
impl TreeSink for Lying<'_> {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        Ok(match self.inner.offer(entry).await? {
            Want::Data { basis: Some(inner) } => {
                let (lies, begun) = (self.lies, Arc::clone(&self.begun));
                Want::Data { basis: Some(Arc::new(Lie { inner, lies, begun })) }
            }
            want => want,
        })
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.inner.file(entry).await
    }
}

#[async_trait]
impl Basis for Lie {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, TreeError> {
        let begun = if offset == 0 { self.begun.fetch_add(1, SeqCst) } else { self.begun.load(SeqCst) - 1 };
        let bytes = self.inner.read_at(offset, len).await?;
        Ok(if begun < self.lies { bytes.iter().map(|byte| byte ^ 1).collect() } else { bytes })
    }
}

/// Whatever a basis says and whenever: the content is right in the end.
#[test]
fn a_basis_that_lies_costs_only_time() {
    for lies in 0..8 {
        let (older, newer) = two_states();
        let sink = Lying { inner: &older, lies, begun: Arc::default() };
        let report = block_on(InMemory::new(&newer).transport().pull(&PullRequest::new(), &sink, &())).unwrap();
        assert!(report.problems.is_empty(), "{lies} lies: {:?}", report.problems);
        assert_eq!(differences(&newer, &older), [""; 0], "{lies} lies");
    }
}

/// Contents around the length of a window, over bases that differ at the ends.
#[test]
fn windows_of_every_length() {
    let mut lens = HashMap::new();
    for len in [1, 65_535, 65_536, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) - 1, 2 << 20, (3 << 20) + 12_345] {
        lens.insert(format!("f{len}"), len);
    }
    let (here, far) = (MemoryTree::new(), MemoryTree::new());
    for (name, &len) in &lens {
        let content = noise(len, len as u64);
        far.put_file(path(name), content.clone(), time(1)).unwrap();
        far.put_file(path(&format!("{name}-new")), content.clone(), time(1)).unwrap();
        here.put_file(path(name), [&b"before"[..], &content[..len - len / 7]].concat(), time(0)).unwrap();
    }
    block_on(async {
        let report = pull(&InMemory::new(&far), &here).await.unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        assert!(report.matched_bytes > report.literal_bytes / 2, "{report:?}");
        assert_eq!(differences(&far, &here), [""; 0]);
        let empty = MemoryTree::new();
        push(&InMemory::new(&empty), &far).await.unwrap();
        assert_eq!(differences(&far, &empty), [""; 0]);
    });
}

/// A source that cannot look at one of its names, whatever that is.
struct Blind {
    inner: MemoryTree,
    hidden: RelPath,
}

struct BlindEntries {
    inner: Box<dyn EntryStream>,
    hidden: Option<RelPath>,
}

#[async_trait]
impl TreeSource for Blind {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(BlindEntries { inner: self.inner.entries().await?, hidden: Some(self.hidden.clone()) }))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        self.inner.open(path).await
    }
}

#[async_trait]
impl EntryStream for BlindEntries {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        match self.inner.next().await? {
            Some(listed) => Ok(Some(listed)),
            None => {
                Ok(self.hidden.take().map(|path| Listed::Problem(Problem::new(path, ProblemKind::Unreadable, "no"))))
            }
        }
    }
}

/// A name that cannot be looked at may be a directory that the filter includes: nothing in it counts as gone.
#[test]
fn an_error_is_no_absence_under_any_filter() {
    let (inner, far) = (MemoryTree::new(), MemoryTree::new());
    inner.put_file(path("index.html"), "new", time(1)).unwrap();
    far.put_dir(path("sub")).unwrap();
    far.put_file(path("sub/page.html"), "still there", time(0)).unwrap();
    let request =
        PushRequest::new().filter(Filter::parse(["+ */", "+ *.html", "- *"]).unwrap()).deletion(Deletion::UpTo(10));
    let source = Blind { inner, hidden: path("sub") };
    let report = block_on(InMemory::new(&far).transport().push(&request, &source, &())).unwrap();
    assert_eq!(far.content(&path("sub/page.html")).unwrap(), "still there");
    assert_eq!(report.deleted, 0);
    assert!(report.problems.listed().iter().any(|problem| problem.path == path("sub")), "{:?}", report.problems);
}

/// The old name of what did not arrive may be all there is of it.
#[test]
fn what_did_not_arrive_keeps_everything() {
    let (here, far) = (MemoryTree::new(), MemoryTree::new());
    far.put_file(path("old-name"), "the only copy", time(0)).unwrap();
    here.put_file(path("new-name"), "the only copy", time(0)).unwrap();
    here.put_file(path("other"), "other", time(0)).unwrap();
    here.forbid_reading(&path("new-name")).unwrap();
    let report = block_on(push(&InMemory::new(&far), &here)).unwrap();
    assert_eq!(far.content(&path("old-name")).unwrap(), "the only copy");
    assert_eq!(far.content(&path("other")).unwrap(), "other");
    assert_eq!(report.deleted, 0);
    let told = report.problems.listed().iter().any(|problem| problem.detail().contains("nothing more was deleted"));
    assert!(told, "{:?}", report.problems);
}

/// What is in a directory that a file replaces goes first, and counts.
#[test]
fn a_file_in_the_place_of_a_directory() {
    let (here, far) = (MemoryTree::new(), MemoryTree::new());
    far.put_dir(path("a")).unwrap();
    far.put_file(path("a/inside"), "old", time(0)).unwrap();
    far.put_file(path("b"), "old", time(0)).unwrap();
    here.put_file(path("a"), "new", time(1)).unwrap();
    let report = block_on(push(&InMemory::new(&far), &here)).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(report.deleted, 2);
    assert_eq!(differences(&here, &far), [""; 0]);
}
