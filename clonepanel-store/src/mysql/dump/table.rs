//! Reading one table as a whole: its definition and its rows, from one moment or not at all.

use super::{
    super::{
        DatabaseAddress, DatabaseError,
        format::{
            definition::TableDefinition,
            literal::Form,
            name::quote,
            range_record::{Range, TableRanges},
            row_file::RowSum,
        },
        session::{Holds, Purpose, Session, string, text},
    },
    catalogue::{Catalogue, Key, Storage, Table, fields, written},
    known_ranges::{KnownRanges, RangeSums},
    row_files::{RowFile, RowFiles, sum},
    rows::{AllRows, Pages, RowText, count},
    sorter::Sorter,
    spool::Spool,
};
use clonepanel_core::time::Timestamp;
use std::{io, path::Path};

const ACTION: &str = "reading a table";

/// A table that was read.
#[derive(Debug)]
pub(crate) struct TableRead {
    pub(crate) definition: TableDefinition,
    /// The files of its rows.
    pub(crate) files: Vec<RowFile>,
    pub(crate) sum: RowSum,
    /// By what the next dump can tell which of them are as they were.
    pub(crate) ranges: Option<TableRanges>,
}

/// How tables are read: their definitions before and after by one session, their rows by another.
pub(crate) struct Reading<'a> {
    pub(crate) database: &'a str,
    /// A table that was made before this is the one that the rows' session sees; `None` when that is known otherwise.
    pub(crate) settled: Option<&'a str>,
    /// Whether nobody may write to it meanwhile.
    pub(crate) at_rest: bool,
    pub(crate) catalogue: &'a mut Session,
    pub(crate) rows: &'a mut Session,
    pub(crate) spool: &'a mut Spool,
    pub(crate) directory: &'a Path,
    /// The time of the dump.
    pub(crate) time: Timestamp,
    /// After how many bytes a block of rows ends.
    pub(crate) block: usize,
    pub(crate) sums: Option<&'a RangeSums>,
    pub(crate) known: Option<&'a KnownRanges>,
}

impl Reading<'_> {
    /// Reads a table. [`DatabaseError::Changed`] when the definition did not hold still or, unless there is no `settled` moment to
    /// tell by, another table may have come under its name since.
    pub(crate) async fn table(&mut self, table: &Table) -> Result<TableRead, DatabaseError> {
        let changed = || DatabaseError::Changed { action: ACTION };
        let definition = definition(&table.name, self.catalogue).await?;
        let unknown = definition.columns().into_iter().find(|column| !table.all_columns.contains(column));
        if let Some(column) = unknown {
            // It is new, or hidden from this user: then its values would be missing.
            let question = format!("SELECT {} FROM {} LIMIT 0", quote(&column), quote(&table.name));
            self.catalogue.run(ACTION, &question).await?;
            return Err(changed());
        }
        self.spool.renew();
        let (files, ranges) = self.rows(table, &definition).await?;
        let is_same = self::definition(&table.name, self.catalogue).await?.text == definition.text;
        let is_settled = match self.settled {
            Some(settled) => {
                let created = created(&table.name, self.database, self.catalogue).await?;
                created == table.created && created.as_str() < settled
            }
            None => true,
        };
        let is_at_rest = !self.at_rest
            || table.written.as_ref() == Some(&written(self.catalogue, self.database, &table.name).await?);
        if !is_same || !is_settled || !is_at_rest {
            return Err(changed());
        }
        Ok(TableRead { definition, sum: sum(&files), files, ranges })
    }

    async fn rows(
        &mut self,
        table: &Table,
        definition: &TableDefinition,
    ) -> Result<(Vec<RowFile>, Option<TableRanges>), DatabaseError> {
        if table.storage == Storage::Elsewhere {
            return Ok(Default::default());
        }
        if let Some(key) = &table.key {
            let fingerprint = fingerprint(table, key, definition, self.rows.version());
            let known = self.known.and_then(|known| known.table(&table.name, &fingerprint, self.time));
            let mut files = self.in_order(table, key, known).await?;
            // Texts are compared by rules that differ from server to server: that none was passed over is worth a count.
            let by_text = key.columns.iter().filter_map(|&at| table.columns.get(at));
            if !by_text.into_iter().any(|column| matches!(column.form, Form::Text(_)))
                || count(table, self.rows).await? == sum(&files).rows
            {
                let ranges = self.sums.map(|_| TableRanges {
                    name: table.name.clone(),
                    fingerprint,
                    whole: known.map_or_else(|| self.time.secs(), |known| known.whole),
                    // The record alone needs the blocks from here on.
                    ranges: files
                        .iter_mut()
                        .map(|file| {
                            let blocks = std::mem::take(&mut file.range.blocks);
                            Range { blocks, ..file.range.clone() }
                        })
                        .collect(),
                });
                return Ok((files, ranges));
            }
            self.spool.renew();
        }
        Ok((self.sorted(table).await?, None))
    }

    /// Reads a table that has no key, in an order of our own.
    async fn sorted(&mut self, table: &Table) -> Result<Vec<RowFile>, DatabaseError> {
        let mut sorter = Sorter::new(self.directory);
        let mut rows = AllRows::of(table, self.rows).await?;
        while let Some(row) = rows.next().await? {
            sorter.push(&row.text).await.map_err(disk)?;
        }
        drop(rows);
        self.rows.let_go().await?;

        let mut files = RowFiles::new(table, self.time, self.block);
        let mut sorted = sorter.finish().await.map_err(disk)?;
        loop {
            let (batch, rest) = sorted.next().await.map_err(disk)?;
            if batch.is_empty() {
                return files.finish(self.spool).await;
            }
            sorted = rest;
            batch.iter().for_each(|line| files.line(line));
            files.spool(self.spool).await?;
        }
    }
}

