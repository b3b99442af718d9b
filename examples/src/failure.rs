//! [`Failure`] and [`Exit`]: how a command ends.

use crate::config::ConfigError;
use serde_json::{Map, Value};
use std::{error::Error, fmt::Write, process::ExitCode};

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All of it was done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Done in part; what is missing was listed.
    Partial = 3,
    /// Refused by a guard.
    Guard = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// How a command that came to its end did: the exit code and the fields of its result.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) result: Map<String, Value>,
}

impl Outcome {
    /// Done, with the fields of a JSON object.
    pub(crate) fn done(result: Value) -> Self {
        Self::new(Exit::Done, result)
    }

    /// Ended with this code, with the fields of a JSON object.
    pub(crate) fn new(exit: Exit, result: Value) -> Self {
        let result = match result {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self { exit, result }
    }
}

/// Why a command did not come to its end: one line, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// It failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), hint: None }
    }

    /// It was asked for wrongly.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into(), hint: None }
    }

    /// A guard refuses it.
    pub(crate) fn guard(message: impl Into<String>) -> Self {
        Self { exit: Exit::Guard, message: message.into(), hint: None }
    }

    /// It failed because of `error`, which is told with all its sources.
    pub(crate) fn because(error: &(dyn Error + 'static)) -> Self {
        Self { hint: crate::advice::advice(error), ..Self::failed(chain(error)) }
    }

    /// Says what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says where it happened.
    pub(crate) fn within(mut self, place: impl std::fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let (message, hint) = error.into_parts();
        Self { exit: Exit::Usage, message, hint }
    }
}

impl From<clonepanel_core::store::StoreError> for Failure {
    fn from(error: clonepanel_core::store::StoreError) -> Self {
        Self::because(&error)
    }
}

impl From<clonepanel_core::tree::TreeError> for Failure {
    fn from(error: clonepanel_core::tree::TreeError) -> Self {
        Self::because(&error)
    }
}

/// An error and its sources on one line. A source that says what was said already is left out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        if !text.ends_with(&cause) {
            // Writing to a String does not fail.
            let _ = write!(text, ": {cause}");
        }
        next = source.source();
    }
    text.replace('\n', " ")
}
