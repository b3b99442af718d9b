//! [`SqlServer`]: what all database servers of the tests have.

use std::{
    fs::File,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A database server that listens on a Unix socket and a free port of 127.0.0.1. It ends when this is dropped.
///
/// `root` has no password and every right.
#[derive(Debug)]
pub struct SqlServer {
    dir: TempDir,
    port: u16,
    child: Child,
}

impl SqlServer {
    /// Starts one over a copy of the data folder `template`: `command` is given the options that say where everything is.
    pub(crate) fn start(template: &Path, command: impl Fn() -> Command, options: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("clonepanel-sql").tempdir().expect("temporary folder");
        let copied = Command::new("cp").arg("-r").arg(template).arg(dir.path().join("data")).status().expect("cp");
        assert!(copied.success());
        // Another process may take the free port in between; then the server ends at once and the next port is tried.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("free port").port();
            let mut child = spawn(command(), dir.path(), port, options);
            if answers(dir.path(), &mut child) {
                return Self { dir, port, child };
            }
            drop(child.kill());
            drop(child.wait());
        }
        panic!("it does not start: {}", std::fs::read_to_string(dir.path().join("log")).unwrap_or_default());
    }

    /// The Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// The TCP port, on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Sends the server a signal, by its name.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill").success());
    }

    /// Gives statements to the stock client as `root`, and returns what it prints.
    ///
    /// # Panics
    /// When the client fails; the message is its own.
    #[must_use]
    pub fn ask(&self, database: &str, statements: &str) -> String {
        self.client(database, &[], statements.as_bytes())
    }

    /// As [`Self::ask`], for statements without an answer.
    ///
    /// # Panics
    /// When the client fails or prints something.
    pub fn run(&self, database: &str, statements: &str) {
        assert_eq!(self.ask(database, statements), "");
    }

    /// Gives the stock client, with further options, bytes on its standard input.
    ///
    /// # Panics
    /// When the client fails; the message is its own.
    #[must_use]
    pub fn client(&self, database: &str, options: &[&str], input: &[u8]) -> String {
        let mut child = Command::new("mariadb")
            .arg("--no-defaults")
            .arg(format!("--socket={}", self.socket().display()))
            .args(["--user=root", "--default-character-set=utf8mb4", "--batch", "--skip-column-names", "--comments"])
            .args(options)
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the mariadb client");
        let mut stdin = child.stdin.take().expect("stdin");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("the client ends");
        writer.join().expect("the writer ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for SqlServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(mut command: Command, dir: &Path, port: u16, options: &[&str]) -> Child {
    let at = |name: &str| dir.join(name).display().to_string();
    let log = File::create(dir.join("log")).expect("log");
    command
        .arg(format!("--datadir={}", at("data")))
        .arg(format!("--socket={}", at("socket")))
        .arg(format!("--pid-file={}", at("pid")))
        .arg(format!("--tmpdir={}", dir.display()))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-networking=0"])
        // Nothing has to survive a crash of the machine.
        .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync", "--skip-innodb-doublewrite"])
        .args(["--innodb-buffer-pool-size=64M", "--key-buffer-size=8M"])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command.spawn().expect("the server: tests/run installs it")
}

fn answers(dir: &Path, child: &mut Child) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        if std::os::unix::net::UnixStream::connect(dir.join("socket")).is_ok() {
            return true;
        }
        if child.try_wait().expect("wait").is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// A data folder as a fresh installation has it, made once for all tests beside what they are built to.
pub(crate) fn template(name: &str, make: impl FnOnce(&Path) -> Command) -> PathBuf {
    let exe = std::env::current_exe().expect("path of the test");
    let target = exe.ancestors().nth(2).expect("the test is below the target folder");
    let (place, lock) = (target.join(format!("{name}-template")), target.join(format!("{name}-template.lock")));
    let lock = File::create(lock).expect("lock file");
    lock.lock().expect("lock");
    if !place.join("done").exists() {
        drop(std::fs::remove_dir_all(&place));
        let output = make(&place).output().expect("the set-up of the server: tests/run installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(place.join("done"), "").expect("mark");
    }
    place
}

/// Servers refuse to run as root unless they are told so.
pub(crate) fn user() -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt as _;
    let probe = tempfile::tempdir().expect("temporary folder");
    (std::fs::metadata(probe.path()).expect("metadata").uid() == 0).then_some("--user=root")
}
