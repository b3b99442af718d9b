//! [`TransportFixture`], and what the rules do with a far end.

use crate::{
    entry::{Entry, EntryKind, EntryMeta},
    memory::MemoryTree,
    path::RelPath,
    testkit::{generator::Shape, path},
    time::Timestamp,
    transport::{PullRequest, TransferReport, Transport, TransportError},
    tree::{FileSink, TreeError, TreeSink, Want},
};
use async_trait::async_trait;
use std::sync::{Arc, Mutex};

/// A transport to be tested, and its far end.
#[async_trait]
pub trait TransportFixture: Send + Sync {
    /// Makes the far end hold `tree`, as well as it can, and nothing else.
    async fn place(&self, tree: &MemoryTree);

    /// A transport to the root of the far end.
    async fn transport(&self) -> Arc<dyn Transport>;

    /// The far end as it is now, not seen through the transport.
    async fn far(&self) -> MemoryTree;

    /// Removes an entry at the far end, also during a pull.
    async fn remove(&self, path: &RelPath);

    /// Makes a file at the far end unreadable; whether that was possible (a superuser reads everything).
    async fn forbid_reading(&self, _: &RelPath) -> bool {
        false
    }

    /// What this transport or its far end cannot do. The rules leave it out, and say so.
    fn lacks(&self) -> &[Lack] {
        &[]
    }

    /// A far end of the same kind that lies: besides a file `good` it lists, by whatever its protocol can say, files outside the
    /// root, each named `escaped` (`../escaped`, `/tmp/escaped`, one below a symbolic link). `None` when the protocol cannot say
    /// such a thing.
    async fn hostile(&self) -> Option<Arc<dyn Transport>> {
        None
    }
}

/// What a transport or its far end cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lack {
    /// Times are kept to the second.
    Nanoseconds,
    /// It only reads.
    Push,
    /// A push does not set the setuid, setgid and sticky bits.
    SetIds,
    /// There are no pipes and sockets.
    SpecialFiles,
}

/// A far end that is a directory of this machine.
#[cfg(unix)]
#[derive(Debug, Clone)]
pub struct Directory(std::path::PathBuf);

#[cfg(unix)]
impl Directory {
    /// The directory, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<std::path::PathBuf>) -> Self {
        Self(root.into())
    }

    /// As [`TransportFixture::place`].
    pub fn place(&self, tree: &MemoryTree) {
        crate::testkit::materialise(tree, &self.0).expect("write a directory");
    }

    /// As [`TransportFixture::far`].
    #[must_use]
    pub fn far(&self) -> MemoryTree {
        crate::testkit::scan(&self.0).expect("read a directory")
    }

    /// As [`TransportFixture::remove`].
    pub fn remove(&self, path: &RelPath) {
        let at = self.at(path);
        let is_dir = std::fs::symlink_metadata(&at).is_ok_and(|found| found.is_dir());
        if is_dir { std::fs::remove_dir_all(at) } else { std::fs::remove_file(at) }.expect("remove an entry");
    }

    /// As [`TransportFixture::forbid_reading`].
    #[must_use]
    pub fn forbid_reading(&self, path: &RelPath) -> bool {
        use std::os::unix::fs::PermissionsExt;
        let at = self.at(path);
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o000)).expect("change a mode");
        std::fs::File::open(at).is_err()
    }

    fn at(&self, path: &RelPath) -> std::path::PathBuf {
        use std::os::unix::ffi::OsStrExt;
        self.0.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
    }
}

pub(super) fn old(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_600_000_000 + secs)
}

/// Says on standard error what a rule leaves out.
pub(super) fn leave_out(rule: &str, what: &str) {
    eprintln!("{rule}: not applicable in part: {what}");
}

/// A random tree without what the fixture lacks.
pub(super) fn suitable(fixture: &dyn TransportFixture, rule: &str, seed: u64) -> MemoryTree {
    let tree = Shape::new().entries(70).longest(70_000).tree(seed);
    fit(fixture, rule, &tree);
    tree
}

pub(super) fn fit(fixture: &dyn TransportFixture, rule: &str, tree: &MemoryTree) {
    for lack in fixture.lacks() {
        leave_out(rule, &format!("{lack:?}"));
        for entry in tree.list() {
            let meta = &entry.meta;
            match (lack, &entry.kind) {
                (Lack::SpecialFiles, EntryKind::Fifo | EntryKind::Socket) => drop(tree.remove(&entry.path)),
                (Lack::Nanoseconds, _) => {
                    let mtime = Timestamp::from_secs(meta.mtime.secs());
                    tree.set_meta(&entry.path, &EntryMeta { mtime, ..meta.clone() }).expect("the entry is there");
                }
                (Lack::SetIds, _) => {
                    let mode = meta.mode & 0o777;
                    tree.set_meta(&entry.path, &EntryMeta { mode, ..meta.clone() }).expect("the entry is there");
                }
                _ => {}
            }
        }
    }
}

/// A tree of files with these contents, and the directories they need.
pub(super) fn tree_of(files: &[(&str, &[u8])]) -> MemoryTree {
    let tree = MemoryTree::new();
    for (name, content) in files {
        let file = path(name);
        let parents: Vec<_> = std::iter::successors(file.parent(), RelPath::parent).collect();
        for parent in parents.into_iter().rev().filter(|parent| tree.entry(parent).is_none()) {
            tree.put_dir(parent).expect("a free place");
        }
        tree.put_file(file, content.to_vec(), old(1)).expect("a free place");
    }
    tree
}

pub(super) async fn pull(
    fixture: &dyn TransportFixture,
    sink: &dyn TreeSink,
) -> Result<TransferReport, TransportError> {
    fixture.transport().await.pull(&PullRequest::new(), sink, &()).await
}

/// The bytes of all contents, each counted once.
pub(super) fn content_bytes(tree: &MemoryTree) -> u64 {
    tree.list().iter().filter(|entry| entry.has_content()).filter_map(Entry::len).sum()
}

/// A sink that remembers what it was asked for, and lets a test act or refuse when a path is offered.
pub(super) struct Watched<'a> {
    pub(super) inner: &'a dyn TreeSink,
    pub(super) incident: &'a dyn Incident,
    pub(super) offered: Mutex<Vec<RelPath>>,
    pub(super) opened: Mutex<Vec<RelPath>>,
}

#[async_trait]
pub(super) trait Incident: Send + Sync {
    async fn offered(&self, entry: &Entry) -> Result<(), TreeError>;
}

#[async_trait]
impl Incident for () {
    async fn offered(&self, _: &Entry) -> Result<(), TreeError> {
        Ok(())
    }
}

impl<'a> Watched<'a> {
    pub(super) fn new(inner: &'a dyn TreeSink, incident: &'a dyn Incident) -> Self {
        Self { inner, incident, offered: Mutex::default(), opened: Mutex::default() }
    }

    pub(super) fn offered(&self) -> Vec<RelPath> {
        let mut paths = self.offered.lock().expect("no panic").clone();
        paths.sort();
        paths
    }

    pub(super) fn opened(&self) -> Vec<RelPath> {
        self.opened.lock().expect("no panic").clone()
    }
}

#[async_trait]
impl TreeSink for Watched<'_> {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        self.offered.lock().expect("no panic").push(entry.path.clone());
        self.incident.offered(entry).await?;
        self.inner.offer(entry).await
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.opened.lock().expect("no panic").push(entry.path.clone());
        self.inner.file(entry).await
    }
}
