//! Reading a table in the order of its key, and of that only what is not as it was.

use super::{
    super::{
        DatabaseError,
        format::{
            name::file_stem,
            range_record::{Block, Range, TableRanges},
        },
    },
    catalogue::{Key, Storage, Table},
    content::Kept,
    row_files::{RowFile, RowFiles},
    rows::{self, Pages, Span},
    table::Reading,
};
use std::ops;
use tokio::time::Instant;

/// The longest file that is read again rather than asked about, in bytes: the question is not much shorter.
const SHORT: u64 = 4 << 10;

/// The longest file whose blocks are told apart, in bytes: it is kept in memory for that.
const LONG: u64 = 4 << 20;
/// So many ranges or blocks are asked about at once.
const AT_ONCE: usize = 48;
/// So many blocks are asked about as one before they are asked about one by one.
const CHUNK: usize = 12;
/// Ranges of so many bytes are asked about at once, or a single one: whoever wants to alter the table waits for the answer.
const TOGETHER: u64 = 8 << 20;

/// The blocks of a range that spans some keys.
struct Blocks<'a> {
    span: Span<'a>,
    all: &'a [Block],
    begins: Vec<&'a [String]>,
}

impl Blocks<'_> {
    /// From one block up to another one. What stands before the first row of the first block belongs to it.
    fn between(&self, from: usize, to: usize) -> Span<'_> {
        Span {
            from: if from == 0 { self.span.from } else { self.begins.get(from).copied() },
            to: self.begins.get(to).copied().or(self.span.to),
        }
    }

    /// The rows of some of them, and the sum.
    fn sum(&self, part: &ops::Range<usize>) -> (u64, u64) {
        let blocks = self.all.get(part.clone()).unwrap_or_default();
        blocks.iter().fold((0, 0), |(rows, sum), block| (rows + block.rows, sum ^ block.asked))
    }
}

