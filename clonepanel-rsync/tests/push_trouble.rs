//! Pushes of which something fails: at the source, at the far end, or between them.
#![allow(clippy::unwrap_used)]

mod common;

use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    entry::{DeviceNumber, Entry, EntryKind, EntryMeta},
    filter::{Filter, Rule},
    memory::MemoryTree,
    observer::{Event, Observer},
    path::RelPath,
    problem::{Problem, ProblemKind},
    testkit::{differences, generator::Shape, path, scan},
    transport::{Deletion, PushRequest, Transport, TransportError},
    tree::{EntryStream, FileStream, Listed, TreeError, TreeSource},
};
use clonepanel_rsync::{
    ChangeDetection, Compression, Connect, Connection, LocalConnect, RemoteCommand, RsyncOptions, RsyncTransport,
};
use common::{PARTIAL, Print, block_on, files, is_root, old, problems, protocols, push, stand_in, try_push, write};
use std::{
    fs, io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Sleep, sleep},
};

/// A source whose files fail in all the ways that files can.
struct Failing(MemoryTree);

#[async_trait]
impl TreeSource for Failing {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        self.0.entries().await
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        let name = path.name().to_vec();
        match &name[..] {
            b"denied" => return Err(TreeError::Denied { path: path.clone() }),
            b"vanished" => return Err(TreeError::NotFound { path: path.clone() }),
            _ => {}
        }
        Ok(Box::new(FailingStream { inner: self.0.open(path).await?, path: path.clone(), name, given: 0 }))
    }
}

struct FailingStream {
    inner: Box<dyn FileStream>,
    path: RelPath,
    name: Vec<u8>,
    given: usize,
}

#[async_trait]
impl FileStream for FailingStream {
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError> {
        let piece = self.inner.read().await?;
        self.given += piece.as_ref().map_or(0, Bytes::len);
        match &self.name[..] {
            b"damaged at the end" if piece.is_none() => Err(TreeError::Damaged { path: self.path.clone() }),
            b"damaged" => Err(TreeError::Damaged { path: self.path.clone() }),
            b"grown" if piece.is_none() && self.given < 200_000 => {
                self.given = 200_000;
                Ok(Some(Bytes::from_static(b"more")))
            }
            b"shrunk" => Ok(piece.map(|piece| piece.slice(..piece.len() / 2)).filter(|piece| !piece.is_empty())),
            _ => Ok(piece),
        }
    }
}

