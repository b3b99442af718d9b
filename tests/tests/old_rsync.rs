//! Every stock rsync of this machine, in every protocol that it can be brought to, over a real login: the installed one, the older
//! one that the set-up of the tests unpacks, and whatever `CLONEPANEL_RSYNCS` names.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use clonepanel_core::{
    memory::MemoryTree,
    path::RelPath,
    problem::ProblemKind,
    testkit::{
        block_on, differences,
        generator::{Devices, Shape, edit},
        materialise, scan,
    },
    transport::{PullRequest, TransferReport, Transport, TransportError},
};
use clonepanel_rsync::{ChangeDetection, Checksum, Compression, RsyncOptions, RsyncTransport, SshConnect};
use clonepanel_tests::{Sshd, SshdOptions, StockRsync, may_lack, stock_rsyncs};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A far end that answers as one version in one protocol.
struct Dialect {
    name: String,
    options: RsyncOptions,
    /// Protocol 30 has whole seconds only.
    whole_seconds: bool,
}

fn dialects(scripts: &Path) -> Vec<Dialect> {
    let mut dialects = Vec::new();
    for StockRsync { program, version, protocol: newest } in stock_rsyncs() {
        for protocol in 30..=newest {
            let script = scripts.join(format!("rsync-{version}-{protocol}"));
            write_script(&script, &format!("exec {} --protocol={protocol} \"$@\"", program.display()));
            dialects.push(Dialect {
                name: format!("rsync {version}, protocol {protocol}"),
                options: RsyncOptions::new().rsync_program(script.to_str().unwrap()),
                whole_seconds: protocol < 31,
            });
        }
    }
    dialects
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn transport(sshd: &Sshd, root: &Path, options: &RsyncOptions) -> RsyncTransport {
    let login = sshd.login();
    let ssh = SshConnect::new(&login.host)
        .port(login.port)
        .identity_file(&login.identity_file)
        .known_hosts_file(&login.known_hosts_file);
    RsyncTransport::new(ssh, root.to_str().unwrap()).options(options.clone())
}

fn pull(sshd: &Sshd, root: &Path, options: &RsyncOptions, into: &MemoryTree) -> TransferReport {
    try_pull(sshd, root, options, into).unwrap()
}

fn try_pull(
    sshd: &Sshd,
    root: &Path,
    options: &RsyncOptions,
    into: &MemoryTree,
) -> Result<TransferReport, TransportError> {
    block_on(transport(sshd, root, options).pull(&PullRequest::new(), into, &()))
}

/// A folder for scripts that the far end may run, whoever it is.
fn open_folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("clonepanel-old").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn needs_an_older_rsync() {
    let versions: Vec<_> = stock_rsyncs().into_iter().map(|rsync| rsync.version).collect();
    eprintln!("tested against rsync {}", versions.join(", "));
    if versions.len() == 1 {
        may_lack("old-rsync", "only the installed one is here, and Debian's mirror had no other");
    }
}

#[test]
fn every_version_sends_a_tree_exactly_and_then_only_what_changed() {
    let (sshd, scripts, folder) = (Sshd::start(), open_folder(), tempfile::tempdir().unwrap());
    let root = folder.path().join("account");
    let shape = Shape::new().devices(if is_root() { Devices::With } else { Devices::Without });
    for (seed, dialect) in (0_u64..).zip(dialects(scripts.path())) {
        let tree = shape.tree(seed);
        materialise(&tree, &root).unwrap();
        let here = MemoryTree::new();
        let mut edited = tree;
        for round in 0..3 {
            let there = scan(&root).unwrap();
            remove_what_is_gone(&here, &there);
            let report = pull(&sshd, &root, &dialect.options, &here.pass());
            assert!(report.problems.is_empty(), "{}: {:?}", dialect.name, report.problems);
            let mut different = differences(&there, &here);
            if dialect.whole_seconds {
                different.retain(|line| !line.contains("time "));
            }
            assert_eq!(different, [""; 0], "{}, round {round}", dialect.name);
            edited = edit(&edited, &shape, seed * 10 + round);
            materialise(&edited, &root).unwrap();
        }
        fs::remove_dir_all(&root).unwrap();
    }
}

/// A changed megabyte file travels as a delta, with every sum and every compression that a version has.
#[test]
fn every_version_sends_deltas_with_every_algorithm() {
    let (sshd, scripts, folder) = (Sshd::start(), open_folder(), tempfile::tempdir().unwrap());
    let (root, name) = (folder.path().to_owned(), folder.path().join("dump.sql"));
    let old: Vec<u8> = (0_u32..60_000)
        .flat_map(|row| format!("({row},'{}'),\n", row.wrapping_mul(2_654_435_761)).into_bytes())
        .collect();
    let mut new = old.clone();
    new.splice(700_000..700_000, *b"(1,'inserted'),\n");
    new.extend_from_slice(b"(2,'appended');\n");
    for dialect in dialects(scripts.path()) {
        for compression in [Compression::Auto, Compression::Off, Compression::Zlib, Compression::Zlibx] {
            for checksum in [Checksum::Auto, Checksum::Md5] {
                let options = dialect.options.clone().compression(compression).checksum(checksum);
                let here = MemoryTree::new();
                fs::write(&name, &old).unwrap();
                set_mtime(&name, 1_600_000_000);
                let what = format!("{} {compression:?} {checksum:?}", dialect.name);
                match try_pull(&sshd, &root, &options, &here.pass()) {
                    Ok(_) => {}
                    // Before 3.2 there was no way to ask for this one by name: that is said, not guessed around.
                    Err(error) => {
                        let old = ["rsync 3.0", "rsync 3.1", "protocol 30"].iter().any(|name| what.contains(name));
                        assert!(compression == Compression::Zlibx && old, "{what}: {error:?}");
                        assert!(error.to_string().contains("no common compression"), "{what}: {error:?}");
                        continue;
                    }
                }
                fs::write(&name, &new).unwrap();
                let report = try_pull(&sshd, &root, &options, &here.pass());
                let report = report.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let path = RelPath::try_from("dump.sql").unwrap();
                assert!(here.content(&path).unwrap() == new, "{what}");
                assert!(report.literal_bytes < 20_000, "{what}: {report:?}");
                assert!(report.matched_bytes > 900_000, "{what}: {report:?}");
            }
        }
    }
}

#[test]
fn every_version_tells_what_it_cannot_read() {
    let (scripts, folder) = (open_folder(), open_folder());
    let sshd = SshdOptions::new().unprivileged().start();
    for name in ["closed/inside", "secret", "open"] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    set_mode(&folder.path().join("secret"), 0o000);
    set_mode(&folder.path().join("closed"), 0o000);
    for dialect in dialects(scripts.path()) {
        for detection in [ChangeDetection::Auto, ChangeDetection::SizeAndTime] {
            let options = dialect.options.clone().change_detection(detection);
            let here = MemoryTree::new();
            let report = pull(&sshd, folder.path(), &options, &here);
            let mut problems: Vec<_> =
                report.problems.listed().iter().map(|problem| (problem.path.to_string(), problem.kind)).collect();
            problems.sort();
            let expected = [("closed", ProblemKind::Unlisted), ("secret", ProblemKind::Unreadable)];
            let expected = expected.map(|(path, kind)| (path.to_owned(), kind));
            assert_eq!(problems, expected, "{}, {detection:?}", dialect.name);
            assert_eq!(here.content(&RelPath::try_from("open").unwrap()).as_deref(), Some(&b"open"[..]));
        }
    }
    set_mode(&folder.path().join("closed"), 0o755);
}

/// Takes away what the far end no longer has, or has as something else: a sink is only ever added to.
fn remove_what_is_gone(here: &MemoryTree, there: &MemoryTree) {
    for entry in here.list().into_iter().rev() {
        if there.entry(&entry.path).is_none_or(|now| now.is_dir() != entry.is_dir()) {
            here.remove(&entry.path);
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn set_mtime(path: &PathBuf, secs: i64) {
    filetime::set_file_mtime(path, filetime::FileTime::from_unix_time(secs, 0)).unwrap();
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}
