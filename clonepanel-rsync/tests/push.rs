//! Pushes to the installed rsync, run as a local child process, in every dialect that it speaks.
#![allow(clippy::unwrap_used)]

mod common;

use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    entry::{DeviceNumber, Entry, EntryKind, EntryMeta},
    filter::{Filter, Rule},
    memory::MemoryTree,
    path::RelPath,
    problem::ProblemKind,
    testkit::{
        differences,
        generator::{Devices, Shape, edit},
        materialise, owner_differences, path, scan,
    },
    time::Timestamp,
    transport::{Deletion, PushRequest, TransferReport, Transport, TransportError},
    tree::{EntryStream, FileStream, TreeError, TreeSource},
};
use clonepanel_rsync::{ChangeDetection, Checksum, Compression, LocalConnect, RsyncOptions, RsyncTransport};
use common::{Print, block_on, stand_in};
use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

fn try_push(
    root: &Path,
    options: RsyncOptions,
    request: &PushRequest,
    source: &dyn TreeSource,
) -> Result<TransferReport, TransportError> {
    let transport = RsyncTransport::new(LocalConnect::new(), root.as_os_str().as_bytes()).options(options);
    block_on(transport.push(request, source, &Print))
}

fn push(root: &Path, options: RsyncOptions, source: &dyn TreeSource) -> TransferReport {
    try_push(root, options, &PushRequest::new(), source).unwrap()
}

fn problems(report: &TransferReport) -> Vec<(String, ProblemKind)> {
    let mut problems: Vec<_> =
        report.problems.listed().iter().map(|problem| (problem.path.to_string(), problem.kind)).collect();
    problems.sort();
    problems
}

fn old(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_600_000_000 + secs)
}

fn is_root() -> bool {
    std::process::Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

#[test]
fn random_trees_arrive_exactly() {
    let shape = Shape::new().devices(if is_root() { Devices::With } else { Devices::Without });
    for seed in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        let tree = shape.tree(seed);
        let report = push(&folder.path().join("made/anew"), RsyncOptions::new(), &tree);
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let there = scan(&folder.path().join("made/anew")).unwrap();
        assert_eq!(differences(&tree, &there), Vec::<String>::new(), "seed {seed}");
        if is_root() {
            assert_eq!(owner_differences(&tree, &there), Vec::<String>::new(), "seed {seed}");
        }
        let files = tree.list().iter().filter(|entry| entry.has_content()).count() as u64;
        assert_eq!((report.files, report.entries), (files, tree.list().len() as u64));
    }
}

#[test]
fn what_is_there_already_does_not_travel() {
    let folder = tempfile::tempdir().unwrap();
    let tree = Shape::new().tree(3);
    push(folder.path(), RsyncOptions::new(), &tree);
    let report = push(folder.path(), RsyncOptions::new(), &tree);
    assert_eq!((report.files, report.literal_bytes, report.matched_bytes), (0, 0, 0), "{report:?}");
}

#[test]
fn every_algorithm() {
    let tree = Shape::new().tree(77);
    for compression in [
        Compression::Off,
        Compression::Lz4,
        Compression::Zlib,
        Compression::Zlibx,
        Compression::Zstd,
        Compression::Auto,
    ] {
        for checksum in
            [Checksum::Md5, Checksum::Sha1, Checksum::Xxh64, Checksum::Xxh3, Checksum::Xxh128, Checksum::Auto]
        {
            for detection in [ChangeDetection::Auto, ChangeDetection::SizeAndTime] {
                let folder = tempfile::tempdir().unwrap();
                let options =
                    RsyncOptions::new().compression(compression).checksum(checksum).change_detection(detection);
                let report = push(folder.path(), options, &tree);
                assert!(report.problems.is_empty(), "{:?}", report.problems);
                let different = differences(&tree, &scan(folder.path()).unwrap());
                assert_eq!(different, Vec::<String>::new(), "{compression:?} {checksum:?}");
            }
        }
    }
}

/// The dialects of older versions, over an older state of the same tree.
#[test]
fn every_protocol() {
    let scripts = tempfile::tempdir().unwrap();
    let shape = Shape::new().longest(60_000);
    for (seed, (name, script)) in (0..).zip([
        ("30", "shift; exec rsync --server --protocol=30 \"$@\""),
        ("31", "shift; exec rsync --server --protocol=31 \"$@\""),
        ("32", "exec rsync \"$@\""),
    ]) {
        let tree = shape.tree(80 + seed);
        let older = edit(&tree, &shape, seed);
        for compression in [Compression::Off, Compression::Auto, Compression::Zlib] {
            let folder = tempfile::tempdir().unwrap();
            materialise(&older, folder.path()).unwrap();
            let options = stand_in(scripts.path(), name, script).compression(compression);
            let request = PushRequest::new().deletion(Deletion::UpTo(u64::MAX));
            let report = try_push(folder.path(), options, &request, &tree).unwrap();
            assert!(report.problems.is_empty(), "{name}: {:?}", report.problems);
            let mut different = differences(&tree, &scan(folder.path()).unwrap());
            if name == "30" {
                // Protocol 30 has whole seconds only.
                different.retain(|line| !line.contains(": time "));
            }
            assert_eq!(different, Vec::<String>::new(), "{name} {compression:?}");
        }
    }
}

