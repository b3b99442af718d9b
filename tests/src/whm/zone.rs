//! [`Lines`]: a zone as the physical lines of its file, read and written by rules of its own, so that the client's are tested
//! against something else.

use super::plain;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clonepanel_core::dns::{RecordData, RecordType, Zone};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The lines of a zone's file, one entry each: only that of the SOA is several lines high.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    name: String,
    serial: u32,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
enum Entry {
    Comment(String),
    Control(String),
    Soa { ttl: u32, words: Vec<String> },
    Record(Record),
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Absolute with a dot, or relative without one.
    owner: String,
    ttl: u32,
    record_type: String,
    /// Octets as they are.
    words: Vec<Vec<u8>>,
}

/// As many lines as the SOA takes in the file.
const SOA_LINES: u64 = 7;
const TODAY: u32 = 2026091500;
const EXCEPTION: &str =
    "The request failed. (Error ID: abc123) Ask your hosting provider to research this error and its cause.";

impl Lines {
    /// The lines that a panel would have written for this zone; the serial follows `last`.
    pub(super) fn of(zone: &Zone, last: Option<u32>) -> Self {
        let name = plain(zone.name());
        let soa = zone.soa().expect("a zone with an SOA");
        let serial = last.map_or(soa.serial, next_serial);
        let numbers = [serial, soa.refresh, soa.retry, soa.expire, soa.minimum].map(|number| number.to_string());
        let words = [soa.primary.to_string(), soa.responsible.to_string()].into_iter().chain(numbers).collect();
        let ttl = zone.find(zone.name(), RecordType::SOA).expect("an SOA").ttl_secs();
        let comment = |text: &str| Entry::Comment(text.to_owned());
        let mut entries = vec![
            comment("; cPanel first:11.134.0.59 (update_time):1 Cpanel::ZoneFile::VERSION:1.3"),
            comment("; Zone file"),
            Entry::Control("$TTL 14400".to_owned()),
            Entry::Soa { ttl, words },
        ];
        for set in zone.sets().filter(|set| set.record_type() != RecordType::SOA) {
            for data in set.data() {
                let owner = set.name().relative_to(zone.name()).expect("a name within");
                let owner = if owner == "@" { format!("{name}.") } else { owner };
                let words = words_of(data);
                let record_type = set.record_type().to_string();
                entries.push(Entry::Record(Record { owner, ttl: set.ttl_secs(), record_type, words }));
            }
            entries.push(Entry::Comment(String::new()));
        }
        Self { name, serial, entries }
    }

    pub(super) const fn serial(&self) -> u32 {
        self.serial
    }

    /// The file.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            match entry {
                Entry::Comment(line) | Entry::Control(line) => writeln!(text, "{line}"),
                Entry::Soa { ttl, words } => {
                    let [primary, responsible, _, numbers @ ..] = &words[..] else { unreachable!("seven words") };
                    let numbers = numbers.join("\n\t\t");
                    let (name, serial) = (&self.name, self.serial);
                    writeln!(text, "{name}.\t{ttl}\tIN\tSOA\t{primary}\t{responsible}\t(\n\t\t{serial}\t;Serial\n\t\t{numbers}\n\t\t)")
                }
                Entry::Record(record) => writeln!(text, "{}", record.line()),
            }
            .expect("write to a string");
        }
        text
    }

    /// Where each entry begins.
    fn indexed(&self) -> impl DoubleEndedIterator<Item = (u64, &Entry)> {
        let mut next = 0;
        let indexed: Vec<_> = self
            .entries
            .iter()
            .map(|entry| {
                let index = next;
                next += if matches!(entry, Entry::Soa { .. }) { SOA_LINES } else { 1 };
                (index, entry)
            })
            .collect();
        indexed.into_iter()
    }

    /// The items of `parse_dns_zone`: not sorted.
    pub(super) fn payload(&self) -> Vec<Value> {
        let b64 = |octets: &[u8]| STANDARD.encode(octets);
        let mut items: Vec<Value> = self
            .indexed()
            .map(|(index, entry)| match entry {
                Entry::Comment(text) => {
                    json!({"type": "comment", "line_index": index, "text_b64": b64(text.as_bytes())})
                }
                Entry::Control(text) => {
                    json!({"type": "control", "line_index": index, "text_b64": b64(text.as_bytes())})
                }
                Entry::Soa { ttl, words } => {
                    let mut words = words.clone();
                    words[2] = self.serial.to_string();
                    let words: Vec<_> = words.iter().map(|word| b64(word.as_bytes())).collect();
                    let dname = b64(format!("{}.", self.name).as_bytes());
                    json!({"type": "record", "line_index": index, "record_type": "SOA", "ttl": ttl, "dname_b64": dname,
                           "data_b64": words})
                }
                Entry::Record(record) => {
                    let words: Vec<_> = record.words.iter().map(|word| b64(word)).collect();
                    json!({"type": "record", "line_index": index, "record_type": record.record_type, "ttl": record.ttl,
                           "dname_b64": b64(record.owner.as_bytes()), "data_b64": words})
                }
            })
            .collect();
        let middle = items.len() / 2;
        items.rotate_left(middle);
        items.swap(0, middle);
        items
    }

    /// `mass_edit_dns_zone`: all or nothing, for one serial.
    pub(super) fn mass_edit(
        &self,
        serial: &str,
        add: &[Vec<u8>],
        edit: &[Vec<u8>],
        remove: &[Vec<u8>],
    ) -> Result<Self, String> {
        if serial != self.serial.to_string() {
            return Err(format!(
                "The given serial number ({serial}) does not match the DNS zone's serial number ({}). Refresh your view \
                 of the DNS zone, then resubmit.",
                self.serial
            ));
        }
        if add.is_empty() && edit.is_empty() && remove.is_empty() {
            return Err("You must provide at least one of “add”, “edit” or “remove”.".to_owned());
        }
        let mut entries: Vec<(u64, Option<Entry>)> =
            self.indexed().map(|(i, entry)| (i, Some(entry.clone()))).collect();
        let at = |index: u64| {
            let found = entries.iter().position(|(at, entry)| *at == index && matches!(entry, Some(Entry::Record(_))));
            found.ok_or_else(|| format!("There is no record at line index {index}."))
        };
        let removed: Result<Vec<_>, _> =
            remove.iter().map(|index| at(String::from_utf8_lossy(index).parse().map_err(|_| EXCEPTION)?)).collect();
        let edited: Result<Vec<_>, String> = edit
            .iter()
            .map(|item| {
                let (index, record) = Record::parse(item)?;
                Ok((at(index.ok_or("Provide the ‘line_index’ argument.")?)?, record))
            })
            .collect();
        for (place, record) in edited? {
            entries[place].1 = Some(Entry::Record(record));
        }
        for place in removed? {
            entries[place].1 = None;
        }
        let mut kept: Vec<_> = entries.into_iter().filter_map(|(_, entry)| entry).collect();
        for item in add {
            kept.push(Entry::Record(Record::parse(item)?.1));
        }
        Ok(Self { name: self.name.clone(), serial: next_serial(self.serial), entries: kept })
    }

    /// What somebody else does.
    pub(super) fn with_one_more(&self) -> Self {
        let record = Record {
            owner: "somebody-else".to_owned(),
            ttl: 14400,
            record_type: "TXT".to_owned(),
            words: vec![self.serial.to_string().into_bytes()],
        };
        let mut more = self.clone();
        more.entries.push(Entry::Record(record));
        more.serial = next_serial(self.serial);
        more
    }

    /// Every text of the new lines is cut, as one that was not encoded would be.
    pub(super) fn damaged(mut self, before: &Self) -> Self {
        let old: Vec<_> = before.text().lines().map(str::to_owned).collect();
        for entry in &mut self.entries {
            if let Entry::Record(record) = entry
                && !old.contains(&record.line())
            {
                record.ttl += 1;
            }
        }
        self
    }

    pub(super) fn from_template(name: &str, address: &str) -> Self {
        let text = format!(
            "$TTL 14400\n@ 86400 SOA ns1.host.test. hostmaster.host.test. {TODAY} 3600 1800 1209600 86400\n\
             @ 86400 NS ns1.host.test.\n@ 86400 NS ns2.host.test.\n@ A {address}\nlocalhost A 127.0.0.1\n@ MX 0 {name}.\n\
             mail CNAME {name}.\nwww CNAME {name}.\nftp CNAME {name}.\n"
        );
        let name = name.parse().expect("a name");
        Self::of(&Zone::parse(&name, text.as_bytes()).expect("a template"), None)
    }
}

