//! `dump.json`: what a dump holds, what it lacks and why, and how to check it after it was loaded.

use super::{definition::ObjectKind, row_file::RowSum};
use serde::{Deserialize, Serialize};

/// The version that is written. Readers take any; fields are only ever added.
const VERSION: u32 = 1;

/// The longest description that is read, in bytes.
pub(crate) const MAX_DESCRIPTION: usize = 64 << 20;

/// What a dump of a database holds, in `dump.json` at its root.
///
/// It has no dates: a database that did not change has the same one each day.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs)]
pub struct DumpDescription {
    /// The version of the format.
    pub version: u32,
    /// The name of the database where the dump was taken.
    pub database: String,
    /// Its default character set.
    pub charset: String,
    /// Its default collation.
    pub collation: String,
    /// The version of the server, as it says it.
    pub server: String,
    /// Every table, in the order of names.
    pub tables: Vec<DumpedTable>,
    /// Everything else, in the order of kinds and names.
    pub objects: Vec<DumpedObject>,
    /// What a complete dump would have and this one has not.
    pub missing: Vec<MissingObject>,
}

/// A table in a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs)]
pub struct DumpedTable {
    /// Its name.
    pub name: String,
    /// The name of its file without `.sql`, and of the directory of its rows.
    pub file: String,
    /// How many rows it has.
    pub rows: u64,
    /// A sum over the rows, in any order: 16 hexadecimal digits.
    pub checksum: String,
    /// The next value of its `AUTO_INCREMENT` column, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_increment: Option<u64>,
    /// As of when its rows are.
    #[serde(default, skip_serializing_if = "TableInstant::is_common")]
    pub instant: TableInstant,
    /// What else there is to know about it, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// As of when the rows of a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::exhaustive_enums)]
pub enum TableInstant {
    /// The one moment that the dump is of.
    #[default]
    Common,
    /// While it was read: its engine has no snapshots and it could not be locked.
    Fuzzy,
    /// A later moment, one for the whole table: its definition changed after the common one.
    Later,
    /// None: its rows are not here, as they live elsewhere.
    Nowhere,
}

impl TableInstant {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    fn is_common(&self) -> bool {
        *self == Self::Common
    }
}

/// A view, routine, trigger, event or sequence in a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs)]
pub struct DumpedObject {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// Its file, below the root of the dump.
    pub file: String,
    /// Who defined it: `user@host`. It is not in the file, so whoever loads that becomes the definer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definer: Option<String>,
}

/// Something that a dump lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs)]
pub struct MissingObject {
    /// What kind of object.
    pub kind: ObjectKind,
    /// Which one; `None` when not even the names can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Why, in one line.
    pub why: String,
    /// The statement by which an administrator of the server mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl DumpDescription {
    pub(crate) fn new(database: &str) -> Self {
        Self { version: VERSION, database: database.to_owned(), ..Self::default() }
    }

    /// Reads a `dump.json`.
    ///
    /// # Errors
    /// When it is none; the cause is that of the JSON reader.
    pub fn parse(text: &[u8]) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        if text.len() > MAX_DESCRIPTION {
            return Err("it is too long".into());
        }
        Ok(serde_json::from_slice(text)?)
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        // Nothing in it can fail to be written; an empty file would be seen by whoever reads it.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

impl DumpedTable {
    pub(crate) fn sum(&self) -> Option<RowSum> {
        Some(RowSum { rows: self.rows, sum: u64::from_str_radix(&self.checksum, 16).ok()? })
    }

    pub(crate) fn checksum_of(sum: RowSum) -> String {
        format!("{:016x}", sum.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_fixed() {
        let mut description = DumpDescription::new("alice_wp");
        description.charset = "utf8mb4".to_owned();
        description.collation = "utf8mb4_general_ci".to_owned();
        description.server = "10.11.19-MariaDB".to_owned();
        description.tables.push(DumpedTable {
            name: "a/b".to_owned(),
            file: "a%2Fb".to_owned(),
            rows: 2,
            checksum: DumpedTable::checksum_of(RowSum { rows: 2, sum: 255 }),
            auto_increment: Some(7),
            instant: TableInstant::Later,
            remarks: vec![],
        });
        description.objects.push(DumpedObject {
            kind: ObjectKind::PackageBody,
            name: "k".to_owned(),
            file: "90-after/10-routines/k.sql".to_owned(),
            definer: Some("root@localhost".to_owned()),
        });
        description.missing.push(MissingObject {
            kind: ObjectKind::Trigger,
            name: None,
            why: "x".to_owned(),
            mend: Some("GRANT".to_owned()),
        });
        let expected = r#"{
  "version": 1,
  "database": "alice_wp",
  "charset": "utf8mb4",
  "collation": "utf8mb4_general_ci",
  "server": "10.11.19-MariaDB",
  "tables": [
    {
      "name": "a/b",
      "file": "a%2Fb",
      "rows": 2,
      "checksum": "00000000000000ff",
      "auto_increment": 7,
      "instant": "later"
    }
  ],
  "objects": [
    {
      "kind": "package-body",
      "name": "k",
      "file": "90-after/10-routines/k.sql",
      "definer": "root@localhost"
    }
  ],
  "missing": [
    {
      "kind": "trigger",
      "why": "x",
      "mend": "GRANT"
    }
  ]
}
"#;
        assert_eq!(String::from_utf8(description.file()).unwrap(), expected);
        assert_eq!(DumpDescription::parse(expected.as_bytes()).unwrap(), description);
        assert_eq!(description.tables[0].sum(), Some(RowSum { rows: 2, sum: 255 }));
        // What a later version adds does not hinder.
        let later = expected.replacen("\"version\": 1", "\"version\": 2, \"more\": {}", 1);
        assert_eq!(DumpDescription::parse(later.as_bytes()).unwrap().version, 2);
    }
}
