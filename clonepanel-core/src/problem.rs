//! [`Problem`]: trouble with one path. It is listed, not raised: a live server always has some.

use crate::{
    escape::{Escaped, is_harmless},
    path::{PathError, RelPath},
};
use std::fmt;

/// How many problems are kept one by one; further ones are only counted.
pub const MAX_LISTED: usize = 10_000;
const MAX_DETAIL: usize = 400;

/// Trouble with one path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, below the root of the tree that was transferred.
    pub path: RelPath,
    /// What kind of trouble, by what follows from it.
    pub kind: ProblemKind,
    detail: String,
}

/// What follows from a [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The file was written to while it was read: kept as it was read, and marked.
    Changed,
    /// The content did not arrive or did not pass its check: the older version stands in.
    Failed,
    /// The entry broke a rule (a name outside the tree, a kind that cannot be kept): left out.
    Refused,
    /// What is below this directory is not known, so nothing below it counts as deleted: the older versions stand in.
    Unlisted,
    /// The file could not be read at the source: the older version stands in.
    Unreadable,
    /// The file was gone when its content was asked for: left out.
    Vanished,
}

impl ProblemKind {
    /// Whether a snapshot with such a problem lacks something that the source has.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        match self {
            Self::Changed | Self::Vanished => false,
            Self::Failed | Self::Refused | Self::Unlisted | Self::Unreadable => true,
        }
    }

    /// The word for it in manifests and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unlisted => "unlisted",
            Self::Unreadable => "unreadable",
            Self::Vanished => "vanished",
        }
    }

    /// Reads what [`Self::word`] writes.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Changed, Self::Failed, Self::Refused, Self::Unlisted, Self::Unreadable, Self::Vanished]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

impl Problem {
    /// A problem with a short explanation, which is escaped and cut to 400 bytes.
    #[must_use]
    pub fn new(path: RelPath, kind: ProblemKind, detail: impl AsRef<[u8]>) -> Self {
        let mut detail = Escaped(detail.as_ref().trim_ascii()).to_string();
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
        Self { path, kind, detail }
    }

    /// The explanation: one line, safe on a terminal.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// A problem as a manifest has it, its explanation as [`Self::detail`] gave it.
    pub(crate) fn restored(path: RelPath, kind: ProblemKind, detail: &str) -> Option<Self> {
        let good = detail.len() <= MAX_DETAIL && is_harmless(detail) && !detail.starts_with(' ');
        good.then(|| Self { path, kind, detail: detail.to_owned() })
    }

    /// The same problem, seen from a root further up.
    ///
    /// # Errors
    /// [`PathError::TooLong`] when the joined path is too long.
    pub fn under(mut self, prefix: &RelPath) -> Result<Self, PathError> {
        self.path = prefix.join(&self.path)?;
        Ok(self)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.kind.word())?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

/// The problems of one run: the first [`MAX_LISTED`] one by one, and how many there were in all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    listed: Vec<Problem>,
    total: u64,
    losses: u64,
    unlisted_losses: bool,
}

impl Problems {
    /// None so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.total += 1;
        self.losses += u64::from(problem.kind.is_loss());
        if self.listed.len() < MAX_LISTED {
            self.listed.push(problem);
        } else {
            self.unlisted_losses |= problem.kind.is_loss();
        }
    }

    /// Adds all of `other`, seen from a root further up. A path that becomes too long is counted under `prefix` itself.
    pub fn extend_under(&mut self, prefix: &RelPath, other: Self) {
        let (total, losses) = (self.total + other.total, self.losses + other.losses);
        self.unlisted_losses |= other.unlisted_losses;
        for problem in other.listed {
            let at_prefix = Problem { path: prefix.clone(), ..problem.clone() };
            self.push(problem.under(prefix).unwrap_or(at_prefix));
        }
        (self.total, self.losses) = (total, losses);
    }

    /// The problems of a manifest: those that were listed, and how many there were in all. `None` when the numbers cannot be.
    pub(crate) fn restored(listed: Vec<Problem>, total: u64, losses: u64) -> Option<Self> {
        let listed_losses = listed.iter().filter(|problem| problem.kind.is_loss()).count() as u64;
        let unlisted = total.checked_sub(listed.len() as u64)?;
        let unlisted_losses = losses.checked_sub(listed_losses)?;
        let good = listed.len() <= MAX_LISTED && unlisted_losses <= unlisted;
        good.then_some(Self { listed, total, losses, unlisted_losses: unlisted_losses > 0 })
    }

    /// Those that are listed, in the order they came.
    #[must_use]
    pub fn listed(&self) -> &[Problem] {
        &self.listed
    }

    /// How many there were in all.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// How many of them mean that something is missing ([`ProblemKind::is_loss`]).
    #[must_use]
    pub const fn losses(&self) -> u64 {
        self.losses
    }

    /// Whether a loss is among those that are no longer listed, so that nobody can tell which paths are affected: nothing
    /// that is missing from the listing may then count as deleted.
    #[must_use]
    pub const fn hides_losses(&self) -> bool {
        self.unlisted_losses
    }

    /// Whether there was none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }
}
