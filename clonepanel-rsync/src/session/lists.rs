//! [`FileLists`]: the file lists of a session: order, numbering, validation, and which entries are still open.

use super::handshake::Agreed;
use crate::{
    error::ProtocolError,
    partial::{Partials, is_partial},
    wire::{self, Cursor, EntryDecoder, ListItem, Stop, WireEntry, WireKind},
};
use bytes::{Buf, Bytes, BytesMut};
use clonepanel_core::{
    entry::{Entry, EntryKind, EntryMeta, Freshness},
    path::RelPath,
    transport::PullRequest,
};
use std::collections::{HashMap, HashSet, VecDeque};

/// Entries that may wait at a time: a hostile server cannot fill the memory with lists that nobody asked for.
const MAX_WAITING: usize = 4 << 20;
/// What the entries that wait may take, counted with this much for each beside its name.
const MAX_WAITING_BYTES: usize = 512 << 20;
const ENTRY_BYTES: usize = 256;
/// Hard-link groups in one session.
const MAX_GROUPS: usize = 1 << 20;
/// Directories in one session.
const MAX_DIRS: usize = 4 << 20;
/// Names of users and groups.
const MAX_IDS: usize = 64 << 10;

/// An entry that is not taken into the tree, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The nearest place in the tree that can be named.
    pub(crate) at: RelPath,
    pub(crate) name: Bytes,
    pub(crate) why: &'static str,
}

#[derive(Debug)]
pub(crate) struct FileLists {
    request: PullRequest,
    partials: Partials,
    decoder: EntryDecoder,
    arriving: Option<Arriving>,
    lists: VecDeque<List>,
    count: u32,
    next_start: u32,
    dirs: Vec<Dir>,
    /// The first name of each hard-link group that was handed on.
    leaders: HashMap<u32, RelPath>,
    users: HashMap<u32, Bytes>,
    groups: HashMap<u32, Bytes>,
    waiting: usize,
    /// Bytes of the entries of the lists that are not finished.
    held: usize,
    /// The first list with entries that were not handed on.
    handing: usize,
    listed: u64,
    refusals: Vec<Refusal>,
    inc_recurse: bool,
    id0_names: bool,
    io_error: i32,
}

/// A list that is being received.
#[derive(Debug)]
struct Arriving {
    start: u32,
    dir: Option<RelPath>,
    is_refused: bool,
    entries: Vec<WireEntry>,
    bytes: usize,
    /// The id lists that follow a list which is not incremental: users, then groups.
    ids: Ids,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    NotYet,
    Users,
    Groups,
}

#[derive(Debug)]
struct List {
    start: u32,
    slots: Vec<Slot>,
    /// The next slot to hand on.
    next: usize,
    open: usize,
    bytes: usize,
}

#[derive(Debug)]
enum Slot {
    /// Handed on, not answered; whether it is a regular file with content of its own.
    Offered { is_file: bool },
    /// Its content was asked for, so many times.
    Requested { tries: u8 },
    /// Nothing more can happen to it.
    Settled,
    /// Not handed on yet.
    Waiting(Box<Entry>),
}

#[derive(Debug)]
struct Dir {
    path: RelPath,
    /// Whether it is part of the tree and its list may still come.
    is_open: bool,
    is_refused: bool,
}

impl FileLists {
    pub(crate) fn new(request: PullRequest, partials: Partials, agreed: &Agreed) -> Self {
        let start = u32::from(agreed.inc_recurse);
        let first = Arriving { start, dir: None, is_refused: false, entries: Vec::new(), bytes: 0, ids: Ids::NotYet };
        Self {
            request,
            partials,
            decoder: EntryDecoder::new(agreed.listing),
            arriving: Some(first),
            lists: VecDeque::new(),
            count: 0,
            next_start: start,
            dirs: Vec::new(),
            leaders: HashMap::new(),
            users: HashMap::new(),
            groups: HashMap::new(),
            waiting: 0,
            held: 0,
            handing: 0,
            listed: 0,
            refusals: Vec::new(),
            inc_recurse: agreed.inc_recurse,
            id0_names: agreed.id0_names,
            io_error: 0,
        }
    }

