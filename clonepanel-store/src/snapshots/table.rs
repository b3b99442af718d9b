//! [`Table`]: the records of one snapshot, held in little memory.

use bytes::Bytes;
use clonepanel_core::{
    digest::{ContentHash, FileDigest},
    entry::{DeviceNumber, Entry, EntryKind, EntryMeta, Freshness, LinkTarget},
    manifest::{Marks, Record},
    path::RelPath,
    time::Timestamp,
};
use std::{cmp::Ordering, collections::HashMap, sync::Arc};

/// Which row of a table.
pub(crate) type RowId = u32;

/// Records in about 64 bytes each besides their paths; the paths of a snapshot that has the same ones are shared.
#[derive(Debug, Default)]
pub(crate) struct Table {
    base: Option<Arc<Self>>,
    /// For each row that does not share its path: length (2 bytes) and path, then for a symbolic link its text and for a
    /// further name of a hard-link group the first one, in the same form.
    text: Vec<u8>,
    rows: Vec<Row>,
    owners: Vec<Owner>,
    known_owners: HashMap<Owner, u32>,
}

/// One record without its path.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) hash: [u8; 32],
    /// Length of the content; for a device its number.
    pub(crate) len: u64,
    secs: i64,
    nanos: u32,
    /// Where in `text`, or which row of the base.
    at: u32,
    owner: u32,
    mode: u16,
    pub(crate) kind: RowKind,
    pub(crate) flags: u8,
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowKind {
    BlockDevice,
    CharDevice,
    Dir,
    Fifo,
    /// A file with content of its own.
    File,
    /// A further name of a file.
    Link,
    Socket,
    Symlink,
}

/// Carried forward from the base.
pub(crate) const CARRIED: u8 = 1;
/// The content changed while it was read.
pub(crate) const TORN: u8 = 1 << 1;
/// The content has not arrived.
pub(crate) const WAITING: u8 = 1 << 2;
/// The content was stored by this run, as a file of its own, and is on its place.
pub(crate) const STORED: u8 = 1 << 3;
/// It could not be put on its place, though its content is known.
pub(crate) const LOST: u8 = 1 << 4;
/// What the content index has under this hash is full or wrong: the stored file takes its place there.
pub(crate) const SUCCEEDS: u8 = 1 << 5;
/// Counted as the base's file, unchanged.
pub(crate) const UNCHANGED: u8 = 1 << 6;
/// The path is that of a row of the base.
const SHARED: u8 = 1 << 7;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner {
    uid: u32,
    gid: u32,
    user: Option<Bytes>,
    group: Option<Bytes>,
}

impl Table {
    /// Nothing yet; paths of `base` are shared.
    pub(crate) fn new(base: Option<Arc<Self>>) -> Self {
        Self { base, ..Self::default() }
    }

    /// Adds an entry with what is known about its content. `shared` is the row of the base with the same path.
    ///
    /// `None` when the table is full.
    pub(crate) fn push(
        &mut self,
        entry: &Entry,
        content: Option<&FileDigest>,
        flags: u8,
        shared: Option<RowId>,
    ) -> Option<RowId> {
        let id = u32::try_from(self.rows.len()).ok()?;
        let (kind, extra): (_, Option<&[u8]>) = match &entry.kind {
            EntryKind::BlockDevice(_) => (RowKind::BlockDevice, None),
            EntryKind::CharDevice(_) => (RowKind::CharDevice, None),
            EntryKind::Dir => (RowKind::Dir, None),
            EntryKind::Fifo => (RowKind::Fifo, None),
            EntryKind::File { hardlink_to: None, .. } => (RowKind::File, None),
            EntryKind::File { hardlink_to: Some(first), .. } => (RowKind::Link, Some(first.as_bytes())),
            EntryKind::Socket => (RowKind::Socket, None),
            EntryKind::Symlink(target) => (RowKind::Symlink, Some(target.as_bytes())),
        };
        let shared = shared.filter(|_| extra.is_none());
        let at = match shared {
            Some(row) => row,
            None => self.add_text(entry.path.as_bytes(), extra)?,
        };
        let len = match entry.kind {
            EntryKind::BlockDevice(number) | EntryKind::CharDevice(number) => {
                u64::from(number.major) << 32 | u64::from(number.minor)
            }
            _ => content.map(|content| content.len).or(entry.len()).unwrap_or_default(),
        };
        let owner = self.owner(&entry.meta)?;
        self.rows.push(Row {
            hash: content.map_or([0; 32], |content| *content.hash.as_bytes()),
            len,
            secs: entry.meta.mtime.secs(),
            nanos: entry.meta.mtime.nanos(),
            at,
            owner,
            mode: u16::try_from(entry.meta.mode & 0o7777).unwrap_or_default(),
            kind,
            flags: if shared.is_some() { flags | SHARED } else { flags },
        });
        Some(id)
    }

