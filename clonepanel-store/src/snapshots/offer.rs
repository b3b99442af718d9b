//! What is decided about an entry that is offered.

use super::{
    basis::{Both, StoredFile},
    content::stored_mode,
    draft::{Base, Draft, State},
    table::{CARRIED, Row, RowId, RowKind, STORED, TORN, UNCHANGED, WAITING},
    work::{Op, hash_file, is_lasting},
};
use crate::handle;
use clonepanel_core::{
    digest::FileDigest,
    entry::{Entry, EntryKind, Freshness},
    path::RelPath,
    time::Timestamp,
    tree::{Basis, TreeError},
};
use std::{io, sync::Arc, time::Duration};

/// A file that was changed so shortly before a scan may have changed once more without its time showing it.
const UNSETTLED: Duration = Duration::from_secs(2);
/// How many files of one name and length are looked at for a better match.
const MAX_NAMESAKES: usize = 32;

/// The answer to an offer.
pub(crate) enum Decision {
    /// Nothing more is needed.
    Done,
    /// An interrupted run seems to have stored it: decide again once its content was hashed.
    Hash(AdoptedFile),
    /// Its content is wanted.
    Wanted(Option<Arc<dyn Basis>>),
}

/// A file that an interrupted run stored.
pub(crate) struct AdoptedFile {
    content: FileDigest,
    place: Vec<u8>,
    tree: Arc<rustix::fd::OwnedFd>,
}

impl AdoptedFile {
    pub(crate) const fn new(content: FileDigest, place: Vec<u8>, tree: Arc<rustix::fd::OwnedFd>) -> Self {
        Self { content, place, tree }
    }

