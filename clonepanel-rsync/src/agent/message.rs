//! [`Message`]: what a frame says.

use super::{
    field::{Fields, put_bytes, put_hash, put_number, put_time},
    frame::{Frame, put_frame},
    hello::Hello,
    listing::{problem, put_problem},
    request::Request,
    window::Window,
};
use crate::error::ProtocolError;
use bytes::Bytes;
use clonepanel_core::{
    digest::FileDigest,
    escape::Escaped,
    path::RelPath,
    problem::{Problem, ProblemKind},
    time::Timestamp,
};

/// So many contents may be asked for whose last frame has not come.
pub(super) const MAX_ASKS: usize = 1000;
/// The signatures of all that was asked for and whose last frame has not come may take so many bytes.
pub(super) const SIGNATURE_CREDIT: usize = 16 << 20;
/// A signature travels in pieces of this length.
pub(super) const SIGNATURE_PIECE: usize = 256 << 10;
/// So many batches of the listing may be on their way.
pub(super) const LISTINGS_AHEAD: u64 = 16;
/// The longest text of a failure, in bytes.
const MAX_TEXT: usize = 1600;
/// So many paths of a request can be missing.
const MAX_MISSING: u64 = 10_000;

const HELLO: u8 = 1;
const REQUEST: u8 = 2;
const READY: u8 = 3;
const FAILURE: u8 = 4;
const ALIVE: u8 = 5;
const PROBLEM: u8 = 6;
const LISTING: u8 = 16;
const LISTED: u8 = 17;
const WINDOW: u8 = 18;
const SAME: u8 = 19;
const DIFFERENT: u8 = 20;
const LOST: u8 = 21;
const DONE: u8 = 22;
const GRANT: u8 = 32;
const SIGNATURE: u8 = 33;
const ASK: u8 = 34;
const FINISHED: u8 = 35;

/// One message. See `docs/agent-protocol.md` for who says what when.
#[derive(Debug)]
pub(super) enum Message {
    /// Work goes on.
    Alive,
    Ask(Ask),
    /// The content is not that of the hash; it may be asked for in another way.
    Different {
        id: u64,
    },
    Done,
    Failure(Failure),
    Finished(Tally),
    Grant {
        batches: u64,
    },
    Hello(Hello),
    Listed,
    Listing(Bytes),
    /// The content cannot be had.
    Lost {
        id: u64,
        problem: Problem,
    },
    Problem(Problem),
    Ready(Ready),
    Request(Box<Request>),
    /// The content is that of the hash.
    Same {
        id: u64,
    },
    Signature(Bytes),
    Window(Window),
}

/// A content is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) id: u64,
    pub(super) path: RelPath,
    pub(super) how: How,
}

/// In which way a content is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// As differences to a basis of so many bytes, whose signature was sent before.
    Delta {
        basis_len: u64,
        signature: Bytes,
    },
    /// Only if it is another one.
    Unless(FileDigest),
    Whole,
}

/// The serving end accepts a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) clock: Timestamp,
    /// Which of the paths of a probe are not there, by their place in the request.
    pub(super) missing: Vec<u64>,
}

/// What the receiving end did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) files: u64,
    pub(super) literal_bytes: u64,
    pub(super) matched_bytes: u64,
    pub(super) deleted: u64,
}

/// Why an end gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// Escaped.
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    Denied,
    Failed,
    /// The text is the path.
    NotFound,
    Protocol,
    Unsupported,
}

const FAILURES: [FailureKind; 5] =
    [FailureKind::Failed, FailureKind::NotFound, FailureKind::Denied, FailureKind::Unsupported, FailureKind::Protocol];

impl Message {
    pub(super) fn parse(frame: Frame) -> Result<Self, ProtocolError> {
        let Frame { kind, body } = frame;
        let mut fields = Fields::new(body.clone());
        let message = match kind {
            HELLO => return Hello::parse(body).map(Self::Hello),
            REQUEST => return Request::parse(body).map(|request| Self::Request(Box::new(request))),
            LISTING => return Ok(Self::Listing(body)),
            SIGNATURE if body.len() > SIGNATURE_PIECE => return Err(ProtocolError::Malformed("signature")),
            SIGNATURE => return Ok(Self::Signature(body)),
            WINDOW => return Window::parse(body).map(Self::Window),
            READY => {
                let clock = fields.time()?;
                let count = fields.number_to(MAX_MISSING, "number of paths")?;
                Self::Ready(Ready { clock, missing: (0..count).map(|_| fields.number()).collect::<Result<_, _>>()? })
            }
            FAILURE => {
                let kind = FAILURES.get(usize::from(fields.byte()?)).copied().unwrap_or(FailureKind::Failed);
                let text = fields.bytes(MAX_TEXT, "text")?;
                let text = clonepanel_core::escape::unescape(&text).unwrap_or_else(|| text.to_vec());
                Self::Failure(Failure { kind, text: Escaped(&text).to_string() })
            }
            ALIVE => Self::Alive,
            PROBLEM => {
                let path = fields.path()?;
                Self::Problem(problem(&mut fields, path)?)
            }
            LISTED => Self::Listed,
            SAME => Self::Same { id: fields.number()? },
            DIFFERENT => Self::Different { id: fields.number()? },
            LOST => Self::Lost { id: fields.number()?, problem: problem(&mut fields, RelPath::root())? },
            DONE => Self::Done,
            GRANT => Self::Grant { batches: fields.number_to(LISTINGS_AHEAD, "number of batches")? },
            ASK => Self::Ask(ask(&mut fields)?),
            FINISHED => Self::Finished(Tally {
                files: fields.number()?,
                literal_bytes: fields.number()?,
                matched_bytes: fields.number()?,
                deleted: fields.number()?,
            }),
            _ => return Err(ProtocolError::Malformed("frame: its kind is not known")),
        };
        fields.end().map(|()| message)
    }
}

