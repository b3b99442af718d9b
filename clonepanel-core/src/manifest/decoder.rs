//! [`Decoder`]: reads a manifest in pieces of any size.

use super::{
    MAGIC, ManifestError, Record, field,
    header::Header,
    line::{self, Owners},
    order::Order,
};
use crate::{digest::ContentHash, store::SnapshotInfo};

/// The longest line, in bytes: two paths or a path and a link text, every byte of them escaped, with room for the rest.
pub const MAX_LINE_LEN: usize = 40_960;

/// From so many bytes that are done with on, the buffer is moved together.
const COMPACT_FROM: usize = 1 << 16;

/// Reads a manifest: [`feed`](Self::feed) it with pieces, ask for what is [`next`](Self::next). Keeps one line, the path of the
/// record before it and the names of the directories above.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// The buffer up to here is hashed; from here to `start` it is decoded.
    hashed: usize,
    start: usize,
    /// The buffer from `start` to here has no newline.
    searched: usize,
    hasher: blake3::Hasher,
    line: u64,
    order: Order,
    owners: Owners,
    state: State,
}

#[derive(Debug)]
enum State {
    Magic,
    Header(Box<Header>),
    Records,
    Ended,
    Failed(ManifestError),
}

/// What a manifest has next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Item {
    /// What is known about the snapshot: always first.
    Info(SnapshotInfo),
    /// One record, in the order of their paths.
    Record(Record),
    /// The right footer: all that was read is what was written.
    End,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// Nothing read yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: Vec::new(),
            hashed: 0,
            start: 0,
            searched: 0,
            hasher: blake3::Hasher::new(),
            line: 0,
            order: Order::default(),
            owners: Owners::default(),
            state: State::Magic,
        }
    }

    /// Takes the next piece. Ask for everything that is [`next`](Self::next) before feeding more, or the buffer grows.
    pub fn feed(&mut self, piece: &[u8]) {
        if self.start >= COMPACT_FROM || self.start == self.buffer.len() {
            self.hash_decoded();
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            (self.hashed, self.start) = (0, 0);
        }
        self.buffer.extend_from_slice(piece);
    }

    /// What comes next; `None` when more must be fed, or when all was given.
    ///
    /// Records may be used as they come, but only [`Item::End`] says that they are what was written.
    ///
    /// # Errors
    /// The first thing that is wrong; the same again whenever asked.
    #[allow(clippy::should_implement_trait)] // Fallible, and `None` does not mean the end.
    pub fn next(&mut self) -> Result<Option<Item>, ManifestError> {
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        let item = self.step();
        if let Err(error) = item {
            self.state = State::Failed(error);
        }
        item
    }

    /// Checks that the manifest was whole.
    ///
    /// # Errors
    /// [`ManifestError::Truncated`] when [`Item::End`] did not come yet; otherwise as [`Self::next`].
    pub fn finish(mut self) -> Result<(), ManifestError> {
        match self.next()? {
            None if matches!(self.state, State::Ended) => Ok(()),
            _ => Err(ManifestError::Truncated),
        }
    }

    fn step(&mut self) -> Result<Option<Item>, ManifestError> {
        loop {
            if matches!(self.state, State::Ended) {
                return if self.start == self.buffer.len() {
                    Ok(None)
                } else {
                    Err(ManifestError::Line { line: self.line + 1, why: "text after the footer" })
                };
            }
            let Some(end) = self.line_end()? else { return Ok(None) };
            self.line += 1;
            let number = self.line;
            let bad = |why| ManifestError::Line { line: number, why };
            let line = &self.buffer[self.start..end];
            let item = match &mut self.state {
                State::Magic if line == MAGIC => {
                    self.state = State::Header(Box::default());
                    None
                }
                State::Magic => return Err(ManifestError::Version),
                State::Header(header) => match header.line(line).map_err(bad)? {
                    None => None,
                    Some(info) => {
                        self.state = State::Records;
                        Some(Item::Info(info))
                    }
                },
                State::Records if line.starts_with(b"end ") => {
                    let footer = footer(line).ok_or_else(|| bad("its footer is malformed"))?;
                    self.hash_decoded();
                    if footer != (self.order.records(), ContentHash::new(self.hasher.finalize().into())) {
                        return Err(ManifestError::Hash);
                    }
                    self.state = State::Ended;
                    Some(Item::End)
                }
                State::Records => {
                    let record = line::parse(line, &mut self.owners).map_err(bad)?;
                    self.order.check(&record).map_err(bad)?;
                    Some(Item::Record(record))
                }
                State::Ended | State::Failed(_) => return Ok(None),
            };
            self.start = end + 1;
            self.searched = self.start;
            if item.is_some() {
                return Ok(item);
            }
        }
    }

    /// Where the line that begins at `start` ends, if all of it is here.
    fn line_end(&mut self) -> Result<Option<usize>, ManifestError> {
        let found = self.buffer[self.searched..].iter().position(|&b| b == b'\n').map(|at| self.searched + at);
        let end = found.unwrap_or(self.buffer.len());
        if end - self.start > MAX_LINE_LEN {
            return Err(ManifestError::Line { line: self.line + 1, why: "it is too long" });
        }
        self.searched = end;
        Ok(found)
    }

    fn hash_decoded(&mut self) {
        self.hasher.update(&self.buffer[self.hashed..self.start]);
        self.hashed = self.start;
    }
}

fn footer(line: &[u8]) -> Option<(u64, ContentHash)> {
    let rest = line.strip_prefix(b"end ")?;
    let space = rest.iter().position(|&b| b == b' ')?;
    Some((field::parse_decimal(rest.get(..space)?)?, field::parse_hash(rest.get(space + 1..)?)?))
}
