//! The waist: the small vocabulary in which stores and transports meet without knowing each other.
//!
//! A *source* lists entries and opens files; a *sink* is offered entries, says which contents it wants and takes them. A
//! backup, a restore, a database dump and an import are all one of these writing into another; [`copy()`] is the plainest way.

mod copy;
mod error;
mod under;

pub use copy::{CopyError, copy, copy_covered};
pub use error::TreeError;
pub use under::Under;

use crate::{digest::FileDigest, entry::Entry, path::RelPath, problem::Problem};
use async_trait::async_trait;
use bytes::Bytes;
use std::{fmt, sync::Arc};

/// Where a tree is written to.
///
/// The root directory is offered first, if at all; a parent before its children; the first name of a hard-linked file
/// before its further names. Otherwise entries come in any order, each path once.
#[async_trait]
pub trait TreeSink: Send + Sync {
    /// Offers an entry; the answer says whether its content is wanted. Everything but a file with content of its own
    /// ([`Entry::has_content`]) is complete with this call and answered [`Want::Nothing`].
    ///
    /// Offers may run ahead of [`Self::file`] by a hundred files and more.
    ///
    /// # Errors
    /// [`TreeError::Refused`] when the entry breaks a rule (its parent is not a directory of this tree, its path was offered
    /// before): the tree goes on without it. Anything else ends the writing.
    ///
    /// # Cancel safety
    /// A dropped offer has happened or has not; the sink stays usable and the entry may be offered again.
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError>;

    /// Opens the way for the content of an entry that was answered [`Want::Data`]. May be called again for the same entry,
    /// for another try; what finishes last counts.
    ///
    /// # Errors
    /// [`TreeError::NoSpace`] and the other ways in which a disk fails.
    ///
    /// # Cancel safety
    /// A dropped call leaves nothing behind.
    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError>;
}

/// The answer to an offer.
#[derive(Clone)]
#[allow(clippy::exhaustive_enums)]
pub enum Want {
    /// The content is already here, or there is none.
    Nothing,
    /// The content is wanted. `basis` is an older or similar version from which unchanged parts can be taken.
    Data {
        /// Where unchanged parts can be copied from.
        basis: Option<Arc<dyn Basis>>,
    },
}

impl fmt::Debug for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Data { basis } => write!(f, "Data {{ basis: {:?} }}", basis.as_ref().map(|basis| basis.len())),
        }
    }
}

/// Takes the content of one file, from the start to the end.
///
/// Dropping it without [`Self::finish`] leaves nothing behind; the entry then counts as not arrived.
#[async_trait]
pub trait FileSink: Send {
    /// Appends a piece.
    ///
    /// # Errors
    /// [`TreeError::NoSpace`] and the other ways in which a disk fails.
    ///
    /// # Cancel safety
    /// Not cancel safe: after a dropped call the sink must be dropped too.
    async fn write(&mut self, chunk: Bytes) -> Result<(), TreeError>;

    /// Declares the content complete and correct, and tells what it was. The caller has checked it by then.
    ///
    /// # Errors
    /// As [`Self::write`]. A sink may write behind: a failing disk can show up in a later call or in the commit, but never
    /// stays unsaid.
    ///
    /// # Cancel safety
    /// When dropped, the file is either complete or as if never opened.
    async fn finish(self: Box<Self>) -> Result<FileDigest, TreeError>;
}

/// Where a tree is read from.
#[async_trait]
pub trait TreeSource: Send + Sync {
    /// All entries: the root directory first, a parent before its children, the first name of a hard-linked file before its
    /// further names.
    ///
    /// # Errors
    /// [`TreeError::NotFound`] when there is no such tree; the ways in which reading can fail as a whole.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError>;

    /// Opens the content of a regular file.
    ///
    /// # Errors
    /// [`TreeError::NotFound`] when there is no such regular file, [`TreeError::Denied`] when it may not be read,
    /// [`TreeError::Damaged`] when what is kept is not what was written.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError>;
}

/// The entries of a tree, one after the other.
#[async_trait]
pub trait EntryStream: Send {
    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// When the listing as a whole cannot go on. Trouble with one path comes as [`Listed::Problem`].
    ///
    /// # Cancel safety
    /// Not cancel safe: an entry may be lost; drop the stream as well.
    async fn next(&mut self) -> Result<Option<Listed>, TreeError>;
}

/// What a listing has next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Listed {
    /// An entry.
    Entry(Entry),
    /// A path that cannot be listed.
    Problem(Problem),
}

/// The content of a file, piece by piece.
#[async_trait]
pub trait FileStream: Send {
    /// The next piece, never empty; `None` at the end.
    ///
    /// # Errors
    /// The ways in which reading can fail.
    ///
    /// # Cancel safety
    /// Not cancel safe: a piece may be lost; drop the stream as well.
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError>;
}

/// A version of a file that is already here, readable anywhere.
#[async_trait]
pub trait Basis: Send + Sync {
    /// Length in bytes. It does not change.
    fn len(&self) -> u64;

    /// Whether it has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads exactly `len` bytes at `offset`; the range lies inside the file and `len` is at most 1 MiB.
    ///
    /// # Errors
    /// [`TreeError::Damaged`] when the file is shorter than it was; the ways in which reading can fail.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, TreeError>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: TreeSink + ?Sized> TreeSink for $pointer {
            async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
                (**self).offer(entry).await
            }
            async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
                (**self).file(entry).await
            }
        }

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: TreeSource + ?Sized> TreeSource for $pointer {
            async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
                (**self).entries().await
            }
            async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
                (**self).open(path).await
            }
        }
    )*};
}
forward!(&T, Arc<T>, Box<T>);