    /// Whether its content is what the journal says.
    pub(crate) fn is_sound(&self) -> io::Result<bool> {
        let (parent, name) = handle::split(&self.place);
        let file = handle::walk(&self.tree, parent).and_then(|dir| handle::file_in(dir, name));
        match file.and_then(hash_file) {
            Ok(found) => Ok(found == self.content),
            // What cannot be read is not adopted.
            Err(error) if is_lasting(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What hashing an adopted file brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hashed {
    Bad,
    Good,
    NotYet,
}

impl Draft {
    /// Decides about an entry and queues what is to be done. Does not wait for anything.
    pub(crate) fn decide(&self, entry: &Entry, hashed: Hashed) -> Result<Decision, TreeError> {
        let refused = |why| TreeError::Refused { path: entry.path.clone(), why };
        let path = entry.path.as_bytes();
        let mut state = self.lock();
        let key = self.key(path);
        if state.by_path.contains_key(&key) {
            return Err(refused("it was offered before"));
        }
        self.check_parent(&mut state, entry)?;
        let base = self.base.as_ref();
        let base_row = base.and_then(|base| base.table.find(path, state.near));
        if base_row.is_some() {
            state.near = base_row;
        }

        let (parent, _) = handle::split(path);
        let plain = self.places.is_plain(path);
        let op = match &entry.kind {
            EntryKind::Dir => {
                state.tally.dirs += 1;
                let op = (plain && !entry.path.is_root()).then(|| Op::Dir { path: entry.path.clone() });
                op.map(|op| (path, op))
            }
            EntryKind::BlockDevice(_) | EntryKind::CharDevice(_) | EntryKind::Fifo | EntryKind::Socket => {
                state.tally.others += 1;
                None
            }
            EntryKind::Symlink(target) => {
                state.tally.others += 1;
                let safe = plain && target.stays_inside(&within_part(&entry.path));
                let op = safe.then(|| Op::Symlink {
                    path: entry.path.clone(),
                    target: target.clone(),
                    mtime: entry.meta.mtime,
                });
                op.map(|op| (parent, op))
            }
            EntryKind::File { hardlink_to: Some(first), len } => {
                let first = state.by_path.get(&self.key(first.as_bytes())).copied();
                let first_row = first.and_then(|first| Some((first, state.table.row(first)?)));
                let Some((first, first_row)) = first_row.filter(|(_, row)| row.kind == RowKind::File) else {
                    return Err(refused("the file that it is a further name of is not in the tree"));
                };
                let old = base_row.zip(base).and_then(|(row, base)| base.table.row(row)).filter(|row| row.is_file());
                let unchanged = first_row.has(UNCHANGED) && old.is_some_and(|old| old.content() == first_row.content());
                let id = self.push(&mut state, entry, None, if unchanged { UNCHANGED } else { 0 }, None)?;
                state.groups.push((id, first));
                state.count_file(*len, if unchanged { Older::Unchanged } else { Older::of(old) });
                state.by_path.insert(key, id);
                return Ok(Decision::Done);
            }
            EntryKind::File { hardlink_to: None, len } => {
                let file = Offered { entry, len: *len, base_row };
                let Some((id, decision)) = self.decide_file(&mut state, &file, hashed)? else {
                    return self.hash_first(&file);
                };
                state.by_path.insert(key, id);
                return Ok(decision);
            }
        };
        let id = self.push(&mut state, entry, None, 0, base_row)?;
        if let Some((dir, op)) = op {
            state.gather(dir, op, &self.queue);
        }
        state.by_path.insert(key, id);
        Ok(Decision::Done)
    }

    /// Whether a file may stand where it is offered.
    pub(crate) fn check_free(&self, entry: &Entry) -> Result<(), TreeError> {
        let mut state = self.lock();
        if state.by_path.contains_key(&self.key(entry.path.as_bytes())) {
            return Err(TreeError::Refused { path: entry.path.clone(), why: "it was offered before" });
        }
        self.check_parent(&mut state, entry)
    }

    fn check_parent(&self, state: &mut State, entry: &Entry) -> Result<(), TreeError> {
        let refused = |why| Err(TreeError::Refused { path: entry.path.clone(), why });
        let Some(parent) = entry.path.parent() else {
            return if entry.is_dir() { Ok(()) } else { refused("the root of a tree is a directory") };
        };
        if parent.is_root() || state.parent.as_ref() == Some(&parent) {
            return Ok(());
        }
        let row = state.by_path.get(&self.key(parent.as_bytes())).and_then(|&row| state.table.row(row));
        if row.is_none_or(|row| row.kind != RowKind::Dir) {
            return refused("its parent is not a directory of this tree");
        }
        state.parent = Some(parent);
        Ok(())
    }

    pub(crate) fn push(
        &self,
        state: &mut State,
        entry: &Entry,
        content: Option<&FileDigest>,
        flags: u8,
        shared: Option<RowId>,
    ) -> Result<RowId, TreeError> {
        let full = || TreeError::Refused { path: entry.path.clone(), why: "the snapshot has too many entries" };
        state.table.push(entry, content, flags, shared).ok_or_else(full)
    }

    /// Decides about a file with content of its own; `None` when an adopted file must be hashed first.
    fn decide_file(
        &self,
        state: &mut State,
        file: &Offered<'_>,
        hashed: Hashed,
    ) -> Result<Option<(RowId, Decision)>, TreeError> {
        let Offered { entry, len, base_row } = *file;
        let (parent, _) = handle::split(entry.path.as_bytes());
        let base = self.base.as_ref();
        let old = base_row.zip(base).and_then(|(row, base)| base.table.row(row)).filter(|row| row.is_file());
        if let (Some(base), Some(base_row), Some(row)) = (base, base_row, old)
            && !row.has(CARRIED | TORN)
            && row.len == len
            && row.mtime() == entry.meta.mtime
            && self.is_settled(entry, base.scanned())
            && !self.is_damaged(base, entry.path.as_bytes(), &row.hash)
        {
            let content = row.content();
            let same_mode = stored_mode(row.mode()) == stored_mode(entry.meta.mode);
            let id = self.push(state, entry, content.as_ref(), UNCHANGED, Some(base_row))?;
            let op = if same_mode {
                Op::Link { row: id, base: base_row }
            } else {
                Op::Copy { row: id, base: base_row, mode: entry.meta.mode }
            };
            state.gather(parent, op, &self.queue);
            state.count_file(len, Older::Unchanged);
            return Ok(Some((id, Decision::Done)));
        }
        match (hashed, self.adoptable(file)) {
            (Hashed::NotYet, Some(_)) => return Ok(None),
            (Hashed::Good, Some(adopted)) => {
                let id = self.push(state, entry, Some(&adopted.content), 0, base_row)?;
                let (path, content, mode) = (entry.path.clone(), adopted.content, entry.meta.mode);
                state.gather(parent, Op::Adopt { row: id, path, content, mode }, &self.queue);
                state.count_file(len, Older::of(old));
                return Ok(Some((id, Decision::Done)));
            }
            _ => {}
        }
        let basis = self.choose_basis(state, file);
        let id = self.push(state, entry, None, WAITING, base_row)?;
        state.count_file(len, Older::of(old));
        Ok(Some((id, Decision::Wanted(basis))))
    }

    /// Whether equal length and time prove equal content.
    fn is_settled(&self, entry: &Entry, scanned: Timestamp) -> bool {
        if self.audit.is_some_and(|slice| slice.contains(&entry.path)) {
            return false;
        }
        match entry.meta.freshness {
            Freshness::Settled => true,
            Freshness::Touched => false,
            Freshness::Unknown => entry.meta.mtime < scanned.before(UNSETTLED),
        }
    }

    fn adoptable(&self, file: &Offered<'_>) -> Option<AdoptedFile> {
        let adopted = self.adopted.as_ref()?;
        let id = adopted.find(&file.entry.path)?;
        let row = adopted.table.row(id)?;
        let unchanged = row.len == file.len
            && row.mtime() == file.entry.meta.mtime
            && file.entry.meta.freshness != Freshness::Touched
            && file.entry.meta.mtime < adopted.begun.before(UNSETTLED)
            && stored_mode(row.mode()) == stored_mode(file.entry.meta.mode);
        let content = row.content().filter(|_| unchanged)?;
        let place = self.places.of(file.entry.path.as_bytes()).into_owned();
        Some(AdoptedFile { content, place, tree: Arc::clone(&adopted.tree) })
    }

    fn hash_first(&self, file: &Offered<'_>) -> Result<Decision, TreeError> {
        self.adoptable(file).map_or_else(|| self.closed(), |adopted| Ok(Decision::Hash(adopted)))
    }

    /// The stored file that is most like the one to come.
    fn choose_basis(&self, state: &mut State, file: &Offered<'_>) -> Option<Arc<dyn Basis>> {
        let Offered { entry, len, base_row } = *file;
        if len == 0 {
            return None;
        }
        let path = entry.path.as_bytes();
        if let Some(adopted) = &self.adopted
            && let Some(row) = adopted.find(&entry.path).and_then(|id| adopted.table.row(id))
            && row.len > 0
        {
            return Some(self.basis(&adopted.tree, path, row.len));
        }
        let own = self
            .base
            .as_ref()
            .zip(base_row)
            .and_then(|(base, id)| Some((base, base.table.row(id)?)))
            .filter(|(_, row)| row.is_file() && row.len > 0);
        // Same name and length elsewhere: a file that was moved, or the same program updated on another site. Or a log that
        // happens to be as long: so the file's own older version counts as well.
        if own.is_none_or(|(_, row)| row.len != len)
            && let Some(namesake) = self.namesake(state, path, len, entry.meta.mtime)
        {
            return Some(match own {
                Some((base, row)) => Arc::new(Both(self.basis(&base.dir, path, row.len), namesake)),
                None => namesake,
            });
        }
        let partial = self.adopted.as_ref().and_then(|adopted| Some((adopted, adopted.partial(&entry.path)?)));
        match (own, partial) {
            (Some((_, row)), Some((adopted, (name, have)))) if have > row.len => {
                Some(self.partial_basis(adopted, name, &entry.path, have))
            }
            (None, Some((adopted, (name, have)))) => Some(self.partial_basis(adopted, name, &entry.path, have)),
            (Some((base, row)), _) => Some(self.basis(&base.dir, path, row.len)),
            (None, None) => None,
        }
    }

    fn namesake(&self, state: &mut State, path: &[u8], len: u64, mtime: Timestamp) -> Option<Arc<dyn Basis>> {
        let row = state.by_name.get(&self.name_key(path, len)).copied();
        let row =
            row.and_then(|id| Some((id, state.table.row(id)?))).filter(|(_, row)| row.has(STORED) && row.len == len);
        let (id, same_time) = row.map_or((None, false), |(id, row)| (Some(id), row.mtime() == mtime));
        let in_run = |state: &State| id.map(|id| self.basis(&self.staging.tree, state.table.path(id), len));
        if same_time {
            return in_run(state);
        }
        self.namesake_in_base(state, path, len, mtime).or_else(|| in_run(state))
    }

    fn namesake_in_base(&self, state: &mut State, path: &[u8], len: u64, mtime: Timestamp) -> Option<Arc<dyn Basis>> {
        let base = self.base.as_ref()?;
        let names = state.base_names.get_or_insert_with(|| self.index_names(base));
        let upper = self.name_key(path, len) >> 32;
        let start = names.partition_point(|&key| key >> 32 < upper);
        let name = handle::split(path).1;
        let mut best = None;
        for key in names.iter().skip(start).take_while(|&&key| key >> 32 == upper).take(MAX_NAMESAKES) {
            let id = *key as RowId;
            let Some(row) = base.table.row(id).filter(|row| row.len == len) else { continue };
            if handle::split(base.table.path(id)).1 == name {
                best = Some(id);
                if row.mtime() == mtime {
                    break;
                }
            }
        }
        best.map(|id| self.basis(&base.dir, base.table.path(id), len))
    }

    fn index_names(&self, base: &Base) -> Vec<u64> {
        let key = |id| {
            let row = base.table.row(id).filter(|row| row.is_file() && row.len > 0)?;
            Some(self.name_key(base.table.path(id), row.len) >> 32 << 32 | u64::from(id))
        };
        let mut names: Vec<_> = base.table.ids().filter_map(key).collect();
        names.sort_unstable();
        names
    }

    fn basis(&self, dir: &Arc<rustix::fd::OwnedFd>, path: &[u8], len: u64) -> Arc<dyn Basis> {
        let shown = RelPath::try_from(path).unwrap_or_default();
        Arc::new(StoredFile::new(Arc::clone(dir), self.places.of(path).into_owned(), shown, len))
    }

    fn partial_basis(&self, adopted: &super::adopt::Adopted, name: &[u8], path: &RelPath, len: u64) -> Arc<dyn Basis> {
        Arc::new(StoredFile::new(Arc::clone(&adopted.tmp), name.to_vec(), path.clone(), len))
    }
}

/// A file with content of its own, as it is offered.
#[derive(Clone, Copy)]
struct Offered<'a> {
    entry: &'a Entry,
    len: u64,
    base_row: Option<RowId>,
}

/// What the base has at the path of a file.
#[derive(Debug, Clone, Copy)]
enum Older {
    Different,
    Nothing,
    Unchanged,
}

impl Older {
    fn of(old: Option<&Row>) -> Self {
        if old.is_some() { Self::Different } else { Self::Nothing }
    }
}

impl State {
    fn count_file(&mut self, len: u64, older: Older) {
        self.tally.files += 1;
        self.tally.bytes += len;
        *match older {
            Older::Different => &mut self.tally.changed_files,
            Older::Nothing => &mut self.tally.added_files,
            Older::Unchanged => &mut self.tally.unchanged_files,
        } += 1;
    }
}

/// A path as it is seen inside its part of the snapshot (`files`, `databases`, ...): links may not lead from one to another.
pub(crate) fn within_part(path: &RelPath) -> RelPath {
    let bytes = path.as_bytes();
    bytes
        .iter()
        .position(|&b| b == b'/')
        .and_then(|at| RelPath::try_from(bytes.get(at + 1..)?).ok())
        .unwrap_or_else(|| path.clone())
}
