//! [`Outgoing`]: a content on its way out, a window at a time.

use super::{
    content::Packer,
    link::Broken,
    message::{self, Ask, How},
    window::{Form, MAX_WINDOW, Patience, Place, Window},
};
use crate::{
    delta::{Differ, Signature},
    error::ProtocolError,
};
use bytes::Bytes;
use clonepanel_core::{
    digest::{ContentHash, DigestBuilder, FileDigest},
    path::RelPath,
    problem::{Problem, ProblemKind},
    tree::{FileStream, TreeError},
};
use std::{collections::VecDeque, io};

/// A window that is shorter is worked on where it is, without a thread of its own.
const SHORT: usize = 64 << 10;
/// So much of a content that is only compared is read in one go.
const COMPARED: u64 = 8 << 20;

/// A content that is being read and sent.
pub(super) struct Outgoing {
    id: u64,
    path: RelPath,
    pieces: Pieces,
    way: Way,
    digest: DigestBuilder,
}

enum Way {
    Compare(FileDigest),
    /// `None` while the window is being worked on.
    Send(Option<Box<Windows>>),
}

/// What comes next of a content.
pub(super) enum Step {
    /// The last frame about it.
    Last { frame: Bytes, len: u64 },
    /// A frame; more will follow.
    More { frame: Bytes, len: u64 },
    /// Nothing to be said yet.
    Nothing,
}

impl Outgoing {
    pub(super) fn new(ask: Ask, stream: Box<dyn FileStream>) -> Result<Self, ProtocolError> {
        let index = match ask.how {
            How::Unless(digest) => return Ok(Self::with(ask.id, ask.path, stream, Way::Compare(digest))),
            How::Whole => None,
            How::Delta { basis_len, signature } => {
                let signature = Signature::parse(signature.into(), basis_len);
                Some(signature.map_err(|_| ProtocolError::Malformed("signature"))?.index())
            }
        };
        let windows = Windows {
            differ: index.as_ref().map(Differ::new),
            buffer: Vec::new(),
            offset: 0,
            patience: Patience::default(),
        };
        Ok(Self::with(ask.id, ask.path, stream, Way::Send(Some(Box::new(windows)))))
    }

    fn with(id: u64, path: RelPath, stream: Box<dyn FileStream>, way: Way) -> Self {
        let pieces = Pieces { stream, ready: VecDeque::new(), len: 0, has_ended: false };
        Self { id, path, pieces, way, digest: DigestBuilder::new() }
    }

    /// Does the next piece of work. Trouble with the content is the last thing that is said about it.
    pub(super) async fn step(&mut self, packer: &mut Packer) -> Result<Step, Broken> {
        let step = match &mut self.way {
            Way::Compare(digest) => {
                let digest = *digest;
                self.compare(digest).await
            }
            Way::Send(windows) => match windows.take() {
                Some(windows) => self.send(windows, packer).await,
                None => Err(failed(&self.path, io::Error::other("the work was abandoned"))),
            },
        };
        match step {
            Ok(step) => Ok(step),
            Err(error) => Ok(Step::Last { frame: lost(self.id, &self.path, error)?, len: 0 }),
        }
    }

    async fn compare(&mut self, wanted: FileDigest) -> Result<Step, TreeError> {
        let until = self.digest.len() + COMPARED;
        while self.digest.len() < until {
            let Some(piece) = self.pieces.next().await? else {
                let frame = if self.digest.finish() == wanted { message::same } else { message::different };
                return Ok(Step::Last { frame: frame(self.id), len: 0 });
            };
            self.digest.update(&piece);
            if self.digest.len() > wanted.len {
                return Ok(Step::Last { frame: message::different(self.id), len: 0 });
            }
        }
        Ok(Step::Nothing)
    }

    async fn send(&mut self, mut windows: Box<Windows>, packer: &mut Packer) -> Result<Step, TreeError> {
        self.pieces.fill().await?;
        self.pieces.move_into(&mut windows.buffer);
        let is_end = self.pieces.has_ended && self.pieces.ready.is_empty();
        let (id, mut digest) = (self.id, std::mem::take(&mut self.digest));
        if windows.buffer.len() < SHORT {
            let made = windows.make(id, is_end, &mut digest, packer);
            (self.digest, self.way) = (digest, Way::Send(Some(windows)));
            return Ok(made);
        }
        let mut lent = packer.lend();
        let work = tokio::task::spawn_blocking(move || {
            let made = windows.make(id, is_end, &mut digest, &mut lent);
            (windows, digest, lent, made)
        });
        // The next window is read meanwhile; if that fails, it is said in its turn.
        let (worked, filled) = tokio::join!(work, self.pieces.fill());
        let (windows, digest, lent, made) = worked.map_err(|error| failed(&self.path, io::Error::other(error)))?;
        *packer = lent;
        (self.digest, self.way) = (digest, Way::Send(Some(windows)));
        if let Err(error) = filled
            && !matches!(made, Step::Last { .. })
        {
            self.pieces.fail(error);
        }
        Ok(made)
    }
}

