//! The listing: entries and problems in batches, each path as what it does not share with the one before.

use super::{
    content::{Packer, unpack},
    field::{Fields, put_bytes, put_number, put_time},
};
use crate::error::ProtocolError;
use bytes::Bytes;
use clonepanel_core::{
    entry::{DeviceNumber, Entry, EntryKind, EntryMeta, Freshness, LinkTarget, MAX_OWNER_LEN},
    path::{MAX_PATH_LEN, RelPath},
    problem::{Problem, ProblemKind},
    tree::Listed,
};

/// A batch is sent from this length on, in bytes before compression.
const FULL: usize = 64 << 10;
/// The longest batch, in bytes before compression: nothing listed is longer than 16 KiB.
pub(super) const MAX_BATCH: usize = 128 << 10;
/// The longest text of a symbolic link.
const MAX_TARGET: usize = 4095;
/// The longest explanation of a problem: 400 bytes, each of them escaped.
const MAX_DETAIL: usize = 1600;

const PROBLEM: u8 = 0;
const DIR: u8 = 1;
const FILE: u8 = 2;
const FURTHER_NAME: u8 = 3;
const SYMLINK: u8 = 4;
const FIFO: u8 = 5;
const SOCKET: u8 = 6;
const CHAR_DEVICE: u8 = 7;
const BLOCK_DEVICE: u8 = 8;

/// Gathers what is listed until it is worth a frame.
#[derive(Debug, Default)]
pub(super) struct Batch {
    text: Vec<u8>,
    last: RelPath,
}

