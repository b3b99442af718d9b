//! Pushes over a real sshd to every stock rsync of this machine: random trees arrive exactly, deltas travel, and whatever ends
//! in the middle leaves each file old or new. `tests/campaign random-trees 200` and `cut 200` do it more often.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use clonepanel_core::{
    entry::{Entry, EntryKind},
    memory::MemoryTree,
    testkit::{
        block_on, differences,
        generator::{Devices, Shape, edit},
        materialise, owner_differences, path, scan,
    },
    time::Timestamp,
    transport::{Deletion, PushRequest, TransferReport, Transport, TransportError},
};
use clonepanel_rsync::{Checksum, Compression, RsyncOptions, RsyncTransport, SshConnect};
use clonepanel_tests::{Login, Proxy, Sshd, SshdOptions, StockRsync, stock_rsyncs};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::{Duration, Instant},
};

fn transport(login: &Login, root: &Path, options: &RsyncOptions) -> RsyncTransport {
    let ssh = SshConnect::new(&login.host)
        .port(login.port)
        .identity_file(&login.identity_file)
        .known_hosts_file(&login.known_hosts_file);
    RsyncTransport::new(ssh, root.to_str().unwrap()).options(options.clone())
}

fn push(
    login: &Login,
    root: &Path,
    options: &RsyncOptions,
    tree: &MemoryTree,
) -> Result<TransferReport, TransportError> {
    let request = PushRequest::new().deletion(Deletion::UpTo(u64::MAX));
    block_on(transport(login, root, options).push(&request, tree, &()))
}

/// Every version in every protocol.
fn dialects(scripts: &Path) -> Vec<(String, RsyncOptions, u32)> {
    let mut dialects = Vec::new();
    for StockRsync { program, version, protocol: newest } in stock_rsyncs() {
        for protocol in 30..=newest {
            let script = scripts.join(format!("rsync-{version}-{protocol}"));
            fs::write(&script, format!("#!/bin/sh\nexec {} --protocol={protocol} \"$@\"\n", program.display()))
                .unwrap();
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
            let options = RsyncOptions::new().rsync_program(script.to_str().unwrap());
            dialects.push((format!("rsync {version}, protocol {protocol}"), options, protocol));
        }
    }
    dialects
}

#[test]
fn every_version_takes_random_trees_exactly() {
    let trees: u64 = std::env::var("CLONEPANEL_RANDOM_TREES").map_or(2, |text| text.parse().unwrap());
    let (sshd, scripts) = (Sshd::start(), tempfile::tempdir().unwrap());
    let shape = Shape::new().devices(if is_root() { Devices::With } else { Devices::Without });
    for seed in 0..trees {
        for (name, options, protocol) in dialects(scripts.path()) {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().join("account");
            let mut tree = shape.tree(seed);
            for round in 0..3 {
                let report = push(&sshd.login(), &root, &options, &tree);
                let report = report.unwrap_or_else(|error| panic!("{name}, seed {seed}, round {round}: {error:?}"));
                assert!(report.problems.is_empty(), "{name}, seed {seed}, round {round}: {:?}", report.problems);
                let there = scan(&root).unwrap();
                let mut different = differences(&tree, &there);
                // A file that looks the same is left as it is, and so are its names: rsync takes no links apart.
                different.retain(|line| !line.contains("hardlink_to: None } is not File"));
                if protocol < 31 {
                    // Protocol 30 has whole seconds only.
                    different.retain(|line| !line.contains("time "));
                }
                if is_root() {
                    different.extend(owner_differences(&tree, &there));
                }
                assert_eq!(different, [""; 0], "{name}, seed {seed}, round {round}");
                tree = edit(&tree, &shape, seed * 10 + round);
            }
        }
    }
}

/// Files that are all right by themselves, and are to be one file.
#[test]
fn every_version_links_what_is_there_apart() {
    let (sshd, scripts) = (Sshd::start(), tempfile::tempdir().unwrap());
    let time = Timestamp::from_secs(1_600_000_000);
    let (linked, apart) = (MemoryTree::new(), MemoryTree::new());
    for tree in [&linked, &apart] {
        tree.put_dir(path("dir")).unwrap();
        tree.put_file(path("dir/one"), b"content".to_vec(), time).unwrap();
    }
    for name in ["a", "dir/two", "z"] {
        let kind = EntryKind::File { len: 0, hardlink_to: Some(path("dir/one")) };
        linked.put(&Entry { kind, ..Entry::file(path(name), 0, time) }, Vec::new()).unwrap();
        apart.put_file(path(name), b"content".to_vec(), time).unwrap();
    }
    for (name, options, _) in dialects(scripts.path()) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("account");
        materialise(&apart, &root).unwrap();
        let report = push(&sshd.login(), &root, &options, &linked).unwrap();
        assert!(report.problems.is_empty(), "{name}: {:?}", report.problems);
        assert_eq!(differences(&linked, &scan(&root).unwrap()), [""; 0], "{name}");
    }
}

