//! [`Sshd`]: a real OpenSSH server on this machine, with keys of its own.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// An sshd on 127.0.0.1 that lets in one key as the current user. It ends when this is dropped.
#[derive(Debug)]
pub struct Sshd {
    dir: TempDir,
    port: u16,
    child: Child,
}

/// How the login of an [`Sshd`] behaves.
#[derive(Debug, Clone, Default)]
pub struct SshdOptions {
    prelude: String,
    command: Option<String>,
    home: Option<PathBuf>,
    forbids_forwards: bool,
}

/// What a client needs to reach an [`Sshd`].
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_structs)]
pub struct Login {
    /// The address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user's private key.
    pub identity_file: PathBuf,
    /// Holds the server's host key.
    pub known_hosts_file: PathBuf,
}

impl SshdOptions {
    /// An ordinary account.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shell text that each login runs first, like a start-up file of the account.
    #[must_use]
    pub fn prelude(mut self, text: &str) -> Self {
        writeln!(self.prelude, "{text}").expect("write to a string");
        self
    }

    /// What runs the client's command instead of a plain `sh -c "$SSH_ORIGINAL_COMMAND"`.
    #[must_use]
    pub fn command(mut self, text: &str) -> Self {
        self.command = Some(text.to_owned());
        self
    }

    /// The account's home.
    #[must_use]
    pub fn home(mut self, home: &Path) -> Self {
        self.home = Some(home.to_owned());
        self
    }

    /// No connection is forwarded, to ports and sockets alike.
    #[must_use]
    pub const fn forbids_forwards(mut self) -> Self {
        self.forbids_forwards = true;
        self
    }

    /// The account has no root rights: what its owner may not read, it cannot read. Without effect when the tests do not
    /// run as root.
    #[must_use]
    pub fn unprivileged(self) -> Self {
        if !is_root() {
            return self;
        }
        self.command(r#"exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "$SSH_ORIGINAL_COMMAND""#)
    }

    /// Only the named programs are installed at the far end.
    #[must_use]
    pub fn only_programs(self, names: &[&str]) -> Self {
        let mut text = "mkdir -p \"$0.bin\"\n".to_owned();
        for name in names {
            writeln!(text, "ln -sf \"$(command -v {name})\" \"$0.bin/{name}\"").expect("write to a string");
        }
        text.push_str("PATH=\"$0.bin\"; export PATH");
        self.prelude(&text)
    }

    /// Starts the server.
    ///
    /// # Panics
    /// When it cannot be started; the message has its log.
    #[must_use]
    pub fn start(self) -> Sshd {
        let dir = tempfile::Builder::new().prefix("clonepanel-sshd").tempdir().expect("temporary folder");
        let at = |name: &str| dir.path().join(name);
        for key in ["host_key", "user_key", "stranger_key"] {
            make_key(&at(key));
        }
        fs::copy(at("user_key.pub"), at("authorized_keys")).expect("authorized_keys");
        write_known_hosts(&at("known_hosts"), &at("host_key.pub"));
        write_known_hosts(&at("wrong_known_hosts"), &at("stranger_key.pub"));
        fs::write(at("no_known_hosts"), "").expect("empty file");
        self.write_shell(&at("shell"));
        if is_root() {
            // Where Debian's sshd confines its unprivileged part; made by the service's unit, which does not run here.
            fs::create_dir_all("/run/sshd").expect("/run/sshd");
        }
        // Another process may take the free port in between; then the server ends at once and the next port is tried.
        for _ in 0..10 {
            let port = free_port();
            fs::write(at("config"), self.config(dir.path(), port)).expect("config");
            let mut child = spawn(&dir);
            if answers(&mut child, port) {
                return Sshd { dir, port, child };
            }
            drop(child.kill());
            drop(child.wait());
        }
        panic!("sshd does not start: {}", fs::read_to_string(at("log")).unwrap_or_default());
    }

    fn config(&self, dir: &Path, port: u16) -> String {
        let (dir, forbidden) = (dir.display(), if self.forbids_forwards { "yes" } else { "no" });
        format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {dir}/host_key\nAuthorizedKeysFile {dir}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nPrintMotd no\nMaxStartups 100\nDisableForwarding {forbidden}\nForceCommand {dir}/shell\n"
        )
    }

