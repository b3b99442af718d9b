//! [`Sender`]: the client's side of a push, without I/O.
//!
//! Bytes from the peer go in with [`Sender::feed`]; [`Sender::poll`] gives the steps that follow from them;
//! [`Sender::transmit`] gives the bytes that go to the peer. One request is answered at a time: the next one is not read before
//! that.

use super::{
    handshake::{Agreed, Handshake, Wanted},
    outgoing::Outgoing,
};
use crate::{
    delta::WireSums,
    error::ProtocolError,
    messages::Severity,
    wire::{
        Compressor, Cursor, Demux, Message, NDX_DEL_STATS, NDX_DONE, NdxReader, NdxWriter, Peer, Stop, SumHead,
        TokenEncoder, put_data, put_io_error, put_message, put_no_send,
    },
};
use bytes::{Buf, Bytes, BytesMut};
use clonepanel_core::{
    entry::Entry,
    path::{MAX_PATH_LEN, RelPath},
};
use std::collections::VecDeque;

const HAS_XATTRS: u16 = 1 << 8;
const HAS_BASIS_TYPE: u16 = 1 << 11;
const HAS_NAME: u16 = 1 << 12;
/// "Send me the data."
const TRANSFER: u16 = 1 << 15;

/// What the sums of one basis may take: 2^23 blocks, enough for a terabyte.
const MAX_SUMS: u64 = 256 << 20;
/// A shorter strong sum would let everything match.
const MIN_STRONG: u32 = 2;
/// Blocks longer than this are wrong in the history of plain zlib with protocol 30.
const MAX_OLD_BLOCK: u32 = 0xffff;
/// What a text takes beside its bytes.
const TEXT: usize = 64;
/// The peer's counters of deletions, each.
const MAX_DELETED: u32 = 1 << 28;

/// What follows from the bytes of the peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SenderStep {
    /// Both ends agreed: now the list is to be sent, with [`Sender::list`].
    Agreed,
    /// The content of an entry is asked for, to be answered with [`Sender::begin`] or [`Sender::refuse`].
    Asked(Asked),
    /// The session has come to its end; what is left is to wait for the peer to hang up.
    Finished,
    /// Text for a person, raw.
    Text(Severity, Bytes),
}

/// A request for a content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The position of the entry in the list that was sent.
    pub(crate) entry: usize,
    /// What the peer has already; without blocks when that cannot be used.
    pub(crate) head: SumHead,
    /// Its sums.
    pub(crate) sums: Bytes,
}

/// Whether the peer was asked to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletions {
    Expected,
    None,
}

#[derive(Debug)]
pub(crate) struct Sender {
    handshake: Option<Handshake>,
    session: Option<Session>,
    deletions: Deletions,
    filter: Vec<u8>,
    raw: BytesMut,
    out: Vec<u8>,
}

/// Everything that exists once the handshake is done.
#[derive(Debug)]
struct Session {
    agreed: Agreed,
    demux: Demux,
    outgoing: Option<Outgoing>,
    deletions: Deletions,
    tokens: TokenEncoder,
    state: State,
    reader: NdxReader,
    writer: NdxWriter,
    /// Data that were not framed yet.
    pending: Vec<u8>,
    steps: VecDeque<SenderStep>,
    /// What the texts among them take.
    texts: usize,
    dones: u32,
    /// Whether the peer was told that something failed here.
    has_failed: bool,
    named_deletions: u64,
    counted_deletions: Option<u64>,
}

#[derive(Debug)]
enum State {
    /// Waiting for requests.
    Idle,
    /// A request waits for its answer.
    Answering(Request),
    /// The list is still to be sent.
    Unlisted,
    /// The peer has nothing more to say.
    Finished,
}

/// What of a request comes back in its answer.
#[derive(Debug, Default)]
struct Request {
    index: u32,
    echo: Vec<u8>,
    head: SumHead,
}

