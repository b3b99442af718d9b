//! A zone as the server has it: lines, each with an index by which it is changed.

use crate::{error::WhmError, loose};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clonepanel_core::dns::{
    DomainName, MAX_TTL_SECS, Opaque, OpaqueForm, RecordData, RecordKey, RecordSet, RecordType, Revision, Zone,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// A record at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 0, and valid for one serial only.
    pub(super) index: u64,
    pub(super) ttl_secs: u32,
    pub(super) data: RecordData,
}

/// A zone as it was read, with the lines behind its record sets.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    pub(super) zone: Zone,
    records: BTreeMap<RecordKey, Vec<Line>>,
}

impl Lines {
    /// Reads the items that `parse_dns_zone` and `DNS::parse_zone` give, in whatever order.
    pub(super) fn read(zone: &DomainName, items: &[Value]) -> Result<Self, WhmError> {
        let mut records: BTreeMap<RecordKey, Vec<Line>> = BTreeMap::new();
        for item in items.iter().filter(|item| item.get("type").and_then(Value::as_str) == Some("record")) {
            let wrong = |what: &str| WhmError::Protocol { detail: format!("the zone {zone}: a record without {what}") };
            let (name, line) = record(zone, item).map_err(wrong)?;
            // A name that is none, or that is outside: nothing of ours, and nothing that a plan could touch.
            let Some(name) = name.filter(|name| name.is_within(zone)) else { continue };
            let record_type = line.data.record_type();
            records.entry(RecordKey { name, record_type }).or_default().push(line);
        }
        let mut read = Zone::new(zone.clone(), Revision::new("-"));
        for (key, lines) in &records {
            // Servers let records of one set differ in this; the shortest is the one that others go by.
            let ttl = lines.iter().map(|line| line.ttl_secs).min().unwrap_or(0);
            let set = RecordSet::new(key.name.clone(), ttl, lines.iter().map(|line| line.data.clone()));
            // Two CNAMEs at one name: wrong, and no reason to see nothing of the zone.
            let untouchable = |_| RecordSet::new(key.name.clone(), ttl, lines.iter().map(|line| opaque(&line.data)));
            let wrong = |error| WhmError::Protocol { detail: format!("the zone {zone}: {key}: {error}") };
            let set = set.or_else(untouchable).map_err(wrong)?;
            read.insert(set).map_err(|error| WhmError::Protocol { detail: error.to_string() })?;
        }
        let no_serial = || WhmError::Protocol { detail: format!("the zone {zone} has no SOA") };
        let serial = read.soa().ok_or_else(no_serial)?.serial;
        Ok(Self { zone: read.at(Revision::new(serial.to_string())), records })
    }

    /// The lines of one record set, in the order of the server.
    pub(super) fn of(&self, key: &RecordKey) -> &[Line] {
        self.records.get(key).map_or(&[], Vec::as_slice)
    }
}

fn record(zone: &DomainName, item: &Value) -> Result<(Option<DomainName>, Line), &'static str> {
    let index = item.get("line_index").and_then(loose::number).ok_or("a line index")?;
    let ttl = item.get("ttl").and_then(loose::number).and_then(|ttl| u32::try_from(ttl).ok());
    let ttl_secs = ttl.filter(|&ttl| ttl <= MAX_TTL_SECS).ok_or("a time to live")?;
    let owner = item.get("dname_b64").and_then(decode).ok_or("a name")?;
    let name = std::str::from_utf8(&owner).ok().and_then(|owner| DomainName::parse_in(owner, zone).ok());
    let record_type = item.get("record_type").and_then(Value::as_str).ok_or("a type")?;
    let words: Option<Vec<Bytes>> = loose::list(item.get("data_b64")).iter().map(decode).collect();
    let words = words.ok_or("data")?;
    // A type without a number here is still somebody's record; no plan touches what is opaque.
    let record_type = record_type.parse().unwrap_or(RecordType::new(u16::MAX));
    let data = RecordData::from_words(record_type, &words, zone);
    let opaque = |_| RecordData::Opaque(Opaque { record_type, form: OpaqueForm::Words(words.clone()) });
    Ok((name, Line { index, ttl_secs, data: data.unwrap_or_else(opaque) }))
}

