//! [`EntryEncoder`]: entries as a file list has them; the counterpart of [`EntryDecoder`](super::EntryDecoder).

use super::{
    Listing,
    entry::{
        EXTENDED_FLAGS, HLINK_FIRST, HLINKED, LONG_NAME, MOD_NSEC, SAME_GID, SAME_MODE, SAME_NAME, SAME_RDEV_MAJOR,
        SAME_TIME, SAME_UID,
    },
    integer::{put_varint, put_varlong},
};
use clonepanel_core::entry::{DeviceNumber, Entry, EntryKind};

/// The root of the transfer: what is deleted and listed begins here.
const TOP_DIR: u32 = 1 << 0;
/// With the one above: a directory that only leads to what is wanted, in which nothing is deleted.
const NO_CONTENT_DIR: u32 = 1 << 8;
/// The longest prefix that two names may share on the wire.
const MAX_SHARED: usize = 255;

/// The place of an entry among the names of one file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LinkPlace<'a> {
    /// It has no other.
    Alone,
    /// It is the first of several.
    First,
    /// It is a further name of `first`, which stands at `position` of the list, in the order of sending.
    Further { first: &'a Entry, position: u32 },
}

/// What a directory of the list stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// All that it holds is in the list.
    Listed,
    /// It only leads to what is in the list.
    Unlisted,
}

/// Encodes entries one after the other; what one has in common with the one before is left out.
#[derive(Debug)]
pub(crate) struct EntryEncoder {
    listing: Listing,
    name: Vec<u8>,
    mode: u32,
    mtime_secs: i64,
    uid: u32,
    gid: u32,
    rdev_major: u32,
}

impl EntryEncoder {
    pub(crate) const fn new(listing: Listing) -> Self {
        Self { listing, name: Vec::new(), mode: 0, mtime_secs: 0, uid: 0, gid: 0, rdev_major: 0 }
    }

    /// Appends an entry of a list that is not incremental.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, entry: &Entry, link: LinkPlace<'_>, content: Content) {
        let name = if entry.path.is_root() { b"." } else { entry.path.as_bytes() };
        // Everything but the name is that of the first one.
        let described = if let LinkPlace::Further { first, .. } = link { first } else { entry };
        let (meta, mode) = (&described.meta, file_type(&described.kind) | (described.meta.mode & 0o7777));
        let shared = self.name.iter().zip(name).take_while(|(a, b)| a == b).count().min(MAX_SHARED);
        let suffix = name.get(shared..).unwrap_or_default();

        let mut flags = match link {
            LinkPlace::Alone => 0,
            LinkPlace::First => HLINKED | HLINK_FIRST,
            LinkPlace::Further { .. } => HLINKED,
        };
        let mut set = |flag, is_set| flags |= if is_set { flag } else { 0 };
        let only_leads = entry.is_dir() && content == Content::Unlisted;
        set(TOP_DIR, entry.path.is_root() || only_leads);
        set(NO_CONTENT_DIR, only_leads);
        set(SAME_NAME, shared > 0);
        set(LONG_NAME, suffix.len() > 255);
        // Nothing stands before the first entry, even if it has zeros like the initial state.
        let has_former = !self.name.is_empty();
        set(SAME_MODE, has_former && mode == self.mode);
        set(SAME_UID, has_former && meta.uid == self.uid);
        set(SAME_GID, has_former && meta.gid == self.gid);
        set(SAME_TIME, has_former && meta.mtime.secs() == self.mtime_secs);
        set(MOD_NSEC, self.listing.protocol >= 31 && meta.mtime.nanos() > 0);
        let device = match &described.kind {
            EntryKind::BlockDevice(device) | EntryKind::CharDevice(device) => Some(*device),
            // Protocol 30 has a number for these too, which means nothing.
            EntryKind::Fifo | EntryKind::Socket if self.listing.protocol < 31 => {
                Some(DeviceNumber { major: self.rdev_major, minor: 0 })
            }
            _ => None,
        };
        set(SAME_RDEV_MAJOR, device.is_some_and(|device| has_former && device.major == self.rdev_major));