impl Reading<'_> {
    /// Reads in the order of the key, range by range where an older dump has some: those that are as they were are passed over.
    pub(crate) async fn in_order(
        &mut self,
        table: &Table,
        key: &Key,
        known: Option<&TableRanges>,
    ) -> Result<Vec<RowFile>, DatabaseError> {
        let mut files = RowFiles::new(table, self.time, self.block);
        let Some(known) = known else {
            self.span(table, key, Span::default(), &mut files).await?;
            return files.finish(self.spool).await;
        };
        files.reserve(known.ranges.iter().map(|range| range.file.as_str()));
        let begins: Vec<_> = known.ranges.iter().map(|range| range.from.as_slice()).collect();
        // What stands before the first range's first row belongs to it.
        let between = |from: usize, to: usize| Span {
            from: if from == 0 { None } else { begins.get(from).copied() },
            to: begins.get(to).copied(),
        };
        let mut at = 0;
        while let Some(range) = known.ranges.get(at) {
            let group = self.comparable(table, &known.ranges[at..]).await;
            if group.is_empty() {
                files.begin(range);
                self.span(table, key, between(at, at + 1), &mut files).await?;
                at += 1;
                continue;
            }
            let end = at + group.len();
            let sums = self.sums(table, key, between(at, end), &begins[at + 1..end]).await?.unwrap_or_default();
            for (place, (range, file)) in group.iter().enumerate() {
                if sums.get(place) == Some(&(range.rows, range.asked)) {
                    files.keep(range, file.clone(), self.spool).await?;
                } else {
                    self.changed(table, key, between(at, at + 1), range, file, &mut files).await?;
                }
                at += 1;
            }
        }
        files.finish(self.spool).await
    }

    /// The ranges at the beginning of `ranges` that can be asked about in one question, and their files.
    async fn comparable<'r>(&self, table: &Table, ranges: &'r [Range]) -> Vec<(&'r Range, Kept)> {
        let mut group = Vec::new();
        let Some(known) = self.known else { return group };
        let stem = file_stem(table.name.as_bytes());
        let mut len = 0;
        for range in ranges.iter().take(AT_ONCE).take_while(|range| range.len > SHORT) {
            len += range.len;
            if len > TOGETHER && !group.is_empty() {
                break;
            }
            let Some(file) = known.file(&stem, range).await else { break };
            group.push((range, file));
        }
        group
    }

    /// Reads what of a range is not as it was, and takes the rest from the older file.
    async fn changed(
        &mut self,
        table: &Table,
        key: &Key,
        span: Span<'_>,
        range: &Range,
        file: &Kept,
        files: &mut RowFiles<'_>,
    ) -> Result<(), DatabaseError> {
        files.begin(range);
        let content = if range.len <= LONG && range.blocks.len() > 1 { file.read().await } else { None };
        let Some(rows) = content.as_deref().and_then(|content| files.blocks_of(range, content)) else {
            return self.span(table, key, span, files).await;
        };
        let begins = range.blocks.iter().map(|block| block.from.as_slice()).collect();
        let blocks = Blocks { span, all: &range.blocks, begins };
        // Some together first, then those one by one that are not all as they were.
        let chunks = (0..rows.len()).step_by(CHUNK).map(|from| from..(from + CHUNK).min(rows.len()));
        let chunks = self.compare(table, key, &blocks, chunks.collect()).await?;
        let parts = chunks.into_iter().flat_map(|(chunk, is_same)| {
            let len = if is_same { chunk.len() } else { 1 };
            chunk.step_by(len.max(1)).map(move |from| from..from + len)
        });
        let mut parts = self.compare(table, key, &blocks, parts.collect()).await?.into_iter().peekable();
        while let Some((part, is_same)) = parts.next() {
            if is_same {
                for (block, rows) in range.blocks.iter().zip(&rows).take(part.end).skip(part.start) {
                    files.block(block, rows, key);
                }
                files.spool(self.spool).await?;
                continue;
            }
            let mut end = part.end;
            while let Some((next, _)) = parts.next_if(|(_, is_same)| !is_same) {
                end = next.end;
            }
            self.span(table, key, blocks.between(part.start, end), files).await?;
        }
        Ok(())
    }

    /// Which parts, that follow each other, are as they were.
    async fn compare(
        &mut self,
        table: &Table,
        key: &Key,
        blocks: &Blocks<'_>,
        parts: Vec<ops::Range<usize>>,
    ) -> Result<Vec<(ops::Range<usize>, bool)>, DatabaseError> {
        let mut compared = Vec::new();
        for group in parts.chunks(AT_ONCE) {
            let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
            let borders: Vec<_> =
                group.iter().skip(1).filter_map(|part| blocks.begins.get(part.start).copied()).collect();
            let sums =
                self.sums(table, key, blocks.between(first.start, last.end), &borders).await?.unwrap_or_default();
            let is_same = |(at, part): (usize, &ops::Range<usize>)| sums.get(at) == Some(&blocks.sum(part));
            compared.extend(group.iter().enumerate().map(|(at, part)| (part.clone(), is_same((at, part)))));
        }
        Ok(compared)
    }

    async fn sums(
        &mut self,
        table: &Table,
        key: &Key,
        span: Span<'_>,
        borders: &[&[String]],
    ) -> Result<Option<Vec<(u64, u64)>>, DatabaseError> {
        let begun = Instant::now();
        let answer = rows::sums(table, key, span, borders, self.rows).await?;
        // Tables without transactions are locked while they are read: whoever wants to write waits.
        if let Some(sums) = self.sums.filter(|_| table.storage == Storage::Transactional) {
            tokio::time::sleep(sums.pause(begun.elapsed())).await;
        }
        Ok(answer)
    }

    async fn span(
        &mut self,
        table: &Table,
        key: &Key,
        span: Span<'_>,
        files: &mut RowFiles<'_>,
    ) -> Result<(), DatabaseError> {
        let mut pages = Pages::new(table, key).within(span).hashed(self.sums.is_some());
        while pages.next(self.rows, &mut |row| files.row(row, key)).await? {
            files.spool(self.spool).await?;
        }
        Ok(())
    }
}
