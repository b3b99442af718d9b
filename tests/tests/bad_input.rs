//! What a person gets for everything that goes wrong around a backup: one clear line, the right exit code, the earlier
//! snapshots untouched and a next run that simply works.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use clonepanel_tests::{Ran, Site, Sshd, SshdOptions, Tool};
use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Exit codes of the tool.
const DONE: i32 = 0;
const FAILED: i32 = 1;
const PARTIAL: i32 = 3;

#[test]
fn a_wrong_host_key() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    for login in [sshd.login_that_remembers_another_host(), sshd.login_that_knows_no_host()] {
        site.over_ssh(&login).assert(FAILED, &["host key", "hint"]);
    }
    site.assert_unharmed_and_next_run_works(&sshd.login());
}

#[test]
fn a_refused_login() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    site.over_ssh(&sshd.stranger()).assert(FAILED, &["127.0.0.1", "refuse", "hint"]);
    site.assert_unharmed_and_next_run_works(&sshd.login());
}

#[test]
fn a_host_that_does_not_answer() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    // Port 1 of this machine: nobody listens.
    site.over_ssh(&sshd.login_at(1)).assert(FAILED, &["127.0.0.1", "hint"]);
    site.assert_unharmed_and_next_run_works(&sshd.login());
}

#[test]
fn a_missing_rsync() {
    let sshd = Sshd::start();
    let bare = SshdOptions::new().only_programs(&["sh", "find", "cat", "env", "true"]).start();
    let site = Site::new().backed_up_over(&sshd.login());
    site.over_ssh(&bare.login()).assert(FAILED, &["rsync", "hint"]);
    site.assert_unharmed_and_next_run_works(&sshd.login());
}

#[test]
fn a_missing_path() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    let ran = Ran::of(&mut site.tool.back_up_over_ssh(&sshd.login(), &site.tree.join("no such folder")));
    ran.assert(FAILED, &["no such folder"]);
    site.assert_unharmed_and_next_run_works(&sshd.login());
}

const BANNER: &str = "printf 'Welcome to \\033[2Jalpha!\\nToday: cake\\n'";

/// It is skipped, and told harmlessly.
#[test]
fn a_banner_before_the_protocol() {
    let noisy = SshdOptions::new().prelude(BANNER).start();
    let site = Site::new().backed_up_over(&noisy.login());
    site.over_ssh(&noisy.login()).assert(DONE, &["Welcome to \\x1b[2Jalpha!"]);
    site.tool.assert_verifies();
}

/// Where nothing but rsync may be run, there is no telling where the banner ends.
#[test]
fn a_banner_before_a_forced_rsync() {
    let sshd = Sshd::start();
    let forced = r#"case "$SSH_ORIGINAL_COMMAND" in rsync*) exec sh -c "$SSH_ORIGINAL_COMMAND" ;; *) echo 'not allowed' >&2; exit 1 ;; esac"#;
    let noisy = SshdOptions::new().prelude(BANNER).command(forced).start();
    let site = Site::new().backed_up_over(&sshd.login());
    site.over_ssh(&noisy.login()).assert(FAILED, &["Welcome to", "hint"]);
    site.assert_unharmed_and_next_run_works(&sshd.login());
    // Without the banner that account works.
    let quiet = SshdOptions::new().command(forced).start();
    site.over_ssh(&quiet.login()).assert(DONE, &[]);
}

/// A start-up file that talks on standard error does no harm.
#[test]
fn an_account_that_complains_on_standard_error() {
    let chatty = SshdOptions::new().prelude("echo 'bash: warning: setlocale: cannot change locale' >&2").start();
    let site = Site::new().backed_up_over(&chatty.login());
    site.assert_unharmed_and_next_run_works(&chatty.login());
}

/// Quota stops writing there, which a backup does not need; whatever the shell says about it on the way.
#[test]
fn an_account_over_quota() {
    let full = SshdOptions::new()
        .prelude("echo 'sh: cannot create temp file for here-document: Disk quota exceeded' >&2")
        .prelude("HISTFILE=/dev/full; TMPDIR=/nonexistent; export HISTFILE TMPDIR")
        .start();
    let site = Site::new().backed_up_over(&full.login());
    site.assert_unharmed_and_next_run_works(&full.login());
}

/// A login that is cut off at once, as a host does with an account over its limits.
#[test]
fn an_account_that_may_not_run_anything() {
    let sshd = Sshd::start();
    let closed = SshdOptions::new().command("echo 'This account is currently not available.'; exit 1").start();
    let site = Site::new().backed_up_over(&sshd.login());
    site.over_ssh(&closed.login()).assert(FAILED, &["not available", "hint"]);
    site.assert_unharmed_and_next_run_works(&sshd.login());
}