    /// The list of directory number `dir` begins.
    pub(crate) fn begin(&mut self, dir: u32) -> Result<(), ProtocolError> {
        let dir = self.dirs.get_mut(dir as usize).filter(|dir| dir.is_open);
        let dir = dir.ok_or(ProtocolError::Violation("a list of a directory that has none to come"))?;
        dir.is_open = false;
        self.arriving = Some(Arriving {
            start: self.next_start,
            dir: Some(dir.path.clone()),
            is_refused: dir.is_refused,
            entries: Vec::new(),
            bytes: 0,
            ids: Ids::NotYet,
        });
        Ok(())
    }

    /// Reads on in the list that is arriving; `true` when it is complete, `false` when more bytes are needed.
    pub(crate) fn read(&mut self, data: &mut BytesMut) -> Result<bool, ProtocolError> {
        while let Some(arriving) = &mut self.arriving {
            let mut cursor = Cursor::new(data);
            let step = if arriving.ids == Ids::NotYet {
                self.decoder.read(&mut cursor, arriving.start, &arriving.entries).map(Some)
            } else {
                self.read_id(&mut cursor).map(|()| None)
            };
            match step {
                Err(Stop::More) => return Ok(false),
                Err(Stop::Bad(error)) => return Err(error),
                Ok(item) => {
                    let len = cursor.position();
                    data.advance(len);
                    match item {
                        Some(ListItem::Entry(entry)) => self.take(entry)?,
                        Some(ListItem::End { io_error }) => self.end(io_error)?,
                        None => {}
                    }
                }
            }
        }
        Ok(true)
    }

    fn take(&mut self, entry: WireEntry) -> Result<(), ProtocolError> {
        let Some(arriving) = &mut self.arriving else { return Ok(()) };
        self.held += entry.name.len() + ENTRY_BYTES;
        arriving.bytes += entry.name.len() + ENTRY_BYTES;
        if self.waiting + arriving.entries.len() >= MAX_WAITING || self.held > MAX_WAITING_BYTES {
            return Err(ProtocolError::Violation("too many entries at a time"));
        }
        for (names, id, name) in
            [(&mut self.users, entry.uid, &entry.user), (&mut self.groups, entry.gid, &entry.group)]
        {
            if let Some(name) = name
                && names.len() < MAX_IDS
            {
                names.insert(id, name.clone());
            }
        }
        arriving.entries.push(entry);
        Ok(())
    }

    fn end(&mut self, io_error: i32) -> Result<(), ProtocolError> {
        self.io_error |= io_error & 7;
        if self.inc_recurse {
            return self.close();
        }
        if let Some(arriving) = &mut self.arriving {
            arriving.ids = Ids::Users;
        }
        Ok(())
    }

    fn read_id(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let id = cursor.varint()?.cast_unsigned();
        let is_end = id == 0;
        if !is_end || self.id0_names {
            let len = usize::from(cursor.byte()?);
            let name = Bytes::copy_from_slice(cursor.bytes(len)?);
            let is_users = self.arriving.as_ref().is_some_and(|arriving| arriving.ids == Ids::Users);
            let names = if is_users { &mut self.users } else { &mut self.groups };
            if !name.is_empty() && names.len() < MAX_IDS {
                names.insert(id, name);
            }
        }
        if is_end && let Some(arriving) = &mut self.arriving {
            if arriving.ids == Ids::Users {
                arriving.ids = Ids::Groups;
            } else {
                self.close()?;
            }
        }
        Ok(())
    }