        self.put_flags(out, flags, entry.is_dir());
        if shared > 0 {
            out.push(shared as u8);
        }
        if flags & LONG_NAME != 0 {
            put_varint(out, suffix.len() as i32);
        } else {
            out.push(suffix.len() as u8);
        }
        out.extend_from_slice(suffix);
        if let LinkPlace::Further { position, .. } = link {
            put_varint(out, position.cast_signed());
        } else {
            self.put_body(out, entry, flags, mode, device);
        }

        self.name.clear();
        self.name.extend_from_slice(name);
        self.mode = mode;
        self.mtime_secs = meta.mtime.secs();
        self.uid = meta.uid;
        self.gid = meta.gid;
        if let Some(device) = device {
            self.rdev_major = device.major;
        }
    }

    /// Appends the end of the list.
    pub(crate) fn put_end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.listing.varint_flags { &[0, 0] } else { &[0] });
    }

    fn put_flags(&self, out: &mut Vec<u8>, flags: u32, is_dir: bool) {
        if self.listing.varint_flags {
            // A zero would be the end of the list.
            put_varint(out, if flags == 0 { EXTENDED_FLAGS } else { flags }.cast_signed());
            return;
        }
        let low = flags & 0xff;
        if flags > 0xff || (low == 0 && is_dir) {
            out.extend_from_slice(&((flags | EXTENDED_FLAGS) as u16).to_le_bytes());
        } else {
            // For what is no directory this one means nothing.
            out.push(if low == 0 { TOP_DIR } else { low } as u8);
        }
    }

    fn put_body(&self, out: &mut Vec<u8>, entry: &Entry, flags: u32, mode: u32, device: Option<DeviceNumber>) {
        let meta = &entry.meta;
        let len = match &entry.kind {
            EntryKind::File { len, .. } => i64::try_from(*len).unwrap_or(i64::MAX),
            EntryKind::Symlink(target) => target.as_bytes().len() as i64,
            _ => 0,
        };
        put_varlong(out, len, 3);
        if flags & SAME_TIME == 0 {
            put_varlong(out, meta.mtime.secs(), 4);
        }
        if flags & MOD_NSEC != 0 {
            put_varint(out, meta.mtime.nanos().cast_signed());
        }
        if flags & SAME_MODE == 0 {
            out.extend_from_slice(&mode.to_le_bytes());
        }
        if flags & SAME_UID == 0 {
            put_varint(out, meta.uid.cast_signed());
        }
        if flags & SAME_GID == 0 {
            put_varint(out, meta.gid.cast_signed());
        }
        if let Some(device) = device {
            if flags & SAME_RDEV_MAJOR == 0 {
                put_varint(out, device.major.cast_signed());
            }
            put_varint(out, device.minor.cast_signed());
        }
        if let EntryKind::Symlink(target) = &entry.kind {
            put_varint(out, target.as_bytes().len() as i32);
            out.extend_from_slice(target.as_bytes());
        }
    }
}

