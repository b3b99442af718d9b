//! The tool beside stock rsync, both over ssh to this machine with the same cipher, in one run, one after the other:
//! `cargo run --release -p clonepanel-benches --bin versus_rsync [-- --files 100000 --rounds 5 --cipher NAME --dir DIR]`.
//!
//! Build the tool first, in release too: `cargo build --release --bin clonepanel`. Prints a table in Markdown. Times are
//! medians; a ratio below 1 is in favour of the tool.
#![allow(clippy::expect_used, clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a bench")]

use clonepanel_benches::{
    hosting::{self, Shape},
    measure::{self, Run},
};
use clonepanel_core::{
    entry::Entry,
    snapshot_id::{SnapshotId, SourceName},
    store::{NewSnapshot, Seal, SnapshotStore},
    time::{Clock, SystemClock},
};
use clonepanel_store::HardLinkStore;
use clonepanel_tests::{Proxy, Sshd, Tool};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

fn main() {
    let options = Options::from_arguments();
    let dir = tempfile::Builder::new().prefix("clonepanel-versus").tempdir_in(&options.dir).expect("temporary folder");
    let tree = dir.path().join("tree");
    let shape = Shape { files: options.files, ..Shape::default() };
    let built = hosting::build(&tree, shape).expect("build the tree");
    eprintln!("tree: {} files, {} MB; cipher {}", built.files, built.bytes / 1_000_000, options.cipher);
    let mut bench = Bench::new(options, dir.path().to_owned(), tree);
    println!("| step | rsync | clonepanel | ratio |\n|---|---|---|---|");
    bench.first_pull();
    bench.nothing_changed();
    bench.nights();
    bench.links_and_prune();
}

struct Options {
    files: usize,
    rounds: usize,
    cipher: String,
    dir: PathBuf,
}

impl Options {
    fn from_arguments() -> Self {
        let mut options =
            Self { files: 100_000, rounds: 5, cipher: "aes128-gcm@openssh.com".to_owned(), dir: std::env::temp_dir() };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
            match name.as_str() {
                "--files" => options.files = value.parse().expect("a number"),
                "--rounds" => options.rounds = value.parse().expect("a number"),
                "--cipher" => options.cipher = value,
                "--dir" => options.dir = value.into(),
                _ => panic!("unknown option {name}"),
            }
        }
        options
    }
}

struct Bench {
    options: Options,
    dir: PathBuf,
    tree: PathBuf,
    sshd: Sshd,
    proxy: Proxy,
    /// Snapshots that rsync has made so far.
    made: usize,
}

/// The runs of one step.
#[derive(Default)]
struct Step {
    rsync: Vec<Run>,
    ours: Vec<Run>,
    rsync_bytes: (u64, u64),
    our_bytes: (u64, u64),
}

impl Bench {
    fn new(options: Options, dir: PathBuf, tree: PathBuf) -> Self {
        let sshd = Sshd::start();
        let proxy = Proxy::to(sshd.port());
        fs::create_dir(dir.join("rsync")).expect("folder");
        Self { options, dir, tree, sshd, proxy, made: 0 }
    }

    fn first_pull(&mut self) {
        let mut step = Step::default();
        for round in 0..=self.options.rounds {
            self.start_anew();
            self.pair(&mut step, round);
        }
        step.print("first pull");
    }

    fn nothing_changed(&mut self) {
        let mut step = Step::default();
        for round in 0..=self.options.rounds {
            self.pair(&mut step, round);
        }
        step.print("nothing changed");
    }

    fn nights(&mut self) {
        let mut step = Step::default();
        for round in 0..=self.options.rounds {
            let night = hosting::evolve(&self.tree, 2 + round as u64).expect("a night");
            eprintln!("night: {night:?}");
            self.pair(&mut step, round);
        }
        step.print("one night");
    }

    /// Making and deleting a snapshot's tree, beside `cp -al` and `rm -rf`; without any connection.
    fn links_and_prune(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
        let store = HardLinkStore::open(self.dir.join("store")).expect("open the store");
        let source = SourceName::new("site").expect("name");
        let newest = runtime.block_on(store.list(&source)).expect("list").pop().expect("a snapshot").id;
        let copied = self.rsync_dir(self.made - 1);
        let (mut link, mut prune) = (Step::default(), Step::default());
        for _ in 0..self.options.rounds {
            let copy = self.dir.join("copy");
            link.rsync.push(measure::run(Command::new("cp").arg("-al").arg(&copied).arg(&copy)));
            measure::settle();
            let (id, run) = runtime.block_on(relink(&store, &source, &newest));
            link.ours.push(run);
            prune.rsync.push(measure::run(Command::new("rm").arg("-rf").arg(&copy)));
            measure::settle();
            let started = Instant::now();
            runtime.block_on(store.delete(&id)).expect("delete");
            prune.ours.push(Run { time: started.elapsed(), peak_kib: 0 });
        }
        link.print_time("link (`cp -al`; ours is begin, offer and commit with its syncs)");
        prune.print_time("prune (`rm -rf`)");
    }

