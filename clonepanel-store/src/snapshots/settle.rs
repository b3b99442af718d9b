//! What becomes of entries whose content never arrived, and of what the source could not list.

use super::{
    draft::{Base, Draft},
    offer::within_part,
    table::{CARRIED, LOST, RowId, RowKind, TORN, WAITING},
    work::Op,
};
use clonepanel_core::{
    entry::EntryKind,
    manifest::Record,
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
};
use std::collections::{HashMap, HashSet};

/// The rows that make up the snapshot once everything is settled.
pub(crate) struct Settled {
    /// Rows that are left out.
    pub(crate) dropped: HashSet<RowId>,
    /// Further names of hard-link groups with their first ones.
    pub(crate) groups: Vec<(RowId, RowId)>,
    /// What is left to be done.
    pub(crate) ops: Vec<Op>,
}

/// What the problems of a seal mean for single paths.
struct Told<'a> {
    vanished: HashSet<&'a RelPath>,
    changed: HashSet<&'a RelPath>,
    lost: HashSet<&'a RelPath>,
    refused: HashSet<&'a RelPath>,
    /// Below these the source may have more than was offered.
    unlisted: Vec<RelPath>,
}

impl<'a> Told<'a> {
    fn new(problems: &'a Problems) -> Self {
        let mut told = Self {
            vanished: HashSet::new(),
            changed: HashSet::new(),
            lost: HashSet::new(),
            refused: HashSet::new(),
            unlisted: Vec::new(),
        };
        for problem in problems.listed() {
            if problem.kind.is_loss() {
                told.lost.insert(&problem.path);
            }
            match problem.kind {
                ProblemKind::Changed => drop(told.changed.insert(&problem.path)),
                ProblemKind::Vanished => drop(told.vanished.insert(&problem.path)),
                ProblemKind::Refused => drop(told.refused.insert(&problem.path)),
                // A path that could not even be looked at was not offered: its older version stands in as well.
                ProblemKind::Unlisted | ProblemKind::Unreadable | ProblemKind::Failed => {
                    told.unlisted.push(problem.path.clone());
                }
                _ => {}
            }
        }
        if problems.hides_losses() {
            told.unlisted.push(RelPath::root());
        }
        told.unlisted.sort();
        told.unlisted.dedup_by(|below, above| below.is_within(above));
        told
    }

    /// Whether a path lies where the source could not be listed, or is a directory that leads there. As a subtree is one
    /// range of the order of paths, only the neighbours count.
    fn is_unlisted(&self, path: &RelPath, is_dir: bool) -> bool {
        let next = self.unlisted.partition_point(|unlisted| unlisted < path);
        let leads = self.unlisted.get(next).is_some_and(|after| after == path || is_dir && after.is_within(path));
        let lies =
            next.checked_sub(1).and_then(|at| self.unlisted.get(at)).is_some_and(|before| path.is_within(before));
        leads || lies
    }
}

/// Settles every row, and adds a problem for each loss that nobody told of.
pub(crate) fn settle(draft: &Draft, problems: &mut Problems) -> Settled {
    let given = problems.clone();
    let told = Told::new(&given);
    let mut settling = Settling {
        draft,
        told,
        problems,
        carried: HashMap::new(),
        settled: Settled { dropped: HashSet::new(), groups: Vec::new(), ops: Vec::new() },
    };
    settling.files();
    settling.groups();
    settling.unlisted();
    settling.settled
}

struct Settling<'a> {
    draft: &'a Draft,
    told: Told<'a>,
    problems: &'a mut Problems,
    /// Rows of the base that are carried forward, and their new rows.
    carried: HashMap<RowId, RowId>,
    settled: Settled,
}

