//! Files on their way: asking for a content, and putting it together from literal bytes and the basis.

use super::{Broken, Pull};
use crate::{
    delta::{BlockRule, Hasher, StrongLength, WireSignatureBuilder},
    error::ProtocolError,
    session::{Agreed, Answer},
    wire::{Compressor, SumHead},
};
use bytes::Bytes;
use clonepanel_core::{
    entry::Entry,
    observer::Event,
    path::RelPath,
    problem::{Problem, ProblemKind},
    tree::{Basis, FileSink, TreeError},
};
use std::sync::Arc;

/// The basis is read in pieces of at most this size.
const MAX_READ: u64 = 1 << 20;

/// A file whose content was asked for.
pub(super) struct Asked {
    pub(super) entry: Entry,
    basis: Option<Arc<dyn Basis>>,
    strong: StrongLength,
}

impl Asked {
    pub(super) const fn new(entry: Entry, basis: Option<Arc<dyn Basis>>) -> Self {
        Self { entry, basis, strong: StrongLength::ByLength }
    }

    /// How many bytes the far end compares before it may have anything to say: what is unchanged costs no word.
    pub(super) fn compared(&self) -> u64 {
        self.basis.as_ref().map_or(0, |basis| basis.len())
    }
}

/// The file whose content is arriving.
pub(super) struct FileInProgress {
    asked: Asked,
    /// `None` once the file is lost: the rest of its content is let pass.
    sink: Option<Box<dyn FileSink>>,
    hasher: Hasher,
    basis_is_bad: bool,
    /// The sink does not take it: another try would be no use.
    is_refused: bool,
}

impl FileInProgress {
    /// As [`Asked::compared`].
    pub(super) fn compared(&self) -> u64 {
        self.asked.compared()
    }
}

