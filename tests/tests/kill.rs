//! `kill -9` at random moments of a backup: nothing is visible before the commit, older snapshots stay exact, and the next
//! run succeeds unaided. `tests/campaign kill 500` does it more often.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use clonepanel_tests::{Fingerprint, Ran, Tool};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

#[test]
fn a_killed_backup_leaves_no_trace_that_anybody_sees() {
    let rounds: usize = std::env::var("CLONEPANEL_KILLS").map_or(15, |text| text.parse().unwrap());
    let mut dir = tempfile::Builder::new().prefix("clonepanel-kill").tempdir().unwrap();
    // What a failure leaves is worth a look: no two runs are killed at the same moment.
    dir.disable_cleanup(true);
    let tree = dir.path().join("account");
    grow(&tree, 0);
    let tool = Tool::with_store(&dir.path().join("store"));
    let started = Instant::now();
    tool.back_up(&tree).assert(0, &[]);
    let whole = started.elapsed();
    let mut known = look(&tool, &BTreeMap::new());
    let (mut killed, mut too_late) = (0, 0);
    let mut random = Random(0x5eed);
    for round in 1..=rounds {
        grow(&tree, round);
        let mut child = start(&tool, &tree);
        // Now and then later than a run takes: the moments around the commit and the end count too.
        std::thread::sleep(Duration::from_nanos(random.below(whole.as_nanos() as u64 * 5 / 4)));
        // By its own id, and only if it still runs.
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.success() {
            too_late += 1;
        } else {
            killed += 1;
        }
        let after = look(&tool, &known);
        assert!(after.len() <= known.len() + 1, "one run makes one snapshot at most");
        if status.success() {
            assert_eq!(after.len(), known.len() + 1, "a run that says it succeeded did");
        }
        known = after;
        if round % 5 == 0 {
            let ran = tool.back_up(&tree);
            ran.assert(0, &[]);
            known = look(&tool, &known);
            tool.assert_verifies();
            assert_is_exact(&tool, &tree, dir.path());
            thin_out(&tool, &mut known);
        }
    }
    println!("{killed} killed on the way, {too_late} had ended before");
    // How many depends on how busy the machine is; that some did is what the rest of this test rests on.
    assert!(killed > 0, "every kill came too late: {too_late} of {rounds}");
    tool.back_up(&tree).assert(0, &[]);
    tool.assert_verifies();
    assert_is_exact(&tool, &tree, dir.path());
    dir.disable_cleanup(false);
}

/// What a run is at, as its store shows from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Contents arrive.
    Transfer,
    /// The manifest is being written, or is there and the snapshot is not.
    Commit,
    /// The snapshot is there, and the run is tidying up.
    Published,
}

/// The staging folders of a store.
fn staged(store: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(store.join(".clonepanel/staging")).unwrap().flatten().map(|at| at.path()).collect()
}

/// What the run is at that was begun when there were so many snapshots and these leftovers of others.
fn moment(store: &Path, snapshots: usize, leftovers: &BTreeSet<PathBuf>, tool: &Tool) -> Option<Moment> {
    let staged: Vec<_> = staged(store).difference(leftovers).cloned().collect();
    if tool.snapshots().len() > snapshots {
        return (!staged.is_empty()).then_some(Moment::Published);
    }
    if staged.iter().any(|at| at.join("manifest.new").exists() || at.join("tree/manifest").exists()) {
        return Some(Moment::Commit);
    }
    let has_begun = |at: &PathBuf| fs::metadata(at.join("journal")).is_ok_and(|journal| journal.len() > 0);
    staged.iter().any(has_begun).then_some(Moment::Transfer)
}

