//! Errors everywhere: at the n-th call for every n of a whole run, a full disk, no inodes left. Nothing is visible before the commit,
//! older snapshots stay exact, and the next run succeeds unaided.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use async_trait::async_trait;
use clonepanel_core::{
    job::{BackupError, BackupJob, BackupOutcome, RestoreJob},
    memory::{MemoryTransport, MemoryTree},
    path::RelPath,
    snapshot_id::SourceName,
    store::{SnapshotStore, StoreError},
    testkit::{
        Call, Fault, Faulty, Gate, Gated, block_on, differences,
        generator::{Shape, edit},
        path, read_tree,
    },
    time::{SystemClock, Timestamp},
    transport::PullRequest,
    tree::Under,
};
use clonepanel_store::{HardLinkStore, StoreOptions};
use clonepanel_tests::{Fingerprint, Tool, in_own_mounts, may_lack};
use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;

/// A store with one good snapshot of a tree, and what it looked like.
struct Kept {
    root: PathBuf,
    folder: PathBuf,
    before: Fingerprint,
    tree: MemoryTree,
}

impl Kept {
    fn new(root: &Path, tree: MemoryTree) -> Self {
        HardLinkStore::init(root).unwrap();
        let info = back_up(open(root), &tree).unwrap().info;
        assert!(info.problems.is_empty(), "{:?}", info.problems);
        let folder = root.join(info.id.to_string());
        let before = Fingerprint::of(&folder);
        assert!(before.len() > 2, "the snapshot lies where it is looked for");
        Self { root: root.to_owned(), folder, before, tree }
    }

    /// As if the program had been started anew: only the good snapshot is there, and it is as it was.
    fn assert_alone_and_exact(&self, when: &str) {
        let ids = block_on(open(&self.root).list(&source())).unwrap();
        assert_eq!(ids.len(), 1, "{when}: another snapshot is visible: {ids:?}");
        assert_eq!(self.before.changes(&Fingerprint::of(&self.folder)), [""; 0], "{when}");
    }

    /// A run after the trouble is over works and is exact; its snapshot is taken away again.
    fn assert_next_run_works(&self, tree: &MemoryTree, when: &str) {
        let store = open(&self.root);
        let info =
            back_up(Arc::clone(&store), tree).unwrap_or_else(|error| panic!("{when}: the next run: {error:?}")).info;
        assert!(info.problems.is_empty(), "{when}: {:?}", info.problems);
        block_on(async {
            for (id, tree) in [(&info.id, tree), (&store.list(&source()).await.unwrap()[0].id, &self.tree)] {
                let reader = store.open(id).await.unwrap();
                let kept = read_tree(&Under::new(files(), reader)).await.unwrap();
                assert_eq!(differences(tree, &kept), [""; 0], "{when}");
            }
            store.delete(&info.id).await.unwrap();
        });
        self.assert_alone_and_exact(when);
    }
}

fn back_up(store: Arc<dyn SnapshotStore>, tree: &MemoryTree) -> Result<BackupOutcome, BackupError> {
    let transport = Arc::new(MemoryTransport::new(tree.fork()));
    let job = BackupJob::new(store, source()).part(files(), transport, PullRequest::new());
    block_on(job.run(&SystemClock, &()))
}

/// Without a reserve: the disk itself says that it is full.
fn open(root: &Path) -> Arc<dyn SnapshotStore> {
    let options = StoreOptions::new().reserve_bytes(0).reserve_inodes(0);
    Arc::new(HardLinkStore::with_options(root, options).unwrap())
}

fn source() -> SourceName {
    SourceName::new("fault.example").unwrap()
}

fn files() -> RelPath {
    path("files")
}