fn ask(fields: &mut Fields) -> Result<Ask, ProtocolError> {
    let (id, path) = (fields.number()?, fields.path()?);
    let how = match fields.byte()? {
        0 => How::Whole,
        1 => How::Unless(FileDigest { len: fields.number()?, hash: fields.hash()? }),
        2 => How::Delta { basis_len: fields.number()?, signature: Bytes::new() },
        _ => return Err(ProtocolError::Malformed("way to ask")),
    };
    Ok(Ask { id, path, how })
}

fn frame(kind: u8, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::new();
    put_frame(&mut out, kind, write);
    out.into()
}

pub(super) fn alive() -> Bytes {
    frame(ALIVE, |_| {})
}

/// The signature of a delta travels before, in frames of its own.
pub(super) fn put_ask(ask: &Ask) -> Vec<Bytes> {
    let mut frames = Vec::new();
    if let How::Delta { signature, .. } = &ask.how {
        frames.extend(
            signature.chunks(SIGNATURE_PIECE).map(|piece| frame(SIGNATURE, |out| out.extend_from_slice(piece))),
        );
    }
    frames.push(frame(ASK, |out| {
        put_number(out, ask.id);
        put_bytes(out, ask.path.as_bytes());
        match &ask.how {
            How::Whole => out.push(0),
            How::Unless(digest) => {
                out.push(1);
                put_number(out, digest.len);
                put_hash(out, &digest.hash);
            }
            How::Delta { basis_len, .. } => {
                out.push(2);
                put_number(out, *basis_len);
            }
        }
    }));
    frames
}

pub(super) fn different(id: u64) -> Bytes {
    frame(DIFFERENT, |out| put_number(out, id))
}

pub(super) fn done() -> Bytes {
    frame(DONE, |_| {})
}

pub(super) fn failure(kind: FailureKind, text: &str) -> Bytes {
    frame(FAILURE, |out| {
        out.push(FAILURES.iter().position(|known| *known == kind).unwrap_or(0) as u8);
        let text = &text[..text.floor_char_boundary(MAX_TEXT)];
        put_bytes(out, text.as_bytes());
    })
}

pub(super) fn finished(tally: &Tally) -> Bytes {
    frame(FINISHED, |out| {
        for number in [tally.files, tally.literal_bytes, tally.matched_bytes, tally.deleted] {
            put_number(out, number);
        }
    })
}

pub(super) fn grant(batches: u64) -> Bytes {
    frame(GRANT, |out| put_number(out, batches))
}

pub(super) fn hello(hello: &Hello) -> Bytes {
    frame(HELLO, |out| hello.put(out))
}

pub(super) fn listed() -> Bytes {
    frame(LISTED, |_| {})
}

pub(super) fn listing(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    frame(LISTING, write)
}

pub(super) fn lost(id: u64, problem: &Problem) -> Bytes {
    frame(LOST, |out| {
        put_number(out, id);
        put_problem(out, problem);
    })
}

pub(super) fn problem_at(problem: &Problem) -> Bytes {
    frame(PROBLEM, |out| {
        put_bytes(out, problem.path.as_bytes());
        put_problem(out, problem);
    })
}

pub(super) fn ready(ready: &Ready) -> Bytes {
    frame(READY, |out| {
        put_time(out, ready.clock);
        put_number(out, ready.missing.len() as u64);
        ready.missing.iter().for_each(|index| put_number(out, *index));
    })
}

pub(super) fn request(request: &Request) -> Bytes {
    frame(REQUEST, |out| request.put(out))
}

pub(super) fn same(id: u64) -> Bytes {
    frame(SAME, |out| put_number(out, id))
}

pub(super) fn window(window: &Window) -> Bytes {
    frame(WINDOW, |out| window.put(out))
}

impl Failure {
    pub(super) fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// The problem kinds that the sender of a content may give for it.
pub(super) const fn is_about_content(kind: ProblemKind) -> bool {
    matches!(kind, ProblemKind::Failed | ProblemKind::Unreadable | ProblemKind::Vanished)
}
