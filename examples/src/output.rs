//! [`Output`]: everything that is shown. Results go to standard output, remarks and progress to standard error.

pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod show;
pub(crate) mod style;
pub(crate) mod table;

use crate::failure::{Exit, Failure, Outcome};
use indicatif::MultiProgress;
use serde_json::Value;
use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use style::{BAD, HINT, NOTE};

/// Who is the output for?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A person.
    Person,
    /// A program: JSON, one object a line.
    Program,
}

/// Everything that is shown.
pub(crate) struct Output {
    audience: Audience,
    quiet: bool,
    stdout: Mutex<Box<dyn Write + Send>>,
    gone: AtomicBool,
    lost: AtomicBool,
    bars: MultiProgress,
}

impl Output {
    pub(crate) fn new(audience: Audience, quiet: bool) -> Self {
        // Colours only for a terminal, and not against NO_COLOR: that is what the automatic stream decides.
        let stdout: Box<dyn Write + Send> = match audience {
            Audience::Person if io::stdout().is_terminal() => Box::new(anstream::AutoStream::auto(io::stdout())),
            Audience::Person => Box::new(io::LineWriter::new(anstream::StripStream::new(io::stdout()))),
            Audience::Program => Box::new(io::LineWriter::new(io::stdout())),
        };
        let (gone, lost) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { audience, quiet, stdout: Mutex::new(stdout), gone, lost, bars: MultiProgress::new() }
    }

    /// Whether a program reads the output.
    pub(crate) fn is_json(&self) -> bool {
        self.audience == Audience::Program
    }

    /// Whether progress is worth showing: to a person at a terminal.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.quiet && !self.is_json() && io::stderr().is_terminal()
    }

    /// Where progress bars live.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Whether nobody reads standard output any more: a listing can end early.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// A line for a person.
    pub(crate) fn line(&self, text: impl Display) {
        if !self.is_json() {
            self.print(|stdout| writeln!(stdout, "{text}"));
        }
    }

    /// An event for a program.
    pub(crate) fn event(&self, event: &Value) {
        if self.is_json() {
            let line = json::harmless(&event.to_string());
            self.print(|stdout| writeln!(stdout, "{line}"));
        }
    }

    /// Bytes as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        self.print(|stdout| stdout.write_all(bytes));
    }

    /// A remark for a person.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet {
            self.complain(format_args!("{NOTE}note:{NOTE:#} {text}"));
        }
    }

    /// A warning for a person.
    pub(crate) fn warn(&self, text: impl Display) {
        self.complain(format_args!("{NOTE}warning:{NOTE:#} {text}"));
    }

    /// What failed, and what to do about it.
    pub(crate) fn failure(&self, failure: &Failure) {
        self.complain(format_args!("{BAD}error:{BAD:#} {}", failure.message));
        if let Some(hint) = &failure.hint {
            self.complain(format_args!("{HINT}hint:{HINT:#} {hint}"));
        }
    }

    /// The end of a command: the last event, and the exit code. What could not be written is a failure.
    pub(crate) fn end(&self, ended: Result<Outcome, Failure>) -> Exit {
        self.print(|stdout| stdout.flush());
        let ended = match ended {
            Ok(outcome) if self.lost.load(Ordering::Relaxed) => Ok(Outcome { exit: Exit::Failed, ..outcome }),
            ended => ended,
        };
        let (exit, mut result) = match ended {
            Ok(Outcome { exit, result }) => (exit, result),
            Err(failure) => {
                self.failure(&failure);
                let mut result = serde_json::Map::new();
                result.insert("error".to_owned(), failure.message.into());
                if let Some(hint) = failure.hint {
                    result.insert("hint".to_owned(), hint.into());
                }
                (failure.exit, result)
            }
        };
        let mut event = serde_json::Map::new();
        event.insert("event".to_owned(), "result".into());
        event.insert("ok".to_owned(), (exit == Exit::Done).into());
        event.insert("exit_code".to_owned(), (exit as u8).into());
        event.append(&mut result);
        self.event(&Value::Object(event));
        self.print(|stdout| stdout.flush());
        if exit == Exit::Done && self.lost.load(Ordering::Relaxed) { Exit::Failed } else { exit }
    }

    fn print(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.is_gone() {
            return;
        }
        // Lines of jobs that run side by side are whole: one lock for one line.
        let mut stdout = self.stdout.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.bars.suspend(|| write(&mut **stdout));
        if let Err(error) = written {
            self.gone.store(true, Ordering::Relaxed);
            // A reader that went away (`| head`) is nobody's mistake; a full disk is.
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.lost.store(true, Ordering::Relaxed);
                self.unwritable(&error);
            }
        }
    }

    /// Says that standard output takes nothing.
    pub(crate) fn unwritable(&self, error: &io::Error) {
        self.complain(format_args!("{BAD}error:{BAD:#} standard output cannot be written: {error}"));
    }

    fn complain(&self, text: impl Display) {
        self.bars.suspend(|| {
            // With standard error gone there is nobody left to tell.
            let _ = writeln!(anstream::stderr(), "{text}");
        });
    }
}
