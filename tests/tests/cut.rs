//! Connections that end or fall silent at any byte. `tests/campaign cut 200` does it more often.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use clonepanel_core::{
    memory::MemoryTree,
    testkit::block_on,
    transport::{PullRequest, Transport, TransportError},
};
use clonepanel_rsync::{RsyncOptions, RsyncTransport, SshConnect};
use clonepanel_tests::{Login, Proxy, Site, Sshd, SshdOptions};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const FAILED: i32 = 1;
const LARGE: usize = 3_000_000;

/// The connection ends at some byte of the encrypted stream: in the key exchange, in the list, in the data.
#[test]
fn a_connection_cut_at_any_byte() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    let rounds: u64 = std::env::var("CLONEPANEL_CUTS").map_or(12, |text| text.parse().unwrap());
    let proxy = Proxy::to(sshd.port());
    for round in 0..rounds {
        // New each time: what arrived of the last one is not asked for again.
        fs::write(site.tree.join("large"), noise(LARGE)).unwrap();
        // From a few bytes to nearly everything, small numbers more often.
        proxy.cut_after(30 + round * 37 + (LARGE as u64) * round * round / (rounds * rounds));
        site.over_ssh(&sshd.login_at(proxy.port())).assert(FAILED, &["hint"]);
        assert_eq!(site.tool.snapshots().len(), 1, "cut {round} left a snapshot");
    }
    site.assert_unharmed_and_next_run_works(&sshd.login());
}

/// What arrived before the cut is not asked for again.
#[test]
fn what_arrived_before_a_cut_is_kept() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    for number in 0..100 {
        fs::write(site.tree.join(format!("picture{number}")), noise(100_000)).unwrap();
    }
    let proxy = Proxy::to(sshd.port());
    proxy.cut_after(8_000_000);
    site.over_ssh(&sshd.login_at(proxy.port())).assert(FAILED, &["hint"]);
    let before = proxy.bytes().0;
    proxy.cut_after(u64::MAX);
    site.over_ssh(&sshd.login_at(proxy.port())).assert(0, &[]);
    let second = proxy.bytes().0 - before;
    // Up to its window, 2 MiB, ssh itself may lose of what it had received.
    assert!(second < 6_000_000, "the second run asked for {second} bytes of 10,000,000");
    site.tool.assert_verifies();
}

/// One layer up: rsync itself ends at some byte, the connection in good order.
#[test]
fn an_rsync_that_ends_at_any_byte() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    for bytes in [0_u32, 1, 3, 4, 5, 9, 40, 60, 100, 130, 170, 300, 1000, 30_000, 150_000] {
        fs::write(site.tree.join("large"), noise(200_000)).unwrap();
        // Byte by byte, since `head` would hold back what it has; then all that runs in that login ends.
        let text =
            format!(r#"/bin/sh -c "$SSH_ORIGINAL_COMMAND" | {{ dd bs=1 count={bytes} 2>/dev/null; kill -9 0; }}"#);
        let cut = SshdOptions::new().command(&text).start();
        site.over_ssh(&cut.login()).assert(FAILED, &["hint"]);
        assert_eq!(site.tool.snapshots().len(), 1, "a cut after {bytes} bytes left a snapshot");
    }
    site.assert_unharmed_and_next_run_works(&sshd.login());
}

/// A far end that is killed in the middle.
#[test]
fn an_rsync_that_is_killed() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    let killed = SshdOptions::new().command(r#"/bin/sh -c "$SSH_ORIGINAL_COMMAND" & sleep 0.2; kill -9 0"#).start();
    fs::write(site.tree.join("large"), noise(80_000_000)).unwrap();
    site.over_ssh(&killed.login()).assert(FAILED, &["hint"]);
    fs::remove_file(site.tree.join("large")).unwrap();
    site.assert_unharmed_and_next_run_works(&sshd.login());
}

/// A connection that goes silent ends after the progress timeout, wherever it is.
#[test]
fn a_far_end_that_falls_silent() {
    let (sshd, folder) = (Sshd::start(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("large"), noise(LARGE)).unwrap();
    let proxy = Proxy::to(sshd.port());
    proxy.stall_instead();
    for after in [10, 700, 5_000, 1_000_000] {
        proxy.cut_after(after);
        let started = Instant::now();
        let error = pull(&sshd.login_at(proxy.port()), folder.path()).expect_err("the connection stalls");
        assert!(
            matches!(error, TransportError::Interrupted { .. } | TransportError::Unreachable { .. }),
            "after {after} bytes: {error:?}"
        );
        assert!(started.elapsed() < Duration::from_secs(60), "after {after} bytes: {:?}", started.elapsed());
    }
}

/// So does one that talks all the time and says nothing: rsync's keepalives are no progress.
#[test]
fn a_far_end_that_never_comes_to_the_point() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "content").unwrap();
    let chatty =
        SshdOptions::new().command("while :; do echo 'still starting up, please wait'; sleep 0.1; done").start();
    let started = Instant::now();
    pull(&chatty.login(), folder.path()).expect_err("there is no rsync");
    assert!(started.elapsed() < Duration::from_secs(100), "{:?}", started.elapsed());
}

/// So does one that sends a byte every now and then, which is progress of a kind; one that is only slow is waited for.
#[test]
fn a_far_end_that_drips() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), noise(12_000)).unwrap();
    // Bounded, so that it ends by itself whatever becomes of the login.
    let far_end = |first: u32, bytes: u32, pause: &str| {
        let text = format!(
            r#"/bin/sh -c "$SSH_ORIGINAL_COMMAND" | {{ dd bs=1 count={first} 2>/dev/null; n=0; while [ $n -lt 100 ]; do dd bs=1 count={bytes} 2>/dev/null; sleep {pause}; n=$((n+1)); done; }}"#
        );
        SshdOptions::new().command(&text).start()
    };
    let dripping = far_end(3000, 1, "0.2");
    let started = Instant::now();
    let error = pull(&dripping.login(), folder.path()).expect_err("it drips");
    assert!(matches!(&error, TransportError::Interrupted { detail, .. } if detail.contains("only")), "{error:?}");
    assert!(started.elapsed() > Duration::from_secs(8), "an average is taken: {:?}", started.elapsed());
    let slow = far_end(3000, 900, "0.8");
    let started = Instant::now();
    pull(&slow.login(), folder.path()).expect("it is slow, and comes to its end");
    assert!(started.elapsed() > Duration::from_secs(8), "it took longer than the average: {:?}", started.elapsed());
}

fn pull(login: &Login, root: &Path) -> Result<(), TransportError> {
    let ssh = SshConnect::new(&login.host)
        .port(login.port)
        .identity_file(&login.identity_file)
        .known_hosts_file(&login.known_hosts_file);
    let options = RsyncOptions::new().progress_timeout(Duration::from_secs(2));
    let transport = RsyncTransport::new(ssh, root.to_str().unwrap()).options(options);
    block_on(transport.pull(&PullRequest::new(), &MemoryTree::new(), &())).map(drop)
}

/// Bytes that neither compress nor repeat.
fn noise(len: usize) -> Vec<u8> {
    let output = Command::new("head").args(["-c", &len.to_string(), "/dev/urandom"]).output().unwrap();
    assert_eq!(output.stdout.len(), len);
    output.stdout
}