/// Whatever fails here, the far end keeps what it had, and each file is told.
#[test]
fn what_cannot_be_read_is_never_written() {
    let names = ["damaged", "damaged at the end", "denied", "grown", "shrunk", "vanished"];
    for (protocol, compression) in [(30, Compression::Auto), (31, Compression::Off), (32, Compression::Zstd)] {
        let (folder, scripts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tree = MemoryTree::new();
        for name in names.iter().chain(&["good", "good as well"]) {
            tree.put_file(path(name), name.repeat(10_000).into_bytes(), old(1)).unwrap();
            fs::write(folder.path().join(name), format!("the old {name}").repeat(1000)).unwrap();
        }
        let script = format!("shift; exec rsync --server --protocol={protocol} \"$@\"");
        let options = stand_in(scripts.path(), "rsync", &script).compression(compression);
        let report = push(folder.path(), options, &Failing(tree.clone()));
        let expected = [
            ("damaged", ProblemKind::Failed),
            ("damaged at the end", ProblemKind::Failed),
            ("denied", ProblemKind::Unreadable),
            ("grown", ProblemKind::Changed),
            ("shrunk", ProblemKind::Changed),
            ("vanished", ProblemKind::Vanished),
        ];
        assert_eq!(problems(&report), expected.map(|(name, kind)| (name.to_owned(), kind)), "{:?}", report.problems);
        assert_eq!(report.files, 2);
        for name in names {
            let there = fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(there == format!("the old {name}").repeat(1000), "{name} was written to");
        }
        assert_eq!(fs::read_to_string(folder.path().join("good")).unwrap(), "good".repeat(10_000));
    }
}

/// A group of hard links whose content cannot be read, and one whose first name is excluded.
#[test]
fn hard_links() {
    let folder = tempfile::tempdir().unwrap();
    let tree = MemoryTree::new();
    for (first, others) in [("denied", ["e1", "e2"]), ("excluded", ["f1", "f2"]), ("a", ["a1", "a2"])] {
        tree.put_file(path(first), first.as_bytes().to_vec(), old(1)).unwrap();
        for other in others {
            let mut entry = Entry::file(path(other), first.len() as u64, old(1));
            entry.kind = EntryKind::File { len: first.len() as u64, hardlink_to: Some(path(first)) };
            tree.put(&entry, Bytes::new()).unwrap();
        }
    }
    let filter = Filter::new(vec![Rule::parse("excluded").unwrap()]);
    let request = PushRequest::new().filter(filter);
    let report = try_push(folder.path(), RsyncOptions::new(), &request, &Failing(tree)).unwrap();
    let there = scan(folder.path()).unwrap();
    // What is kept of the empty content that was sent for a refused one is out of the way.
    let listed: Vec<_> = there.list().into_iter().map(|entry| entry.path.to_string()).collect();
    let (partial, listed): (Vec<_>, Vec<_>) = listed.into_iter().partition(|path| path.starts_with(PARTIAL));
    assert_eq!(listed, [".", "a", "a1", "a2", "f1", "f2"], "{:?}", report.problems);
    for path in partial.iter().filter(|name| *name != PARTIAL) {
        assert_eq!(fs::read(folder.path().join(path)).unwrap(), b"", "{path}");
    }
    let further =
        |name: &str| matches!(there.entry(&path(name)).unwrap().kind, EntryKind::File { hardlink_to: Some(_), .. });
    assert!(further("a1") && further("a2") && further("f2"));
    assert_eq!(there.content(&path("f1")).as_deref(), Some(&b"excluded"[..]));
    let lost = ["denied", "e1", "e2"].map(|name| (name.to_owned(), ProblemKind::Unreadable));
    assert_eq!(problems(&report), lost, "{:?}", report.problems);
}

/// As a user who may not write everywhere and make no devices.
#[test]
fn what_the_far_end_cannot_write_is_told() {
    let (folder, scripts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = folder.path();
    for dir in [root, scripts.path()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::create_dir(root.join("closed")).unwrap();
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::create_dir_all(root.join("in the way/x")).unwrap();
    let tree = MemoryTree::new();
    for dir in ["open", "closed", "closed/sub"] {
        tree.put_dir(path(dir)).unwrap();
    }
    for file in ["open/file", "closed/file", "closed/sub/file", "in the way"] {
        tree.put_file(path(file), "content", old(1)).unwrap();
    }
    let device = EntryKind::CharDevice(DeviceNumber { major: 1, minor: 3 });
    tree.put(
        &Entry { path: path("device"), kind: device, meta: EntryMeta { mode: 0o600, ..EntryMeta::default() } },
        Bytes::new(),
    )
    .unwrap();
    let is_root = is_root();
    let program = if is_root { "exec setpriv --reuid=65534 --regid=65534 --clear-groups rsync" } else { "exec rsync" };
    for (name, script) in [
        ("new", format!("{program} \"$@\"")),
        ("in-band", format!("shift; {program} --server --no-msgs2stderr \"$@\"")),
        ("30", format!("shift; {program} --server --protocol=30 --no-msgs2stderr \"$@\"")),
    ] {
        let report = push(root, stand_in(scripts.path(), name, &script), &tree);
        let told = problems(&report);
        println!("{name}: {:?}", report.problems);
        for lost in ["closed/file", "closed/sub", "device", "in the way"] {
            assert!(told.iter().any(|(path, _)| path == lost), "{name}: {lost} is not told: {:?}", report.problems);
        }
        assert!(!told.iter().any(|(path, _)| path == "open/file"), "{name}");
        assert_eq!(fs::read_to_string(root.join("open/file")).unwrap(), "content");
        fs::remove_file(root.join("open/file")).unwrap();
    }
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_far_end_that_cannot_be_used_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let tree = MemoryTree::new();
    tree.put_file(path("f"), "x", old(1)).unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    for detection in [ChangeDetection::Auto, ChangeDetection::SizeAndTime] {
        let options = RsyncOptions::new().change_detection(detection);
        let outcome = try_push(&folder.path().join("file/below"), options.clone(), &PushRequest::new(), &tree);
        assert!(matches!(outcome, Err(TransportError::Remote { .. })), "{outcome:?}");
        let outcome = try_push(folder.path(), options.rsync_program("no-such-rsync"), &PushRequest::new(), &tree);
        assert!(matches!(outcome, Err(TransportError::Unsupported { .. })), "{outcome:?}");
    }
}

/// A file was renamed, and under its new name it cannot be read: the far end has the last copy.
#[test]
fn nothing_goes_when_something_could_not_be_sent() {
    let scripts = tempfile::tempdir().unwrap();
    for options in protocols(scripts.path()) {
        for name in ["damaged", "damaged at the end", "denied", "grown"] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &["old name", "sub/gone"]);
            let tree = MemoryTree::new();
            tree.put_file(path(name), "content", old(1)).unwrap();
            tree.put_file(path("readable"), "content", old(1)).unwrap();
            let request = PushRequest::new().deletion(Deletion::UpTo(9));
            let report = try_push(folder.path(), options.clone(), &request, &Failing(tree.clone())).unwrap();
            let told = problems(&report);
            assert_eq!(told.iter().map(|(at, _)| &at[..]).collect::<Vec<_>>(), [".", name], "{:?}", report.problems);
            assert_eq!((told[0].1, report.deleted, report.files), (ProblemKind::Refused, 0, 1));
            for name in ["old name", "sub/gone", "readable"] {
                assert!(folder.path().join(name).exists(), "{name} is gone");
            }
            let report = try_push(folder.path(), options.clone(), &request, &tree).unwrap();
            assert_eq!((report.problems.total(), report.deleted), (0, 3), "{:?}", report.problems);
            assert_eq!(files(folder.path()), [name, "readable"]);
        }
    }
}

/// More appears at the far end between the count and the push, and something else goes wrong as well.
#[test]
fn a_limit_that_is_reached_is_told() {
    let (folder, scripts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, server, has_error) in [("alone", "", false), ("error", "", true), ("30", "--protocol=30", true)] {
        let root = folder.path().join(name);
        write(&root, &["gone"]);
        let tree = MemoryTree::new();
        tree.put_file(path("file"), "x", old(1)).unwrap();
        let appears = if has_error { "mkdir d; touch d/x d/y" } else { "touch more1 more2" };
        let script = format!("shift; case \"$*\" in *--delete*) {appears};; esac; exec rsync --server {server} \"$@\"");
        let mut expected = vec![(".".to_owned(), ProblemKind::Refused)];
        if has_error {
            tree.put_file(path("d"), "x", old(1)).unwrap();
            expected.push(("d".to_owned(), ProblemKind::Failed));
        }
        let options = stand_in(scripts.path(), name, &script);
        let request = PushRequest::new().deletion(Deletion::UpTo(5));
        let report = try_push(&root, options, &request, &tree).unwrap();
        assert_eq!(problems(&report), expected, "{name}: {:?}", report.problems);
        assert_eq!((report.deleted, files(&root).len()), (1, 3), "{name}");
    }
}

#[test]
fn output_may_be_cut_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    // Only the script makes more than one directory.
    let root = folder.path().join("made/anew");
    let tree = Shape::new().tree(5);
    let transport = RsyncTransport::new(Trickling(Duration::ZERO), root.as_os_str().as_bytes());
    let report = block_on(transport.push(&PushRequest::new(), &tree, &Print)).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(differences(&tree, &scan(&root).unwrap()), Vec::<String>::new());
}

