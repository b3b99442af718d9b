//! [`EntryDecoder`]: the file list, entry by entry.
//!
//! The options that decide the layout are always the same here: `-logDtprH`, no ACLs, no xattrs, no access or create
//! times, no checksums.

use super::{Cursor, Stop};
use crate::error::ProtocolError;
use bytes::Bytes;
use clonepanel_core::{
    entry::{DeviceNumber, LinkTarget},
    path::MAX_PATH_LEN,
    time::Timestamp,
};

pub(super) const SAME_MODE: u32 = 1 << 1;
pub(super) const EXTENDED_FLAGS: u32 = 1 << 2;
pub(super) const SAME_UID: u32 = 1 << 3;
pub(super) const SAME_GID: u32 = 1 << 4;
pub(super) const SAME_NAME: u32 = 1 << 5;
pub(super) const LONG_NAME: u32 = 1 << 6;
pub(super) const SAME_TIME: u32 = 1 << 7;
pub(super) const SAME_RDEV_MAJOR: u32 = 1 << 8;
pub(super) const HLINKED: u32 = 1 << 9;
const USER_NAME_FOLLOWS: u32 = 1 << 10;
const GROUP_NAME_FOLLOWS: u32 = 1 << 11;
pub(super) const HLINK_FIRST: u32 = 1 << 12;
const IO_ERROR_END: u32 = 1 << 12;
pub(super) const MOD_NSEC: u32 = 1 << 13;
/// Everything that may be set with the options above: what is left belongs to options that were not asked for.
const KNOWN_FLAGS: u32 = 0x3fff;

/// What decides the layout of a list, from the handshake.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing {
    pub(crate) protocol: u32,
    /// Flags are varints (compat bit 7).
    pub(crate) varint_flags: bool,
    /// The end marker can carry error bits.
    pub(crate) safe_end: bool,
    /// Names of ids ride in the entries (incremental recursion).
    pub(crate) inline_names: bool,
}

/// What a list has next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListItem {
    End { io_error: i32 },
    Entry(WireEntry),
}

/// An entry as it stands on the wire; its name is not validated yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WireEntry {
    pub(crate) name: Bytes,
    pub(crate) kind: WireKind,
    pub(crate) len: u64,
    pub(crate) mtime: Timestamp,
    /// Permission bits, at most 0o7777.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) user: Option<Bytes>,
    pub(crate) group: Option<Bytes>,
    /// For a member of a hard-link group: its number.
    pub(crate) link_group: Option<u32>,
}

/// What a [`WireEntry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WireKind {
    BlockDevice(DeviceNumber),
    CharDevice(DeviceNumber),
    Dir,
    Fifo,
    File,
    Socket,
    Symlink(LinkTarget),
}

/// Decodes entries; what one has in common with the one before runs on across lists.
#[derive(Debug)]
pub(crate) struct EntryDecoder {
    listing: Listing,
    name: Vec<u8>,
    mode: u32,
    mtime_secs: i64,
    uid: u32,
    gid: u32,
    rdev_major: u32,
}

impl EntryDecoder {
    pub(crate) const fn new(listing: Listing) -> Self {
        Self { listing, name: Vec::new(), mode: 0, mtime_secs: 0, uid: 0, gid: 0, rdev_major: 0 }
    }

    /// Reads the next item of a list whose first index is `start` and whose entries so far are `list`, in order of arrival.
    pub(crate) fn read(&mut self, cursor: &mut Cursor<'_>, start: u32, list: &[WireEntry]) -> Result<ListItem, Stop> {
        let flags = self.flags(cursor)?;
        if let Some(io_error) = self.end(cursor, flags)? {
            return Ok(ListItem::End { io_error });
        }
        if flags & !KNOWN_FLAGS != 0 {
            return Err(ProtocolError::Malformed("entry flags").into());
        }
        let name = self.read_name(cursor, flags)?;
        let mut link_group = None;
        if flags & HLINKED != 0 {
            let here = start.saturating_add(u32::try_from(list.len()).unwrap_or(u32::MAX));
            let number = if flags & HLINK_FIRST != 0 { here } else { cursor.count("hard-link group")? };
            if number > here || (number == here && flags & HLINK_FIRST == 0) {
                return Err(ProtocolError::Violation("a hard link to a later file").into());
            }
            link_group = Some(number);
            if flags & HLINK_FIRST == 0 && number >= start {
                let first = &list[(number - start) as usize];
                if first.link_group != Some(number) {
                    return Err(ProtocolError::Violation("a hard link to a file that has none").into());
                }
                let entry = WireEntry { name, ..first.clone() };
                self.carry(&entry, first_mode(&entry));
                return Ok(ListItem::Entry(entry));
            }
        }
        let (entry, mode) = self.body(cursor, flags, name, link_group)?;
        self.carry(&entry, mode);
        Ok(ListItem::Entry(entry))
    }