#[test]
fn every_version_takes_deltas_with_every_algorithm() {
    let (sshd, scripts, folder) = (Sshd::start(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let row = |row: u32| format!("({row},'{}'),\n", row.wrapping_mul(2_654_435_761)).into_bytes();
    let old: Vec<u8> = (0..60_000).flat_map(row).collect();
    let mut new = old.clone();
    new.splice(700_000..700_000, *b"(1,'inserted'),\n");
    new.extend_from_slice(b"(2,'appended');\n");
    let tree = MemoryTree::new();
    tree.put_file(path("dump.sql"), new.clone(), Timestamp::from_secs(1_600_000_000)).unwrap();
    let file = folder.path().join("dump.sql");
    for (name, options, protocol) in dialects(scripts.path()) {
        for compression in [Compression::Auto, Compression::Off, Compression::Zlib, Compression::Zlibx] {
            for checksum in [Checksum::Auto, Checksum::Md5] {
                let what = format!("{name} {compression:?} {checksum:?}");
                fs::write(&file, &old).unwrap();
                let options = options.clone().compression(compression).checksum(checksum);
                let report = match push(&sshd.login(), folder.path(), &options, &tree) {
                    Ok(report) => report,
                    // Before 3.2 there was no way to ask for this one by name: that is said, not guessed around.
                    Err(error) => {
                        let is_old = protocol == 30 || name.contains("rsync 3.1") || name.contains("rsync 3.0");
                        assert!(compression == Compression::Zlibx && is_old, "{what}: {error:?}");
                        assert!(error.to_string().contains("no common compression"), "{what}: {error:?}");
                        continue;
                    }
                };
                assert!(report.problems.is_empty(), "{what}: {:?}", report.problems);
                assert!(fs::read(&file).unwrap() == new, "{what}");
                assert!(report.literal_bytes < 20_000 && report.matched_bytes > 900_000, "{what}: {report:?}");
            }
        }
    }
}

/// An account with files in an old version, and what is pushed over them.
struct Site {
    folder: tempfile::TempDir,
    old: BTreeMap<String, Vec<u8>>,
    new: BTreeMap<String, Vec<u8>>,
    tree: MemoryTree,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut old, mut new, tree) = (BTreeMap::new(), BTreeMap::new(), MemoryTree::new());
        for number in 0..40_u8 {
            let name = format!("file{number}");
            let len = if number % 10 == 0 { 2_000_000 } else { 30_000 };
            old.insert(name.clone(), noise(len));
            let mut content = old[&name].clone();
            if number % 2 == 0 {
                content = noise(len + 7);
            } else {
                content[1000..1100].fill(b'!');
            }
            tree.put_file(path(&name), content.clone(), Timestamp::from_secs(1_600_000_000)).unwrap();
            new.insert(name, content);
        }
        let site = Self { folder, old, new, tree };
        site.reset();
        site
    }

    /// As before the push, and nothing else.
    fn reset(&self) {
        let root = self.folder.path();
        for entry in fs::read_dir(root).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                fs::remove_dir_all(entry.path()).unwrap();
            } else {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        for (name, content) in &self.old {
            fs::write(root.join(name), content).unwrap();
        }
    }

    /// How many files are new; each other one is old.
    fn assert_each_is_old_or_new(&self, when: &str) -> usize {
        let is_new = |(name, old): (&String, &Vec<u8>)| {
            let there =
                fs::read(self.folder.path().join(name)).unwrap_or_else(|error| panic!("{when}: {name}: {error}"));
            assert!(there == *old || there == self.new[name], "{when}: {name} is mixed");
            there == self.new[name]
        };
        self.old.iter().filter(|file| is_new(*file)).count()
    }

    fn assert_next_push_works(&self, login: &Login, options: &RsyncOptions) {
        let report = push(login, self.folder.path(), options, &self.tree).unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        assert_eq!(self.assert_each_is_old_or_new("after the next push"), self.new.len());
        let left: Vec<_> = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), self.new.len(), "something is left: {left:?}");
    }
}

