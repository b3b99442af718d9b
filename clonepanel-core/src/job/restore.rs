//! [`RestoreJob`]: from a snapshot to anywhere.

use super::{
    backup::BackupJob,
    push_plan::PushPlan,
    restored::{Restored, RestoredSource, StandIn},
    sparing::Sparing,
};
use crate::{
    entry::{Entry, EntryKind},
    observer::Observer,
    path::RelPath,
    retry::Retry,
    snapshot_id::{SnapshotId, SourceName},
    store::{SnapshotReader, SnapshotStore, StoreError},
    suspicion::SuspicionRules,
    transport::{Comparison, PullRequest, PushRequest, TransferReport, Transport, TransportError, list_far},
    tree::{self, CopyError, Listed, TreeError, TreeSink, TreeSource},
};
use std::{fmt, sync::Arc};

/// Writes what a snapshot holds at a path into a sink: of a directory what is in it, of anything else just that, under its own
/// name. Every content is checked against the manifest on its way.
pub struct RestoreJob {
    reader: Arc<dyn SnapshotReader>,
    path: RelPath,
}

/// What a restore would write. `Display` shows all of it, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct RestorePlan {
    /// From which snapshot.
    pub id: SnapshotId,
    /// What is written, as paths of the destination, in the order of their paths.
    pub entries: Vec<Entry>,
    /// Files, every name of a hard-linked one counted.
    pub files: u64,
    /// Content to be written, in bytes.
    pub bytes: u64,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct RestoreOutcome {
    /// From which snapshot.
    pub id: SnapshotId,
    /// What was written; its problems list what was not, with paths of the destination.
    pub report: TransferReport,
}

/// Why a restore did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The snapshot does not have the path.
    #[error("snapshot {id} has no {path}")]
    NotFound {
        /// Which snapshot.
        id: SnapshotId,
        /// What is missing.
        path: RelPath,
    },
    /// The destination failed.
    #[error("cannot write what is restored")]
    Sink(#[source] TreeError),
    /// The account could not be looked at or written to.
    #[error("cannot restore to {endpoint}")]
    Account {
        /// Which.
        endpoint: String,
        /// Why.
        #[source]
        source: TransportError,
    },
    /// The snapshot cannot be read.
    #[error("cannot read snapshot {id}")]
    Snapshot {
        /// Which.
        id: SnapshotId,
        /// Why.
        #[source]
        source: StoreError,
    },
}

impl RestoreError {
    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Account { source, .. } => source.retry(),
            Self::NotFound { .. } => Retry::Never,
            Self::Sink(error) => error.retry(),
            Self::Snapshot { source, .. } => source.retry(),
        }
    }
}

