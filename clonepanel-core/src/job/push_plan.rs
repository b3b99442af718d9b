//! [`PushPlan`]: what a restore to an account would change there.

use crate::{
    entry::{Entry, EntryKind},
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    snapshot_id::SnapshotId,
    transport::{Comparison, Deletion, PushRequest, leaving},
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
};

/// What a restore to an account would change there. `Display` shows all of it, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct PushPlan {
    /// From which snapshot.
    pub id: SnapshotId,
    /// What is not there yet, in the order of the paths.
    pub added: Vec<Entry>,
    /// What is there in another version, as it will be.
    pub overwritten: Vec<Entry>,
    /// Files that are there in the same length and time; with [`Comparison::Content`] they are looked into, and overwritten if
    /// they differ.
    pub compared: Vec<Entry>,
    /// What is there and will be deleted, children before their parents.
    pub deleted: Vec<RelPath>,
    /// Entries that are there already.
    pub unchanged: u64,
    /// Content that may have to travel, in bytes.
    pub bytes: u64,
    /// Which of the wanted paths are there, and so can be kept before they are overwritten; the root stands for all of it.
    pub present: Vec<RelPath>,
    /// Why nothing would be deleted although something should.
    pub refusal: Option<Problem>,
    /// Where the far end could not be looked at.
    pub problems: Problems,
}

impl PushPlan {
    pub(super) fn new(
        id: SnapshotId,
        request: &PushRequest,
        wanted: Vec<Entry>,
        far: Vec<Entry>,
        problems: Problems,
    ) -> Self {
        let there: HashMap<&RelPath, &Entry> = far.iter().map(|entry| (&entry.path, entry)).collect();
        let mut plan = Self {
            id,
            added: Vec::new(),
            overwritten: Vec::new(),
            compared: Vec::new(),
            deleted: Vec::new(),
            unchanged: 0,
            bytes: 0,
            present: present(request, &there),
            refusal: None,
            problems,
        };
        let listed: HashSet<RelPath> = wanted.iter().map(|entry| entry.path.clone()).collect();
        let paths = far.iter().map(|entry| (entry.path.clone(), entry.is_dir()));
        match leaving(request, &listed, paths) {
            Ok(_) if plan.problems.losses() > 0 && request.allowed_deletion() != Deletion::Keep => {
                let detail = "a part of what the far end holds could not be listed: nothing is deleted";
                plan.refusal = Some(Problem::new(RelPath::root(), ProblemKind::Refused, detail));
            }
            Ok(leaving) => plan.deleted = leaving,
            Err(problem) => plan.refusal = Some(problem),
        }
        let (linked_there, linked_here) = (groups(&far), groups(&wanted));
        for entry in wanted {
            // Names that are one file there and need not be are left alone, as rsync does.
            let first = linked_here.get(&entry.path);
            let is_linked_alike = first.is_none_or(|first| linked_there.get(&entry.path) == Some(first));
            let content = if entry.has_content() { entry.len().unwrap_or(0) } else { 0 };
            match there.get(&entry.path) {
                Some(there) if is_linked_alike && is_same(there, &entry) => {
                    if request.wanted_comparison() == Comparison::Content && entry.has_content() {
                        plan.bytes += content;
                        plan.compared.push(entry);
                    } else {
                        plan.unchanged += 1;
                    }
                }
                Some(_) => {
                    plan.bytes += content;
                    plan.overwritten.push(entry);
                }
                None => {
                    plan.bytes += content;
                    plan.added.push(entry);
                }
            }
        }
        plan
    }

    /// Whether everything is known to be as it should be already.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && !self.loses()
    }

    /// Whether something would be lost, or may be, that an undo could bring back.
    #[must_use]
    pub const fn loses(&self) -> bool {
        !self.overwritten.is_empty() || !self.deleted.is_empty() || !self.compared.is_empty()
    }
}

