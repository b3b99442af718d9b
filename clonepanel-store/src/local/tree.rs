//! [`LocalTree`]: a local directory as a tree.

use super::{
    delete,
    scan::LocalScan,
    sink::{Incoming, Pass},
    stream::{Content, Entries},
    walk::{Partials, Walk},
};
use crate::{blocking, handle};
use async_trait::async_trait;
use clonepanel_core::{
    entry::Entry,
    path::RelPath,
    problem::{Problem, Problems},
    transport::{Deletion, PullRequest, PushRequest},
    tree::{EntryStream, FileSink, FileStream, TreeError, TreeSink, TreeSource, Want},
};
use rustix::fd::OwnedFd;
use std::{
    collections::HashSet,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// A local directory, to be read or written.
///
/// As a sink it makes the directory if need be, leaves files alone that have the listed length and time, and replaces others by
/// one rename, so that each is old or new and never mixed. Links are never followed. Nothing is deleted, but what stands in
/// the way of an entry is replaced, unless it is a directory that is not empty. End with [`Self::finish`].
#[derive(Debug, Clone)]
pub struct LocalTree {
    root: PathBuf,
    below: RelPath,
    special_bits: SpecialBits,
    owners: Owners,
    unfinished: Unfinished,
    pass: Arc<Mutex<Option<Arc<Pass>>>>,
}

/// What becomes of a file that arrived in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unfinished {
    /// It is removed.
    #[default]
    Discard,
    /// It is kept in a [folder of its own](clonepanel_core::partial) beside its place, for the next time to build on.
    Keep,
}

/// What becomes of the setuid, setgid and sticky bits of what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpecialBits {
    /// They are left out: a restored tree gives nobody rights that the one who restores did not mean to give.
    #[default]
    Drop,
    /// They are set.
    Set,
}

/// Who owns what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owners {
    /// Whoever runs the program.
    #[default]
    Mine,
    /// Whom the entry names, by number; only the superuser can give files away.
    Listed,
}

