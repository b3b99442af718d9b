//! [`Sender`]: the end that has the tree: lists it, and answers what is asked of it.

use super::{
    content::Packer,
    link::{Broken, Link},
    listing::Batch,
    message::{self, Ask, How, LISTINGS_AHEAD, MAX_ASKS, Message, SIGNATURE_CREDIT, Tally},
    outgoing::{Outgoing, Step, lost},
    session::unexpected,
};
use crate::error::ProtocolError;
use bytes::{Bytes, BytesMut};
use clonepanel_core::{
    entry::{Entry, EntryKind},
    observer::{Event, Observer},
    partial::is_partial,
    path::RelPath,
    problem::{Problem, Problems},
    transport::PullRequest,
    tree::{EntryStream, FileStream, Listed, TreeError, TreeSource},
};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use std::collections::{HashMap, VecDeque};

/// So many files are opened ahead of their turn.
const OPEN_AHEAD: usize = 8;

/// A tree on its way out.
pub(super) struct Sender<'a> {
    source: &'a dyn TreeSource,
    covered: &'a PullRequest,
    observer: &'a dyn Observer,
    link: Link,
    /// `None` when all is listed.
    entries: Option<Box<dyn EntryStream>>,
    first_names: HashMap<RelPath, RelPath>,
    /// Batches that may still be sent.
    granted: u64,
    packer: Packer,
    /// The signature of the next delta, as far as it came.
    signature: BytesMut,
    /// Of all that was asked and whose last frame was not made, in bytes.
    signatures: usize,
    /// So large may they be.
    credit: usize,
    asks: VecDeque<Ask>,
    opening: FuturesOrdered<BoxFuture<'a, Opened>>,
    current: Option<(Outgoing, usize)>,
    /// Whether it is the listing's turn.
    lists_next: bool,
    sent: Sent,
}

/// What was listed and said.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) entries: u64,
    /// What the other end did with it.
    pub(super) tally: Tally,
    /// Trouble with single paths: of the listing, of contents, and what the other end reports.
    pub(super) problems: Problems,
}

type Opened = (Ask, Result<Box<dyn FileStream>, TreeError>);

impl<'a> Sender<'a> {
    pub(super) fn new(
        source: &'a dyn TreeSource,
        covered: &'a PullRequest,
        observer: &'a dyn Observer,
        link: Link,
    ) -> Self {
        Self {
            source,
            covered,
            observer,
            link,
            entries: None,
            first_names: HashMap::new(),
            granted: LISTINGS_AHEAD,
            packer: Packer::new(),
            signature: BytesMut::new(),
            signatures: 0,
            credit: SIGNATURE_CREDIT,
            asks: VecDeque::new(),
            opening: FuturesOrdered::new(),
            current: None,
            lists_next: true,
            sent: Sent::default(),
        }
    }

    /// With another credit than the protocol's.
    #[cfg(test)]
    pub(super) const fn credit(mut self, credit: usize) -> Self {
        self.credit = credit;
        self
    }

    /// Runs until the receiver has all it wants. What else is to be said before the end is up to the caller.
    pub(super) async fn run(mut self) -> Result<(Sent, Link), Broken> {
        self.entries = Some(self.source.entries().await.map_err(Broken::Source)?);
        loop {
            self.open_ahead();
            // Nothing here waits for room but the one branch that also listens: the receiver may be doing just the same.
            let is_full = self.link.outbound.is_full();
            let can_list = !is_full && self.entries.is_some() && self.granted > 0;
            let can_send = !is_full && self.current.is_some();
            let can_begin = !is_full && self.current.is_none() && !self.opening.is_empty();
            let has_to_write = self.link.outbound.is_gathering();
            // Waiting for room is waiting for the peer, and so is waiting for its questions.
            self.link.set_waiting(!can_begin);
            tokio::select! {
                biased;
                message = self.link.inbound.next() => {
                    self.link.set_waiting(false);
                    if self.take(message?)? {
                        return Ok((self.sent, self.link));
                    }
                }
                opened = self.opening.next(), if can_begin => {
                    self.link.set_waiting(false);
                    if let Some(opened) = opened {
                        self.begin(opened)?;
                    }
                }
                room = self.link.outbound.room(), if can_list || can_send || has_to_write => {
                    room?;
                    self.link.set_waiting(false);
                    self.lists_next = can_list && (!can_send || !self.lists_next);
                    if self.lists_next {
                        self.list().await?;
                    } else if can_send {
                        self.send().await?;
                    }
                    let is_idle = !can_list && !can_send;
                    if is_idle || self.link.outbound.is_full() {
                        self.link.outbound.pass_one()?;
                    }
                }
            }
        }
    }

