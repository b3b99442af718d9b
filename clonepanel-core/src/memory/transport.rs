//! [`MemoryTransport`]: a far end in memory.

use super::tree::{Listing, MemoryTree};
use crate::{
    observer::{Event, Observer},
    path::RelPath,
    problem::{Problem, ProblemKind},
    transport::{Deletion, PullRequest, PushRequest, TransferReport, Transport, TransportError, leaving},
    tree::{EntryStream, FileStream, Listed, TreeError, TreeSink, TreeSource, copy_covered},
};
use async_trait::async_trait;
use std::collections::{BTreeSet, HashSet};

const ENDPOINT: &str = "memory";

/// A transport whose far end is a [`MemoryTree`]; what is done to the tree is done at the far end.
///
/// Blocks that the sink's older version has at the same place do not "travel": they count as matched. With
/// [`PullRequest::since`] every entry is told to be settled or touched.
#[derive(Debug, Clone)]
pub struct MemoryTransport {
    far: MemoryTree,
}

impl MemoryTransport {
    /// A transport to and from `far`.
    #[must_use]
    pub const fn new(far: MemoryTree) -> Self {
        Self { far }
    }

    /// Removes what is at the far end and is neither among `listed` nor kept by the filter; tells how much that was, or why
    /// nothing was removed.
    fn delete_others(&self, request: &PushRequest, listed: &[Listed]) -> Result<u64, Problem> {
        if request.allowed_deletion() == Deletion::Keep {
            return Ok(0);
        }
        let mut staying = HashSet::new();
        for listed in listed {
            match listed {
                Listed::Entry(entry) => drop(staying.insert(entry.path.clone())),
                // What could not be listed may well be there: an error is no absence.
                Listed::Problem(problem) if problem.kind.is_loss() => {
                    let detail = "a part of the source could not be listed: nothing was deleted";
                    return Err(Problem::new(RelPath::root(), ProblemKind::Refused, detail));
                }
                Listed::Problem(_) => {}
            }
        }
        let far = self.far.list().into_iter().map(|entry| (entry.path.clone(), entry.is_dir()));
        let leaving = leaving(request, &staying, far)?;
        Ok(leaving.iter().map(|path| self.far.remove(path) as u64).sum())
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    fn endpoint(&self) -> &str {
        ENDPOINT
    }

    async fn pull(
        &self,
        request: &PullRequest,
        sink: &dyn TreeSink,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let (entries, clock) = self.far.scan(request.fresh_since());
        let here: BTreeSet<_> = entries.iter().map(|entry| &entry.path).collect();
        if let Some(missing) = request.wanted_paths().iter().find(|path| !here.contains(path)) {
            return Err(TransportError::NotFound { endpoint: ENDPOINT.to_owned(), path: missing.to_string() });
        }
        let source = Relisted { source: &self.far, listed: entries.into_iter().map(Listed::Entry).collect() };
        let report = copy_covered(&source, request, sink, observer).await?;
        Ok(TransferReport { source_clock: Some(clock), ..report })
    }

    async fn push(
        &self,
        request: &PushRequest,
        source: &dyn TreeSource,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let covered = request.covered();
        let mut listed = Vec::new();
        let mut entries = source.entries().await.map_err(TransportError::Source)?;
        while let Some(next) = entries.next().await.map_err(TransportError::Source)? {
            let excluded = matches!(&next, Listed::Entry(entry) if !covered.covers(&entry.path, entry.is_dir()));
            if !excluded {
                listed.push(next);
            }
        }
        let deleted = self.delete_others(request, &listed);
        let mut report = copy_covered(&Relisted { source, listed }, &covered, &self.far.pass(), observer).await?;
        match deleted {
            Ok(deleted) => report.deleted = deleted,
            Err(problem) => {
                observer.notice(&Event::Problem(&problem));
                report.problems.push(problem);
            }
        }
        Ok(report)
    }
}

/// A source whose listing was taken before.
struct Relisted<'a> {
    source: &'a dyn TreeSource,
    listed: Vec<Listed>,
}

#[async_trait]
impl TreeSource for Relisted<'_> {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(Listing::new(self.listed.clone())))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        self.source.open(path).await
    }
}
