//! [`Served`]: what the serving end serves: it opens trees for whoever calls.

use async_trait::async_trait;
use clonepanel_core::{
    path::RelPath,
    problem::{Problem, Problems},
    transport::{PullRequest, PushRequest},
    tree::{TreeError, TreeSink, TreeSource},
};
use std::{collections::HashSet, fmt, path::PathBuf};

/// Where a tree is: a directory that the person named who runs the serving end, and a way below it that the calling end chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    directory: PathBuf,
    below: RelPath,
}

impl Place {
    pub(super) const fn new(directory: PathBuf, below: RelPath) -> Self {
        Self { directory, below }
    }

    /// The directory to begin with. Symbolic links that lead to it may be followed.
    #[must_use]
    pub const fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// The way from there. No symbolic link on it may be followed: nobody here named it.
    #[must_use]
    pub const fn below(&self) -> &RelPath {
        &self.below
    }
}

/// Opens trees. An implementation must not let any symbolic link lead it out of a [`Place`].
#[async_trait]
pub trait Served: Send + Sync {
    /// Opens a tree for reading. It lists nothing that the request does not cover, and tells
    /// [`Freshness`](clonepanel_core::entry::Freshness) against [`PullRequest::fresh_since`] if it can.
    ///
    /// # Errors
    /// [`TreeError::NotFound`] when there is no such directory; the ways in which reading can fail.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn source(&self, place: &Place, request: &PullRequest) -> Result<Box<dyn ServedSource>, TreeError>;

    /// Opens a tree for writing, and makes its directory if need be.
    ///
    /// # Errors
    /// The ways in which a disk fails.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn sink(&self, place: &Place) -> Result<Box<dyn ServedSink>, TreeError>;
}

/// A tree that is read.
#[async_trait]
pub trait ServedSource: TreeSource {
    /// The paths among these that do not exist.
    ///
    /// # Errors
    /// The ways in which looking can fail.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn missing(&self, paths: &[RelPath]) -> Result<Vec<RelPath>, TreeError>;

    /// The files that were seen to change while they were read, so far.
    fn changed(&self) -> Vec<RelPath>;
}

/// A tree that is written.
#[async_trait]
pub trait ServedSink: TreeSink {
    /// What [has to go](clonepanel_core::transport::leaving) when the source lists `staying`, children before their parents; a
    /// problem when that is more than the request allows. Called before anything is offered.
    ///
    /// # Errors
    /// The ways in which a disk fails.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn leaving(
        &self,
        request: &PushRequest,
        staying: HashSet<RelPath>,
    ) -> Result<Result<Vec<RelPath>, Problem>, TreeError>;

    /// Deletes these of what is [`leaving`](Self::leaving), directories only when they are empty; tells how many that were. Called
    /// when everything has arrived, and before for what stands in the way of an entry.
    ///
    /// # Errors
    /// The ways in which a disk fails.
    ///
    /// # Cancel safety
    /// When dropped, some of it may be deleted.
    async fn delete(&self, leaving: Vec<RelPath>) -> Result<(u64, Problems), TreeError>;

    /// Completes what was written: further names of hard-linked files, modes and times of directories.
    ///
    /// # Errors
    /// The ways in which a disk fails.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn finish(&self) -> Result<Problems, TreeError>;
}

impl fmt::Debug for dyn Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Served")
    }
}
