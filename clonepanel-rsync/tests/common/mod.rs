//! What the tests of this crate share.
#![allow(dead_code, clippy::print_stdout, clippy::unwrap_used)]

use clonepanel_core::{
    memory::MemoryTree,
    observer::{Event, Observer},
    problem::ProblemKind,
    testkit::scan,
    time::Timestamp,
    transport::{PullRequest, PushRequest, TransferReport, Transport, TransportError},
    tree::{TreeSink, TreeSource},
};
use clonepanel_rsync::{LocalConnect, RsyncOptions, RsyncTransport};
use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

/// Shows what the far end says, for when a test fails.
pub(crate) struct Print;

impl Observer for Print {
    fn notice(&self, event: &Event<'_>) {
        if let Event::Message { text } = event {
            println!("far end: {text}");
        }
    }
}

pub(crate) use clonepanel_core::testkit::block_on;

/// A pull through the rsync that `options` name, run as a child process.
pub(crate) fn try_pull(
    root: &Path,
    options: RsyncOptions,
    request: &PullRequest,
    into: &dyn TreeSink,
) -> Result<TransferReport, TransportError> {
    let transport = RsyncTransport::new(LocalConnect::new(), root.as_os_str().as_bytes()).options(options);
    block_on(transport.pull(request, into, &Print))
}

/// A whole pull that must succeed.
pub(crate) fn pull(root: &Path, options: RsyncOptions) -> (MemoryTree, TransferReport) {
    let into = MemoryTree::new();
    let report = try_pull(root, options, &PullRequest::new(), &into).unwrap();
    (into, report)
}

/// A program that stands in for rsync: `script` is a shell script that gets rsync's arguments.
pub(crate) fn stand_in(folder: &Path, name: &str, script: &str) -> RsyncOptions {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    RsyncOptions::new().rsync_program(path.as_os_str().as_bytes())
}

pub(crate) fn try_push(
    root: &Path,
    options: RsyncOptions,
    request: &PushRequest,
    source: &dyn TreeSource,
) -> Result<TransferReport, TransportError> {
    let transport = RsyncTransport::new(LocalConnect::new(), root.as_os_str().as_bytes()).options(options);
    block_on(transport.push(request, source, &Print))
}

pub(crate) fn push(root: &Path, options: RsyncOptions, source: &dyn TreeSource) -> TransferReport {
    try_push(root, options, &PushRequest::new(), source).unwrap()
}

pub(crate) fn problems(report: &TransferReport) -> Vec<(String, ProblemKind)> {
    let mut problems: Vec<_> =
        report.problems.listed().iter().map(|problem| (problem.path.to_string(), problem.kind)).collect();
    problems.sort();
    problems
}

pub(crate) fn old(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_600_000_000 + secs)
}

pub(crate) fn is_root() -> bool {
    std::process::Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

pub(crate) fn write(root: &Path, names: &[&str]) {
    for name in names {
        let file = root.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, name).unwrap();
    }
}

pub(crate) fn files(root: &Path) -> Vec<String> {
    let list = scan(root).unwrap().list();
    list.into_iter().filter(|entry| !entry.is_dir()).map(|entry| entry.path.to_string()).collect()
}

/// In every protocol.
pub(crate) fn protocols(scripts: &Path) -> Vec<RsyncOptions> {
    let script = |protocol| format!("shift; exec rsync --server --protocol={protocol} \"$@\"");
    [30, 31, 32].map(|protocol| stand_in(scripts, &protocol.to_string(), &script(protocol))).to_vec()
}

/// Where the far end keeps what it does not take for good.
pub(crate) const PARTIAL: &str = ".clonepanel-partial";
