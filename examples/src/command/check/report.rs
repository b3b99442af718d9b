//! [`Report`]: one line for each thing that was tried.

use crate::output::{
    Output,
    style::{BAD, DIM, GOOD, HINT},
};
use serde_json::json;

/// Tells what was tried, as it goes.
pub(super) struct Report<'a> {
    output: &'a Output,
    good: u64,
    bad: u64,
    unchecked: u64,
}

impl<'a> Report<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        Self { output, good: 0, bad: 0, unchecked: 0 }
    }

    /// It is as it should be.
    pub(super) fn good(&mut self, what: &str, text: String) {
        self.good += 1;
        self.output.line(format_args!("{GOOD}good{GOOD:#}  {what}: {text}"));
        self.output.event(&json!({ "event": "check", "what": what, "verdict": "good", "detail": text }));
    }

    /// It is not, and this is what to do.
    pub(super) fn bad(&mut self, what: &str, text: String, hint: Option<String>) {
        self.bad += 1;
        let advice = hint.as_ref().map(|hint| format!("; {HINT}{hint}{HINT:#}")).unwrap_or_default();
        self.output.line(format_args!("{BAD}bad{BAD:#}   {what}: {text}{advice}"));
        self.output.event(&json!({ "event": "check", "what": what, "verdict": "bad", "detail": text, "hint": hint }));
    }

    /// It was not looked at.
    pub(super) fn unchecked(&mut self, what: &str, text: String) {
        self.unchecked += 1;
        self.output.line(format_args!("{DIM}not checked{DIM:#}  {what}: {text}"));
        self.output.event(&json!({ "event": "check", "what": what, "verdict": "not checked", "detail": text }));
    }

    /// How many were good, bad and not checked.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        (self.good, self.bad, self.unchecked)
    }
}