#[test]
fn an_error_at_every_call_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let shape = Shape::new().entries(30).longest(20_000);
    let kept = Kept::new(dir.path(), shape.tree(11));
    let edited = edit(&kept.tree, &shape, 11);
    for fault in [Fault::NoSpace, Fault::Backend] {
        let mut calls = 0;
        let mut failed_first = BTreeSet::new();
        for n in 0.. {
            let when = format!("{fault:?} at call {n}");
            let gate = Arc::new(Noting::new(Faulty::from(n, fault)));
            let store = Arc::new(Gated::new(open(dir.path()), Arc::clone(&gate)));
            let outcome = back_up(store, &edited);
            if !gate.has_struck() {
                let id = outcome.unwrap_or_else(|error| panic!("no call failed, but: {error:?}")).info.id;
                block_on(open(dir.path()).delete(&id)).unwrap();
                calls = n;
                break;
            }
            let error = outcome.expect_err(&when);
            assert_eq!(fault == Fault::NoSpace, says_no_space(&error), "{when}: {error:?}");
            failed_first.extend(gate.first_failed());
            kept.assert_alone_and_exact(&when);
            // Each run after an error, and each error after a run that failed: both orders are met.
            if n % 2 == 0 {
                kept.assert_next_run_works(&edited, &when);
            }
        }
        assert!(calls > 60, "a run has more calls than {calls}");
        // Each kind of call that a run makes was once the first to fail, and it was told.
        assert_eq!(
            failed_first,
            ["Begin", "Commit", "File", "Finish", "Offer", "ReadAt", "Write"].map(str::to_owned).into()
        );
        println!("{fault:?}: an error at each of {calls} calls");
    }
}

/// Notes which call failed first.
struct Noting {
    inner: Faulty,
    failed: Mutex<Option<String>>,
}

impl Noting {
    fn new(inner: Faulty) -> Self {
        Self { inner, failed: Mutex::default() }
    }

    fn has_struck(&self) -> bool {
        self.inner.has_struck()
    }

    fn first_failed(&self) -> Option<String> {
        self.failed.lock().unwrap().clone()
    }
}

#[async_trait]
impl Gate for Noting {
    async fn pass(&self, call: Call, path: &RelPath) -> Result<(), Fault> {
        let passed = self.inner.pass(call, path).await;
        if passed.is_err() {
            self.failed.lock().unwrap().get_or_insert_with(|| format!("{call:?}"));
        }
        passed
    }
}

/// A single failing call is told, or did no harm: a basis that cannot be read is done without.
#[test]
fn one_error_is_told_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let shape = Shape::new().entries(30).longest(20_000);
    let kept = Kept::new(dir.path(), shape.tree(12));
    let edited = edit(&kept.tree, &shape, 12);
    let (mut told, mut harmless) = (0, 0);
    let (mut kinds_told, mut kinds_harmless) = (BTreeSet::new(), BTreeSet::new());
    // Runs differ by a few calls, so that the last calls of one are beyond the end of another. The very last one, the commit, is tried for
    // until it is met.
    let (mut next, mut beyond_the_end, mut again) = (0, 0, 0);
    loop {
        let n = next;
        next += 1;
        let gate = Arc::new(Noting::new(Faulty::at(n, Fault::Backend)));
        let outcome = back_up(Arc::new(Gated::new(open(dir.path()), Arc::clone(&gate))), &edited);
        let when = format!("call {n}");
        let Ok(outcome) = outcome else {
            told += 1;
            kinds_told.extend(gate.first_failed());
            kept.assert_alone_and_exact(&when);
            continue;
        };
        let id = outcome.info.id;
        let store = open(dir.path());
        let kept_now =
            block_on(async { read_tree(&Under::new(files(), store.open(&id).await.unwrap())).await.unwrap() });
        assert_eq!(differences(&edited, &kept_now), [""; 0], "an error at call {n} is not told and did harm");
        block_on(store.delete(&id)).unwrap();
        if !gate.has_struck() {
            beyond_the_end += 1;
            if beyond_the_end > 5 {
                if kinds_told.contains("Commit") || again == 50 {
                    break;
                }
                (next, beyond_the_end, again) = (n.saturating_sub(12), 0, again + 1);
            }
            continue;
        }
        harmless += 1;
        kinds_harmless.extend(gate.first_failed());
    }
    println!("{told} told, {harmless} harmless");
    assert_eq!(kinds_told, ["Begin", "Commit", "File", "Finish", "Offer", "Write"].map(str::to_owned).into());
    assert_eq!(kinds_harmless, ["ReadAt"].map(str::to_owned).into(), "only an older version can be done without");
    assert!(told > 40, "{told} told, {harmless} harmless");
    kept.assert_next_run_works(&edited, "after all of them");
}

fn says_no_space(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.to_string().contains("no space") || matches!(error.downcast_ref(), Some(StoreError::NoSpace { .. })) {
            return true;
        }
        next = error.source();
    }
    false
}

/// A file system of its own for one test.
struct Disk {
    dir: TempDir,
}

