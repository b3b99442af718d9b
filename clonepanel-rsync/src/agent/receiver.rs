//! [`Receiver`]: the end that gets the tree: offers what is listed to the sink, and asks for what it wants.

use super::{
    incoming::{Checked, Complete, Ended, Incoming, Taken, copy_basis},
    link::{Broken, Link},
    listing,
    message::{self, Ask, How, LISTINGS_AHEAD, MAX_ASKS, Message, SIGNATURE_CREDIT, Tally, is_about_content},
    preparing::Asked,
    served::ServedSink,
    session::unexpected,
};
use crate::error::ProtocolError;
use bytes::Bytes;
use clonepanel_core::{
    entry::Entry,
    observer::{Event, Observer},
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    transport::{Deletion, PullRequest, PushRequest},
    tree::{Listed, TreeError, TreeSink, Want},
};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::collections::{HashMap, HashSet, VecDeque};

/// So many bases are read at once.
const PREPARING: usize = 4;
/// So many contents are completed in the sink at once.
const FINISHING: usize = 8;
/// So many entries are taken of one listing.
const MAX_ENTRIES: u64 = 20_000_000;
/// So many bytes of listing, as it travels, are held back until what is to be deleted is known.
const MAX_HELD: usize = 1 << 30;

/// A tree on its way in.
pub(super) struct Receiver<'a> {
    sink: &'a dyn TreeSink,
    covered: &'a PullRequest,
    observer: &'a dyn Observer,
    link: Link,
    /// `None` once it is known what has to go.
    deletion: Option<(&'a dyn ServedSink, &'a PushRequest)>,
    /// What goes when everything has arrived.
    leaving: Option<(&'a dyn ServedSink, Vec<RelPath>)>,
    tells: Tells,
    /// Batches that came and were not looked into.
    batches: VecDeque<Bytes>,
    held: usize,
    listed: VecDeque<Listed>,
    is_listed: bool,
    root_is_offered: bool,
    next_id: u64,
    /// To be asked for in a way that needs the basis.
    waiting: VecDeque<Asked>,
    preparing: FuturesUnordered<BoxFuture<'a, (Asked, How, usize)>>,
    /// Asked for, by the number of the question, with the length of its signature.
    asked: HashMap<u64, (Asked, How, usize)>,
    /// The signatures of what is prepared, asked or arriving, in bytes.
    signatures: usize,
    /// So large may they be.
    credit: usize,
    current: Option<(u64, Box<Incoming<'a>>)>,
    finishing: FuturesUnordered<BoxFuture<'a, Result<Ended, Broken>>>,
    got: Got,
}

/// Whether problems are told to the other end as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tells {
    Nobody,
    Peer,
}

/// What arrived.
#[derive(Debug, Default)]
pub(super) struct Got {
    pub(super) entries: u64,
    pub(super) tally: Tally,
    pub(super) problems: Problems,
    /// Files with a problem because of their length.
    pub(super) changed: HashSet<RelPath>,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(
        sink: &'a dyn TreeSink,
        covered: &'a PullRequest,
        observer: &'a dyn Observer,
        tells: Tells,
        link: Link,
    ) -> Self {
        Self {
            sink,
            covered,
            observer,
            link,
            deletion: None,
            leaving: None,
            tells,
            batches: VecDeque::new(),
            held: 0,
            listed: VecDeque::new(),
            is_listed: false,
            root_is_offered: false,
            next_id: 0,
            waiting: VecDeque::new(),
            preparing: FuturesUnordered::new(),
            asked: HashMap::new(),
            signatures: 0,
            credit: SIGNATURE_CREDIT,
            current: None,
            finishing: FuturesUnordered::new(),
            got: Got::default(),
        }
    }

    /// With another credit than the protocol's.
    #[cfg(test)]
    pub(super) const fn credit(mut self, credit: usize) -> Self {
        self.credit = credit;
        self
    }

    /// In the end deletes what the whole listing does not have, if all of it has arrived.
    pub(super) fn deleting(mut self, sink: &'a dyn ServedSink, request: &'a PushRequest) -> Self {
        if request.allowed_deletion() != Deletion::Keep {
            self.deletion = Some((sink, request));
        }
        self
    }

