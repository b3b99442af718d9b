//! [`Receiver`]: the client's side of a pull, without I/O.
//!
//! Bytes from the peer go in with [`Receiver::feed`]; [`Receiver::poll`] gives the steps that follow from them and
//! [`Receiver::next_entry`] the entries that are to be answered; [`Receiver::transmit`] gives the bytes that go to the peer.

use super::{
    handshake::{Agreed, Handshake, Wanted},
    lists::{FileLists, Refusal},
};
use crate::{
    error::ProtocolError,
    messages::Severity,
    partial::Partials,
    wire::{
        Cursor, Demux, Message, NDX_DEL_STATS, NDX_DONE, NDX_FLIST_EOF, NDX_FLIST_OFFSET, NdxReader, NdxWriter, Stop,
        SumHead, Token, TokenDecoder, put_data, put_message,
    },
};
use bytes::{Buf, Bytes, BytesMut};
use clonepanel_core::{entry::Entry, path::RelPath, transport::PullRequest};
use std::collections::{HashSet, VecDeque};

/// "Send me the data": the only request that a pulling client has to make.
const TRANSFER: u16 = 0x8000;
/// A file may have grown since it was listed, but not without end: past twice its length and this much more, the peer is
/// only filling our disk.
const GROWTH: u64 = 1 << 30;
const STATISTICS: usize = 5;

/// What follows from the bytes of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The content of a requested file begins.
    Begin { index: u32 },
    /// Its next bytes are these of the basis.
    Copy { offset: u64, len: u64 },
    /// It is complete; this is its digest. To be answered with [`Receiver::settle`], or by asking once more.
    End { index: u32, digest: Bytes },
    /// The session has come to its end; what is left is to wait for the peer to hang up.
    Finished,
    /// A list is complete: there may be entries to answer.
    Listed,
    /// Its next bytes are these.
    Literal(Bytes),
    /// An entry is not taken.
    Refused(Refusal),
    /// Text for a person, raw.
    Text(Severity, Bytes),
    /// The peer will not send a requested file.
    Unsent { index: u32 },
}

/// What a request for content carries.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: SumHead,
    pub(crate) sums: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Receiver {
    request: PullRequest,
    partials: Partials,
    filter: Vec<u8>,
    handshake: Option<Handshake>,
    session: Option<Session>,
    raw: BytesMut,
    out: Vec<u8>,
}

/// Everything that exists once the handshake is done.
#[derive(Debug)]
struct Session {
    agreed: Agreed,
    demux: Demux,
    lists: FileLists,
    tokens: TokenDecoder,
    state: State,
    reader: NdxReader,
    writer: NdxWriter,
    requests: VecDeque<Request>,
    /// Requests and ends that were not framed yet.
    pending: Vec<u8>,
    steps: VecDeque<Step>,
    lists_are_complete: bool,
    dones_sent: u32,
    dones_seen: u32,
    io_error: i32,
}

#[derive(Debug)]
struct Request {
    index: u32,
    head: SumHead,
    limit: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Reading a digest.
    Digest,
    /// The peer has nothing more to say.
    Finished,
    /// Waiting for the last `DONE` of protocol 31 and later.
    Goodbye,
    /// Reading a file list.
    List,
    /// Reading the head of a reply, or a mark.
    Record,
    /// Reading statistics.
    Statistics,
    /// Reading the tokens of a file, so many bytes of which came already.
    Tokens { produced: u64 },
}

impl Receiver {
    /// A pull of what `request` wants, with these algorithms.
    pub(crate) fn new(request: PullRequest, wanted: Wanted) -> Self {
        let mut out = Vec::new();
        let handshake = Some(Handshake::new(wanted, &mut out));
        let mut filter = Vec::new();
        for rule in request.wanted_filter().rules() {
            let text = rule.wire();
            filter.extend_from_slice(&(text.len() as u32).to_le_bytes());
            filter.extend_from_slice(&text);
        }
        filter.extend_from_slice(&[0; 4]);
        let partials = Partials::default();
        Self { request, partials, filter, handshake, session: None, raw: BytesMut::new(), out }
    }

    /// Says whether files that a push left half sent are listed.
    pub(crate) const fn partials(mut self, partials: Partials) -> Self {
        self.partials = partials;
        self
    }

