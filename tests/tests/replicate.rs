//! A second store: the same snapshots to the byte of their manifests, contents shared as in the first; only what it lacks is
//! copied; nothing is taken for good that is not; killed, cut short by a full disk, with a retention of its own.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use clonepanel_core::{
    job::{BackupJob, CopyFailure, PruneJob, ReplicateJob, ReplicateOutcome, ReplicatePlan},
    memory::{MemoryTransport, MemoryTree},
    retention::RetentionPolicy,
    snapshot_id::{SnapshotId, SourceName},
    store::{SnapshotInfo, SnapshotState, SnapshotStore},
    suspicion::SuspicionRules,
    testkit::{
        block_on,
        generator::{Shape, edit},
        path,
    },
    time::{Clock, SystemClock, Timestamp},
    transport::PullRequest,
};
use clonepanel_store::HardLinkStore;
use clonepanel_tests::{Fingerprint, Ran, Tool, in_own_mounts};
use std::{
    collections::BTreeMap,
    fs,
    io::{Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};
use tempfile::TempDir;

/// A clock that stands.
struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn day(n: i64) -> Timestamp {
    Timestamp::from_secs(1_780_000_000 + n * 86_400)
}

fn source(name: &str) -> SourceName {
    SourceName::new(name).unwrap()
}

/// Two stores in one folder.
struct Stores {
    dir: TempDir,
    first: Arc<HardLinkStore>,
    second: Arc<HardLinkStore>,
}

impl Stores {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] =
            ["first", "second"].map(|name| Arc::new(HardLinkStore::init(dir.path().join(name)).unwrap()));
        Self { dir, first, second }
    }

    fn root(&self, store: &str) -> PathBuf {
        self.dir.path().join(store)
    }

    fn back_up(&self, name: &str, tree: &MemoryTree, n: i64) -> SnapshotInfo {
        let transport = Arc::new(MemoryTransport::new(tree.fork()));
        let store: Arc<HardLinkStore> = Arc::clone(&self.first);
        let job = BackupJob::new(store, source(name)).part(path("files"), transport, PullRequest::new());
        let rules = SuspicionRules::new().min_files(5).min_bytes(0);
        block_on(job.suspicion(rules).run(&At(day(n)), &())).unwrap().info
    }

    fn job(&self, name: &str) -> ReplicateJob {
        ReplicateJob::new(Arc::new(self.first.beside_unsound()), Arc::new(self.second.beside_unsound()), source(name))
    }

    fn replicate(&self, name: &str) -> (ReplicatePlan, ReplicateOutcome) {
        let job = self.job(name);
        block_on(async {
            let plan = job.plan(day(100)).await.unwrap();
            let outcome = job.apply(&plan, &SystemClock, &()).await.unwrap();
            (plan, outcome)
        })
    }

    /// Everything in the second store is what the first has under the same name.
    fn assert_same(&self, ids: &[SnapshotId]) {
        for id in ids {
            let at = |store: &str| self.root(store).join(id.to_string());
            let manifest = |store: &str| fs::read_to_string(at(store).join("manifest")).unwrap();
            assert_eq!(manifest("first"), manifest("second"), "{id}");
            let diff =
                Ran::of(Command::new("diff").arg("-r").arg("--no-dereference").arg(at("first")).arg(at("second")));
            assert_eq!(diff.code, Some(0), "{id}: {}", diff.stdout);
        }
        assert_eq!(listed(&self.second), ids);
    }
}

fn listed(store: &HardLinkStore) -> Vec<SnapshotId> {
    block_on(async {
        let mut all = Vec::new();
        for source in store.sources().await.unwrap() {
            all.extend(store.list(&source).await.unwrap().into_iter().map(|info| info.id));
        }
        all
    })
}

/// Inodes of regular files in the snapshots of a store, and their bytes.
fn disk_use(root: &Path) -> (usize, u64) {
    let mut inodes = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root)
        .into_iter()
        .filter_entry(|entry| entry.file_name() != ".clonepanel" && entry.file_name() != "place")
    {
        let stat = fs::symlink_metadata(entry.unwrap().path()).unwrap();
        if stat.is_file() {
            inodes.insert(stat.ino(), stat.len());
        }
    }
    (inodes.len(), inodes.values().sum())
}