    /// Takes what the receiver says; tells whether that was the last of it.
    fn take(&mut self, message: Message) -> Result<bool, Broken> {
        let violation = |what| Broken::Protocol(ProtocolError::Violation(what));
        match message {
            Message::Grant { batches } => {
                self.granted += batches;
                if self.granted > LISTINGS_AHEAD {
                    return Err(violation("more batches are granted than were sent"));
                }
            }
            Message::Signature(piece) => {
                self.signatures += piece.len();
                if self.signatures > self.credit {
                    return Err(violation("too many signatures wait for their answer"));
                }
                self.signature.extend_from_slice(&piece);
            }
            Message::Ask(mut ask) => {
                let signature = std::mem::take(&mut self.signature).freeze();
                match &mut ask.how {
                    How::Delta { signature: place, .. } => *place = signature,
                    _ if !signature.is_empty() => return Err(violation("a signature for nothing")),
                    _ => {}
                }
                if self.asks.len() + self.opening.len() >= MAX_ASKS {
                    return Err(violation("too much is asked for at once"));
                }
                self.asks.push_back(ask);
            }
            Message::Problem(problem) => self.problem(problem),
            Message::Finished(tally) => {
                let is_idle = self.asks.is_empty() && self.opening.is_empty() && self.current.is_none();
                if !is_idle || self.entries.is_some() {
                    return Err(violation("the end comes too early"));
                }
                self.sent.tally = tally;
                return Ok(true);
            }
            _ => return Err(unexpected()),
        }
        Ok(false)
    }

    fn open_ahead(&mut self) {
        while self.opening.len() < OPEN_AHEAD
            && let Some(ask) = self.asks.pop_front()
        {
            let (source, covered) = (self.source, self.covered);
            self.opening.push_back(Box::pin(async move {
                // Whatever is asked: nothing is read that would not be listed.
                let opened = if covered.covers(&ask.path, false) {
                    source.open(&ask.path).await
                } else {
                    Err(TreeError::NotFound { path: ask.path.clone() })
                };
                (ask, opened)
            }));
        }
    }

    fn begin(&mut self, (ask, opened): Opened) -> Result<(), Broken> {
        let signature = match &ask.how {
            How::Delta { signature, .. } => signature.len(),
            _ => 0,
        };
        match opened {
            Ok(stream) => self.current = Some((Outgoing::new(ask, stream)?, signature)),
            Err(error) => {
                self.signatures -= signature;
                self.link.outbound.put(lost(ask.id, &ask.path, error)?);
            }
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Broken> {
        let Some((current, signature)) = &mut self.current else { return Ok(()) };
        let (frame, len) = match current.step(&mut self.packer).await? {
            Step::Nothing => return Ok(()),
            Step::More { frame, len } => (frame, len),
            Step::Last { frame, len } => {
                self.signatures -= *signature;
                self.current = None;
                (frame, len)
            }
        };
        if len > 0 {
            self.observer.notice(&Event::Data { literal_bytes: len, matched_bytes: 0 });
        }
        self.link.outbound.put(frame);
        Ok(())
    }

    async fn list(&mut self) -> Result<(), Broken> {
        let mut batch = Batch::default();
        while !batch.is_full()
            && let Some(entries) = &mut self.entries
        {
            match entries.next().await.map_err(Broken::Source)? {
                Some(Listed::Entry(entry))
                    if self.covered.covers(&entry.path, entry.is_dir()) && !is_partial(entry.path.as_bytes()) =>
                {
                    let entry = self.covered.as_offered(self.regroup(entry));
                    self.sent.entries += 1;
                    self.observer.notice(&Event::Listed { entries: 1, bytes: entry.len().unwrap_or(0) });
                    batch.push(&Listed::Entry(entry));
                }
                Some(Listed::Entry(_)) => {}
                Some(Listed::Problem(problem)) => {
                    if self.covered.covers_problem(&problem) {
                        batch.push(&Listed::Problem(problem.clone()));
                        self.problem(problem);
                    }
                }
                None => self.entries = None,
            }
        }
        if !batch.is_empty() {
            self.granted -= 1;
            let packer = &mut self.packer;
            let frame: Bytes = message::listing(|out| batch.take(packer, out));
            self.link.outbound.put(frame);
        }
        if self.entries.is_none() {
            self.link.outbound.put(message::listed());
        }
        Ok(())
    }

    /// A group of hard links whose first name is left out goes on under the first name that is not.
    fn regroup(&mut self, mut entry: Entry) -> Entry {
        if let EntryKind::File { hardlink_to, .. } = &mut entry.kind
            && let Some(leader) = hardlink_to.take_if(|leader| !self.covered.covers(leader, false))
        {
            let first = self.first_names.entry(leader).or_insert_with(|| entry.path.clone());
            *hardlink_to = (*first != entry.path).then(|| first.clone());
        }
        entry
    }

    fn problem(&mut self, problem: Problem) {
        self.observer.notice(&Event::Problem(&problem));
        self.sent.problems.push(problem);
    }
}