#[test]
fn a_connection_cut_anywhere_leaves_each_file_old_or_new() {
    let (sshd, site, options) = (Sshd::start(), Site::new(), RsyncOptions::new());
    let rounds: u64 = std::env::var("CLONEPANEL_CUTS").map_or(12, |text| text.parse().unwrap());
    let proxy = Proxy::to(sshd.port());
    let login = sshd.login_at(proxy.port());
    let whole = proxy.bytes().1;
    push(&login, site.folder.path(), &options, &site.tree).unwrap();
    let whole = proxy.bytes().1 - whole;
    let mut some = 0;
    for round in 0..rounds {
        site.reset();
        // A push with deletion logs in twice: the listing is short and never gets so far.
        proxy.cut_sent_after(5_000 + round * 37 + whole * 9 / 10 * round / rounds);
        let outcome = push(&login, site.folder.path(), &options, &site.tree);
        assert!(
            matches!(outcome, Err(TransportError::Interrupted { .. } | TransportError::Unreachable { .. })),
            "round {round}: {outcome:?}"
        );
        // The far end may still be putting away what it has.
        std::thread::sleep(Duration::from_millis(200));
        let new = site.assert_each_is_old_or_new(&format!("round {round}"));
        some += usize::from((1..site.new.len()).contains(&new));
    }
    assert!(some > 0, "no cut came in the middle");
    proxy.cut_sent_after(u64::MAX);
    site.assert_next_push_works(&login, &options);
}

#[test]
fn a_far_end_killed_anywhere_leaves_each_file_old_or_new() {
    let (sshd, site) = (Sshd::start(), Site::new());
    // Slow enough to be in the middle of it.
    let options = RsyncOptions::new().bandwidth(8 << 20);
    for tenths in 1..8 {
        site.reset();
        let script = format!("/bin/sh -c \"$SSH_ORIGINAL_COMMAND\" & sleep 0.{tenths}; kill -9 0");
        let killed = SshdOptions::new().command(&script).start();
        let request = PushRequest::new();
        let transport = transport(&killed.login(), site.folder.path(), &options);
        let outcome = block_on(transport.push(&request, &site.tree, &()));
        assert!(outcome.is_err(), "{outcome:?}");
        site.assert_each_is_old_or_new(&format!("killed after 0.{tenths} s"));
    }
    site.assert_next_push_works(&sshd.login(), &RsyncOptions::new());
}

/// A far end that takes nothing and says nothing.
#[test]
fn a_far_end_that_falls_silent() {
    let (sshd, site) = (Sshd::start(), Site::new());
    let proxy = Proxy::to(sshd.port());
    proxy.stall_instead();
    let options = RsyncOptions::new().progress_timeout(Duration::from_secs(2));
    for after in [10, 700, 5_000, 6_000] {
        proxy.cut_after(after);
        let started = Instant::now();
        let transport = transport(&sshd.login_at(proxy.port()), site.folder.path(), &options);
        let outcome = block_on(transport.push(&PushRequest::new(), &site.tree, &()));
        assert!(
            matches!(outcome, Err(TransportError::Interrupted { .. } | TransportError::Unreachable { .. })),
            "after {after} bytes: {outcome:?}"
        );
        assert!(started.elapsed() < Duration::from_secs(60), "after {after} bytes: {:?}", started.elapsed());
        site.assert_each_is_old_or_new("after a silence");
    }
}

#[test]
fn an_empty_source_deletes_no_more_than_its_share() {
    let (sshd, folder) = (Sshd::start(), tempfile::tempdir().unwrap());
    materialise(&Shape::new().tree(5), folder.path()).unwrap();
    let before = scan(folder.path()).unwrap().list().len();
    // An empty source by mistake.
    let request = PushRequest::new().deletion(Deletion::UpTo(u64::MAX)).deletion_share(50);
    let transport = transport(&sshd.login(), folder.path(), &RsyncOptions::new());
    let report = block_on(transport.push(&request, &MemoryTree::new(), &())).unwrap();
    assert_eq!((report.deleted, report.problems.total()), (0, 1), "{:?}", report.problems);
    assert_eq!(scan(folder.path()).unwrap().list().len(), before);
}

/// Bytes that neither compress nor repeat.
fn noise(len: usize) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = vec![0; len];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}