#[test]
fn random_stores_come_out_the_same() {
    for seed in 0..6 {
        let stores = Stores::new();
        let shape = Shape::new().entries(40).longest(30_000);
        let tree = shape.tree(seed);
        let mut now = tree.fork();
        for night in 0..5 {
            stores.back_up("one.example", &now, night);
            if night % 2 == 0 {
                stores.back_up("two.example", &now, night);
            }
            if night == 2 {
                // One that is suspect.
                assert_eq!(stores.back_up("one.example", &MemoryTree::new(), 2).state(), SnapshotState::Suspect);
            }
            // Replicated at times, so that both a first copy and a further one are met.
            if night == seed as i64 % 4 {
                stores.replicate("one.example");
            }
            now = edit(&now, &shape, seed * 10 + night as u64);
        }
        for name in ["one.example", "two.example"] {
            let (plan, outcome) = stores.replicate(name);
            assert_eq!((outcome.copied.len(), outcome.failed.len()), (plan.copies.len(), 0), "seed {seed}");
            assert!(plan.different.is_empty() && plan.passed_over.is_empty());
            // Again: there is nothing to do.
            let (plan, outcome) = stores.replicate(name);
            assert_eq!((plan.copies.len(), outcome.copied.len()), (0, 0), "seed {seed}");
        }
        stores.assert_same(&listed(&stores.first));
        let (first, second) = (disk_use(&stores.root("first")), disk_use(&stores.root("second")));
        // The second store may have shared more: a content of less than 100 bytes that a run had met twice.
        assert!(second.1 <= first.1 && second.0 <= first.0, "seed {seed}: {second:?} instead of {first:?}");
    }
}

#[test]
fn what_the_second_store_has_is_not_copied() {
    let stores = Stores::new();
    let tree = MemoryTree::new();
    let old = Timestamp::from_secs(1_600_000_000);
    for n in 0..20_u8 {
        tree.put_file(path(&format!("f{n}")), vec![n; 10_000], old).unwrap();
    }
    stores.back_up("one.example", &tree, 0);
    let (_, outcome) = stores.replicate("one.example");
    assert_eq!((outcome.copied[0].files, outcome.copied[0].bytes), (20, 200_000));
    // Another site has the same, and one thing more.
    tree.put_file(path("more"), vec![99; 5000], old).unwrap();
    stores.back_up("two.example", &tree, 0);
    let (_, outcome) = stores.replicate("two.example");
    assert_eq!((outcome.copied[0].files, outcome.copied[0].bytes), (1, 5000));
    let ids = listed(&stores.first);
    stores.assert_same(&ids);
    // A copy whose manifest went bad is made anew.
    fs::write(stores.root("second").join(ids[0].to_string()).join("manifest"), "no manifest").unwrap();
    let (plan, outcome) = stores.replicate("one.example");
    assert_eq!((plan.copies.len(), outcome.copied.len()), (1, 1));
    stores.assert_same(&ids);
}

/// Flips a bit of a stored file.
fn flip(at: &Path) {
    let mut byte = fs::read(at).unwrap()[10];
    byte ^= 1;
    let mut file = fs::OpenOptions::new().write(true).open(at).unwrap();
    file.seek(std::io::SeekFrom::Start(10)).unwrap();
    file.write_all(&[byte]).unwrap();
}

#[test]
fn what_is_damaged_is_not_copied_as_if_it_were_good() {
    let stores = Stores::new();
    let tree = MemoryTree::new();
    let old = Timestamp::from_secs(1_600_000_000);
    tree.put_file(path("early"), vec![1; 9000], old).unwrap();
    stores.back_up("one.example", &tree, 0);
    stores.replicate("one.example");
    tree.put_file(path("late"), vec![2; 9000], old).unwrap();
    let bad = stores.back_up("one.example", &tree, 1).id;
    tree.remove(&path("late"));
    let good = stores.back_up("one.example", &tree, 2).id;
    let stored = |id: &SnapshotId, name: &str| stores.root("first").join(id.to_string()).join("files").join(name);
    flip(&stored(&bad, "late"));
    // The second store has this one already, so its damage here does no harm there.
    flip(&stored(&bad, "early"));

    let (plan, outcome) = stores.replicate("one.example");
    assert_eq!(plan.copies, [bad.clone(), good.clone()]);
    assert_eq!(outcome.copied.iter().map(|copied| &copied.info.id).collect::<Vec<_>>(), [&good]);
    let [(id, CopyFailure::Content { path: at, .. })] = &outcome.failed[..] else { panic!("{:?}", outcome.failed) };
    assert_eq!((id, at), (&bad, &path("files/late")));
    assert!(!listed(&stores.second).contains(&bad));
    let second = stores.root("second").join(good.to_string()).join("files/early");
    assert_eq!(fs::read(second).unwrap(), vec![1; 9000]);
    // The first store knows of the damage now: the next backup stores it anew, and what has it whole can be copied.
    tree.put_file(path("late"), vec![2; 9000], old).unwrap();
    let healed = stores.back_up("one.example", &tree, 3).id;
    assert_eq!(fs::read(stored(&healed, "late")).unwrap(), vec![2; 9000]);
    let (_, outcome) = stores.replicate("one.example");
    // And with that the second store has what the damaged one lacks.
    assert_eq!(outcome.failed.len(), 1, "oldest first: it is still lacking at that moment");
    let (_, outcome) = stores.replicate("one.example");
    assert_eq!((outcome.copied.len(), outcome.failed.len()), (1, 0));
    assert_eq!(listed(&stores.second).len(), 4);
}

