//! [`LocalConnect`]: a program on this machine, without ssh.

use super::{Connect, Connection, RemoteCommand};
use async_trait::async_trait;
use clonepanel_core::transport::TransportError;
use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, process::Stdio};
use tokio::process::Command;

/// Starts programs on this machine: for directories that are mounted here, and for tests.
#[derive(Debug, Clone, Default)]
pub struct LocalConnect {
    directory: Option<PathBuf>,
}

impl LocalConnect {
    /// Programs start in the current directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Programs start in this directory, as a login starts in its home.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }
}

#[async_trait]
impl Connect for LocalConnect {
    fn endpoint(&self) -> &str {
        "localhost"
    }

    async fn open(&self, command: &RemoteCommand) -> Result<Connection, TransportError> {
        let mut words = command.words().iter().map(|word| OsString::from_vec(word.clone()));
        let mut process = Command::new(words.next().unwrap_or_default());
        process.args(words);
        if let Some(directory) = &self.directory {
            process.current_dir(directory);
        }
        start(process, self.endpoint())
    }

    fn explain(&self, _code: Option<i32>, _text: &str) -> Option<TransportError> {
        None
    }
}

/// Starts a child process with all its pipes; dropping the connection kills it.
pub(super) fn start(mut process: Command, endpoint: &str) -> Result<Connection, TransportError> {
    process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let failed = |detail: String| TransportError::Unsupported { endpoint: endpoint.to_owned(), detail };
    let mut child = process.spawn().map_err(|error| {
        let program = process.as_std().get_program().to_string_lossy();
        failed(format!("{} cannot be started: {error}", clonepanel_core::escape::Escaped(program.as_bytes())))
    })?;
    let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(failed("it has no pipes".to_owned()));
    };
    let exit = Box::pin(async move { child.wait().await.map(|status| status.code()) });
    Ok(Connection { input: Box::new(input), output: Box::new(output), errors: Box::new(errors), exit })
}