impl fmt::Debug for RestoreJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreJob")
            .field("id", &self.reader.info().id)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl RestoreJob {
    /// A restore of what the snapshot has at `path`: `files/public_html` for a folder of the account.
    #[must_use]
    pub fn new(reader: Arc<dyn SnapshotReader>, path: RelPath) -> Self {
        Self { reader, path }
    }

    /// What a run would write. Nothing is written, and no content is read.
    ///
    /// # Errors
    /// [`RestoreError::NotFound`] and [`RestoreError::Snapshot`].
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn plan(&self) -> Result<RestorePlan, RestoreError> {
        let restored = self.restored().await?;
        let mut entries = restored.entries_of(&self.path).await.map_err(|source| self.unreadable(source))?;
        let mut plan = RestorePlan { id: self.reader.info().id.clone(), entries: Vec::new(), files: 0, bytes: 0 };
        while let Some(entry) = entries.next().await.map_err(|source| self.unreadable(source))? {
            plan.files += u64::from(entry.len().is_some());
            if entry.has_content() {
                plan.bytes += entry.len().unwrap_or(0);
            }
            plan.entries.push(entry);
        }
        Ok(plan)
    }

    /// Restores. A file whose kept content is damaged is not written but listed, and the rest goes on.
    ///
    /// # Errors
    /// [`RestoreError`]; the destination may have received a part.
    ///
    /// # Cancel safety
    /// Harmless to drop: each file at the destination is complete or as before.
    pub async fn run(&self, sink: &dyn TreeSink, observer: &dyn Observer) -> Result<RestoreOutcome, RestoreError> {
        let restored = self.restored().await?;
        let source = RestoredSource { restored: &restored, path: &self.path, stand_in: StandIn::Listed };
        let report = tree::copy(&source, sink, observer).await.map_err(|error| match error {
            CopyError::Sink(error) => RestoreError::Sink(error),
            CopyError::Source(error) => self.unreadable(StoreError::Tree(error)),
        })?;
        Ok(RestoreOutcome { id: self.reader.info().id.clone(), report })
    }

    /// What a push with `request` would change at the far end of `transport`. Nothing is written there, and no content is read.
    /// With wanted paths these are paths below [`Self::new`]'s, and the far end's root stands for that.
    ///
    /// # Errors
    /// [`RestoreError::NotFound`], [`RestoreError::Snapshot`] and [`RestoreError::Account`].
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn plan_push(&self, transport: &dyn Transport, request: &PushRequest) -> Result<PushPlan, RestoreError> {
        let restored = self.restored().await?;
        let source = RestoredSource { restored: &restored, path: &self.path, stand_in: StandIn::LeftOut };
        let mut entries = source.entries().await.map_err(|error| self.unreadable(error.into()))?;
        let (covered, mut wanted) = (request.covered(), Vec::new());
        while let Some(listed) = entries.next().await.map_err(|error| self.unreadable(error.into()))? {
            if let Listed::Entry(entry) = listed
                && covered.covers(&entry.path, entry.is_dir())
            {
                wanted.push(entry);
            }
        }
        let (far, problems) = list_far(transport, request).await.map_err(|source| failed(transport, source))?;
        Ok(PushPlan::new(self.reader.info().id.clone(), request, wanted, far, problems))
    }

    /// Restores to the far end of `transport`: what differs travels, and what is deleted there goes by the request. A file whose
    /// kept content is damaged is not written but listed, and the rest goes on.
    ///
    /// # Errors
    /// [`RestoreError`]; the far end may have received a part.
    ///
    /// # Cancel safety
    /// Harmless to drop: each file at the far end is old or new, never mixed.
    pub async fn push(
        &self,
        transport: &dyn Transport,
        request: &PushRequest,
        observer: &dyn Observer,
    ) -> Result<RestoreOutcome, RestoreError> {
        let restored = self.restored().await?;
        let source = RestoredSource { restored: &restored, path: &self.path, stand_in: StandIn::LeftOut };
        let report = transport.push(request, &source, observer).await.map_err(|error| match error {
            TransportError::Source(error) => self.unreadable(StoreError::Tree(error)),
            error => failed(transport, error),
        })?;
        Ok(RestoreOutcome { id: self.reader.info().id.clone(), report })
    }

    /// The backup that keeps, as a snapshot of `source`, what [`Self::push`] is about to overwrite or delete at the paths that
    /// the plan found there. What the snapshot to be restored has in the same length and time is taken from it and does not
    /// travel, unless length and time are not to be trusted: with [`Comparison::Content`] every file is looked into. `None` when
    /// there is nothing to keep.
    #[must_use]
    pub fn undo(
        &self,
        store: Arc<dyn SnapshotStore>,
        source: SourceName,
        transport: Arc<dyn Transport>,
        request: &PushRequest,
        plan: &PushPlan,
    ) -> Option<BackupJob> {
        if plan.present.is_empty() {
            return None;
        }
        let is_whole = plan.present.iter().any(RelPath::is_root);
        let paths = if is_whole { Vec::new() } else { plan.present.clone() };
        let wanted = PullRequest::new().paths(paths).filter(request.wanted_filter().clone());
        let (transport, audited): (Arc<dyn Transport>, _) = match request.wanted_comparison() {
            Comparison::Content => (transport, 1),
            Comparison::LengthAndTime => {
                let (reader, prefix) = (Arc::clone(&self.reader), self.path.clone());
                (Arc::new(Sparing { transport, reader, prefix }), 0)
            }
        };
        let job = BackupJob::new(store, source).part(self.path.clone(), transport, wanted).audit(audited);
        // Whatever is there is what is to be kept.
        Some(job.suspicion(SuspicionRules::accept_everything()))
    }

    async fn restored(&self) -> Result<Restored, RestoreError> {
        let record = self.reader.record(&self.path).await.map_err(|source| self.unreadable(source))?;
        // The root of a snapshot is there even if nothing is recorded about it.
        if record.is_none() && !self.path.is_root() {
            return Err(RestoreError::NotFound { id: self.reader.info().id.clone(), path: self.path.clone() });
        }
        Ok(Restored::new(Arc::clone(&self.reader), &self.path, record.as_ref()))
    }

    fn unreadable(&self, source: StoreError) -> RestoreError {
        RestoreError::Snapshot { id: self.reader.info().id.clone(), source }
    }
}

fn failed(transport: &dyn Transport, source: TransportError) -> RestoreError {
    RestoreError::Account { endpoint: transport.endpoint().to_owned(), source }
}

impl fmt::Display for RestorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { path, kind, .. } in &self.entries {
            match kind {
                EntryKind::BlockDevice(_) => writeln!(f, "block device {path}")?,
                EntryKind::CharDevice(_) => writeln!(f, "character device {path}")?,
                EntryKind::Dir => writeln!(f, "directory {path}")?,
                EntryKind::Fifo => writeln!(f, "pipe {path}")?,
                EntryKind::File { hardlink_to: Some(leader), .. } => writeln!(f, "file {path} (the same as {leader})")?,
                EntryKind::File { len, .. } => writeln!(f, "file {path} ({len} bytes)")?,
                EntryKind::Socket => writeln!(f, "socket {path}")?,
                EntryKind::Symlink(target) => writeln!(f, "link {path} -> {target}")?,
            }
        }
        write!(f, "{} entries, {} files, {} bytes from {}", self.entries.len(), self.files, self.bytes, self.id)
    }
}
