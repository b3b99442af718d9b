//! One record as one line, in both directions.

use super::{
    ManifestError, Marks, Record,
    field::{
        parse_decimal, parse_decimal_u32, parse_hash, parse_mode, parse_text, parse_time, push_decimal, push_hash,
        push_mode, push_text, push_time,
    },
};
use crate::{
    digest::FileDigest,
    entry::{DeviceNumber, Entry, EntryKind, EntryMeta, Freshness, LinkTarget, is_owner_name},
    path::RelPath,
};
use bytes::Bytes;

/// Appends a record as one line, with its newline.
///
/// # Errors
/// [`ManifestError::Record`] when it cannot stand in a manifest: a regular file without a digest or anything else with one,
/// permission bits beyond 0o7777, an owner's name that is empty or longer than 255 bytes, a hard link to a name that does not
/// sort before it. Nothing is appended then.
pub fn encode_record(record: &Record, out: &mut Vec<u8>) -> Result<(), ManifestError> {
    check(record).map_err(|why| ManifestError::Record { why })?;
    let Record { entry: Entry { path, kind, meta }, content, marks } = record;
    out.push(letter(kind));
    out.push(b' ');
    push_mode(out, meta.mode);
    for (number, name) in [(meta.uid, &meta.user), (meta.gid, &meta.group)] {
        out.push(b' ');
        push_decimal(out, number.into());
        if let Some(name) = name {
            out.push(b':');
            push_text(out, name);
        }
    }
    out.push(b' ');
    push_time(out, meta.mtime);
    out.push(b' ');
    match kind {
        EntryKind::BlockDevice(number) | EntryKind::CharDevice(number) => {
            push_decimal(out, number.major.into());
            out.push(b':');
            push_decimal(out, number.minor.into());
            out.push(b' ');
        }
        EntryKind::Symlink(target) => {
            push_text(out, target.as_bytes());
            out.push(b' ');
        }
        EntryKind::File { len, hardlink_to } => {
            if let Some(content) = content {
                push_decimal(out, *len);
                out.push(b' ');
                push_hash(out, &content.hash);
                out.push(b' ');
                if content.len != *len {
                    out.extend_from_slice(b"stored=");
                    push_decimal(out, content.len);
                    out.push(b' ');
                }
            }
            if let Some(leader) = hardlink_to {
                out.extend_from_slice(b"link=");
                push_path(out, leader);
                out.push(b' ');
            }
        }
        EntryKind::Dir | EntryKind::Fifo | EntryKind::Socket => {}
    }
    if marks.carried {
        out.extend_from_slice(b"carried ");
    }
    if marks.torn {
        out.extend_from_slice(b"torn ");
    }
    push_path(out, path);
    out.push(b'\n');
    Ok(())
}

/// Reads one line, without its newline, as a record.
///
/// # Errors
/// [`ManifestError::Record`] for anything that [`encode_record`] does not write.
pub fn decode_record(line: &[u8]) -> Result<Record, ManifestError> {
    parse(line, &mut Owners::default()).map_err(|why| ManifestError::Record { why })
}

/// Reads only the path of a record's line, for searching in sorted lines.
///
/// # Errors
/// [`ManifestError::Record`] when there is none.
pub fn decode_path(line: &[u8]) -> Result<RelPath, ManifestError> {
    let field = line.rsplit(|&b| b == b' ').next().unwrap_or_default();
    parse_path(field).ok_or(ManifestError::Record { why: "its path is not one" })
}

/// The names of the owners of the line before: nearly always the same again, so their bytes are shared.
#[derive(Debug, Default)]
pub(super) struct Owners {
    user: Option<(Vec<u8>, Bytes)>,
    group: Option<(Vec<u8>, Bytes)>,
}

pub(super) fn parse(line: &[u8], owners: &mut Owners) -> Result<Record, &'static str> {
    let mut rest = Fields(Some(line));
    let kind = rest.next()?;
    let mode = parse_mode(rest.next()?).ok_or("its mode is not four octal digits")?;
    let (uid, user) = owner(rest.next()?, &mut owners.user).ok_or("its owner is malformed")?;
    let (gid, group) = owner(rest.next()?, &mut owners.group).ok_or("its group is malformed")?;
    let mtime = parse_time(rest.next()?).ok_or("its time is malformed")?;
    let mut content = None;
    let kind = match kind {
        b"b" => EntryKind::BlockDevice(device(rest.next()?)?),
        b"c" => EntryKind::CharDevice(device(rest.next()?)?),
        b"d" => EntryKind::Dir,
        b"p" => EntryKind::Fifo,
        b"s" => EntryKind::Socket,
        b"l" => {
            let target = parse_text(rest.next()?).and_then(LinkTarget::new);
            EntryKind::Symlink(target.ok_or("its link text is malformed")?)
        }
        b"f" => {
            let len = parse_decimal(rest.next()?).ok_or("its length is malformed")?;
            let hash = parse_hash(rest.next()?).ok_or("its hash is malformed")?;
            let mut digest = FileDigest { len, hash };
            if let Some(stored) = rest.after(b"stored=") {
                digest.len =
                    parse_decimal(stored).filter(|&stored| stored != len).ok_or("its stored length is malformed")?;
            }
            content = Some(digest);
            let leader = rest.after(b"link=").map(|leader| parse_path(leader).ok_or("its link is malformed"));
            EntryKind::File { len, hardlink_to: leader.transpose()? }
        }
        _ => return Err("its kind is not known"),
    };
    let marks = Marks { carried: rest.word(b"carried"), torn: rest.word(b"torn") };
    let path = parse_path(rest.next()?).ok_or("its path is malformed")?;
    if rest.0.is_some() {
        return Err("it has a field too many");
    }
    let meta = EntryMeta { mode, uid, gid, user, group, mtime, freshness: Freshness::Unknown };
    let record = Record { entry: Entry { path, kind, meta }, content, marks };
    check(&record)?;
    Ok(record)
}