impl LocalTree {
    /// The directory at `root`; it is opened when it is needed.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            below: RelPath::root(),
            special_bits: SpecialBits::default(),
            owners: Owners::default(),
            unfinished: Unfinished::default(),
            pass: Arc::default(),
        }
    }

    /// The directory at `path` below the one that was named. Unlike there, no symbolic link on the way is followed.
    #[must_use]
    pub fn below(mut self, path: RelPath) -> Self {
        self.below = path;
        self
    }

    /// Says what becomes of setuid, setgid and sticky bits. By default they are left out.
    #[must_use]
    pub const fn special_bits(mut self, bits: SpecialBits) -> Self {
        self.special_bits = bits;
        self
    }

    /// Says who owns what is written. By default whoever runs the program.
    #[must_use]
    pub const fn owners(mut self, owners: Owners) -> Self {
        self.owners = owners;
        self
    }

    /// Says what becomes of files that arrive in part. By default they are removed.
    #[must_use]
    pub const fn unfinished(mut self, unfinished: Unfinished) -> Self {
        self.unfinished = unfinished;
        self
    }

    /// Completes what was written: further names of hard-linked files, then modes and times of directories, which writing into
    /// them would have changed. Afterwards another tree may be written.
    ///
    /// # Errors
    /// The ways in which a disk fails. Trouble with one path is among the problems.
    ///
    /// # Cancel safety
    /// Harmless to drop; call it again.
    pub async fn finish(&self) -> Result<Problems, TreeError> {
        let pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(pass) = pass else { return Ok(Problems::new()) };
        let problems = blocking::run(move || Ok(pass.finish()), |error| self.failed("finish", error)).await?;
        *self.pass.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(problems)
    }

    /// What a request covers of the directory, to be read: nothing else is even looked at.
    ///
    /// # Errors
    /// [`TreeError::NotFound`] when there is no such directory; the ways in which a disk fails.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn scan(&self, request: PullRequest) -> Result<LocalScan, TreeError> {
        Ok(LocalScan::new(self.open_root().await?, request))
    }

    /// What is [`leaving`](clonepanel_core::transport::leaving) when a source lists `staying`; the problem when that is more than the
    /// request allows. What cannot be looked at stays.
    ///
    /// # Errors
    /// The ways in which a disk fails.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn leaving(
        &self,
        request: &PushRequest,
        staying: HashSet<RelPath>,
    ) -> Result<Result<Vec<RelPath>, Problem>, TreeError> {
        if request.allowed_deletion() == Deletion::Keep {
            return Ok(Ok(Vec::new()));
        }
        let root = match self.open_root().await {
            Ok(root) => root,
            Err(TreeError::NotFound { .. }) => return Ok(Ok(Vec::new())),
            Err(error) => return Err(error),
        };
        let request = request.clone();
        let look = move || delete::leaving(&root, &request, &staying);
        blocking::run(look, |error| error).await.map_err(|error| self.failed("list", error))
    }

    /// Deletes what was found to be [leaving](Self::leaving), directories only when they are empty. Tells how many entries that
    /// were.
    ///
    /// # Errors
    /// The ways in which a disk fails. Trouble with one path is among the problems.
    ///
    /// # Cancel safety
    /// When dropped, the deleting goes on to its end unobserved.
    pub async fn delete(&self, leaving: Vec<RelPath>) -> Result<(u64, Problems), TreeError> {
        if leaving.is_empty() {
            return Ok((0, Problems::new()));
        }
        let root = self.open_root().await?;
        let delete = move || Ok(delete::delete(&root, leaving));
        blocking::run(delete, |error| error).await.map_err(|error: io::Error| self.failed("delete in", error))
    }

    /// Opens the directory for reading.
    async fn open_root(&self) -> Result<Arc<OwnedFd>, TreeError> {
        let (root, below) = (self.root.clone(), self.below.clone());
        let open = move || {
            let root = handle::open_root(&root)?;
            if below.is_root() {
                return Ok(root);
            }
            handle::listed_dir_in(handle::walk(&root, below.as_bytes())?, b".")
        };
        let opened = blocking::run(open, |error| error).await;
        opened.map(Arc::new).map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::NotADirectory => TreeError::NotFound { path: RelPath::root() },
            _ => self.failed("open", error),
        })
    }

    async fn pass(&self) -> Result<Arc<Pass>, TreeError> {
        let current = self.pass.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(pass) = current {
            return Ok(pass);
        }
        let (root, below) = (self.root.clone(), self.below.clone());
        let (bits, owners, unfinished) = (self.special_bits, self.owners, self.unfinished);
        let begin = move || {
            std::fs::create_dir_all(&root)?;
            let mut dir = handle::open_root(&root)?;
            for name in below.parts() {
                dir = handle::made_dir_in(&dir, name)?;
            }
            if !below.is_root() {
                dir = handle::listed_dir_in(&dir, b".")?;
            }
            Ok(Pass::new(dir, bits, owners, unfinished))
        };
        let pass = Arc::new(blocking::run(begin, |error| error).await.map_err(|error| self.failed("open", error))?);
        let mut current = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(current.get_or_insert(pass)))
    }

    fn failed(&self, action: &'static str, error: io::Error) -> TreeError {
        TreeError::from_io(action, &RelPath::root(), error)
    }
}

#[async_trait]
impl TreeSource for LocalTree {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        let root = self.open_root().await?;
        Ok(Box::new(Entries::new(Walk::new(root, PullRequest::new(), Partials::LeftOut))))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        Ok(Box::new(Content::open(self.open_root().await?, path, None).await?))
    }
}

#[async_trait]
impl TreeSink for LocalTree {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        let (pass, entry) = (self.pass().await?, entry.clone());
        blocking::run(move || pass.offer(&entry), |error| self.failed("write", error)).await
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        Ok(Box::new(Incoming::new(self.pass().await?, entry)?))
    }
}