impl Sender {
    /// A push with these algorithms. `filter` is what the far end must not delete, when it deletes at all.
    pub(crate) fn new(wanted: Wanted, deletions: Deletions, filter: &[Vec<u8>]) -> Self {
        let mut out = Vec::new();
        let handshake = Some(Handshake::new(wanted, &mut out));
        let mut rules = Vec::new();
        if deletions == Deletions::Expected {
            for text in filter {
                rules.extend_from_slice(&(text.len() as u32).to_le_bytes());
                rules.extend_from_slice(text);
            }
            rules.extend_from_slice(&[0; 4]);
        }
        Self { handshake, session: None, deletions, filter: rules, raw: BytesMut::new(), out }
    }

    /// Takes bytes from the peer, cut anywhere.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        if let Some(session) = &mut self.session {
            session.demux.feed(bytes)?;
            return session.hear(&mut self.out);
        }
        self.raw.extend_from_slice(bytes);
        let Some(handshake) = &mut self.handshake else { return Ok(()) };
        if let Some(agreed) = handshake.poll(&mut self.raw, &mut self.out)? {
            self.handshake = None;
            let mut session = Session::new(agreed, self.deletions)?;
            session.pending.append(&mut self.filter);
            session.demux.feed(&self.raw.split())?;
            session.hear(&mut self.out)?;
            self.session = Some(session);
        }
        Ok(())
    }

    /// The next step; `None` when more bytes are needed, or an answer.
    pub(crate) fn poll(&mut self) -> Result<Option<SenderStep>, ProtocolError> {
        self.session.as_mut().map_or(Ok(None), Session::poll)
    }

    /// Sends the list: of these entries, all below the `wanted` paths if there are some, or directories that lead there.
    pub(crate) fn list(&mut self, entries: &[Entry], wanted: &[RelPath]) {
        if let Some(session) = &mut self.session {
            session.outgoing = Some(Outgoing::put(entries, wanted, &session.agreed, &mut session.pending));
            session.state = State::Idle;
        }
    }

    /// Begins the answer to [`SenderStep::Asked`].
    pub(crate) fn begin(&mut self) {
        if let Some(session) = &mut self.session
            && let State::Answering(request) = &session.state
        {
            session.writer.write(&mut session.pending, request.index.cast_signed());
            session.pending.extend_from_slice(&request.echo);
            request.head.put(&mut session.pending);
            session.tokens.begin();
        }
    }

    /// The next bytes of the content are new.
    pub(crate) fn literal(&mut self, data: &[u8]) -> Result<(), ProtocolError> {
        self.session.as_mut().map_or(Ok(()), |session| session.tokens.literal(data, &mut session.pending))
    }

    /// The next bytes of the content are these blocks of what the peer has; `data` is what they hold.
    pub(crate) fn blocks(&mut self, first: u32, count: u32, data: &[u8]) -> Result<(), ProtocolError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        session.tokens.blocks(first, count, &mut session.pending)?;
        if session.tokens.wants_copies() { session.tokens.copied(data) } else { Ok(()) }
    }

    /// The content ends; this is its digest.
    pub(crate) fn finish(&mut self, digest: &[u8]) -> Result<(), ProtocolError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        session.tokens.end(&mut session.pending)?;
        session.pending.extend_from_slice(digest);
        session.state = State::Idle;
        Ok(())
    }

    /// The content will not come.
    pub(crate) fn refuse(&mut self) {
        let Some(session) = &mut self.session else { return };
        if let State::Answering(request) = std::mem::replace(&mut session.state, State::Idle) {
            frame(session, &mut self.out);
            put_no_send(&mut self.out, request.index);
        }
    }

    /// Something could not be sent: what the peer should delete may be the last of it, so it must delete nothing.
    pub(crate) fn stop_deletions(&mut self) {
        let Some(session) = self.session.as_mut().filter(|session| session.deletions == Deletions::Expected) else {
            return;
        };
        if !std::mem::replace(&mut session.has_failed, true) {
            frame(session, &mut self.out);
            put_io_error(&mut self.out);
        }
    }

    /// Whether deletions were expected and then stopped.
    pub(crate) fn has_stopped_deletions(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_failed)
    }

    /// Takes the bytes that go to the peer now.
    pub(crate) fn transmit(&mut self) -> Vec<u8> {
        if let Some(session) = &mut self.session {
            frame(session, &mut self.out);
        }
        std::mem::take(&mut self.out)
    }

    /// Tells the peer that we give up.
    pub(crate) fn give_up(&mut self, code: i32) {
        if self.session.as_ref().is_some_and(|session| session.agreed.protocol >= 31) {
            put_message(&mut self.out, Some(code));
        }
    }

    /// What both ends agreed on.
    pub(crate) fn agreed(&self) -> Option<&Agreed> {
        self.session.as_ref().map(|session| &session.agreed)
    }

    /// How many bytes of data came: what a time-out should watch, since empty frames are no progress.
    pub(crate) fn progress(&self) -> u64 {
        self.session.as_ref().map_or(self.raw.len() as u64, |session| session.demux.progress())
    }

    /// Bytes that wait until a request is answered, or until they are shown.
    pub(crate) fn waiting(&mut self) -> usize {
        self.session.as_mut().map_or(0, |session| match session.state {
            State::Answering(_) => session.demux.data().len() + session.texts,
            _ => session.texts,
        })
    }

    /// Entries that the peer deleted, as it tells.
    pub(crate) fn deleted(&self) -> u64 {
        let session = self.session.as_ref();
        session.map_or(0, |session| session.counted_deletions.unwrap_or(session.named_deletions))
    }
}

