//! Reading one table as a whole: its definition and its rows, from one moment or not at all.

use super::{
    super::{
        DatabaseAddress, DatabaseError,
        format::{
            definition::TableDefinition,
            name::{file_stem, quote},
            row_file::{Head, RowCutter, RowSum, hash},
        },
        session::{Holds, Purpose, Session, string, text},
    },
    catalogue::{Catalogue, Key, Storage, Table, fields},
    rows::{AllRows, Pages, RowText, count},
    sorter::Sorter,
    spool::{Held, Spool},
};
use crate::mysql::format::literal::Form;
use std::{collections::HashSet, io, path::Path};

const ACTION: &str = "reading a table";

/// A table that was read.
#[derive(Debug)]
pub(crate) struct TableRead {
    pub(crate) definition: TableDefinition,
    /// The files of its rows: names without `.sql`, and contents.
    pub(crate) files: Vec<(String, Held)>,
    pub(crate) sum: RowSum,
}

/// Reads a table by two sessions: its definition before and after by one, its rows by the other. [`DatabaseError::Changed`]
/// when the definition did not hold still or, unless there is no `settled` moment to tell by, another table may have come under
/// its name since.
pub(crate) async fn read(
    table: &Table,
    database: &str,
    settled: Option<&str>,
    catalogue: &mut Session,
    reader: &mut Session,
    spool: &mut Spool,
    directory: &Path,
) -> Result<TableRead, DatabaseError> {
    let changed = || DatabaseError::Changed { action: ACTION };
    let definition = definition(&table.name, catalogue).await?;
    let unknown = definition.columns().into_iter().find(|column| !table.all_columns.contains(column));
    if let Some(column) = unknown {
        // It is new, or hidden from this user: then its values would be missing.
        let question = format!("SELECT {} FROM {} LIMIT 0", quote(&column), quote(&table.name));
        catalogue.run(ACTION, &question).await?;
        return Err(changed());
    }
    spool.renew();
    let (files, sum) = rows(table, reader, spool, directory).await?;
    let is_same = self::definition(&table.name, catalogue).await?.text == definition.text;
    let is_settled = match settled {
        Some(settled) => {
            let created = created(&table.name, database, catalogue).await?;
            created == table.created && created.as_str() < settled
        }
        None => true,
    };
    if is_same && is_settled { Ok(TableRead { definition, files, sum }) } else { Err(changed()) }
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
            while pages.next(&mut session, &mut |row| sum.add(&row.text)).await? {}
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

async fn rows(
    table: &Table,
    reader: &mut Session,
    spool: &mut Spool,
    directory: &Path,
) -> Result<(Vec<(String, Held)>, RowSum), DatabaseError> {
    if table.storage == Storage::Elsewhere {
        return Ok(Default::default());
    }
    if let Some(key) = &table.key {
        let read = in_order(table, key, reader, spool).await?;
        // Texts are compared by rules that differ from server to server: that none was passed over is worth a count.
        let by_text = key.columns.iter().filter_map(|&at| table.columns.get(at));
        if !by_text.into_iter().any(|column| matches!(column.form, Form::Text(_)))
            || count(table, reader).await? == read.1.rows
        {
            return Ok(read);
        }
        spool.renew();
    }
    sorted(table, reader, spool, directory).await
}

/// Cuts rows into files with names.
struct Files<'a> {
    table: &'a Table,
    cutter: RowCutter,
    sum: RowSum,
    name: String,
    taken: HashSet<String>,
    complete: Vec<(String, Vec<u8>)>,
}

impl<'a> Files<'a> {
    fn new(table: &'a Table) -> Self {
        let head = Head::new(table.name.clone(), table.columns.iter().map(|column| column.name.clone()).collect());
        Self {
            table,
            cutter: RowCutter::new(&head),
            sum: RowSum::default(),
            // Before every other name; it is the same whatever the first row is.
            name: "0".to_owned(),
            taken: HashSet::new(),
            complete: Vec::new(),
        }
    }

    fn row(&mut self, row: &RowText, key: &Key) {
        let border: Vec<_> = row.key(key).collect();
        if self.cutter.cuts_before(&border.join(&b','), row.text.len()) {
            let name = row.file_name(self.table, key);
            self.cut(&name);
        }
        self.add(&row.text);
    }

    fn line(&mut self, line: &[u8]) {
        if self.cutter.cuts_before(line, line.len()) {
            let name = format!("h{:016x}", hash(line));
            self.cut(name.as_bytes());
        }
        self.add(line);
    }

    fn add(&mut self, row: &[u8]) {
        self.sum.add(row);
        self.cutter.push(row);
    }

    fn cut(&mut self, next: &[u8]) {
        let mut name = file_stem(next);
        // Equal rows can be a border more than once.
        let stem = name.clone();
        let mut count = 1;
        while !self.taken.insert(name.clone()) {
            count += 1;
            name = format!("{stem}.{count}");
        }
        let name = std::mem::replace(&mut self.name, name);
        self.complete.extend(self.cutter.take().map(|content| (name, content)));
    }

    async fn spool(&mut self, spool: &mut Spool, files: &mut Vec<(String, Held)>) -> Result<(), DatabaseError> {
        for (name, content) in self.complete.drain(..) {
            files.push((name, spool.keep(content).await.map_err(disk)?));
        }
        Ok(())
    }

    async fn finish(
        mut self,
        spool: &mut Spool,
        mut files: Vec<(String, Held)>,
    ) -> Result<(Vec<(String, Held)>, RowSum), DatabaseError> {
        self.cut(b"");
        self.spool(spool, &mut files).await?;
        Ok((files, self.sum))
    }
}

async fn in_order(
    table: &Table,
    key: &Key,
    reader: &mut Session,
    spool: &mut Spool,
) -> Result<(Vec<(String, Held)>, RowSum), DatabaseError> {
    let mut cut = Files::new(table);
    let mut files = Vec::new();
    let mut pages = Pages::new(table, key);
    while pages.next(reader, &mut |row| cut.row(row, key)).await? {
        cut.spool(spool, &mut files).await?;
    }
    cut.finish(spool, files).await
}

async fn sorted(
    table: &Table,
    reader: &mut Session,
    spool: &mut Spool,
    directory: &Path,
) -> Result<(Vec<(String, Held)>, RowSum), DatabaseError> {
    let mut sorter = Sorter::new(directory);
    let mut rows = AllRows::of(table, reader).await?;
    while let Some(row) = rows.next().await? {
        sorter.push(&row.text).await.map_err(disk)?;
    }
    drop(rows);
    reader.let_go().await?;

    let mut cut = Files::new(table);
    let mut files = Vec::new();
    let mut sorted = sorter.finish().await.map_err(disk)?;
    loop {
        let (batch, rest) = sorted.next().await.map_err(disk)?;
        if batch.is_empty() {
            return cut.finish(spool, files).await;
        }
        sorted = rest;
        batch.iter().for_each(|line| cut.line(line));
        cut.spool(spool, &mut files).await?;
    }
}

fn disk(error: io::Error) -> DatabaseError {
    DatabaseError::Spool { source: error }
}
