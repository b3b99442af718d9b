//! [`Push`]: the one loop that moves bytes between a source, the state machine and a far end.
//!
//! Against deadlock: while it waits for room to write it goes on reading, up to a limit; past the limit only when the peer takes
//! nothing either.

mod content;
pub(crate) mod in_the_way;
mod outcome;
mod source;
mod trouble;

pub(crate) use source::Collected;

use crate::{
    connect::{Connect, Connection},
    error::ProtocolError,
    failure::{Broken, Ending, PROTOCOL_ERROR, farewell, hang_up},
    messages::{Messages, Severity},
    options::RsyncOptions,
    pace::Pace,
    partial::PARTIAL_RULE,
    preamble::{Preamble, PushCommand},
    pull::Started,
    session::{Deletions, Sender, SenderStep},
};
use bytes::BytesMut;
use clonepanel_core::{
    entry::{Entry, EntryKind},
    escape::Escaped,
    observer::{Event, Observer},
    path::RelPath,
    problem::Problem,
    transport::{PullRequest, PushRequest, TransferReport, TransportError},
    tree::TreeSource,
};
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// One read takes at most this much; a pipe of Linux holds as much.
const READ: usize = 64 * 1024;
/// While more than this waits to be sent, no more is made.
const MAX_BACKLOG: usize = 1 << 20;
/// So much is written as soon as it is there, so that the far end has something to do while we read.
const WORTH_WRITING: usize = 32 * 1024;
/// While more than this waits to be answered, no more is read, unless nothing is taken either.
const MAX_WAITING: usize = 8 << 20;
/// A peer that sends so much ahead is no rsync.
const MAX_AHEAD: usize = 512 << 20;
/// How long the peer may take nothing before more is read from it.
const STUCK: Duration = Duration::from_secs(2);
/// How many time-outs the far end may look at its files, or delete, without a word.
const SEARCH_PATIENCE: u32 = 4;

/// A push in progress.
pub(crate) struct Push<'a> {
    connect: &'a dyn Connect,
    root: &'a [u8],
    options: &'a RsyncOptions,
    source: &'a dyn TreeSource,
    observer: &'a dyn Observer,
    /// In the order of the list that is sent.
    entries: &'a [Entry],
    wanted: &'a [RelPath],
    /// Of files that have several.
    first_names: HashSet<&'a RelPath>,
    sender: Sender,
    preamble: Preamble,
    pace: Pace,
    backlog: BytesMut,
    /// Bytes that the far end took.
    written: u64,
    /// The far end takes nothing any more: what it still says tells why.
    is_deaf: bool,
    /// Files that were sent in full, by their position.
    sent: HashSet<usize>,
    /// What became of files that were not.
    unsent: BTreeMap<usize, Problem>,
    stderr: Messages,
    frames: Messages,
    report: TransferReport,
    /// What the login itself said, and for how much of it that counts as progress.
    greeting: Vec<u8>,
    /// What was read and is not complete yet.
    buffer: BytesMut,
    errors_are_open: bool,
}

/// What a loop waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// That something came.
    ForBytes,
    /// That more may be sent.
    ForRoom,
}