fn frame(session: &mut Session, out: &mut Vec<u8>) {
    put_data(out, &session.pending);
    session.pending.clear();
}

impl Session {
    fn new(agreed: Agreed, deletions: Deletions) -> Result<Self, ProtocolError> {
        if agreed.inc_recurse {
            return Err(ProtocolError::Violation("incremental lists, which were not offered"));
        }
        Ok(Self {
            tokens: TokenEncoder::new(agreed.compressor)?,
            agreed,
            demux: Demux::new(Peer::Receiver),
            outgoing: None,
            deletions,
            state: State::Unlisted,
            reader: NdxReader::new(),
            writer: NdxWriter::new(),
            pending: Vec::new(),
            steps: VecDeque::from([SenderStep::Agreed]),
            texts: 0,
            dones: 0,
            has_failed: false,
            named_deletions: 0,
            counted_deletions: None,
        })
    }

    /// Takes the messages, which may come at any time.
    fn hear(&mut self, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        while let Some(message) = self.demux.message() {
            match message {
                Message::Deleted(_) if self.deletions == Deletions::None => {
                    return Err(ProtocolError::Violation("deletions that nobody asked for"));
                }
                Message::Deleted(_) => self.named_deletions += 1,
                Message::ErrorExit(code) => {
                    // A server that gives up lingers until this is acknowledged.
                    put_message(out, None);
                    return Err(ProtocolError::Remote(code.unwrap_or(0)));
                }
                // Bits of a list that is ours.
                Message::IoError(_) => {}
                Message::NoSend(_) => return Err(ProtocolError::Violation("a refusal by the receiver")),
                Message::Text(severity, text) => {
                    self.texts += text.len() + TEXT;
                    self.steps.push_back(SenderStep::Text(severity, text));
                }
            }
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<SenderStep>, ProtocolError> {
        loop {
            if let Some(step) = self.steps.pop_front() {
                if let SenderStep::Text(_, text) = &step {
                    self.texts -= text.len() + TEXT;
                }
                return Ok(Some(step));
            }
            if !matches!(self.state, State::Idle) {
                return Ok(None);
            }
            match self.record() {
                Ok(Some(step)) => return Ok(Some(step)),
                Ok(None) => {}
                Err(Stop::More) => return Ok(None),
                Err(Stop::Bad(error)) => return Err(error),
            }
        }
    }

    fn record(&mut self) -> Result<Option<SenderStep>, Stop> {
        let data = self.demux.data();
        let mut cursor = Cursor::new(data);
        let mut reader = self.reader.clone();
        let step = match reader.read(&mut cursor)? {
            index @ 0.. => {
                let (request, is_transfer) = request(&mut cursor, index.cast_unsigned())?;
                if is_transfer {
                    let len = sums_len(request.head, &self.agreed)?;
                    // All or nothing: a record is taken off only when it is complete.
                    cursor.bytes(len as usize)?;
                    let sums = data.split_to(cursor.position()).freeze();
                    let sums = sums.slice(sums.len() - len as usize..);
                    self.reader = reader;
                    return self.ask(request, sums).map(Some);
                }
                Record::Remark(request)
            }
            NDX_DONE => Record::Done,
            NDX_DEL_STATS => {
                let mut total = 0;
                for _ in 0..5 {
                    total += u64::from(cursor.count("counter of deletions")?.min(MAX_DELETED));
                }
                Record::Deleted(total)
            }
            _ => return Err(ProtocolError::Violation("a mark that has no place here").into()),
        };
        let len = cursor.position();
        data.advance(len);
        self.reader = reader;
        match step {
            Record::Deleted(total) => {
                let is_due = self.deletions == Deletions::Expected
                    && self.agreed.protocol >= 31
                    && self.dones == 3
                    && self.counted_deletions.is_none();
                if !is_due {
                    return Err(ProtocolError::Violation("a count of deletions that has no place here").into());
                }
                self.counted_deletions = Some(total);
                Ok(None)
            }
            Record::Done => Ok(self.done()),
            Record::Remark(request) => {
                let outgoing = self.outgoing.as_mut().ok_or(ProtocolError::Violation("a remark about no list"))?;
                outgoing.remark(request.index)?;
                self.writer.write(&mut self.pending, request.index.cast_signed());
                self.pending.extend_from_slice(&request.echo);
                Ok(None)
            }
        }
    }

    fn ask(&mut self, request: Request, sums: Bytes) -> Result<SenderStep, Stop> {
        if self.dones > 1 {
            return Err(ProtocolError::Violation("a request after the last phase of requests").into());
        }
        let outgoing = self.outgoing.as_mut().ok_or(ProtocolError::Violation("a request without a list"))?;
        let entry = outgoing.ask(request.index)?;
        let mut head = request.head;
        let has_flaw = self.agreed.protocol < 31 && self.agreed.compressor == Compressor::Zlib;
        if has_flaw && head.block_len > MAX_OLD_BLOCK {
            head = SumHead::default();
        }
        self.state = State::Answering(request);
        Ok(SenderStep::Asked(Asked { entry, head, sums }))
    }

    /// The first three are echoed; from protocol 31 on there is one more to echo; the last one is not answered.
    fn done(&mut self) -> Option<SenderStep> {
        self.dones += 1;
        let echoed = if self.agreed.protocol >= 31 { 4 } else { 3 };
        if self.dones <= echoed {
            self.writer.write(&mut self.pending, NDX_DONE);
            return None;
        }
        self.state = State::Finished;
        Some(SenderStep::Finished)
    }
}

enum Record {
    Deleted(u64),
    Done,
    Remark(Request),
}

/// Reads what follows an index, but for the sums; tells whether these follow.
fn request(cursor: &mut Cursor<'_>, index: u32) -> Result<(Request, bool), Stop> {
    let flags = cursor.u16()?;
    let mut echo = flags.to_le_bytes().to_vec();
    if flags & HAS_XATTRS != 0 {
        return Err(ProtocolError::Violation("attributes that nobody asked for").into());
    }
    if flags & HAS_BASIS_TYPE != 0 {
        echo.push(cursor.byte()?);
    }
    if flags & HAS_NAME != 0 {
        let name = cursor.vstring()?;
        if name.len() > MAX_PATH_LEN {
            return Err(ProtocolError::Malformed("name of a basis").into());
        }
        crate::wire::put_vstring(&mut echo, name);
    }
    let mut request = Request { index, echo, head: SumHead::default() };
    let is_transfer = flags & TRANSFER != 0;
    if is_transfer {
        request.head = SumHead::read(cursor)?;
    }
    Ok((request, is_transfer))
}

/// Length of the sums behind a head: what the matcher and the memory bear (CVE-2024-12084, CVE-2026-53792).
fn sums_len(head: SumHead, agreed: &Agreed) -> Result<u64, ProtocolError> {
    let len = WireSums::expected_len(head, agreed.checksum)?;
    if head.count > 0 && head.strong_len < MIN_STRONG {
        return Err(ProtocolError::Violation("sums that everything matches"));
    }
    if len > MAX_SUMS { Err(ProtocolError::Violation("too many blocks")) } else { Ok(len) }
}