impl Disk {
    fn tmpfs(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        mount(&["-t", "tmpfs", "-o", options, "tmpfs"], &dir.path().join("mounted"));
        Self { dir }
    }

    /// One that allocates late, so that a full disk may show up in the sync only. `None` where a file cannot be mounted.
    fn ext4(mib: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-m", "0", "-N", "2000"]).arg(&image).status();
        let at = dir.path().join("mounted");
        fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at).status();
        (made.is_ok_and(|status| status.success()) && mounted.is_ok_and(|status| status.success()))
            .then_some(Self { dir })
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    /// Takes all free space but `left` bytes.
    fn ballast(&self, left: u64) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        let piece = mib(1);
        // The last write may be short: what counts is that no further byte fits.
        for size in [1 << 20, 1 << 16, 1 << 12] {
            while matches!(file.write(&piece[..size]), Ok(written) if written > 0) && file.sync_data().is_ok() {}
        }
        let len = file.metadata().unwrap().len();
        file.set_len(len.saturating_sub(left)).unwrap();
        file.sync_all().unwrap();
        path
    }
}

fn mount(arguments: &[&str], at: &Path) {
    fs::create_dir(at).unwrap();
    let status = Command::new("mount").args(arguments).arg(at).status().unwrap();
    assert!(status.success(), "mount {arguments:?}");
}

fn mib(n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n << 20];
    let mut x = 0x9e37_79b9_u32;
    for byte in &mut bytes {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (x >> 24) as u8;
    }
    bytes
}

#[test]
fn needs_mounts_a_full_disk() {
    in_own_mounts("needs_mounts_a_full_disk", || fill_up(&Disk::tmpfs("size=24m")));
}

#[test]
fn needs_mounts_a_full_ext4() {
    in_own_mounts("needs_mounts_a_full_ext4", || match Disk::ext4(32) {
        Some(disk) => fill_up(&disk),
        None => may_lack("loop", "a file cannot be mounted as a disk here"),
    });
}

/// A backup that does not fit, at every fill level from hopeless to nearly enough.
fn fill_up(disk: &Disk) {
    let shape = Shape::new().entries(40).longest(30_000);
    let kept = Kept::new(&disk.path().join("store"), shape.tree(1));
    let larger = edit(&kept.tree, &shape, 1);
    for number in 0..6 {
        let file = path(&format!("large{number}"));
        let old = Timestamp::from_secs(1_600_000_000);
        larger.put_file(file, mib(1)[number * 1000..].to_vec(), old).unwrap();
    }
    for left_kib in [0, 4, 16, 60, 200, 500, 1000, 2000, 3000, 4000, 5000, 5800] {
        let when = format!("{left_kib} KiB left");
        let ballast = disk.ballast(left_kib << 10);
        let error = back_up(open(&kept.root), &larger).expect_err(&when);
        assert!(says_no_space(&error), "{when}: {error:?}");
        kept.assert_alone_and_exact(&when);
        // Room is made, and nothing else.
        fs::remove_file(ballast).unwrap();
        kept.assert_next_run_works(&larger, &when);
    }
}

#[test]
fn needs_mounts_no_inodes_left() {
    in_own_mounts("needs_mounts_no_inodes_left", || {
        let disk = Disk::tmpfs("size=64m,nr_inodes=900");
        let shape = Shape::new().entries(60).longest(1000);
        let kept = Kept::new(&disk.path().join("store"), shape.tree(2));
        let larger = edit(&kept.tree, &shape, 2);
        for number in 0..60 {
            let old = Timestamp::from_secs(1_600_000_000);
            larger.put_file(path(&format!("many{number}")), vec![number; 200], old).unwrap();
        }
        for left in [0, 1, 3, 10, 30, 50] {
            let when = format!("{left} inodes left");
            let ballast = disk.path().join("ballast");
            fs::create_dir(&ballast).unwrap();
            let mut taken = Vec::new();
            while let Ok(file) = fs::File::create(ballast.join(taken.len().to_string())) {
                drop(file);
                taken.push(ballast.join(taken.len().to_string()));
            }
            taken.iter().rev().take(left).for_each(|file| fs::remove_file(file).unwrap());
            let error = back_up(open(&kept.root), &larger).expect_err(&when);
            assert!(says_no_space(&error), "{when}: {error:?}");
            kept.assert_alone_and_exact(&when);
            fs::remove_dir_all(ballast).unwrap();
            kept.assert_next_run_works(&larger, &when);
        }
    });
}

