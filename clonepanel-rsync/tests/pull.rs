//! Pulls from the installed rsync, run as a local child process, in every dialect that it speaks.
#![allow(clippy::unwrap_used)]

mod common;

use async_trait::async_trait;
use clonepanel_core::{
    entry::EntryKind,
    filter::{Filter, Rule},
    memory::MemoryTree,
    path::RelPath,
    problem::ProblemKind,
    testkit::{differences, generator::Shape, materialise, scan},
    transport::{PullRequest, TransportError},
};
use clonepanel_core::{
    entry::{Entry, Freshness},
    time::Timestamp,
    tree::{FileSink, TreeError, TreeSink, Want},
};
use clonepanel_rsync::{ChangeDetection, Checksum, Compression, RsyncOptions};
use common::{pull, stand_in, try_pull};
use std::{collections::BTreeMap, sync::Mutex, time::Duration};

fn path(text: &str) -> RelPath {
    RelPath::try_from(text).unwrap()
}

#[test]
fn random_trees_arrive_exactly() {
    for seed in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        materialise(&Shape::new().tree(seed), folder.path()).unwrap();
        let (got, report) = pull(folder.path(), RsyncOptions::new());
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        assert_eq!(differences(&scan(folder.path()).unwrap(), &got), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn every_algorithm() {
    let folder = tempfile::tempdir().unwrap();
    materialise(&Shape::new().tree(77), folder.path()).unwrap();
    let real = scan(folder.path()).unwrap();
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
                let options =
                    RsyncOptions::new().compression(compression).checksum(checksum).change_detection(detection);
                let (got, report) = pull(folder.path(), options);
                assert!(report.problems.is_empty(), "{:?}", report.problems);
                assert_eq!(differences(&real, &got), Vec::<String>::new(), "{compression:?} {checksum:?}");
            }
        }
    }
}

/// The dialects of older versions, and lists that are not incremental.
#[test]
fn every_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let scripts = tempfile::tempdir().unwrap();
    materialise(&Shape::new().tree(78), folder.path()).unwrap();
    let real = scan(folder.path()).unwrap();
    for (name, script) in [
        ("30", "shift; exec rsync --server --protocol=30 \"$@\""),
        ("31", "shift; exec rsync --server --protocol=31 \"$@\""),
        ("whole", "shift; exec rsync --server --no-inc-recursive \"$@\""),
        ("whole30", "shift; exec rsync --server --no-inc-recursive --protocol=30 \"$@\""),
    ] {
        for compression in [Compression::Off, Compression::Auto, Compression::Zlib] {
            let options = stand_in(scripts.path(), name, script).compression(compression);
            let (got, report) = pull(folder.path(), options);
            assert!(report.problems.is_empty(), "{name}: {:?}", report.problems);
            let mut different = differences(&real, &got);
            if name.ends_with("30") {
                // Protocol 30 has whole seconds only.
                different.retain(|line| !line.contains(": time "));
            }
            assert_eq!(different, Vec::<String>::new(), "{name} {compression:?}");
        }
    }
}

/// A far end that compares a large file on a slow disk has nothing to say meanwhile, and is waited for.
#[test]
fn a_long_comparison_is_no_silence() {
    let folder = tempfile::tempdir().unwrap();
    let scripts = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0_u32..2 << 20).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    std::fs::write(folder.path().join("large"), &content).unwrap();
    let said = scripts.path().join("said");
    // The second time, the far end falls silent in the middle of what it said the first time.
    let measured = stand_in(scripts.path(), "measured", &format!("rsync \"$@\" | tee {}", said.display()));
    let slow = |len: u64| {
        let script = format!("rsync \"$@\" | {{ dd bs=1 count={len} 2>/dev/null; sleep 3; cat; }}");
        stand_in(scripts.path(), "slow", &script)
    };
    let try_with = |options: RsyncOptions, older: &[u8]| {
        let into = MemoryTree::new();
        into.put_file(path("large"), older.to_vec(), Timestamp::default()).unwrap();
        let options = options.compression(Compression::Off).change_detection(ChangeDetection::SizeAndTime);
        let options = options.progress_timeout(Duration::from_secs(1)).minimum_progress(0);
        let report = try_pull(folder.path(), options, &PullRequest::new(), &into)?;
        assert!(into.content(&path("large")).unwrap() == content);
        Ok(report)
    };
    assert_eq!(try_with(measured, &content).unwrap().literal_bytes, 0);
    let half = std::fs::metadata(&said).unwrap().len() / 2;
    assert_eq!(try_with(slow(half), &content).unwrap().literal_bytes, 0);
    // Without a large file to compare, silence is silence.
    let silent = try_with(slow(half), b"short").unwrap_err();
    assert!(
        matches!(&silent, TransportError::Interrupted { detail, .. } if detail.contains("nothing came")),
        "{silent}"
    );
}

