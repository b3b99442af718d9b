//! Peers of the agent protocol that say what no honest one would: far ends in a pipe, and near ends of the built tool.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use async_trait::async_trait;
use clonepanel_core::{
    digest::ContentHash,
    memory::MemoryTree,
    path::RelPath,
    problem::ProblemKind,
    testkit::block_on,
    transport::{PullRequest, PushRequest, TransferReport, Transport, TransportError},
};
use clonepanel_rsync::{
    Connect, Connection, RemoteCommand,
    agent::{AgentOptions, AgentTransport},
};
use clonepanel_tests::{AgentWords, Tool};
use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tokio::io::AsyncWriteExt;

/// A far end that says the same whatever it hears, over and over if it is told to.
#[derive(Debug, Clone)]
struct Parrot {
    words: Vec<u8>,
    again: Vec<u8>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    HangUp,
    StayOn,
}

#[async_trait]
impl Connect for Parrot {
    fn endpoint(&self) -> &str {
        "parrot"
    }

    async fn open(&self, _: &RemoteCommand) -> Result<Connection, TransportError> {
        let (near, far) = tokio::io::duplex(64 << 10);
        let (output, input) = tokio::io::split(near);
        let Self { words, again, end } = self.clone();
        tokio::spawn(async move {
            let (mut heard, mut said) = tokio::io::split(far);
            let talk = async {
                said.write_all(&words).await?;
                while !again.is_empty() {
                    said.write_all(&again).await?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                if end == End::StayOn {
                    std::future::pending::<()>().await;
                }
                said.shutdown().await
            };
            let (mut sink, mut nothing) = (tokio::io::sink(), Ok(0));
            tokio::select! {
                _ = talk => {}
                heard = tokio::io::copy(&mut heard, &mut sink) => nothing = heard,
            }
            drop(nothing);
        });
        Ok(Connection {
            input: Box::new(input),
            output: Box::new(output),
            errors: Box::new(tokio::io::empty()),
            exit: Box::pin(async { Ok(Some(0)) }),
        })
    }

    fn explain(&self, _: Option<i32>, _: &str) -> Option<TransportError> {
        None
    }
}

fn pull(words: Vec<u8>, again: &[u8], end: End) -> (Result<TransferReport, TransportError>, MemoryTree) {
    let here = MemoryTree::new();
    let options = AgentOptions::new().progress_timeout(Duration::from_millis(100));
    let parrot = Parrot { words, again: again.to_vec(), end };
    let transport = AgentTransport::new(parrot, "").options(options);
    let started = Instant::now();
    let result = block_on(transport.pull(&PullRequest::new(), &here, &()));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    if let Err(error) = &result {
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
    (result, here)
}

fn begun() -> AgentWords {
    AgentWords::new().hello().ready()
}

fn path(text: &str) -> RelPath {
    RelPath::try_from(text).unwrap()
}

/// What breaks the protocol is called so, and nothing of it is kept.
#[test]
fn far_ends_that_break_the_protocol() {
    let file: &[(&[u8], u8)] = &[(b"file", b'f')];
    let wrong = [7; 32];
    let cases = [
        ("garbage after the magic", AgentWords::new().frame(1, b"\xff\xff\xff")),
        ("no hello", AgentWords::new().ready()),
        ("a request from the far end", AgentWords::new().hello().pull(b"/")),
        ("a kind that is not known", begun().frame(99, b"")),
        ("a frame for the other role", begun().ask(1, b"file")),
        ("a path that leads up", begun().list(&[(b"../escaped", b'f')])),
        ("an absolute path", begun().list(&[(b"/tmp/escaped", b'f')])),
        ("an answer that nobody asked for", begun().list(file).window(9, b"content", wrong)),
        ("a listing after its end", begun().listed().list(file)),
        ("the end before the end", begun().list(file).frame(22, b"")),
        ("a bomb", begun().frame(16, b"\x01\x80\x80\x80\x80\x10\x28\xb5\x2f\xfd")),
        ("bytes behind a message", begun().frame(17, b"more")),
    ];
    for (what, words) in cases {
        let (result, here) = pull(words.said(), b"", End::StayOn);
        assert!(matches!(result, Err(TransportError::Protocol { .. })), "{what}: {result:?}");
        assert!(here.content(&path("file")).is_none(), "{what}");
    }
    let mut long = begun().said();
    long.extend_from_slice(&[16, 0xff, 0xff, 0xff, 0xff]);
    assert!(matches!(pull(long, b"", End::StayOn).0, Err(TransportError::Protocol { .. })));
}

/// No memory is filled by what comes before the first word, nor time by what never comes.
#[test]
fn far_ends_that_never_come_to_the_point() {
    let (result, _) = pull(Vec::new(), &[b'x'; 4096], End::StayOn);
    assert!(matches!(result, Err(TransportError::Protocol { .. })), "{result:?}");
    for (what, words, again) in [
        ("silence", Vec::new(), &b""[..]),
        ("silence after the greeting", AgentWords::new().hello().said(), b""),
        ("silence in the listing", begun().list(&[(b"dir", b'd')]).said(), b""),
        ("nothing but signs of life", begun().said(), b"\x05\0\0\0\0"),
        ("a drip", [&begun().said()[..], b"\x10\0\0\x02\0"].concat(), b"x"),
        ("a drip of whole messages", begun().said(), b"\x10\x01\0\0\0\0"),
    ] {
        let (result, _) = pull(words, again, End::StayOn);
        assert!(matches!(result, Err(TransportError::Interrupted { .. })), "{what}: {result:?}");
    }
}

#[test]
fn far_ends_that_hang_up() {
    for words in [begun(), begun().list(&[(b"dir", b'd')]), begun().list(&[(b"dir", b'd')]).listed()] {
        let (result, _) = pull(words.said(), b"", End::HangUp);
        assert!(matches!(result, Err(TransportError::Interrupted { .. })), "{result:?}");
    }
    for words in [b"".to_vec(), b"Welcome to alpha\nuse sftp please\n".to_vec()] {
        let (result, _) = pull(words, b"", End::HangUp);
        assert!(matches!(result, Err(TransportError::Unsupported { .. })), "{result:?}");
    }
    let newer = AgentWords::new().frame(1, b"\x02\x03\x00\x0aclonepanel").said();
    let (result, _) = pull(newer, b"", End::StayOn);
    let said =
        matches!(&result, Err(TransportError::Unsupported { detail, .. }) if detail.contains("update ClonePanel here"));
    assert!(said, "{result:?}");
}

/// A content that is not what its hash says is a problem, and its file is not there.
#[test]
fn wrong_content_is_not_kept() {
    let listed = || begun().list(&[(b"good", b'f'), (b"wrong", b'f')]).listed();
    let good = *ContentHash::of(b"content").as_bytes();
    let words = listed().window(0, b"content", good).window(1, b"content", [7; 32]).frame(22, b"");
    let (result, here) = pull(words.said(), b"", End::StayOn);
    let problems = result.unwrap().problems;
    assert_eq!(here.content(&path("good")).unwrap(), "content");
    assert!(here.content(&path("wrong")).is_none());
    let failed = problems.listed().iter().find(|problem| problem.path == path("wrong"));
    assert_eq!(failed.unwrap().kind, ProblemKind::Failed);
}

/// What stands below a link is refused; a push to a hostile end reads nothing that was not listed.
#[test]
fn links_and_unlisted_paths() {
    let words = begun().list(&[(b"link", b'l'), (b"link/escaped", b'f')]).listed().frame(22, b"").said();
    let (result, here) = pull(words, b"", End::StayOn);
    let problems = result.unwrap().problems;
    assert_eq!(problems.listed()[0].kind, ProblemKind::Refused, "{problems:?}");
    assert_eq!(here.list().len(), 2, "{here:?}");

    // The other way round: it asks for an excluded file.
    let source = MemoryTree::new();
    source.put_file(path("secret"), "do not send this", clonepanel_core::time::Timestamp::default()).unwrap();
    let words = begun().ask(0, b"secret").ask(1, b"../secret");
    let parrot = Parrot { words: words.said(), again: Vec::new(), end: End::StayOn };
    let filter = clonepanel_core::filter::Filter::parse(["secret"]).unwrap();
    let transport = AgentTransport::new(parrot, "");
    let pushed = block_on(transport.push(&PushRequest::new().filter(filter), &source, &()));
    assert!(matches!(pushed, Err(TransportError::Protocol { .. })), "{pushed:?}");
}

/// What the tool as a serving end answers to `words`, once it ended by itself.
fn answer(arguments: &[&str], folder: &Path, words: &[u8]) -> (Option<i32>, Vec<u8>) {
    let mut child = Command::new(Tool::program())
        .arg("agent")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let words = words.to_vec();
    let said = std::thread::spawn(move || {
        // It may end before it has heard all.
        drop(input.write_all(&words));
        input
    });
    let mut heard = vec![0; 16];
    // Nothing at all may be heard by somebody at a terminal.
    let is_agent = output.read_exact(&mut heard).is_ok();
    let mut kind = 0;
    while is_agent && ![WINDOW, LOST, FAILURE].contains(&kind) {
        let mut header = [0; 5];
        if output.read_exact(&mut header).is_err() {
            break;
        }
        kind = header[0];
        let mut body = vec![0; u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize];
        output.read_exact(&mut body).unwrap();
        heard.extend_from_slice(&header);
        heard.extend_from_slice(&body);
    }
    // Only now the pipe is closed: nobody can say that the question came too late.
    drop(said.join().unwrap());
    output.read_to_end(&mut heard).unwrap();
    (child.wait().unwrap().code(), heard)
}

const FAILURE: u8 = 4;
const WINDOW: u8 = 18;
const LOST: u8 = 21;

/// The kinds of the frames that were heard.
fn kinds(heard: &[u8]) -> Vec<u8> {
    let mut rest = heard.strip_prefix(b"\0ClonePanelAgent").expect("the greeting");
    let mut kinds = Vec::new();
    while let Some((head, more)) = rest.split_first_chunk::<5>() {
        let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        kinds.push(head[0]);
        rest = more.get(len..).expect("whole frames");
    }
    assert!(rest.is_empty(), "half a frame");
    kinds
}

fn contains(heard: &[u8], text: &[u8]) -> bool {
    heard.windows(text.len()).any(|window| window == text)
}

/// Near ends that try to get out of what they may write.
#[test]
fn near_ends_that_write_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (home, outside) = (folder.path().join("home"), folder.path().join("outside"));
    fs::create_dir_all(home.join("site")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    symlink(&outside, home.join("site/there")).unwrap();
    let content = *ContentHash::of(b"content").as_bytes();
    let push = |entries| AgentWords::new().hello().push(b"site").list(entries).listed();
    for (what, words) in [
        ("up", push(&[(b"../../outside/escaped", b'f')])),
        ("through a link that is there", push(&[(b"there/escaped", b'f')])),
        ("through a link of its own", push(&[(b"link", b'l'), (b"link/escaped", b'f')])),
        ("through a link that it calls a directory", push(&[(b"there", b'd'), (b"there/escaped", b'f')])),
    ] {
        let words = words.window(0, b"content", content).frame(22, b"");
        let (_, heard) = answer(&[], &home, &words.said());
        // It is what the words are about that is refused, not the words.
        assert!(!contains(&heard, b"malformed message"), "{what}: {}", heard.escape_ascii());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{what}");
        assert!(!Path::new("/tmp/escaped").exists(), "{what}");
    }
    // What is left of the last one: a directory took the place of the link, as the near end wanted.
    assert!(home.join("site/there").symlink_metadata().unwrap().is_dir());
    for root in [&b"elsewhere"[..], b"site/../elsewhere", b"/"] {
        let words = AgentWords::new().hello().push(root).list(&[(b"file", b'f')]).listed();
        let (code, heard) = answer(&["--root", "site"], &home, &words.window(0, b"content", content).said());
        assert_eq!(code, Some(1));
        assert!(contains(&heard, b"this agent does not show"), "{}", heard.escape_ascii());
        assert!(!home.join("elsewhere").exists());
    }
    let words = AgentWords::new().hello().push(b"site").list(&[(b"file", b'f')]).listed();
    let (code, heard) = answer(&["--read-only"], &home, &words.window(0, b"content", content).said());
    assert_eq!(code, Some(1));
    assert!(contains(&heard, b"only reads") && !home.join("site/file").exists(), "{}", heard.escape_ascii());
}

/// Near ends that try to read what they may not.
#[test]
fn near_ends_that_read_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir_all(home.join("site")).unwrap();
    fs::create_dir_all(home.join("private")).unwrap();
    fs::write(home.join("site/page"), "shown to everybody").unwrap();
    fs::write(home.join("private/key"), "a secret").unwrap();
    symlink(home.join("private"), home.join("site/link")).unwrap();
    symlink(home.join("private/key"), home.join("site/key")).unwrap();
    let limits = ["--read-only", "--root", "site"];
    let read = |root: &[u8], path: &[u8]| {
        let words = AgentWords::new().hello().pull(root).ask(0, path);
        answer(&limits, &home, &words.said()).1
    };
    // The questions are answered at all.
    assert!(contains(&read(b"site", b"page"), b"shown to everybody"));
    assert!(contains(&read(b"", b"site/page"), b"shown to everybody"));
    for (root, path) in [
        (&b"site"[..], &b"link/key"[..]),
        (b"site", b"key"),
        (b"site", b"../private/key"),
        (b"", b"private/key"),
        (b"", b"site/link/key"),
        (b"private", b"key"),
        (b"site/link", b"key"),
        (b"site/../private", b"key"),
        (b"/", b"etc/passwd"),
    ] {
        let heard = read(root, path);
        assert!(
            contains(&heard, b"Agent") && !contains(&heard, b"a secret"),
            "{} {}: {}",
            root.escape_ascii(),
            path.escape_ascii(),
            heard.escape_ascii()
        );
        assert!(!contains(&heard, b"root:"), "{}", path.escape_ascii());
    }
}

/// Near ends that ask for more than anybody may.
#[test]
fn near_ends_that_ask_for_too_much() {
    let folder = tempfile::tempdir().unwrap();
    // Large enough that the questions cannot be answered as fast as they come.
    fs::File::create(folder.path().join("large")).unwrap().set_len(3 << 30).unwrap();
    let begun = || AgentWords::new().hello().pull(b"");
    let mut questions = begun();
    for number in 0..3000 {
        questions = questions.ask((number % 100) as u8, b"large");
    }
    let mut signatures = begun();
    for _ in 0..100 {
        signatures = signatures.frame(33, &[0; 200_000]);
    }
    let cases = [
        ("questions", questions),
        ("signatures", signatures),
        ("grants", begun().frame(32, &[16])),
        ("a signature for nothing", begun().frame(33, b"x").ask(1, b"large")),
        ("a signature that is none", begun().frame(33, b"x").frame(34, b"\x01\x05large\x02\x05")),
        ("versions of another time", AgentWords::new().frame(1, b"\x07\x08\x00\x01x")),
        ("garbage", AgentWords::new().frame(1, b"\xff")),
    ];
    for (what, words) in cases {
        let started = Instant::now();
        let (code, heard) = answer(&[], folder.path(), &words.said());
        assert_eq!(code, Some(1), "{what}");
        // That is said, and not much else.
        assert_eq!(kinds(&heard).last(), Some(&FAILURE), "{what}");
        assert!(heard.len() < 64 << 20, "{what}: {} bytes", heard.len());
        assert!(started.elapsed() < Duration::from_secs(30), "{what}: {:?}", started.elapsed());
    }
    // Somebody at a terminal.
    let (code, _) = answer(&[], folder.path(), &[b'x'; 100_000]);
    assert_eq!(code, Some(1));
}
