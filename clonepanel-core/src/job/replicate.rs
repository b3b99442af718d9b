//! [`ReplicateJob`]: the snapshots of one store, in a second one.

use super::copying::{Copied, CopyFailure, Copying, Ended};
use crate::{
    observer::Observer,
    retention::{self, RetentionPolicy, Verdict},
    retry::Retry,
    snapshot_id::{SnapshotId, SourceName},
    store::{NewSnapshot, Seal, SnapshotInfo, SnapshotReader, SnapshotStore, SnapshotWriter, StoreError},
    time::{Clock, Timestamp},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// Copies the snapshots of a source from one store to another: each becomes the same snapshot there, with its id and its state.
/// Contents are known by their hash, so only what the second store lacks is read and copied. What is copied is compared with its
/// record on the way, and the manifest of the copy with that of what it is a copy of. What the second store has already is
/// trusted: a [`VerifyJob`](super::VerifyJob) there reads it, and what it finds damaged is not linked any more, nor mended.
pub struct ReplicateJob {
    from: Arc<dyn SnapshotStore>,
    to: Arc<dyn SnapshotStore>,
    source: SourceName,
    policy: Option<RetentionPolicy>,
}

/// What a replication would do. `Display` shows it, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct ReplicatePlan {
    /// What is to be copied, oldest first.
    pub copies: Vec<SnapshotId>,
    /// What the second store has already, going by what is known of each snapshot: the records are not read.
    pub present: Vec<SnapshotId>,
    /// Snapshots of both stores that have the same id and are not the same: they are left alone.
    pub different: Vec<SnapshotId>,
    /// What the second store lacks, and would not keep.
    pub passed_over: Vec<SnapshotId>,
}

/// What a replication did.
#[derive(Debug, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct ReplicateOutcome {
    /// What was copied, oldest first.
    pub copied: Vec<Copied>,
    /// What could not be copied, as the first store does not have it in whole; nothing of it is in the second one.
    pub failed: Vec<(SnapshotId, CopyFailure)>,
    /// What was gone from the first store, or had come to the second one, since the plan was made.
    pub overtaken: Vec<SnapshotId>,
}

/// Why a replication did not come to its end. What was copied by then stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicateError {
    /// The second store fails.
    #[error("cannot write a copy of {id}")]
    Destination {
        /// Of which snapshot.
        id: SnapshotId,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The snapshots of one of the stores cannot be listed.
    #[error("cannot list the snapshots of {source_name} in the {store} store")]
    List {
        /// Of what.
        source_name: SourceName,
        /// Which of the two: "first", "second".
        store: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The first store fails, not one snapshot of it alone.
    #[error("cannot read snapshot {id}")]
    Origin {
        /// Which.
        id: SnapshotId,
        /// Why.
        #[source]
        source: StoreError,
    },
}

impl ReplicateError {
    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Destination { source, .. } | Self::List { source, .. } | Self::Origin { source, .. } => {
                source.retry()
            }
        }
    }
}

