//! [`SnapshotStore`]: where snapshots are kept.
//!
//! # Contract
//! The numbered rules (`S1`, `S2`, …) stand at the methods and are the tests of `testkit::store`; a store of your own runs
//! them with [`store_contract!`](crate::store_contract).

mod error;
mod info;
mod request;

pub use error::StoreError;
pub use info::{SnapshotInfo, SnapshotState, Tally};
pub use request::{NewSnapshot, Seal, Slice};

use crate::{
    manifest::Record,
    path::RelPath,
    snapshot_id::{SnapshotId, SourceName},
    tree::{TreeError, TreeSink, TreeSource, Want},
};
use async_trait::async_trait;
use std::sync::Arc;

/// Keeps snapshots of several sources, each a tree that never changes once it is committed.
#[async_trait]
pub trait SnapshotStore: Send + Sync {
    /// Starts a snapshot. Its base is the newest snapshot of the source whatever its state: unchanged files are taken from it.
    ///
    /// - **S1** nothing of it is visible before the commit, also after the store was opened anew;
    /// - **S11** a second writer for the same source gets [`StoreError::Busy`]; after the first ended, however it ended,
    ///   the next `begin` succeeds;
    /// - **S13** ids grow: a new snapshot is listed after all older ones even when the clock went back;
    /// - **S17** a copy ([`NewSnapshot::copy_of`]) becomes the snapshot that it is a copy of: with its id, in its place among the
    ///   others, with its times, numbers, problems and suspicions, and with the records that were given to
    ///   [`offer_kept`](SnapshotWriter::offer_kept), marks and all. What the seal says does not count.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Exists`] for a copy of what is there, [`StoreError::NoSpace`], and the ways in which the back end fails.
    /// A store may begin a copy of what is there with a damaged manifest; that then stays until the copy's commit puts it in its place.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn begin(&self, new: NewSnapshot) -> Result<Box<dyn SnapshotWriter>, StoreError>;

    /// Opens a snapshot for reading.
    ///
    /// # Errors
    /// **S9** [`StoreError::NotFound`] when there is none; [`StoreError::Damaged`] when its manifest is not whole.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn open(&self, id: &SnapshotId) -> Result<Arc<dyn SnapshotReader>, StoreError>;

    /// All snapshots of a source, **S7** oldest first; empty for a source that is not known.
    ///
    /// # Errors
    /// The ways in which the back end fails: an error is never shown as an empty list.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn list(&self, source: &SourceName) -> Result<Vec<SnapshotInfo>, StoreError>;

    /// The sources that have snapshots, sorted.
    ///
    /// # Errors
    /// The ways in which the back end fails.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn sources(&self) -> Result<Vec<SourceName>, StoreError>;

    /// Deletes a snapshot: **S8** every other one stays as it is to the byte. Works on a full disk.
    ///
    /// # Errors
    /// **S9** [`StoreError::NotFound`] when there is none.
    ///
    /// # Cancel safety
    /// When dropped, the snapshot is there in whole or gone from the list; what was not yet freed is freed later.
    async fn delete(&self, id: &SnapshotId) -> Result<(), StoreError>;
}

/// Writes one snapshot. As a [`TreeSink`] it takes entries and contents; **S4** dropping it costs nothing and blocks nobody.
///
/// - **S5** an entry answered [`Want::Nothing`] reads back with the content of its base;
///   a file of the audited slice is not answered so;
/// - **S6** writing never changes an older snapshot, not by a byte and not by an attribute;
/// - **S10** names that are not UTF-8, empty files, symbolic links, hard-link groups, modes and times round-trip; an owner's or
///   group's name that is empty or longer than 255 bytes is left out.
#[async_trait]
pub trait SnapshotWriter: TreeSink {
    /// The id that the snapshot will have.
    fn id(&self) -> &SnapshotId;

    /// The snapshot that this one builds on.
    fn base(&self) -> Option<&SnapshotInfo>;

    /// What was offered so far, compared with the base: for showing, as the commit may still leave entries out or carry
    /// older ones forward.
    fn tally(&self) -> Tally;

    /// Offers a record of the snapshot that this one is a copy of; a copy is offered nothing else.
    ///
    /// - **S18** a content is known by its hash: it is not wanted if the store knows a sound one with the same permission bits,
    ///   whichever source it is of, unless it has less than 100 bytes; and what arrives must be what its record says, or its
    ///   [`finish`](crate::tree::FileSink::finish) fails with [`TreeError::Damaged`].
    ///
    /// # Errors
    /// As [`offer`](TreeSink::offer); [`TreeError::Refused`] also when this is no copy.
    ///
    /// # Cancel safety
    /// As [`offer`](TreeSink::offer).
    async fn offer_kept(&self, record: &Record) -> Result<Want, TreeError>;