    fn write_shell(&self, path: &Path) {
        let mut text = "#!/bin/sh\n".to_owned();
        if let Some(home) = &self.home {
            writeln!(text, "HOME='{0}'; export HOME; cd '{0}' || exit 1", home.display()).expect("write to a string");
        }
        text.push_str(&self.prelude);
        text.push_str(self.command.as_deref().unwrap_or(r#"exec /bin/sh -c "$SSH_ORIGINAL_COMMAND""#));
        text.push('\n');
        fs::write(path, text).expect("shell");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
}

impl Sshd {
    /// A server with an ordinary account.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        SshdOptions::new().start()
    }

    /// The port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The login that is let in, and knows the server's host key.
    #[must_use]
    pub fn login(&self) -> Login {
        self.login_at(self.port)
    }

    /// The same by way of another port: a [`Proxy`](crate::Proxy).
    #[must_use]
    pub fn login_at(&self, port: u16) -> Login {
        Login {
            host: "127.0.0.1".to_owned(),
            port,
            identity_file: self.file("user_key"),
            known_hosts_file: self.file("known_hosts"),
        }
    }

    /// A key that is not let in.
    #[must_use]
    pub fn stranger(&self) -> Login {
        Login { identity_file: self.file("stranger_key"), ..self.login() }
    }

    /// A client that remembers another host key for this server.
    #[must_use]
    pub fn login_that_remembers_another_host(&self) -> Login {
        Login { known_hosts_file: self.file("wrong_known_hosts"), ..self.login() }
    }

    /// A client that never saw this server.
    #[must_use]
    pub fn login_that_knows_no_host(&self) -> Login {
        Login { known_hosts_file: self.file("no_known_hosts"), ..self.login() }
    }

    /// What the server has written about itself.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Sessions end with their clients.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Login {
    /// The arguments of an `ssh` command that logs in like this.
    #[must_use]
    pub fn ssh_arguments(&self) -> Vec<String> {
        let known = format!("UserKnownHostsFile={}", self.known_hosts_file.display());
        let words = ["-p", &self.port.to_string(), "-i", &self.identity_file.display().to_string(), "-o", &known]
            .map(str::to_owned);
        let fixed = ["StrictHostKeyChecking=yes", "GlobalKnownHostsFile=none", "BatchMode=yes", "IdentitiesOnly=yes"];
        words.into_iter().chain(fixed.into_iter().flat_map(|word| ["-o".to_owned(), word.to_owned()])).collect()
    }
}

fn make_key(path: &Path) {
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(path).status();
    assert!(made.expect("ssh-keygen is missing: tests/run installs it").success(), "ssh-keygen failed");
}

fn write_known_hosts(path: &Path, key: &Path) {
    let key = fs::read_to_string(key).expect("host key");
    fs::write(path, format!("[127.0.0.1]:* {key}")).expect("known_hosts");
}

fn spawn(dir: &TempDir) -> Child {
    // sshd starts itself anew for each connection and so wants its absolute path.
    let program =
        ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| Path::new(path).exists());
    let log = fs::File::create(dir.path().join("log")).expect("log");
    Command::new(program.expect("sshd is missing: tests/run installs it"))
        .args(["-D", "-e", "-f"])
        .arg(dir.path().join("config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("start sshd")
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).expect("bind").local_addr().expect("address").port()
}

fn answers(child: &mut Child, port: u16) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        if child.try_wait().expect("wait").is_some() {
            return false;
        }
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            let mut line = String::new();
            let read = BufReader::new(stream).read_line(&mut line);
            if read.is_ok() && line.starts_with("SSH-2.0-") {
                return true;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").expect("/proc").uid() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(login: &Login, command: &str) -> std::process::Output {
        Command::new("ssh").args(login.ssh_arguments()).arg(&login.host).arg(command).output().unwrap()
    }

    #[test]
    fn the_right_key_is_let_in_and_no_other() {
        let home = tempfile::tempdir().unwrap();
        let sshd = SshdOptions::new().home(home.path()).start();
        let good = run(&sshd.login(), "pwd");
        assert_eq!(String::from_utf8_lossy(&good.stdout).trim(), home.path().to_str().unwrap(), "{}", sshd.log());
        for (login, said) in [
            (sshd.stranger(), "Permission denied"),
            (sshd.login_that_remembers_another_host(), "IDENTIFICATION HAS CHANGED"),
            (sshd.login_that_knows_no_host(), "Host key verification failed"),
        ] {
            let bad = run(&login, "pwd");
            assert_eq!(bad.status.code(), Some(255));
            let stderr = String::from_utf8_lossy(&bad.stderr);
            assert!(stderr.contains(said), "{stderr}");
        }
    }

    #[test]
    fn an_account_without_root_rights_and_rsync() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        fs::set_permissions(dir.path().join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
        let sshd = SshdOptions::new().unprivileged().start();
        assert!(!run(&sshd.login(), &format!("cat {}/secret", dir.path().display())).status.success());
        let sshd = SshdOptions::new().only_programs(&["sh", "find"]).start();
        assert!(run(&sshd.login(), "find . -maxdepth 0").status.success());
        assert_eq!(run(&sshd.login(), "rsync --version").status.code(), Some(127));
    }
}
