//! Reading a master file (RFC 1035, section 5).

use super::{
    data::RecordData,
    name::{DomainName, unescape},
    record_type::RecordType,
    set::RecordSet,
    words::seconds,
    zone::{Revision, Zone},
};
use crate::escape::Escaped;
use bytes::Bytes;
use std::collections::BTreeMap;

/// The longest master file, in bytes, that is read.
pub const MAX_ZONE_FILE_LEN: usize = 64 << 20;

/// Why a text is not a master file that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
#[non_exhaustive]
pub struct ZoneFileError {
    /// Where, counted from 1.
    pub line: usize,
    /// What is wrong there; escaped.
    pub what: String,
}

impl Zone {
    /// Reads a master file: comments, quotes, escapes, parentheses, `$TTL`, `$ORIGIN`, `@`, names and times left out. `name` is
    /// the first origin; the revision is the serial of the SOA, or `-` without one. A set whose records have different times
    /// to live gets the shortest.
    ///
    /// # Errors
    /// [`ZoneFileError`] names the first line that cannot be read; `$INCLUDE` and `$GENERATE` are refused.
    pub fn parse(name: &DomainName, text: &[u8]) -> Result<Self, ZoneFileError> {
        if text.len() > MAX_ZONE_FILE_LEN {
            return Err(ZoneFileError { line: 1, what: format!("longer than {MAX_ZONE_FILE_LEN} bytes") });
        }
        let mut file = File { origin: name.clone(), owner: None, ttl: None, last_ttl: None, found: BTreeMap::new() };
        let mut lexer = Lexer { rest: text, line: 1, start: 1 };
        loop {
            match lexer.entry().and_then(|entry| entry.map(|entry| file.take(&entry)).transpose()) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(what) => return Err(ZoneFileError { line: lexer.start, what }),
            }
        }
        file.zone(name).map_err(|what| ZoneFileError { line: lexer.line, what })
    }
}

/// A word as it stands in the file; quotes are taken off and remembered, escapes are left.
struct Word {
    raw: Vec<u8>,
    quoted: bool,
}

/// What stands on one line, or on several between parentheses.
struct Entry {
    /// The line begins with white space: the name is the one before.
    indented: bool,
    words: Vec<Word>,
}

struct Lexer<'a> {
    rest: &'a [u8],
    line: usize,
    /// Where the entry began.
    start: usize,
}

impl Lexer<'_> {
    fn entry(&mut self) -> Result<Option<Entry>, String> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            self.start = self.line;
            let indented = matches!(self.rest.first(), Some(b' ' | b'\t'));
            let words = self.words()?;
            if !words.is_empty() {
                return Ok(Some(Entry { indented, words }));
            }
        }
    }

    fn words(&mut self) -> Result<Vec<Word>, String> {
        let mut words = Vec::new();
        let mut depth = 0usize;
        while let Some((&byte, after)) = self.rest.split_first() {
            self.rest = after;
            match byte {
                b'\n' => {
                    self.line += 1;
                    if depth == 0 {
                        return Ok(words);
                    }
                }
                b' ' | b'\t' | b'\r' => {}
                b';' => {
                    let end = self.rest.iter().position(|&byte| byte == b'\n').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                }
                b'(' => depth += 1,
                b')' => depth = depth.checked_sub(1).ok_or("a parenthesis closes that was not opened")?,
                b'"' => words.push(self.quoted()?),
                byte => words.push(self.word(byte)?),
            }
        }
        if depth > 0 { Err("a parenthesis is not closed".to_owned()) } else { Ok(words) }
    }

    fn quoted(&mut self) -> Result<Word, String> {
        let mut raw = Vec::new();
        while let Some((&byte, after)) = self.rest.split_first() {
            self.rest = after;
            match byte {
                b'"' => return Ok(Word { raw, quoted: true }),
                b'\n' => break,
                byte => self.keep(&mut raw, byte)?,
            }
        }
        Err("a quote is not closed".to_owned())
    }

    fn word(&mut self, first: u8) -> Result<Word, String> {
        let mut raw = Vec::new();
        self.keep(&mut raw, first)?;
        while let Some((&byte, after)) = self.rest.split_first() {
            if matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"') {
                break;
            }
            self.rest = after;
            self.keep(&mut raw, byte)?;
        }
        Ok(Word { raw, quoted: false })
    }

    /// Keeps a byte, with the one after it when that is escaped.
    fn keep(&mut self, raw: &mut Vec<u8>, byte: u8) -> Result<(), String> {
        raw.push(byte);
        if byte == b'\\' {
            let (&next, after) = self.rest.split_first().ok_or("the file ends in an escape")?;
            if next == b'\n' {
                return Err("an escape before the end of a line".to_owned());
            }
            raw.push(next);
            self.rest = after;
        }
        Ok(())
    }
}

