//! [`Outgoing`]: the file list that we send: its bytes, its order, and what may still be asked of each entry.

use super::handshake::Agreed;
use crate::{
    error::ProtocolError,
    wire::{self, Content, EntryEncoder, LinkPlace, put_varint},
};
use bytes::Bytes;
use clonepanel_core::{
    entry::{Entry, EntryKind, EntryMeta, MAX_OWNER_LEN},
    path::RelPath,
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A content is asked for once, and once more when it did not pass the check.
const MAX_TRIES: u8 = 2;
/// What else a receiver may say about one entry.
const MAX_REMARKS: u8 = 8;

/// Entries by their index on the wire.
#[derive(Debug)]
pub(super) struct Outgoing {
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    /// Its position among the entries that were given.
    entry: u32,
    is_file: bool,
    tries: u8,
    remarks: u8,
}

impl Outgoing {
    /// Appends a list of these entries to `out`. Each parent stands before its children and each further name of a file behind
    /// the first one, which is among them.
    /// `wanted` are the paths that alone are written, if there are some.
    pub(super) fn put(entries: &[Entry], wanted: &[RelPath], agreed: &Agreed, out: &mut Vec<u8>) -> Self {
        let mut firsts: HashMap<&RelPath, Option<u32>> = HashMap::new();
        for entry in entries {
            if let EntryKind::File { hardlink_to: Some(first), .. } = &entry.kind {
                firsts.insert(first, None);
            }
        }
        let mut encoder = EntryEncoder::new(agreed.listing);
        for (position, entry) in (0_u32..).zip(entries) {
            let mut link = LinkPlace::Alone;
            if let EntryKind::File { hardlink_to: Some(first), .. } = &entry.kind {
                if let Some(Some(position)) = firsts.get(first) {
                    link = LinkPlace::Further { first: &entries[*position as usize], position: *position };
                }
            } else if let Some(place) = firsts.get_mut(&entry.path).filter(|_| entry.has_content()) {
                *place = Some(position);
                link = LinkPlace::First;
            }
            let is_wanted = wanted.is_empty() || wanted.iter().any(|wanted| entry.path.is_within(wanted));
            encoder.put(out, entry, link, if is_wanted { Content::Listed } else { Content::Unlisted });
        }
        encoder.put_end(out);
        put_names(entries, agreed, out, |meta| (meta.uid, &meta.user));
        put_names(entries, agreed, out, |meta| (meta.gid, &meta.group));

        let slot = |(entry, is_file)| Slot { entry, is_file, tries: 0, remarks: 0 };
        let mut slots: Vec<_> = (0_u32..).zip(entries.iter().map(|entry| entry.len().is_some())).map(slot).collect();
        let name = |slot: &Slot| {
            let entry = &entries[slot.entry as usize];
            (if entry.path.is_root() { &b"."[..] } else { entry.path.as_bytes() }, entry.is_dir())
        };
        slots.sort_by(|a, b| wire::compare(name(a), name(b)));
        Self { slots }
    }

    /// The peer asks for the content of an entry; gives its position.
    pub(super) fn ask(&mut self, index: u32) -> Result<usize, ProtocolError> {
        let slot = self.slot(index)?;
        if !slot.is_file {
            return Err(ProtocolError::Violation("a request for the content of what is no file"));
        }
        slot.tries += 1;
        if slot.tries > MAX_TRIES {
            return Err(ProtocolError::Violation("a file is asked for without end"));
        }
        Ok(slot.entry as usize)
    }

    /// The peer says something about an entry.
    pub(super) fn remark(&mut self, index: u32) -> Result<(), ProtocolError> {
        let slot = self.slot(index)?;
        slot.remarks += 1;
        if slot.remarks > MAX_REMARKS {
            return Err(ProtocolError::Violation("remarks without end"));
        }
        Ok(())
    }

    fn slot(&mut self, index: u32) -> Result<&mut Slot, ProtocolError> {
        self.slots.get_mut(index as usize).ok_or(ProtocolError::Violation("an entry that was not listed"))
    }
}

/// The names of the ids in a list, each once.
fn put_names<'a>(
    entries: &'a [Entry],
    agreed: &Agreed,
    out: &mut Vec<u8>,
    id_and_name: impl Fn(&'a EntryMeta) -> (u32, &'a Option<Bytes>),
) {
    let (mut names, mut seen) = (BTreeMap::new(), HashSet::new());
    for entry in entries {
        let (id, name) = id_and_name(&entry.meta);
        if let Some(name) = name
            && (1..=MAX_OWNER_LEN).contains(&name.len())
            && !name.contains(&0)
            && seen.insert(id)
        {
            names.insert(id, name);
        }
    }
    let put_name = |out: &mut Vec<u8>, name: &[u8]| {
        out.push(name.len() as u8);
        out.extend_from_slice(name);
    };
    let root = names.remove(&0);
    for (id, name) in names {
        put_varint(out, id.cast_signed());
        put_name(out, name);
    }
    put_varint(out, 0);
    if agreed.id0_names {
        put_name(out, root.map_or(&[], |name| &name[..]));
    }
}
