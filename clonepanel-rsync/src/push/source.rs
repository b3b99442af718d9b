//! [`Collected`]: what a source lists, as a file list can have it.

use super::in_the_way;
use crate::partial::is_partial;
use clonepanel_core::{
    entry::{Entry, EntryKind},
    path::RelPath,
    problem::{Problem, ProblemKind},
    transport::{PullRequest, PushRequest, TransportError},
    tree::{Listed, TreeError, TreeSource},
};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The entries of a source that the request does not exclude.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// Parents before their children, and each further name of a file behind the first one, which is among them.
    pub(crate) entries: Vec<Entry>,
    pub(crate) problems: Vec<Problem>,
    /// Places at the far end that must stay as they are.
    pub(crate) kept: BTreeSet<RelPath>,
    dirs: HashSet<RelPath>,
    others: HashSet<RelPath>,
    /// Files whose first name is excluded, and the name that stands in for it.
    first_names: HashMap<RelPath, RelPath>,
}

impl Collected {
    /// Lists `source` to its end.
    pub(crate) async fn from(source: &dyn TreeSource, request: &PushRequest) -> Result<Self, TransportError> {
        let (mut collected, covered) = (Self::default(), request.covered());
        let mut entries = source.entries().await.map_err(TransportError::Source)?;
        while let Some(listed) = entries.next().await.map_err(TransportError::Source)? {
            match listed {
                Listed::Entry(entry) => collected.add(entry, &covered),
                Listed::Problem(problem) => {
                    if covered.covers_problem(&problem) {
                        collected.problems.push(problem);
                    }
                }
            }
        }
        Ok(collected)
    }

    fn add(&mut self, entry: Entry, covered: &PullRequest) {
        if !covered.covers(&entry.path, entry.is_dir()) || is_partial(entry.path.as_bytes()) {
            return;
        }
        if let Some(why) = self.flaw(&entry) {
            self.problems.push(Problem::new(entry.path, ProblemKind::Refused, why));
            return;
        }
        self.push(entry);
    }

    fn push(&mut self, mut entry: Entry) {
        if let EntryKind::File { hardlink_to, .. } = &mut entry.kind
            && let Some(leader) = hardlink_to.take_if(|leader| !self.others.contains(leader))
        {
            let first = self.first_names.entry(leader).or_insert_with(|| entry.path.clone());
            *hardlink_to = (*first != entry.path).then(|| first.clone());
        }
        let seen = if entry.is_dir() { &mut self.dirs } else { &mut self.others };
        seen.insert(entry.path.clone());
        self.entries.push(entry);
    }

    /// Takes these places and what is below them off the list, and says so.
    pub(crate) fn keep(&mut self, places: BTreeSet<RelPath>) {
        for set in [&mut self.dirs, &mut self.others] {
            set.clear();
        }
        for entry in std::mem::take(&mut self.entries) {
            if !in_the_way::is_within(&entry.path, &places) {
                self.push(entry);
            }
        }
        self.problems.extend(places.iter().map(in_the_way::problem));
        self.kept = places;
    }

    /// Whether a path is listed as a directory and `is_dir` is not, or the other way round.
    pub(super) fn lists_other_kind(&self, path: &RelPath, is_dir: bool) -> bool {
        if is_dir { self.others.contains(path) } else { self.dirs.contains(path) }
    }

    /// What a list must not have: the indexes of all others hang on it.
    fn flaw(&self, entry: &Entry) -> Option<&'static str> {
        let path = &entry.path;
        if self.dirs.contains(path) || self.others.contains(path) {
            return Some("it was listed before");
        }
        if path.is_root() && !entry.is_dir() {
            return Some("the root is no directory");
        }
        // Without a root, the destination stands in for it.
        let has_parent = path.parent().is_none_or(|parent| parent.is_root() || self.dirs.contains(&parent));
        (!has_parent).then_some("its directory was not listed")
    }

    /// All paths.
    pub(crate) fn paths(&self) -> HashSet<RelPath> {
        self.dirs.iter().chain(&self.others).cloned().collect()
    }

    /// Whether a part of the source could not be listed: what is missing there may well exist.
    pub(crate) fn lacks_something(&self) -> bool {
        self.problems.iter().any(|problem| problem.kind.is_loss())
    }
}

/// The problem of a file of the source that cannot be read.
///
/// # Errors
/// What is not this file's fault.
pub(super) fn unread(path: &RelPath, error: TreeError) -> Result<Problem, TransportError> {
    let kind = match &error {
        TreeError::Exhausted { .. } => return Err(TransportError::Source(error)),
        TreeError::Denied { .. } => ProblemKind::Unreadable,
        TreeError::NotFound { .. } => ProblemKind::Vanished,
        _ => ProblemKind::Failed,
    };
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Ok(Problem::new(path.clone(), kind, format!("{error}{cause}")))
}