#[test]
fn a_damaged_copy_stays_until_another_one_is_complete() {
    let stores = Stores::new();
    let tree = MemoryTree::new();
    // So short that only this very snapshot has it.
    tree.put_file(path("short"), "the last good copy", Timestamp::from_secs(1_600_000_000)).unwrap();
    let id = stores.back_up("one.example", &tree, 0).id;
    stores.replicate("one.example");
    let [here, there] = ["first", "second"].map(|store| stores.root(store).join(id.to_string()));
    fs::write(there.join("manifest"), "no manifest").unwrap();
    flip(&here.join("files/short"));
    let (plan, outcome) = stores.replicate("one.example");
    assert_eq!((plan.copies.len(), outcome.copied.len(), outcome.failed.len()), (1, 0, 1));
    assert_eq!(fs::read(there.join("files/short")).unwrap(), b"the last good copy");
    // Whole again, it is copied, and takes the place of the damaged one.
    flip(&here.join("files/short"));
    let (_, outcome) = stores.replicate("one.example");
    assert_eq!((outcome.copied.len(), outcome.failed.len()), (1, 0));
    stores.assert_same(&[id]);
    block_on(stores.second.sweep()).unwrap();
    for left in ["staging", "trash", "due"] {
        assert_eq!(fs::read_dir(stores.root("second").join(".clonepanel").join(left)).unwrap().count(), 0, "{left}");
    }
}

#[test]
fn needs_mounts_a_copy_that_cannot_be_read_is_not_taken_for_one() {
    in_own_mounts("needs_mounts_a_copy_that_cannot_be_read_is_not_taken_for_one", || {
        let stores = Stores::new();
        let tree = MemoryTree::new();
        tree.put_file(path("f"), vec![1; 9000], Timestamp::from_secs(1_600_000_000)).unwrap();
        let id = stores.back_up("one.example", &tree, 0).id;
        stores.replicate("one.example");
        let manifest = stores.root("second").join(id.to_string()).join("manifest");
        // The first page of a process has nothing in it: reading it is an error of input and output.
        let mem = format!("/proc/{}/mem", std::process::id());
        assert!(Command::new("mount").args(["--bind", &mem]).arg(&manifest).status().unwrap().success());
        let (plan, outcome) = stores.replicate("one.example");
        assert!(Command::new("umount").arg(&manifest).status().unwrap().success());
        assert_eq!(plan.copies, std::slice::from_ref(&id));
        let [(failed, CopyFailure::Occupied(_))] = &outcome.failed[..] else { panic!("{outcome:?}") };
        assert_eq!(failed, &id);
        stores.assert_same(&[id]);
    });
}

