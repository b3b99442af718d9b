//! [`Pull`]: the one loop that moves bytes between a far end, the state machines and a sink.
//!
//! Against deadlock: it never waits for the peer to read; when too much waits to be sent, it stops answering entries, and
//! goes on reading.

mod file;

use crate::{
    connect::{Connect, Connection},
    failure::{Broken, CODES_OF_A_COMPLETE_SESSION, Ending, PARTIAL, PROTOCOL_ERROR, farewell, hang_up},
    messages::{self, Messages, Severity},
    options::RsyncOptions,
    pace::Pace,
    preamble::{Preamble, PullCommand, wanted_paths},
    session::{Receiver, Refusal, Step},
};
use bytes::BytesMut;
use clonepanel_core::{
    escape::Escaped,
    observer::{Event, Observer},
    path::RelPath,
    problem::{Problem, ProblemKind},
    transport::{PullRequest, TransferReport, TransportError},
    tree::{TreeError, TreeSink, Want},
};
use file::{Asked, FileInProgress};
use std::collections::HashMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

/// One read takes at most this much; a pipe of Linux holds as much.
const READ: usize = 64 * 1024;
/// While more than this waits to be sent, no further entry is answered.
const MAX_BACKLOG: usize = 1 << 20;
/// While so many requests are not answered, no further one is made.
const MAX_REQUESTS: usize = 1000;
/// How many time-outs a search for touched files may take.
const SEARCH_PATIENCE: u32 = 12;
/// A report that is longer than this is not worth waiting for.
const MAX_REPORT: u64 = 1 << 30;
/// A pull in progress.
pub(crate) struct Pull<'a> {
    connect: &'a dyn Connect,
    root: &'a [u8],
    request: &'a PullRequest,
    sink: &'a dyn TreeSink,
    observer: &'a dyn Observer,
    options: &'a RsyncOptions,
    receiver: Receiver,
    preamble: Preamble,
    asked: HashMap<u32, Asked>,
    current: Option<FileInProgress>,
    unsent: Vec<RelPath>,
    stderr: Messages,
    frames: Messages,
    report: TransferReport,
    root_is_offered: bool,
    /// Bytes of the login's report that counted as progress.
    reported: u64,
    /// What is to be sent when everything is over.
    last_words: BytesMut,
    /// The first bytes of the stream, to show when they are not rsync's.
    greeting: Vec<u8>,
}

impl<'a> Pull<'a> {
    pub(crate) fn new(
        connect: &'a dyn Connect,
        root: &'a [u8],
        request: &'a PullRequest,
        options: &'a RsyncOptions,
        sink: &'a dyn TreeSink,
        observer: &'a dyn Observer,
    ) -> Self {
        Self {
            connect,
            root,
            request,
            sink,
            observer,
            options,
            receiver: Receiver::new(request.clone(), options.wanted()).partials(options.partials),
            preamble: Preamble::default(),
            asked: HashMap::new(),
            current: None,
            unsent: Vec::new(),
            stderr: Messages::default(),
            frames: Messages::default(),
            report: TransferReport::default(),
            root_is_offered: false,
            reported: 0,
            last_words: BytesMut::new(),
            greeting: Vec::new(),
        }
    }

    /// Runs to the end. The second value tells whether the login ran our script at all: if not, it may still run rsync alone.
    pub(crate) async fn run(mut self, command: &PullCommand) -> (Result<TransferReport, TransportError>, Started) {
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
        let mut pace = Pace::new(self.options);
        let mut backlog = BytesMut::new();
        let mut buffer = BytesMut::with_capacity(READ);
        let mut errors = [0; 4096];
        let mut errors_are_open = true;
        loop {
            let begun = Instant::now();
            self.work(backlog.len()).await?;
            pace.worked(begun.elapsed());
            backlog.extend_from_slice(&self.receiver.transmit());
            // Nothing is said before the login has become rsync.
            let may_write = self.preamble.is_done() && !backlog.is_empty();
            if self.receiver.is_finished() {
                // What is left to say is said on the way out.
                self.last_words = backlog;
                return Ok(());
            }
            buffer.reserve(READ);
            let may_read = pace.may_move();
            let patience = self.patience(&pace);
            pace.progress(self.receiver.progress());
            let useful = self.reported + self.receiver.progress() + self.report.matched_bytes;
            pace.keeps_up(useful, patience).map_err(Broken::Dripping)?;
            tokio::select! {
                biased;
                read = connection.output.read_buf(&mut buffer), if may_read => {
                    let len = read.map_err(|_| Broken::Closed)?;
                    if len == 0 {
                        return Err(Broken::Closed);
                    }
                    self.report.received_bytes += len as u64;
                    pace.moved(len);
                    self.feed(&mut buffer, &mut pace)?;
                }
                written = connection.input.write(&backlog), if may_write => match written {
                    Ok(len @ 1..) => {
                        self.report.sent_bytes += len as u64;
                        let _ = backlog.split_to(len);
                    }
                    // The peer does not listen any more: what it still says tells why.
                    Ok(0) | Err(_) => backlog.clear(),
                },
                read = connection.errors.read(&mut errors), if errors_are_open => {
                    let len = read.unwrap_or(0);
                    errors_are_open = len > 0;
                    let lines = self.stderr.feed(&errors[..len]);
                    self.tell(&lines);
                }
                () = pace.wait_to_move(), if !may_read => {}
                () = pace.wait_too_long(patience) => return Err(Broken::Silent(pace.patience(patience))),
            }
        }
    }

