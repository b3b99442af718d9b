//! [`NewSnapshot`] and [`Seal`]: what a snapshot is begun and closed with.

use crate::{
    problem::Problems, snapshot_id::SourceName, store::SnapshotInfo, suspicion::SuspicionRules, time::Timestamp,
};

/// What a snapshot is begun with.
#[derive(Debug, Clone)]
pub struct NewSnapshot {
    source: SourceName,
    now: Timestamp,
    audit: Option<Slice>,
    copied: Option<Box<SnapshotInfo>>,
}

impl NewSnapshot {
    /// A snapshot of `source`, begun at `now`.
    #[must_use]
    pub const fn new(source: SourceName, now: Timestamp) -> Self {
        Self { source, now, audit: None, copied: None }
    }

    /// A copy of a snapshot that another store has, begun at `now`: it is to be that very snapshot, by its id and by all that
    /// is known about it.
    #[must_use]
    pub fn copy_of(info: SnapshotInfo, now: Timestamp) -> Self {
        Self { source: info.id.source().clone(), now, audit: None, copied: Some(Box::new(info)) }
    }

    /// Compares the files of this slice by content even if size and time, or a listing that calls them
    /// [`Settled`](crate::entry::Freshness::Settled), say that they are unchanged: a change time can be wrong too, and the
    /// stored copy is looked at as well.
    #[must_use]
    pub const fn audit(mut self, slice: Slice) -> Self {
        self.audit = Some(slice);
        self
    }

    /// Whose snapshot it is.
    #[must_use]
    pub const fn source(&self) -> &SourceName {
        &self.source
    }

    /// When it was begun.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// What it is to be a copy of.
    #[must_use]
    pub fn copied(&self) -> Option<&SnapshotInfo> {
        self.copied.as_deref()
    }

    /// Which slice is compared by content.
    #[must_use]
    pub const fn audited(&self) -> Option<Slice> {
        self.audit
    }
}

/// The `index`-th of `count` slices of all paths, for work that is spread over several runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    index: u32,
    count: u32,
}

impl Slice {
    /// Slice `index` (counted from 0) of `count`; `None` unless `index < count`.
    #[must_use]
    pub const fn new(index: u32, count: u32) -> Option<Self> {
        if index < count { Some(Self { index, count }) } else { None }
    }

    /// Whether a path belongs to the slice. Every path belongs to exactly one of the `count` slices, and always to the same.
    #[must_use]
    pub fn contains(self, path: &crate::path::RelPath) -> bool {
        let hash = blake3::hash(path.as_bytes());
        let [a, b, c, d, ..] = *hash.as_bytes();
        u32::from_le_bytes([a, b, c, d]) % self.count == self.index
    }
}

/// What a snapshot is closed with: all that its maker learned on the way.
#[derive(Debug, Clone)]
pub struct Seal {
    now: Timestamp,
    source_clock: Option<Timestamp>,
    problems: Problems,
    rules: SuspicionRules,
}

impl Seal {
    /// Closed at `now`, without anything to report, and not judged.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { now, source_clock: None, problems: Problems::new(), rules: SuspicionRules::accept_everything() }
    }

    /// The source's own clock when its listing began.
    #[must_use]
    pub const fn source_clock(mut self, clock: Option<Timestamp>) -> Self {
        self.source_clock = clock;
        self
    }

    /// Problems with single paths, as paths of the snapshot.
    #[must_use]
    pub fn problems(mut self, problems: Problems) -> Self {
        self.problems = problems;
        self
    }

    /// What looks like an accident. The store judges by these rules once it knows what the snapshot holds: how much vanished
    /// and how much was carried forward is only known then.
    #[must_use]
    pub fn judge(mut self, rules: SuspicionRules) -> Self {
        self.rules = rules;
        self
    }

    /// Takes it apart, as a store does at the commit: time, source clock, problems, and the rules to hand to
    /// [`judge`](crate::suspicion::judge()) together with the final tally.
    #[must_use]
    pub fn into_parts(self) -> (Timestamp, Option<Timestamp>, Problems, SuspicionRules) {
        (self.now, self.source_clock, self.problems, self.rules)
    }
}