#[test]
fn the_second_store_has_a_retention_of_its_own() {
    let stores = Stores::new();
    let tree = MemoryTree::new();
    for night in 0..10 {
        tree.put_file(path(&format!("night{night}")), vec![night as u8; 2000], day(night)).unwrap();
        stores.back_up("one.example", &tree, night);
    }
    let here = listed(&stores.first);
    let policy = RetentionPolicy::newest_only().daily(3);
    let job = stores.job("one.example").policy(policy.clone());
    let prune = PruneJob::new(Arc::new(stores.second.beside_unsound()), source("one.example"), policy);
    for night in [9, 10, 11] {
        if night > 9 {
            stores.back_up("one.example", &tree, night);
        }
        block_on(async {
            let plan = job.plan(day(night)).await.unwrap();
            job.apply(&plan, &SystemClock, &()).await.unwrap();
            let deletions = prune.plan(day(night)).await.unwrap();
            prune.apply(&deletions, &()).await.unwrap();
            // What was pruned there is not copied again.
            assert_eq!(job.plan(day(night)).await.unwrap().copies, []);
        });
        assert_eq!(listed(&stores.second).len(), 3);
    }
    let first = listed(&stores.first);
    assert!(first.starts_with(&here), "the first store is left alone");
    stores.assert_same(&first[first.len() - 3..]);
}

/// An account, backed up three times, and the tool.
struct Bench {
    dir: TempDir,
    tool: Tool,
}

impl Bench {
    fn new(files: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tool = Tool::with_store(&dir.path().join("store"));
        let tree = dir.path().join("account");
        for night in 0..3 {
            for n in 0..files {
                let at = tree.join(format!("d{}/f{n}", n % 7));
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                if night == 0 || n % 9 == night {
                    fs::write(at, format!("{night} {n} ").repeat(200 + n % 300)).unwrap();
                }
            }
            tool.back_up(&tree).assert(0, &[]);
        }
        Self { dir, tool }
    }

    fn to(&self) -> PathBuf {
        self.dir.path().join("second")
    }

    fn replicate(&self, to: &Path) -> Command {
        let mut command = self.tool.command("replicate");
        command.arg("--to").arg(to);
        command
    }

    /// The snapshots in another store, as they are in the first one.
    fn assert_same(&self, to: &Path) {
        let second = Tool::with_store(to);
        let (here, there) = (self.tool.snapshots(), second.snapshots());
        assert_eq!(here.len(), there.len());
        for (here, there) in here.iter().zip(&there) {
            assert_eq!(fs::read(here.join("manifest")).unwrap(), fs::read(there.join("manifest")).unwrap());
        }
        second.assert_verifies();
        assert_eq!(disk_use(&self.dir.path().join("store/site")), disk_use(&to.join("site")));
    }
}

#[test]
fn a_killed_replication_goes_on_where_it_was() {
    let bench = Bench::new(400);
    let whole = {
        let (to, started) = (bench.dir.path().join("timed"), Instant::now());
        Ran::of(&mut bench.replicate(&to)).assert(0, &["3 copied"]);
        bench.assert_same(&to);
        started.elapsed()
    };
    let (mut killed, mut resumed) = (0, 0);
    for round in 1..=6_u32 {
        let to = bench.to();
        let mut child =
            bench.replicate(&to).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole * round / 7);
        // By its own id, and only if it still runs.
        child.kill().unwrap();
        let ended = child.wait().unwrap().success();
        killed += usize::from(!ended);
        let complete = Tool::with_store(&to).snapshots();
        for there in &complete {
            let here = bench.dir.path().join("store/site").join(there.file_name().unwrap());
            assert_eq!(fs::read(here.join("manifest")).unwrap(), fs::read(there.join("manifest")).unwrap());
        }
        let staged = fs::read_dir(to.join(".clonepanel/staging")).map_or(0, Iterator::count);
        let ran = Ran::of(bench.replicate(&to).arg("--json"));
        ran.assert(0, &["\"ok\":true"]);
        resumed += usize::from(staged > 0);
        bench.assert_same(&to);
        // Killed between its last commit and tidying up, it leaves an empty folder to the next snapshot that is begun there.
        let left = fs::read_dir(to.join(".clonepanel/staging")).unwrap().count();
        assert!(left == 0 || complete.len() == 3, "something is left behind");
        fs::remove_dir_all(to).unwrap();
    }
    println!("{killed} killed, {resumed} of them in the middle of a copy");
    assert!(killed > 0 && resumed > 0, "{killed} killed, {resumed} in the middle of a copy");
}