impl Batch {
    pub(super) const fn is_full(&self) -> bool {
        self.text.len() >= FULL
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn push(&mut self, listed: &Listed) {
        match listed {
            Listed::Problem(problem) => {
                self.text.push(PROBLEM);
                self.put_path(&problem.path);
                put_problem(&mut self.text, problem);
            }
            Listed::Entry(entry) => self.push_entry(entry),
        }
    }

    fn push_entry(&mut self, entry: &Entry) {
        let Entry { path, kind, meta } = entry;
        self.text.push(match kind {
            EntryKind::Dir => DIR,
            EntryKind::File { hardlink_to: None, .. } => FILE,
            EntryKind::File { hardlink_to: Some(_), .. } => FURTHER_NAME,
            EntryKind::Symlink(_) => SYMLINK,
            EntryKind::Fifo => FIFO,
            EntryKind::Socket => SOCKET,
            EntryKind::CharDevice(_) => CHAR_DEVICE,
            EntryKind::BlockDevice(_) => BLOCK_DEVICE,
        });
        self.put_path(path);
        let text = &mut self.text;
        put_number(text, (meta.mode & 0o7777).into());
        put_number(text, meta.uid.into());
        put_number(text, meta.gid.into());
        for name in [&meta.user, &meta.group] {
            let name = name.as_deref().filter(|name| name.len() <= MAX_OWNER_LEN);
            put_bytes(text, name.unwrap_or_default());
        }
        put_time(text, meta.mtime);
        text.push(match meta.freshness {
            Freshness::Unknown => 0,
            Freshness::Settled => 1,
            Freshness::Touched => 2,
        });
        match kind {
            EntryKind::File { len, hardlink_to } => {
                put_number(text, *len);
                if let Some(first) = hardlink_to {
                    put_bytes(text, first.as_bytes());
                }
            }
            EntryKind::Symlink(target) => put_bytes(text, target.as_bytes()),
            EntryKind::CharDevice(device) | EntryKind::BlockDevice(device) => {
                put_number(text, device.major.into());
                put_number(text, device.minor.into());
            }
            EntryKind::Dir | EntryKind::Fifo | EntryKind::Socket => {}
        }
    }

    fn put_path(&mut self, path: &RelPath) {
        let (old, new) = (self.last.as_bytes(), path.as_bytes());
        let shared = old.iter().zip(new).take_while(|(a, b)| a == b).count();
        put_number(&mut self.text, shared as u64);
        put_bytes(&mut self.text, new.get(shared..).unwrap_or_default());
        self.last = path.clone();
    }

    /// The body of a frame; the batch is empty afterwards.
    pub(super) fn take(&mut self, packer: &mut Packer, out: &mut Vec<u8>) {
        packer.pack_into(&self.text, out);
        self.text.clear();
        self.last = RelPath::root();
    }
}

/// Reads the body of a frame.
pub(super) fn parse(body: &Bytes) -> Result<Vec<Listed>, ProtocolError> {
    let mut fields = Fields::new(unpack(body.clone(), MAX_BATCH)?);
    let mut listed = Vec::new();
    let mut last = RelPath::root();
    while !fields.is_empty() {
        let kind = fields.byte()?;
        last = path(&mut fields, &last)?;
        listed.push(if kind == PROBLEM {
            Listed::Problem(problem(&mut fields, last.clone())?)
        } else {
            Listed::Entry(entry(&mut fields, kind, last.clone())?)
        });
    }
    Ok(listed)
}

fn path(fields: &mut Fields, last: &RelPath) -> Result<RelPath, ProtocolError> {
    let bad = ProtocolError::Malformed("path");
    let shared = fields.number_to(MAX_PATH_LEN as u64, "path")? as usize;
    let (Some(shared), own) = (last.as_bytes().get(..shared), fields.bytes(MAX_PATH_LEN, "path")?) else {
        return Err(bad);
    };
    let path = if shared.is_empty() { RelPath::new(own) } else { RelPath::new([shared, &own].concat()) };
    path.map_err(|_| bad)
}

fn entry(fields: &mut Fields, kind: u8, path: RelPath) -> Result<Entry, ProtocolError> {
    let mode = fields.number_to(0o7777, "mode")? as u32;
    let (uid, gid) = (fields.number_u32()?, fields.number_u32()?);
    let mut name = || fields.bytes(MAX_OWNER_LEN, "name of an owner").map(|name| Some(name).filter(|n| !n.is_empty()));
    let (user, group) = (name()?, name()?);
    let mtime = fields.time()?;
    let freshness = match fields.byte()? {
        0 => Freshness::Unknown,
        1 => Freshness::Settled,
        2 => Freshness::Touched,
        _ => return Err(ProtocolError::Malformed("freshness")),
    };
    let kind = match kind {
        DIR => EntryKind::Dir,
        FILE => EntryKind::File { len: fields.number()?, hardlink_to: None },
        FURTHER_NAME => EntryKind::File { len: fields.number()?, hardlink_to: Some(fields.path()?) },
        SYMLINK => {
            let target = LinkTarget::new(fields.bytes(MAX_TARGET, "link")?);
            EntryKind::Symlink(target.ok_or(ProtocolError::Malformed("link"))?)
        }
        FIFO => EntryKind::Fifo,
        SOCKET => EntryKind::Socket,
        CHAR_DEVICE => EntryKind::CharDevice(device(fields)?),
        BLOCK_DEVICE => EntryKind::BlockDevice(device(fields)?),
        _ => return Err(ProtocolError::Malformed("kind of an entry")),
    };
    Ok(Entry { path, kind, meta: EntryMeta { mode, uid, gid, user, group, mtime, freshness } })
}

fn device(fields: &mut Fields) -> Result<DeviceNumber, ProtocolError> {
    Ok(DeviceNumber { major: fields.number_u32()?, minor: fields.number_u32()? })
}

const KINDS: [ProblemKind; 6] = [
    ProblemKind::Changed,
    ProblemKind::Failed,
    ProblemKind::Refused,
    ProblemKind::Unlisted,
    ProblemKind::Unreadable,
    ProblemKind::Vanished,
];

/// Appends a problem without its path.
pub(super) fn put_problem(out: &mut Vec<u8>, problem: &Problem) {
    // What is not known here counts as the worst.
    let kind = KINDS.iter().position(|kind| *kind == problem.kind).unwrap_or(3);
    out.push(kind as u8);
    put_bytes(out, problem.detail().as_bytes());
}

/// Reads what [`put_problem`] wrote.
pub(super) fn problem(fields: &mut Fields, path: RelPath) -> Result<Problem, ProtocolError> {
    let kind = KINDS.get(usize::from(fields.byte()?)).ok_or(ProtocolError::Malformed("kind of a problem"))?;
    let detail = fields.bytes(MAX_DETAIL, "explanation")?;
    // It was escaped where it was made, and is again here.
    let detail = clonepanel_core::escape::unescape(&detail).unwrap_or_else(|| detail.to_vec());
    Ok(Problem::new(path, *kind, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clonepanel_core::testkit::{block_on, generator::Shape};
    use clonepanel_core::tree::TreeSource;

    fn listing(seed: u64) -> Vec<Listed> {
        block_on(async {
            let tree = Shape::new().entries(200).tree(seed);
            let mut entries = tree.entries().await.unwrap();
            let mut listed = Vec::new();
            while let Some(next) = entries.next().await.unwrap() {
                listed.push(next);
            }
            listed.push(Listed::Problem(Problem::new(
                RelPath::try_from("a/b").unwrap(),
                ProblemKind::Unlisted,
                "a\x1b\\b",
            )));
            listed
        })
    }

    fn packed(listed: &[Listed]) -> Bytes {
        let (mut batch, mut out) = (Batch::default(), Vec::new());
        listed.iter().for_each(|listed| batch.push(listed));
        batch.take(&mut Packer::new(), &mut out);
        assert!(batch.is_empty());
        out.into()
    }

    #[test]
    fn everything_comes_back() {
        for seed in 0..20 {
            let listed = listing(seed);
            assert!(listed.len() > 50);
            assert_eq!(parse(&packed(&listed)).unwrap(), listed);
        }
    }

    #[test]
    fn what_leads_out_is_refused() {
        // A directory `..`, plain: form, kind, nothing shared, two bytes.
        let meta = [0, 0, 0, 0, 0, 0, 0, 0];
        for name in [&b"\x02.."[..], b"\x02/a", b"\x04a/..", b"\x02a\0"] {
            let body = [&[0, DIR, 0], name, &meta].concat();
            assert!(parse(&body.into()).is_err(), "{name:?}");
        }
        let body = [&[0, DIR, 0], &b"\x02ab"[..], &meta].concat();
        assert_eq!(parse(&body.into()).unwrap().len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn damage_never_panics(at: proptest::sample::Index, to: u8, cut: proptest::sample::Index) {
            let mut batch = Batch::default();
            listing(1).iter().for_each(|listed| batch.push(listed));
            let mut body = [&[0], &batch.text[..]].concat();
            let at = at.index(body.len());
            body[at] = to;
            body.truncate(cut.index(body.len()) + 1);
            let _ = parse(&body.into());
        }
    }
}