    fn flags(&self, cursor: &mut Cursor<'_>) -> Result<u32, Stop> {
        if self.listing.varint_flags {
            return cursor.count("entry flags");
        }
        let low = u32::from(cursor.byte()?);
        Ok(if low & EXTENDED_FLAGS != 0 { low | u32::from(cursor.byte()?) << 8 } else { low })
    }

    fn end(&self, cursor: &mut Cursor<'_>, flags: u32) -> Result<Option<i32>, Stop> {
        if flags == 0 {
            return Ok(Some(if self.listing.varint_flags { cursor.varint()? } else { 0 }));
        }
        if !self.listing.varint_flags && flags == (EXTENDED_FLAGS | IO_ERROR_END) {
            if !self.listing.safe_end {
                return Err(ProtocolError::Violation("an end marker that was not agreed on").into());
            }
            return Ok(Some(cursor.varint()?));
        }
        Ok(None)
    }

    fn read_name(&self, cursor: &mut Cursor<'_>, flags: u32) -> Result<Bytes, Stop> {
        let shared = if flags & SAME_NAME != 0 { usize::from(cursor.byte()?) } else { 0 };
        let len =
            if flags & LONG_NAME != 0 { cursor.count("name length")? as usize } else { usize::from(cursor.byte()?) };
        let prefix = self.name.get(..shared).ok_or(ProtocolError::Malformed("name prefix"))?;
        if shared + len > MAX_PATH_LEN || shared + len == 0 {
            return Err(ProtocolError::Malformed("name length").into());
        }
        let suffix = cursor.bytes(len)?;
        Ok([prefix, suffix].concat().into())
    }

    fn body(
        &self,
        cursor: &mut Cursor<'_>,
        flags: u32,
        name: Bytes,
        link_group: Option<u32>,
    ) -> Result<(WireEntry, u32), Stop> {
        let len = u64::try_from(cursor.varlong(3)?).map_err(|_| ProtocolError::Malformed("file length"))?;
        let secs = if flags & SAME_TIME != 0 { self.mtime_secs } else { cursor.varlong(4)? };
        let nanos = if flags & MOD_NSEC != 0 { cursor.count("nanoseconds")? } else { 0 };
        if nanos > 999_999_999 {
            return Err(ProtocolError::Malformed("nanoseconds").into());
        }
        let mode = if flags & SAME_MODE != 0 { self.mode } else { cursor.u32()? };
        let (uid, user) = self.id(cursor, flags, SAME_UID, USER_NAME_FOLLOWS, self.uid)?;
        let (gid, group) = self.id(cursor, flags, SAME_GID, GROUP_NAME_FOLLOWS, self.gid)?;
        let kind = self.kind(cursor, flags, mode)?;
        if link_group.is_some() && kind == WireKind::Dir {
            return Err(ProtocolError::Violation("a hard-linked directory").into());
        }
        let mtime = Timestamp::new(secs, nanos);
        let entry = WireEntry { name, kind, len, mtime, mode: mode & 0o7777, uid, gid, user, group, link_group };
        Ok((entry, mode))
    }

    fn id(
        &self,
        cursor: &mut Cursor<'_>,
        flags: u32,
        same: u32,
        named: u32,
        previous: u32,
    ) -> Result<(u32, Option<Bytes>), Stop> {
        if flags & same != 0 {
            return Ok((previous, None));
        }
        // Ids above 2^31 come as negative numbers.
        let id = cursor.varint()?.cast_unsigned();
        if flags & named == 0 {
            return Ok((id, None));
        }
        if !self.listing.inline_names {
            return Err(ProtocolError::Violation("a name where none was agreed on").into());
        }
        let len = usize::from(cursor.byte()?);
        Ok((id, Some(Bytes::copy_from_slice(cursor.bytes(len)?)).filter(|name| !name.is_empty())))
    }

    fn kind(&self, cursor: &mut Cursor<'_>, flags: u32, mode: u32) -> Result<WireKind, Stop> {
        let mut device = |is_special: bool| {
            if is_special && self.listing.protocol >= 31 {
                return Ok(DeviceNumber { major: 0, minor: 0 });
            }
            let major = if flags & SAME_RDEV_MAJOR != 0 { self.rdev_major } else { cursor.count("device number")? };
            Ok::<_, Stop>(DeviceNumber { major, minor: cursor.count("device number")? })
        };
        Ok(match mode & !0o7777 {
            0o040_000 => WireKind::Dir,
            0o100_000 => WireKind::File,
            0o020_000 => WireKind::CharDevice(device(false)?),
            0o060_000 => WireKind::BlockDevice(device(false)?),
            // Protocol 30 sends meaningless device numbers for these.
            0o010_000 => device(true).map(|_| WireKind::Fifo)?,
            0o140_000 => device(true).map(|_| WireKind::Socket)?,
            0o120_000 => {
                let len = cursor.count("link length")? as usize;
                if len > MAX_PATH_LEN {
                    return Err(ProtocolError::Malformed("link length").into());
                }
                let target = LinkTarget::new(Bytes::copy_from_slice(cursor.bytes(len)?));
                WireKind::Symlink(target.ok_or(ProtocolError::Malformed("link text"))?)
            }
            _ => return Err(ProtocolError::Malformed("file type").into()),
        })
    }

