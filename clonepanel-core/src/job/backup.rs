//! [`BackupJob`]: one snapshot, from the first byte to the commit.

use super::part::PartSink;
use crate::{
    entry::Entry,
    observer::Observer,
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    retry::Retry,
    snapshot_id::SourceName,
    store::{NewSnapshot, Seal, Slice, SnapshotInfo, SnapshotStore, SnapshotWriter, StoreError},
    suspicion::SuspicionRules,
    time::{Clock, Timestamp},
    transport::{PullRequest, TransferReport, Transport, TransportError},
    tree::{self, TreeSource},
};
use futures_util::future::try_join;
use std::{collections::BTreeSet, fmt, sync::Arc};

/// Makes a snapshot of one source from its parts: what a transport pulls, and trees such as database dumps.
///
/// ```
/// # use clonepanel_core::{job::BackupJob, memory::{MemoryStore, MemoryTransport, MemoryTree}, path::RelPath};
/// # use clonepanel_core::{snapshot_id::SourceName, time::SystemClock, transport::PullRequest};
/// # use std::sync::Arc;
/// # async fn backup() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Arc::new(MemoryStore::new());
/// let account = Arc::new(MemoryTransport::new(MemoryTree::new()));
/// let job = BackupJob::new(store, SourceName::new("example.org")?)
///     .part(RelPath::try_from("files")?, account, PullRequest::new());
/// let outcome = job.run(&SystemClock, &()).await?;
/// println!("{} is {}", outcome.info.id, outcome.info.state().word());
/// # Ok(())
/// # }
/// ```
pub struct BackupJob {
    store: Arc<dyn SnapshotStore>,
    source: SourceName,
    parts: Vec<Part>,
    audit: u32,
    suspicion: SuspicionRules,
}

struct Part {
    prefix: RelPath,
    origin: Origin,
}

enum Origin {
    Pull(Arc<dyn Transport>, PullRequest),
    Tree(Arc<dyn TreeSource>),
}

/// What a backup did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct BackupOutcome {
    /// The snapshot, committed; its problems are those of all parts.
    pub info: SnapshotInfo,
    /// What each part did, in their order.
    pub parts: Vec<PartOutcome>,
}

/// What one part of a backup did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct PartOutcome {
    /// Where it stands in the snapshot.
    pub prefix: RelPath,
    /// The transfer. Its problems are in the snapshot's [`SnapshotInfo::problems`].
    pub report: TransferReport,
    /// Directories of the part with 50,000 entries and more, and how many: mostly sessions or a cache, which a filter had better
    /// leave out.
    pub wide_dirs: Vec<(RelPath, u64)>,
}

/// In which phase a backup ended, and why. Nothing was committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The snapshot could not be begun.
    #[error("cannot begin a snapshot of {source_name}")]
    Begin {
        /// Of what.
        source_name: SourceName,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// All was transferred, but it could not be made a snapshot.
    #[error("cannot commit the snapshot of {source_name}")]
    Commit {
        /// Of what.
        source_name: SourceName,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A part could not be transferred.
    #[error("cannot back up {prefix} of {source_name}")]
    Part {
        /// Of what.
        source_name: SourceName,
        /// Which part.
        prefix: RelPath,
        /// Why.
        #[source]
        source: TransportError,
    },
}

impl BackupError {
    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Begin { source, .. } | Self::Commit { source, .. } => source.retry(),
            Self::Part { source, .. } => source.retry(),
        }
    }
}

impl fmt::Debug for BackupJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.parts.iter().map(|part| &part.prefix).collect();
        f.debug_struct("BackupJob").field("source", &self.source).field("parts", &parts).finish_non_exhaustive()
    }
}

impl BackupJob {
    /// A backup of `source` into `store`, so far without a part.
    #[must_use]
    pub fn new(store: Arc<dyn SnapshotStore>, source: SourceName) -> Self {
        Self { store, source, parts: Vec::new(), audit: 0, suspicion: SuspicionRules::new() }
    }

    /// Adds what the transport pulls, below `prefix`. What the request says about `since` is decided by the job.
    #[must_use]
    pub fn part(mut self, prefix: RelPath, transport: Arc<dyn Transport>, request: PullRequest) -> Self {
        self.parts.push(Part { prefix, origin: Origin::Pull(transport, request) });
        self
    }

    /// Adds a tree, below `prefix`.
    #[must_use]
    pub fn tree(mut self, prefix: RelPath, tree: Arc<dyn TreeSource>) -> Self {
        self.parts.push(Part { prefix, origin: Origin::Tree(tree) });
        self
    }

    /// Compares one of `count` slices of all files by content, another one each day, so that in `count` days each was compared.
    /// Zero for none.
    #[must_use]
    pub const fn audit(mut self, count: u32) -> Self {
        self.audit = count;
        self
    }

    /// What looks like an accident, judged at the commit by what the snapshot holds. Such a snapshot is committed and
    /// [`Suspect`](crate::store::SnapshotState::Suspect), and so are the next ones until what happened is undone or accepted:
    /// [`SuspicionRules::accept_everything`], for one run.
    #[must_use]
    pub fn suspicion(mut self, rules: SuspicionRules) -> Self {
        self.suspicion = rules;
        self
    }