    /// The list is complete: puts it in order, numbers its directories, and checks its entries.
    fn close(&mut self) -> Result<(), ProtocolError> {
        let Some(mut arriving) = self.arriving.take() else { return Ok(()) };
        arriving
            .entries
            .sort_by(|a, b| wire::compare((&a.name, a.kind == WireKind::Dir), (&b.name, b.kind == WireKind::Dir)));
        let len = u32::try_from(arriving.entries.len()).map_err(|_| ProtocolError::Violation("a list is too long"))?;
        let end = arriving.start.checked_add(len).filter(|end| *end < i32::MAX as u32 - 1);
        let end = end.ok_or(ProtocolError::Violation("too many entries"))?;
        let mut parents = HashSet::new();
        let mut seen = HashMap::new();
        let mut slots = Vec::with_capacity(arriving.entries.len());
        for wire in std::mem::take(&mut arriving.entries) {
            let is_dir = wire.kind == WireKind::Dir;
            // A directory that leads to several wanted paths is listed for each of them.
            let mut is_harmless = arriving.is_refused || self.is_left_out(&wire.name);
            let accepted =
                self.accept(&wire, &arriving, &parents).and_then(|path| match seen.insert(path.clone(), is_dir) {
                    None => Ok(path),
                    Some(was_dir) => {
                        is_harmless |= is_dir && was_dir;
                        Err("it is listed twice")
                    }
                });
            if is_dir {
                self.number(accepted.as_ref().ok())?;
            }
            slots.push(match accepted {
                Ok(path) => {
                    if is_dir && arriving.dir.is_none() {
                        parents.insert(path.clone());
                    }
                    Slot::Waiting(Box::new(self.entry(wire, path)))
                }
                Err(why) => {
                    if !is_harmless {
                        let at = arriving.dir.clone().unwrap_or_default();
                        self.refusals.push(Refusal { at, name: wire.name, why });
                    }
                    Slot::Settled
                }
            });
        }
        let open = slots.iter().filter(|slot| matches!(slot, Slot::Waiting(_))).count();
        self.waiting += open;
        self.listed += u64::from(len);
        self.count += 1;
        self.next_start = end + 1;
        self.lists.push_back(List { start: arriving.start, slots, next: 0, open, bytes: arriving.bytes });
        Ok(())
    }

    fn number(&mut self, path: Option<&RelPath>) -> Result<(), ProtocolError> {
        if self.dirs.len() >= MAX_DIRS {
            return Err(ProtocolError::Violation("too many directories"));
        }
        let is_refused = path.is_none();
        self.dirs.push(Dir { path: path.cloned().unwrap_or_default(), is_open: self.inc_recurse, is_refused });
        Ok(())
    }

