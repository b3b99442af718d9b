//! Random trees and random edits over a real sshd and a stock rsync: each snapshot restores exactly, and no older one changes by a
//! byte or an attribute. `tests/campaign random-trees 200` does it for 200 trees.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use clonepanel_core::{
    job::{BackupJob, RestoreJob, VerifyJob},
    memory::MemoryTree,
    path::RelPath,
    snapshot_id::{SnapshotId, SourceName},
    store::{SnapshotState, SnapshotStore},
    testkit::{
        block_on, differences,
        generator::{Devices, Shape, Unreadable, edit},
        materialise, owner_differences, scan,
    },
    time::SystemClock,
    transport::PullRequest,
};
use clonepanel_rsync::{RsyncTransport, SshConnect};
use clonepanel_store::{HardLinkStore, LocalTree, Owners, SpecialBits};
use clonepanel_tests::{Fingerprint, Sshd};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Snapshots of one tree: before and after each set of random edits.
const SNAPSHOTS: u64 = 4;

#[test]
fn each_snapshot_restores_exactly_and_older_ones_never_change() {
    let trees: u64 = std::env::var("CLONEPANEL_RANDOM_TREES").map_or(5, |text| text.parse().unwrap());
    let sshd = Sshd::start();
    for seed in 0..trees {
        Account::new(seed, &sshd).live();
        println!("seed {seed} ok");
    }
}

/// One account, its store, and what each snapshot must hold for ever.
struct Account<'a> {
    seed: u64,
    sshd: &'a Sshd,
    dir: tempfile::TempDir,
    store: Arc<HardLinkStore>,
    taken: Vec<Taken>,
}

struct Taken {
    id: SnapshotId,
    tree: MemoryTree,
    folder: PathBuf,
    fingerprint: Fingerprint,
}

impl<'a> Account<'a> {
    fn new(seed: u64, sshd: &'a Sshd) -> Self {
        let dir = tempfile::Builder::new().prefix("clonepanel-random").tempdir().unwrap();
        let store = Arc::new(HardLinkStore::init(dir.path().join("store")).unwrap());
        Self { seed, sshd, dir, store, taken: Vec::new() }
    }

    fn live(&mut self) {
        // Only root makes devices, and reads what its owner may not.
        let shape =
            if is_root() { Shape::new().devices(Devices::With).unreadable(Unreadable::With) } else { Shape::new() };
        let mut tree = shape.tree(self.seed);
        for round in 0..SNAPSHOTS {
            materialise(&tree, &self.account()).unwrap();
            self.back_up(round);
            self.assert_all_as_they_were();
            tree = edit(&tree, &shape, self.seed * SNAPSHOTS + round);
        }
        for taken in &self.taken {
            self.assert_restores(taken);
        }
        self.assert_all_as_they_were();
        self.assert_deleting_harms_no_other();
    }

    fn account(&self) -> PathBuf {
        self.dir.path().join("account")
    }

    fn back_up(&mut self, round: u64) {
        let login = self.sshd.login();
        let ssh = SshConnect::new(&login.host)
            .port(login.port)
            .identity_file(&login.identity_file)
            .known_hosts_file(&login.known_hosts_file);
        let transport = Arc::new(RsyncTransport::new(ssh, self.account().to_str().unwrap()));
        let job = BackupJob::new(Arc::clone(&self.store) as Arc<dyn SnapshotStore>, source()).part(
            files(),
            transport,
            PullRequest::new(),
        );
        let outcome = block_on(job.run(&SystemClock, &()));
        let info = outcome.unwrap_or_else(|error| panic!("seed {}, round {round}: {error:?}", self.seed)).info;
        assert!(info.problems.is_empty(), "seed {}, round {round}: {:?}", self.seed, info.problems);
        assert_ne!(info.state(), SnapshotState::Partial);
        let tree = scan(&self.account()).unwrap();
        let folder = self.dir.path().join("store").join(info.id.to_string());
        let fingerprint = Fingerprint::of(&folder);
        assert!(fingerprint.len() > 3, "the snapshot lies where it is looked for");
        self.taken.push(Taken { id: info.id, tree, folder, fingerprint });
    }

    fn assert_all_as_they_were(&self) {
        for taken in &self.taken {
            let changes = taken.fingerprint.changes(&Fingerprint::of(&taken.folder));
            assert_eq!(changes, [""; 0], "seed {}: {} changed", self.seed, taken.id);
        }
    }

    /// Into an empty folder, through the same door as the tool, and compared by a walker that shares nothing with it.
    fn assert_restores(&self, taken: &Taken) {
        let to = self.dir.path().join("restored");
        block_on(async {
            let reader = self.store.open(&taken.id).await.unwrap();
            let sink = restoring(&to);
            let outcome = RestoreJob::new(reader, files()).run(&sink, &()).await.unwrap();
            assert!(outcome.report.problems.is_empty(), "{:?}", outcome.report.problems);
            sink.finish().await.unwrap();
            let outcome = VerifyJob::new(Arc::clone(&self.store) as Arc<dyn SnapshotStore>, taken.id.clone());
            let outcome = outcome.run(&()).await.unwrap();
            assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
        });
        let different = differences(&taken.tree, &scan(&to).unwrap());
        assert_eq!(different, [""; 0], "seed {}: {}", self.seed, taken.id);
        if is_root() {
            let different = owner_differences(&taken.tree, &scan(&to).unwrap());
            assert_eq!(different, [""; 0], "seed {}: {}", self.seed, taken.id);
        }
        remove(&to);
    }

    /// The second one goes; everything else stays as it is and restores.
    fn assert_deleting_harms_no_other(&mut self) {
        let gone = self.taken.remove(1);
        block_on(self.store.delete(&gone.id)).unwrap();
        assert!(!gone.folder.exists());
        self.assert_all_as_they_were();
        self.assert_restores(self.taken.last().unwrap());
    }
}

/// Everything that the snapshot knows: as root also setuid bits and owners.
fn restoring(to: &Path) -> LocalTree {
    let tree = LocalTree::new(to).special_bits(SpecialBits::Set);
    if is_root() { tree.owners(Owners::Listed) } else { tree }
}

fn remove(path: &Path) {
    fs::remove_dir_all(path).unwrap();
}

fn source() -> SourceName {
    SourceName::new("random.example").unwrap()
}

fn files() -> RelPath {
    RelPath::try_from("files").unwrap()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}
