//! What a person gets for everything that goes wrong around a backup: one clear line, the right exit code, the earlier
//! snapshots untouched and a next run that simply works.

use clonepanel_tests::{Fingerprint, Login, Proxy, Ran, Sshd, SshdOptions, Tool};
use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tempfile::TempDir;

/// Exit codes of the tool.
const DONE: i32 = 0;
const FAILED: i32 = 1;
const PARTIAL: i32 = 3;

/// A site with one good snapshot, and what that snapshot looked like.
struct Site {
    _dir: TempDir,
    tree: PathBuf,
    store: PathBuf,
    tool: Tool,
    good: Option<(PathBuf, Fingerprint)>,
}

impl Site {
    /// A small tree that anybody may read, not backed up yet.
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("clonepanel-bad").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let tree = dir.path().join("account");
        for name in ["public_html/index.php", "public_html/wp/config.php", "mail/cur/1"] {
            fs::create_dir_all(tree.join(name).parent().unwrap()).unwrap();
            fs::write(tree.join(name), name.repeat(50)).unwrap();
        }
        let store = dir.path().join("store");
        let tool = Tool::with_store(&store);
        Self { _dir: dir, tree, store, tool, good: None }
    }

    /// Takes the good snapshot by way of this login.
    fn backed_up_over(mut self, login: &Login) -> Self {
        self.over_ssh(login).assert(DONE, &[]);
        let snapshot = self.tool.snapshots().pop().expect("a snapshot");
        let fingerprint = Fingerprint::of(&snapshot);
        assert!(fingerprint.len() > 5);
        self.good = Some((snapshot, fingerprint));
        fs::write(self.tree.join("public_html/new.php"), "new since the good snapshot").unwrap();
        self
    }

    fn over_ssh(&self, login: &Login) -> Ran {
        Ran::of(&mut self.tool.back_up_over_ssh(login, &self.tree))
    }

    /// Nothing was added, the good snapshot is as it was, and a run over `login` works unaided.
    fn assert_unharmed_and_next_run_works(&self, login: &Login) {
        let (snapshot, before) = self.good.as_ref().expect("a good snapshot");
        assert_eq!(self.tool.snapshots(), std::slice::from_ref(snapshot), "a failed run left a snapshot");
        self.assert_good_is_as_it_was();
        self.over_ssh(login).assert(DONE, &[]);
        self.assert_good_is_as_it_was();
        let newest = self.tool.snapshots().pop().expect("a snapshot");
        assert_ne!(&newest, snapshot);
        assert!(newest.join("files/public_html/new.php").exists());
        self.tool.assert_verifies();
        assert_eq!(before.changes(&Fingerprint::of(snapshot)), Vec::<String>::new());
    }

    fn assert_good_is_as_it_was(&self) {
        let (snapshot, before) = self.good.as_ref().expect("a good snapshot");
        assert_eq!(before.changes(&Fingerprint::of(snapshot)), Vec::<String>::new());
    }
}

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

#[test]
fn a_banner_before_the_protocol() {
    let sshd = Sshd::start();
    let noisy = SshdOptions::new().prelude("printf 'Welcome to \\033[2Jalpha!\\nToday: cake\\n'").start();
    let site = Site::new().backed_up_over(&sshd.login());
    // It names what was said, harmlessly, and where that comes from.
    site.over_ssh(&noisy.login()).assert(FAILED, &["Welcome to", "hint"]);
    site.assert_unharmed_and_next_run_works(&sshd.login());
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
    close("mail", 0o755);
    close("public_html/wp/config.php", 0o644);
    site.over_ssh(&sshd.login()).assert(DONE, &[]);
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

/// The connection ends at some byte of the encrypted stream: in the key exchange, in the list, in the data.
#[test]
fn a_connection_cut_at_any_byte() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    fs::write(site.tree.join("large"), noise(3_000_000)).unwrap();
    let rounds: u64 = std::env::var("CLONEPANEL_CUTS").map_or(12, |text| text.parse().unwrap());
    let proxy = Proxy::to(sshd.port());
    for round in 0..rounds {
        // Spread over all sizes from a few bytes to nearly everything.
        proxy.cut_after(30 + 3_000_000 * round * round / (rounds * rounds) + round * 37);
        site.over_ssh(&sshd.login_at(proxy.port())).assert(FAILED, &["hint"]);
        assert_eq!(site.tool.snapshots().len(), 1, "cut {round} left a snapshot");
    }
    site.assert_unharmed_and_next_run_works(&sshd.login());
}

/// The same one layer up: rsync itself ends at some byte, the connection in good order.
#[test]
fn an_rsync_that_ends_at_any_byte() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    fs::write(site.tree.join("large"), noise(200_000)).unwrap();
    for bytes in [0_u32, 1, 3, 4, 5, 9, 40, 100, 170, 300, 1000, 30_000, 150_000] {
        let text = format!(r#"/bin/sh -c "$SSH_ORIGINAL_COMMAND" | head -c {bytes}"#);
        let cut = SshdOptions::new().command(&text).start();
        site.over_ssh(&cut.login()).assert(FAILED, &["hint"]);
        assert_eq!(site.tool.snapshots().len(), 1, "a cut after {bytes} bytes left a snapshot");
    }
    site.assert_unharmed_and_next_run_works(&sshd.login());
}

/// A far end that ends with an error of its own after it has said everything.
#[test]
fn an_rsync_that_is_killed() {
    let sshd = Sshd::start();
    let site = Site::new().backed_up_over(&sshd.login());
    let killed = SshdOptions::new().command(r#"/bin/sh -c "$SSH_ORIGINAL_COMMAND" & sleep 0.02; kill -9 $!; exit 137"#);
    let killed = killed.start();
    fs::write(site.tree.join("large"), noise(50_000_000)).unwrap();
    site.over_ssh(&killed.login()).assert(FAILED, &["hint"]);
    fs::remove_file(site.tree.join("large")).unwrap();
    site.assert_unharmed_and_next_run_works(&sshd.login());
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
    let (snapshot, _) = site.good.as_ref().unwrap();
    let victim = snapshot.join("files/public_html/index.php");
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

/// Bytes that neither compress nor repeat.
fn noise(len: usize) -> Vec<u8> {
    let output = Command::new("head").args(["-c", &len.to_string(), "/dev/urandom"]).output().unwrap();
    assert_eq!(output.stdout.len(), len);
    output.stdout
}
