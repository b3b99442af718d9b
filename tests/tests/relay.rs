//! A relay to a server beside the far end, in each of the languages that it may find there.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use async_trait::async_trait;
use clonepanel_core::transport::TransportError;
use clonepanel_rsync::{Connect, Connection, LocalConnect, Relay, RemoteCommand};
use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UnixListener, UnixStream},
    time::timeout,
};

/// Only to stop a hang.
const PATIENCE: Duration = Duration::from_secs(60);

const LANGUAGES: [&str; 3] = ["perl", "python3", "php"];

/// A far end that has the shell and one program beside it, and prints something at each login.
#[derive(Debug)]
struct Lacking {
    programs: TempDir,
}

impl Lacking {
    fn with(programs: &[&str]) -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        for program in programs {
            let place = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(program)).into_iter();
            let place = place.clone().find(|place| place.exists());
            symlink(
                place.unwrap_or_else(|| panic!("{program} is missing: tests/run installs it")),
                folder.path().join(program),
            )
            .unwrap();
        }
        Arc::new(Self { programs: folder })
    }
}

#[async_trait]
impl Connect for Lacking {
    fn endpoint(&self) -> &str {
        "lacking"
    }

    async fn open(&self, command: &RemoteCommand) -> Result<Connection, TransportError> {
        let path = format!("PATH={}", self.programs.path().display());
        // As a login does it: the words go through a shell.
        let line = [b"echo Welcome!; exec ", &command.shell_line()[..]].concat();
        let words = [b"/usr/bin/env".to_vec(), path.into_bytes(), b"/bin/sh".to_vec(), b"-c".to_vec(), line];
        LocalConnect::new().open(&RemoteCommand::new(words.to_vec())).await
    }

    fn explain(&self, _code: Option<i32>, _text: &str) -> Option<TransportError> {
        None
    }
}

/// Greets, gives back each byte changed and, once the client has no more, says goodbye.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    stream.write_all(b"hello\n").await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let mut piece = vec![0; 70_000];
    while let Ok(len @ 1..) = read.read(&mut piece).await {
        piece[..len].iter_mut().for_each(|byte| *byte ^= 0x55);
        if write.write_all(&piece[..len]).await.is_err() {
            return;
        }
    }
    let _ = write.write_all(b"goodbye").await;
    let _ = write.shutdown().await;
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("socket")
}

async fn all(stream: &mut UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("it ends").unwrap();
    all
}

/// Several conversations at once.
async fn converse(relay: &Relay) {
    let conversation = |seed: u8| {
        let path = relay.socket().to_owned();
        async move {
            let mut stream = UnixStream::connect(path).await.unwrap();
            let mut greeting = [0; 6];
            timeout(PATIENCE, stream.read_exact(&mut greeting)).await.expect("a greeting").unwrap();
            assert_eq!(&greeting, b"hello\n");
            // Every byte, and more than any buffer on the way.
            let sent: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8 ^ seed).collect();
            let (mut read, mut write) = stream.split();
            let mut got = Vec::new();
            let (written, _) = tokio::join!(
                async {
                    write.write_all(&sent).await.unwrap();
                    write.shutdown().await
                },
                async { timeout(PATIENCE, read.read_to_end(&mut got)).await.expect("it ends").unwrap() },
            );
            written.unwrap();
            let goodbye = got.split_off(sent.len());
            assert_eq!(goodbye, b"goodbye");
            assert!(got.iter().zip(&sent).all(|(got, sent)| got ^ 0x55 == *sent));
        }
    };
    tokio::join!(conversation(0), conversation(7), conversation(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_language_passes_on_both_directions() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let unix = UnixListener::bind(folder.path().join("it's \"a\" $ \\ socket!")).unwrap();
    let unix_to = folder.path().join("it's \"a\" $ \\ socket!");
    let six = TcpListener::bind("[::1]:0").await.ok();
    let six_to = six.as_ref().map(|six| six.local_addr().unwrap().to_string());
    let servers = [
        tokio::spawn(async move {
            while let Some(six) = &six {
                tokio::spawn(serve(six.accept().await.unwrap().0));
            }
        }),
        tokio::spawn(async move {
            loop {
                tokio::spawn(serve(listener.accept().await.unwrap().0));
            }
        }),
        tokio::spawn(async move {
            loop {
                tokio::spawn(serve(unix.accept().await.unwrap().0));
            }
        }),
    ];
    for language in LANGUAGES {
        for to in [Some(&*to), unix_to.to_str(), six_to.as_deref()].into_iter().flatten() {
            let here = tempfile::tempdir().unwrap();
            let relay = Relay::open(Lacking::with(&["sh", language]), socket(&here), to).unwrap();
            converse(&relay).await;
            assert_eq!(relay.last_words(), None, "{language}");
        }
    }
    servers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_first_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"no\n").await;
        }
    });
    for language in LANGUAGES {
        let here = tempfile::tempdir().unwrap();
        let relay = Relay::open(Lacking::with(&["sh", language]), socket(&here), &to).unwrap();
        let mut stream = UnixStream::connect(relay.socket()).await.unwrap();
        assert_eq!(all(&mut stream).await, b"no\n", "{language}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_reached_has_a_reason() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    for (programs, to, why) in [
        (vec!["sh", "perl"], &*free, "refused"),
        (vec!["sh", "python3"], &free, "refused"),
        (vec!["sh", "php"], &free, "refused"),
        (vec!["sh", "perl"], "/nonexistent", "No such file"),
        (vec!["sh", "python3"], "/nonexistent", "No such file"),
        (vec!["sh", "php"], "/nonexistent", "No such file"),
        (vec!["sh"], &free, "no perl, python3 or php"),
    ] {
        let here = tempfile::tempdir().unwrap();
        let relay = Relay::open(Lacking::with(&programs), socket(&here), to).unwrap();
        let mut stream = UnixStream::connect(relay.socket()).await.unwrap();
        assert_eq!(all(&mut stream).await, b"");
        let told = timeout(PATIENCE, async {
            loop {
                match relay.last_words() {
                    Some(words) => break words,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        let told = told.await.expect("a reason");
        assert!(told.contains(why), "{programs:?} {to}: {told}");
    }
    let here = tempfile::tempdir().unwrap();
    for to in ["", "host", "host:", ":1", "host:port", "host:99999", "/a\nb", "a\0:1"] {
        let refused = Relay::open(Arc::new(LocalConnect::new()), socket(&here), to);
        assert!(matches!(refused, Err(TransportError::Unsupported { .. })), "{to:?}");
    }
}

/// Nothing of a connection outlives the relay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap().to_string();
    for language in LANGUAGES {
        let here = tempfile::tempdir().unwrap();
        let relay = Relay::open(Lacking::with(&["sh", language]), socket(&here), &to).unwrap();
        let mut here = UnixStream::connect(relay.socket()).await.unwrap();
        let (mut there, _) = timeout(PATIENCE, listener.accept()).await.expect("a connection").unwrap();
        drop(relay);
        let mut end = Vec::new();
        assert!(timeout(PATIENCE, there.read_to_end(&mut end)).await.is_ok(), "{language}: the server still waits");
        assert_eq!(all(&mut here).await, b"");
    }
}
