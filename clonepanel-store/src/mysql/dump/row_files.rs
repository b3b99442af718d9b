//! [`RowFiles`]: the files of a table's rows, in the making.

use super::{
    super::{
        DatabaseError,
        format::{
            name::file_stem,
            range_record::{Block, Range},
            row_file::{Head, RowCutter, RowSum, hash},
        },
    },
    catalogue::{Key, Table},
    content::{Content, Kept},
    rows::{RowText, file_name},
    spool::Spool,
};
use clonepanel_core::time::Timestamp;
use std::collections::HashSet;

/// A block ends when it has so many bytes, in a database that is not large.
const BLOCK: u64 = 4 << 10;
/// So many blocks are the most of a database, more or less: all are kept in memory.
const BLOCKS: u64 = 32 << 10;

/// A file of rows, and what is recorded of it.
#[derive(Debug)]
pub(crate) struct RowFile {
    pub(crate) range: Range,
    pub(crate) content: Content,
}

/// After how many bytes a block ends, in a database of so many bytes.
pub(crate) fn block_len(database: u64) -> usize {
    usize::try_from((database / BLOCKS).max(BLOCK)).unwrap_or(usize::MAX)
}

/// Cuts rows into files with names.
#[derive(Debug)]
pub(crate) struct RowFiles<'a> {
    table: &'a Table,
    /// The time of the dump.
    time: Timestamp,
    /// After how many bytes a block ends.
    block: usize,
    cutter: RowCutter,
    /// The one that is being filled.
    range: Range,
    /// Whether the last block of it takes more rows.
    is_open: bool,
    taken: HashSet<String>,
    complete: Vec<(Range, Vec<u8>)>,
    files: Vec<RowFile>,
}

impl<'a> RowFiles<'a> {
    pub(crate) fn new(table: &'a Table, time: Timestamp, block: usize) -> Self {
        let head = Head::new(table.name.clone(), table.columns.iter().map(|column| column.name.clone()).collect());
        Self {
            table,
            time,
            block,
            cutter: RowCutter::new(&head),
            // Before every other name; it is the same whatever the first row is.
            range: Range { file: "0".to_owned(), ..Range::default() },
            is_open: false,
            taken: HashSet::new(),
            complete: Vec::new(),
            files: Vec::new(),
        }
    }

