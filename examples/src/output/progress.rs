//! [`Progress`]: how far a job is, on a terminal.

use super::Output;
use crate::failure::Failure;
use clonepanel_core::observer::{Event, Observer};
use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressStyle};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// What a far end says is kept up to so many lines.
const MAX_MESSAGES: usize = 20;

/// Watches one job: counts, and shows the counts while it runs.
pub(crate) struct Progress {
    name: String,
    done: &'static str,
    counts: Counts,
    /// Milliseconds from the start.
    next_draw: AtomicU64,
    bar: ProgressBar,
    messages: Mutex<Vec<String>>,
    output: Arc<Output>,
}

#[derive(Default)]
struct Counts {
    entries: AtomicU64,
    files: AtomicU64,
    literal_bytes: AtomicU64,
    matched_bytes: AtomicU64,
    problems: AtomicU64,
}

impl Progress {
    /// A line for the job `name`, if progress is shown at all. `done` is what is done with the bytes.
    pub(crate) fn new(output: &Arc<Output>, name: impl Into<String>, done: &'static str) -> Self {
        let bar = if output.shows_progress() {
            let bar = output.bars().add(ProgressBar::new_spinner());
            bar.set_style(style());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            ProgressBar::hidden()
        };
        let name = name.into();
        bar.set_prefix(name.clone());
        let (counts, next_draw) = (Counts::default(), AtomicU64::new(0));
        Self { name, done, counts, next_draw, bar, messages: Mutex::default(), output: Arc::clone(output) }
    }

    /// The end: shows what the far end said, unless the error says it already.
    pub(crate) fn finish(self, failure: Option<&Failure>) {
        let messages = std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner));
        let is_told = |text: &str| failure.is_some_and(|failure| failure.message.contains(text));
        for text in messages.iter().filter(|text| !is_told(text)) {
            self.output.note(format_args!("{}: said on the way: {text}", self.name));
        }
    }

    /// Draws the counts anew, but not more often than anybody can read.
    fn draw(&self) {
        if self.bar.is_hidden() {
            return;
        }
        let elapsed = self.bar.elapsed();
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        if now >= self.next_draw.load(Relaxed) {
            self.next_draw.store(now + 100, Relaxed);
            self.bar.set_message(self.counts.line(self.done, elapsed));
        }
    }

    /// Says what is going on at the moment.
    pub(crate) fn phase(&self, phase: &'static str) {
        self.bar.set_message(phase);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Progress {
    fn notice(&self, event: &Event<'_>) {
        let counts = &self.counts;
        match event {
            Event::Data { literal_bytes, matched_bytes } => {
                counts.literal_bytes.fetch_add(*literal_bytes, Relaxed);
                counts.matched_bytes.fetch_add(*matched_bytes, Relaxed);
            }
            Event::Finished { .. } => {
                counts.files.fetch_add(1, Relaxed);
            }
            Event::Listed { entries, .. } => {
                counts.entries.fetch_add(*entries, Relaxed);
            }
            Event::Message { text } => {
                let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
                if messages.len() < MAX_MESSAGES {
                    messages.push((*text).to_owned());
                }
            }
            Event::Problem(_) => {
                counts.problems.fetch_add(1, Relaxed);
            }
            _ => {}
        }
        self.draw();
    }
}

impl Counts {
    /// What there is to say, the weightiest first: a narrow terminal cuts the end.
    fn line(&self, done: &str, elapsed: Duration) -> String {
        let (entries, files) = (self.entries.load(Relaxed), self.files.load(Relaxed));
        let (literal, matched) = (self.literal_bytes.load(Relaxed), self.matched_bytes.load(Relaxed));
        let rate = literal / elapsed.as_secs().max(1);
        let mut parts = vec![
            format!("{} entries, {} files", HumanCount(entries), HumanCount(files)),
            format!("{} {done}", BinaryBytes(literal)),
            format!("{}/s", BinaryBytes(rate)),
        ];
        if matched > 0 {
            parts.push(format!("{} reused", BinaryBytes(matched)));
        }
        match self.problems.load(Relaxed) {
            0 => {}
            problems => parts.push(format!("{} problems", HumanCount(problems))),
        }
        parts.join(", ")
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix:.bold} {elapsed:>4} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}
