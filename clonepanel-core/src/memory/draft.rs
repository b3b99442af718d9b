//! [`Draft`]: what was offered for a snapshot, and what becomes of it at the commit.

use super::{
    store::{Kept, Novelty, Snapshot},
    tree::refused,
};
use crate::{
    digest::FileDigest,
    entry::{Entry, EntryKind, EntryMeta, Freshness},
    manifest::{Marks, Record},
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    store::Tally,
    tree::TreeError,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

#[derive(Default)]
pub(super) struct Draft {
    offered: BTreeMap<RelPath, Offered>,
    new_bytes: u64,
}

struct Offered {
    entry: Entry,
    origin: Origin,
    /// Whether the base has a regular file at this path.
    in_base: bool,
}

/// Where the content of an offered entry comes from.
pub(super) enum Origin {
    /// It arrived.
    Arrived(FileDigest, Arc<Bytes>),
    /// It was asked for.
    Awaited,
    /// It is the base's.
    Base(Kept),
    /// There is none: not a regular file.
    Itself,
    /// It is that of the file first listed under this path.
    Name(RelPath),
}

impl Draft {
    /// Whether the entry may stand where it is offered.
    pub(super) fn check(&self, entry: &Entry) -> Result<(), TreeError> {
        let path = &entry.path;
        if self.offered.contains_key(path) {
            return Err(refused(path, "its path was offered before"));
        }
        // The root alone may be left out of the listing.
        let parent = path.parent().filter(|parent| !parent.is_root() || self.offered.contains_key(parent));
        if parent.is_some_and(|parent| !self.offered.get(&parent).is_some_and(|offered| offered.entry.is_dir())) {
            return Err(refused(path, "its parent is not a directory of this tree"));
        }
        if path.is_root() && !entry.is_dir() {
            return Err(refused(path, "the root is not a directory"));
        }
        match &entry.kind {
            EntryKind::File { hardlink_to: Some(leader), .. }
                if !self.offered.get(leader).is_some_and(|offered| offered.entry.has_content()) =>
            {
                Err(refused(path, "its first name is not a file of this tree"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn add(&mut self, entry: &Entry, origin: Origin, in_base: bool) {
        let meta = EntryMeta { freshness: Freshness::Unknown, ..entry.meta.clone() };
        let entry = Entry { meta, ..entry.clone() };
        self.offered.insert(entry.path.clone(), Offered { entry, origin, in_base });
    }

    /// Whether the content at `path` was asked for.
    pub(super) fn awaits(&self, path: &RelPath) -> bool {
        let origin = self.offered.get(path).map(|offered| &offered.origin);
        matches!(origin, Some(Origin::Awaited | Origin::Arrived(..)))
    }

    pub(super) fn arrive(&mut self, path: &RelPath, digest: FileDigest, content: Arc<Bytes>, novelty: Novelty) {
        if let Some(offered) = self.offered.get_mut(path) {
            offered.origin = Origin::Arrived(digest, content);
            if novelty == Novelty::New {
                self.new_bytes += digest.len;
            }
        }
    }

    /// The numbers so far.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally { new_bytes: self.new_bytes, ..Tally::default() };
        for offered in self.offered.values() {
            count_kind(&mut tally, &offered.entry);
            if offered.entry.len().is_some() {
                match (self.origin(offered), offered.in_base) {
                    (_, false) => tally.added_files += 1,
                    (Origin::Base(_), true) => tally.unchanged_files += 1,
                    (_, true) => tally.changed_files += 1,
                }
            }
        }
        tally
    }

    /// The origin of the content: a further name has that of the first one.
    fn origin<'a>(&'a self, offered: &'a Offered) -> &'a Origin {
        match &offered.origin {
            Origin::Name(leader) => self.offered.get(leader).map_or(&offered.origin, |leader| &leader.origin),
            origin => origin,
        }
    }

    /// What the snapshot keeps: S12 and S14 are decided here.
    pub(super) fn close(self, base: Option<&Snapshot>, mut problems: Problems) -> (Vec<Kept>, Tally, Problems) {
        let mut tally = self.tally();
        let mut known: HashMap<RelPath, BTreeSet<ProblemKind>> = HashMap::new();
        for problem in problems.listed() {
            known.entry(problem.path.clone()).or_default().insert(problem.kind);
        }
        let has = |path: &RelPath, kind| known.get(path).is_some_and(|kinds| kinds.contains(&kind));

        let mut kept = BTreeMap::new();
        for offered in self.offered.values() {
            let path = &offered.entry.path;
            let mut entry = offered.entry.clone();
            let (digest, content) = match self.origin(offered) {
                Origin::Arrived(digest, content) => {
                    let older = base.and_then(|base| base.find(path)).and_then(|older| older.record.content);
                    tally.confirmed_files += u64::from(older == Some(*digest));
                    (Some(*digest), Some(Arc::clone(content)))
                }
                Origin::Base(older) => (older.record.content, older.content.clone()),
                Origin::Itself => (None, None),
                Origin::Awaited | Origin::Name(_) => {
                    uncount(&mut tally, offered);
                    if !has(path, ProblemKind::Vanished) {
                        let older = base.and_then(|base| base.find(path)).filter(|kept| !kept.record.entry.is_dir());
                        if let Some(older) = older {
                            carry(&mut tally, older, &mut kept);
                        }
                        if ![ProblemKind::Failed, ProblemKind::Unreadable].into_iter().any(|kind| has(path, kind)) {
                            problems.push(Problem::new(
                                path.clone(),
                                ProblemKind::Failed,
                                "its content did not arrive",
                            ));
                        }
                    }
                    continue;
                }
            };
            let first = if let Origin::Name(leader) = &offered.origin { leader } else { path };
            let mut marks = Marks { torn: has(first, ProblemKind::Changed), ..Marks::default() };
            if let (Some(digest), EntryKind::File { len, .. }) = (digest, &mut entry.kind) {
                if digest.len != *len {
                    if first == path && !marks.torn {
                        let detail = format!("{} bytes were listed and {} arrived", *len, digest.len);
                        problems.push(Problem::new(path.clone(), ProblemKind::Changed, detail));
                    }
                    marks.torn = true;
                }
                tally.bytes = tally.bytes - *len + digest.len;
                *len = digest.len;
            }
            kept.insert(path.clone(), Kept { record: Record { entry, content: digest, marks }, content });
        }

        if let Some(base) = base {
            let lost: Vec<_> = if problems.hides_losses() {
                vec![RelPath::root()]
            } else {
                let unknown = [ProblemKind::Failed, ProblemKind::Unlisted, ProblemKind::Unreadable];
                let unknown = problems.listed().iter().filter(|problem| unknown.contains(&problem.kind));
                unknown.map(|problem| problem.path.clone()).collect()
            };
            for path in lost {
                self.carry_below(&path, base, &mut tally, &mut kept);
            }
            let files = base.kept.iter().filter(|older| older.content.is_some());
            let gone =
                |older: &&Kept| kept.get(&older.record.entry.path).is_none_or(|kept: &Kept| kept.content.is_none());
            tally.removed_files = files.filter(gone).count() as u64;
        }
        (regrouped(kept.into_values().collect()), tally, problems)
    }

    /// Keeps what the base has at and below `path` and was not offered, with the directories that lead there.
    fn carry_below(&self, path: &RelPath, base: &Snapshot, tally: &mut Tally, kept: &mut BTreeMap<RelPath, Kept>) {
        let leading = std::iter::successors(path.parent(), RelPath::parent).filter_map(|parent| base.find(&parent));
        let mut leading: Vec<_> = leading.collect();
        leading.reverse();
        for older in leading.into_iter().chain(base.within(path)) {
            let at = &older.record.entry.path;
            let placed = at.parent().is_none_or(|parent| {
                (parent.is_root() && !kept.contains_key(&parent))
                    || kept.get(&parent).is_some_and(|parent| parent.record.entry.is_dir())
            });
            if placed && !self.offered.contains_key(at) && !kept.contains_key(at) {
                carry(tally, older, kept);
            }
        }
    }
}

/// Takes the base's version, marked.
fn carry(tally: &mut Tally, older: &Kept, kept: &mut BTreeMap<RelPath, Kept>) {
    let mut older = older.clone();
    older.record.marks.carried = true;
    count_kind(tally, &older.record.entry);
    tally.carried_files += u64::from(older.content.is_some());
    kept.insert(older.record.entry.path.clone(), older);
}

fn count_kind(tally: &mut Tally, entry: &Entry) {
    match &entry.kind {
        EntryKind::Dir => tally.dirs += 1,
        EntryKind::File { len, .. } => {
            tally.files += 1;
            tally.bytes += len;
        }
        _ => tally.others += 1,
    }
}

/// Takes a file out of the numbers whose content did not arrive.
fn uncount(tally: &mut Tally, offered: &Offered) {
    tally.files -= 1;
    tally.bytes -= offered.entry.len().unwrap_or(0);
    if offered.in_base {
        tally.changed_files -= 1;
    } else {
        tally.added_files -= 1;
    }
}

/// Sorted records in which every group's first name in the order of paths is its first: that is the order in which they
/// are read back. A carried name belongs only to carried names: the first name may have a new content by now.
fn regrouped(mut kept: Vec<Kept>) -> Vec<Kept> {
    let mut first_names: HashMap<(RelPath, bool), RelPath> = HashMap::new();
    for Kept { record, .. } in &mut kept {
        let carried = record.marks.carried;
        let Record { entry: Entry { path, kind, .. }, .. } = record;
        if let EntryKind::File { hardlink_to, .. } = kind {
            let group = hardlink_to.clone().unwrap_or_else(|| path.clone());
            let first = first_names.entry((group, carried)).or_insert_with(|| path.clone());
            *hardlink_to = (first != path).then(|| first.clone());
        }
    }
    kept
}