#[test]
fn needs_mounts_a_second_store_that_is_full() {
    in_own_mounts("needs_mounts_a_second_store_that_is_full", || {
        let bench = Bench::new(300);
        let big = bench.dir.path().join("account/big");
        let disk = bench.dir.path().join("disk");
        fs::create_dir(&disk).unwrap();
        // The reserve of a store is 64 MiB.
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=80m", "tmpfs"]).arg(&disk).status();
        assert!(mounted.unwrap().success());
        let to = disk.join("second");
        Ran::of(&mut bench.replicate(&to)).assert(0, &["3 copied"]);
        let before: Vec<_> = Tool::with_store(&to).snapshots().iter().map(|path| Fingerprint::of(path)).collect();
        let noise = Ran::of(Command::new("dd").args(["if=/dev/urandom", "bs=1M", "count=40"]).arg({
            let mut argument = std::ffi::OsString::from("of=");
            argument.push(&big);
            argument
        }));
        assert_eq!(noise.code, Some(0));
        // Young files are asked for again, and most bytes are new: that looks like a break-in.
        let account = bench.dir.path().join("account");
        let arguments = ["--source".as_ref(), "site".as_ref(), "--accept".as_ref(), account.as_os_str()];
        bench.tool.run("backup", arguments).assert(0, &[]);
        Ran::of(&mut bench.replicate(&to)).assert(1, &["space", "hint"]);
        let after: Vec<_> = Tool::with_store(&to).snapshots().iter().map(|path| Fingerprint::of(path)).collect();
        assert_eq!(before.len(), after.len(), "nothing of it is visible");
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before.changes(after), [""; 0]);
        }
        // A retention frees what it can, and the rest is tried again.
        let ran = Ran::of(bench.replicate(&to).args(["--prune", "--daily", "1"]));
        ran.assert(3, &["2 deleted there", "space", "hint"]);
        // With room for it, the next run succeeds unaided.
        let more = Command::new("mount").args(["-o", "remount,size=200m"]).arg(&disk).status();
        assert!(more.unwrap().success());
        Ran::of(&mut bench.replicate(&to)).assert(0, &["3 copied", "1 there already"]);
        bench.assert_same(&to);
    });
}

#[test]
fn the_tool_says_what_it_does() {
    let bench = Bench::new(20);
    let to = bench.to();
    let run = |arguments: &[&str]| Ran::of(bench.replicate(&to).args(arguments));
    run(&["--dry-run"]).assert(0, &["3 would be copied"]);
    assert!(!to.exists(), "a dry run writes nothing");
    run(&["--daily", "3"]).assert(2, &["--prune", "hint"]);
    run(&["--prune"]).assert(2, &["retention", "hint"]);
    run(&["siite"]).assert(2, &["did you mean `site`"]);
    run(&[]).assert(0, &["3 copied"]);
    run(&["--dry-run"]).assert(0, &["0 would be copied", "3 there already"]);
    run(&["--prune", "--daily", "1", "--dry-run"]).assert(0, &["2 would be deleted"]);
    run(&["--prune", "--daily", "1", "site"]).assert(0, &["2 deleted there"]);
    assert_eq!(Tool::with_store(&to).snapshots().len(), 1);
    assert_eq!(bench.tool.snapshots().len(), 3, "the first store is left alone");
    run(&["--prune", "--daily", "1", "--json"]).assert(0, &["\"copied\":0", "\"present\":1"]);

    let place =
        |place: &str| Ran::of(bench.tool.command("replicate").current_dir(bench.dir.path()).args(["--to", place]));
    for inside in ["store", "store/site", ".", "store/site/../new"] {
        place(inside).assert(4, &["lie in each other", "hint"]);
    }
    place("second/site").assert(4, &["lies in the store", "hint"]);
    place("new/../store/deep").assert(4, &["below a folder that is not there", "hint"]);
    assert!(!bench.dir.path().join("new").exists());
    place("host:there").assert(2, &["host", "hint"]);
    place("account").assert(1, &["no store", "hint"]);

    // Damage: told, not copied, and the others are.
    let newest = bench.tool.snapshots().pop().unwrap();
    fs::write(bench.dir.path().join("account/only-here"), "only here ".repeat(100)).unwrap();
    bench.tool.back_up(&bench.dir.path().join("account")).assert(0, &[]);
    let bad = bench.tool.snapshots().pop().unwrap();
    flip(&bad.join("files/only-here"));
    fs::write(newest.join("manifest"), "no manifest").unwrap();
    let third = bench.dir.path().join("third");
    let ran = Ran::of(&mut bench.replicate(&third));
    ran.assert(3, &["only-here is damaged", "is not copied", "its manifest is damaged", "2 copied"]);
    assert_eq!(Tool::with_store(&third).snapshots().len(), 2);
}