    /// Makes the snapshot visible: **S2** exactly once, **S3** every observer sees nothing of it or all.
    ///
    /// - **S12** an entry whose content never arrived does not fail the commit: the older version is carried forward and
    ///   marked, or the entry is left out when there is none; either way the snapshot is [`SnapshotState::Partial`] and lists
    ///   it. An entry with a `Vanished` problem is left out without that.
    /// - **S14** what an `Unlisted` problem covers, or an `Unreadable` or `Failed` one names, and was not offered is carried
    ///   forward from the base and marked.
    /// - **S15** the tally and the suspicions are about what is committed: what vanished or never arrived does not count, what
    ///   is carried forward does and is not removed, and the seal's rules judge
    ///   ([`judge`](crate::suspicion::judge())) those final numbers.
    /// - **S19** a copy of which a content did not arrive is not committed.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for an incomplete copy, [`StoreError::NoSpace`] and the ways in which the back end fails; the snapshot then stays invisible.
    ///
    /// # Cancel safety
    /// When dropped, the snapshot is committed in whole or not at all.
    async fn commit(self: Box<Self>, seal: Seal) -> Result<SnapshotInfo, StoreError>;

    /// Gives up. What was received may be kept out of sight to speed up the next try.
    ///
    /// # Errors
    /// The ways in which the back end fails.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn abort(self: Box<Self>) -> Result<(), StoreError>;
}

/// Reads one snapshot. As a [`TreeSource`] it gives entries and contents back.
#[async_trait]
pub trait SnapshotReader: TreeSource {
    /// What is known about the snapshot.
    fn info(&self) -> &SnapshotInfo;

    /// All records in the order of their paths, with content hashes: what the manifest says.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the manifest is not what was written.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn records(&self) -> Result<Box<dyn RecordStream>, StoreError>;

    /// The record of one path.
    ///
    /// # Errors
    /// As [`Self::records`]; `None` when the snapshot has no such path.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn record(&self, path: &RelPath) -> Result<Option<Record>, StoreError>;

    /// Which stored copy holds the content at each of these paths: `None` where there is no content, or it is gone. Names with
    /// the same copy share their bytes, in whichever snapshots they are, so that one look at it is enough.
    ///
    /// # Errors
    /// The ways in which the back end fails.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn stored_copies(&self, paths: &[RelPath]) -> Result<Vec<Option<StoredCopy>>, StoreError>;

    /// Tells the store that the copy at `path` was found not to be what was written.
    ///
    /// - **S16** from then on, also after the store was opened anew, no new snapshot takes that copy: an entry that the base has
    ///   with it is wanted, whatever its times say, and what arrives is stored anew. Other copies are as good as before.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] and the ways in which the back end fails: the next snapshot may then take the copy.
    ///
    /// # Cancel safety
    /// When dropped, it was told or was not.
    async fn distrust(&self, path: &RelPath) -> Result<(), StoreError>;
}

/// A stored copy of a content, as long as the snapshot is there in which it was seen. The number means nothing outside its
/// store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredCopy(u64);

impl StoredCopy {
    /// The copy that the store knows by this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// Records one after the other.
#[async_trait]
pub trait RecordStream: Send {
    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the manifest is not what was written.
    ///
    /// # Cancel safety
    /// Not cancel safe: a record may be lost; drop the stream as well.
    async fn next(&mut self) -> Result<Option<Record>, StoreError>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: SnapshotStore + ?Sized> SnapshotStore for $pointer {
            async fn begin(&self, new: NewSnapshot) -> Result<Box<dyn SnapshotWriter>, StoreError> {
                (**self).begin(new).await
            }
            async fn open(&self, id: &SnapshotId) -> Result<Arc<dyn SnapshotReader>, StoreError> {
                (**self).open(id).await
            }
            async fn list(&self, source: &SourceName) -> Result<Vec<SnapshotInfo>, StoreError> {
                (**self).list(source).await
            }
            async fn sources(&self) -> Result<Vec<SourceName>, StoreError> {
                (**self).sources().await
            }
            async fn delete(&self, id: &SnapshotId) -> Result<(), StoreError> {
                (**self).delete(id).await
            }
        }
    )*};
}
forward!(&T, Arc<T>, Box<T>);