#[test]
fn many_entries_do_not_stall() {
    let folder = tempfile::tempdir().unwrap();
    let tree = MemoryTree::new();
    for dir in 0..40 {
        tree.put_dir(path(&format!("dir{dir}"))).unwrap();
        for file in 0..300 {
            tree.put_file(path(&format!("dir{dir}/file{file}")), file.to_string(), old(file)).unwrap();
        }
    }
    for file in 0..3000 {
        tree.put_file(path(&format!("file{file}")), file.to_string().into_bytes(), old(file)).unwrap();
    }
    let report = push(folder.path(), RsyncOptions::new(), &tree);
    assert_eq!((report.files, report.problems.total()), (40 * 300 + 3000, 0));
    assert_eq!(differences(&tree, &scan(folder.path()).unwrap()), Vec::<String>::new());
}

#[test]
fn odd_roots() {
    let outer = tempfile::tempdir().unwrap();
    for name in ["-rf", "it's", "a b", "$(x)", "q*?[1]", "\u{e9}!", "back\\slash"] {
        for (detection, below) in [(ChangeDetection::Auto, "deep/er"), (ChangeDetection::SizeAndTime, "flat")] {
            let root = outer.path().join(name).join(below);
            if detection == ChangeDetection::SizeAndTime {
                // Without a script only the last folder is made.
                fs::create_dir_all(outer.path().join(name)).unwrap();
            }
            let tree = MemoryTree::new();
            tree.put_file(path("f"), name.as_bytes().to_vec(), old(1)).unwrap();
            let report = push(&root, RsyncOptions::new().change_detection(detection), &tree);
            assert!(report.problems.is_empty(), "{:?}", report.problems);
            assert_eq!(fs::read(root.join("f")).unwrap(), name.as_bytes());
        }
    }
}

#[test]
fn excluded_paths_neither_travel_nor_go() {
    let folder = tempfile::tempdir().unwrap();
    let tree = MemoryTree::new();
    for name in ["a", "cache"] {
        tree.put_dir(path(name)).unwrap();
        tree.put_file(path(&format!("{name}/new")), "x", old(1)).unwrap();
    }
    fs::create_dir_all(folder.path().join("cache")).unwrap();
    for name in ["cache/there", "gone", "kept.tmp"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    let filter = Filter::new(["cache/", "*.tmp"].map(|rule| Rule::parse(rule).unwrap()).to_vec());
    let request = PushRequest::new().filter(filter).deletion(Deletion::UpTo(1));
    let report = try_push(folder.path(), RsyncOptions::new(), &request, &tree).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(report.deleted, 1);
    for (name, is_there) in
        [("a/new", true), ("cache/there", true), ("kept.tmp", true), ("gone", false), ("cache/new", false)]
    {
        assert_eq!(folder.path().join(name).exists(), is_there, "{name}");
    }
}

/// A changed file travels in part, with every sum and every compression, and whatever changed.
#[test]
fn changed_files_travel_in_part() {
    let row = |row: u32| format!("({row},'{}'),\n", row.wrapping_mul(2_654_435_761)).into_bytes();
    let before: Vec<u8> = (0..120_000).flat_map(row).collect();
    let mut after = before.clone();
    after.splice(1_700_000..1_700_000, *b"(1,'inserted'),\n");
    after.drain(700_000..700_100);
    after[5..10].fill(b'!');
    after.extend_from_slice(b"(2,'appended');\n");
    let tree = MemoryTree::new();
    tree.put_file(path("dump.sql"), after.clone(), old(2)).unwrap();
    let scripts = tempfile::tempdir().unwrap();
    for protocol in [30, 31, 32] {
        let script = format!("shift; exec rsync --server --protocol={protocol} \"$@\"");
        let options = stand_in(scripts.path(), "rsync", &script);
        for compression in
            [Compression::Auto, Compression::Off, Compression::Lz4, Compression::Zlib, Compression::Zlibx]
        {
            for checksum in [Checksum::Auto, Checksum::Md5, Checksum::Xxh64] {
                let folder = tempfile::tempdir().unwrap();
                let file = folder.path().join("dump.sql");
                fs::write(&file, &before).unwrap();
                let what = format!("{protocol} {compression:?} {checksum:?}");
                let options = options.clone().compression(compression).checksum(checksum);
                let report = push(folder.path(), options, &tree);
                assert!(report.problems.is_empty(), "{what}: {:?}", report.problems);
                assert!(fs::read(&file).unwrap() == after, "{what}");
                assert_eq!(report.literal_bytes + report.matched_bytes, after.len() as u64, "{what}");
                assert!(report.literal_bytes < 20_000, "{what}: {report:?}");
                assert!(report.sent_bytes < 30_000, "{what}: {report:?}");
            }
        }
    }
}

/// A source whose files fail in all the ways that files can.
struct Failing(MemoryTree);

#[async_trait]
impl TreeSource for Failing {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        self.0.entries().await
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        let name = path.name().to_vec();
        match &name[..] {
            b"denied" => return Err(TreeError::Denied { path: path.clone() }),
            b"vanished" => return Err(TreeError::NotFound { path: path.clone() }),
            _ => {}
        }
        Ok(Box::new(FailingStream { inner: self.0.open(path).await?, path: path.clone(), name, given: 0 }))
    }
}

