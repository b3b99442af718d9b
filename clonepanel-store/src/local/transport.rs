//! [`LocalTransport`]: a local directory as a far end.

use super::{
    scan::LocalScan,
    tree::{LocalTree, Owners, SpecialBits},
};
use async_trait::async_trait;
use clonepanel_core::{
    escape::Escaped,
    observer::{Event, Observer},
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    time::Timestamp,
    transport::{Deletion, PullRequest, PushRequest, TransferReport, Transport, TransportError},
    tree::{Listed, TreeError, TreeSink, TreeSource, copy_covered},
};
use std::{collections::HashSet, os::unix::ffi::OsStrExt as _, path::PathBuf, time::SystemTime};

/// Moves trees between here and a local directory, by plain reading and writing.
///
/// What it tells about [freshness](PullRequest::since) comes from the change times of the file system, which no program can
/// set.
#[derive(Debug, Clone)]
pub struct LocalTransport {
    root: PathBuf,
    endpoint: String,
    special_bits: SpecialBits,
    owners: Owners,
}

impl LocalTransport {
    /// A transport to and from the directory at `root`. A pull needs it, a push makes it.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let endpoint = Escaped(root.as_os_str().as_bytes()).to_string();
        Self { root, endpoint, special_bits: SpecialBits::default(), owners: Owners::default() }
    }

    /// Says what a push does with setuid, setgid and sticky bits. By default they are left out.
    #[must_use]
    pub const fn special_bits(mut self, bits: SpecialBits) -> Self {
        self.special_bits = bits;
        self
    }

    /// Says whom a push gives the files to. By default to whoever runs the program.
    #[must_use]
    pub const fn owners(mut self, owners: Owners) -> Self {
        self.owners = owners;
        self
    }

    fn not_found(&self, path: &RelPath) -> TransportError {
        let path = if path.is_root() { "such directory".to_owned() } else { path.to_string() };
        TransportError::NotFound { endpoint: self.endpoint.clone(), path }
    }

    async fn scan(&self, request: &PullRequest) -> Result<LocalScan, TransportError> {
        let scanned = LocalTree::new(&self.root).scan(request.clone()).await;
        let scan = scanned.map_err(|error| match error {
            TreeError::NotFound { path } => self.not_found(&path),
            TreeError::Denied { .. } => TransportError::Denied {
                endpoint: self.endpoint.clone(),
                detail: "the directory may not be read".to_owned(),
            },
            other => TransportError::Source(other),
        })?;
        // What was asked for by name must be there: its absence may be a misspelling.
        match scan.missing(request.wanted_paths()).await.map_err(TransportError::Source)?.first() {
            None => Ok(scan),
            Some(missing) => Err(self.not_found(missing)),
        }
    }
}

#[async_trait]
impl Transport for LocalTransport {
    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    async fn pull(
        &self,
        request: &PullRequest,
        sink: &dyn TreeSink,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let clock = Timestamp::from(SystemTime::now());
        let scan = self.scan(request).await?;
        let mut report = copy_covered(&scan, request, sink, observer).await?;
        report.source_clock = Some(clock);
        let mut told: HashSet<RelPath> = report.problems.listed().iter().map(|problem| problem.path.clone()).collect();
        for path in scan.changed() {
            if told.insert(path.clone()) {
                tell(
                    &mut report.problems,
                    observer,
                    Problem::new(path, ProblemKind::Changed, "it was written to while it was read"),
                );
            }
        }
        Ok(report)
    }

    async fn push(
        &self,
        request: &PushRequest,
        source: &dyn TreeSource,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let tree = LocalTree::new(&self.root).special_bits(self.special_bits).owners(self.owners);
        let (deleted, problems) = match request.allowed_deletion() {
            Deletion::Keep => (0, Problems::new()),
            Deletion::UpTo(_) => self.delete_others(&tree, request, source, observer).await?,
        };
        let covered = request.covered();
        let mut report = copy_covered(source, &covered, &tree, observer).await?;
        for problem in tree.finish().await.map_err(TransportError::Sink)?.listed() {
            tell(&mut report.problems, observer, problem.clone());
        }
        report.problems.extend_under(&RelPath::root(), problems);
        report.deleted = deleted;
        Ok(report)
    }
}

impl LocalTransport {
    /// Deletes what the source does not have, unless it cannot be told, or is too much.
    async fn delete_others(
        &self,
        tree: &LocalTree,
        request: &PushRequest,
        source: &dyn TreeSource,
        observer: &dyn Observer,
    ) -> Result<(u64, Problems), TransportError> {
        let mut staying = HashSet::new();
        let mut entries = source.entries().await.map_err(TransportError::Source)?;
        while let Some(listed) = entries.next().await.map_err(TransportError::Source)? {
            match listed {
                Listed::Entry(entry) => drop(staying.insert(entry.path)),
                // What could not be listed may well be there: an error is no absence.
                Listed::Problem(problem) if problem.kind.is_loss() => {
                    let detail = "a part of the source could not be listed: nothing was deleted";
                    let mut problems = Problems::new();
                    tell(&mut problems, observer, Problem::new(RelPath::root(), ProblemKind::Refused, detail));
                    return Ok((0, problems));
                }
                Listed::Problem(_) => {}
            }
        }
        let (deleted, problems) = match tree.leaving(request, staying).await.map_err(TransportError::Sink)? {
            Ok(leaving) => tree.delete(leaving).await.map_err(TransportError::Sink)?,
            Err(problem) => {
                let mut problems = Problems::new();
                problems.push(problem);
                (0, problems)
            }
        };
        for problem in problems.listed() {
            observer.notice(&Event::Problem(problem));
        }
        Ok((deleted, problems))
    }
}

fn tell(problems: &mut Problems, observer: &dyn Observer, problem: Problem) {
    observer.notice(&Event::Problem(&problem));
    problems.push(problem);
}