    /// Checks the place of an entry: a valid path, asked for, in a directory of the tree (CVE-2022-29154, CVE-2024-12087).
    fn accept(
        &self,
        wire: &WireEntry,
        arriving: &Arriving,
        parents: &HashSet<RelPath>,
    ) -> Result<RelPath, &'static str> {
        let is_dir = wire.kind == WireKind::Dir;
        if &wire.name[..] == b"." {
            let is_first = arriving.dir.is_none();
            // CVE-2026-70459: the root must be a directory.
            return if is_first && is_dir { Ok(RelPath::root()) } else { Err("a root where none can be") };
        }
        let path = RelPath::new(wire.name.clone()).map_err(|_| "its name is not allowed")?;
        if self.is_left_out(&wire.name) {
            return Err("it is only half of a file");
        }
        let parent = path.parent().unwrap_or_default();
        let has_parent = match &arriving.dir {
            Some(dir) => !arriving.is_refused && parent == *dir,
            None => parent.is_root() || parents.contains(&parent),
        };
        if !has_parent {
            return Err("it is not in a directory of the list");
        }
        // With the directory that it is in accepted, there is nothing more to ask about its parents.
        let is_covered = if self.request.wanted_paths().is_empty() {
            !self.request.wanted_filter().excludes(&path, is_dir)
        } else {
            self.request.covers(&path, is_dir)
        };
        if is_covered { Ok(path) } else { Err("it was not asked for") }
    }

    /// What a push left half sent is no part of the tree.
    fn is_left_out(&self, name: &[u8]) -> bool {
        self.partials == Partials::LeftOut && is_partial(name)
    }

    fn entry(&mut self, wire: WireEntry, path: RelPath) -> Entry {
        let mut hardlink_to = None;
        if let Some(group) = wire.link_group
            && wire.kind == WireKind::File
        {
            match self.leaders.get(&group) {
                Some(leader) => hardlink_to = Some(leader.clone()),
                // Without a place to remember it, each name of the group is a file of its own.
                None if self.leaders.len() >= MAX_GROUPS => {}
                None => {
                    self.leaders.insert(group, path.clone());
                }
            }
        }
        let kind = match wire.kind {
            WireKind::BlockDevice(device) => EntryKind::BlockDevice(device),
            WireKind::CharDevice(device) => EntryKind::CharDevice(device),
            WireKind::Dir => EntryKind::Dir,
            WireKind::Fifo => EntryKind::Fifo,
            WireKind::File => EntryKind::File { len: wire.len, hardlink_to },
            WireKind::Socket => EntryKind::Socket,
            WireKind::Symlink(target) => EntryKind::Symlink(target),
        };
        let meta = EntryMeta {
            mode: wire.mode,
            uid: wire.uid,
            gid: wire.gid,
            user: self.users.get(&wire.uid).cloned(),
            group: self.groups.get(&wire.gid).cloned(),
            mtime: wire.mtime,
            freshness: Freshness::Unknown,
        };
        Entry { path, kind, meta }
    }

    /// The next entry to be offered, in the order of the lists.
    pub(crate) fn next_entry(&mut self) -> Option<(u32, Entry)> {
        while let Some(list) = self.lists.get_mut(self.handing) {
            while let Some(slot) = list.slots.get_mut(list.next) {
                let index = list.start + list.next as u32;
                list.next += 1;
                if let Slot::Waiting(_) = slot
                    && let Slot::Waiting(entry) = std::mem::replace(slot, Slot::Settled)
                {
                    *slot = Slot::Offered { is_file: entry.has_content() };
                    return Some((index, *entry));
                }
            }
            self.handing += 1;
        }
        None
    }

    /// Notes that the content of an entry is asked for, at most twice.
    pub(crate) fn request(&mut self, index: u32) -> Result<(), ProtocolError> {
        match self.slot(index) {
            Some(slot @ Slot::Offered { is_file: true }) => *slot = Slot::Requested { tries: 1 },
            Some(Slot::Requested { tries: tries @ 1 }) => *tries = 2,
            _ => return Err(ProtocolError::Violation("a request that cannot be made")),
        }
        Ok(())
    }

    /// Whether the content of an entry was asked for twice already.
    pub(crate) fn is_exhausted(&mut self, index: u32) -> bool {
        !matches!(self.slot(index), Some(Slot::Requested { tries: 1 }))
    }

    /// Nothing more will happen to this entry.
    pub(crate) fn settle(&mut self, index: u32) {
        let Some(list) = self.list(index) else { return };
        let slot = &mut list.slots[(index - list.start) as usize];
        if !matches!(slot, Slot::Settled) {
            *slot = Slot::Settled;
            list.open -= 1;
            self.waiting -= 1;
        }
    }

    /// Forgets the oldest list if nothing in it is open any more.
    pub(crate) fn finish_oldest(&mut self) -> bool {
        let is_finished = self.lists.front().is_some_and(|list| list.open == 0);
        if is_finished && let Some(list) = self.lists.pop_front() {
            self.held -= list.bytes;
            self.handing = self.handing.saturating_sub(1);
        }
        is_finished
    }

    /// Whether all lists that arrived are finished.
    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.arriving.is_none()
    }

    /// How many lists arrived.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Whether not a single entry was listed.
    pub(crate) const fn has_nothing(&self) -> bool {
        self.count == 1 && self.listed == 0
    }

    /// The directories that were listed.
    pub(crate) fn dirs(&self) -> HashSet<RelPath> {
        self.dirs.iter().filter(|dir| !dir.is_refused).map(|dir| dir.path.clone()).collect()
    }

    /// Error bits of all lists: 1 general, 2 vanished, 4 deletions skipped.
    pub(crate) const fn io_error(&self) -> i32 {
        self.io_error
    }

    /// Entries that were refused since the last call.
    pub(crate) fn take_refusals(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.refusals)
    }

    fn list(&mut self, index: u32) -> Option<&mut List> {
        let after = self.lists.partition_point(|list| list.start <= index);
        let list = self.lists.get_mut(after.checked_sub(1)?)?;
        ((index - list.start) as usize).lt(&list.slots.len()).then_some(list)
    }

    fn slot(&mut self, index: u32) -> Option<&mut Slot> {
        let list = self.list(index)?;
        let start = list.start;
        list.slots.get_mut((index - start) as usize)
    }
}
