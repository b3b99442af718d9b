//! [`HealthLog`]: what a monitor saw, kept for years.

use super::{observation::Class, sketch::LatencySketch, watch::State};
use crate::{
    retry::{BoxError, Retry},
    time::Timestamp,
};
use async_trait::async_trait;
use std::time::Duration;

/// Keeps what a monitor saw.
#[async_trait]
pub trait HealthLog: Send + Sync {
    /// Keeps these, all or none.
    ///
    /// # Errors
    /// [`HealthLogError`].
    ///
    /// # Cancel safety
    /// When dropped, they are kept or not.
    async fn append(&self, records: &[HealthRecord]) -> Result<(), HealthLogError>;

    /// The names of the targets that anything is known of, in their order.
    ///
    /// # Errors
    /// [`HealthLogError`].
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn targets(&self) -> Result<Vec<String>, HealthLogError>;

    /// What is known of a target from `from` until `to`.
    ///
    /// # Errors
    /// [`HealthLogError`].
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn summary(&self, target: &str, from: Timestamp, to: Timestamp) -> Result<HealthSummary, HealthLogError>;
}

/// Something to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthRecord {
    /// A monitor begins: what it has not seen since the last one is not known.
    Begun {
        /// When.
        at: Timestamp,
    },
    /// Somebody has looked.
    Look {
        /// At which target.
        target: String,
        /// From where.
        vantage: String,
        /// When.
        at: Timestamp,
        /// What was seen; `None` when it could not be looked at.
        class: Option<Class>,
        /// How long it took.
        latency: Duration,
    },
    /// The state of a target is another one from then on.
    State {
        /// Which target.
        target: String,
        /// From when on.
        at: Timestamp,
        /// What it is.
        state: State,
        /// What made the difference, one line; empty for nothing.
        cause: String,
    },
}

/// What is known of a target in a span of time. The four durations are all of the span.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct HealthSummary {
    /// How long it was [`State::Up`].
    pub up: Duration,
    /// How long it was [`State::Failing`] or [`State::Recovering`]: not down, and not well.
    pub unwell: Duration,
    /// How long it was [`State::Down`].
    pub down: Duration,
    /// How long nothing was known. That is no part of its availability.
    pub unknown: Duration,
    /// When it was down, the latest last.
    pub outages: Vec<Outage>,
    /// Looks that showed something, and how many of them something bad.
    pub looks: u64,
    /// See [`Self::looks`].
    pub failures: u64,
    /// How long good answers took.
    pub latencies: LatencySketch,
    /// What is known now: the state at the end of the span, since when, and why.
    pub last: Option<(State, Timestamp, String)>,
}

/// When a target was down.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Outage {
    /// Since when.
    pub from: Timestamp,
    /// How long, within the span that was asked about.
    pub lasting: Duration,
    /// What was seen.
    pub cause: String,
    /// Whether it was seen to end within the span.
    pub is_over: bool,
}

impl HealthSummary {
    /// The share of the time about which something is known in which it was not down, from 0.0 to 1.0; `None` when nothing is known.
    #[must_use]
    pub fn availability(&self) -> Option<f64> {
        let known = self.up + self.unwell + self.down;
        (!known.is_zero()).then(|| (self.up + self.unwell).as_secs_f64() / known.as_secs_f64())
    }

    /// The share of the time about which something is known.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        let known = self.up + self.unwell + self.down;
        let whole = known + self.unknown;
        if whole.is_zero() { 0.0 } else { known.as_secs_f64() / whole.as_secs_f64() }
    }

    /// Takes in that a target was in a state for a while, in the order of time.
    pub fn add(&mut self, state: State, from: Timestamp, to: Timestamp, cause: &str, is_over: bool) {
        let lasting = to.since(from);
        match state {
            State::Up => self.up += lasting,
            State::Failing | State::Recovering => self.unwell += lasting,
            State::Unknown => self.unknown += lasting,
            State::Down => {
                self.down += lasting;
                self.outages.push(Outage { from, lasting, cause: cause.to_owned(), is_over });
            }
        }
        self.last = Some((state, from, cause.to_owned()));
    }
}

/// Why nothing is kept, or nothing can be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthLogError {
    /// What is kept there is damaged, or something else.
    #[error("{place} is not a log of ours, or is damaged")]
    Damaged {
        /// Where.
        place: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The disk is full, or does not answer.
    #[error("{place} cannot be used")]
    Unavailable {
        /// Where.
        place: String,
        /// Why.
        #[source]
        source: BoxError,
    },
}

impl HealthLogError {
    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Damaged { .. } => Retry::Never,
            Self::Unavailable { .. } => Retry::Later,
        }
    }
}