/// The rules that hold for a record by itself.
fn check(record: &Record) -> Result<(), &'static str> {
    let Record { entry: Entry { path, kind, meta }, content, .. } = record;
    if meta.mode > 0o7777 {
        return Err("it has permission bits beyond 0o7777");
    }
    let named = |name: &Option<Bytes>| name.as_ref().is_none_or(|name| is_owner_name(name));
    if !named(&meta.user) || !named(&meta.group) {
        return Err("the name of its owner or group is empty or too long");
    }
    if path.is_root() && !matches!(kind, EntryKind::Dir) {
        return Err("a root that is not a directory");
    }
    match kind {
        EntryKind::File { .. } if content.is_none() => Err("a file without a digest"),
        EntryKind::File { hardlink_to: Some(leader), .. } if leader >= path => {
            Err("a further name that sorts before the first one")
        }
        EntryKind::File { .. } => Ok(()),
        _ if content.is_some() => Err("a digest for what has no content"),
        _ => Ok(()),
    }
}

const fn letter(kind: &EntryKind) -> u8 {
    match kind {
        EntryKind::BlockDevice(_) => b'b',
        EntryKind::CharDevice(_) => b'c',
        EntryKind::Dir => b'd',
        EntryKind::Fifo => b'p',
        EntryKind::File { .. } => b'f',
        EntryKind::Socket => b's',
        EntryKind::Symlink(_) => b'l',
    }
}

/// The root is `.`, which no other path can be.
pub(super) fn push_path(out: &mut Vec<u8>, path: &RelPath) {
    if path.is_root() { out.push(b'.') } else { push_text(out, path.as_bytes()) }
}

pub(super) fn parse_path(field: &[u8]) -> Option<RelPath> {
    if field == b"." {
        return Some(RelPath::root());
    }
    RelPath::new(parse_text(field)?).ok()
}

fn device(field: &[u8]) -> Result<DeviceNumber, &'static str> {
    let colon = field.iter().position(|&b| b == b':');
    colon
        .and_then(|colon| Some((parse_decimal_u32(field.get(..colon)?)?, parse_decimal_u32(field.get(colon + 1..)?)?)))
        .map(|(major, minor)| DeviceNumber { major, minor })
        .ok_or("its device number is malformed")
}

fn owner(field: &[u8], last: &mut Option<(Vec<u8>, Bytes)>) -> Option<(u32, Option<Bytes>)> {
    let Some(colon) = field.iter().position(|&b| b == b':') else {
        return Some((parse_decimal_u32(field)?, None));
    };
    let (number, name) = (parse_decimal_u32(field.get(..colon)?)?, field.get(colon + 1..)?);
    if let Some((_, bytes)) = last.as_ref().filter(|(text, _)| text == name) {
        return Some((number, Some(bytes.clone())));
    }
    let bytes = parse_text(name)?;
    *last = Some((name.to_vec(), bytes.clone()));
    Some((number, Some(bytes)))
}

/// The fields of a line that are still to come; `None` when the line is used up.
struct Fields<'a>(Option<&'a [u8]>);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<&'a [u8], &'static str> {
        let rest = self.0.ok_or("it has a field too few")?;
        let (field, rest) = Self::split(rest);
        self.0 = rest;
        Ok(field)
    }

    /// The value of an optional field that begins with `key`, unless it is the path (the last field).
    fn after(&mut self, key: &[u8]) -> Option<&'a [u8]> {
        let (field, rest) = Self::split(self.0?);
        let value = field.strip_prefix(key).filter(|_| rest.is_some())?;
        self.0 = rest;
        Some(value)
    }

    /// Whether an optional word comes next, which is not the path.
    fn word(&mut self, word: &[u8]) -> bool {
        let Some((field, rest @ Some(_))) = self.0.map(Self::split) else { return false };
        if field == word {
            self.0 = rest;
        }
        field == word
    }

    fn split(text: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
        match text.iter().position(|&b| b == b' ') {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        }
    }
}