struct FailingStream {
    inner: Box<dyn FileStream>,
    path: RelPath,
    name: Vec<u8>,
    given: usize,
}

#[async_trait]
impl FileStream for FailingStream {
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError> {
        let piece = self.inner.read().await?;
        self.given += piece.as_ref().map_or(0, Bytes::len);
        match &self.name[..] {
            b"damaged at the end" if piece.is_none() => Err(TreeError::Damaged { path: self.path.clone() }),
            b"damaged" => Err(TreeError::Damaged { path: self.path.clone() }),
            b"grown" if piece.is_none() && self.given < 200_000 => {
                self.given = 200_000;
                Ok(Some(Bytes::from_static(b"more")))
            }
            b"shrunk" => Ok(piece.map(|piece| piece.slice(..piece.len() / 2)).filter(|piece| !piece.is_empty())),
            _ => Ok(piece),
        }
    }
}

/// Whatever fails here, the far end keeps what it had, and each file is told.
#[test]
fn what_cannot_be_read_is_never_written() {
    let names = ["damaged", "damaged at the end", "denied", "grown", "shrunk", "vanished"];
    for (protocol, compression) in [(30, Compression::Auto), (31, Compression::Off), (32, Compression::Zstd)] {
        let (folder, scripts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tree = MemoryTree::new();
        for name in names.iter().chain(&["good", "good as well"]) {
            tree.put_file(path(name), name.repeat(10_000).into_bytes(), old(1)).unwrap();
            fs::write(folder.path().join(name), format!("the old {name}").repeat(1000)).unwrap();
        }
        let script = format!("shift; exec rsync --server --protocol={protocol} \"$@\"");
        let options = stand_in(scripts.path(), "rsync", &script).compression(compression);
        let report = push(folder.path(), options, &Failing(tree.clone()));
        let expected = [
            ("damaged", ProblemKind::Failed),
            ("damaged at the end", ProblemKind::Failed),
            ("denied", ProblemKind::Unreadable),
            ("grown", ProblemKind::Changed),
            ("shrunk", ProblemKind::Changed),
            ("vanished", ProblemKind::Vanished),
        ];
        assert_eq!(problems(&report), expected.map(|(name, kind)| (name.to_owned(), kind)), "{:?}", report.problems);
        assert_eq!(report.files, 2);
        for name in names {
            let there = fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(there == format!("the old {name}").repeat(1000), "{name} was written to");
        }
        assert_eq!(fs::read_to_string(folder.path().join("good")).unwrap(), "good".repeat(10_000));
    }
}

/// A group of hard links whose content cannot be read, and one whose first name is excluded.
#[test]
fn hard_links() {
    let folder = tempfile::tempdir().unwrap();
    let tree = MemoryTree::new();
    for (first, others) in [("denied", ["e1", "e2"]), ("excluded", ["f1", "f2"]), ("a", ["a1", "a2"])] {
        tree.put_file(path(first), first.as_bytes().to_vec(), old(1)).unwrap();
        for other in others {
            let mut entry = Entry::file(path(other), first.len() as u64, old(1));
            entry.kind = EntryKind::File { len: first.len() as u64, hardlink_to: Some(path(first)) };
            tree.put(&entry, Bytes::new()).unwrap();
        }
    }
    let filter = Filter::new(vec![Rule::parse("excluded").unwrap()]);
    let request = PushRequest::new().filter(filter);
    let report = try_push(folder.path(), RsyncOptions::new(), &request, &Failing(tree)).unwrap();
    let there = scan(folder.path()).unwrap();
    let listed = there.list().into_iter().map(|entry| entry.path.to_string());
    let listed: Vec<_> = listed.filter(|path| !path.contains("-partial")).collect();
    assert_eq!(listed, [".", "a", "a1", "a2", "f1", "f2"], "{:?}", report.problems);
    let further =
        |name: &str| matches!(there.entry(&path(name)).unwrap().kind, EntryKind::File { hardlink_to: Some(_), .. });
    assert!(further("a1") && further("a2") && further("f2"));
    assert_eq!(there.content(&path("f1")).as_deref(), Some(&b"excluded"[..]));
    let lost = ["denied", "e1", "e2"].map(|name| (name.to_owned(), ProblemKind::Unreadable));
    assert_eq!(problems(&report), lost, "{:?}", report.problems);
}

/// As a user who may not write everywhere and make no devices.
#[test]
fn what_the_far_end_cannot_write_is_told() {
    let (folder, scripts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = folder.path();
    for dir in [root, scripts.path()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::create_dir(root.join("closed")).unwrap();
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::create_dir_all(root.join("in the way/x")).unwrap();
    let tree = MemoryTree::new();
    for dir in ["open", "closed", "closed/sub"] {
        tree.put_dir(path(dir)).unwrap();
    }
    for file in ["open/file", "closed/file", "closed/sub/file", "in the way"] {
        tree.put_file(path(file), "content", old(1)).unwrap();
    }
    let device = EntryKind::CharDevice(DeviceNumber { major: 1, minor: 3 });
    tree.put(
        &Entry { path: path("device"), kind: device, meta: EntryMeta { mode: 0o600, ..EntryMeta::default() } },
        Bytes::new(),
    )
    .unwrap();
    let is_root = is_root();
    let program = if is_root { "exec setpriv --reuid=65534 --regid=65534 --clear-groups rsync" } else { "exec rsync" };
    for (name, script) in [
        ("new", format!("{program} \"$@\"")),
        ("in-band", format!("shift; {program} --server --no-msgs2stderr \"$@\"")),
        ("30", format!("shift; {program} --server --protocol=30 --no-msgs2stderr \"$@\"")),
    ] {
        let report = push(root, stand_in(scripts.path(), name, &script), &tree);
        let told = problems(&report);
        println!("{name}: {:?}", report.problems);
        for lost in ["closed/file", "closed/sub", "device", "in the way"] {
            assert!(told.iter().any(|(path, _)| path == lost), "{name}: {lost} is not told: {:?}", report.problems);
        }
        assert!(!told.iter().any(|(path, _)| path == "open/file"), "{name}");
        assert_eq!(fs::read_to_string(root.join("open/file")).unwrap(), "content");
        fs::remove_file(root.join("open/file")).unwrap();
    }
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_far_end_that_cannot_be_used_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let tree = MemoryTree::new();
    tree.put_file(path("f"), "x", old(1)).unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    for detection in [ChangeDetection::Auto, ChangeDetection::SizeAndTime] {
        let options = RsyncOptions::new().change_detection(detection);
        let outcome = try_push(&folder.path().join("file/below"), options.clone(), &PushRequest::new(), &tree);
        assert!(matches!(outcome, Err(TransportError::NotFound { .. } | TransportError::Remote { .. })), "{outcome:?}");
        let outcome = try_push(folder.path(), options.rsync_program("no-such-rsync"), &PushRequest::new(), &tree);
        assert!(matches!(outcome, Err(TransportError::Unsupported { .. })), "{outcome:?}");
    }
}

/// A directory of the far end stands where a file is to be: without a word about deletion, it stays.
#[test]
fn nothing_makes_way_unasked() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("f/full")).unwrap();
    let tree = MemoryTree::new();
    tree.put_file(path("f"), "x", old(1)).unwrap();
    let report = push(folder.path(), RsyncOptions::new(), &tree);
    assert_eq!(problems(&report), [("f".to_owned(), ProblemKind::Failed)], "{:?}", report.problems);
    assert!(folder.path().join("f/full").is_dir());
    // What is in it counts.
    let request = |limit| PushRequest::new().deletion(Deletion::UpTo(limit));
    let report = try_push(folder.path(), RsyncOptions::new(), &request(0), &tree).unwrap();
    assert_eq!(report.problems.total(), 2, "{:?}", report.problems);
    assert!(folder.path().join("f/full").is_dir());
    let report = try_push(folder.path(), RsyncOptions::new(), &request(1), &tree).unwrap();
    assert_eq!(report.problems.total(), 0, "{:?}", report.problems);
    assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"x");
}
