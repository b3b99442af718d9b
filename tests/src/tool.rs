//! [`Tool`]: the program `clonepanel` as a person runs it.

use crate::Login;
use std::{
    ffi::{OsStr, OsString},
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Only there to end a hang.
const HANG: Duration = Duration::from_secs(240);

/// The built program, with a store of its own and no configuration from outside.
#[derive(Debug, Clone)]
pub struct Tool {
    program: PathBuf,
    store: PathBuf,
}

/// What a run of the tool left.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_structs)]
pub struct Ran {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Tool {
    /// The tool with its store at `store`.
    ///
    /// # Panics
    /// When it is not built.
    #[must_use]
    pub fn with_store(store: &Path) -> Self {
        Self { program: Self::program(), store: store.to_owned() }
    }

    /// The built program.
    ///
    /// # Panics
    /// When it is not built.
    #[must_use]
    pub fn program() -> PathBuf {
        let program = std::env::var_os("CLONEPANEL_BIN").map_or_else(beside_the_tests, PathBuf::from);
        assert!(
            program.exists(),
            "{} is not built: cargo build --bin clonepanel (tests/run does it)",
            program.display()
        );
        program
    }

    /// The command `clonepanel NAME --store STORE`, for more arguments.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(name).arg("--store").arg(&self.store);
        // Nothing of the person who runs the tests gets in.
        command.env_remove("CLONEPANEL_CONFIG").env("NO_COLOR", "1").current_dir(std::env::temp_dir());
        command
    }

    /// The tool without its store, for a configuration of the test's own.
    #[must_use]
    pub fn bare(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_remove("CLONEPANEL_CONFIG").env("NO_COLOR", "1").current_dir(std::env::temp_dir());
        command
    }

    /// Runs a command to its end.
    #[must_use]
    pub fn run<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(&self, name: &str, arguments: I) -> Ran {
        Ran::of(self.command(name).args(arguments))
    }

    /// Backs up a local directory under the name `site`.
    #[must_use]
    pub fn back_up(&self, tree: &Path) -> Ran {
        self.run("backup", [OsStr::new("--source"), OsStr::new("site"), tree.as_os_str()])
    }

    /// The command that backs up `tree` by way of a login, under the name `site`.
    #[must_use]
    pub fn back_up_over_ssh(&self, login: &Login, tree: &Path) -> Command {
        let mut command = self.command("backup");
        command.args(["--source", "site", "--port", &login.port.to_string()]);
        command.arg("--identity").arg(&login.identity_file).arg("--known-hosts").arg(&login.known_hosts_file);
        let user = user_name();
        let mut place = OsString::from(format!("{user}@{}:", login.host));
        place.push(tree);
        command.arg(place);
        command
    }

    /// The folders of the committed snapshots of `site`, oldest first.
    ///
    /// # Panics
    /// When the store cannot be read.
    #[must_use]
    pub fn snapshots(&self) -> Vec<PathBuf> {
        let Ok(listed) = std::fs::read_dir(self.store.join("site")) else { return Vec::new() };
        let mut found: Vec<_> = listed.map(|entry| entry.expect("read the store").path()).collect();
        found.retain(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir()));
        found.sort_by_key(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (time, number) = name.split_once('.').map_or((name.as_str(), "0"), |parts| parts);
            (time.to_owned(), number.parse::<u32>().unwrap_or(0))
        });
        found
    }

    /// Asserts that every snapshot is what it was when it was committed.
    ///
    /// # Panics
    /// When `verify` says otherwise.
    pub fn assert_verifies(&self) {
        let ran = self.run("verify", ["site"]);
        assert_eq!(ran.code, Some(0), "verify: {ran:?}");
    }
}

impl Ran {
    /// Runs `command` to its end.
    ///
    /// # Panics
    /// When it hangs.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let status = wait(&mut child, command);
        Self { code: status.code(), stdout: stdout.join().expect("stdout"), stderr: stderr.join().expect("stderr") }
    }

    /// Everything it said.
    #[must_use]
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Asserts the exit code and that each of `words` was said, and that nothing of it can harm a terminal.
    ///
    /// # Panics
    /// When it is otherwise.
    pub fn assert(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "exit code: {self:#?}");
        for word in words {
            assert!(self.said().contains(word), "{word:?} is not said: {self:#?}");
        }
        let harmful = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        assert!(!self.said().contains(harmful), "control characters reach the terminal: {self:#?}");
    }
}

fn wait(child: &mut Child, command: &Command) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return status;
        }
        if started.elapsed() > HANG {
            drop(child.kill());
            panic!("{command:?} hangs");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).expect("read");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// `target/debug/deps/kill-…` is a test, `target/debug/clonepanel` the tool; a program of a package is one level up already.
fn beside_the_tests() -> PathBuf {
    let program = std::env::current_exe().expect("this program");
    let folder = program.parent().expect("folder");
    let folder = if folder.ends_with("deps") { folder.parent().expect("folder") } else { folder };
    folder.join("clonepanel")
}

/// The name that this user logs in with.
fn user_name() -> String {
    let output = Command::new("id").arg("-un").output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