    fn add_text(&mut self, path: &[u8], extra: Option<&[u8]>) -> Option<u32> {
        let at = u32::try_from(self.text.len()).ok()?;
        for part in [Some(path), extra].into_iter().flatten() {
            self.text.extend_from_slice(&u16::try_from(part.len()).ok()?.to_le_bytes());
            self.text.extend_from_slice(part);
        }
        Some(at)
    }

    fn owner(&mut self, meta: &EntryMeta) -> Option<u32> {
        // Most entries belong to the same owner as the one before.
        let is_same = |owner: &Owner| {
            owner.uid == meta.uid && owner.gid == meta.gid && owner.user == meta.user && owner.group == meta.group
        };
        if let Some(last) = self.rows.last()
            && self.owners.get(last.owner as usize).is_some_and(is_same)
        {
            return Some(last.owner);
        }
        // Names may be slices of large buffers.
        let own = |name: &Option<Bytes>| name.as_ref().map(|name| Bytes::copy_from_slice(name));
        let owner = Owner { uid: meta.uid, gid: meta.gid, user: own(&meta.user), group: own(&meta.group) };
        if let Some(&known) = self.known_owners.get(&owner) {
            return Some(known);
        }
        let id = u32::try_from(self.owners.len()).ok()?;
        self.owners.push(owner.clone());
        self.known_owners.insert(owner, id);
        Some(id)
    }

    /// Adds a record.
    pub(crate) fn push_record(&mut self, record: &Record) -> Option<RowId> {
        let Marks { carried, torn } = record.marks;
        let flags = if carried { CARRIED } else { 0 } | if torn { TORN } else { 0 };
        self.push(&record.entry, record.content.as_ref(), flags, None)
    }

    pub(crate) fn row_mut(&mut self, id: RowId) -> Option<&mut Row> {
        self.rows.get_mut(id as usize)
    }