    /// One run of each, the order turning with the round; round 0 warms up and counts bytes.
    fn pair(&mut self, step: &mut Step, round: usize) {
        if round == 0 {
            let before = self.proxy.bytes();
            self.rsync(self.proxy.port());
            step.rsync_bytes = since(self.proxy.bytes(), before);
            let before = self.proxy.bytes();
            self.ours(self.proxy.port());
            step.our_bytes = since(self.proxy.bytes(), before);
            return;
        }
        let port = self.sshd.port();
        if round.is_multiple_of(2) {
            step.ours.push(self.ours(port));
            step.rsync.push(self.rsync(port));
        } else {
            step.rsync.push(self.rsync(port));
            step.ours.push(self.ours(port));
        }
    }

    fn rsync(&mut self, port: u16) -> Run {
        let login = self.sshd.login_at(port);
        let ssh = format!("ssh -c {} {}", self.options.cipher, login.ssh_arguments().join(" "));
        let mut command = Command::new("rsync");
        command.args(["-az", "--delete", "-e", &ssh]);
        if self.made > 0 {
            command.arg("--link-dest").arg(self.rsync_dir(self.made - 1));
        }
        command.arg(format!("{}:{}/", login.host, self.tree.display())).arg(self.rsync_dir(self.made));
        self.made += 1;
        measure::run(&mut command)
    }

    fn ours(&self, port: u16) -> Run {
        let tool = Tool::with_store(&self.dir.join("store"));
        let mut command = tool.back_up_over_ssh(&self.sshd.login_at(port), &self.tree);
        measure::run(command.arg("--ssh-option").arg(format!("Ciphers={}", self.options.cipher)))
    }

    fn rsync_dir(&self, number: usize) -> PathBuf {
        self.dir.join(format!("rsync/{number}"))
    }

    fn start_anew(&mut self) {
        for name in ["rsync", "store"] {
            remove(&self.dir.join(name));
        }
        fs::create_dir(self.dir.join("rsync")).expect("folder");
        self.made = 0;
    }
}

impl Step {
    fn print(&self, name: &str) {
        self.print_time(name);
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let row = |what: &str, theirs: f64, ours: f64, unit: &str| {
            println!("| {name}: {what} | {theirs:.2} {unit} | {ours:.2} {unit} | {:.2} |", ours / theirs);
        };
        row("bytes received", mb(self.rsync_bytes.0), mb(self.our_bytes.0), "MB");
        row("bytes sent", mb(self.rsync_bytes.1), mb(self.our_bytes.1), "MB");
        let all = |(received, sent): (u64, u64)| mb(received + sent);
        row("bytes together", all(self.rsync_bytes), all(self.our_bytes), "MB");
        let peak = |runs: &[Run]| runs.iter().map(|run| run.peak_kib).max().unwrap_or(0) as f64 / 1024.0;
        row("peak memory", peak(&self.rsync), peak(&self.ours), "MiB");
    }

    fn print_time(&self, name: &str) {
        let times = |runs: &[Run]| runs.iter().map(|run| run.time.as_secs_f64()).collect::<Vec<_>>();
        let (theirs, ours) = (times(&self.rsync), times(&self.ours));
        let spread = |times: &[f64]| {
            let (low, high) = times.iter().fold((f64::MAX, 0_f64), |(low, high), &t| (low.min(t), high.max(t)));
            format!("{:.2} s ({low:.2} to {high:.2})", measure::median(times.to_vec()))
        };
        let ratio = measure::median(ours.clone()) / measure::median(theirs.clone());
        println!("| {name}: time | {} | {} | **{ratio:.2}** |", spread(&theirs), spread(&ours));
    }
}

/// A snapshot of what the newest one has: every file is linked.
async fn relink(store: &HardLinkStore, source: &SourceName, newest: &SnapshotId) -> (SnapshotId, Run) {
    let entries = entries(store, newest).await;
    measure::settle();
    let started = Instant::now();
    let writer = store.begin(NewSnapshot::new(source.clone(), SystemClock.now())).await.expect("begin");
    for entry in &entries {
        writer.offer(entry).await.expect("offer");
    }
    let id = writer.commit(Seal::new(SystemClock.now())).await.expect("commit").id;
    (id, Run { time: started.elapsed(), peak_kib: 0 })
}

async fn entries(store: &HardLinkStore, id: &SnapshotId) -> Vec<Entry> {
    let reader = store.open(id).await.expect("open");
    let mut records = reader.records().await.expect("records");
    let mut entries = Vec::new();
    while let Some(record) = records.next().await.expect("record") {
        entries.push(record.entry);
    }
    entries
}

const fn since(now: (u64, u64), before: (u64, u64)) -> (u64, u64) {
    (now.0 - before.0, now.1 - before.1)
}

fn remove(path: &Path) {
    if path.exists() {
        fs::remove_dir_all(path).expect("remove");
    }
}