impl<'a> Push<'a> {
    pub(crate) fn new(
        connect: &'a dyn Connect,
        root: &'a [u8],
        request: &'a PushRequest,
        deletions: Deletions,
        options: &'a RsyncOptions,
        (source, collected): (&'a dyn TreeSource, &'a Collected),
        observer: &'a dyn Observer,
    ) -> Self {
        let entries = &collected.entries[..];
        let mut rules: Vec<_> = collected.kept.iter().map(in_the_way::rule).collect();
        rules.extend(request.wanted_filter().rules().iter().map(clonepanel_core::filter::Rule::wire));
        rules.push(PARTIAL_RULE.to_vec());
        let first_name = |entry: &'a Entry| match &entry.kind {
            EntryKind::File { hardlink_to, .. } => hardlink_to.as_ref(),
            _ => None,
        };
        Self {
            connect,
            root,
            options,
            source,
            observer,
            entries,
            wanted: request.wanted_paths(),
            first_names: entries.iter().filter_map(first_name).collect(),
            sender: Sender::new(options.wanted(), deletions, &rules),
            preamble: Preamble::default(),
            pace: Pace::new(options),
            backlog: BytesMut::new(),
            written: 0,
            is_deaf: false,
            sent: HashSet::new(),
            unsent: BTreeMap::new(),
            stderr: Messages::default(),
            frames: Messages::default(),
            report: TransferReport::default(),
            greeting: Vec::new(),
            buffer: BytesMut::with_capacity(READ),
            errors_are_open: true,
        }
    }

    /// Runs to the end. The second value tells whether the login ran our script at all: if not, it may still run rsync alone.
    pub(crate) async fn run(mut self, command: &PushCommand) -> (Result<TransferReport, TransportError>, Started) {
        self.preamble = Preamble::new(command.marker.clone());
        let mut connection = match self.connect.open(&command.command).await {
            Ok(connection) => connection,
            Err(error) => return (Err(error), Started::Yes),
        };
        let outcome = self.talk(&mut connection).await;
        let started = if self.preamble.has_begun() { Started::Yes } else { Started::No };
        let result = match outcome {
            Ok(()) => self.conclude(connection).await,
            Err(broken) => Err(self.explain(broken, connection).await),
        };
        (result, started)
    }

    async fn talk(&mut self, connection: &mut Connection) -> Result<(), Broken> {
        loop {
            match self.sender.poll()? {
                Some(SenderStep::Agreed) => {
                    let begun = tokio::time::Instant::now();
                    self.sender.list(self.entries, self.wanted);
                    self.pace.worked(begun.elapsed());
                }
                Some(SenderStep::Asked(asked)) => self.answer(connection, asked).await?,
                Some(SenderStep::Finished) => return Ok(()),
                Some(SenderStep::Text(severity, text)) => {
                    let line = self.frames.feed_frame(severity, &text);
                    self.tell(line.as_slice());
                }
                None => self.exchange(connection, Wait::ForBytes).await?,
            }
        }
    }

    /// Moves bytes in both directions until there is what is waited for.
    async fn exchange(&mut self, connection: &mut Connection, wait: Wait) -> Result<(), Broken> {
        let mut errors = [0; 4096];
        let mut is_stuck = false;
        loop {
            self.backlog.extend_from_slice(&self.sender.transmit());
            if self.is_deaf {
                self.backlog.clear();
            }
            // Nothing is said before the login has become rsync.
            let has_words = self.preamble.is_done() && !self.backlog.is_empty();
            let may_move = self.pace.may_move();
            if wait == Wait::ForRoom && self.backlog.len() < MAX_BACKLOG && !self.is_deaf {
                if has_words && may_move && self.backlog.len() >= WORTH_WRITING {
                    self.write_some(connection).await;
                }
                return Ok(());
            }
            let waiting = self.sender.waiting();
            if waiting > MAX_AHEAD {
                return Err(ProtocolError::Violation("requests without end").into());
            }
            let may_read = waiting < MAX_WAITING || is_stuck || self.is_deaf;
            let moved = self.sender.progress().saturating_add(self.written);
            self.pace.progress(moved);
            let moved = moved.saturating_add(self.report.matched_bytes);
            let is_looking = self.sender.agreed().is_some() && self.backlog.is_empty() && !self.is_deaf;
            let patience = if is_looking { SEARCH_PATIENCE } else { 1 };
            self.pace.keeps_up(moved, patience).map_err(Broken::Dripping)?;
            self.buffer.reserve(READ);
            let piece = self.backlog.len().min(self.pace.piece());
            tokio::select! {
                biased;
                read = connection.output.read_buf(&mut self.buffer), if may_read => {
                    let len = read.map_err(|_| Broken::Closed)?;
                    if len == 0 {
                        return Err(Broken::Closed);
                    }
                    self.report.received_bytes += len as u64;
                    self.feed()?;
                    if wait == Wait::ForBytes {
                        return Ok(());
                    }
                }
                written = connection.input.write(&self.backlog[..piece]), if has_words && may_move => {
                    is_stuck = false;
                    self.wrote(written);
                }
                read = connection.errors.read(&mut errors), if self.errors_are_open => {
                    let len = read.unwrap_or(0);
                    self.errors_are_open = len > 0;
                    let lines = self.stderr.feed(&errors[..len]);
                    self.tell(&lines);
                }
                () = self.pace.wait_to_move(), if has_words && !may_move => {}
                () = tokio::time::sleep(STUCK), if !may_read => is_stuck = true,
                () = self.pace.wait_too_long(patience) => return Err(Broken::Silent(self.pace.patience(patience))),
            }
        }
    }

    /// Writes as much as the far end takes at once.
    async fn write_some(&mut self, connection: &mut Connection) {
        let piece = self.backlog.len().min(self.pace.piece());
        tokio::select! {
            biased;
            written = connection.input.write(&self.backlog[..piece]) => self.wrote(written),
            () = std::future::ready(()) => {}
        }
    }

    fn wrote(&mut self, written: std::io::Result<usize>) {
        match written {
            Ok(len @ 1..) => {
                self.written += len as u64;
                self.pace.moved(len);
                let _ = self.backlog.split_to(len);
            }
            Ok(0) | Err(_) => self.is_deaf = true,
        }
    }

    fn feed(&mut self) -> Result<(), Broken> {
        if !self.preamble.is_done() {
            self.preamble.read(&mut self.buffer, &PullRequest::new())?;
            if !self.preamble.is_done() {
                return Ok(());
            }
            self.pace.alive();
            self.start()?;
        }
        let missing = 200_usize.saturating_sub(self.greeting.len()).min(self.buffer.len());
        self.greeting.extend_from_slice(&self.buffer[..missing]);
        let fed = self.sender.feed(&self.buffer);
        self.buffer.clear();
        Ok(fed?)
    }

    /// The login has reported; without a root the push ends before it begins.
    fn start(&self) -> Result<(), Broken> {
        let noise = Escaped(self.preamble.noise.trim_ascii()).to_string();
        if !noise.is_empty() {
            let text = format!("the login prints text of its own, which was skipped: {noise}");
            self.observer.notice(&Event::Message { text: &text });
        }
        let endpoint = self.connect.endpoint().to_owned();
        let path = Escaped(self.root).to_string();
        if self.preamble.root_is_missing {
            return Err(Broken::Transport(TransportError::NotFound { endpoint, path }));
        }
        if self.preamble.root_is_denied {
            let detail = format!("{path} is no directory that may be entered");
            return Err(Broken::Transport(TransportError::Remote { endpoint, detail }));
        }
        Ok(())
    }

    fn tell(&self, lines: &[Vec<u8>]) {
        for line in lines {
            self.observer.notice(&Event::Message { text: &Escaped(line).to_string() });
        }
    }

    /// Everything is said: waits for the far end to go away, and makes sense of what it reported.
    async fn conclude(mut self, connection: Connection) -> Result<TransferReport, TransportError> {
        self.backlog.extend_from_slice(&self.sender.transmit());
        let last_words = std::mem::take(&mut self.backlog);
        self.report.sent_bytes = self.written + last_words.len() as u64;
        let (code, rest) = farewell(connection, &last_words, &mut self.stderr).await;
        // Messages may still come after the goodbye.
        if self.sender.feed(&rest).is_ok() {
            while let Ok(Some(SenderStep::Text(severity, text))) = self.sender.poll() {
                self.frames.feed_frame(severity, &text);
            }
        }
        self.stderr.end_line(Severity::Other);
        self.frames.end_line(Severity::Other);
        self.judge(code)
    }

    /// The session broke off: finds out why.
    async fn explain(&mut self, broken: Broken, connection: Connection) -> TransportError {
        if let Broken::Transport(error) = broken {
            return error;
        }
        if matches!(broken, Broken::Protocol(_)) {
            self.sender.give_up(PROTOCOL_ERROR);
        }
        // What waits of a content is of no use any more, but what it is in the middle of must not be cut short either: the
        // farewell alone would be taken for a part of it.
        let last_words = if self.backlog.is_empty() { self.sender.transmit() } else { Vec::new() };
        let code = hang_up(connection, &last_words, &mut self.stderr, &broken).await;
        while let Ok(Some(SenderStep::Text(severity, text))) = self.sender.poll() {
            self.frames.feed_frame(severity, &text);
        }
        self.stderr.end_line(Severity::Other);
        self.frames.end_line(Severity::Other);
        self.ending(code).explain(broken)
    }

    fn ending(&self, code: Option<i32>) -> Ending<'_> {
        Ending {
            connect: self.connect,
            options: self.options,
            said: [&self.stderr, &self.frames],
            code,
            preamble: &self.preamble,
            has_agreed: self.sender.agreed().is_some(),
            greeting: &self.greeting,
        }
    }
}