#[test]
fn unreadable_files_and_directories() {
    let sshd = SshdOptions::new().unprivileged().start();
    let site = Site::new().backed_up_over(&sshd.login());
    let close = |name: &str, mode: u32| {
        fs::set_permissions(site.tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    close("public_html/wp/config.php", 0o000);
    close("mail", 0o000);
    site.over_ssh(&sshd.login()).assert(PARTIAL, &["public_html/wp/config.php", "mail"]);
    site.assert_good_is_as_it_was();
    // What could not be read now is kept from before, and said so.
    let newest = site.tool.snapshots().pop().unwrap();
    for kept in ["mail/cur/1", "public_html/wp/config.php"] {
        assert_eq!(fs::read_to_string(newest.join("files").join(kept)).unwrap(), kept.repeat(50));
    }
    assert!(site.tool.run("snapshots", ["site"]).said().contains("partial"));
    for _ in 0..2 {
        site.over_ssh(&sshd.login()).assert(PARTIAL, &[]);
    }
    // They do not pile up in silence.
    let prune = || site.tool.run("prune", ["site", "--daily", "1", "--dry-run"]);
    prune().assert(DONE, &["the newest 3 snapshots are not complete", "best left out"]);
    close("mail", 0o755);
    close("public_html/wp/config.php", 0o644);
    site.over_ssh(&sshd.login()).assert(DONE, &[]);
    assert!(!prune().said().contains("not complete"));
    site.tool.assert_verifies();
}

#[test]
fn a_file_that_changes_while_it_is_read() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    let log = site.tree.join("access.log");
    fs::write(&log, vec![b'x'; 30_000_000]).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let writer = {
        let (log, ended) = (log.clone(), Arc::clone(&ended));
        std::thread::spawn(move || {
            let mut file = fs::File::options().append(true).open(log).unwrap();
            while !ended.load(Ordering::SeqCst) {
                std::io::Write::write_all(&mut file, &[b'y'; 4096]).unwrap();
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        })
    };
    let ran = site.over_ssh(&sshd.login());
    ended.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    ran.assert(PARTIAL, &["access.log"]);
    site.assert_good_is_as_it_was();
    // Once it is at rest it is read again, whatever its size and time say, and then is what the account has.
    site.over_ssh(&sshd.login()).assert(DONE, &[]);
    let newest = site.tool.snapshots().pop().unwrap();
    assert!(fs::read(newest.join("files/access.log")).unwrap() == fs::read(&log).unwrap());
    site.tool.assert_verifies();
}

/// The far end's own word on names reaches the terminal harmlessly, and comes back exactly.
#[test]
fn names_that_would_harm_a_terminal() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    let name = std::ffi::OsStr::from_bytes(b"\x1b]0;owned\x07\n\xff.php");
    fs::write(site.tree.join(name), "evil").unwrap();
    site.over_ssh(&sshd.login()).assert(DONE, &[]);
    site.tool.run("ls", ["site"]).assert(DONE, &["\\x1b]0;owned\\x07\\x0a\\xff.php"]);
    let to = site.store.with_file_name("restored");
    let ran = site.tool.run("restore", [std::ffi::OsStr::new("site"), "--to".as_ref(), to.as_os_str()]);
    ran.assert(DONE, &[]);
    assert_eq!(fs::read_to_string(to.join(name)).unwrap(), "evil");
}

#[test]
fn a_store_that_cannot_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let ran = Tool::with_store(&file).back_up(&tree);
    ran.assert(FAILED, &["file"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "in the way");
}

#[test]
fn a_second_backup_at_the_same_time() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    // The first one hangs at the far end until it is let go.
    let gate = site.store.with_file_name("gate");
    let waits = format!("while [ ! -e '{}' ]; do sleep 0.05; done", gate.display());
    let slow = SshdOptions::new().prelude("touch \"$0.began\"").prelude(&waits).start();
    let mut first = site.tool.back_up_over_ssh(&slow.login(), &site.tree);
    let first = std::thread::spawn(move || Ran::of(&mut first));
    wait_for(&slow.login().identity_file.with_file_name("shell.began"));
    let second = site.over_ssh(&sshd.login());
    fs::write(&gate, "").unwrap();
    second.assert(FAILED, &["site"]);
    first.join().unwrap().assert(DONE, &[]);
    assert_eq!(site.tool.snapshots().len(), 2);
    site.tool.assert_verifies();
}

/// Damage in the store is found, named and does not spread.
#[test]
fn a_damaged_snapshot() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    let victim = site.good().join("files/public_html/index.php");
    let mtime = fs::metadata(&victim).unwrap().modified().unwrap();
    make_writable(&victim);
    let mut content = fs::read(&victim).unwrap();
    content[7] ^= 1;
    fs::write(&victim, content).unwrap();
    fs::File::options().write(true).open(&victim).unwrap().set_modified(mtime).unwrap();
    site.tool.run("verify", ["site"]).assert(FAILED, &["public_html/index.php", "hint"]);
    site.tool.run("cat", ["site:mail/cur/1"]).assert(DONE, &["mail/cur/1"]);
}

fn make_writable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn wait_for(path: &Path) {
    for _ in 0..2000 {
        if path.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} does not appear", path.display());
}
