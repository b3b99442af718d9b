//! What the end of a session means: the far end's exit code, its words, and the way it broke off.

use super::{Broken, FAREWELL, Pull, pace::Dripping};
use crate::{
    connect::Connection,
    error::ProtocolError,
    messages::{self, Severity},
};
use clonepanel_core::{
    escape::Escaped,
    path::RelPath,
    problem::{Problem, ProblemKind},
    transport::{TransferReport, TransportError},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Exit codes of rsync with which all that could be sent was sent.
const PARTIAL: i32 = 23;
const VANISHED: i32 = 24;
const DELETE_LIMIT: i32 = 25;
/// Exit codes of a shell.
const NOT_RUNNABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
/// What ssh says of itself.
const SSH_FAILED: i32 = 255;
/// The code with which we give up on a peer that breaks the protocol.
const PROTOCOL_ERROR: i32 = 2;

impl Pull<'_> {
    /// The session was complete: makes sense of the exit code and of what was said.
    pub(super) fn judge(mut self, code: Option<i32>) -> Result<TransferReport, TransportError> {
        if !matches!(code, Some(0 | PARTIAL | VANISHED | DELETE_LIMIT) | None) {
            return Err(self.remote(code));
        }
        let unsent = std::mem::take(&mut self.unsent);
        let mut problems = messages::problems(&[&self.stderr, &self.frames], &unsent, &self.receiver.dirs());
        // Without an exit code its last words may be missing too.
        let is_partial = matches!(code, Some(PARTIAL) | None) || self.receiver.io_error() & 1 != 0;
        // What we refused ourselves is no error of the far end's.
        let by_us = self.report.problems.listed();
        let mut known = problems.iter().chain(by_us).map(|problem| problem.kind);
        let is_explained = known.any(|kind| kind.is_loss() && kind != ProblemKind::Refused);
        if is_partial && !is_explained {
            // An error is never taken for an absence: without a name for it, whatever is missing may be what it is about.
            let detail = "the far end reported an error that it did not name";
            problems.push(Problem::new(RelPath::root(), ProblemKind::Unlisted, detail));
        }
        for problem in problems {
            self.problem(problem);
        }
        if self.report.entries == 0 {
            // Not even the root was listed.
            let said = self.stderr.reason().or_else(|| self.frames.reason());
            if let Some(said) = said.filter(|said| !said.contains("No such file or directory")) {
                return Err(TransportError::Remote { endpoint: self.connect.endpoint().to_owned(), detail: said });
            }
            let path = if self.root.is_empty() { "home".to_owned() } else { Escaped(self.root).to_string() };
            return Err(TransportError::NotFound { endpoint: self.connect.endpoint().to_owned(), path });
        }
        Ok(self.report)
    }

    /// The session broke off: finds out why.
    pub(super) async fn explain(&mut self, broken: Broken, connection: Connection) -> TransportError {
        let Connection { mut input, output, mut errors, exit } = connection;
        if let Broken::Transport(error) = broken {
            return error;
        }
        if matches!(broken, Broken::Protocol(_)) {
            self.receiver.give_up(PROTOCOL_ERROR);
        }
        let last_words = self.receiver.transmit();
        // The peer gets a moment to say why; dropping the connection ends it for good.
        let hang_up = async {
            let _ = input.write_all(&last_words).await;
            drop((input, output));
            let mut text = [0; 4096];
            while let Ok(len @ 1..) = errors.read(&mut text).await {
                self.stderr.feed(&text[..len]);
            }
            exit.await.ok()
        };
        let patience = if matches!(broken, Broken::Closed) { FAREWELL } else { FAREWELL / 5 };
        let exit = tokio::time::timeout(patience, hang_up).await.ok().flatten();
        self.stderr.end_line(Severity::Other);
        self.frames.end_line(Severity::Other);
        let code = exit.flatten();
        let endpoint = self.connect.endpoint().to_owned();
        // Once the far end was heard, it is not the login that failed, whatever it says.
        let is_heard = self.preamble.has_spoken() || !self.greeting.is_empty();
        if !is_heard && let Some(error) = self.connect.explain(code, &self.stderr.text()) {
            return error;
        }
        if matches!(code, Some(NOT_FOUND | NOT_RUNNABLE)) {
            let program = Escaped(&self.options.rsync_program).to_string();
            let detail = format!("{program} does not run there: install it, or say where it is");
            return TransportError::Unsupported { endpoint, detail };
        }
        match broken {
            Broken::Closed if matches!(code, Some(1..)) && code != Some(SSH_FAILED) => self.remote(code),
            Broken::Closed if !self.preamble.is_done() => {
                let detail = "the login ran nothing of what it was asked to".to_owned();
                TransportError::Unsupported { endpoint, detail }
            }
            Broken::Closed => TransportError::Interrupted { endpoint, detail: "it hung up in the middle".to_owned() },
            Broken::Dripping(Dripping { bytes, time }) => {
                let detail = format!("only {bytes} bytes came in {} s", time.as_secs());
                TransportError::Interrupted { endpoint, detail }
            }
            Broken::Silent => {
                let secs = self.options.progress_timeout.as_secs();
                TransportError::Interrupted { endpoint, detail: format!("nothing came for {secs} s") }
            }
            Broken::Protocol(ProtocolError::Remote(code)) => self.remote(Some(code)),
            Broken::Protocol(error @ ProtocolError::Unsupported(_)) => {
                TransportError::Unsupported { endpoint, detail: error.to_string() }
            }
            Broken::Protocol(error) if self.receiver.agreed().is_none() => {
                let greeting = Escaped(self.greeting.trim_ascii());
                let detail = format!("{error}; it began with \"{greeting}\": keep login scripts from printing");
                TransportError::Protocol { endpoint, detail, source: Some(error.into()) }
            }
            Broken::Protocol(error) => {
                TransportError::Protocol { endpoint, detail: error.to_string(), source: Some(error.into()) }
            }
            Broken::Transport(error) => error,
        }
    }

    fn remote(&self, code: Option<i32>) -> TransportError {
        let endpoint = self.connect.endpoint().to_owned();
        let said = self.stderr.reason().or_else(|| self.frames.reason());
        let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
        let detail = match said {
            Some(said) => format!("{said} ({code})"),
            None => code,
        };
        TransportError::Remote { endpoint, detail }
    }
}
