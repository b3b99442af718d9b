//! What the tests of this crate share.
#![allow(dead_code, clippy::print_stdout, clippy::unwrap_used)]

use clonepanel_core::{
    memory::MemoryTree,
    observer::{Event, Observer},
    transport::{PullRequest, TransferReport, Transport, TransportError},
    tree::TreeSink,
};
use clonepanel_rsync::{LocalConnect, RsyncOptions, RsyncTransport};
use std::{
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
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    RsyncOptions::new().rsync_program(path.as_os_str().as_bytes())
}
