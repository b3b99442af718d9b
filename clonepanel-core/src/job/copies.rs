//! [`KnownCopies`]: what verifications know of stored copies.

use crate::{
    digest::FileDigest,
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    snapshot_id::SnapshotId,
    store::{SnapshotStore, StoreError, StoredCopy},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What is known of stored copies: shared by the verifications of one run, so that a copy that many snapshots have is read once.
/// About 20 bytes a copy.
#[derive(Debug, Default)]
pub struct KnownCopies(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    sound: HashSet<Sight>,
    bad: HashMap<Sight, (ProblemKind, String)>,
}

/// A copy and the content that a manifest says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Sight(StoredCopy, u64);

/// What was found out about a copy.
#[derive(Debug, Clone)]
pub(super) enum Finding {
    Bad(ProblemKind, String),
    Sound,
}

impl Sight {
    pub(super) fn new(copy: StoredCopy, digest: &FileDigest) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *digest.hash.as_bytes();
        Self(copy, u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl KnownCopies {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a copy is known that is not what was written.
    #[must_use]
    pub fn has_damage(&self) -> bool {
        !self.lock().bad.is_empty()
    }

    /// The files of a snapshot whose copy is known not to be what was written. Nothing is read but the manifest.
    ///
    /// # Errors
    /// As [`SnapshotStore::open`], and the ways in which the back end fails.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn damaged_in(&self, store: &dyn SnapshotStore, id: &SnapshotId) -> Result<Problems, StoreError> {
        let contents: HashSet<u64> = self.lock().bad.keys().map(|Sight(_, content)| *content).collect();
        let reader = store.open(id).await?;
        let mut records = reader.records().await?;
        let mut named: Vec<(RelPath, FileDigest)> = Vec::new();
        while let Some(record) = records.next().await? {
            if let Some(digest) = record.content
                && contents.contains(&Sight::new(StoredCopy::new(0), &digest).1)
            {
                named.push((record.entry.path, digest));
            }
        }
        let paths: Vec<_> = named.iter().map(|(path, _)| path.clone()).collect();
        let copies = reader.stored_copies(&paths).await?;
        let mut problems = Problems::new();
        let known = self.lock();
        for ((path, digest), copy) in named.into_iter().zip(copies) {
            if let Some((kind, detail)) = copy.and_then(|copy| known.bad.get(&Sight::new(copy, &digest))) {
                problems.push(Problem::new(path, *kind, detail));
            }
        }
        Ok(problems)
    }

    pub(super) fn find(&self, sight: Sight) -> Option<Finding> {
        let known = self.lock();
        if known.sound.contains(&sight) {
            return Some(Finding::Sound);
        }
        known.bad.get(&sight).map(|(kind, detail)| Finding::Bad(*kind, detail.clone()))
    }

    pub(super) fn add(&self, sight: Sight, finding: Finding) {
        match finding {
            Finding::Sound => drop(self.lock().sound.insert(sight)),
            Finding::Bad(kind, detail) => drop(self.lock().bad.insert(sight, (kind, detail))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
