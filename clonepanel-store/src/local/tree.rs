//! [`LocalTree`]: a local directory as a tree.

use super::{
    sink::{Incoming, Pass},
    stream::{Content, Entries},
    walk::Walk,
};
use crate::{blocking, handle};
use async_trait::async_trait;
use clonepanel_core::{
    entry::Entry,
    path::RelPath,
    problem::Problems,
    transport::PullRequest,
    tree::{EntryStream, FileSink, FileStream, TreeError, TreeSink, TreeSource, Want},
};
use rustix::fd::OwnedFd;
use std::{
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
    special_bits: SpecialBits,
    owners: Owners,
    pass: Arc<Mutex<Option<Arc<Pass>>>>,
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
            special_bits: SpecialBits::default(),
            owners: Owners::default(),
            pass: Arc::default(),
        }
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

    /// Opens the directory for reading.
    pub(super) async fn open_root(&self) -> Result<Arc<OwnedFd>, TreeError> {
        let root = self.root.clone();
        let opened = blocking::run(move || handle::open_root(&root), |error| error).await;
        opened.map(Arc::new).map_err(|error| self.failed("open", error))
    }

    async fn pass(&self) -> Result<Arc<Pass>, TreeError> {
        let current = self.pass.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(pass) = current {
            return Ok(pass);
        }
        let (root, bits, owners) = (self.root.clone(), self.special_bits, self.owners);
        let begin = move || {
            std::fs::create_dir_all(&root)?;
            Ok(Pass::new(handle::open_root(&root)?, bits, owners))
        };
        let pass = Arc::new(blocking::run(begin, |error| error).await.map_err(|error| self.failed("open", error))?);
        let mut current = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(current.get_or_insert(pass)))
    }

    fn failed(&self, action: &'static str, error: std::io::Error) -> TreeError {
        TreeError::from_io(action, &RelPath::root(), error)
    }
}

#[async_trait]
impl TreeSource for LocalTree {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        let root = self.open_root().await?;
        Ok(Box::new(Entries::new(Walk::new(root, PullRequest::new()))))
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
