//! Pushes to the installed rsync, run as a local child process, in every dialect that it speaks.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use clonepanel_core::{
    entry::{Entry, EntryKind, LinkTarget},
    filter::{Filter, Rule},
    memory::MemoryTree,
    problem::ProblemKind,
    testkit::{
        differences,
        generator::{Devices, Shape, edit},
        materialise, owner_differences, path, scan,
    },
    transport::{Deletion, PushRequest},
};
use clonepanel_rsync::{ChangeDetection, Checksum, Compression, RsyncOptions};
use common::{PARTIAL, files, is_root, old, problems, protocols, push, stand_in, try_push, write};
use std::fs;

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

/// What a rule keeps there stands where the source has a file: rsync would empty that directory.
#[test]
fn what_is_excluded_never_makes_way() {
    let scripts = tempfile::tempdir().unwrap();
    let name = "d[1]*\\";
    let tree = MemoryTree::new();
    for place in ["cache", name, "empties"] {
        tree.put_file(path(place), "x", old(1)).unwrap();
    }
    tree.put(
        &Entry { kind: EntryKind::Symlink(LinkTarget::new("else").unwrap()), ..Entry::dir(path("tmp")) },
        Bytes::new(),
    )
    .unwrap();
    let mut further = Entry::file(path("further"), 1, old(1));
    further.kind = EntryKind::File { len: 1, hardlink_to: Some(path("cache")) };
    tree.put(&further, Bytes::new()).unwrap();
    let filter = Filter::parse(["cache/", "keep", "tmp/"]).unwrap();
    for options in protocols(scripts.path()) {
        let folder = tempfile::tempdir().unwrap();
        let there = ["cache/sub/x", "cache/there", &format!("{name}/b"), &format!("{name}/sub/keep"), "tmp/y"];
        write(folder.path(), &there);
        write(folder.path(), &["empties/a", "empties/b", "gone"]);
        let request = PushRequest::new().filter(filter.clone()).deletion(Deletion::UpTo(3));
        let report = try_push(folder.path(), options, &request, &tree).unwrap();
        let refused = ["cache", name, "tmp"].map(|place| (path(place).to_string(), ProblemKind::Refused));
        assert_eq!(problems(&report), refused, "{:?}", report.problems);
        assert_eq!(report.deleted, 3);
        for name in there {
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), name);
        }
        assert!(!folder.path().join("gone").exists());
        for name in ["empties", "further"] {
            assert_eq!(fs::read(folder.path().join(name)).unwrap(), b"x");
        }
    }
}

/// Half sent files stay for the next push and go with their directory, whatever else is deleted; nobody else sees them.
#[test]
fn half_sent_files_are_no_part_of_a_tree() {
    let scripts = tempfile::tempdir().unwrap();
    for options in protocols(scripts.path()) {
        let folder = tempfile::tempdir().unwrap();
        let half = |dir: &str| format!("{dir}{PARTIAL}/half");
        write(folder.path(), &[&half(""), &half("stays/"), &half("goes/"), "goes/x", "goes/y/z"]);
        let tree = MemoryTree::new();
        for dir in ["stays", PARTIAL] {
            tree.put_dir(path(dir)).unwrap();
        }
        tree.put_file(path(&half("")), "of somebody else", old(1)).unwrap();
        let request = PushRequest::new().deletion(Deletion::UpTo(4));
        let report = try_push(folder.path(), options.clone(), &request, &tree).unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        assert_eq!(files(folder.path()), [half(""), half("stays/")]);
        assert_eq!(fs::read_to_string(folder.path().join(half(""))).unwrap(), half(""));
        let (pulled, report) = common::pull(folder.path(), options);
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let pulled: Vec<_> = pulled.list().into_iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(pulled, [".", "stays"]);
    }
}
