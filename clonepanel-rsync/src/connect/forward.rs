//! [`Forward`]: a local socket that leads to a server which only the far end can reach.

use super::{Connect as _, SshConnect, words::Words};
use clonepanel_core::{escape::Escaped, transport::TransportError};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// How long a login may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(20);
/// How long after a connection was closed ssh has said why.
const WORDS_LATER: Duration = Duration::from_millis(200);

/// What OpenSSH, and others, say to a connection that they will not pass on: to ports, to sockets, and when they know no sockets.
const REFUSALS: [&str; 3] = ["administratively prohibited", "connect failed: open failed", "unknown channel type"];

/// A local socket that leads through a login to a server beside it, for as long as this is held. Dropping it ends the login.
#[derive(Debug)]
pub struct Forward {
    _login: Child,
    socket: PathBuf,
    words: Words,
    _listening: JoinSet<()>,
}

impl Forward {
    /// The local socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether the far end has refused to pass on a connection that was just lost: forwards are forbidden there, or unknown. A
    /// [`Relay`](super::Relay) can stand in then. For the path of a socket, nobody listening there looks the same.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn is_refused(&self) -> bool {
        let begun = Instant::now();
        loop {
            let text = self.words.text();
            if REFUSALS.iter().any(|refusal| text.contains(refusal)) {
                return true;
            }
            if begun.elapsed() > WORDS_LATER {
                return false;
            }
            sleep(GLANCE).await;
        }
    }

    /// What ssh said last: one line, escaped. When a connection is lost, it has the reason.
    #[must_use]
    pub fn last_words(&self) -> Option<String> {
        self.words.last()
    }
}

impl SshConnect {
    /// Makes a Unix socket at `socket`, in a folder that others cannot enter, that leads to `to`: what listens there as seen from the
    /// far end, `127.0.0.1:3306` or the path of a socket.
    ///
    /// # Errors
    /// [`TransportError`] as for any login, and [`TransportError::Unsupported`] when the two places cannot be told to ssh. Whether
    /// anything listens at the far end shows up when the socket is used.
    ///
    /// # Cancel safety
    /// Harmless to drop: the login ends.
    pub async fn forward(&self, socket: impl Into<PathBuf>, to: &str) -> Result<Forward, TransportError> {
        let socket = socket.into();
        let endpoint = || self.endpoint().to_owned();
        let is_good =
            |text: &str| !text.is_empty() && !text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '%');
        let local = socket.to_str().filter(|text| is_good(text) && !text.contains(':'));
        let Some(local) = local.filter(|_| is_good(to) && !to.starts_with('-')) else {
            let detail = format!("ssh cannot be told to forward to {}", Escaped(to.as_bytes()));
            return Err(TransportError::Unsupported { endpoint: endpoint(), detail });
        };
        // The first value of an option counts.
        let mut arguments: Vec<OsString> = vec!["-N".into(), "-L".into(), format!("{local}:{to}").into()];
        for option in [
            "ExitOnForwardFailure=yes",
            "StreamLocalBindMask=0177",
            "ControlPath=none",
            "ServerAliveInterval=15",
            // Why a connection is not passed on is said at this level.
            "LogLevel=INFO",
        ] {
            arguments.push(format!("-o{option}").into());
        }
        let others = self.arguments()?;
        arguments.extend(others.into_iter().filter(|argument| argument != "-oClearAllForwardings=yes"));
        let mut process = Command::new(self.program_path());
        process.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut login = process.spawn().map_err(|error| TransportError::Unsupported {
            endpoint: endpoint(),
            detail: format!("ssh cannot be started: {error}"),
        })?;
        let words = Words::default();
        let mut listening = JoinSet::new();
        if let Some(errors) = login.stderr.take() {
            listening.spawn(words.clone().listen(errors));
        }
        let begun = Instant::now();
        loop {
            if is_listened_at(&socket) {
                return Ok(Forward { _login: login, socket, words, _listening: listening });
            }
            let ended = login
                .try_wait()
                .map_err(|error| TransportError::Interrupted { endpoint: endpoint(), detail: error.to_string() })?;
            if let Some(status) = ended {
                // Ends with the login, unless that has left somebody behind.
                let _ = timeout(WORDS_LATER, listening.join_next()).await;
                let unknown =
                    || TransportError::Interrupted { endpoint: endpoint(), detail: "ssh ended at once".to_owned() };
                return Err(self.explain(status.code(), &words.text()).unwrap_or_else(unknown));
            }
            if begun.elapsed() > PATIENCE {
                let detail = format!("the login took longer than {} s", PATIENCE.as_secs());
                return Err(TransportError::Unreachable { endpoint: endpoint(), detail });
            }
            sleep(GLANCE).await;
        }
    }
}

/// Where the sockets of this machine are listed.
const SOCKETS: &str = "/proc/net/unix";
/// In the fourth column there: somebody listens.
const LISTENING: u64 = 0x1_0000;

/// Whether connections to a socket are taken. It is there a moment before that, and trying one would be noticed by the server that
/// it leads to. Where the system has no list, being there is all that can be known.
fn is_listened_at(socket: &Path) -> bool {
    let Ok(sockets) = std::fs::read(SOCKETS) else { return socket.exists() };
    let line = sockets.split(|&b| b == b'\n').find(|line| {
        let path = line.strip_suffix(socket.as_os_str().as_encoded_bytes());
        path.is_some_and(|before| before.ends_with(b" "))
    });
    let flags = line.and_then(|line| std::str::from_utf8(line.split(|&b| b == b' ').nth(3)?).ok());
    flags.and_then(|flags| u64::from_str_radix(flags, 16).ok()).is_some_and(|flags| flags & LISTENING != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_ready_once_somebody_listens() {
        use std::os::unix::net::{UnixDatagram, UnixListener};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert!(!is_listened_at(&path));
        let _listener = UnixListener::bind(&path).unwrap();
        assert!(is_listened_at(&path));
        // One that is there and takes no connections.
        let other = folder.path().join("other");
        let _bound = UnixDatagram::bind(&other).unwrap();
        assert!(other.exists() && !is_listened_at(&other));
    }

    #[tokio::test]
    async fn places_that_mean_something_else_are_refused() {
        let ssh = SshConnect::new("host").program("false");
        for (socket, to) in [
            ("/a:b", "x:1"),
            ("/a%h", "x:1"),
            ("/a", "x y:1"),
            ("/a", ""),
            ("/a", "%h:1"),
            ("/a\n", "x:1"),
            ("/a", "-x"),
        ] {
            let refused = ssh.forward(socket, to).await;
            assert!(matches!(refused, Err(TransportError::Unsupported { .. })), "{socket} {to}");
        }
        let ended = ssh.forward("/nonexistent/socket", "127.0.0.1:1").await;
        assert!(matches!(ended, Err(TransportError::Interrupted { .. })), "{ended:?}");
    }
}
