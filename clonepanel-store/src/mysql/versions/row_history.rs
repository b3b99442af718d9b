//! [`RowHistory`]: the versions of one row over the snapshots of a site.

use super::{
    dumped_tables::{DumpedTables, TableFiles},
    error::VersionsError,
    row::{Row, is_typed, values},
};
use clonepanel_core::{
    digest::FileDigest, escape::Escaped, path::RelPath, snapshot_id::SnapshotId, store::SnapshotReader,
};
use std::collections::HashMap;

/// A version of a row that begins with a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct RowVersion {
    /// The first snapshot that has it, or lacks the row.
    pub id: SnapshotId,
    /// How it differs from the version before.
    pub change: RowChange,
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum RowChange {
    /// It is there, with these columns and values as SQL literals.
    Appeared(Vec<(String, String)>),
    /// It has other values.
    Changed(Vec<ColumnChange>),
    /// It is not there any more.
    Gone,
}

/// A column of a row that changed, with its values as SQL literals.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct ColumnChange {
    /// Its name.
    pub column: String,
    /// What it was; `None` when there was no such column.
    pub before: Option<String>,
    /// What it is; `None` when there is no such column any more.
    pub after: Option<String>,
}

/// Is shown the snapshots of a site, oldest first, and tells where a row has a new version. Each file of rows is read once, however many
/// snapshots have it.
#[derive(Debug)]
pub struct RowHistory {
    dump: RelPath,
    table: String,
    key: Vec<String>,
    /// The columns of the key, and what files have of the row, by their hash.
    columns: Vec<String>,
    read: HashMap<[u8; 32], Option<Found>>,
    last: Option<Found>,
}

/// A row and the names of its columns.
type Found = (Vec<String>, Row);

impl RowHistory {
    /// Follows the row of `table` whose key has these values, in the dump at a path of the snapshots: `databases/alice_wp`. A value is an
    /// SQL literal or the text it stands for.
    #[must_use]
    pub fn new(dump: RelPath, table: impl Into<String>, key: Vec<String>) -> Self {
        Self { dump, table: table.into(), key, columns: Vec::new(), read: HashMap::new(), last: None }
    }

    /// Looks at the next snapshot; a version when the row is another one than before. A snapshot without a whole dump says nothing.
    ///
    /// # Errors
    /// [`VersionsError`].
    ///
    /// # Cancel safety
    /// Harmless to drop; the same snapshot can be shown again.
    pub async fn see(&mut self, reader: &dyn SnapshotReader) -> Result<Option<RowVersion>, VersionsError> {
        let Some(dump) = DumpedTables::of(reader, &self.dump).await? else { return Ok(None) };
        let table = dump.description.tables.iter().find(|table| table.name == self.table);
        let found = match table.and_then(|table| dump.table(&table.file)) {
            Some(files) => self.find(&dump, files).await?,
            None => None,
        };
        let change = match (&self.last, &found) {
            (None, None) => None,
            (None, Some((columns, row))) => {
                Some(RowChange::Appeared(columns.iter().cloned().zip(row.iter().map(|value| text(value))).collect()))
            }
            (Some(_), None) => Some(RowChange::Gone),
            (Some(before), Some(after)) => {
                Some(changes(before, after)).filter(|changes| !changes.is_empty()).map(RowChange::Changed)
            }
        };
        self.last = found;
        Ok(change.map(|change| RowVersion { id: reader.info().id.clone(), change }))
    }

    async fn find(&mut self, dump: &DumpedTables<'_>, files: &TableFiles) -> Result<Option<Found>, VersionsError> {
        let table = || Escaped(self.table.as_bytes()).to_string();
        let key = dump.key(files).await?.ok_or_else(|| VersionsError::NoKey { table: table() })?;
        if key.len() != self.key.len() {
            return Err(VersionsError::OtherKey { table: table(), columns: key.len(), given: self.key.len() });
        }
        if key != self.columns {
            self.read.clear();
            self.columns.clone_from(&key);
        }
        // A file that was read before answers at once.
        if let Some(Some(found)) =
            files.rows.values().find_map(|digest| self.read.get(digest.hash.as_bytes()).filter(|found| found.is_some()))
        {
            return Ok(Some(found.clone()));
        }
        for (path, digest) in &files.rows {
            if self.read.contains_key(digest.hash.as_bytes()) {
                continue;
            }
            let found = self.search(dump, path, *digest, &key).await?;
            self.read.insert(*digest.hash.as_bytes(), found.clone());
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn search(
        &self,
        dump: &DumpedTables<'_>,
        path: &RelPath,
        digest: FileDigest,
        key: &[String],
    ) -> Result<Option<Found>, VersionsError> {
        let mut found = None;
        dump.rows(path, digest, async |head, rows| {
            let places: Vec<_> =
                key.iter().filter_map(|name| head.columns().iter().position(|column| column == name)).collect();
            for row in rows {
                let row = values(&row);
                let is_it =
                    |(place, typed): (&usize, &String)| row.get(*place).is_some_and(|value| is_typed(value, typed));
                if places.len() == key.len() && places.iter().zip(&self.key).all(is_it) {
                    found = Some((head.columns().to_vec(), row));
                }
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }
}

fn changes((old_columns, old): &Found, (new_columns, new): &Found) -> Vec<ColumnChange> {
    let value = |columns: &[String], row: &Row, name: &String| {
        let place = columns.iter().position(|column| column == name)?;
        row.get(place).cloned()
    };
    let gone = old_columns.iter().filter(|column| !new_columns.contains(column));
    let names = new_columns.iter().chain(gone);
    let change = |name: &String| {
        let (before, after) = (value(old_columns, old, name), value(new_columns, new, name));
        let shown = |value: Option<Box<[u8]>>| value.map(|value| text(&value));
        (before != after).then(|| ColumnChange { column: name.clone(), before: shown(before), after: shown(after) })
    };
    names.filter_map(change).collect()
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
