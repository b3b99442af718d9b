//! [`VerifyJob`]: whether what is kept is what was written.

use super::{
    copies::{Finding, KnownCopies, Sight},
    restored::Checked,
};
use crate::{
    digest::FileDigest,
    observer::{Event, Observer},
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    retry::Retry,
    snapshot_id::SnapshotId,
    store::{RecordStream, Slice, SnapshotReader, SnapshotStore, StoreError},
    tree::{FileStream, TreeError},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{collections::HashSet, fmt, sync::Arc};

/// So many files are read at once.
const IN_FLIGHT: usize = 4;
/// Of so many files the stored copies are looked up at once.
const BATCH: usize = 256;

/// Reads the files of a snapshot and compares them with the hashes of its manifest. What is found to be damaged the store is told
/// ([`SnapshotReader::distrust`]), so that the next backup does not build on it.
pub struct VerifyJob {
    store: Arc<dyn SnapshotStore>,
    id: SnapshotId,
    slice: Option<Slice>,
    known: Arc<KnownCopies>,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct VerifyOutcome {
    /// Files that were looked at.
    pub files: u64,
    /// Their content, in bytes.
    pub bytes: u64,
    /// Content that was read, in bytes: less, as a stored copy that many files share is read once.
    pub read_bytes: u64,
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
        Self { store, id, slice: None, known: Arc::default() }
    }

    /// Looks only at the files of a slice.
    #[must_use]
    pub const fn slice(mut self, slice: Slice) -> Self {
        self.slice = Some(slice);
        self
    }

    /// Takes what other verifications have found out about copies that this snapshot shares with theirs, and adds to it.
    #[must_use]
    pub fn known(mut self, known: Arc<KnownCopies>) -> Self {
        self.known = known;
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
        let mut being_read = HashSet::new();
        loop {
            let batch = self.batch(&mut *records).await.map_err(failed)?;
            if batch.is_empty() {
                break;
            }
            let paths: Vec<_> = batch.iter().map(|(path, _)| path.clone()).collect();
            let copies = reader.stored_copies(&paths).await.map_err(failed)?;
            for ((path, digest), copy) in batch.into_iter().zip(copies) {
                observer.notice(&Event::Listed { entries: 1, bytes: digest.len });
                outcome.files += 1;
                outcome.bytes += digest.len;
                let sight = copy.map(|copy| Sight::new(copy, &digest));
                // Files that share a copy mostly stand side by side: the one that is being read says it for all.
                while (in_flight.len() >= IN_FLIGHT || sight.is_some_and(|sight| being_read.contains(&sight)))
                    && let Some(looked) = in_flight.next().await
                {
                    self.take(looked, &mut being_read, &mut outcome, observer).map_err(failed)?;
                }
                match sight.and_then(|sight| self.known.find(sight)) {
                    Some(finding) => outcome.add(path, &finding, observer),
                    None => {
                        being_read.extend(sight);
                        in_flight.push(look(&*reader, path, digest, sight, observer));
                    }
                }
            }
        }
        while let Some(looked) = in_flight.next().await {
            self.take(looked, &mut being_read, &mut outcome, observer).map_err(failed)?;
        }
        Ok(outcome)
    }

    async fn batch(&self, records: &mut dyn RecordStream) -> Result<Vec<(RelPath, FileDigest)>, StoreError> {
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(record) = records.next().await?
        {
            let path = record.entry.path;
            if let Some(digest) = record.content
                && self.slice.is_none_or(|slice| slice.contains(&path))
            {
                batch.push((path, digest));
            }
        }
        Ok(batch)
    }

    fn take(
        &self,
        looked: Looked,
        being_read: &mut HashSet<Sight>,
        outcome: &mut VerifyOutcome,
        observer: &dyn Observer,
    ) -> Result<(), StoreError> {
        let Looked { path, sight, read_bytes, found } = looked;
        let finding = found?;
        outcome.read_bytes += read_bytes;
        outcome.add(path, &finding, observer);
        if let Some(sight) = sight {
            being_read.remove(&sight);
            self.known.add(sight, finding);
        }
        Ok(())
    }
}

impl VerifyOutcome {
    fn add(&mut self, path: RelPath, finding: &Finding, observer: &dyn Observer) {
        let Finding::Bad(kind, detail) = finding else { return observer.notice(&Event::Finished { path: &path }) };
        let problem = Problem::new(path, *kind, detail);
        observer.notice(&Event::Problem(&problem));
        self.problems.push(problem);
    }
}

/// What came of reading one file.
struct Looked {
    path: RelPath,
    sight: Option<Sight>,
    read_bytes: u64,
    found: Result<Finding, StoreError>,
}

async fn look(
    reader: &dyn SnapshotReader,
    path: RelPath,
    expected: FileDigest,
    sight: Option<Sight>,
    observer: &dyn Observer,
) -> Looked {
    let mut read_bytes = 0;
    let read = async {
        let mut content = Checked::new(reader.open(&path).await?, path.clone(), expected);
        while let Some(piece) = content.read().await? {
            read_bytes += piece.len() as u64;
            observer.notice(&Event::Data { literal_bytes: piece.len() as u64, matched_bytes: 0 });
        }
        Ok(())
    }
    .await;
    let found = match read {
        Ok(()) => Ok(Finding::Sound),
        Err(TreeError::NotFound { .. }) => Ok(Finding::Bad(ProblemKind::Failed, "its content is gone".to_owned())),
        Err(error @ TreeError::Exhausted { .. }) => Err(error.into()),
        Err(error) => Ok(distrusted(reader, &path, error).await),
    };
    Looked { path, sight, read_bytes, found }
}

/// Tells the store of a copy that is damaged, or that the disk does not give back.
async fn distrusted(reader: &dyn SnapshotReader, path: &RelPath, error: TreeError) -> Finding {
    let (kind, mut detail) = match &error {
        TreeError::Damaged { .. } => (ProblemKind::Failed, "its content is not what was written".to_owned()),
        error => (ProblemKind::Unreadable, error.to_string()),
    };
    let is_lasting = matches!(error, TreeError::Damaged { .. } | TreeError::Backend { retry: Retry::Never, .. });
    if is_lasting && let Err(error) = reader.distrust(path).await {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        detail =
            format!("{detail}; the store cannot remember it, and the next backup may take it again: {error}{cause}");
    }
    Finding::Bad(kind, detail)
}
