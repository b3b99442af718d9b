//! How a session ends: the far end's exit code, its words, and the way it broke off.

use crate::{
    connect::{Connect, Connection},
    error::ProtocolError,
    messages::Messages,
    options::RsyncOptions,
    pace::Dripping,
    preamble::Preamble,
};
use bytes::BytesMut;
use clonepanel_core::{escape::Escaped, transport::TransportError, tree::TreeError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The exit code of rsync when something could not be transferred.
pub(crate) const PARTIAL: i32 = 23;
/// Exit codes with which all that could be sent was sent: nothing failed, something did, something vanished, and the limit of
/// deletions was reached. After a signal there is none.
pub(crate) const CODES_OF_A_COMPLETE_SESSION: [Option<i32>; 5] = [Some(0), Some(PARTIAL), Some(24), Some(25), None];
/// The code with which we give up on a peer that breaks the protocol.
pub(crate) const PROTOCOL_ERROR: i32 = 2;
/// Exit codes of a shell.
const NOT_RUNNABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
/// What ssh says of itself.
const SSH_FAILED: i32 = 255;

/// How long a far end may take to go away once everything is said.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long its pipes are read after it went away.
const GRACE: Duration = Duration::from_secs(1);
/// What it may still say after the end.
const MAX_REST: usize = 1 << 20;

/// Why the loop ended early.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The peer hung up.
    Closed,
    /// Next to nothing came for too long.
    Dripping(Dripping),
    /// The peer broke the protocol or gave up.
    Protocol(ProtocolError),
    /// Nothing came for so long.
    Silent(Duration),
    /// Something that is an error of its own.
    Transport(TransportError),
}

impl From<ProtocolError> for Broken {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<TreeError> for Broken {
    fn from(error: TreeError) -> Self {
        Self::Transport(TransportError::Sink(error))
    }
}

/// Everything is said: waits for the far end to go away. Gives its exit code and what it still said.
pub(crate) async fn farewell(
    connection: Connection,
    last_words: &[u8],
    stderr: &mut Messages,
) -> (Option<i32>, BytesMut) {
    let Connection { mut input, mut output, mut errors, mut exit } = connection;
    let (mut code, mut rest) = (None, BytesMut::new());
    let farewell = async {
        let _ = input.write_all(last_words).await;
        let _ = input.flush().await;
        drop(input);
        let mut text = [0; 4096];
        let (mut is_open, mut errors_are_open, mut is_running) = (true, true, true);
        while is_open || errors_are_open || is_running {
            tokio::select! {
                read = output.read_buf(&mut rest), if is_open => {
                    is_open = matches!(read, Ok(1..)) && rest.len() < MAX_REST;
                }
                read = errors.read(&mut text), if errors_are_open => {
                    let len = read.unwrap_or(0);
                    errors_are_open = len > 0;
                    stderr.feed(&text[..len]);
                }
                ended = &mut exit, if is_running => {
                    is_running = false;
                    code = ended.ok().flatten();
                }
                // A connection that others share may keep the pipes open for ever.
                () = tokio::time::sleep(GRACE), if !is_running => break,
            }
        }
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
    (code, rest)
}

/// Ends a session that broke off: the peer gets a moment to say why. Gives its exit code.
pub(crate) async fn hang_up(
    connection: Connection,
    last_words: &[u8],
    stderr: &mut Messages,
    broken: &Broken,
) -> Option<i32> {
    let Connection { mut input, output, mut errors, exit } = connection;
    let hang_up = async {
        let _ = input.write_all(last_words).await;
        drop((input, output));
        let mut text = [0; 4096];
        while let Ok(len @ 1..) = errors.read(&mut text).await {
            stderr.feed(&text[..len]);
        }
        exit.await.ok()
    };
    let patience = if matches!(broken, Broken::Closed) { FAREWELL } else { FAREWELL / 5 };
    // Dropping the connection ends the far end for good.
    tokio::time::timeout(patience, hang_up).await.ok().flatten().flatten()
}

/// What is known of a far end that is gone.
pub(crate) struct Ending<'a> {
    pub(crate) connect: &'a dyn Connect,
    pub(crate) options: &'a RsyncOptions,
    /// On its standard error, and in message frames.
    pub(crate) said: [&'a Messages; 2],
    pub(crate) code: Option<i32>,
    pub(crate) preamble: &'a Preamble,
    pub(crate) has_agreed: bool,
    /// The first bytes of the stream.
    pub(crate) greeting: &'a [u8],
}

impl Ending<'_> {
    /// Why the session broke off.
    pub(crate) fn explain(&self, broken: Broken) -> TransportError {
        let endpoint = self.connect.endpoint().to_owned();
        // Once the far end was heard, it is not the login that failed, whatever it says.
        let is_heard = self.preamble.has_spoken() || !self.greeting.is_empty();
        if !is_heard && let Some(error) = self.connect.explain(self.code, &self.said[0].text()) {
            return error;
        }
        if matches!(self.code, Some(NOT_FOUND | NOT_RUNNABLE)) {
            let program = Escaped(&self.options.rsync_program).to_string();
            let detail = format!("{program} does not run there: install it, or say where it is");
            return TransportError::Unsupported { endpoint, detail };
        }
        match broken {
            Broken::Closed if matches!(self.code, Some(1..)) && self.code != Some(SSH_FAILED) => self.remote(),
            Broken::Closed if !self.preamble.is_done() => {
                let detail = "the login ran nothing of what it was asked to".to_owned();
                TransportError::Unsupported { endpoint, detail }
            }
            Broken::Closed => TransportError::Interrupted { endpoint, detail: "it hung up in the middle".to_owned() },
            Broken::Dripping(Dripping { bytes, time }) => {
                let detail = format!("only {bytes} bytes came in {} s", time.as_secs());
                TransportError::Interrupted { endpoint, detail }
            }
            Broken::Silent(time) => {
                let detail = format!("nothing came for {} s", time.as_secs());
                TransportError::Interrupted { endpoint, detail }
            }
            Broken::Protocol(ProtocolError::Remote(code)) => Self { code: Some(code), ..*self }.remote(),
            Broken::Protocol(error @ ProtocolError::Unsupported(_)) => {
                TransportError::Unsupported { endpoint, detail: error.to_string() }
            }
            Broken::Protocol(error) if !self.has_agreed => {
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

    /// It gave up by itself.
    pub(crate) fn remote(&self) -> TransportError {
        let endpoint = self.connect.endpoint().to_owned();
        let code = self.code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
        let detail = match self.said.iter().find_map(|said| said.reason()) {
            Some(said) => format!("{said} ({code})"),
            None => code,
        };
        TransportError::Remote { endpoint, detail }
    }
}
