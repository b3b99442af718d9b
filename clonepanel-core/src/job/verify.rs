//! [`VerifyJob`]: whether what is kept is what was written.

use super::restored::Checked;
use crate::{
    digest::FileDigest,
    observer::{Event, Observer},
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    retry::Retry,
    snapshot_id::SnapshotId,
    store::{Slice, SnapshotReader, SnapshotStore, StoreError},
    tree::{FileStream, TreeError},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{fmt, sync::Arc};

/// So many files are read at once.
const IN_FLIGHT: usize = 4;

/// Reads the files of a snapshot and compares them with the hashes of its manifest.
pub struct VerifyJob {
    store: Arc<dyn SnapshotStore>,
    id: SnapshotId,
    slice: Option<Slice>,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct VerifyOutcome {
    /// Files that were looked at.
    pub files: u64,
    /// Content that was read, in bytes.
    pub bytes: u64,
    /// What is not as it should be: `Failed` for a content that is damaged or gone, `Unreadable` for one that could not be
    /// read and may still be good.
    pub problems: Problems,
}

impl VerifyOutcome {
    /// Whether everything that was looked at is as it should be.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Why a snapshot could not be verified at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot verify snapshot {id}")]
pub struct VerifyError {
    /// Which.
    pub id: SnapshotId,
    /// Why; [`StoreError::Damaged`] when the manifest itself is not what was written.
    #[source]
    pub source: StoreError,
}

impl VerifyError {
    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        self.source.retry()
    }
}

impl fmt::Debug for VerifyJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyJob").field("id", &self.id).field("slice", &self.slice).finish_non_exhaustive()
    }
}

impl VerifyJob {
    /// A verification of all files of a snapshot.
    #[must_use]
    pub fn new(store: Arc<dyn SnapshotStore>, id: SnapshotId) -> Self {
        Self { store, id, slice: None }
    }

    /// Looks only at the files of a slice.
    #[must_use]
    pub const fn slice(mut self, slice: Slice) -> Self {
        self.slice = Some(slice);
        self
    }

    /// Verifies. Damage is listed, and the rest is still looked at.
    ///
    /// # Errors
    /// [`VerifyError`] when the snapshot does not exist, its manifest is not what was written, or the store fails.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn run(&self, observer: &dyn Observer) -> Result<VerifyOutcome, VerifyError> {
        let failed = |source| VerifyError { id: self.id.clone(), source };
        let reader = self.store.open(&self.id).await.map_err(failed)?;
        let mut records = reader.records().await.map_err(failed)?;
        let mut outcome = VerifyOutcome::default();
        let mut in_flight = FuturesUnordered::new();
        while let Some(record) = records.next().await.map_err(failed)? {
            let path = record.entry.path;
            let Some(digest) = record.content.filter(|_| self.slice.is_none_or(|slice| slice.contains(&path))) else {
                continue;
            };
            observer.notice(&Event::Listed { entries: 1, bytes: digest.len });
            while in_flight.len() >= IN_FLIGHT
                && let Some(looked) = in_flight.next().await
            {
                outcome.add(looked, observer);
            }
            in_flight.push(look(&*reader, path, digest, observer));
        }
        while let Some(looked) = in_flight.next().await {
            outcome.add(looked, observer);
        }
        Ok(outcome)
    }
}

impl VerifyOutcome {
    fn add(&mut self, (bytes, problem): (u64, Option<Problem>), observer: &dyn Observer) {
        self.files += 1;
        self.bytes += bytes;
        if let Some(problem) = problem {
            observer.notice(&Event::Problem(&problem));
            self.problems.push(problem);
        }
    }
}

/// Reads one file; tells how many bytes it had and what is wrong with it.
async fn look(
    reader: &dyn SnapshotReader,
    path: RelPath,
    expected: FileDigest,
    observer: &dyn Observer,
) -> (u64, Option<Problem>) {
    let mut bytes = 0;
    let found = async {
        let mut content = Checked::new(reader.open(&path).await?, path.clone(), expected);
        while let Some(piece) = content.read().await? {
            bytes += piece.len() as u64;
            observer.notice(&Event::Data { literal_bytes: piece.len() as u64, matched_bytes: 0 });
        }
        Ok(())
    }
    .await;
    let (kind, detail) = match &found {
        Ok(()) => {
            observer.notice(&Event::Finished { path: &path });
            return (bytes, None);
        }
        Err(TreeError::Damaged { .. }) => (ProblemKind::Failed, "its content is not what was written".to_owned()),
        Err(TreeError::NotFound { .. }) => (ProblemKind::Failed, "its content is gone".to_owned()),
        Err(error) => (ProblemKind::Unreadable, error.to_string()),
    };
    (bytes, Some(Problem::new(path, kind, detail)))
}
