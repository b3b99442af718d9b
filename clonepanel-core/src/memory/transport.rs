//! [`MemoryTransport`]: a far end in memory.

use super::{
    carry::Carrier,
    tree::{Listing, MemoryTree},
};
use crate::{
    observer::Observer,
    path::RelPath,
    problem::{Problem, ProblemKind},
    transport::{Deletion, PullRequest, PushRequest, TransferReport, Transport, TransportError},
    tree::{Listed, TreeSink, TreeSource},
};
use async_trait::async_trait;
use std::collections::BTreeSet;

const ENDPOINT: &str = "memory";

/// A transport whose far end is a [`MemoryTree`]; what is done to the tree is done at the far end.
///
/// Content "travels" in blocks of 4 KiB: those that the sink's older version has at the same place count as matched. With
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

    /// Removes what is at the far end and is neither among `listed` nor kept by the filter.
    fn delete_others(&self, request: &PushRequest, listed: &BTreeSet<RelPath>, carrier: &mut Carrier<'_>) {
        let Deletion::UpTo(limit) = request.allowed_deletion() else { return };
        let mut staying = BTreeSet::new();
        let mut leaving = Vec::new();
        // Children come before their parents, so a directory stays when something in it does.
        for entry in self.far.list().into_iter().rev() {
            let kept = request.wanted_filter().excludes_with_parents(&entry.path, entry.is_dir());
            if entry.path.is_root() || kept || listed.contains(&entry.path) || staying.contains(&entry.path) {
                staying.extend(entry.path.parent());
            } else {
                leaving.push(entry.path);
            }
        }
        if leaving.len() as u64 > limit {
            let detail = format!("{} entries would be deleted and at most {limit} may be: none was", leaving.len());
            carrier.problem(Problem::new(RelPath::root(), ProblemKind::Refused, detail));
            return;
        }
        for path in leaving {
            carrier.report.deleted += self.far.remove(&path) as u64;
        }
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
        let report = TransferReport { source_clock: Some(clock), ..TransferReport::default() };
        let mut carrier = Carrier { source: &self.far, sink, observer, report };
        let covers = |path: &RelPath, is_dir| request.covers(path, is_dir);
        carrier.carry(Box::new(Listing::new(entries)), &covers).await?;
        Ok(carrier.report)
    }

    async fn push(
        &self,
        request: &PushRequest,
        source: &dyn TreeSource,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let sink = self.far.pass();
        let mut carrier = Carrier { source, sink: &sink, observer, report: TransferReport::default() };
        let excluded = |path: &RelPath, is_dir| request.wanted_filter().excludes_with_parents(path, is_dir);

        let mut entries = Vec::new();
        let mut stream = source.entries().await.map_err(TransportError::Source)?;
        while let Some(listed) = stream.next().await.map_err(TransportError::Source)? {
            match listed {
                Listed::Entry(entry) if excluded(&entry.path, entry.is_dir()) => {}
                Listed::Entry(entry) => entries.push(entry),
                Listed::Problem(problem) => carrier.problem(problem),
            }
        }
        // What could not be listed may well be there: an error is no absence.
        if carrier.report.problems.losses() == 0 {
            let listed = entries.iter().map(|entry| entry.path.clone()).collect();
            self.delete_others(request, &listed, &mut carrier);
        }
        let covers = |path: &RelPath, is_dir| !excluded(path, is_dir);
        carrier.carry(Box::new(Listing::new(entries)), &covers).await?;
        Ok(carrier.report)
    }
}
