//! [`PruneJob`]: deletes what a retention policy does not keep.

use crate::{
    observer::{Event, Observer},
    retention::{self, RetentionPlan, RetentionPolicy},
    retry::Retry,
    snapshot_id::{SnapshotId, SourceName},
    store::{SnapshotInfo, SnapshotState, SnapshotStore, StoreError},
    time::Timestamp,
};
use std::{fmt, sync::Arc};

/// Plans which snapshots of a source are to go, and deletes them.
pub struct PruneJob {
    store: Arc<dyn SnapshotStore>,
    source: SourceName,
    policy: RetentionPolicy,
}

/// What a prune did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct PruneOutcome {
    /// What was deleted, oldest first.
    pub deleted: Vec<SnapshotId>,
    /// What the plan would have deleted and was gone already.
    pub gone: Vec<SnapshotId>,
}

/// Why a prune did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// The snapshots cannot be listed.
    #[error("cannot list the snapshots of {source_name}")]
    List {
        /// Of what.
        source_name: SourceName,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A snapshot cannot be deleted; those before it in the plan are.
    #[error("cannot delete snapshot {id}")]
    Delete {
        /// Which.
        id: SnapshotId,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The plan would delete what must not be deleted: nothing was.
    #[error("the plan is refused: {id} {why}")]
    Refused {
        /// Which snapshot.
        id: SnapshotId,
        /// Why it must stay.
        why: &'static str,
    },
}

impl PruneError {
    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::List { source, .. } | Self::Delete { source, .. } => source.retry(),
            Self::Refused { .. } => Retry::Never,
        }
    }
}

impl fmt::Debug for PruneJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PruneJob").field("source", &self.source).field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl PruneJob {
    /// A prune of the snapshots of `source`.
    #[must_use]
    pub fn new(store: Arc<dyn SnapshotStore>, source: SourceName, policy: RetentionPolicy) -> Self {
        Self { store, source, policy }
    }

    /// What is to go as of `now`. Nothing is deleted.
    ///
    /// # Errors
    /// [`PruneError::List`].
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn plan(&self, now: Timestamp) -> Result<RetentionPlan, PruneError> {
        Ok(retention::plan(&self.policy, &self.list().await?, now))
    }

    /// Deletes what the plan says, oldest first. The observer is told of each one by a message.
    ///
    /// # Errors
    /// [`PruneError::Refused`] when the plan would delete the newest complete snapshot as the store has it now, or one of
    /// another source, and [`PruneError::List`]: nothing was deleted then. [`PruneError::Delete`] for the first one that cannot
    /// be deleted.
    ///
    /// # Cancel safety
    /// Harmless to drop: each snapshot is there in whole or gone.
    pub async fn apply(&self, plan: &RetentionPlan, observer: &dyn Observer) -> Result<PruneOutcome, PruneError> {
        let listed = self.list().await?;
        if let Some((id, why)) = self.objection(plan, &listed) {
            return Err(PruneError::Refused { id: id.clone(), why });
        }
        let mut outcome = PruneOutcome::default();
        for id in plan.deletions() {
            match self.store.delete(id).await {
                Ok(()) => {
                    observer.notice(&Event::Message { text: &format!("deleted {id}") });
                    outcome.deleted.push(id.clone());
                }
                Err(StoreError::NotFound { .. }) => outcome.gone.push(id.clone()),
                Err(source) => return Err(PruneError::Delete { id: id.clone(), source }),
            }
        }
        Ok(outcome)
    }

    /// Looks at the plan again as if it came from a stranger: what it must not delete, and why.
    fn objection<'a>(
        &self,
        plan: &'a RetentionPlan,
        listed: &[SnapshotInfo],
    ) -> Option<(&'a SnapshotId, &'static str)> {
        let complete = listed.iter().filter(|info| info.state() == SnapshotState::Complete);
        let newest = complete.map(|info| &info.id).max();
        plan.deletions().find_map(|id| {
            if id.source() != &self.source {
                Some((id, "is of another source"))
            } else if Some(id) == newest {
                Some((id, "is the newest complete snapshot"))
            } else {
                None
            }
        })
    }

    async fn list(&self) -> Result<Vec<SnapshotInfo>, PruneError> {
        let listed = self.store.list(&self.source).await;
        listed.map_err(|source| PruneError::List { source_name: self.source.clone(), source })
    }
}
