//! [`Incoming`]: a content on its way in, and what becomes of it.

use super::{
    delta,
    link::Broken,
    message::How,
    preparing::{Asked, MAX_READ, Way, read_exactly},
    window::{Form, Place, Window},
};
use crate::error::ProtocolError;
use bytes::Bytes;
use clonepanel_core::{
    digest::{ContentHash, DigestBuilder, FileDigest},
    observer::{Event, Observer},
    problem::{Problem, ProblemKind},
    tree::{FileSink, TreeError, TreeSink},
};

/// A file may grow while it is read, up to twice what was listed and so many bytes.
const MAX_GROWTH: u64 = 1 << 30;

/// A content that is arriving.
pub(super) struct Incoming<'a> {
    pub(super) asked: Asked,
    /// So many bytes of signature wait for the last window of this.
    pub(super) reserved: usize,
    observer: &'a dyn Observer,
    /// `None` once the content is lost: the rest of it is let pass.
    sink: Option<Box<dyn FileSink>>,
    refused: Option<Problem>,
    digest: DigestBuilder,
    literal_bytes: u64,
    matched_bytes: u64,
}

/// What became of a content.
pub(super) enum Ended {
    Complete(Box<Complete>),
    /// It did not pass its check.
    Wrong(Asked),
    /// The sink does not take it.
    Refused(Problem),
}

/// A content that arrived.
pub(super) struct Complete {
    pub(super) asked: Asked,
    pub(super) written: FileDigest,
    pub(super) literal_bytes: u64,
    pub(super) matched_bytes: u64,
}

/// A content of which all is here and checked.
pub(super) struct Checked {
    asked: Asked,
    sink: Box<dyn FileSink>,
    literal_bytes: u64,
    matched_bytes: u64,
}

/// What a window made of a content.
pub(super) enum Taken<'a> {
    More(Box<Incoming<'a>>),
    Checked(Checked),
    Ended(Ended),
}

impl<'a> Incoming<'a> {
    /// Opens the way into the sink.
    pub(super) async fn begin(
        (asked, reserved): (Asked, usize),
        sink: &'a dyn TreeSink,
        observer: &'a dyn Observer,
    ) -> Result<Box<Self>, Broken> {
        let (sink, refused) = match sink.file(&asked.entry).await {
            Ok(sink) => (Some(sink), None),
            Err(TreeError::Refused { why, .. }) => {
                (None, Some(Problem::new(asked.entry.path.clone(), ProblemKind::Refused, why)))
            }
            Err(error) => return Err(Broken::Sink(error)),
        };
        let digest = DigestBuilder::new();
        Ok(Box::new(Self { asked, reserved, observer, sink, refused, digest, literal_bytes: 0, matched_bytes: 0 }))
    }