struct File {
    origin: DomainName,
    owner: Option<DomainName>,
    /// From `$TTL`.
    ttl: Option<u32>,
    last_ttl: Option<u32>,
    found: BTreeMap<(DomainName, RecordType), (u32, Vec<RecordData>)>,
}

impl File {
    fn take(&mut self, entry: &Entry) -> Result<(), String> {
        let mut words = &entry.words[..];
        if let Some(first) = words.first().filter(|word| !entry.indented && word.raw.starts_with(b"$")) {
            return self.control(&first.raw.to_ascii_uppercase(), &words[1..]);
        }
        if !entry.indented {
            let (first, after) = words.split_first().ok_or("an empty entry")?;
            self.owner = Some(self.name(first)?);
            words = after;
        }
        let owner = self.owner.clone().ok_or("the first record has no name")?;
        let mut ttl = None;
        let record_type = loop {
            let (word, after) = words.split_first().ok_or("a record without a type")?;
            words = after;
            let text = String::from_utf8_lossy(&word.raw);
            // A time and a class stand before the type, in any order; a type is never a number.
            if ttl.is_none() && text.starts_with(|c: char| c.is_ascii_digit()) {
                ttl = Some(seconds(&word.raw).map_err(|error| about(&error, &word.raw))?);
            } else if ["CH", "HS", "CS"].iter().any(|class| text.eq_ignore_ascii_case(class)) {
                return Err(format!("class {text} is not IN"));
            } else if !text.eq_ignore_ascii_case("IN") {
                break text.parse::<RecordType>().map_err(|error| about(&error, &word.raw))?;
            }
        };
        let data = self.data(record_type, words)?;
        let fallback = match &data {
            // RFC 1035's own rule for files without $TTL.
            RecordData::Soa(soa) => Some(soa.minimum),
            _ => None,
        };
        let ttl = ttl.or(self.ttl).or(self.last_ttl).or(fallback).ok_or("no time to live, and no $TTL before")?;
        self.last_ttl = Some(ttl);
        let (shortest, set) = self.found.entry((owner, record_type)).or_insert_with(|| (ttl, Vec::new()));
        *shortest = ttl.min(*shortest);
        set.push(data);
        Ok(())
    }

    fn control(&mut self, word: &[u8], arguments: &[Word]) -> Result<(), String> {
        match (word, arguments) {
            (b"$TTL", [ttl]) => self.ttl = Some(seconds(&ttl.raw).map_err(|error| about(&error, &ttl.raw))?),
            (b"$ORIGIN", [origin]) => self.origin = self.name(origin)?,
            _ => return Err(format!("{} is not supported here", Escaped(word))),
        }
        Ok(())
    }

    fn name(&self, word: &Word) -> Result<DomainName, String> {
        let text = std::str::from_utf8(&word.raw).map_err(|error| about(&error, &word.raw))?;
        DomainName::parse_in(text, &self.origin).map_err(|error| about(&error, &word.raw))
    }

    fn data(&self, record_type: RecordType, words: &[Word]) -> Result<RecordData, String> {
        let fields: Result<Vec<_>, String> = words
            .iter()
            .enumerate()
            .map(|(index, word)| match record_type {
                RecordType::TXT => plain(&word.raw),
                RecordType::CAA if index == 2 => plain(&word.raw),
                // What is not read here keeps its quotes.
                _ if word.quoted => Ok([b"\"", &word.raw[..], b"\""].concat().into()),
                _ => Ok(Bytes::copy_from_slice(&word.raw)),
            })
            .collect();
        RecordData::from_words(record_type, &fields?, &self.origin).map_err(|error| format!("{record_type}: {error}"))
    }

    fn zone(self, name: &DomainName) -> Result<Zone, String> {
        let mut zone = Zone::new(name.clone(), Revision::new("-"));
        for ((owner, _), (ttl, data)) in self.found {
            let set = RecordSet::new(owner.clone(), ttl, data).map_err(|error| format!("{owner}: {error}"))?;
            zone.insert(set).map_err(|error| error.to_string())?;
        }
        let serial = zone.soa().map(|soa| Revision::new(soa.serial.to_string()));
        Ok(match serial {
            Some(serial) => zone.at(serial),
            None => zone,
        })
    }
}

fn about(error: &dyn std::error::Error, word: &[u8]) -> String {
    format!("{}: {error}", Escaped(&word[..word.len().min(80)]))
}

/// A string without its escapes.
fn plain(raw: &[u8]) -> Result<Bytes, String> {
    let mut octets = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'\\' {
            let (octet, after) = unescape(rest).ok_or("a malformed escape")?;
            octets.push(octet);
            rest = after;
        } else {
            octets.push(byte);
        }
    }
    Ok(octets.into())
}