/// It falls silent before and after both ends agreed: it is waited for longer while it may be looking at files.
#[test]
fn silence_is_told_as_long_as_it_was() {
    let (folder, scripts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tree = MemoryTree::new();
    for file in 0..100 {
        tree.put_file(path(&file.to_string()), "x", old(1)).unwrap();
    }
    let silence = |name: &str, script: &str| {
        let options = stand_in(scripts.path(), name, script).progress_timeout(Duration::from_secs(1));
        let begun = Instant::now();
        let error = try_push(folder.path(), options, &PushRequest::new(), &tree).unwrap_err();
        let TransportError::Interrupted { detail, .. } = error else { panic!("{error:?}") };
        let secs = detail.strip_prefix("nothing came for ").and_then(|rest| rest.strip_suffix(" s"));
        let secs = secs.unwrap_or_else(|| panic!("{detail}")).parse().unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(secs), "{detail}");
        secs
    };
    assert_eq!(silence("at once", "exec sleep 20"), 1);
    let script = "shift; rsync --server --protocol=30 \"$@\" | { dd bs=1 count=400 2>/dev/null; exec sleep 30; }";
    assert!(silence("later", script) > 1);
}

/// A login whose output comes byte by byte, each after such a time.
#[derive(Debug)]
struct Trickling(Duration);

#[async_trait]
impl Connect for Trickling {
    fn endpoint(&self) -> &str {
        "trickling"
    }

    async fn open(&self, command: &RemoteCommand) -> Result<Connection, TransportError> {
        let connection = LocalConnect::new().open(command).await?;
        let output = ByteByByte { inner: connection.output, each: self.0, next: Box::pin(sleep(self.0)) };
        Ok(Connection { output: Box::new(output), ..connection })
    }

    fn explain(&self, _code: Option<i32>, _text: &str) -> Option<TransportError> {
        None
    }
}

struct ByteByByte {
    inner: Box<dyn AsyncRead + Send + Sync + Unpin>,
    each: Duration,
    next: Pin<Box<Sleep>>,
}

impl AsyncRead for ByteByByte {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.next.as_mut().poll(cx));
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut read))?;
        buffer.put_slice(read.filled());
        let next = Instant::now() + self.each;
        self.next.as_mut().reset(next.into());
        Poll::Ready(Ok(()))
    }
}

