//! [`Copying`]: what a copy of a snapshot lacks, from the one store to the other.

use super::restored::Checked;
use crate::{
    entry::Entry,
    manifest::Record,
    observer::{Event, Observer},
    path::RelPath,
    retry::Retry,
    store::{SnapshotInfo, SnapshotReader, SnapshotWriter, StoreError},
    tree::{FileStream, TreeError, Want},
};
use futures_util::{StreamExt, stream::FuturesUnordered};

/// So many files are read and written at once.
const IN_FLIGHT: usize = 8;

/// A snapshot that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Copied {
    /// What it is.
    pub info: SnapshotInfo,
    /// Files whose content the second store lacked.
    pub files: u64,
    /// Their content, in bytes.
    pub bytes: u64,
}

/// Why one snapshot was not copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyFailure {
    /// A content is not what its record says, or cannot be read, and the second store does not have it.
    #[error("{path} is damaged in the first store, and the second one does not have it")]
    Content {
        /// Where.
        path: RelPath,
        /// What is wrong.
        #[source]
        source: TreeError,
    },
    /// What the second store gave back was not what it was given; it was deleted there.
    #[error("the second store gave another manifest back")]
    Different,
    /// The manifest cannot be read.
    #[error("it cannot be read")]
    Manifest(#[source] StoreError),
    /// What the second store has under its id cannot be read, and is left alone.
    #[error("the second store has a snapshot of this name that cannot be read")]
    Occupied(#[source] StoreError),
}

/// What ends the copying of a snapshot.
pub(super) enum Ended {
    /// This snapshot cannot be copied.
    Failed(CopyFailure),
    /// The first store fails, not this snapshot alone.
    Origin(StoreError),
    /// It is gone here, or there already.
    Overtaken,
    /// The second store fails.
    Sink(StoreError),
}

impl Ended {
    pub(super) fn of_origin(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { .. } => Self::Overtaken,
            error if error.retry() == Retry::Later => Self::Origin(error),
            error => Self::Failed(CopyFailure::Manifest(error)),
        }
    }
}

/// One snapshot on its way.
pub(super) struct Copying<'a> {
    pub(super) reader: &'a dyn SnapshotReader,
    pub(super) writer: &'a dyn SnapshotWriter,
    pub(super) observer: &'a dyn Observer,
}

impl Copying<'_> {
    /// Brings everything over that is wanted.
    pub(super) async fn run(&self, info: SnapshotInfo) -> Result<Copied, Ended> {
        let mut copied = Copied { info, files: 0, bytes: 0 };
        let mut in_flight = FuturesUnordered::new();
        let mut records = self.reader.records().await.map_err(Ended::of_origin)?;
        while let Some(record) = records.next().await.map_err(Ended::of_origin)? {
            let bytes = record.content.map_or(0, |content| content.len);
            self.observer.notice(&Event::Listed { entries: 1, bytes });
            if let Want::Nothing = self.writer.offer_kept(&record).await.map_err(sink)? {
                continue;
            }
            while in_flight.len() >= IN_FLIGHT
                && let Some(done) = in_flight.next().await
            {
                copied.add(done?);
            }
            in_flight.push(self.file(record));
        }
        while let Some(done) = in_flight.next().await {
            copied.add(done?);
        }
        Ok(copied)
    }

    async fn file(&self, Record { entry, content, .. }: Record) -> Result<u64, Ended> {
        let path = &entry.path;
        let expected =
            content.ok_or_else(|| sink(TreeError::Refused { path: path.clone(), why: "it has no content" }))?;
        let mut stream = match self.reader.open(path).await {
            Ok(stream) => Checked::new(stream, path.clone(), expected),
            Err(error) => return Err(self.unread(&entry, error).await),
        };
        let mut file = self.writer.file(&entry).await.map_err(sink)?;
        loop {
            match stream.read().await {
                Ok(Some(chunk)) => {
                    self.observer.notice(&Event::Data { literal_bytes: chunk.len() as u64, matched_bytes: 0 });
                    file.write(chunk).await.map_err(sink)?;
                }
                Ok(None) => break,
                Err(error) => return Err(self.unread(&entry, error).await),
            }
        }
        file.finish().await.map_err(sink)?;
        self.observer.notice(&Event::Finished { path });
        Ok(expected.len)
    }

    async fn unread(&self, entry: &Entry, error: TreeError) -> Ended {
        if error.retry() == Retry::Later {
            return Ended::Origin(error.into());
        }
        if matches!(error, TreeError::Damaged { .. } | TreeError::Backend { .. }) {
            // What the store cannot remember is found again by a verification.
            drop(self.reader.distrust(&entry.path).await);
        }
        Ended::Failed(CopyFailure::Content { path: entry.path.clone(), source: error })
    }
}

impl Copied {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

fn sink(error: TreeError) -> Ended {
    Ended::Sink(error.into())
}
