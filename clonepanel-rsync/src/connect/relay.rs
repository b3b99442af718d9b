//! [`Relay`]: a local socket that leads to a server which only the far end can reach, where that forbids forwards.

use super::{Connect, Connection, RemoteCommand, words::Words};
use clonepanel_core::{escape::Escaped, transport::TransportError};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::sleep,
};

/// What the far end says once it has reached the server, behind whatever the login shell prints.
const READY: &str = "clonepanel relay ready";
/// How much a login shell may print before.
const MAX_NOISE: usize = 64 << 10;
/// Until a connection is taken again when none could be.
const PAUSE: Duration = Duration::from_millis(100);

/// Becomes the first of the languages that is there.
const SH: &str = include_str!("relay/relay.sh");
const PERL: &str = include_str!("relay/relay.pl");
const PYTHON: &str = include_str!("relay/relay.py");
const PHP: &str = include_str!("relay/relay.php");

/// A local socket that leads to a server beside the far end, for as long as this is held. Dropping it ends all connections.
///
/// Each connection is a program of its own, as [`Connect`] starts it, that passes on what it gets: some lines of Perl, Python or PHP,
/// whichever the far end has. This is for logins that forbid forwards; a [`Forward`](super::Forward) makes one login do for all connections.
#[derive(Debug)]
pub struct Relay {
    socket: PathBuf,
    words: Words,
    _listening: JoinSet<()>,
}

impl Relay {
    /// Makes a Unix socket at `socket`, in a folder that others cannot enter, that leads to `to`: what listens there as seen from the
    /// far end, `127.0.0.1:3306` or the path of a socket. Needs a runtime of tokio that lasts as long.
    ///
    /// # Errors
    /// [`TransportError::Unsupported`] when the socket cannot be made or `to` is no such place. Whether anything listens at the far
    /// end shows up when the socket is used.
    pub fn open(connect: Arc<dyn Connect>, socket: impl Into<PathBuf>, to: &str) -> Result<Self, TransportError> {
        let socket = socket.into();
        let unsupported = |detail| TransportError::Unsupported { endpoint: connect.endpoint().to_owned(), detail };
        let place = match to.rsplit_once(':') {
            _ if to.contains(char::is_control) => None,
            _ if to.starts_with('/') => Some((to, "")),
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Some((host, port)),
            _ => None,
        };
        let (host, port) =
            place.ok_or_else(|| unsupported(format!("there is no way to {}", Escaped(to.as_bytes()))))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // In one line each: csh knows no line ends in quotes. To Python they mean something.
        let one_line = |text: &str, end: &str| text.trim_end().replace('\n', end);
        let words = [
            "sh",
            "-c",
            &one_line(SH, " "),
            "sh",
            READY,
            host,
            port,
            &one_line(PERL, " "),
            &one_line(PYTHON, "\t"),
            &one_line(PHP, " "),
        ];
        let command = RemoteCommand::new(words.map(|word| word.as_bytes().to_vec()).to_vec());
        let listener = UnixListener::bind(&socket)
            .map_err(|error| unsupported(format!("the socket {} cannot be made: {error}", socket.display())))?;
        let words = Words::default();
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, connect, command, words.clone()));
        Ok(Self { socket, words, _listening: listening })
    }

    /// The local socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What the far end said last that was no answer of the server: one line, escaped.
    #[must_use]
    pub fn last_words(&self) -> Option<String> {
        self.words.last()
    }
}

async fn listen(listener: UnixListener, connect: Arc<dyn Connect>, command: RemoteCommand, words: Words) {
    // Dropped with this, it ends what it holds.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptor is left: those that are there go on.
            sleep(PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let (connect, command, words) = (Arc::clone(&connect), command.clone(), words.clone());
        connections.spawn(async move {
            match connect.open(&command).await {
                Ok(far) => pass(stream, far, &*connect, &words).await,
                Err(error) => words.add(&error.to_string()),
            }
        });
    }
}

/// Passes on both directions until both have ended.
async fn pass(stream: UnixStream, far: Connection, connect: &dyn Connect, words: &Words) {
    let Connection { mut input, mut output, errors, exit } = far;
    let (mut from_here, mut to_here) = stream.into_split();
    // Who closes a connection tells that by the end of what they read; an error of one direction ends it as well.
    let there = async move {
        let _ = copy(&mut from_here, &mut input).await;
        drop(input);
    };
    let here = async move {
        let is_ready = skip_to_ready(&mut output).await;
        if is_ready {
            let _ = copy(&mut output, &mut to_here).await;
        }
        let _ = to_here.shutdown().await;
        is_ready
    };
    let ((), is_ready, ()) = tokio::join!(there, here, words.clone().listen(errors));
    let code = exit.await.ok().flatten();
    if !is_ready && let Some(error) = connect.explain(code, &words.text()) {
        words.add(&error.to_string());
    }
}

/// Reads until the far end is ready; whether it is.
async fn skip_to_ready(output: &mut (impl AsyncRead + Unpin)) -> bool {
    let ready = [READY.as_bytes(), b"\n"].concat();
    let mut seen = Vec::new();
    while !seen.ends_with(&ready) {
        // Byte by byte: what follows is for somebody else.
        match output.read_u8().await {
            Ok(byte) if seen.len() < MAX_NOISE => seen.push(byte),
            _ => return false,
        }
    }
    true
}