impl fmt::Debug for ReplicateJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicateJob")
            .field("source", &self.source)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl ReplicateJob {
    /// A replication of the snapshots of `source`.
    #[must_use]
    pub fn new(from: Arc<dyn SnapshotStore>, to: Arc<dyn SnapshotStore>, source: SourceName) -> Self {
        Self { from, to, source, policy: None }
    }

    /// Copies only what the second store would keep by this policy, which a [`PruneJob`](super::PruneJob) there goes by. Without
    /// one, everything that it lacks.
    #[must_use]
    pub fn policy(mut self, policy: RetentionPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// What is to be copied as of `now`. Nothing is copied.
    ///
    /// # Errors
    /// [`ReplicateError::List`].
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn plan(&self, now: Timestamp) -> Result<ReplicatePlan, ReplicateError> {
        let here = self.list(&*self.from, "first").await?;
        let there = self.list(&*self.to, "second").await?;
        let kept = self.policy.as_ref().map(|policy| {
            let all: BTreeMap<_, _> = here.iter().chain(&there).map(|info| (&info.id, info)).collect();
            let all: Vec<_> = all.into_values().cloned().collect();
            let plan = retention::plan(policy, &all, now);
            let kept = plan.decisions.into_iter().filter(|decision| decision.verdict != Verdict::Delete);
            kept.map(|decision| decision.id).collect::<BTreeSet<_>>()
        });
        let there: BTreeMap<_, _> = there.iter().map(|info| (&info.id, info)).collect();
        let mut plan = ReplicatePlan::default();
        for info in &here {
            let list = match there.get(&info.id) {
                Some(copy) if *copy == info => &mut plan.present,
                Some(_) => &mut plan.different,
                None if kept.as_ref().is_some_and(|kept| !kept.contains(&info.id)) => &mut plan.passed_over,
                None => &mut plan.copies,
            };
            list.push(info.id.clone());
        }
        Ok(plan)
    }

    /// Copies what the plan says, oldest first. A snapshot of which the first store has lost something that the second one does
    /// not have either is not copied, and the rest goes on; the first store is told of the damage
    /// ([`distrust`](crate::store::SnapshotReader::distrust)).
    ///
    /// # Errors
    /// [`ReplicateError`]; what was copied by then stays, and the next run goes on from there.
    ///
    /// # Cancel safety
    /// Harmless to drop: each copy is there in whole or not at all.
    pub async fn apply(
        &self,
        plan: &ReplicatePlan,
        clock: &dyn Clock,
        observer: &dyn Observer,
    ) -> Result<ReplicateOutcome, ReplicateError> {
        let mut outcome = ReplicateOutcome::default();
        for id in &plan.copies {
            match self.copy(id, clock, observer).await {
                Ok(copied) => outcome.copied.push(copied),
                Err(Ended::Failed(failure)) => outcome.failed.push((id.clone(), failure)),
                Err(Ended::Overtaken) => outcome.overtaken.push(id.clone()),
                Err(Ended::Origin(source)) => return Err(ReplicateError::Origin { id: id.clone(), source }),
                Err(Ended::Sink(source)) => return Err(ReplicateError::Destination { id: id.clone(), source }),
            }
        }
        Ok(outcome)
    }

    async fn copy(&self, id: &SnapshotId, clock: &dyn Clock, observer: &dyn Observer) -> Result<Copied, Ended> {
        let reader = self.from.open(id).await.map_err(Ended::of_origin)?;
        let info = reader.info().clone();
        let writer = self.begin(&info, clock).await?;
        let copying = Copying { reader: &*reader, writer: &*writer, observer };
        let mut copied = match copying.run(info).await {
            Ok(copied) => copied,
            Err(failure) => {
                // The first error is the one to tell.
                let _ = writer.abort().await;
                return Err(failure);
            }
        };
        copied.info = writer.commit(Seal::new(clock.now())).await.map_err(Ended::Sink)?;
        if self.is_the_same(&*reader, &copied.info).await.map_err(Ended::Sink)? {
            return Ok(copied);
        }
        self.to.delete(id).await.map_err(Ended::Sink)?;
        Err(Ended::Failed(CopyFailure::Different))
    }

    /// Begins a copy. One that is there and that this store does not replace is left alone: it may have what nobody else has.
    async fn begin(&self, info: &SnapshotInfo, clock: &dyn Clock) -> Result<Box<dyn SnapshotWriter>, Ended> {
        match self.to.begin(NewSnapshot::copy_of(info.clone(), clock.now())).await {
            Err(StoreError::Exists { .. }) => Err(match self.to.open(&info.id).await {
                Ok(_) | Err(StoreError::NotFound { .. }) => Ended::Overtaken,
                Err(error) if error.retry() == Retry::Later => Ended::Sink(error),
                Err(error) => Ended::Failed(CopyFailure::Occupied(error)),
            }),
            begun => begun.map_err(Ended::Sink),
        }
    }

    /// Whether the second store gives back the manifest that it was given.
    async fn is_the_same(&self, reader: &dyn SnapshotReader, copied: &SnapshotInfo) -> Result<bool, StoreError> {
        let copy = self.to.open(&copied.id).await?;
        let (mut expected, mut found) = (reader.records().await?, copy.records().await?);
        if copy.info() != reader.info() {
            return Ok(false);
        }
        loop {
            match (expected.next().await?, found.next().await?) {
                (None, None) => return Ok(true),
                (expected, found) if expected == found => {}
                _ => return Ok(false),
            }
        }
    }

    async fn list(&self, store: &dyn SnapshotStore, which: &'static str) -> Result<Vec<SnapshotInfo>, ReplicateError> {
        let failed = |source| ReplicateError::List { source_name: self.source.clone(), store: which, source };
        store.list(&self.source).await.map_err(failed)
    }
}

impl fmt::Display for ReplicatePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in &self.copies {
            writeln!(f, "copy {id}")?;
        }
        for id in &self.passed_over {
            writeln!(f, "pass over {id}, which would not be kept there")?;
        }
        for id in &self.different {
            writeln!(f, "leave {id}, which is another snapshot there")?;
        }
        write!(f, "{} to copy, {} there already", self.copies.len(), self.present.len())
    }
}
