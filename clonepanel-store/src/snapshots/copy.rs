//! Copies of snapshots that another store has: contents are known by their hash.

use super::{
    content::{Linked, link, stored_mode},
    draft::Draft,
    offer::{AdoptedFile, Hashed},
    table::{CARRIED, RowKind, STORED, SUCCEEDS, TORN, WAITING},
    work::{or_damaged, store_copy},
};
use crate::{
    handle,
    stack::{DirStack, Missing},
};
use clonepanel_core::{
    digest::FileDigest,
    entry::EntryKind,
    manifest::{Marks, Record, encode_record},
    tree::{TreeError, Want},
};
use rustix::fd::OwnedFd;
use std::{io, sync::Arc};

/// The directories that a copy links from and to.
#[derive(Debug)]
pub(crate) struct CopyDirs {
    tree: DirStack,
    base: Option<DirStack>,
    adopted: Option<DirStack>,
}

impl CopyDirs {
    pub(crate) fn new(draft: &Draft) -> Self {
        let old = |dir: &Arc<OwnedFd>| DirStack::new(Arc::clone(dir), Missing::Fail);
        Self {
            tree: DirStack::new(Arc::clone(&draft.staging.tree), Missing::Make),
            base: draft.base.as_ref().map(|base| old(&base.dir)),
            adopted: draft.adopted.as_ref().map(|adopted| old(&adopted.tree)),
        }
    }
}

/// What records come to, in whatever order: shows that a copy has those that it was offered, before it is visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RecordSum {
    count: u64,
    sum: u128,
}

impl RecordSum {
    /// Adds a record as a manifest has it.
    pub(crate) fn add(&mut self, line: &[u8]) {
        let hash = blake3::hash(line);
        let half = hash.as_bytes().first_chunk().map_or(0, |half| u128::from_le_bytes(*half));
        self.sum = self.sum.wrapping_add(half);
        self.count += 1;
    }
}

impl Draft {
    /// Takes a record of the snapshot that this is a copy of.
    pub(crate) fn take_kept(&self, record: &Record, dirs: &mut CopyDirs) -> Result<Want, TreeError> {
        let want = self.decide_kept(record, dirs)?;
        let mut line = Vec::new();
        let path = || record.entry.path.clone();
        encode_record(record, &mut line)
            .map_err(|_| TreeError::Refused { path: path(), why: "no manifest can have its record" })?;
        self.lock().offered.add(&line);
        Ok(want)
    }

    /// Decides about a record of the snapshot that this is a copy of. Links at once what is here: what cannot be linked has to
    /// be asked for now.
    fn decide_kept(&self, record: &Record, dirs: &mut CopyDirs) -> Result<Want, TreeError> {
        let Record { entry, content, marks } = record;
        if !matches!(entry.kind, EntryKind::File { hardlink_to: None, .. }) {
            self.decide(entry, Hashed::NotYet)?;
            let mut state = self.lock();
            let row = state.by_path.get(&self.key(entry.path.as_bytes())).copied();
            if let Some(row) = row.and_then(|row| state.table.row_mut(row)) {
                row.flags |= flags_of(*marks);
            }
            return Ok(Want::Nothing);
        }
        let refused = |why| TreeError::Refused { path: entry.path.clone(), why };
        let content = content.ok_or_else(|| refused("the record of a file has no content"))?;
        let path = entry.path.as_bytes();
        self.check_free(entry)?;
        let here = self.link_here(record, &content, dirs);
        let here = here.map_err(|error| {
            // A full disk ends the writing for all.
            let again = io::Error::from(error.kind());
            self.fail("link", path, error);
            TreeError::from_io("link", &entry.path, again)
        })?;
        let mut guard = self.lock();
        let state = &mut *guard;
        let shared = self.base.as_ref().and_then(|base| base.table.find(path, state.near));
        state.near = shared.or(state.near);
        let flags = flags_of(*marks) | here.unwrap_or(WAITING);
        let row = self.push(state, entry, Some(&content), flags, shared)?;
        let key = self.key(path);
        state.by_path.insert(key, row);
        drop(guard);
        if here.is_some_and(|flags| flags & STORED != 0) {
            self.remember(row, &content, entry.meta.mode, STORED);
            self.staging.note(record.clone(), content);
        }
        Ok(if here.is_some() { Want::Nothing } else { Want::Data { basis: None } })
    }

    /// Links a content from wherever it is here; tells the flags of the new row, `None` if it is nowhere.
    fn link_here(&self, record: &Record, content: &FileDigest, dirs: &mut CopyDirs) -> io::Result<Option<u8>> {
        let (path, mode) = (record.entry.path.as_bytes(), record.entry.meta.mode);
        let place = self.places.of(path).into_owned();
        let (parent, name) = handle::split(&place);
        let to = dirs.tree.enter(parent)?;
        if let (Some(base), Some(from)) = (&self.base, &mut dirs.base)
            && let Some(row) = base.table.find(path, None).and_then(|row| base.table.row(row))
            && row.content() == Some(*content)
            && stored_mode(row.mode()) == stored_mode(mode)
            && let Ok(from) = from.enter(parent)
            && link(from, name, to, name, content.len, &self.limits)? == Linked::Done
        {
            return Ok(Some(0));
        }
        if let Some(from) = self.stored_alike(content, mode) {
            let (from_parent, from_name) = handle::split(&from);
            let from = handle::walk(&self.staging.tree, from_parent)?;
            if link(from, from_name, to, name, content.len, &self.limits)? == Linked::Done {
                return Ok(Some(0));
            }
        }
        match self.content.take(content, mode, to, name, &self.limits)? {
            Linked::Done => return Ok(Some(0)),
            // It has all the names that it can have: a successor, made from it.
            Linked::Full => {
                self.space.use_up(content.len, 1)?;
                let file = self.content.open(content, mode).or_else(or_damaged);
                let copied = file.and_then(|file| match file {
                    Some(file) => store_copy(file, to, name, content, mode, record.entry.meta.mtime),
                    None => or_damaged(io::ErrorKind::NotFound.into()),
                });
                match copied {
                    Ok(()) => return Ok(Some(STORED | SUCCEEDS)),
                    // One that cannot be read is not here.
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                    Err(error) => return Err(error),
                }
            }
            Linked::Absent | Linked::Wrong => {}
        }
        // What an interrupted try had stored.
        if let (Some(adopted), Some(from)) = (&self.adopted, &mut dirs.adopted)
            && let Some(row) = adopted.find(&record.entry.path).and_then(|row| adopted.table.row(row))
            && row.content() == Some(*content)
            && stored_mode(row.mode()) == stored_mode(mode)
            && AdoptedFile::new(*content, place.clone(), Arc::clone(&adopted.tree)).is_sound()?
            && link(from.enter(parent)?, name, to, name, content.len, &self.limits)? == Linked::Done
        {
            return Ok(Some(STORED));
        }
        Ok(None)
    }
}

fn flags_of(marks: Marks) -> u8 {
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    flag(marks.carried, CARRIED) | flag(marks.torn, TORN)
}

/// The first file of a copy that has no content here.
pub(crate) fn first_missing(draft: &Draft) -> Option<clonepanel_core::path::RelPath> {
    let state = draft.lock();
    let missing = state.table.ids().find(|&id| {
        state.table.row(id).is_some_and(|row| row.kind == RowKind::File && row.has(WAITING | super::table::LOST))
    });
    missing.map(|id| clonepanel_core::path::RelPath::try_from(state.table.path(id)).unwrap_or_default())
}
