//! Contents on their way: from the source, as new bytes and as blocks that the far end has.

use super::{Broken, Push, Wait, source::unread};
use crate::{
    connect::Connection,
    delta::{Hasher, Search, Searchable, Step, WireSums},
    error::ProtocolError,
    session::Asked,
    wire::SumHead,
};
use bytes::Bytes;
use clonepanel_core::{
    entry::{Entry, EntryKind},
    observer::Event,
    path::RelPath,
    problem::{Problem, ProblemKind},
    tree::{FileStream, TreeError},
};

/// New data are compared in windows of at least so many bytes and blocks: what is carried from one to the next is little then.
const MIN_WINDOW: usize = 1 << 20;
const MIN_BLOCKS: usize = 16;

impl Push<'_> {
    /// Sends a content, or says that it will not come.
    ///
    /// A content that cannot be read to its end, or has another length than was listed, gets a wrong digest: then the far end
    /// keeps what it had, and the wrong content with what is half sent, for the next push to build on.
    pub(super) async fn answer(&mut self, connection: &mut Connection, asked: Asked) -> Result<(), Broken> {
        let entry = self.entries.get(asked.entry).ok_or(ProtocolError::Violation("an entry that was not listed"))?;
        let is_again = self.sent.remove(&asked.entry);
        // What failed here will fail again; what the far end found wrong may have been a chance match.
        if self.unsent.get(&asked.entry).is_some_and(|problem| problem.kind != ProblemKind::Changed) {
            return self.decline(entry);
        }
        let stream = match self.source.open(first_name(entry)).await {
            Ok(stream) => stream,
            Err(error) => {
                self.fail(asked.entry, unread(&entry.path, error).map_err(Broken::Transport)?);
                return self.decline(entry);
            }
        };
        let agreed = *self.sender.agreed().ok_or(ProtocolError::Violation("a request before the handshake"))?;
        self.sender.begin();
        let begun = tokio::time::Instant::now();
        let head = asked.head;
        let basis = WireSums::new(head, asked.sums.into(), agreed.checksum, agreed.seed).map(Searchable::new);
        self.pace.worked(begun.elapsed());
        let mut content = Content { stream, hasher: Hasher::new(agreed.checksum), len: 0 };
        let ended = match &basis {
            Some(basis) => self.differences(connection, &mut content, basis, head).await?,
            None => self.whole(connection, &mut content).await?,
        };
        let Content { hasher, len, .. } = content;
        let problem = match ended {
            Err(error) => Some(unread(&entry.path, error).map_err(Broken::Transport)?),
            Ok(()) => entry.len().filter(|&listed| listed != len).map(|listed| {
                let detail = format!("{listed} bytes were listed and {len} read: not written");
                Problem::new(entry.path.clone(), ProblemKind::Changed, detail)
            }),
        };
        let mut digest = hasher.finish();
        if let Some(problem) = problem {
            spoil(&mut digest);
            self.fail(asked.entry, problem);
        } else {
            self.unsent.remove(&asked.entry);
            self.sent.insert(asked.entry);
            if !is_again {
                self.observer.notice(&Event::Finished { path: &entry.path });
            }
        }
        self.sender.finish(&digest)?;
        self.exchange(connection, Wait::ForRoom).await
    }

    /// A content is not sent, or not as it should be. What the far end would delete may be the same content under an older
    /// name.
    fn fail(&mut self, position: usize, problem: Problem) {
        self.unsent.insert(position, problem);
        self.sender.stop_deletions();
    }

    /// Says that a content will not come.
    ///
    /// When a file with several names is refused, stock receivers ask for the next name, but so late that they take the answer
    /// for nonsense: those get an empty content that is wrong.
    fn decline(&mut self, entry: &Entry) -> Result<(), Broken> {
        if !self.is_linked(entry) {
            self.sender.refuse();
            return Ok(());
        }
        let agreed = self.sender.agreed().ok_or(ProtocolError::Violation("a request before the handshake"))?;
        let mut digest = Hasher::new(agreed.checksum).finish();
        spoil(&mut digest);
        self.sender.begin();
        Ok(self.sender.finish(&digest)?)
    }

    /// Whether a file has other names.
    fn is_linked(&self, entry: &Entry) -> bool {
        let is_further = matches!(entry.kind, EntryKind::File { hardlink_to: Some(_), .. });
        is_further || self.first_names.contains(&entry.path)
    }

    /// Sends all that the stream gives as new bytes. The inner error ends the content early.
    async fn whole(
        &mut self,
        connection: &mut Connection,
        content: &mut Content,
    ) -> Result<Result<(), TreeError>, Broken> {
        loop {
            let begun = tokio::time::Instant::now();
            let piece = match content.read().await {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            self.sender.literal(&piece)?;
            self.count(piece.len() as u64, 0);
            self.pace.worked(begun.elapsed());
            self.exchange(connection, Wait::ForRoom).await?;
        }
    }

    /// Sends what differs from the blocks that the far end has. The inner error ends the content early.
    async fn differences(
        &mut self,
        connection: &mut Connection,
        content: &mut Content,
        basis: &Searchable<WireSums>,
        head: SumHead,
    ) -> Result<Result<(), TreeError>, Broken> {
        let enough = MIN_WINDOW.max(MIN_BLOCKS * head.block_len as usize);
        let mut search = Search::new(basis);
        let mut window = Vec::with_capacity(2 * enough);
        loop {
            let begun = tokio::time::Instant::now();
            let mut is_last = false;
            while window.len() < enough && !is_last {
                match content.read().await {
                    Ok(Some(piece)) => window.extend_from_slice(&piece),
                    Ok(None) => is_last = true,
                    Err(error) => return Ok(Err(error)),
                }
            }
            let mut at = 0;
            let mut sent = Ok(());
            let mut step = |step: Step<'_>| {
                if sent.is_ok() {
                    sent = self.step(step, &window, &mut at, head);
                }
            };
            if is_last {
                search.finish(&window, step);
                sent?;
                return Ok(Ok(()));
            }
            let decided = search.advance(&window, &mut step);
            sent?;
            window.drain(..decided);
            self.pace.worked(begun.elapsed());
            self.exchange(connection, Wait::ForRoom).await?;
        }
    }

    /// Sends the next step, which stands at `at` in the window.
    fn step(&mut self, step: Step<'_>, window: &[u8], at: &mut usize, head: SumHead) -> Result<(), ProtocolError> {
        match step {
            Step::Literal(bytes) => {
                *at += bytes.len();
                self.count(bytes.len() as u64, 0);
                self.sender.literal(bytes)
            }
            Step::Blocks { first, count } => {
                let (_, len) = head.range(first, count).ok_or(ProtocolError::Violation("blocks that are not there"))?;
                let data = window.get(*at..*at + len as usize).unwrap_or_default();
                *at += len as usize;
                self.count(0, len);
                self.sender.blocks(first, count, data)
            }
        }
    }

    fn count(&mut self, literal_bytes: u64, matched_bytes: u64) {
        self.report.literal_bytes += literal_bytes;
        self.report.matched_bytes += matched_bytes;
        self.observer.notice(&Event::Data { literal_bytes, matched_bytes });
    }
}

/// The name that a file was first listed under.
pub(super) const fn first_name(entry: &Entry) -> &RelPath {
    match &entry.kind {
        EntryKind::File { hardlink_to: Some(first), .. } => first,
        _ => &entry.path,
    }
}

/// Makes a digest wrong.
fn spoil(digest: &mut [u8]) {
    digest.iter_mut().for_each(|byte| *byte = !*byte);
}

/// A content that is being read.
struct Content {
    stream: Box<dyn FileStream>,
    /// Of all that was read.
    hasher: Hasher,
    len: u64,
}

impl Content {
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError> {
        let piece = self.stream.read().await?;
        if let Some(piece) = &piece {
            self.len += piece.len() as u64;
            self.hasher.update(piece);
        }
        Ok(piece)
    }
}