    /// Takes bytes from the peer, cut anywhere.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        if let Some(session) = &mut self.session {
            return session.demux.feed(bytes);
        }
        self.raw.extend_from_slice(bytes);
        let Some(handshake) = &mut self.handshake else { return Ok(()) };
        if let Some(agreed) = handshake.poll(&mut self.raw, &mut self.out)? {
            self.handshake = None;
            let mut session = Session::new(self.request.clone(), self.partials, agreed)?;
            session.pending.append(&mut self.filter);
            session.demux.feed(&self.raw.split())?;
            self.session = Some(session);
        }
        Ok(())
    }

    /// The next step; `None` when more bytes are needed.
    pub(crate) fn poll(&mut self) -> Result<Option<Step>, ProtocolError> {
        match &mut self.session {
            Some(session) => session.poll(&mut self.out),
            None => Ok(None),
        }
    }

    /// The next entry that must be answered, by [`Self::ask`] or [`Self::settle`].
    pub(crate) fn next_entry(&mut self) -> Option<(u32, Entry)> {
        self.session.as_mut()?.lists.next_entry()
    }

    /// Asks for the content of a file of `len` listed bytes.
    pub(crate) fn ask(&mut self, index: u32, len: u64, answer: &Answer) -> Result<(), ProtocolError> {
        let session = self.session.as_mut().ok_or(ProtocolError::Violation("a request before the handshake"))?;
        session.ask(index, len.saturating_mul(2).saturating_add(GROWTH), answer)
    }

    /// Nothing more is wanted of this entry.
    pub(crate) fn settle(&mut self, index: u32) {
        if let Some(session) = &mut self.session {
            session.lists.settle(index);
        }
    }

    /// Whether a file may be asked for once more.
    pub(crate) fn may_retry(&mut self, index: u32) -> bool {
        self.session.as_mut().is_some_and(|session| !session.lists.is_exhausted(index))
    }

    /// Takes the bytes that go to the peer now.
    pub(crate) fn transmit(&mut self) -> Vec<u8> {
        if let Some(session) = &mut self.session
            && !session.pending.is_empty()
        {
            put_data(&mut self.out, &session.pending);
            session.pending.clear();
        }
        std::mem::take(&mut self.out)
    }

    /// Tells the peer that we give up.
    pub(crate) fn give_up(&mut self, code: i32) {
        if self.session.as_ref().is_some_and(|session| session.agreed.protocol >= 31) {
            put_message(&mut self.out, Some(code));
        }
    }

    /// The directories that were listed.
    pub(crate) fn dirs(&self) -> HashSet<RelPath> {
        self.session.as_ref().map(|session| session.lists.dirs()).unwrap_or_default()
    }

    /// What both ends agreed on.
    pub(crate) fn agreed(&self) -> Option<&Agreed> {
        self.session.as_ref().map(|session| &session.agreed)
    }

    /// Whether the content of copied blocks must be told with [`Self::copied`].
    pub(crate) fn wants_copies(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.tokens.wants_copies())
    }

    /// Tells the content of the last [`Step::Copy`], before the next poll.
    pub(crate) fn copied(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        self.session.as_mut().map_or(Ok(()), |session| session.tokens.copied(bytes))
    }

    /// How many bytes of data came: what a time-out should watch, since empty frames are no progress.
    pub(crate) fn progress(&self) -> u64 {
        self.session.as_ref().map_or(self.raw.len() as u64, |session| session.demux.progress())
    }

    /// Requests that are not answered yet.
    pub(crate) fn requests(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.requests.len())
    }

    /// The request that the peer is to answer next.
    pub(crate) fn next_answer(&self) -> Option<u32> {
        self.session.as_ref()?.requests.front().map(|request| request.index)
    }

    /// Error bits that the peer reported: 1 general, 2 vanished, 4 deletions skipped.
    pub(crate) fn io_error(&self) -> i32 {
        self.session.as_ref().map_or(0, |session| session.io_error | session.lists.io_error())
    }

    /// Whether the session came to its end.
    pub(crate) fn is_finished(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.state == State::Finished)
    }
}