/// The type bits of a mode.
const fn file_type(kind: &EntryKind) -> u32 {
    match kind {
        EntryKind::BlockDevice(_) => 0o060_000,
        EntryKind::CharDevice(_) => 0o020_000,
        EntryKind::Dir => 0o040_000,
        EntryKind::Fifo => 0o010_000,
        EntryKind::File { .. } => 0o100_000,
        EntryKind::Socket => 0o140_000,
        EntryKind::Symlink(_) => 0o120_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Cursor, EntryDecoder, ListItem, WireKind};
    use clonepanel_core::{
        entry::{EntryMeta, LinkTarget},
        path::RelPath,
        testkit::generator::{Devices, Shape},
        time::Timestamp,
    };
    use std::collections::HashMap;

    fn listing(protocol: u32, varint_flags: bool) -> Listing {
        Listing { protocol, varint_flags, safe_end: protocol >= 31, inline_names: false }
    }

    #[test]
    fn a_captured_list() {
        // As stock rsync 3.5.0 sends it with the letters -ltpr; here the owners come too.
        let meta = |mode, secs| EntryMeta { mode, mtime: Timestamp::from_secs(secs), ..EntryMeta::default() };
        let root = Entry { path: RelPath::root(), kind: EntryKind::Dir, meta: meta(0o755, 1_700_000_001) };
        let file =
            Entry { meta: meta(0o644, 1_700_000_000), ..Entry::file("a".try_into().unwrap(), 6, Timestamp::default()) };
        let (mut encoder, mut out) = (EntryEncoder::new(listing(32, true)), Vec::new());
        for entry in [&root, &file] {
            encoder.put(&mut out, entry, LinkPlace::Alone, Content::Listed);
        }
        encoder.put_end(&mut out);
        let expected: [&[u8]; 3] = [
            &[0x01, 0x01, 0x2e, 0, 0, 0, 0x65, 0x01, 0xf1, 0x53, 0xed, 0x41, 0, 0, 0, 0],
            &[0x18, 0x01, 0x61, 0, 6, 0, 0x65, 0x00, 0xf1, 0x53, 0xa4, 0x81, 0, 0],
            &[0, 0],
        ];
        assert_eq!(out, expected.concat());
    }

    #[test]
    fn whole_trees_round_trip_in_every_dialect() {
        for (seed, listing) in (0..).zip([listing(32, true), listing(31, false), listing(30, false)]) {
            let mut entries = Shape::new().devices(Devices::With).tree(seed).list();
            let long = RelPath::new([b"d".repeat(255), b"e".repeat(255), b"f".repeat(255)].join(&b'/')).unwrap();
            let far = EntryMeta { uid: u32::MAX, gid: 1 << 31, mtime: Timestamp::new(-5, 7), ..EntryMeta::default() };
            entries.push(Entry { path: long, kind: EntryKind::Symlink(LinkTarget::new("x").unwrap()), meta: far });
            assert_eq!(decoded(&encoded(&entries, listing), listing, &entries), entries.len(), "seed {seed}");
        }
    }

    fn encoded(entries: &[Entry], listing: Listing) -> Vec<u8> {
        let at: HashMap<_, _> = entries.iter().enumerate().map(|(at, entry)| (&entry.path, at)).collect();
        let (mut encoder, mut out) = (EntryEncoder::new(listing), Vec::new());
        for entry in entries {
            let is_first = entries.iter().any(
                |other| matches!(&other.kind, EntryKind::File { hardlink_to: Some(first), .. } if *first == entry.path),
            );
            let link = match &entry.kind {
                EntryKind::File { hardlink_to: Some(first), .. } => {
                    LinkPlace::Further { first: &entries[at[first]], position: at[first] as u32 }
                }
                _ if is_first => LinkPlace::First,
                _ => LinkPlace::Alone,
            };
            encoder.put(&mut out, entry, link, Content::Listed);
        }
        encoder.put_end(&mut out);
        out
    }

    fn decoded(bytes: &[u8], listing: Listing, entries: &[Entry]) -> usize {
        let (mut decoder, mut cursor, mut got) = (EntryDecoder::new(listing), Cursor::new(bytes), Vec::new());
        loop {
            match decoder.read(&mut cursor, 0, &got).unwrap() {
                ListItem::End { io_error } => {
                    assert_eq!((io_error, cursor.position()), (0, bytes.len()));
                    return got.len();
                }
                ListItem::Entry(item) => {
                    let entry = &entries[got.len()];
                    let name = if entry.path.is_root() { b"." } else { entry.path.as_bytes() };
                    assert_eq!(&item.name[..], name);
                    let meta = &entry.meta;
                    assert_eq!((item.mode, item.uid, item.gid), (meta.mode, meta.uid, meta.gid), "{}", entry.path);
                    assert_eq!(item.mtime.secs(), meta.mtime.secs());
                    assert_eq!(item.mtime.nanos(), if listing.protocol < 31 { 0 } else { meta.mtime.nanos() });
                    let same = match (&item.kind, &entry.kind) {
                        (WireKind::BlockDevice(a), EntryKind::BlockDevice(b))
                        | (WireKind::CharDevice(a), EntryKind::CharDevice(b)) => a == b,
                        (WireKind::Symlink(a), EntryKind::Symlink(b)) => a == b,
                        (WireKind::File, EntryKind::File { len, hardlink_to }) => {
                            item.len == *len && (hardlink_to.is_none() || item.link_group.is_some())
                        }
                        (WireKind::Dir, EntryKind::Dir)
                        | (WireKind::Fifo, EntryKind::Fifo)
                        | (WireKind::Socket, EntryKind::Socket) => true,
                        _ => false,
                    };
                    assert!(same, "{item:?} is not {entry:?}");
                    got.push(item);
                }
            }
        }
    }
}