/// Not at random: a kill in each phase of a run, seen from outside to be in it.
#[test]
fn a_kill_in_each_phase_of_a_run() {
    let dir = tempfile::Builder::new().prefix("clonepanel-kill-phase").tempdir().unwrap();
    let (tree, store) = (dir.path().join("account"), dir.path().join("store"));
    grow(&tree, 0);
    let tool = Tool::with_store(&store);
    tool.back_up(&tree).assert(0, &[]);
    let mut known = look(&tool, &BTreeMap::new());
    let mut round = 0;
    for wanted in [Moment::Transfer, Moment::Commit, Moment::Published] {
        let mut hits = 0;
        // A moment may be over before the kill: another run, then.
        for _ in 0..40 {
            round += 1;
            grow(&tree, round);
            let (before, leftovers) = (tool.snapshots().len(), staged(&store));
            let now = || moment(&store, before, &leftovers, &tool);
            let mut child = start(&tool, &tree);
            while child.try_wait().unwrap().is_none() && now() != Some(wanted) {
                std::thread::sleep(Duration::from_micros(100));
            }
            child.kill().unwrap();
            let ended = child.wait().unwrap().success();
            hits += usize::from(!ended && now() == Some(wanted));
            known = look(&tool, &known);
            assert!(known.len() <= before + 1, "one run makes one snapshot at most");
            thin_out(&tool, &mut known);
            if hits == 2 {
                break;
            }
        }
        println!("{wanted:?}: {hits} killed");
        assert_eq!(hits, 2, "no run could be killed while it was at {wanted:?}");
        tool.back_up(&tree).assert(0, &[]);
        known = look(&tool, &known);
        tool.assert_verifies();
        assert_is_exact(&tool, &tree, dir.path());
    }
}

/// All snapshots, checked against what is known of them; a new one is complete, as its verification shows later.
fn look(tool: &Tool, known: &BTreeMap<PathBuf, Fingerprint>) -> BTreeMap<PathBuf, Fingerprint> {
    let now: BTreeMap<_, _> = tool.snapshots().into_iter().map(|path| (path.clone(), Fingerprint::of(&path))).collect();
    for (path, before) in known {
        let after = now.get(path).unwrap_or_else(|| panic!("{} is gone", path.display()));
        assert_eq!(before.changes(after), Vec::<String>::new(), "{}", path.display());
    }
    for path in now.keys() {
        assert!(path.join("manifest").exists(), "{} is visible and has no manifest", path.display());
    }
    now
}

fn start(tool: &Tool, tree: &Path) -> Child {
    let mut command = tool.command("backup");
    command.args(["--source", "site"]).arg(tree);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Some new files, some changed, one folder moved, in each round.
fn grow(tree: &Path, round: usize) {
    let mut random = Random(round as u64);
    for number in 0..if round == 0 { 900 } else { 50 } {
        let name = format!("d{}/e{}/f{}", random.below(6), random.below(6), random.below(40));
        let path = tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let content = format!("{round} {number} ").repeat(1 + random.below(4000) as usize);
        fs::write(path, content).unwrap();
    }
    // A small one: many files gone at once would be suspicious.
    let from = tree.join(format!("d{}/e{}", random.below(6), random.below(6)));
    let to = tree.join(format!("moved{round}"));
    if round > 0 && from.exists() {
        fs::rename(from, to).unwrap();
    }
}

fn assert_is_exact(tool: &Tool, tree: &Path, scratch: &Path) {
    let to = scratch.join("restored");
    let ran = tool.run("restore", [std::ffi::OsStr::new("site"), "--to".as_ref(), to.as_os_str()]);
    ran.assert(0, &[]);
    let diff = Ran::of(std::process::Command::new("diff").arg("-r").arg(tree).arg(&to));
    assert_eq!(diff.code, Some(0), "{}", diff.stdout);
    fs::remove_dir_all(to).unwrap();
}

/// Keeps the number of snapshots small in a long run.
fn thin_out(tool: &Tool, known: &mut BTreeMap<PathBuf, Fingerprint>) {
    let snapshots = tool.snapshots();
    if snapshots.len() > 8 {
        for path in &snapshots[..snapshots.len() - 3] {
            fs::remove_dir_all(path).unwrap();
            known.remove(path);
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)) % end
    }
}