    pub(crate) fn row(&self, id: RowId) -> Option<&Row> {
        self.rows.get(id as usize)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Every row's number.
    pub(crate) fn ids(&self) -> std::ops::Range<RowId> {
        0..u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// The path of a row.
    pub(crate) fn path(&self, id: RowId) -> &[u8] {
        match self.row(id) {
            Some(row) if row.flags & SHARED != 0 => self.base.as_ref().map_or(&[], |base| base.path(row.at)),
            Some(row) => self.part(row.at as usize),
            None => &[],
        }
    }

    /// The text of a symbolic link, or the first name of a hard-link group.
    pub(crate) fn extra(&self, id: RowId) -> &[u8] {
        match self.row(id) {
            Some(row) if matches!(row.kind, RowKind::Link | RowKind::Symlink) => {
                let path = self.part(row.at as usize);
                self.part(row.at as usize + 2 + path.len())
            }
            _ => &[],
        }
    }

    fn part(&self, at: usize) -> &[u8] {
        let len = match self.text.get(at..at + 2) {
            Some(&[low, high]) => usize::from(u16::from_le_bytes([low, high])),
            _ => 0,
        };
        self.text.get(at + 2..at + 2 + len).unwrap_or_default()
    }

    /// The row of a path, in a table whose rows are sorted. `near` is where the row before it was found.
    pub(crate) fn find(&self, path: &[u8], near: Option<RowId>) -> Option<RowId> {
        if let Some(next) = near.map(|near| near + 1)
            && next < self.ids().end
            && self.path(next) == path
        {
            return Some(next);
        }
        let ids = self.ids();
        let (mut low, mut high) = (ids.start, ids.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match compare(self.path(middle), path) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// All rows in the order of their paths.
    pub(crate) fn sorted(&self) -> Vec<RowId> {
        let mut ids: Vec<_> = self.ids().collect();
        ids.sort_unstable_by(|&a, &b| compare(self.path(a), self.path(b)));
        ids
    }

    /// The entry of a row as it was offered; its freshness is not kept.
    pub(crate) fn entry(&self, id: RowId) -> Option<Entry> {
        let row = self.row(id)?;
        let path = RelPath::try_from(self.path(id)).ok()?;
        let number = || DeviceNumber { major: (row.len >> 32) as u32, minor: row.len as u32 };
        let kind = match row.kind {
            RowKind::BlockDevice => EntryKind::BlockDevice(number()),
            RowKind::CharDevice => EntryKind::CharDevice(number()),
            RowKind::Dir => EntryKind::Dir,
            RowKind::Fifo => EntryKind::Fifo,
            RowKind::File => EntryKind::File { len: row.len, hardlink_to: None },
            RowKind::Link => {
                EntryKind::File { len: row.len, hardlink_to: Some(RelPath::try_from(self.extra(id)).ok()?) }
            }
            RowKind::Socket => EntryKind::Socket,
            RowKind::Symlink => EntryKind::Symlink(LinkTarget::new(Bytes::copy_from_slice(self.extra(id)))?),
        };
        let owner = self.owners.get(row.owner as usize)?;
        let meta = EntryMeta {
            mode: row.mode.into(),
            uid: owner.uid,
            gid: owner.gid,
            user: owner.user.clone(),
            group: owner.group.clone(),
            mtime: row.mtime(),
            freshness: Freshness::Unknown,
        };
        Some(Entry { path, kind, meta })
    }

    /// The record of a row.
    pub(crate) fn record(&self, id: RowId) -> Option<Record> {
        let row = self.row(id)?;
        let marks = Marks { carried: row.flags & CARRIED != 0, torn: row.flags & TORN != 0 };
        Some(Record { entry: self.entry(id)?, content: row.content(), marks })
    }
}

impl Row {
    /// Whether it is a regular file.
    pub(crate) const fn is_file(&self) -> bool {
        matches!(self.kind, RowKind::File | RowKind::Link)
    }

    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn mtime(&self) -> Timestamp {
        Timestamp::new(self.secs, self.nanos)
    }

    /// Permission bits as they were listed.
    pub(crate) const fn mode(&self) -> u32 {
        self.mode as u32
    }

    /// What is kept of a regular file.
    pub(crate) fn content(&self) -> Option<FileDigest> {
        self.is_file().then_some(FileDigest { len: self.len, hash: ContentHash::new(self.hash) })
    }

    pub(crate) fn set_content(&mut self, content: &FileDigest) {
        self.hash = *content.hash.as_bytes();
        self.len = content.len;
    }
}

/// The order of [`RelPath`]: `/` before every other byte.
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let shared = a.len().min(b.len());
    match a.iter().zip(b).position(|(a, b)| a != b) {
        None => a.len().cmp(&b.len()),
        Some(at) => {
            debug_assert!(at < shared);
            let weight =
                |path: &[u8]| path.get(at).map_or(0, |&byte| if byte == b'/' { 0 } else { u16::from(byte) + 1 });
            weight(a).cmp(&weight(b))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_small() {
        assert_eq!(size_of::<Row>(), 64);
    }

    proptest::proptest! {
        #[test]
        fn the_order_is_that_of_paths(a in "[a-c/.]{0,6}", b in "[a-c/.]{0,6}") {
            if let (Ok(x), Ok(y)) = (RelPath::try_from(&a[..]), RelPath::try_from(&b[..])) {
                proptest::prop_assert_eq!(compare(a.as_bytes(), b.as_bytes()), x.cmp(&y));
            }
        }
    }
}