fn opaque(data: &RecordData) -> RecordData {
    RecordData::Opaque(Opaque { record_type: data.record_type(), form: OpaqueForm::Words(data.to_words()) })
}

fn decode(value: &Value) -> Option<Bytes> {
    STANDARD.decode(value.as_str()?).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn b64(text: &str) -> String {
        STANDARD.encode(text)
    }

    fn item(index: u64, name: &str, record_type: &str, data: &[&str]) -> Value {
        let data: Vec<_> = data.iter().map(|word| b64(word)).collect();
        json!({"type": "record", "line_index": index, "record_type": record_type, "ttl": 300, "dname_b64": b64(name),
               "data_b64": data})
    }

    fn soa() -> Value {
        item(3, "example.org.", "SOA", &["ns1.host.test.", "hm.host.test.", "2026091502", "1", "2", "3", "4"])
    }

    fn read(items: &[Value]) -> Result<Lines, WhmError> {
        Lines::read(&"example.org".parse().unwrap(), items)
    }

    #[test]
    fn lines_of_any_order_and_looseness_become_a_zone() {
        let loose = json!({"type": "record", "line_index": "14", "record_type": "A", "ttl": "60",
                           "dname_b64": b64("WWW"), "data_b64": [b64("192.0.2.2")]});
        let items = [
            item(0, "www", "A", &["192.0.2.1"]),
            loose,
            json!({"type": "comment", "line_index": 1, "text_b64": "OyB6b25l"}),
            item(9, "example.org.", "MX", &["0", "mail.example.org."]),
            item(8, "x", "MX", &["0", "relative"]),
            item(7, "bad", "A", &["not an address"]),
            item(6, "elsewhere.example.net.", "A", &["192.0.2.9"]),
            item(5, "weird", "MADEUP", &["1"]),
            soa(),
        ];
        let lines = read(&items).unwrap();
        assert_eq!(lines.zone.revision().as_str(), "2026091502");
        let shown = "example.org. 300 IN SOA ns1.host.test. hm.host.test. 2026091502 1 2 3 4\n\
                     example.org. 300 IN MX 0 mail.example.org.\nbad.example.org. 300 IN A not an address\n\
                     weird.example.org. 300 IN TYPE65535 1\nwww.example.org. 60 IN A 192.0.2.1\n\
                     www.example.org. 60 IN A 192.0.2.2\nx.example.org. 300 IN MX 0 relative.example.org.\n";
        assert_eq!(lines.zone.to_string(), shown);
        let key = RecordKey { name: "www.example.org".parse().unwrap(), record_type: RecordType::A };
        assert_eq!(lines.of(&key).iter().map(|line| line.index).collect::<Vec<_>>(), [0, 14]);
        assert!(!lines.zone.find(&"bad.example.org".parse().unwrap(), RecordType::A).unwrap().is_managed());
    }

    #[test]
    fn two_cnames_at_one_name_hide_nothing_else() {
        let items = [soa(), item(4, "w", "CNAME", &["a."]), item(5, "w", "CNAME", &["b."]), item(6, "x", "A", &["::"])];
        let zone = read(&items).unwrap().zone;
        assert_eq!(zone.sets().len(), 3);
        assert_eq!(zone.sets().filter(|set| set.is_managed()).count(), 0, "{zone}");
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        let mut lacking = item(0, "www", "A", &["192.0.2.1"]);
        lacking.as_object_mut().unwrap().remove("line_index");
        for (items, said) in [
            (vec![item(0, "www", "A", &["192.0.2.1"])], "has no SOA"),
            (vec![soa(), lacking], "without a line index"),
            (vec![soa(), json!({"type": "record", "line_index": 1, "ttl": 4294967296u64})], "without a time to live"),
        ] {
            let error = read(&items).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