/// More entries than the sender lists ahead, in many directories and in one.
#[test]
fn many_entries_do_not_stall() {
    let folder = tempfile::tempdir().unwrap();
    for dir in 0..40 {
        let dir = folder.path().join(format!("dir{dir}"));
        std::fs::create_dir(&dir).unwrap();
        for file in 0..300 {
            std::fs::write(dir.join(format!("file{file}")), file.to_string()).unwrap();
        }
    }
    for file in 0..3000 {
        std::fs::write(folder.path().join(format!("file{file}")), file.to_string()).unwrap();
    }
    let (got, report) = pull(folder.path(), RsyncOptions::new());
    assert_eq!(report.entries, 1 + 40 + 40 * 300 + 3000);
    assert_eq!(report.files, 40 * 300 + 3000);
    assert_eq!(differences(&scan(folder.path()).unwrap(), &got), Vec::<String>::new());
}

#[test]
fn an_empty_tree() {
    let folder = tempfile::tempdir().unwrap();
    let (got, report) = pull(folder.path(), RsyncOptions::new());
    assert_eq!((got.list().len(), report.entries), (1, 1));
}

#[test]
fn only_wanted_paths() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["a/b/c/1", "a/b/d/2", "a/3", "e/4", "5"] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    for detection in [ChangeDetection::Auto, ChangeDetection::SizeAndTime] {
        let got = MemoryTree::new();
        let request = PullRequest::new().paths(vec![path("a/b/c"), path("e"), path("5")]);
        let options = RsyncOptions::new().change_detection(detection);
        let report = try_pull(folder.path(), options, &request, &got).unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let listed: Vec<_> = got.list().iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(listed, [".", "5", "a", "a/b", "a/b/c", "a/b/c/1", "e", "e/4"]);
    }
}

#[test]
fn excluded_paths_are_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["keep/cache/x", "keep/y.tmp", "keep/z", "cache/q", "top/cache", "a [b]*/c"] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    let rules = ["+ /keep/cache/", "cache/", "*.tmp"].map(|rule| Rule::parse(rule).unwrap());
    let request = PullRequest::new().filter(Filter::new(rules.to_vec()));
    let got = MemoryTree::new();
    let report = try_pull(folder.path(), RsyncOptions::new(), &request, &got).unwrap();
    // The far end applied the same rules: nothing had to be refused here.
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let files: Vec<_> =
        got.list().iter().filter(|entry| entry.has_content()).map(|entry| entry.path.to_string()).collect();
    assert_eq!(files, ["a [b]*/c", "keep/cache/x", "keep/z", "top/cache"]);
}

#[test]
fn odd_roots() {
    let outer = tempfile::tempdir().unwrap();
    for name in ["-rf", "it's", "a b", "$(x)", "q*?[1]", "\u{e9}!", "back\\slash"] {
        let root = outer.path().join(name);
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("f"), name).unwrap();
        for detection in [ChangeDetection::Auto, ChangeDetection::SizeAndTime] {
            let (got, _) = pull(&root, RsyncOptions::new().change_detection(detection));
            assert_eq!(got.content(&path("f")).as_deref(), Some(name.as_bytes()), "{name}");
        }
    }
}