    /// Runs until everything is here. What else is to be said before the end is up to the caller.
    pub(super) async fn run(mut self) -> Result<(Got, Link), Broken> {
        loop {
            self.advance().await?;
            if self.is_complete() {
                self.delete_last().await?;
                return Ok((self.got, self.link));
            }
            self.link.outbound.flush().await?;
            self.link.set_waiting(self.preparing.is_empty() && self.finishing.is_empty());
            tokio::select! {
                biased;
                Some(ended) = self.finishing.next(), if !self.finishing.is_empty() => {
                    self.link.set_waiting(false);
                    self.ended(ended?).await?;
                }
                Some((asked, how, reserved)) = self.preparing.next(), if !self.preparing.is_empty() => {
                    self.link.set_waiting(false);
                    self.ask(asked, how, reserved).await?;
                }
                message = self.link.inbound.next(), if self.finishing.len() < FINISHING => {
                    self.link.set_waiting(false);
                    self.take(message?).await?;
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.is_listed
            && self.deletion.is_none()
            && self.batches.is_empty()
            && self.listed.is_empty()
            && self.unanswered() == 0
            && self.finishing.is_empty()
    }

    /// Whose last frame has not come.
    fn unanswered(&self) -> usize {
        self.waiting.len() + self.preparing.len() + self.asked.len() + usize::from(self.current.is_some())
    }

    /// Does all that can be done without the peer.
    async fn advance(&mut self) -> Result<(), Broken> {
        if self.deletion.is_some() {
            if !self.is_listed {
                return Ok(());
            }
            self.count().await?;
        }
        loop {
            self.prepare();
            // What is being finished may have to be asked for again.
            if self.unanswered() + self.finishing.len() >= MAX_ASKS {
                return Ok(());
            }
            match self.listed.pop_front() {
                Some(Listed::Entry(entry)) => self.entry(entry).await?,
                Some(Listed::Problem(problem)) => {
                    if self.covered.covers_problem(&problem) {
                        self.note(problem);
                    }
                }
                None => {
                    let Some(batch) = self.batches.pop_front() else { return Ok(()) };
                    self.listed = listing::parse(&batch)?.into();
                    if !self.is_listed {
                        self.link.outbound.send(message::grant(1)).await?;
                    }
                }
            }
        }
    }

    /// Starts reading the bases of what waits for it, as far as its signatures may travel.
    fn prepare(&mut self) {
        while self.preparing.len() < PREPARING
            && let Some(asked) = self.waiting.front()
        {
            let len = asked.signature_len();
            if self.signatures > 0 && self.signatures + len > self.credit {
                return;
            }
            if let Some(asked) = self.waiting.pop_front() {
                self.signatures += len;
                self.preparing.push(Box::pin(async move {
                    let (asked, how) = asked.prepare().await;
                    (asked, how, len)
                }));
            }
        }
    }

    async fn entry(&mut self, entry: Entry) -> Result<(), Broken> {
        self.got.entries += 1;
        if self.got.entries > MAX_ENTRIES {
            return Err(Broken::Protocol(ProtocolError::Violation("a listing that does not end")));
        }
        if !self.covered.covers(&entry.path, entry.is_dir()) {
            return self.problem(Problem::new(entry.path, ProblemKind::Refused, "it was not asked for")).await;
        }
        if !self.root_is_offered {
            // Without the root itself in the list, a directory stands in for it.
            self.root_is_offered = true;
            if !entry.path.is_root() {
                self.offer(&Entry::dir(RelPath::root())).await?;
            }
        }
        self.observer.notice(&Event::Listed { entries: 1, bytes: entry.len().unwrap_or(0) });
        if let Want::Data { basis } = self.offer(&entry).await?
            && entry.has_content()
        {
            self.waiting.push_back(Asked::new(entry, basis));
        }
        Ok(())
    }

    async fn offer(&mut self, entry: &Entry) -> Result<Want, Broken> {
        match self.sink.offer(entry).await {
            Ok(want) => Ok(want),
            Err(TreeError::Refused { why, .. }) => {
                self.problem(Problem::new(entry.path.clone(), ProblemKind::Refused, why)).await?;
                Ok(Want::Nothing)
            }
            Err(error) => Err(Broken::Sink(error)),
        }
    }

    async fn ask(&mut self, asked: Asked, how: How, reserved: usize) -> Result<(), Broken> {
        let id = self.next_id;
        self.next_id += 1;
        let ask = Ask { id, path: asked.entry.path.clone(), how };
        for frame in message::put_ask(&ask) {
            self.link.outbound.send(frame).await?;
        }
        let how = match ask.how {
            How::Delta { basis_len, .. } => How::Delta { basis_len, signature: Bytes::new() },
            how => how,
        };
        self.asked.insert(id, (asked, how, reserved));
        Ok(())
    }

    async fn take(&mut self, message: Message) -> Result<(), Broken> {
        let violation = |what| Err(Broken::Protocol(ProtocolError::Violation(what)));
        match message {
            Message::Listing(_) | Message::Listed if self.is_listed => violation("more after the end of the listing"),
            Message::Listing(batch) => self.batch(batch).await,
            Message::Listed => {
                self.is_listed = true;
                Ok(())
            }
            Message::Window(window) => {
                let id = window.id;
                let incoming = match self.current.take() {
                    Some((current, incoming)) if current == id => incoming,
                    Some(_) => return violation("two contents at once"),
                    None => {
                        let (asked, _, reserved) = self.asked_for(id)?;
                        Incoming::begin((asked, reserved), self.sink, self.observer).await?
                    }
                };
                let reserved = incoming.reserved;
                match incoming.window(window).await? {
                    Taken::More(incoming) => {
                        self.current = Some((id, incoming));
                        return Ok(());
                    }
                    Taken::Checked(checked) => self.finish(checked),
                    Taken::Ended(ended) => self.ended(ended).await?,
                }
                // Only now: the sender holds a signature until it has sent the last window.
                self.signatures -= reserved;
                Ok(())
            }
            Message::Same { id } => {
                let (asked, how) = self.answered(id)?;
                self.finishing.push(Box::pin(copy_basis(asked, how, self.sink, self.observer)));
                Ok(())
            }
            Message::Different { id } => match self.answered(id)? {
                (asked, How::Unless(_)) => {
                    self.waiting.push_back(asked.differs());
                    Ok(())
                }
                _ => violation("an answer to another question"),
            },
            Message::Lost { id, mut problem } if is_about_content(problem.kind) => {
                let asked = match self.current.take() {
                    Some((current, incoming)) if current == id => {
                        self.signatures -= incoming.reserved;
                        incoming.asked
                    }
                    Some(_) => return violation("two contents at once"),
                    None => self.answered(id)?.0,
                };
                problem.path = asked.entry.path;
                self.problem(problem).await
            }
            _ => Err(unexpected()),
        }
    }

    async fn batch(&mut self, batch: Bytes) -> Result<(), Broken> {
        if self.deletion.is_some() {
            // All of it must be here first; so the next may come.
            self.held += batch.len();
            if self.held > MAX_HELD {
                return Err(Broken::Protocol(ProtocolError::Violation("a listing that does not end")));
            }
            self.link.outbound.send(message::grant(1)).await?;
        } else if self.batches.len() as u64 >= LISTINGS_AHEAD {
            return Err(Broken::Protocol(ProtocolError::Violation("more of the listing than was granted")));
        }
        self.batches.push_back(batch);
        Ok(())
    }

    /// The question that is being answered.
    fn asked_for(&mut self, id: u64) -> Result<(Asked, How, usize), Broken> {
        let asked = self.asked.remove(&id);
        asked.ok_or(Broken::Protocol(ProtocolError::Violation("an answer that nobody asked for")))
    }

    /// A question was answered in full.
    fn answered(&mut self, id: u64) -> Result<(Asked, How), Broken> {
        let (asked, how, reserved) = self.asked_for(id)?;
        self.signatures -= reserved;
        Ok((asked, how))
    }

    fn finish(&mut self, checked: Checked) {
        self.finishing.push(Box::pin(checked.finish()));
    }

    async fn ended(&mut self, ended: Ended) -> Result<(), Broken> {
        match ended {
            Ended::Complete(complete) => {
                let Complete { asked, written, literal_bytes, matched_bytes } = *complete;
                let path = asked.entry.path.clone();
                self.got.tally.files += 1;
                self.got.tally.literal_bytes += literal_bytes;
                self.got.tally.matched_bytes += matched_bytes;
                self.observer.notice(&Event::Finished { path: &path });
                if asked.entry.len() != Some(written.len) {
                    self.got.changed.insert(path.clone());
                    self.problem(Problem::new(path, ProblemKind::Changed, "it was written to while it was read"))
                        .await?;
                }
                Ok(())
            }
            Ended::Refused(problem) => self.problem(problem).await,
            Ended::Wrong(asked) => {
                let path = asked.entry.path.clone();
                match asked.surer() {
                    Some(asked) => {
                        self.waiting.push_back(asked);
                        Ok(())
                    }
                    None => {
                        self.problem(Problem::new(path, ProblemKind::Failed, "its content did not pass the check"))
                            .await
                    }
                }
            }
        }
    }

    /// Decides what is to be deleted, now that the listing is here in full. Only what stands in the way of an entry goes at once.
    async fn count(&mut self) -> Result<(), Broken> {
        let Some((sink, request)) = self.deletion.take() else { return Ok(()) };
        let mut staying = HashSet::new();
        for batch in &self.batches {
            for listed in listing::parse(batch)? {
                match listed {
                    Listed::Entry(entry) => drop(staying.insert(entry.path)),
                    // What could not be listed may well be there: an error is no absence.
                    Listed::Problem(problem) if problem.kind.is_loss() => {
                        let detail = "a part of the source could not be listed: nothing was deleted";
                        return self.problem(Problem::new(RelPath::root(), ProblemKind::Refused, detail)).await;
                    }
                    Listed::Problem(_) => {}
                }
                if staying.len() as u64 > MAX_ENTRIES {
                    return Err(Broken::Protocol(ProtocolError::Violation("a listing that does not end")));
                }
            }
        }
        let leaving = match sink.leaving(request, staying).await.map_err(Broken::Sink)? {
            Ok(leaving) => leaving,
            Err(problem) => return self.problem(problem).await,
        };
        let above: HashSet<RelPath> = leaving.iter().flat_map(ancestors).collect();
        let mut replaced = HashSet::new();
        for batch in &self.batches {
            for listed in listing::parse(batch)? {
                if let Listed::Entry(entry) = listed
                    && !entry.is_dir()
                    && above.contains(&entry.path)
                {
                    replaced.insert(entry.path);
                }
            }
        }
        let is_in_the_way = |path: &RelPath| ancestors(path).any(|above| replaced.contains(&above));
        let (now, later) = leaving.into_iter().partition::<Vec<_>, _>(is_in_the_way);
        self.leaving = Some((sink, later));
        self.delete(sink, now).await
    }

    /// Deletes what was decided on, now that everything has arrived; if something did not, its older name may be all there is.
    async fn delete_last(&mut self) -> Result<(), Broken> {
        match self.leaving.take() {
            Some((_, leaving)) if !leaving.is_empty() && self.got.problems.losses() > 0 => {
                let detail = "not everything arrived: nothing more was deleted";
                self.problem(Problem::new(RelPath::root(), ProblemKind::Refused, detail)).await
            }
            Some((sink, leaving)) => self.delete(sink, leaving).await,
            None => Ok(()),
        }
    }

    async fn delete(&mut self, sink: &dyn ServedSink, leaving: Vec<RelPath>) -> Result<(), Broken> {
        if leaving.is_empty() {
            return Ok(());
        }
        self.link.set_waiting(false);
        let (deleted, problems) = sink.delete(leaving).await.map_err(Broken::Sink)?;
        self.got.tally.deleted += deleted;
        for problem in problems.listed() {
            self.problem(problem.clone()).await?;
        }
        Ok(())
    }

    /// A problem that the other end knows of.
    fn note(&mut self, problem: Problem) {
        self.observer.notice(&Event::Problem(&problem));
        self.got.problems.push(problem);
    }

    async fn problem(&mut self, problem: Problem) -> Result<(), Broken> {
        if self.tells == Tells::Peer {
            self.link.outbound.send(message::problem_at(&problem)).await?;
        }
        self.note(problem);
        Ok(())
    }
}

/// The directories that a path is in, the nearest first.
fn ancestors(path: &RelPath) -> impl Iterator<Item = RelPath> + use<> {
    std::iter::successors(path.parent(), RelPath::parent)
}
