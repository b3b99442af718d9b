//! [`RangeRecord`]: what `ranges.json` says, by which the next dump can tell which ranges of rows are as they were.

use super::{literal, row_file::hash};
use clonepanel_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The longest one that is read, in bytes: some hundred gigabytes of rows.
pub(crate) const MAX_RECORD: u64 = 64 << 20;

const VERSION: u32 = 1;

/// The ranges of all tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RangeRecord {
    version: u32,
    pub(crate) tables: Vec<TableRanges>,
}

/// The ranges of a table, in the order of its key. Each reaches to where the next one begins: together they cover all there can
/// be, the first one from the beginning on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableRanges {
    pub(crate) name: String,
    /// What the sums rest on: how the table is defined, how it is read, and which server it was.
    pub(crate) fingerprint: String,
    /// When all of it was read last, in seconds since 1970.
    pub(crate) whole: i64,
    pub(crate) ranges: Vec<Range>,
}

/// Rows between two keys: one file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Range {
    /// The name of the file without `.sql`.
    pub(crate) file: String,
    /// The key it begins with, as literals.
    pub(crate) from: Vec<String>,
    pub(crate) rows: u64,
    /// The length of the file in bytes.
    pub(crate) len: u64,
    /// The sum that `dump.json` has, over these rows.
    #[serde(with = "digits")]
    pub(crate) sum: u64,
    /// The sum that a server can be asked for.
    #[serde(with = "digits")]
    pub(crate) asked: u64,
    /// When it was read, or put together from an older one and what had changed: the time of the file, in microseconds since 1970.
    pub(crate) read: i64,
    /// Its parts, in their order: each reaches to where the next one begins.
    pub(crate) blocks: Vec<Block>,
}

/// Some rows of a range.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Block {
    /// The key it begins with, as literals.
    pub(crate) from: Vec<String>,
    pub(crate) rows: u64,
    /// The length of its rows in the file, with what stands between them, in bytes.
    pub(crate) len: usize,
    /// As those of a range.
    #[serde(with = "digits")]
    pub(crate) sum: u64,
    #[serde(with = "digits")]
    pub(crate) asked: u64,
}

impl RangeRecord {
    pub(crate) const fn new() -> Self {
        Self { version: VERSION, tables: Vec::new() }
    }

    /// Reads a `ranges.json`; `None` when it is none, or of another version: then all is read.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(text).ok()?;
        (record.version == VERSION && record.tables.iter().all(TableRanges::is_sound)).then_some(record)
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        // Nothing in it can fail to be written; an empty file is no record.
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

impl TableRanges {
    /// Keys go into questions to a server: they must be single literals.
    fn is_sound(&self) -> bool {
        let is_literal = |text: &String| literal::scan(text.as_bytes()) == Some(text.len());
        let is_key = |from: &Vec<String>| from.iter().all(is_literal);
        self.ranges.iter().all(|range| is_key(&range.from) && range.blocks.iter().all(|block| is_key(&block.from)))
    }

    /// What tells whether the sums of two dumps can be compared.
    pub(crate) fn fingerprint_of(parts: &[&str]) -> String {
        // With their lengths, so that parts do not run into each other.
        let text: String = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
        format!("{:016x}", hash(text.as_bytes()))
    }
}

impl Range {
    /// The time of its file.
    pub(crate) fn time(&self) -> Timestamp {
        Self::time_of(self.read)
    }

    pub(crate) fn time_of(micros: i64) -> Timestamp {
        let nanos = u32::try_from(micros.rem_euclid(1_000_000)).unwrap_or_default() * 1000;
        Timestamp::new(micros.div_euclid(1_000_000), nanos)
    }

    pub(crate) fn micros(time: Timestamp) -> i64 {
        time.secs().saturating_mul(1_000_000).saturating_add(i64::from(time.nanos() / 1000))
    }
}

/// 64 bits as 16 hexadecimal digits: not every reader of JSON has numbers that large.
mod digits {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    pub(super) fn serialize<S: Serializer>(sum: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{sum:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RangeRecord {
        let block = Block { from: vec!["7".to_owned()], rows: 2, len: 30, sum: 255, asked: 1 };
        let first = Range {
            file: "0".to_owned(),
            rows: 2,
            len: 99,
            sum: 255,
            asked: u64::MAX,
            blocks: vec![block],
            ..Range::default()
        };
        let second =
            Range { file: "kx".to_owned(), from: vec!["1".to_owned(), "'x'".to_owned()], read: -1, ..first.clone() };
        let table = TableRanges {
            name: "a".to_owned(),
            fingerprint: TableRanges::fingerprint_of(&["x", "y"]),
            whole: 7,
            ranges: vec![first, second],
        };
        RangeRecord { tables: vec![table], ..RangeRecord::new() }
    }

    #[test]
    fn the_form_is_fixed() {
        let record = record();
        let text = record.file();
        assert_eq!(RangeRecord::parse(&text), Some(record));
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains(
                r#""from":["1","'x'"],"rows":2,"len":99,"sum":"00000000000000ff","asked":"ffffffffffffffff","read":-1"#
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_record_is_none() {
        let text = String::from_utf8(record().file()).unwrap();
        for other in [
            String::new(),
            text.replacen("\"version\":1", "\"version\":2", 1),
            text.replacen("'x'", "'x' OR SLEEP(9)", 1),
            text.replacen("\"1\"", "\"(SELECT 1)\"", 1),
            text.replacen("\"7\"", "\"7--\"", 1),
            text.replacen("00000000000000ff", "no", 1),
        ] {
            assert_ne!(other, text);
            assert_eq!(RangeRecord::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn times_are_exact_to_the_microsecond() {
        for micros in [0, 1, -1, 1_700_000_000_123_456, -1_000_001] {
            assert_eq!(Range::micros(Range::time_of(micros)), micros);
        }
    }
}