    /// How many time-outs of silence are no trouble now.
    fn patience(&self, pace: &Pace) -> u32 {
        // A walk over many files on a slow disk says nothing for long.
        if self.preamble.is_searching() {
            return SEARCH_PATIENCE;
        }
        // The length is that of our own older version, not what the far end says.
        let next = || self.receiver.next_answer().and_then(|index| self.asked.get(&index)).map(Asked::compared);
        let compared = self.current.as_ref().map(FileInProgress::compared).or_else(next);
        1 + pace.time_outs_to_read(compared.unwrap_or(0))
    }

    fn feed(&mut self, buffer: &mut BytesMut, pace: &mut Pace) -> Result<(), Broken> {
        if !self.preamble.is_done() {
            self.preamble.read(buffer, self.request)?;
            // What a login prints by itself is no progress, and a report without end is none either.
            let said = self.report.received_bytes.min(MAX_REPORT);
            if self.preamble.has_begun() && said > self.reported {
                self.reported = said;
                pace.alive();
            }
            if !self.preamble.is_done() {
                return Ok(());
            }
            self.start()?;
        }
        let missing = 200_usize.saturating_sub(self.greeting.len()).min(buffer.len());
        self.greeting.extend_from_slice(&buffer[..missing]);
        let fed = self.receiver.feed(buffer);
        buffer.clear();
        Ok(fed?)
    }

    /// The login has reported; what it lacks ends the pull before it begins.
    fn start(&mut self) -> Result<(), Broken> {
        let noise = Escaped(self.preamble.noise.trim_ascii()).to_string();
        if !noise.is_empty() {
            let text = format!("the login prints text of its own, which was skipped: {noise}");
            self.observer.notice(&Event::Message { text: &text });
        }
        self.preamble.check_clock(self.request.fresh_since());
        self.report.source_clock = self.preamble.clock;
        let missing = |path: String| {
            Broken::Transport(TransportError::NotFound { endpoint: self.connect.endpoint().to_owned(), path })
        };
        if self.preamble.root_is_missing {
            return Err(missing(Escaped(self.root).to_string()));
        }
        let denied = |path: String| {
            let detail = format!("{path} may not be entered");
            Broken::Transport(TransportError::Remote { endpoint: self.connect.endpoint().to_owned(), detail })
        };
        if self.preamble.root_is_denied {
            return Err(denied(Escaped(self.root).to_string()));
        }
        let paths = wanted_paths(self.request);
        if let Some(path) = self.preamble.denied.iter().find_map(|&index| paths.get(index)) {
            return Err(denied(path.to_string()));
        }
        if let Some(path) = self.preamble.missing.iter().find_map(|&index| paths.get(index)) {
            return Err(missing(path.to_string()));
        }
        Ok(())
    }

    /// Does everything that can be done with the bytes that are here.
    async fn work(&mut self, backlog: usize) -> Result<(), Broken> {
        loop {
            while let Some(step) = self.receiver.poll()? {
                self.take(step).await?;
            }
            let mut made = 0;
            while backlog + made < MAX_BACKLOG && self.receiver.requests() < MAX_REQUESTS {
                let Some((index, entry)) = self.receiver.next_entry() else { break };
                made += self.answer(index, entry).await?;
            }
            // Answers may have settled a list, which makes the next step possible; without one, more bytes are needed.
            match self.receiver.poll()? {
                Some(step) => self.take(step).await?,
                None => return Ok(()),
            }
        }
    }

    async fn answer(&mut self, index: u32, mut entry: clonepanel_core::entry::Entry) -> Result<usize, Broken> {
        if !self.root_is_offered {
            // Without the root itself in the list, a directory stands in for it.
            self.root_is_offered = true;
            if !entry.path.is_root() {
                self.offer(&clonepanel_core::entry::Entry::dir(RelPath::root())).await?;
            }
        }
        entry.meta.freshness = self.preamble.freshness(&entry.path);
        self.report.entries += 1;
        self.observer.notice(&Event::Listed { entries: 1, bytes: entry.len().unwrap_or(0) });
        let Some(Want::Data { basis }) = self.offer(&entry).await? else {
            self.receiver.settle(index);
            return Ok(0);
        };
        if !entry.has_content() {
            self.receiver.settle(index);
            return Ok(0);
        }
        let asked = Asked::new(entry, basis);
        self.ask(index, asked).await
    }

