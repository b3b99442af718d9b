//! [`DatabaseDiff`]: which tables differ between two dumps, and by how many rows.

use super::{
    super::{
        dump::{Sorted, Sorter},
        format::row_file::Head,
    },
    dumped_tables::{DumpedTables, TableFiles},
    error::VersionsError,
    row::values,
};
use clonepanel_core::{digest::FileDigest, path::RelPath, store::SnapshotReader};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

/// Which tables differ between two dumps, and by how many rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct DatabaseDiff {
    /// The tables that differ, in the order of names.
    pub tables: Vec<TableDiff>,
}

/// How a table differs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct TableDiff {
    /// Its name.
    pub name: String,
    /// How many rows it had; `None` when it was not there.
    pub rows_before: Option<u64>,
    /// How many rows it has; `None` when it is not there any more.
    pub rows_after: Option<u64>,
    /// Its columns or keys are others.
    pub is_redefined: bool,
    /// Rows whose key was not there.
    pub added: u64,
    /// Rows whose key is not there any more.
    pub removed: u64,
    /// Rows of the same key and other values.
    pub changed: u64,
    /// What a row was told by.
    pub identity: RowIdentity,
}

/// What a row is told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum RowIdentity {
    /// The columns of the primary key, or of the first unique one without `NULL`.
    Key,
    /// All of it: a row that was changed is one removed and one added.
    Row,
}

impl DatabaseDiff {
    /// Compares the dumps that two snapshots have at a path. Only files of rows that are not in both are read; memory does not grow
    /// with them. `None` when one of them has no whole dump there.
    ///
    /// # Errors
    /// [`VersionsError`].
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn between(
        before: &dyn SnapshotReader,
        after: &dyn SnapshotReader,
        dump: &RelPath,
    ) -> Result<Option<Self>, VersionsError> {
        let Some(before) = DumpedTables::of(before, dump).await? else { return Ok(None) };
        let Some(after) = DumpedTables::of(after, dump).await? else { return Ok(None) };
        let stems = |dump: &DumpedTables<'_>| -> BTreeMap<String, (String, u64)> {
            let tables = dump.description.tables.iter();
            tables.map(|table| (table.name.clone(), (table.file.clone(), table.rows))).collect()
        };
        let (old, new) = (stems(&before), stems(&after));
        let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let mut diff = Self::default();
        let none = TableFiles::default();
        for name in names {
            let (was, is) = (old.get(name), new.get(name));
            let there = was.and_then(|(stem, _)| before.table(stem)).unwrap_or(&none);
            let here = is.and_then(|(stem, _)| after.table(stem)).unwrap_or(&none);
            let digest = |files: &TableFiles| files.definition.as_ref().map(|(_, digest)| *digest);
            let is_redefined = digest(there) != digest(here);
            if !is_redefined && there.rows == here.rows && was.is_some() == is.is_some() {
                continue;
            }
            let (rows_before, rows_after) = (was.map(|(_, rows)| *rows), is.map(|(_, rows)| *rows));
            let mut table = TableDiff {
                name: name.clone(),
                rows_before,
                rows_after,
                is_redefined: is_redefined && was.is_some() && is.is_some(),
                added: 0,
                removed: 0,
                changed: 0,
                identity: RowIdentity::Key,
            };
            match (rows_before, rows_after) {
                (None, rows) => table.added = rows.unwrap_or(0),
                (rows, None) => table.removed = rows.unwrap_or(0),
                _ => compare(&mut table, (&before, there), (&after, here)).await?,
            }
            diff.tables.push(table);
        }
        Ok(Some(diff))
    }
}

