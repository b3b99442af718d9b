//! [`copy()`]: the plainest way from a source to a sink.

use super::{Basis, FileStream, Listed, TreeError, TreeSink, TreeSource, Want};
use crate::{
    entry::{Entry, EntryKind},
    observer::{Event, Observer},
    path::RelPath,
    problem::{Problem, ProblemKind},
    transport::{PullRequest, TransferReport, TransportError},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{collections::HashMap, sync::Arc};

/// So many files are read and written at once.
const IN_FLIGHT: usize = 8;

/// The unit in which a content is compared with its basis, in bytes.
const BLOCK: usize = 4096;

/// The longest range that a basis is asked for, in bytes.
const LONGEST_RANGE: usize = 1 << 20;

/// Which end of a copy failed.
#[derive(Debug, thiserror::Error)]
#[allow(clippy::exhaustive_enums)]
pub enum CopyError {
    /// The destination.
    #[error("writing failed")]
    Sink(#[source] TreeError),
    /// The source, as a whole.
    #[error("reading failed")]
    Source(#[source] TreeError),
}

impl From<CopyError> for TreeError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Sink(error) | CopyError::Source(error) => error,
        }
    }
}

impl From<CopyError> for TransportError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Sink(error) => Self::Sink(error),
            CopyError::Source(error) => Self::Source(error),
        }
    }
}

/// Copies everything that `source` lists into `sink`, several files at once.
///
/// Trouble with one path is a problem in the report: what the listing has, a file that is gone (`Vanished`), may not be read
/// (`Unreadable`) or fails on the way (`Failed`), what the sink refuses (`Refused`), and a content of another length than was
/// listed (`Changed`). Where the sink gives a basis, blocks that are the same there count as matched.
///
/// # Errors
/// [`CopyError`], when the listing or the sink as a whole cannot go on, or this process has no open files or memory left
/// ([`TreeError::Exhausted`]); the sink may have received a part.
///
/// # Cancel safety
/// Harmless to drop: what is not complete in the sink is as if it had not begun.
pub async fn copy(
    source: &dyn TreeSource,
    sink: &dyn TreeSink,
    observer: &dyn Observer,
) -> Result<TransferReport, CopyError> {
    copy_covered(source, &PullRequest::new(), sink, observer).await
}

/// As [`copy()`], but only what the request [covers](PullRequest::covers). A group of hard links whose first name is left out
/// goes on under the first name that is not.
///
/// # Errors
/// As [`copy()`].
///
/// # Cancel safety
/// As [`copy()`].
pub async fn copy_covered(
    source: &dyn TreeSource,
    request: &PullRequest,
    sink: &dyn TreeSink,
    observer: &dyn Observer,
) -> Result<TransferReport, CopyError> {
    let mut tracker = Tracker { report: TransferReport::default(), observer };
    let mut first_names = FirstNames::default();
    let mut in_flight = FuturesUnordered::new();
    let mut entries = source.entries().await.map_err(CopyError::Source)?;
    while let Some(listed) = entries.next().await.map_err(CopyError::Source)? {
        let entry = match listed {
            Listed::Entry(entry) => entry,
            Listed::Problem(problem) => {
                if request.covers_problem(&problem) {
                    tracker.problem(problem);
                }
                continue;
            }
        };
        if !request.covers(&entry.path, entry.is_dir()) {
            continue;
        }
        let entry = request.as_offered(first_names.regroup(entry, request));
        tracker.report.entries += 1;
        observer.notice(&Event::Listed { entries: 1, bytes: entry.len().unwrap_or(0) });
        match sink.offer(&entry).await {
            Ok(Want::Nothing) => {}
            Ok(Want::Data { basis }) => {
                while in_flight.len() >= IN_FLIGHT
                    && let Some(done) = in_flight.next().await
                {
                    tracker.file(done?);
                }
                in_flight.push(File { source, sink, observer, entry }.copy(basis));
            }
            Err(TreeError::Refused { path, why }) => tracker.problem(Problem::new(path, ProblemKind::Refused, why)),
            Err(error) => return Err(CopyError::Sink(error)),
        }
    }
    while let Some(done) = in_flight.next().await {
        tracker.file(done?);
    }
    Ok(tracker.report)
}

/// Groups of hard links whose first name is left out, and the name that stands in for it.
#[derive(Default)]
struct FirstNames(HashMap<RelPath, RelPath>);

impl FirstNames {
    fn regroup(&mut self, mut entry: Entry, request: &PullRequest) -> Entry {
        if let EntryKind::File { hardlink_to, .. } = &mut entry.kind
            && let Some(leader) = hardlink_to.take_if(|leader| !request.covers(leader, false))
        {
            let first = self.0.entry(leader).or_insert_with(|| entry.path.clone());
            *hardlink_to = (*first != entry.path).then(|| first.clone());
        }
        entry
    }
}