/// Makes windows of what is read.
struct Windows {
    differ: Option<Differ>,
    /// Read, and not sent yet.
    buffer: Vec<u8>,
    offset: u64,
    patience: Patience,
}

impl Windows {
    fn make(&mut self, id: u64, is_end: bool, digest: &mut DigestBuilder, packer: &mut Packer) -> Step {
        let mut delta = Vec::new();
        let decided = if is_end {
            self.differ.take().map(|differ| {
                differ.finish(&self.buffer, &mut delta);
                self.buffer.len()
            })
        } else {
            self.differ.as_mut().map(|differ| differ.advance(&self.buffer, &mut delta))
        };
        let len = decided.unwrap_or(self.buffer.len()).min(self.buffer.len());
        let (now, _) = self.buffer.split_at(len);
        digest.update(now);
        let is_last = is_end && len == self.buffer.len();
        let hash = if is_last { digest.finish().hash } else { ContentHash::of(now) };
        // Differences that are longer than what they are about help nobody.
        let form = if decided.is_some() && delta.len() < now.len() { Form::Delta } else { Form::Literal };
        let mut data = Vec::new();
        self.patience.pack(packer, if form == Form::Delta { &delta } else { now }, &mut data);
        let place = if is_last { Place::Last } else { Place::Middle };
        let window = Window { id, offset: self.offset, len: len as u64, form, place, hash, data: data.into() };
        let frame = message::window(&window);
        self.offset += len as u64;
        self.buffer.drain(..len);
        let len = len as u64;
        if is_last { Step::Last { frame, len } } else { Step::More { frame, len } }
    }
}

/// A stream, read ahead by a window.
struct Pieces {
    stream: Box<dyn FileStream>,
    ready: VecDeque<Result<Bytes, TreeError>>,
    /// Of what is ready, in bytes.
    len: usize,
    has_ended: bool,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, TreeError> {
        match self.ready.pop_front() {
            Some(piece) => piece.map(Some),
            None if self.has_ended => Ok(None),
            None => self.stream.read().await,
        }
    }

    /// Reads until a window is ready.
    async fn fill(&mut self) -> Result<(), TreeError> {
        if matches!(self.ready.front(), Some(Err(_)))
            && let Some(Err(error)) = self.ready.pop_front()
        {
            return Err(error);
        }
        while self.len < MAX_WINDOW && !self.has_ended {
            match self.stream.read().await? {
                Some(piece) => {
                    self.len += piece.len();
                    self.ready.push_back(Ok(piece));
                }
                None => self.has_ended = true,
            }
        }
        Ok(())
    }

    /// Fills a buffer up to a window.
    fn move_into(&mut self, buffer: &mut Vec<u8>) {
        while buffer.len() < MAX_WINDOW
            && let Some(Ok(piece)) = self.ready.front_mut()
        {
            let part = piece.split_to(piece.len().min(MAX_WINDOW - buffer.len()));
            buffer.extend_from_slice(&part);
            self.len -= part.len();
            if piece.is_empty() {
                self.ready.pop_front();
            }
        }
    }

    /// Says an error when it is its turn.
    fn fail(&mut self, error: TreeError) {
        self.ready.clear();
        self.ready.push_back(Err(error));
    }
}

fn failed(path: &RelPath, error: io::Error) -> TreeError {
    TreeError::from_io("read", path, error)
}

/// Says that a content cannot be had, and why. What is this process's own trouble is none of the content's.
pub(super) fn lost(id: u64, path: &RelPath, error: TreeError) -> Result<Bytes, Broken> {
    let kind = match &error {
        TreeError::Exhausted { .. } => return Err(Broken::Source(error)),
        TreeError::Denied { .. } => ProblemKind::Unreadable,
        TreeError::NotFound { .. } => ProblemKind::Vanished,
        _ => ProblemKind::Failed,
    };
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Ok(message::lost(id, &Problem::new(path.clone(), kind, format!("{error}{cause}"))))
}