#[test]
fn missing_things_are_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), "x").unwrap();
    let missing = folder.path().join("nowhere");
    for detection in [ChangeDetection::Auto, ChangeDetection::SizeAndTime] {
        let options = RsyncOptions::new().change_detection(detection);
        let got = MemoryTree::new();
        let outcome = try_pull(&missing, options.clone(), &PullRequest::new(), &got);
        assert!(matches!(outcome, Err(TransportError::NotFound { .. } | TransportError::Remote { .. })), "{outcome:?}");
        assert!(got.list().len() <= 1);
        let options = options.rsync_program("no-such-rsync");
        let outcome = try_pull(folder.path(), options, &PullRequest::new(), &got);
        assert!(matches!(outcome, Err(TransportError::Unsupported { .. })), "{outcome:?}");
    }
    let request = PullRequest::new().paths(vec![path("f"), path("g")]);
    let outcome = try_pull(folder.path(), RsyncOptions::new(), &request, &MemoryTree::new());
    assert!(matches!(&outcome, Err(TransportError::NotFound { path, .. }) if path == "g"), "{outcome:?}");
}

/// As a user who may not read everything: directories that cannot be listed and files that cannot be read are problems.
#[test]
fn unreadable_things_are_problems() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let scripts = tempfile::tempdir().unwrap();
    std::fs::set_permissions(scripts.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["s/open/a", "s/closed/b", "s/c", "s/secret\n"] {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x").unwrap();
    }
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(folder.path().join("s/closed"), std::fs::Permissions::from_mode(0o000)).unwrap();
    std::fs::set_permissions(folder.path().join("s/secret\n"), std::fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser reads everything, so the far end must be somebody else then.
    let is_root = std::process::Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let program = if is_root { "exec setpriv --reuid=65534 --regid=65534 --clear-groups rsync" } else { "exec rsync" };
    for (name, script) in [
        ("new", format!("{program} \"$@\"")),
        ("in-band", format!("shift; {program} --server --no-msgs2stderr \"$@\"")),
        ("whole", format!("shift; {program} --server --no-inc-recursive \"$@\"")),
    ] {
        let got = MemoryTree::new();
        let report =
            try_pull(folder.path(), stand_in(scripts.path(), name, &script), &PullRequest::new(), &got).unwrap();
        let mut problems: Vec<_> =
            report.problems.listed().iter().map(|problem| (problem.path.to_string(), problem.kind)).collect();
        problems.sort();
        let expected =
            [("s/closed".to_owned(), ProblemKind::Unlisted), ("s/secret\\x0a".to_owned(), ProblemKind::Unreadable)];
        assert_eq!(problems, expected, "{name}: {:?}", report.problems);
        assert_eq!(got.content(&path("s/c")).as_deref(), Some(&b"x"[..]));
    }
    std::fs::set_permissions(folder.path().join("s/closed"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn hard_links_across_directories() {
    let folder = tempfile::tempdir().unwrap();
    for dir in ["a", "b", "c"] {
        std::fs::create_dir(folder.path().join(dir)).unwrap();
    }
    let first = folder.path().join("b/first");
    std::fs::write(&first, "content").unwrap();
    for other in ["a/other", "c/other", "c/again", "z"] {
        std::fs::hard_link(&first, folder.path().join(other)).unwrap();
    }
    let (got, report) = pull(folder.path(), RsyncOptions::new());
    assert_eq!(report.files, 1);
    let followers = got
        .list()
        .into_iter()
        .filter(|entry| matches!(entry.kind, EntryKind::File { hardlink_to: Some(_), .. }))
        .count();
    assert_eq!(followers, 4);
    assert_eq!(differences(&scan(folder.path()).unwrap(), &got), Vec::<String>::new());
}

/// Notes how fresh each file is said to be.
struct Notes(MemoryTree, Mutex<BTreeMap<String, Freshness>>);

#[async_trait]
impl TreeSink for Notes {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        if entry.has_content() {
            self.1.lock().unwrap().insert(entry.path.to_string(), entry.meta.freshness);
        }
        self.0.offer(entry).await
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.0.file(entry).await
    }
}

/// What size and time do not show: an edit that keeps both, and a directory that takes the place of another one.
#[test]
fn changes_that_keep_size_and_time_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (name, content) in [("same", "1"), ("edited", "1"), ("site/f", "1"), ("next/f", "2"), ("it's a \\ d!r/f", "1")]
    {
        let file = root.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, content).unwrap();
    }
    let fresh = |since: Option<Timestamp>, options: RsyncOptions| {
        let notes = Notes(MemoryTree::new(), Mutex::default());
        let request = PullRequest::new().since(since);
        let report = try_pull(root, options, &request, &notes).unwrap();
        (report.source_clock, notes.1.into_inner().unwrap())
    };
    let (clock, first) = fresh(None, RsyncOptions::new());
    assert!(first.values().all(|fresh| *fresh == Freshness::Unknown));
    // Past the margin of two seconds around the scan.
    std::thread::sleep(Duration::from_millis(5_500));
    let since = clock.map(|clock| clock.after(Duration::from_secs(4)));
    let time = std::fs::metadata(root.join("edited")).unwrap().modified().unwrap();
    std::fs::write(root.join("edited"), "2").unwrap();
    std::fs::File::options().append(true).open(root.join("edited")).unwrap().set_modified(time).unwrap();
    std::fs::rename(root.join("site"), root.join("old")).unwrap();
    std::fs::rename(root.join("next"), root.join("site")).unwrap();
    let (_, second) = fresh(since, RsyncOptions::new());
    let of = |name: &str| second.get(name).copied();
    assert_eq!(of("same"), Some(Freshness::Settled));
    assert_eq!(of("it's a \\x5c d!r/f"), Some(Freshness::Settled), "{second:?}");
    for name in ["edited", "site/f", "old/f"] {
        assert_eq!(of(name), Some(Freshness::Touched), "{name}: {second:?}");
    }
    // A clock that went back, a login that runs nothing but rsync: nothing is known.
    let later = clock.map(|clock| clock.after(Duration::from_secs(86_400)));
    assert!(fresh(later, RsyncOptions::new()).1.values().all(|fresh| *fresh == Freshness::Unknown));
    let options = RsyncOptions::new().change_detection(ChangeDetection::SizeAndTime);
    assert!(fresh(since, options).1.values().all(|fresh| *fresh == Freshness::Unknown));
}

/// Old servers explain in the stream why they do not send a file.
#[test]
fn what_vanishes_is_no_loss_in_any_version() {
    struct Remover(MemoryTree, std::path::PathBuf);

    #[async_trait]
    impl TreeSink for Remover {
        async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
            if entry.path.as_bytes() == b"gone" {
                std::fs::remove_file(&self.1).unwrap();
            }
            self.0.offer(entry).await
        }

        async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
            self.0.file(entry).await
        }
    }

    let scripts = tempfile::tempdir().unwrap();
    for (name, script) in
        [("new", "exec rsync \"$@\""), ("in-band", "shift; exec rsync --server --no-msgs2stderr \"$@\"")]
    {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gone"), "x").unwrap();
        std::fs::write(folder.path().join("here"), "x").unwrap();
        let sink = Remover(MemoryTree::new(), folder.path().join("gone"));
        let options = stand_in(scripts.path(), name, script);
        let report = try_pull(folder.path(), options, &PullRequest::new(), &sink).unwrap();
        let problems: Vec<_> = report.problems.listed().iter().map(|p| (p.path.to_string(), p.kind)).collect();
        assert_eq!(problems, [("gone".to_owned(), ProblemKind::Vanished)], "{name}: {:?}", report.problems);
        assert_eq!(report.problems.losses(), 0);
    }
}