    /// Takes the next window.
    pub(super) async fn window(mut self: Box<Self>, window: Window) -> Result<Taken<'a>, Broken> {
        let violation = |what| Err(Broken::Protocol(ProtocolError::Violation(what)));
        // A content that is lost is no longer counted.
        if self.sink.is_some() {
            if window.offset != self.digest.len() {
                return violation("a window out of its place");
            }
            let listed = self.asked.entry.len().unwrap_or(0);
            if window.offset + window.len > listed.saturating_mul(2).saturating_add(MAX_GROWTH) {
                return violation("a content that does not end");
            }
            match self.unpack(&window).await? {
                Some(bytes) => self.append(bytes, &window).await?,
                None => self.sink = None,
            }
        }
        if window.place == Place::Middle {
            return Ok(Taken::More(self));
        }
        let Self { asked, sink, refused, digest, literal_bytes, matched_bytes, .. } = *self;
        Ok(match (sink, refused) {
            (Some(sink), _) if digest.finish().hash == window.hash => {
                Taken::Checked(Checked { asked, sink, literal_bytes, matched_bytes })
            }
            (_, Some(problem)) => Taken::Ended(Ended::Refused(problem)),
            (_, None) => Taken::Ended(Ended::Wrong(asked)),
        })
    }

    /// The bytes of a window; `None` when it cannot be put together, which another way of asking may mend.
    async fn unpack(&mut self, window: &Window) -> Result<Option<Bytes>, Broken> {
        let data = window.unpack()?;
        let bytes = match (window.form, self.asked.way, &self.asked.basis) {
            (Form::Literal, _, _) => {
                self.count(window.len, 0);
                data
            }
            (Form::Delta, Way::Delta(_), Some(basis)) => {
                let applied = delta::apply(basis.as_ref(), &data, window.len as usize).await;
                let Some(applied) = applied.map_err(|_| ProtocolError::Malformed("differences"))? else {
                    return Ok(None);
                };
                self.count(window.len - applied.matched, applied.matched);
                applied.bytes
            }
            (Form::Delta, ..) => {
                return Err(Broken::Protocol(ProtocolError::Violation("differences to nothing")));
            }
        };
        let is_right = window.place == Place::Last || ContentHash::of(&bytes) == window.hash;
        Ok(is_right.then_some(bytes))
    }

    fn count(&mut self, literal_bytes: u64, matched_bytes: u64) {
        self.literal_bytes += literal_bytes;
        self.matched_bytes += matched_bytes;
        self.observer.notice(&Event::Data { literal_bytes, matched_bytes });
    }

    async fn append(&mut self, bytes: Bytes, window: &Window) -> Result<(), Broken> {
        self.digest.update(&bytes);
        // What is wrong as a whole must not even be written.
        let is_wrong = window.place == Place::Last && self.digest.finish().hash != window.hash;
        if is_wrong {
            self.sink = None;
        } else if let Some(sink) = &mut self.sink
            && !bytes.is_empty()
        {
            match sink.write(bytes).await {
                Ok(()) => {}
                Err(TreeError::Refused { why, .. }) => {
                    self.sink = None;
                    self.refused = Some(Problem::new(self.asked.entry.path.clone(), ProblemKind::Refused, why));
                }
                Err(error) => return Err(Broken::Sink(error)),
            }
        }
        Ok(())
    }
}

impl Checked {
    pub(super) async fn finish(self) -> Result<Ended, Broken> {
        let Self { asked, sink, literal_bytes, matched_bytes } = self;
        match sink.finish().await {
            Ok(written) => Ok(Ended::Complete(Box::new(Complete { asked, written, literal_bytes, matched_bytes }))),
            Err(TreeError::Refused { why, .. }) => {
                Ok(Ended::Refused(Problem::new(asked.entry.path, ProblemKind::Refused, why)))
            }
            Err(error) => Err(Broken::Sink(error)),
        }
    }
}

/// The content is that of the basis: writes it from there.
pub(super) async fn copy_basis(
    asked: Asked,
    how: How,
    sink: &dyn TreeSink,
    observer: &dyn Observer,
) -> Result<Ended, Broken> {
    let (How::Unless(wanted), Some(basis)) = (how, asked.basis.clone()) else {
        return Err(Broken::Protocol(ProtocolError::Violation("an answer to another question")));
    };
    let mut file = match sink.file(&asked.entry).await {
        Ok(file) => file,
        Err(TreeError::Refused { why, .. }) => {
            return Ok(Ended::Refused(Problem::new(asked.entry.path, ProblemKind::Refused, why)));
        }
        Err(error) => return Err(Broken::Sink(error)),
    };
    let mut digest = DigestBuilder::new();
    while digest.len() < wanted.len {
        let len = MAX_READ.min(wanted.len - digest.len()) as usize;
        let Ok(piece) = read_exactly(basis.as_ref(), digest.len(), len).await else { return Ok(Ended::Wrong(asked)) };
        digest.update(&piece);
        observer.notice(&Event::Data { literal_bytes: 0, matched_bytes: piece.len() as u64 });
        match file.write(piece).await {
            Ok(()) => {}
            Err(TreeError::Refused { why, .. }) => {
                return Ok(Ended::Refused(Problem::new(asked.entry.path, ProblemKind::Refused, why)));
            }
            Err(error) => return Err(Broken::Sink(error)),
        }
    }
    if digest.finish() != wanted {
        return Ok(Ended::Wrong(asked));
    }
    let matched_bytes = wanted.len;
    Checked { asked, sink: file, literal_bytes: 0, matched_bytes }.finish().await
}
