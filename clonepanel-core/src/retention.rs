//! Retention: which snapshots stay. A pure plan, which can be shown before it is applied.
//!
//! - Everything of the last while stays ([`RetentionPolicy::keep_within`]), and of the time before that the newest of each of so
//!   many hours, days, weeks (from Monday), months and years (UTC) in which there is one.
//! - Only complete snapshots are counted. Partial and suspect ones stay as long as they are within the last while, or newer
//!   than the newest complete one; then they go.
//! - The newest complete snapshot always stays, and so does what claims to be from the future: a clock has jumped.

mod plan;

pub use plan::{Decision, Reason, RetentionPlan, Verdict, plan};

use std::time::Duration;

/// How much is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionPolicy {
    keep_within: Duration,
    hourly: u32,
    daily: u32,
    weekly: u32,
    monthly: u32,
    yearly: u32,
}

impl Default for RetentionPolicy {
    /// Everything of 48 hours, then 24 hours, 14 days, 8 weeks, 12 months and 3 years.
    fn default() -> Self {
        Self { keep_within: Duration::from_secs(48 * 3600), hourly: 24, daily: 14, weekly: 8, monthly: 12, yearly: 3 }
    }
}

impl RetentionPolicy {
    /// Only what is never deleted, to be extended by what follows.
    #[must_use]
    pub const fn newest_only() -> Self {
        Self { keep_within: Duration::ZERO, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 }
    }

    /// Keeps everything that is not older than this.
    #[must_use]
    pub const fn keep_within(mut self, age: Duration) -> Self {
        self.keep_within = age;
        self
    }

    /// Keeps the newest of each of so many hours.
    #[must_use]
    pub const fn hourly(mut self, count: u32) -> Self {
        self.hourly = count;
        self
    }

    /// Keeps the newest of each of so many days.
    #[must_use]
    pub const fn daily(mut self, count: u32) -> Self {
        self.daily = count;
        self
    }

    /// Keeps the newest of each of so many weeks.
    #[must_use]
    pub const fn weekly(mut self, count: u32) -> Self {
        self.weekly = count;
        self
    }

    /// Keeps the newest of each of so many months.
    #[must_use]
    pub const fn monthly(mut self, count: u32) -> Self {
        self.monthly = count;
        self
    }

    /// Keeps the newest of each of so many years.
    #[must_use]
    pub const fn yearly(mut self, count: u32) -> Self {
        self.yearly = count;
        self
    }
}