impl Session {
    fn new(request: PullRequest, partials: Partials, agreed: Agreed) -> Result<Self, ProtocolError> {
        Ok(Self {
            lists: FileLists::new(request, partials, &agreed),
            tokens: TokenDecoder::new(agreed.compressor)?,
            agreed,
            demux: Demux::default(),
            state: State::List,
            reader: NdxReader::new(),
            writer: NdxWriter::new(),
            requests: VecDeque::new(),
            pending: Vec::new(),
            steps: VecDeque::new(),
            lists_are_complete: !agreed.inc_recurse,
            dones_sent: 0,
            dones_seen: 0,
            io_error: 0,
        })
    }

    fn ask(&mut self, index: u32, limit: u64, answer: &Answer) -> Result<(), ProtocolError> {
        self.lists.request(index)?;
        self.writer.write(&mut self.pending, index.cast_signed());
        self.pending.extend_from_slice(&TRANSFER.to_le_bytes());
        answer.head.put(&mut self.pending);
        self.pending.extend_from_slice(&answer.sums);
        self.requests.push_back(Request { index, head: answer.head, limit });
        Ok(())
    }

    fn poll(&mut self, out: &mut Vec<u8>) -> Result<Option<Step>, ProtocolError> {
        loop {
            while let Some(message) = self.demux.message() {
                self.take_message(message, out)?;
            }
            self.send_dones();
            if let Some(step) = self.steps.pop_front() {
                return Ok(Some(step));
            }
            match self.advance() {
                Ok(Some(step)) => return Ok(Some(step)),
                Ok(None) => {}
                Err(Stop::More) => return Ok(None),
                Err(Stop::Bad(error)) => return Err(error),
            }
        }
    }

    /// One DONE for each list whose entries are all settled, oldest first; after the last one those of the later phases,
    /// which have nothing to wait for here: what had to be asked for again was asked for before its list's DONE.
    fn send_dones(&mut self) {
        while self.lists.finish_oldest() {
            self.done();
        }
        let is_last = self.lists_are_complete && self.lists.is_empty() && self.dones_sent == self.lists.count();
        if is_last && self.state != State::Finished {
            let later_phases = if self.agreed.protocol >= 31 { 3 } else { 2 };
            (0..later_phases).for_each(|_| self.done());
        }
    }

    fn done(&mut self) {
        self.writer.write(&mut self.pending, NDX_DONE);
        self.dones_sent += 1;
    }