struct Tracker<'a> {
    report: TransferReport,
    observer: &'a dyn Observer,
}

impl Tracker<'_> {
    fn problem(&mut self, problem: Problem) {
        self.observer.notice(&Event::Problem(&problem));
        self.report.problems.push(problem);
    }

    fn file(&mut self, done: Done) {
        self.report.files += u64::from(done.complete);
        self.report.literal_bytes += done.literal_bytes;
        self.report.matched_bytes += done.matched_bytes;
        if let Some(problem) = done.problem {
            self.problem(problem);
        }
    }
}

/// One file on its way.
struct File<'a> {
    source: &'a dyn TreeSource,
    sink: &'a dyn TreeSink,
    observer: &'a dyn Observer,
    entry: Entry,
}

/// What became of a file.
#[derive(Default)]
struct Done {
    complete: bool,
    literal_bytes: u64,
    matched_bytes: u64,
    problem: Option<Problem>,
}

impl File<'_> {
    async fn copy(self, basis: Option<Arc<dyn Basis>>) -> Result<Done, CopyError> {
        let mut done = Done::default();
        match self.source.open(&self.entry.path).await {
            Ok(stream) => self.content(stream, basis.as_deref(), &mut done).await?,
            Err(error) => done.problem = Some(self.unread(error)?),
        }
        Ok(done)
    }

    async fn content(
        &self,
        mut stream: Box<dyn FileStream>,
        basis: Option<&dyn Basis>,
        done: &mut Done,
    ) -> Result<(), CopyError> {
        let mut file = match self.sink.file(&self.entry).await {
            Ok(file) => file,
            Err(error) => {
                done.problem = Some(refused(error)?);
                return Ok(());
            }
        };
        let mut len = 0;
        loop {
            let chunk = match stream.read().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    done.problem = Some(self.unread(error)?);
                    return Ok(());
                }
            };
            let matched_bytes = matching(len, &chunk, basis).await;
            len += chunk.len() as u64;
            let literal_bytes = chunk.len() as u64 - matched_bytes;
            done.literal_bytes += literal_bytes;
            done.matched_bytes += matched_bytes;
            if let Err(error) = file.write(chunk).await {
                done.problem = Some(refused(error)?);
                return Ok(());
            }
            self.observer.notice(&Event::Data { literal_bytes, matched_bytes });
        }
        if let Err(error) = file.finish().await {
            done.problem = Some(refused(error)?);
            return Ok(());
        }
        self.observer.notice(&Event::Finished { path: &self.entry.path });
        done.complete = true;
        if let Some(listed) = self.entry.len().filter(|&listed| listed != len) {
            let detail = format!("{listed} bytes were listed and {len} read");
            done.problem = Some(Problem::new(self.entry.path.clone(), ProblemKind::Changed, detail));
        }
        Ok(())
    }

    /// What a file that cannot be read is to the copy; what is this process's own trouble is none of the file's.
    fn unread(&self, error: TreeError) -> Result<Problem, CopyError> {
        let kind = match &error {
            TreeError::Exhausted { .. } => return Err(CopyError::Source(error)),
            TreeError::Denied { .. } => ProblemKind::Unreadable,
            TreeError::NotFound { .. } => ProblemKind::Vanished,
            _ => ProblemKind::Failed,
        };
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Ok(Problem::new(self.entry.path.clone(), kind, format!("{error}{cause}")))
    }
}

/// What a sink refuses is a problem of that file; anything else is the sink's own trouble.
fn refused(error: TreeError) -> Result<Problem, CopyError> {
    match error {
        TreeError::Refused { path, why } => Ok(Problem::new(path, ProblemKind::Refused, why)),
        error => Err(CopyError::Sink(error)),
    }
}

/// How many bytes of the piece at `offset` are the same in the basis, in whole blocks.
async fn matching(offset: u64, chunk: &Bytes, basis: Option<&dyn Basis>) -> u64 {
    let Some(basis) = basis else { return 0 };
    let mut matching = 0;
    let mut at = offset;
    for range in chunk.chunks(LONGEST_RANGE) {
        let there = usize::try_from(basis.len().saturating_sub(at)).unwrap_or(usize::MAX).min(range.len());
        // A basis that cannot be read only costs the saving.
        if there > 0
            && let Ok(old) = basis.read_at(at, there).await
        {
            let same = range.chunks(BLOCK).zip(old.chunks(BLOCK)).filter(|(new, old)| new == old);
            matching += same.map(|(block, _)| block.len() as u64).sum::<u64>();
        }
        at += range.len() as u64;
    }
    matching
}
