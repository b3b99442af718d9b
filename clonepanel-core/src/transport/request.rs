//! [`PullRequest`] and [`PushRequest`]: what is to be transferred.

use crate::{
    entry::{Entry, Freshness},
    filter::Filter,
    path::RelPath,
    problem::{Problem, ProblemKind},
    time::Timestamp,
};

/// What is to be read from the far end.
#[derive(Debug, Clone, Default)]
pub struct PullRequest {
    paths: Vec<RelPath>,
    filter: Filter,
    since: Option<Timestamp>,
    root: Root,
    comparison: Comparison,
}

/// Whether the root belongs to what is covered when only some paths below it are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Root {
    #[default]
    Covered,
    LeftAlone,
}

impl PullRequest {
    /// Everything below the far end's root.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only these paths and what is below them, and the directories that lead to them.
    #[must_use]
    pub fn paths(mut self, paths: Vec<RelPath>) -> Self {
        self.paths = paths;
        self
    }

    /// Leaves out what the filter excludes.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Asks for [`Freshness`] against a scan that began at this moment of the far end's clock.
    #[must_use]
    pub const fn since(mut self, since: Option<Timestamp>) -> Self {
        self.since = since;
        self
    }

    /// The paths; empty for everything.
    #[must_use]
    pub fn wanted_paths(&self) -> &[RelPath] {
        &self.paths
    }

    /// The filter.
    #[must_use]
    pub const fn wanted_filter(&self) -> &Filter {
        &self.filter
    }

    /// The moment that freshness is judged against.
    #[must_use]
    pub const fn fresh_since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Whether an entry belongs to what was asked for: it is wanted, or a directory on the way to something wanted, and not
    /// excluded. Transports check every name that a far end lists with this (CVE-2022-29154).
    #[must_use]
    pub fn covers(&self, path: &RelPath, is_dir: bool) -> bool {
        if path.is_root() && self.root == Root::LeftAlone {
            return false;
        }
        let wanted = self.paths.is_empty()
            || self.paths.iter().any(|wanted| path.is_within(wanted) || (is_dir && wanted.is_within(path)));
        wanted && !self.filter.excludes_with_parents(path, is_dir)
    }

    /// The entry as a sink is to be offered it: as touched where a push looks into every file.
    #[must_use]
    pub const fn as_offered(&self, mut entry: Entry) -> Entry {
        if matches!(self.comparison, Comparison::Content) {
            entry.meta.freshness = Freshness::Touched;
        }
        entry
    }

    /// Whether trouble at a path concerns what was asked for. What could not be looked at may be a directory or not, so it
    /// does when either would: an error is never taken for an absence. Trouble with the root is trouble with everything.
    #[must_use]
    pub fn covers_problem(&self, problem: &Problem) -> bool {
        problem.path.is_root()
            || self.covers(&problem.path, true)
            || (problem.kind != ProblemKind::Unlisted && self.covers(&problem.path, false))
    }
}

/// What is to be written to the far end.
#[derive(Debug, Clone)]
pub struct PushRequest {
    paths: Vec<RelPath>,
    filter: Filter,
    deletion: Deletion,
    deletion_share: u8,
    comparison: Comparison,
}

impl Default for PushRequest {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            filter: Filter::default(),
            deletion: Deletion::default(),
            deletion_share: 100,
            comparison: Comparison::default(),
        }
    }
}

impl PushRequest {
    /// Everything of the source; nothing is deleted at the far end.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only these paths and what is below them, and the directories that lead to them but for the root. Nothing is deleted beside
    /// them.
    #[must_use]
    pub fn paths(mut self, paths: Vec<RelPath>) -> Self {
        // The root among them means everything.
        self.paths = if paths.iter().any(RelPath::is_root) { Vec::new() } else { paths };
        self
    }

    /// The paths; empty for everything.
    #[must_use]
    pub fn wanted_paths(&self) -> &[RelPath] {
        &self.paths
    }

    /// What of a source is written: [`PullRequest::covers`] tells it for each entry.
    #[must_use]
    pub fn covered(&self) -> PullRequest {
        let root = if self.paths.is_empty() { Root::Covered } else { Root::LeftAlone };
        let (paths, filter) = (self.paths.clone(), self.filter.clone());
        PullRequest { paths, filter, since: None, root, comparison: self.comparison }
    }

    /// Whether what is at a path may be deleted at all: it lies below what is wanted.
    pub(super) fn reaches(&self, path: &RelPath) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|wanted| path != wanted && path.is_within(wanted))
    }

    /// Leaves out what the filter excludes, and keeps it from being deleted.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Says what may be deleted at the far end.
    #[must_use]
    pub const fn deletion(mut self, deletion: Deletion) -> Self {
        self.deletion = deletion;
        self
    }

    /// Says how much may be deleted of what the far end holds, in percent of its entries; all of it unless set. Counts beside
    /// the number of [`Self::deletion`].
    #[must_use]
    pub const fn deletion_share(mut self, percent: u8) -> Self {
        self.deletion_share = percent;
        self
    }

    /// Says by what a file that is there counts as the same; by length and time unless set.
    #[must_use]
    pub const fn comparison(mut self, comparison: Comparison) -> Self {
        self.comparison = comparison;
        self
    }

    /// By what a file that is there counts as the same.
    #[must_use]
    pub const fn wanted_comparison(&self) -> Comparison {
        self.comparison
    }

    /// How much of what the far end holds may be deleted, in percent.
    #[must_use]
    pub const fn allowed_share(&self) -> u8 {
        self.deletion_share
    }

    /// The filter.
    #[must_use]
    pub const fn wanted_filter(&self) -> &Filter {
        &self.filter
    }

    /// What may be deleted.
    #[must_use]
    pub const fn allowed_deletion(&self) -> Deletion {
        self.deletion
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_counts_when_it_may_be_about_a_directory() {
        let request = PullRequest::new().filter(Filter::parse(["+ */", "+ *.html", "- *"]).unwrap());
        let problem = |path, kind| Problem::new(RelPath::try_from(path).unwrap(), kind, "");
        assert!(request.covers_problem(&problem("sub", ProblemKind::Unreadable)));
        assert!(request.covers_problem(&problem("sub", ProblemKind::Unlisted)));
        assert!(request.covers_problem(&problem("sub/page.html", ProblemKind::Failed)));
        let request = PushRequest::new().filter(Filter::parse(["cache/", "*.tmp"]).unwrap()).covered();
        assert!(!request.covers_problem(&problem("cache", ProblemKind::Unlisted)));
        assert!(!request.covers_problem(&problem("cache/page", ProblemKind::Unreadable)));
        assert!(!request.covers_problem(&problem("a.tmp", ProblemKind::Unreadable)));
        assert!(request.covers_problem(&problem("cache", ProblemKind::Unreadable)));
    }
}

/// By what a push knows that a file is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_enums)]
pub enum Comparison {
    /// The same length and time of last change. Whoever changes a file and sets its time back goes unnoticed.
    #[default]
    LengthAndTime,
    /// The same content: every file is read at the far end, and only differences travel.
    Content,
}

/// What may be deleted at the destination: what is below a directory that the source lists, and not in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_enums)]
pub enum Deletion {
    /// Nothing.
    #[default]
    Keep,
    /// At most so many entries; if more would have to go, or a part of the source could not be listed, none is deleted and it
    /// is a problem in the report. A transport that deletes last, as rsync's does, also deletes none when a content could not
    /// be sent: it may be what is there under an older name.
    UpTo(u64),
}