/// What the sums of ranges rest on: with another definition, another way of reading or another server they prove nothing.
fn fingerprint(table: &Table, key: &Key, definition: &TableDefinition, server: &str) -> String {
    let columns: Vec<_> =
        table.columns.iter().map(|column| format!("{}={:?}", column.expression, column.form)).collect();
    let key = format!("{key:?}");
    TableRanges::fingerprint_of(&[&definition.file(), &columns.join(","), &key, server])
}

/// Reads all rows of a table and keeps none.
pub(in crate::mysql) async fn read_sum(address: &DatabaseAddress, name: &str) -> Result<RowSum, DatabaseError> {
    let mut session = Session::open(address, Purpose::Rows).await?;
    let table = Catalogue::table(&mut session, address.name(), name).await?;
    let table = table.ok_or(DatabaseError::Changed { action: ACTION })?;
    session.begin_snapshot(Holds::Page).await?;
    let mut sum = RowSum::default();
    let by_key = match &table.key {
        Some(key) => {
            let mut pages = Pages::new(&table, key);
            let mut add = |row: &RowText| {
                sum.add(&row.text);
                Ok(())
            };
            while pages.next(&mut session, &mut add).await? {}
            count(&table, &mut session).await? == sum.rows
        }
        None => false,
    };
    if !by_key {
        sum = RowSum::default();
        let mut rows = AllRows::of(&table, &mut session).await?;
        while let Some(row) = rows.next().await? {
            sum.add(&row.text);
        }
    }
    session.close().await;
    Ok(sum)
}

/// When the table was made or renamed.
async fn created(name: &str, database: &str, session: &mut Session) -> Result<String, DatabaseError> {
    let question = format!(
        "SELECT CAST(CREATE_TIME AS CHAR) FROM information_schema.TABLES WHERE TABLE_SCHEMA={} AND TABLE_NAME={}",
        string(database),
        string(name)
    );
    let answer = session.one(ACTION, &question).await?;
    answer.first().map(text).transpose()?.ok_or(DatabaseError::Changed { action: ACTION })
}

async fn definition(name: &str, session: &mut Session) -> Result<TableDefinition, DatabaseError> {
    let answer = session.one(ACTION, &format!("SHOW CREATE TABLE {}", quote(name))).await?;
    let [_, create] = fields(&answer)?;
    TableDefinition::read(name, &text(create)?).map_err(|error| DatabaseError::nonsense(ACTION, error))
}

fn disk(error: io::Error) -> DatabaseError {
    DatabaseError::Spool { source: error }
}