    fn carry(&mut self, entry: &WireEntry, mode: u32) {
        self.name.clear();
        self.name.extend_from_slice(&entry.name);
        self.mode = mode;
        self.mtime_secs = entry.mtime.secs();
        self.uid = entry.uid;
        self.gid = entry.gid;
        if let WireKind::BlockDevice(device) | WireKind::CharDevice(device) = &entry.kind {
            self.rdev_major = device.major;
        }
    }
}

/// The mode with its type bits, for an entry that was copied from the first one of its group.
const fn first_mode(entry: &WireEntry) -> u32 {
    let kind = match entry.kind {
        WireKind::BlockDevice(_) => 0o060_000,
        WireKind::CharDevice(_) => 0o020_000,
        WireKind::Dir => 0o040_000,
        WireKind::Fifo => 0o010_000,
        WireKind::File => 0o100_000,
        WireKind::Socket => 0o140_000,
        WireKind::Symlink(_) => 0o120_000,
    };
    kind | entry.mode
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODERN: Listing = Listing { protocol: 32, varint_flags: true, safe_end: true, inline_names: true };

    fn decode(listing: Listing, bytes: &[u8]) -> Result<Vec<ListItem>, Stop> {
        let (mut decoder, mut cursor, mut entries, mut items) =
            (EntryDecoder::new(listing), Cursor::new(bytes), Vec::new(), Vec::new());
        while cursor.position() < bytes.len() {
            let item = decoder.read(&mut cursor, 1, &entries)?;
            if let ListItem::Entry(entry) = &item {
                entries.push(entry.clone());
            }
            items.push(item);
        }
        Ok(items)
    }

    /// A directory and a file as stock rsync 3.5.0 lists them.
    const LIST: &[u8] = &[
        0x19, 0x01, 0x2e, 0x00, 0x00, 0x10, 0x65, 0x01, 0xf1, 0x53, 0xed, 0x41, 0x00, 0x00, 0x18, 0x01, 0x61, 0x00,
        0x06, 0x00, 0x65, 0x00, 0xf1, 0x53, 0xa4, 0x81, 0x00, 0x00, 0x00, 0x00,
    ];

    #[test]
    fn a_captured_list() {
        let items = decode(MODERN, LIST).unwrap();
        let [ListItem::Entry(root), ListItem::Entry(file), ListItem::End { io_error: 0 }] = &items[..] else {
            panic!("{items:?}")
        };
        assert_eq!((&root.name[..], &root.kind, root.mode), (&b"."[..], &WireKind::Dir, 0o755));
        assert_eq!((&file.name[..], &file.kind, file.mode, file.len), (&b"a"[..], &WireKind::File, 0o644, 6));
        assert_eq!(file.mtime, Timestamp::from_secs(1_700_000_000));
    }

    #[test]
    fn an_incomplete_entry_consumes_nothing() {
        for len in 0..14 {
            let mut decoder = EntryDecoder::new(MODERN);
            assert_eq!(decoder.read(&mut Cursor::new(&LIST[..len]), 1, &[]), Err(Stop::More), "{len}");
            assert!(matches!(decoder.read(&mut Cursor::new(LIST), 1, &[]), Ok(ListItem::Entry(_))));
        }
    }

    #[test]
    fn byte_flags_and_error_marker() {
        let old = Listing { protocol: 31, varint_flags: false, ..MODERN };
        assert_eq!(decode(old, &[0]), Ok(vec![ListItem::End { io_error: 0 }]));
        assert_eq!(decode(old, &[0x04, 0x10, 0x01]), Ok(vec![ListItem::End { io_error: 1 }]));
        let unsafe_end = Listing { safe_end: false, ..old };
        assert!(matches!(decode(unsafe_end, &[0x04, 0x10, 0x01]), Err(Stop::Bad(_))));
    }

    #[test]
    fn hostile_entries_are_refused() {
        let with = |at: usize, value: u8| {
            let mut bytes = LIST.to_vec();
            bytes[at] = value;
            decode(MODERN, &bytes)
        };
        for (at, value) in [(11, 0xf1), (1, 0), (14, 0x38)] {
            assert!(with(at, value).is_err(), "{at}");
        }
        // A hard link to itself, to a later file, to a file without links.
        let head = [0x82, 0x18];
        assert!(matches!(decode(MODERN, &[&head[..], &[1, b'x', 1]].concat()), Err(Stop::Bad(_))));
        let after_root = [&LIST[..14], &[0x82, 0x18, 1, b'x', 1]].concat();
        assert!(matches!(decode(MODERN, &after_root), Err(Stop::Bad(_))));
    }

    proptest::proptest! {
        #[test]
        fn noise_never_panics(bytes: Vec<u8>, varint_flags: bool, protocol in 30_u32..33) {
            let _ = decode(Listing { protocol, varint_flags, ..MODERN }, &bytes);
        }
    }
}