async fn compare(
    table: &mut TableDiff,
    (before, there): (&DumpedTables<'_>, &TableFiles),
    (after, here): (&DumpedTables<'_>, &TableFiles),
) -> Result<(), VersionsError> {
    let key = after.key(here).await?;
    // With another key than before, a row is told by all of it.
    let key = if table.is_redefined && before.key(there).await? != key { None } else { key };
    table.identity = if key.is_some() { RowIdentity::Key } else { RowIdentity::Row };
    let (old, new) = only_once(there, here);
    let mut before = Lines::of(before, &old, key.as_deref()).await?;
    let mut after = Lines::of(after, &new, key.as_deref()).await?;
    loop {
        let order = match (before.head(), after.head()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.key().cmp(new.key()),
        };
        match order {
            Ordering::Less => {
                table.removed += 1;
                before.advance().await?;
            }
            Ordering::Greater => {
                table.added += 1;
                after.advance().await?;
            }
            Ordering::Equal => {
                table.changed += u64::from(before.head() != after.head());
                before.advance().await?;
                after.advance().await?;
            }
        }
    }
}

type Files = Vec<(RelPath, FileDigest)>;

/// The files whose content the other side does not have, in whatever place.
fn only_once(there: &TableFiles, here: &TableFiles) -> (Files, Files) {
    let mut shared: BTreeMap<_, usize> = BTreeMap::new();
    let id = |digest: &FileDigest| (digest.hash.to_string(), digest.len);
    for digest in there.rows.values() {
        *shared.entry(id(digest)).or_default() += 1;
    }
    let mut both: BTreeMap<_, usize> = BTreeMap::new();
    let mut new = Vec::new();
    for (path, digest) in &here.rows {
        match shared.get_mut(&id(digest)).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                *both.entry(id(digest)).or_default() += 1;
            }
            None => new.push((path.clone(), *digest)),
        }
    }
    let old = there.rows.iter().filter(|(_, digest)| match both.get_mut(&id(digest)).filter(|left| **left > 0) {
        Some(left) => {
            *left -= 1;
            false
        }
        None => true,
    });
    (old.map(|(path, digest)| (path.clone(), *digest)).collect(), new)
}

/// A row in order: its key, a line break, which no literal has, and a hash of its columns and values.
#[derive(PartialEq, Eq)]
struct Line(Box<[u8]>);

impl Line {
    fn key(&self) -> &[u8] {
        let end = self.0.iter().position(|&b| b == b'\n').map_or(self.0.len(), |at| at + 1);
        self.0.get(..end).unwrap_or_default()
    }
}

/// The rows of some files, sorted by key.
struct Lines {
    sorted: Option<Sorted>,
    batch: std::vec::IntoIter<Box<[u8]>>,
    head: Option<Line>,
}

impl Lines {
    async fn of(dump: &DumpedTables<'_>, files: &Files, key: Option<&[String]>) -> Result<Self, VersionsError> {
        let mut sorter = Sorter::new(&std::env::temp_dir());
        for (path, digest) in files {
            let sorter = &mut sorter;
            dump.rows(path, *digest, async |head, rows| {
                for row in rows {
                    sorter.push(&line(head, &row, key)).await.map_err(VersionsError::Spool)?;
                }
                Ok(())
            })
            .await?;
        }
        let sorted = Some(sorter.finish().await.map_err(VersionsError::Spool)?);
        let mut lines = Self { sorted, batch: Vec::new().into_iter(), head: None };
        lines.advance().await?;
        Ok(lines)
    }

    const fn head(&self) -> Option<&Line> {
        self.head.as_ref()
    }

    async fn advance(&mut self) -> Result<(), VersionsError> {
        let mut next = self.batch.next();
        if next.is_none()
            && let Some(sorted) = self.sorted.take()
        {
            let (batch, rest) = sorted.next().await.map_err(VersionsError::Spool)?;
            self.sorted = (!batch.is_empty()).then_some(rest);
            self.batch = batch.into_iter();
            next = self.batch.next();
        }
        self.head = next.map(Line);
        Ok(())
    }
}

fn line(head: &Head, row: &[u8], key: Option<&[String]>) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    for column in head.columns() {
        hasher.update(column.as_bytes()).update(b"\n");
    }
    hasher.update(row);
    let hash = hasher.finalize();
    let mut line = Vec::new();
    match key {
        Some(key) => {
            let row = values(row);
            for name in key {
                let place = head.columns().iter().position(|column| column == name);
                line.extend_from_slice(place.and_then(|place| row.get(place)).map_or(b"", |value| value));
                line.push(b',');
            }
        }
        // Equal rows stand in pairs, whatever their values.
        None => line.extend_from_slice(hash.to_hex().as_bytes()),
    }
    line.push(b'\n');
    line.extend_from_slice(hash.as_bytes());
    line
}