    fn take_message(&mut self, message: Message, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        match message {
            Message::ErrorExit(code) => {
                // A server that gives up lingers until this is acknowledged.
                put_message(out, None);
                return Err(ProtocolError::Remote(code.unwrap_or(0)));
            }
            Message::Deleted(_) => return Err(ProtocolError::Violation("deletions in a pull")),
            Message::IoError(bits) => self.io_error |= bits & 7,
            Message::NoSend(index) => {
                let at = self.requests.iter().position(|request| i64::from(request.index) == i64::from(index));
                // The file whose content is arriving cannot be taken back.
                let is_arriving = matches!(self.state, State::Tokens { .. } | State::Digest);
                let at = at.filter(|&at| at > 0 || !is_arriving);
                let at = at.ok_or(ProtocolError::Violation("a refusal of what was not asked for"))?;
                if let Some(request) = self.requests.remove(at) {
                    self.steps.push_back(Step::Unsent { index: request.index });
                }
            }
            Message::Text(severity, text) => self.steps.push_back(Step::Text(severity, text)),
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<Step>, Stop> {
        match self.state {
            State::Digest => self.digest().map(Some),
            State::Finished => Err(Stop::More),
            State::Goodbye => self.goodbye().map(Some),
            State::List => self.list(),
            State::Record => self.record(),
            State::Statistics => self.statistics(),
            State::Tokens { produced } => self.token(produced).map(Some),
        }
    }

    fn list(&mut self) -> Result<Option<Step>, Stop> {
        if !self.lists.read(self.demux.data())? {
            return Err(Stop::More);
        }
        self.steps.extend(self.lists.take_refusals().into_iter().map(Step::Refused));
        self.state = State::Record;
        // Stock servers hang up right after an empty list.
        if self.lists_are_complete && self.lists.has_nothing() {
            self.state = State::Finished;
            return Ok(Some(Step::Finished));
        }
        Ok(Some(Step::Listed))
    }

    fn record(&mut self) -> Result<Option<Step>, Stop> {
        let data = self.demux.data();
        let mut cursor = Cursor::new(data);
        let mut reader = self.reader.clone();
        let index = reader.read(&mut cursor)?;
        let reply = match index {
            0.. => Some((cursor.u16()?, SumHead::read(&mut cursor)?)),
            _ => None,
        };
        let len = cursor.position();
        data.advance(len);
        self.reader = reader;
        match (index, reply) {
            (index, Some((flags, head))) => return self.reply(index.cast_unsigned(), flags, head).map(Some),
            (NDX_DONE, _) => self.done_seen()?,
            (NDX_FLIST_EOF, _) if !self.lists_are_complete => {
                self.lists_are_complete = true;
                if self.lists.has_nothing() {
                    self.state = State::Finished;
                    return Ok(Some(Step::Finished));
                }
            }
            (..=NDX_FLIST_OFFSET, _) if !self.lists_are_complete => {
                self.lists.begin((NDX_FLIST_OFFSET - index).cast_unsigned())?;
                self.state = State::List;
            }
            (NDX_DEL_STATS, _) => return Err(ProtocolError::Violation("deletions in a pull").into()),
            _ => return Err(ProtocolError::Violation("a mark that has no place here").into()),
        }
        Ok(None)
    }

    fn done_seen(&mut self) -> Result<(), ProtocolError> {
        self.dones_seen += 1;
        if self.dones_seen > self.dones_sent {
            return Err(ProtocolError::Violation("an end that was not asked for"));
        }
        // One for each list, one for the second phase, and the one that goes before the statistics.
        if self.lists_are_complete && self.dones_seen == self.lists.count() + 2 {
            self.state = State::Statistics;
        }
        Ok(())
    }

    /// Whatever a reply says must be what was asked: index, flags and sum head (CVE-2024-12084, -12086, CVE-2025-10158).
    fn reply(&mut self, index: u32, flags: u16, head: SumHead) -> Result<Step, Stop> {
        let request = self.requests.front().ok_or(ProtocolError::Violation("a reply to no request"))?;
        if request.index != index || flags != TRANSFER || request.head != head {
            return Err(ProtocolError::Violation("a reply to another request").into());
        }
        self.tokens.begin();
        self.state = State::Tokens { produced: 0 };
        Ok(Step::Begin { index })
    }

    fn token(&mut self, produced: u64) -> Result<Step, Stop> {
        let request = self.requests.front().ok_or(ProtocolError::Violation("content of no request"))?;
        let (step, len) = match self.tokens.next(self.demux.data())? {
            Token::Literal(bytes) => {
                let len = bytes.len() as u64;
                (Step::Literal(bytes), len)
            }
            Token::Blocks { first, count } => {
                let range = request.head.range(first, count);
                let (offset, len) = range.ok_or(ProtocolError::Violation("a block that the basis does not have"))?;
                (Step::Copy { offset, len }, len)
            }
            Token::End => {
                self.state = State::Digest;
                return self.digest();
            }
        };
        let produced = produced.saturating_add(len);
        if produced > request.limit {
            return Err(ProtocolError::Violation("a file without end").into());
        }
        self.state = State::Tokens { produced };
        Ok(step)
    }

    fn digest(&mut self) -> Result<Step, Stop> {
        let len = self.agreed.checksum.len();
        let data = self.demux.data();
        if data.len() < len {
            return Err(Stop::More);
        }
        let digest = data.split_to(len).freeze();
        self.state = State::Record;
        let request = self.requests.pop_front().ok_or(ProtocolError::Violation("a digest of no request"))?;
        Ok(Step::End { index: request.index, digest })
    }

    fn statistics(&mut self) -> Result<Option<Step>, Stop> {
        let data = self.demux.data();
        let mut cursor = Cursor::new(data);
        for _ in 0..STATISTICS {
            cursor.varlong(3)?;
        }
        let len = cursor.position();
        data.advance(len);
        if self.agreed.protocol >= 31 {
            self.state = State::Goodbye;
            return Ok(None);
        }
        self.done();
        self.state = State::Finished;
        Ok(Some(Step::Finished))
    }

    fn goodbye(&mut self) -> Result<Step, Stop> {
        let mut cursor = Cursor::new(self.demux.data());
        if self.reader.read(&mut cursor)? != NDX_DONE {
            return Err(ProtocolError::Violation("something else than the last end").into());
        }
        let len = cursor.position();
        self.demux.data().advance(len);
        self.done();
        self.state = State::Finished;
        Ok(Step::Finished)
    }
}