/// The files with several names, each with the first one of them: which of them was listed first does not matter.
fn groups(entries: &[Entry]) -> HashMap<RelPath, RelPath> {
    let mut names: HashMap<&RelPath, Vec<&RelPath>> = HashMap::new();
    for entry in entries {
        if let EntryKind::File { hardlink_to: Some(listed_first), .. } = &entry.kind {
            names.entry(listed_first).or_insert_with(|| vec![listed_first]).push(&entry.path);
        }
    }
    let mut groups = HashMap::new();
    for group in names.values() {
        if let Some(first) = group.iter().min() {
            groups.extend(group.iter().map(|name| ((*name).clone(), (*first).clone())));
        }
    }
    groups
}

fn present(request: &PushRequest, there: &HashMap<&RelPath, &Entry>) -> Vec<RelPath> {
    let root = [RelPath::root()];
    let wanted = if request.wanted_paths().is_empty() { &root[..] } else { request.wanted_paths() };
    wanted.iter().filter(|path| there.contains_key(path)).cloned().collect()
}

/// By what a transport goes as well: it does not look into a file of the same length and time.
fn is_same(there: &Entry, wanted: &Entry) -> bool {
    let same_time = there.meta.mtime.secs() == wanted.meta.mtime.secs()
        && (there.meta.mtime == wanted.meta.mtime || there.meta.mtime.nanos() == 0);
    let same_kind = match (&there.kind, &wanted.kind) {
        (EntryKind::File { len: there, .. }, EntryKind::File { len: wanted, .. }) => there == wanted && same_time,
        (there, wanted) => there == wanted,
    };
    // The mode of a link means nothing.
    same_kind && (there.meta.mode == wanted.meta.mode || matches!(wanted.kind, EntryKind::Symlink(_)))
}

impl fmt::Display for PushPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, entries) in [("new", &self.added), ("overwritten", &self.overwritten)] {
            for entry in entries {
                match entry.len() {
                    Some(len) => writeln!(f, "{word} {} ({len} bytes)", entry.path)?,
                    None => writeln!(f, "{word} {}", entry.path)?,
                }
            }
        }
        for path in &self.deleted {
            writeln!(f, "deleted {path}")?;
        }
        let (added, overwritten, deleted) = (self.added.len(), self.overwritten.len(), self.deleted.len());
        write!(f, "{added} new, {overwritten} overwritten, {deleted} deleted, {} unchanged", self.unchanged)?;
        if !self.compared.is_empty() {
            write!(f, ", {} to compare", self.compared.len())?;
        }
        write!(f, ", up to {} bytes from {}", self.bytes, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{snapshot_id::SourceName, testkit::path, time::Timestamp};

    fn linked(name: &str, first: Option<&str>) -> Entry {
        let kind = EntryKind::File { len: 3, hardlink_to: first.map(path) };
        Entry { kind, ..Entry::file(path(name), 3, Timestamp::from_secs(1_600_000_000)) }
    }

    #[test]
    fn names_that_are_to_be_one_file_are_not_there_apart() {
        let id = SnapshotId::next(SourceName::new("site").unwrap(), Timestamp::from_secs(1_700_000_000), None);
        let overwritten = |wanted: &[Entry], far: &[Entry]| {
            let (wanted, far) = (wanted.to_vec(), far.to_vec());
            PushPlan::new(id.clone(), &PushRequest::new(), wanted, far, Problems::new()).overwritten.len()
        };
        let (apart, together) = ([linked("a", None), linked("b", None)], [linked("a", None), linked("b", Some("a"))]);
        // The other end may list the names in another order.
        let turned = [linked("b", None), linked("a", Some("b"))];
        assert_eq!(overwritten(&together, &apart), 2);
        assert_eq!(overwritten(&together, &turned), 0);
        assert_eq!(overwritten(&apart, &together), 0);
        assert_eq!(overwritten(&apart, &apart), 0);
    }
}
