//! [`carry`]: from a source to a sink, taking from the sink's older versions what is the same there.

use crate::{
    entry::{Entry, EntryKind},
    observer::{Event, Observer},
    path::RelPath,
    problem::{Problem, ProblemKind},
    transport::{TransferReport, TransportError},
    tree::{Basis, EntryStream, Listed, TreeError, TreeSink, TreeSource, Want},
};
use bytes::Bytes;
use std::collections::HashMap;

/// The unit in which a content is compared with its older version, in bytes.
const BLOCK: usize = 4096;

/// A way from a source to a sink.
pub(super) struct Carrier<'a> {
    pub(super) source: &'a dyn TreeSource,
    pub(super) sink: &'a dyn TreeSink,
    pub(super) observer: &'a dyn Observer,
    pub(super) report: TransferReport,
}

impl Carrier<'_> {
    /// Carries those of `entries` that `covers` lets pass.
    pub(super) async fn carry(
        &mut self,
        mut entries: Box<dyn EntryStream>,
        covers: &(dyn Fn(&RelPath, bool) -> bool + Sync),
    ) -> Result<(), TransportError> {
        // A group whose first name is left out goes on under the first name that is not.
        let mut first_names: HashMap<RelPath, RelPath> = HashMap::new();
        while let Some(listed) = entries.next().await.map_err(TransportError::Source)? {
            let mut entry = match listed {
                Listed::Entry(entry) => entry,
                Listed::Problem(problem) => {
                    self.problem(problem);
                    continue;
                }
            };
            if !covers(&entry.path, entry.is_dir()) {
                continue;
            }
            if let EntryKind::File { hardlink_to, .. } = &mut entry.kind
                && let Some(leader) = hardlink_to.take_if(|leader| !covers(leader, false))
            {
                let first = first_names.entry(leader).or_insert_with(|| entry.path.clone());
                *hardlink_to = (*first != entry.path).then(|| first.clone());
            }
            self.report.entries += 1;
            self.observer.notice(&Event::Listed { entries: 1, bytes: entry.len().unwrap_or(0) });
            match self.sink.offer(&entry).await {
                Ok(Want::Nothing) => {}
                Ok(Want::Data { basis }) => self.content(&entry, basis.as_deref()).await?,
                Err(TreeError::Refused { path, why }) => self.problem(Problem::new(path, ProblemKind::Refused, why)),
                Err(error) => return Err(TransportError::Sink(error)),
            }
        }
        Ok(())
    }

    async fn content(&mut self, entry: &Entry, basis: Option<&dyn Basis>) -> Result<(), TransportError> {
        let mut stream = match self.source.open(&entry.path).await {
            Ok(stream) => stream,
            Err(error) => {
                self.unread(entry, &error);
                return Ok(());
            }
        };
        let mut file = self.sink.file(entry).await.map_err(TransportError::Sink)?;
        let mut offset = 0_u64;
        loop {
            let chunk = match stream.read().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    self.unread(entry, &error);
                    return Ok(());
                }
            };
            let len = chunk.len() as u64;
            let literal_bytes = differing(offset, &chunk, basis).await;
            let matched_bytes = len - literal_bytes;
            self.report.literal_bytes += literal_bytes;
            self.report.matched_bytes += matched_bytes;
            self.observer.notice(&Event::Data { literal_bytes, matched_bytes });
            offset += len;
            file.write(chunk).await.map_err(TransportError::Sink)?;
        }
        file.finish().await.map_err(TransportError::Sink)?;
        self.report.files += 1;
        self.observer.notice(&Event::Finished { path: &entry.path });
        if entry.len() != Some(offset) {
            let detail = format!("{} bytes were listed and {offset} read", entry.len().unwrap_or(0));
            self.problem(Problem::new(entry.path.clone(), ProblemKind::Changed, detail));
        }
        Ok(())
    }

    fn unread(&mut self, entry: &Entry, error: &TreeError) {
        let kind = match error {
            TreeError::Denied { .. } => ProblemKind::Unreadable,
            TreeError::NotFound { .. } => ProblemKind::Vanished,
            _ => ProblemKind::Failed,
        };
        self.problem(Problem::new(entry.path.clone(), kind, error.to_string()));
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.observer.notice(&Event::Problem(&problem));
        self.report.problems.push(problem);
    }
}

/// How many bytes of the piece at `offset` are not the same in the older version.
async fn differing(offset: u64, chunk: &Bytes, basis: Option<&dyn Basis>) -> u64 {
    let mut differing = 0;
    let mut at = offset;
    for block in chunk.chunks(BLOCK) {
        let end = at + block.len() as u64;
        let same = match basis {
            // A basis that cannot be read only costs the saving.
            Some(basis) if end <= basis.len() => basis.read_at(at, block.len()).await.is_ok_and(|old| old == block),
            _ => false,
        };
        differing += if same { 0 } else { block.len() as u64 };
        at = end;
    }
    differing
}