    /// Makes the snapshot: begins it, transfers the parts, and commits it, which judges it. What transports pull comes one after the
    /// other, and so do trees, both at the same time. The observer sees paths as the parts have them.
    ///
    /// # Errors
    /// [`BackupError`] names the phase; no snapshot was made then, and what was received may speed up the next try.
    ///
    /// # Cancel safety
    /// Harmless to drop: the snapshot is committed in whole or not at all.
    pub async fn run(&self, clock: &dyn Clock, observer: &dyn Observer) -> Result<BackupOutcome, BackupError> {
        let now = clock.now();
        let mut new = NewSnapshot::new(self.source.clone(), now);
        if let Some(slice) = slice_of_the_day(now, self.audit) {
            new = new.audit(slice);
        }
        let begun = self.store.begin(new).await;
        let writer = begun.map_err(|source| BackupError::Begin { source_name: self.source.clone(), source })?;

        let parts = match self.transfer(&*writer, observer).await {
            Ok(parts) => parts,
            Err(error) => {
                // The first error is the one to tell; a writer that cannot even give up holds nobody up.
                let _ = writer.abort().await;
                return Err(error);
            }
        };
        let (outcomes, problems) = gathered(parts);
        // Of several clocks the earliest: what changed since then is looked at again.
        let source_clock = outcomes.iter().filter_map(|part| part.report.source_clock).min();
        let seal = Seal::new(clock.now()).source_clock(source_clock).problems(problems).judge(self.suspicion.clone());
        let committed = writer.commit(seal).await;
        let info = committed.map_err(|source| BackupError::Commit { source_name: self.source.clone(), source })?;
        Ok(BackupOutcome { info, parts: outcomes })
    }

    async fn transfer(
        &self,
        writer: &dyn SnapshotWriter,
        observer: &dyn Observer,
    ) -> Result<Vec<PartOutcome>, BackupError> {
        let since = writer.base().and_then(|base| base.source_clock);
        self.make_parents(writer).await?;
        let lane = |is_lane: fn(&Origin) -> bool| async move {
            let mut outcomes = Vec::new();
            for (place, part) in self.parts.iter().enumerate().filter(|(_, part)| is_lane(&part.origin)) {
                let transferred = transfer_part(writer, part, since, observer).await;
                let (report, wide_dirs) = transferred.map_err(|source| self.failed(&part.prefix, source))?;
                outcomes.push((place, PartOutcome { prefix: part.prefix.clone(), report, wide_dirs }));
            }
            Ok(outcomes)
        };
        // Two things at a time, as each mostly waits for another server.
        let pulls = lane(|origin| matches!(origin, Origin::Pull(..)));
        let trees = lane(|origin| matches!(origin, Origin::Tree(..)));
        let (pulled, copied) = try_join(pulls, trees).await?;
        let mut outcomes = [pulled, copied].concat();
        outcomes.sort_by_key(|(place, _)| *place);
        Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
    }

    /// What is above the parts.
    async fn make_parents(&self, writer: &dyn SnapshotWriter) -> Result<(), BackupError> {
        let mut made = BTreeSet::new();
        for Part { prefix, .. } in &self.parts {
            let above = std::iter::successors(prefix.parent(), RelPath::parent).filter(|parent| !parent.is_root());
            let mut above: Vec<_> = above.filter(|parent| !made.contains(parent)).collect();
            above.reverse();
            for parent in above {
                let offered = tree::TreeSink::offer(&writer, &Entry::dir(parent.clone())).await;
                offered.map_err(|error| self.failed(prefix, TransportError::Sink(error)))?;
                made.insert(parent);
            }
        }
        Ok(())
    }

    fn failed(&self, prefix: &RelPath, source: TransportError) -> BackupError {
        BackupError::Part { source_name: self.source.clone(), prefix: prefix.clone(), source }
    }
}

async fn transfer_part(
    writer: &dyn SnapshotWriter,
    Part { prefix, origin }: &Part,
    since: Option<Timestamp>,
    observer: &dyn Observer,
) -> Result<(TransferReport, Vec<(RelPath, u64)>), TransportError> {
    let sink = PartSink::new(prefix.clone(), &writer);
    let report = match origin {
        Origin::Pull(transport, request) => transport.pull(&request.clone().since(since), &sink, observer).await?,
        Origin::Tree(source) => tree::copy(source, &sink, observer).await?,
    };
    sink.root().await.map_err(TransportError::Sink)?;
    Ok((report, sink.wide_dirs()))
}

/// Moves the problems of the parts together, as paths of the snapshot.
fn gathered(mut parts: Vec<PartOutcome>) -> (Vec<PartOutcome>, Problems) {
    let mut problems = Problems::new();
    for PartOutcome { prefix, report, .. } in &mut parts {
        let of_part = std::mem::take(&mut report.problems);
        if of_part.hides_losses() {
            // Nobody can tell any more which paths are affected: nothing below counts as deleted.
            let detail = "there are too many problems to list";
            problems.push(Problem::new(prefix.clone(), ProblemKind::Unlisted, detail));
        }
        problems.extend_under(prefix, of_part);
    }
    (parts, problems)
}

/// Another slice each day, all of them in `count` days.
fn slice_of_the_day(now: Timestamp, count: u32) -> Option<Slice> {
    let day = now.day_number().checked_rem_euclid(count.into())?;
    Slice::new(u32::try_from(day).ok()?, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slice_has_its_day() {
        assert_eq!(slice_of_the_day(Timestamp::default(), 0), None);
        let of_day = |day: i64| slice_of_the_day(Timestamp::from_secs(day * 86_400 + 5), 7);
        let week: Vec<_> = (-3..4).map(of_day).collect();
        for index in 0..7 {
            assert!(week.contains(&Slice::new(index, 7)));
        }
        assert_eq!(of_day(-3), of_day(4));
    }
}