impl Pull<'_> {
    /// Asks for the content of an entry, with the sums of its basis; tells how many bytes that takes on the wire.
    pub(super) async fn ask(&mut self, index: u32, mut asked: Asked) -> Result<usize, Broken> {
        let mut answer = Answer { head: SumHead::default(), sums: Vec::new() };
        if let Some(basis) = &asked.basis {
            let violation = ProtocolError::Violation("content before the handshake");
            let agreed = *self.receiver.agreed().ok_or(violation)?;
            match sums(basis.as_ref(), agreed, asked.strong).await {
                Ok((head, sums)) => answer = Answer { head, sums },
                // An older version that cannot be read is no basis; that is all.
                Err(_) => asked.basis = None,
            }
        }
        self.receiver.ask(index, asked.entry.len().unwrap_or(0), &answer)?;
        self.asked.insert(index, asked);
        Ok(answer.sums.len() + 32)
    }

    pub(super) async fn begin(&mut self, index: u32) -> Result<(), Broken> {
        let asked = self.asked.remove(&index).zip(self.receiver.agreed());
        let (asked, agreed) = asked.ok_or(ProtocolError::Violation("content that was not asked for"))?;
        let checksum = agreed.checksum;
        let (sink, is_refused) = match self.sink.file(&asked.entry).await {
            Ok(sink) => (Some(sink), false),
            Err(TreeError::Refused { why, .. }) => {
                self.problem(Problem::new(asked.entry.path.clone(), ProblemKind::Refused, why));
                (None, true)
            }
            Err(error) => return Err(error.into()),
        };
        let hasher = Hasher::new(checksum);
        self.current = Some(FileInProgress { asked, sink, hasher, basis_is_bad: false, is_refused });
        Ok(())
    }

    pub(super) async fn literal(&mut self, bytes: Bytes) -> Result<(), Broken> {
        self.report.literal_bytes += bytes.len() as u64;
        self.observer.notice(&Event::Data { literal_bytes: bytes.len() as u64, matched_bytes: 0 });
        self.append(bytes).await
    }

    pub(super) async fn copy(&mut self, mut offset: u64, len: u64) -> Result<(), Broken> {
        let end = offset + len;
        while offset < end {
            let part = MAX_READ.min(end - offset);
            let basis = self.current.as_ref().and_then(|file| file.asked.basis.clone());
            let read = match basis {
                Some(basis) => read_exactly(basis.as_ref(), offset, part as usize).await.ok(),
                None => None,
            };
            let bytes = read.unwrap_or_else(|| {
                // The file is asked for again, without this basis; until then the decompressor must be kept in step.
                if let Some(file) = &mut self.current {
                    file.sink = None;
                    file.basis_is_bad = true;
                }
                Bytes::from(vec![0; part as usize])
            });
            if self.receiver.wants_copies() {
                self.receiver.copied(&bytes)?;
            }
            self.report.matched_bytes += part;
            self.observer.notice(&Event::Data { literal_bytes: 0, matched_bytes: part });
            self.append(bytes).await?;
            offset += part;
        }
        Ok(())
    }

    async fn append(&mut self, bytes: Bytes) -> Result<(), Broken> {
        if let Some(file) = &mut self.current
            && let Some(sink) = &mut file.sink
        {
            file.hasher.update(&bytes);
            match sink.write(bytes).await {
                Ok(()) => {}
                Err(TreeError::Refused { path, why }) => {
                    (file.sink, file.is_refused) = (None, true);
                    self.problem(Problem::new(path, ProblemKind::Refused, why));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) async fn end(&mut self, index: u32, digest: &[u8]) -> Result<(), Broken> {
        let Some(FileInProgress { mut asked, sink, hasher, basis_is_bad, is_refused }) = self.current.take() else {
            return Ok(());
        };
        let path = asked.entry.path.clone();
        match sink {
            Some(sink) if hasher.is(digest) => {
                match sink.finish().await {
                    Ok(written) => {
                        self.report.files += 1;
                        self.observer.notice(&Event::Finished { path: &path });
                        if asked.entry.len() != Some(written.len) {
                            let detail = "it was written to while it was read";
                            self.problem(Problem::new(path, ProblemKind::Changed, detail));
                        }
                    }
                    Err(TreeError::Refused { why, .. }) => {
                        self.problem(Problem::new(path, ProblemKind::Refused, why));
                    }
                    Err(error) => return Err(error.into()),
                }
                self.receiver.settle(index);
            }
            _ if is_refused => self.receiver.settle(index),
            _ if self.receiver.may_retry(index) => {
                // Short sums can match the wrong block; with full ones that does not happen.
                asked.strong = StrongLength::Full;
                if basis_is_bad {
                    asked.basis = None;
                }
                self.ask(index, asked).await?;
            }
            _ => {
                self.problem(Problem::new(path, ProblemKind::Failed, "its content did not pass the check twice"));
                self.receiver.settle(index);
            }
        }
        Ok(())
    }
}

/// Reads a basis and sums its blocks.
async fn sums(basis: &dyn Basis, agreed: Agreed, strong: StrongLength) -> Result<(SumHead, Vec<u8>), TreeError> {
    let has_flaw = agreed.protocol < 31 && agreed.compressor == Compressor::Zlib;
    let rule = if has_flaw { BlockRule::short() } else { BlockRule::any() };
    let head = rule.head(basis.len(), agreed.checksum, strong);
    let mut builder = WireSignatureBuilder::new(head, agreed.checksum, agreed.seed);
    if head.count > 0 {
        let block_len = u64::from(head.block_len);
        let step = (MAX_READ / block_len).max(1) * block_len;
        let mut offset = 0;
        while offset < basis.len() {
            let len = step.min(basis.len() - offset);
            builder.update(&read_exactly(basis, offset, len as usize).await?);
            offset += len;
        }
    }
    Ok(builder.finish())
}

/// A basis of another maker may not keep to its contract; fewer bytes would put the sums out of step.
async fn read_exactly(basis: &dyn Basis, offset: u64, len: usize) -> Result<Bytes, TreeError> {
    let bytes = basis.read_at(offset, len).await?;
    if bytes.len() == len { Ok(bytes) } else { Err(TreeError::Damaged { path: RelPath::root() }) }
}
