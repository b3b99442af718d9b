//! [`SnapshotInfo`]: what is known about a snapshot without reading its tree.

use crate::{problem::Problems, snapshot_id::SnapshotId, suspicion::Suspicion, time::Timestamp};

/// What is known about a committed snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: SnapshotId,
    /// When it was begun, by the clock of the machine that keeps the store.
    pub begun: Timestamp,
    /// When it was committed, by the same clock.
    pub committed: Timestamp,
    /// The source's own clock when its listing began, if it told: the `since` of the next run.
    pub source_clock: Option<Timestamp>,
    /// The snapshot that it was built on.
    pub base: Option<SnapshotId>,
    /// Numbers.
    pub tally: Tally,
    /// What was wrong with single paths.
    pub problems: Problems,
    /// Why it should not be trusted.
    pub suspicions: Vec<Suspicion>,
}

impl SnapshotInfo {
    /// How far the snapshot can be trusted.
    #[must_use]
    pub fn state(&self) -> SnapshotState {
        if !self.suspicions.is_empty() {
            SnapshotState::Suspect
        } else if self.problems.losses() > 0 {
            SnapshotState::Partial
        } else {
            SnapshotState::Complete
        }
    }
}

/// How far a snapshot can be trusted. Only complete ones feed a spare and count for retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum SnapshotState {
    /// Everything that the source has is in it.
    Complete,
    /// Some entries could not be read; each is listed.
    Partial,
    /// It was made without an error, but differs from the one before in a way that looks like an accident.
    Suspect,
}

impl SnapshotState {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Suspect => "suspect",
        }
    }
}

/// Numbers about a snapshot, and how it differs from its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct Tally {
    /// Directories.
    pub dirs: u64,
    /// Regular files, every name counted.
    pub files: u64,
    /// Everything else: symbolic links, devices, pipes, sockets.
    pub others: u64,
    /// Sum of the lengths of the regular files, in bytes.
    pub bytes: u64,
    /// Files of the base that are here with the same content, without having been looked into.
    pub unchanged_files: u64,
    /// Files whose path is not in the base.
    pub added_files: u64,
    /// Files whose path is in the base with another content, or whose content was asked for again.
    pub changed_files: u64,
    /// Of the changed files, those whose content was asked for again and is what the base has.
    pub confirmed_files: u64,
    /// Files of the base whose path is not here (known at the commit).
    pub removed_files: u64,
    /// Files that were carried forward from the base because the source could not give them.
    pub carried_files: u64,
    /// Bytes of content that were not in the store before and take space now; a further copy of content that was is not new.
    pub new_bytes: u64,
}