    /// No other file gets these names.
    pub(crate) fn reserve<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        self.taken.extend(names.map(str::to_owned));
    }

    pub(crate) fn row(&mut self, row: &RowText, key: &Key) -> Result<(), DatabaseError> {
        let border: Vec<_> = row.key(key).collect();
        if self.cutter.cuts_before(&border.join(&b','), row.text.len()) {
            let name = file_name(self.table, key, row.key(key));
            self.cut(&name, row.key_literals(key)?);
        }
        if !self.is_open {
            self.range.blocks.push(Block { from: row.key_literals(key)?, ..Block::default() });
        }
        self.range.asked ^= row.hash;
        let sum = self.add(&row.text);
        if let Some(block) = self.range.blocks.last_mut() {
            // The parentheses, and what stands between two rows.
            block.len += row.text.len() + if self.is_open { 4 } else { 2 };
            block.rows += 1;
            block.sum = block.sum.wrapping_add(sum);
            block.asked ^= row.hash;
            self.is_open = block.len < self.block;
        }
        Ok(())
    }

    pub(crate) fn line(&mut self, line: &[u8]) {
        if self.cutter.cuts_before(line, line.len()) {
            let name = format!("h{:016x}", hash(line));
            self.cut(name.as_bytes(), Vec::new());
        }
        self.add(line);
    }

    /// Adds a row and returns what it adds to the sum.
    fn add(&mut self, row: &[u8]) -> u64 {
        let mut sum = RowSum::default();
        sum.add(row);
        self.range.rows += 1;
        self.range.sum = self.range.sum.wrapping_add(sum.sum);
        self.cutter.push(row);
        sum.sum
    }

    /// Adds a block that is as it was.
    pub(crate) fn block(&mut self, block: &Block, rows: &[u8], key: &Key) {
        if self.cutter.is_full_with(rows.len()) {
            let name = file_name(self.table, key, block.from.iter().map(String::as_bytes));
            self.cut(&name, block.from.clone());
        }
        self.cutter.push_all(rows, block.rows);
        self.range.rows += block.rows;
        self.range.sum = self.range.sum.wrapping_add(block.sum);
        self.range.asked ^= block.asked;
        self.range.blocks.push(block.clone());
        self.is_open = false;
    }

    /// The rows of each block of a file, if it is the one that the record is about.
    pub(crate) fn blocks_of<'c>(&self, range: &Range, content: &'c [u8]) -> Option<Vec<&'c [u8]>> {
        let mut rest = self.cutter.rows_of(content)?;
        let mut blocks = Vec::new();
        for block in &range.blocks {
            if !blocks.is_empty() {
                rest = rest.strip_prefix(b",\n")?;
            }
            let (rows, behind) = rest.split_at_checked(block.len)?;
            let mut sum = RowSum::default();
            for line in rows.split(|&b| b == b'\n') {
                let row = line.strip_suffix(b",").unwrap_or(line);
                sum.add(row.strip_prefix(b"(")?.strip_suffix(b")")?);
            }
            if (sum != RowSum { rows: block.rows, sum: block.sum }) {
                return None;
            }
            blocks.push(rows);
            rest = behind;
        }
        rest.is_empty().then_some(blocks)
    }

    fn cut(&mut self, next: &[u8], from: Vec<String>) {
        let mut name = file_stem(next);
        // Equal rows can be a border more than once.
        let stem = name.clone();
        let mut count = 1;
        while !self.taken.insert(name.clone()) {
            count += 1;
            name = format!("{stem}.{count}");
        }
        self.go_on(Range { file: name, from, ..Range::default() });
    }

    /// Ends a file, and begins the one of another range.
    fn go_on(&mut self, next: Range) {
        let mut range = std::mem::replace(&mut self.range, next);
        self.is_open = false;
        if let Some(content) = self.cutter.take() {
            range.len = content.len() as u64;
            range.read = Range::micros(self.time);
            self.complete.push((range, content));
        }
    }

    /// Goes on with a range that has its name already.
    pub(crate) fn begin(&mut self, known: &Range) {
        self.go_on(Range { file: known.file.clone(), from: known.from.clone(), ..Range::default() });
    }

    pub(crate) async fn spool(&mut self, spool: &mut Spool) -> Result<(), DatabaseError> {
        for (range, content) in self.complete.drain(..) {
            let held = spool.keep(content).await.map_err(|source| DatabaseError::Spool { source })?;
            self.files.push(RowFile { range, content: Content::Held(held) });
        }
        Ok(())
    }

    /// Ends what was begun, and adds a file that is as it was.
    pub(crate) async fn keep(&mut self, range: &Range, kept: Kept, spool: &mut Spool) -> Result<(), DatabaseError> {
        self.go_on(Range::default());
        self.spool(spool).await?;
        self.files.push(RowFile { range: range.clone(), content: Content::Kept(kept) });
        Ok(())
    }

    pub(crate) async fn finish(mut self, spool: &mut Spool) -> Result<Vec<RowFile>, DatabaseError> {
        self.go_on(Range::default());
        self.spool(spool).await?;
        Ok(self.files)
    }
}

/// The sum over all rows of all files.
pub(crate) fn sum(files: &[RowFile]) -> RowSum {
    files.iter().fold(RowSum::default(), |sum, file| RowSum {
        rows: sum.rows + file.range.rows,
        sum: sum.sum.wrapping_add(file.range.sum),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_database_has_no_more_blocks() {
        assert_eq!(block_len(0), 4096);
        assert_eq!(block_len(100_000_000), 4096);
        assert_eq!(block_len(100_000_000_000) as u64, 100_000_000_000 / BLOCKS);
    }
}
