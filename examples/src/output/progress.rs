//! [`Progress`]: how far a job is, on a terminal.

use super::Output;
use clonepanel_core::observer::{Event, Observer};
use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressState, ProgressStyle};
use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Watches one job: counts, and shows the counts while it runs.
pub(crate) struct Progress {
    name: String,
    counts: Arc<Counts>,
    bar: ProgressBar,
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
        let counts = Arc::new(Counts::default());
        let bar = if output.shows_progress() {
            let bar = output.bars().add(ProgressBar::new_spinner());
            bar.set_style(style(&counts, done));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            ProgressBar::hidden()
        };
        let name = name.into();
        bar.set_prefix(name.clone());
        Self { name, counts, bar, output: Arc::clone(output) }
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
            Event::Message { text } => self.output.note(format_args!("{}: the far end says: {text}", self.name)),
            Event::Problem(_) => {
                counts.problems.fetch_add(1, Relaxed);
            }
            _ => {}
        }
    }
}

fn style(counts: &Arc<Counts>, done: &'static str) -> ProgressStyle {
    let counts = Arc::clone(counts);
    let show = move |state: &ProgressState, line: &mut dyn Write| {
        let (entries, files) = (counts.entries.load(Relaxed), counts.files.load(Relaxed));
        let (literal, matched) = (counts.literal_bytes.load(Relaxed), counts.matched_bytes.load(Relaxed));
        let seconds = state.elapsed().as_secs().max(1);
        // A line that cannot be drawn is drawn again in a moment.
        let _ = write!(line, "{} entries, {} files", HumanCount(entries), HumanCount(files));
        let _ = write!(line, ", {} {done} ({}/s)", BinaryBytes(literal), BinaryBytes(literal / seconds));
        if matched > 0 {
            let _ = write!(line, ", {} reused", BinaryBytes(matched));
        }
        match counts.problems.load(Relaxed) {
            0 => {}
            problems => {
                let _ = write!(line, ", {} problems", HumanCount(problems));
            }
        }
    };
    ProgressStyle::with_template("{spinner} {prefix:.bold} {counts} {msg} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .with_key("counts", show)
}