/// A write on a new day begins at `...00`; later ones count on.
fn next_serial(serial: u32) -> u32 {
    if serial < TODAY { TODAY } else { serial + 1 }
}

fn words_of(data: &RecordData) -> Vec<Vec<u8>> {
    data.to_words().iter().map(|word| word.to_vec()).collect()
}

impl Record {
    /// Reads an item of a batch. The server's JSON is octets: what is above ASCII stands for itself.
    fn parse(item: &[u8]) -> Result<(Option<u64>, Self), String> {
        let octets: String = item.iter().map(|&octet| char::from(octet)).collect();
        let item: Value = serde_json::from_str(&octets).map_err(|_| EXCEPTION)?;
        let text = |key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
        let owner = text("dname").ok_or("Provide the ‘dname’ argument.")?;
        let record_type = text("record_type").ok_or("Provide the ‘record_type’ argument.")?;
        let ttl = item.get("ttl").and_then(Value::as_u64).and_then(|ttl| u32::try_from(ttl).ok());
        let ttl = ttl.ok_or("Provide the ‘ttl’ argument.")?;
        let data = item.get("data").and_then(Value::as_array).ok_or("Provide the ‘data’ argument.")?;
        let octets = |word: &Value| word.as_str()?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        let words: Option<Vec<Vec<u8>>> = data.iter().map(octets).collect();
        let words = words.ok_or(EXCEPTION)?;
        let known = ["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT", "DS", "DNAME"];
        if owner == "@" || !known.contains(&record_type.as_str()) {
            return Err(EXCEPTION.to_owned());
        }
        if record_type == "TXT" && words.iter().any(|word| word.len() > 255) {
            return Err("A text segment is longer than 255 bytes.".to_owned());
        }
        let index = item.get("line_index").and_then(Value::as_u64);
        Ok((index, Self { owner, ttl, record_type, words }))
    }

    fn line(&self) -> String {
        let quoted = |index: usize| self.record_type == "TXT" || (self.record_type == "CAA" && index == 2);
        let words =
            self.words.iter().enumerate().map(|(index, word)| {
                if quoted(index) { quote(word) } else { String::from_utf8_lossy(word).into_owned() }
            });
        let words: Vec<_> = words.collect();
        format!("{}\t{}\tIN\t{}\t{}", self.owner, self.ttl, self.record_type, words.join("\t"))
    }
}

fn quote(octets: &[u8]) -> String {
    let mut quoted = "\"".to_owned();
    for &octet in octets {
        match octet {
            b'"' | b'\\' => write!(quoted, "\\{}", char::from(octet)),
            b' '..=b'~' => write!(quoted, "{}", char::from(octet)),
            _ => write!(quoted, "\\{octet:03}"),
        }
        .expect("write to a string");
    }
    quoted + "\""
}
