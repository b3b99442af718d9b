//! Runs the tool as a person or a script would, in a folder of its own.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails it")]

use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// A folder with the tool in it.
pub(crate) struct Bench {
    folder: TempDir,
}

/// What a run left behind.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(below)
    }

    pub(crate) fn write(&self, below: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clonepanel"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        // Nothing of the person who runs the tests takes part.
        command.env_remove("CLONEPANEL_CONFIG").env("HOME", self.folder.path()).env_remove("XDG_CONFIG_HOME");
        command.env_remove("CLICOLOR_FORCE").env_remove("NO_COLOR");
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// Runs it and insists on success.
    pub(crate) fn ok<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.text()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
    }
}

impl Ran {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    /// The events; the last one is the result, and it agrees with the exit code.
    pub(crate) fn events(&self) -> Vec<Value> {
        let events: Vec<Value> = self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let result = events.last().unwrap_or_else(|| panic!("no result; {}", self.stderr));
        assert_eq!(result["event"], "result");
        assert_eq!(result["ok"], self.code == 0, "{result}");
        assert_eq!(result["exit_code"], self.code, "{result}");
        assert!(events.iter().all(|event| event["event"].is_string()), "{events:?}");
        assert_eq!(events.iter().filter(|event| event["event"] == "result").count(), 1);
        events
    }

    pub(crate) fn result(&self) -> Value {
        self.events().pop().unwrap()
    }

    /// Insists on one line that says what is wrong, and one that says what to do.
    pub(crate) fn refused(&self, code: i32, error: &str, hint: &str) {
        assert_eq!(self.code, code, "{}", self.stderr);
        let lines: Vec<_> = self.stderr.lines().collect();
        let [told, advice] = lines.as_slice() else { panic!("not an error and a hint: {}", self.stderr) };
        assert!(told.starts_with("error: ") && told.contains(error), "{told}");
        assert!(advice.starts_with("hint: ") && advice.contains(hint), "{advice}");
    }
}
