//! [`Diff`]: how one snapshot differs from another, read side by side in the order of paths.

use crate::{
    entry::{EntryKind, EntryMeta, Freshness},
    manifest::Record,
    path::RelPath,
    store::{RecordStream, StoreError},
};
use std::{cmp::Ordering, fmt};

/// How what is at a path changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum Change {
    /// It was not there before.
    Added,
    /// It has another content, another link text, or is of another kind.
    Content,
    /// Only its owner, permissions, time or hard links are others.
    Metadata,
    /// It is no longer there.
    Removed,
}

impl Change {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Content => "changed",
            Self::Metadata => "metadata",
            Self::Removed => "removed",
        }
    }

    /// How `after` differs from `before`, both of one path; `None` when it does not. That one was carried forward or is torn
    /// makes no difference.
    #[must_use]
    pub fn between(before: &Record, after: &Record) -> Option<Self> {
        let same_content = match (&before.entry.kind, &after.entry.kind) {
            (EntryKind::File { .. }, EntryKind::File { .. }) => before.content == after.content,
            (before, after) => before == after,
        };
        if !same_content {
            return Some(Self::Content);
        }
        let meta = |record: &Record| EntryMeta { freshness: Freshness::Unknown, ..record.entry.meta.clone() };
        let leader = |record: &Record| match &record.entry.kind {
            EntryKind::File { hardlink_to, .. } => hardlink_to.clone(),
            _ => None,
        };
        let same = meta(before) == meta(after) && leader(before) == leader(after);
        (!same).then_some(Self::Metadata)
    }
}

/// One path at which two snapshots differ.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Difference {
    /// How.
    pub change: Change,
    /// What was there before; `None` for [`Change::Added`].
    pub before: Option<Record>,
    /// What is there now; `None` for [`Change::Removed`].
    pub after: Option<Record>,
}

impl Difference {
    /// The path.
    #[must_use]
    pub fn path(&self) -> RelPath {
        let record = self.after.as_ref().or(self.before.as_ref());
        record.map(|record| record.entry.path.clone()).unwrap_or_default()
    }
}

/// How many paths differ, and how long their contents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct DiffCounts {
    /// Paths that were added.
    pub added: u64,
    /// Content of the added files, in bytes.
    pub added_bytes: u64,
    /// Paths with another content.
    pub changed: u64,
    /// Content that the changed files have now, in bytes.
    pub changed_bytes: u64,
    /// Paths of which only the metadata differ.
    pub metadata_only: u64,
    /// Paths that were removed.
    pub removed: u64,
    /// Content of the removed files, in bytes.
    pub removed_bytes: u64,
    /// Paths that are the same.
    pub unchanged: u64,
}

/// Compares two snapshots, keeping one record of each.
pub struct Diff {
    before: Side,
    after: Side,
    within: RelPath,
    counts: DiffCounts,
}

struct Side {
    stream: Box<dyn RecordStream>,
    waiting: Option<Record>,
}

impl fmt::Debug for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diff").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Diff {
    /// The way from `before` to `after`.
    #[must_use]
    pub fn new(before: Box<dyn RecordStream>, after: Box<dyn RecordStream>) -> Self {
        let side = |stream| Side { stream, waiting: None };
        Self { before: side(before), after: side(after), within: RelPath::root(), counts: DiffCounts::default() }
    }

    /// Only what is at and below `path`.
    #[must_use]
    pub fn within(mut self, path: RelPath) -> Self {
        self.within = path;
        self
    }

    /// The next path that differs, in the order of paths; `None` at the end.
    ///
    /// # Errors
    /// Those of the two streams.
    ///
    /// # Cancel safety
    /// Not cancel safe: a record may be lost; drop the comparison as well.
    pub async fn next(&mut self) -> Result<Option<Difference>, StoreError> {
        loop {
            self.before.fill(&self.within).await?;
            self.after.fill(&self.within).await?;
            let order = match (&self.before.waiting, &self.after.waiting) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(before), Some(after)) => before.entry.path.cmp(&after.entry.path),
            };
            let before = self.before.waiting.take_if(|_| order.is_le());
            let after = self.after.waiting.take_if(|_| order.is_ge());
            let change = match (&before, &after) {
                (Some(before), Some(after)) => Change::between(before, after),
                (Some(_), None) => Some(Change::Removed),
                (None, _) => Some(Change::Added),
            };
            self.counts.add(change, before.as_ref(), after.as_ref());
            if let Some(change) = change {
                return Ok(Some(Difference { change, before, after }));
            }
        }
    }

    /// What was counted so far; everything once [`Self::next`] gave `None`.
    #[must_use]
    pub const fn counts(&self) -> DiffCounts {
        self.counts
    }
}

impl Side {
    async fn fill(&mut self, within: &RelPath) -> Result<(), StoreError> {
        while self.waiting.is_none() {
            let Some(record) = self.stream.next().await? else { break };
            self.waiting = Some(record).filter(|record| record.entry.path.is_within(within));
        }
        Ok(())
    }
}

impl DiffCounts {
    fn add(&mut self, change: Option<Change>, before: Option<&Record>, after: Option<&Record>) {
        let len = |record: Option<&Record>| record.and_then(|record| record.content).map_or(0, |content| content.len);
        match change {
            Some(Change::Added) => {
                self.added += 1;
                self.added_bytes += len(after);
            }
            Some(Change::Content) => {
                self.changed += 1;
                self.changed_bytes += len(after);
            }
            Some(Change::Metadata) => self.metadata_only += 1,
            Some(Change::Removed) => {
                self.removed += 1;
                self.removed_bytes += len(before);
            }
            None => self.unchanged += 1,
        }
    }
}