/// It says something all the time, and next to nothing.
#[test]
fn a_far_end_that_drips_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let tree = MemoryTree::new();
    for file in 0..100 {
        tree.put_file(path(&file.to_string()), "x", old(1)).unwrap();
    }
    let options = RsyncOptions::new()
        .change_detection(ChangeDetection::SizeAndTime)
        .progress_timeout(Duration::from_millis(500))
        .minimum_progress(1 << 20);
    let connect = Trickling(Duration::from_millis(20));
    let transport = RsyncTransport::new(connect, folder.path().as_os_str().as_bytes()).options(options);
    let error = block_on(transport.push(&PushRequest::new(), &tree, &Print)).unwrap_err();
    let TransportError::Interrupted { detail, .. } = &error else { panic!("{error:?}") };
    assert!(detail.starts_with("only "), "{detail}");
}

/// A file that grows while it is read for the first time.
struct Settling(MemoryTree, AtomicUsize);

#[async_trait]
impl TreeSource for Settling {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        self.0.entries().await
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        let inner = self.0.open(path).await?;
        if self.1.fetch_add(1, SeqCst) > 0 {
            return Ok(inner);
        }
        Ok(Box::new(FailingStream { inner, path: path.clone(), name: b"grown".to_vec(), given: 0 }))
    }
}

#[test]
fn a_second_try_may_succeed() {
    let scripts = tempfile::tempdir().unwrap();
    for options in protocols(scripts.path()) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &["extra"]);
        let tree = MemoryTree::new();
        tree.put_file(path("file"), "content", old(1)).unwrap();
        let finished = Finished::default();
        let transport = RsyncTransport::new(LocalConnect::new(), folder.path().as_os_str().as_bytes()).options(options);
        let source = Settling(tree, AtomicUsize::new(0));
        let request = PushRequest::new().deletion(Deletion::UpTo(1));
        let report = block_on(transport.push(&request, &source, &finished)).unwrap();
        // By then it was too late for deletions.
        assert_eq!(problems(&report), [(".".to_owned(), ProblemKind::Refused)], "{:?}", report.problems);
        assert_eq!((report.files, report.deleted, source.1.into_inner()), (1, 0, 2));
        assert_eq!(finished.0.into_inner(), 1);
        assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"content");
    }
}

/// Counts the files that are said to be complete.
#[derive(Default)]
struct Finished(AtomicUsize);

impl Observer for Finished {
    fn notice(&self, event: &Event<'_>) {
        if let Event::Finished { .. } = event {
            self.0.fetch_add(1, SeqCst);
        }
    }
}

/// A source that cannot list all it has.
struct Unlisted(MemoryTree);

#[async_trait]
impl TreeSource for Unlisted {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        let problem = Problem::new(path("sub"), ProblemKind::Unlisted, "it may not be read");
        Ok(Box::new(Also(self.0.entries().await?, Some(problem))))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        self.0.open(path).await
    }
}

struct Also(Box<dyn EntryStream>, Option<Problem>);

#[async_trait]
impl EntryStream for Also {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        Ok(self.0.next().await?.or_else(|| self.1.take().map(Listed::Problem)))
    }
}

#[test]
fn nothing_goes_when_something_could_not_be_listed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &["sub/extra", "extra"]);
    let tree = MemoryTree::new();
    tree.put_dir(path("sub")).unwrap();
    tree.put_file(path("file"), "content", old(1)).unwrap();
    let request = PushRequest::new().deletion(Deletion::UpTo(9));
    let report = try_push(folder.path(), RsyncOptions::new(), &request, &Unlisted(tree)).unwrap();
    let told = [(".", ProblemKind::Refused), ("sub", ProblemKind::Unlisted)].map(|(at, kind)| (at.to_owned(), kind));
    assert_eq!(problems(&report), told, "{:?}", report.problems);
    assert_eq!((files(folder.path()).len(), report.deleted), (3, 0));
}

/// With blocks that long, old versions spoil their own history of matched data: nothing is matched then.
#[test]
fn long_blocks_of_an_old_version_are_not_used() {
    let (folder, scripts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before: Vec<u8> = (0_u32..150_000).flat_map(|row| row.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut after = before.clone();
    after[300_000] ^= 1;
    let tree = MemoryTree::new();
    tree.put_file(path("file"), after.clone(), old(2)).unwrap();
    for (protocol, size, is_matched) in [(30, 65_535, true), (30, 65_536, false), (31, 65_536, true)] {
        fs::write(folder.path().join("file"), &before).unwrap();
        let script = format!("shift; exec rsync --server --protocol={protocol} --block-size={size} \"$@\"");
        let options = stand_in(scripts.path(), "rsync", &script).compression(Compression::Zlib);
        let report = push(folder.path(), options, &tree);
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        assert!(fs::read(folder.path().join("file")).unwrap() == after, "{protocol} {size}");
        assert_eq!(report.matched_bytes > 400_000, is_matched, "{protocol} {size}: {report:?}");
    }
}
