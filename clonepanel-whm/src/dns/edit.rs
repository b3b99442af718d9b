//! A plan as one batch of line edits.

use super::line::{Line, Lines};
use crate::client::parameter;
use clonepanel_core::dns::{Change, RecordData, RecordSet, ZonePlan};

/// The most lines that one batch touches. Hosts set no limit that is known; a batch is never cut, since it is done as a whole.
pub(super) const MAX_BATCH_ITEMS: usize = 2000;
/// The largest batch in bytes, before it is encoded.
pub(super) const MAX_BATCH_LEN: usize = 1 << 20;

/// Which lines are changed, added and removed; all indexes are those before the batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    items: Vec<(&'static str, Vec<u8>)>,
}

impl Batch {
    /// What leads from `lines` to the plan's outcome: lines of one set become others of the same set where possible.
    pub(super) fn of(plan: &ZonePlan, lines: &Lines) -> Self {
        let mut batch = Self::default();
        for change in plan.changes() {
            batch.push(change, lines.of(change.key()));
        }
        batch
    }

    fn push(&mut self, change: &Change, lines: &[Line]) {
        let mut wanted: Vec<&RecordData> = change.to().map(|set| set.data().iter().collect()).unwrap_or_default();
        let mut spare = Vec::new();
        for line in lines {
            let stays = change.to().is_some_and(|set| set.ttl_secs() == line.ttl_secs);
            match wanted.iter().position(|data| stays && **data == line.data) {
                Some(at) => drop(wanted.remove(at)),
                None => spare.push(line.index),
            }
        }
        let mut spare = spare.into_iter();
        for data in wanted {
            let Some(set) = change.to() else { break };
            match spare.next() {
                Some(index) => self.items.push(("edit", item(set, data, Some(index)))),
                None => self.items.push(("add", item(set, data, None))),
            }
        }
        self.items.extend(spare.map(|index| parameter("remove", index)));
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// How many bytes its items have.
    pub(super) fn bytes(&self) -> usize {
        self.items.iter().map(|(_, value)| value.len()).sum()
    }

    /// The parameters, numbered: `edit-0`, `add-0`, …
    pub(super) fn into_parameters(self) -> Vec<(String, Vec<u8>)> {
        let mut counts = [("add", 0), ("edit", 0), ("remove", 0)];
        let mut parameters = Vec::with_capacity(self.items.len());
        for (kind, value) in self.items {
            for (_, count) in counts.iter_mut().filter(|(name, _)| *name == kind) {
                parameters.push((format!("{kind}-{count}"), value.clone()));
                *count += 1;
            }
        }
        parameters
    }
}

/// A record as the server takes it: an absolute name (it refuses `@`), every element as text, octets as they are.
fn item(set: &RecordSet, data: &RecordData, index: Option<u64>) -> Vec<u8> {
    let mut json = b"{".to_vec();
    if let Some(index) = index {
        json.extend_from_slice(format!("\"line_index\":{index},").as_bytes());
    }
    json.extend_from_slice(b"\"dname\":");
    push_text(&mut json, set.name().to_string().as_bytes());
    let (ttl, record_type) = (set.ttl_secs(), set.record_type());
    json.extend_from_slice(format!(",\"ttl\":{ttl},\"record_type\":\"{record_type}\",\"data\":[").as_bytes());
    for (index, word) in data.to_words().iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        push_text(&mut json, word);
    }
    json.extend_from_slice(b"]}");
    json
}

/// A JSON string of octets. The server's JSON strings are octets as well, so those above ASCII stand as they are: an escape
/// (`\u00ff`) would be a character, and arrive as two.
fn push_text(json: &mut Vec<u8>, octets: &[u8]) {
    json.push(b'"');
    for &octet in octets {
        match octet {
            b'"' | b'\\' => json.extend_from_slice(&[b'\\', octet]),
            0..0x20 => json.extend_from_slice(format!("\\u{octet:04x}").as_bytes()),
            _ => json.push(octet),
        }
    }
    json.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use clonepanel_core::dns::{DomainName, Zone};
    use serde_json::{Value, json};

    fn batch(items: &[(u64, &str, &str, u32, &str)], desired: &str) -> Vec<(String, String)> {
        let name: DomainName = "example.org".parse().unwrap();
        let b64 = |text: &str| STANDARD.encode(text);
        let soa = "ns. hm. 7 1 1 1 1";
        let lines = [(100, "example.org.", "SOA", 60, soa)];
        let items: Vec<Value> = lines
            .iter()
            .chain(items)
            .map(|(index, owner, kind, ttl, data)| {
                json!({"type": "record", "line_index": index, "record_type": kind, "ttl": ttl, "dname_b64": b64(owner),
                       "data_b64": data.split(' ').map(b64).collect::<Vec<_>>()})
            })
            .collect();
        let lines = Lines::read(&name, &items).unwrap();
        let desired = Zone::parse(&name, desired.as_bytes()).unwrap();
        let batch = Batch::of(&ZonePlan::between(&lines.zone, &desired).unwrap(), &lines);
        let text = |(name, value): (String, Vec<u8>)| (name, String::from_utf8_lossy(&value).into_owned());
        batch.into_parameters().into_iter().map(text).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn line_0_and_the_apex_are_edited_by_absolute_names() {
        let edits = batch(&[(0, "example.org.", "A", 60, "192.0.2.1")], "@ 60 A 192.0.2.2\n");
        let edit = r#"{"line_index":0,"dname":"example.org.","ttl":60,"record_type":"A","data":["192.0.2.2"]}"#;
        assert_eq!(edits, [pair("edit-0", edit)]);
    }

    #[test]
    fn lines_of_a_set_are_reused_and_duplicates_go() {
        let lines = [
            (5, "w", "A", 60, "192.0.2.1"),
            (6, "w", "A", 60, "192.0.2.1"),
            (9, "w", "A", 60, "192.0.2.3"),
            (2, "w", "A", 60, "192.0.2.4"),
        ];
        let edits = batch(&lines, "w 60 A 192.0.2.1\nw 60 A 192.0.2.8\n");
        let edit = r#"{"line_index":6,"dname":"w.example.org.","ttl":60,"record_type":"A","data":["192.0.2.8"]}"#;
        assert_eq!(edits, [pair("edit-0", edit), pair("remove-0", "9"), pair("remove-1", "2")]);
    }

    #[test]
    fn types_are_not_edited_into_others() {
        let edits = batch(&[(4, "w", "CNAME", 60, "a.")], "w 60 A 192.0.2.1\nw 60 MX 0 a.\n");
        let kinds: Vec<_> = edits.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(kinds, ["add-0", "remove-0", "add-1"]);
    }

    #[test]
    fn octets_travel_as_they_are() {
        let mut json = Vec::new();
        push_text(&mut json, b"a\"\\\x00\x1f\x7f\xff+");
        assert_eq!(json, b"\"a\\\"\\\\\\u0000\\u001f\x7f\xff+\"");
    }
}