    /// Offers an entry; `None` when the sink refuses it.
    async fn offer(&mut self, entry: &clonepanel_core::entry::Entry) -> Result<Option<Want>, Broken> {
        match self.sink.offer(entry).await {
            Ok(want) => Ok(Some(want)),
            Err(TreeError::Refused { path: _, why }) => {
                self.problem(Problem::new(entry.path.clone(), ProblemKind::Refused, why));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn take(&mut self, step: Step) -> Result<(), Broken> {
        match step {
            Step::Begin { index } => self.begin(index).await,
            Step::Copy { offset, len } => self.copy(offset, len).await,
            Step::End { index, digest } => self.end(index, &digest).await,
            Step::Finished | Step::Listed => Ok(()),
            Step::Literal(bytes) => self.literal(bytes).await,
            Step::Refused(Refusal { at, name, why }) => {
                let detail = [why.as_bytes(), b": ", &name].concat();
                self.problem(Problem::new(at, ProblemKind::Refused, detail));
                Ok(())
            }
            Step::Text(severity, text) => {
                let line = self.frames.feed_frame(severity, &text);
                self.tell(line.as_slice());
                Ok(())
            }
            Step::Unsent { index } => {
                if let Some(asked) = self.asked.remove(&index) {
                    self.unsent.push(asked.entry.path);
                }
                self.receiver.settle(index);
                Ok(())
            }
        }
    }

    fn tell(&self, lines: &[Vec<u8>]) {
        for line in lines {
            self.observer.notice(&Event::Message { text: &Escaped(line).to_string() });
        }
    }

    fn problem(&mut self, problem: Problem) {
        self.observer.notice(&Event::Problem(&problem));
        self.report.problems.push(problem);
    }

    /// Everything is said: waits for the far end to go away, and makes sense of what it reported.
    async fn conclude(mut self, connection: Connection) -> Result<TransferReport, TransportError> {
        let last_words = std::mem::take(&mut self.last_words);
        let (code, rest) = farewell(connection, &last_words, &mut self.stderr).await;
        // Messages may still come after the goodbye.
        if self.receiver.feed(&rest).is_ok() {
            while let Ok(Some(Step::Text(severity, text))) = self.receiver.poll() {
                self.frames.feed_frame(severity, &text);
            }
        }
        self.stderr.end_line(Severity::Other);
        self.frames.end_line(Severity::Other);
        self.judge(code)
    }

    /// The session was complete: makes sense of the exit code and of what was said.
    fn judge(mut self, code: Option<i32>) -> Result<TransferReport, TransportError> {
        if !CODES_OF_A_COMPLETE_SESSION.contains(&code) {
            return Err(self.ending(code).remote());
        }
        let unsent = std::mem::take(&mut self.unsent);
        let mut problems = messages::problems(&[&self.stderr, &self.frames], &unsent, &self.receiver.dirs());
        // Without an exit code its last words may be missing too.
        let is_partial = matches!(code, Some(PARTIAL) | None) || self.receiver.io_error() & 1 != 0;
        // What we refused ourselves is no error of the far end's.
        let by_us = self.report.problems.listed();
        let mut known = problems.iter().chain(by_us).map(|problem| problem.kind);
        let is_explained = known.any(|kind| kind.is_loss() && kind != ProblemKind::Refused);
        if is_partial && !is_explained {
            // An error is never taken for an absence: without a name for it, whatever is missing may be what it is about.
            let detail = "the far end reported an error that it did not name";
            problems.push(Problem::new(RelPath::root(), ProblemKind::Unlisted, detail));
        }
        for problem in problems {
            self.problem(problem);
        }
        if self.report.entries == 0 {
            // Not even the root was listed.
            let said = self.stderr.reason().or_else(|| self.frames.reason());
            if let Some(said) = said.filter(|said| !said.contains("No such file or directory")) {
                return Err(TransportError::Remote { endpoint: self.connect.endpoint().to_owned(), detail: said });
            }
            let path = if self.root.is_empty() { "home".to_owned() } else { Escaped(self.root).to_string() };
            return Err(TransportError::NotFound { endpoint: self.connect.endpoint().to_owned(), path });
        }
        Ok(self.report)
    }

    /// The session broke off: finds out why.
    async fn explain(&mut self, broken: Broken, connection: Connection) -> TransportError {
        if let Broken::Transport(error) = broken {
            return error;
        }
        if matches!(broken, Broken::Protocol(_)) {
            self.receiver.give_up(PROTOCOL_ERROR);
        }
        let last_words = self.receiver.transmit();
        let code = hang_up(connection, &last_words, &mut self.stderr, &broken).await;
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
            has_agreed: self.receiver.agreed().is_some(),
            greeting: &self.greeting,
        }
    }
}

/// Whether a login ran our script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Started {
    No,
    Yes,
}
