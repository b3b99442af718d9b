//! [`History`]: the versions of one path over the snapshots of a source.

use crate::{
    diff::Change,
    manifest::Record,
    path::RelPath,
    snapshot_id::{SnapshotId, SourceName},
    store::{SnapshotStore, StoreError},
};

/// A version of a path that begins with a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Version {
    /// The first snapshot that has it; for [`Change::Removed`], the first that lacks the path.
    pub id: SnapshotId,
    /// How it differs from the version before.
    pub change: Change,
    /// What is there; `None` for [`Change::Removed`].
    pub record: Option<Record>,
}

/// Is shown what each snapshot has at a path, oldest first, and tells where a new version begins.
#[derive(Debug, Clone, Default)]
pub struct History {
    last: Option<Record>,
}

impl History {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at what the next snapshot has; a version when it is another one than before.
    pub fn see(&mut self, id: &SnapshotId, record: Option<Record>) -> Option<Version> {
        let change = match (&self.last, &record) {
            (None, None) => None,
            (None, Some(_)) => Some(Change::Added),
            (Some(_), None) => Some(Change::Removed),
            (Some(before), Some(after)) => Change::between(before, after),
        };
        self.last.clone_from(&record);
        change.map(|change| Version { id: id.clone(), change, record })
    }
}

/// All versions of a path in a store, oldest first.
///
/// # Errors
/// As [`SnapshotStore::list`], [`SnapshotStore::open`] and [`record`](crate::store::SnapshotReader::record).
///
/// # Cancel safety
/// Harmless to drop.
pub async fn of(store: &dyn SnapshotStore, source: &SourceName, path: &RelPath) -> Result<Vec<Version>, StoreError> {
    let mut history = History::new();
    let mut versions = Vec::new();
    for info in store.list(source).await? {
        let reader = match store.open(&info.id).await {
            Ok(reader) => reader,
            // Deleted since the listing.
            Err(StoreError::NotFound { .. }) => continue,
            Err(error) => return Err(error),
        };
        versions.extend(history.see(&info.id, reader.record(path).await?));
    }
    Ok(versions)
}