/// What a person sees of it: one line, what to do, exit code 1; deleting works on the full disk, and then there is room again.
#[test]
fn needs_mounts_a_full_disk_through_the_tool() {
    in_own_mounts("needs_mounts_a_full_disk_through_the_tool", || {
        let disk = Disk::tmpfs("size=200m");
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("index.php"), "<?php").unwrap();
        let tool = Tool::with_store(&disk.path().join("store"));
        tool.back_up(tree.path()).assert(0, &[]);
        let good = tool.snapshots().pop().unwrap();
        let before = Fingerprint::of(&good);
        fs::write(tree.path().join("large"), mib(80)).unwrap();
        let ballast = disk.ballast(70 << 20);
        tool.back_up(tree.path()).assert(1, &["space", "hint"]);
        assert_eq!(tool.snapshots(), std::slice::from_ref(&good));
        assert_eq!(before.changes(&Fingerprint::of(&good)), [""; 0]);
        tool.assert_verifies();
        fs::remove_file(ballast).unwrap();
        tool.back_up(tree.path()).assert(0, &[]);
        tool.assert_verifies();
    });
}

/// A disk that fails while a snapshot is restored: what is there already is left alone.
#[test]
fn needs_mounts_a_full_disk_while_restoring() {
    in_own_mounts("needs_mounts_a_full_disk_while_restoring", || {
        let dir = tempfile::tempdir().unwrap();
        let tree = MemoryTree::new();
        let old = Timestamp::from_secs(1_600_000_000);
        tree.put_file(path("large"), mib(6), old).unwrap();
        let kept = Kept::new(dir.path(), tree);
        let disk = Disk::tmpfs("size=4m");
        let to = disk.path().join("to");
        fs::create_dir(&to).unwrap();
        fs::write(to.join("large"), "the old one").unwrap();
        block_on(async {
            let store = open(&kept.root);
            let id = store.list(&source()).await.unwrap().remove(0).id;
            let job = RestoreJob::new(store.open(&id).await.unwrap(), files());
            let sink = clonepanel_store::LocalTree::new(&to);
            let error = job.run(&sink, &()).await.expect_err("it does not fit");
            assert!(says_no_space(&error), "{error:?}");
        });
        assert_eq!(fs::read(to.join("large")).unwrap(), b"the old one");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 1, "half a file is left behind");
    });
}

/// A sector that cannot be read lies under a manifest: the site's other snapshots are used, a backup goes on from one of
/// them, what is too old goes, and each time it is told.
#[test]
fn needs_mounts_a_manifest_that_cannot_be_read() {
    in_own_mounts("needs_mounts_a_manifest_that_cannot_be_read", || {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("index.php"), "<?php".repeat(100)).unwrap();
        let tool = Tool::with_store(&dir.path().join("store"));
        for _ in 0..3 {
            tool.back_up(&tree).assert(0, &[]);
        }
        let snapshots = tool.snapshots();
        let newest = snapshots[2].file_name().unwrap().to_str().unwrap();
        // The memory of a process reads as a file whose first bytes are an input/output error.
        let memory = format!("/proc/{}/mem", std::process::id());
        let bound = Command::new("mount").args(["--bind", &memory]).arg(snapshots[2].join("manifest")).status();
        assert!(bound.unwrap().success());
        assert!(fs::read(snapshots[2].join("manifest")).is_err());

        tool.run("snapshots", ["site"]).assert(3, &[newest, "cannot be read"]);
        tool.run("ls", ["site"]).assert(3, &["index.php", newest]);
        tool.back_up(&tree).assert(0, &[newest, "cannot be read"]);
        let made = tool.snapshots().pop().unwrap();
        assert_eq!(Fingerprint::of(&snapshots[1].join("files")).len(), Fingerprint::of(&made.join("files")).len());
        let inode = |at: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(at.join("files/index.php")).unwrap());
        assert_eq!(inode(&made), inode(&snapshots[1]), "it builds on the newest that can be read");
        tool.run("prune", ["site", "--daily", "1"]).assert(3, &[newest, "deleted"]);
        assert_eq!(tool.snapshots(), [snapshots[2].clone(), made]);
        tool.run("verify", ["site"]).assert(1, &[newest]);
    });
}