impl Settling<'_> {
    /// Files with content of their own: those that did not arrive, were lost, or changed while they were read.
    fn files(&mut self) {
        let ids = self.draft.lock().table.ids();
        for id in ids {
            let mut state = self.draft.lock();
            let Some(row) = state.table.row(id).filter(|row| row.kind == RowKind::File) else { continue };
            let (waiting, lost, torn) = (row.has(WAITING), row.has(LOST), row.has(TORN));
            let Ok(path) = RelPath::try_from(state.table.path(id)) else { continue };
            if !waiting && !lost {
                if self.told.changed.contains(&path) {
                    if let Some(row) = state.table.row_mut(id) {
                        row.flags |= TORN;
                    }
                } else if torn {
                    self.problems.push(Problem::new(
                        path,
                        ProblemKind::Changed,
                        "its length changed while it was read",
                    ));
                }
                continue;
            }
            drop(state);
            let why = if lost { "its stored copy is gone or damaged" } else { "its content did not arrive" };
            self.replace(id, &path, why, if lost { Older::Gone } else { Older::StandsIn });
        }
    }

    /// Leaves a row out; its older version stands in where there is one.
    fn replace(&mut self, id: RowId, path: &RelPath, why: &str, older: Older) {
        self.settled.dropped.insert(id);
        if self.told.vanished.contains(path) && older == Older::StandsIn {
            return;
        }
        if !self.told.lost.contains(path) {
            self.problems.push(Problem::new(path.clone(), ProblemKind::Failed, why));
        }
        if older == Older::StandsIn
            && let Some(base) = &self.draft.base
            && let Some(old) = base.table.find(path.as_bytes(), None)
            && base.table.row(old).is_some_and(|row| row.kind != RowKind::Dir)
        {
            self.carry(base, old);
        }
    }

    /// Takes an entry of the base over as it is there.
    fn carry(&mut self, base: &Base, old: RowId) {
        let Some(Record { mut entry, content, .. }) = base.table.record(old) else { return };
        let mut first_row = None;
        if let EntryKind::File { hardlink_to, .. } = &mut entry.kind
            && let Some(first) = hardlink_to
        {
            // The group lives on if its first name was carried forward too.
            first_row = base.table.find(first.as_bytes(), None).and_then(|first| self.carried.get(&first).copied());
            if first_row.is_none() {
                *hardlink_to = None;
            }
        }
        let mut state = self.draft.lock();
        let torn = base.table.row(old).map_or(0, |row| row.flags & TORN);
        let Some(id) = state.table.push(&entry, content.as_ref(), CARRIED | torn, Some(old)) else { return };
        drop(state);
        self.carried.insert(old, id);
        let path = entry.path.clone();
        let plain = self.draft.places.is_plain(path.as_bytes());
        match (entry.kind, first_row) {
            (EntryKind::File { .. }, Some(first)) => self.settled.groups.push((id, first)),
            (EntryKind::File { .. }, None) => self.settled.ops.push(Op::Link { row: id, base: old }),
            (EntryKind::Dir, _) if plain && !path.is_root() => self.settled.ops.push(Op::Dir { path }),
            (EntryKind::Symlink(target), _) if plain && target.stays_inside(&within_part(&path)) => {
                self.settled.ops.push(Op::Symlink { path, target, mtime: entry.meta.mtime });
            }
            _ => {}
        }
    }

    /// Further names of files.
    fn groups(&mut self) {
        let groups = std::mem::take(&mut self.draft.lock().groups);
        for (id, first) in groups {
            if !self.settled.dropped.contains(&first) {
                self.settled.groups.push((id, first));
                continue;
            }
            let path = RelPath::try_from(self.draft.lock().table.path(id));
            if let Ok(path) = path {
                self.replace(id, &path, "the file that it is a further name of did not arrive", Older::StandsIn);
            }
        }
    }

    /// What the base has where the source could not be listed.
    fn unlisted(&mut self) {
        let Some(base) = &self.draft.base else { return };
        if self.told.unlisted.is_empty() {
            return;
        }
        for old in base.table.ids() {
            let Ok(path) = RelPath::try_from(base.table.path(old)) else { continue };
            let is_dir = base.table.row(old).is_some_and(|row| row.kind == RowKind::Dir);
            let wanted = self.told.is_unlisted(&path, is_dir);
            let gone = self.told.vanished.contains(&path) || self.told.refused.contains(&path);
            if wanted && !gone && !self.is_known(&path) && self.has_parent(base, &path) {
                self.carry(base, old);
            }
        }
    }

    fn is_known(&self, path: &RelPath) -> bool {
        self.draft.lock().by_path.contains_key(&self.draft.key(path.as_bytes()))
    }

    fn has_parent(&self, base: &Base, path: &RelPath) -> bool {
        let Some(parent) = path.parent().filter(|parent| !parent.is_root()) else { return true };
        let state = self.draft.lock();
        let offered = state.by_path.get(&self.draft.key(parent.as_bytes())).and_then(|&id| state.table.row(id));
        match offered {
            Some(row) => row.kind == RowKind::Dir,
            None => base.table.find(parent.as_bytes(), None).is_some_and(|old| self.carried.contains_key(&old)),
        }
    }
}

/// Whether the base has something that can stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Older {
    Gone,
    StandsIn,
}
