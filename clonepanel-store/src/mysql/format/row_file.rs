//! Files of rows: a head that never changes, then one row a line in key order.
//!
//! ```sql
//! SET NAMES utf8mb4; SET SQL_MODE='...', ...;
//! INSERT INTO `wp_posts` (`ID`,`post_title`) VALUES
//! (1,'Hello world!'),
//! (2,'Sample page');
//! ```

use super::{literal, name::quote};

/// The first line of every file of rows and of every table: what the rest relies on, whoever loads it. Dates that do not exist
/// and a zero in an `AUTO_INCREMENT` column are kept as they are.
pub(crate) const SESSION: &str = "SET NAMES utf8mb4; SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION', \
                                  TIME_ZONE='+00:00', FOREIGN_KEY_CHECKS=0, UNIQUE_CHECKS=0;\n";

/// No cut before so many bytes of rows.
const SHORTEST: usize = 256 << 10;
/// From there on, a cut every so many bytes on average.
const SPACING: u64 = 512 << 10;
/// A cut at the latest after so many bytes, unless one row is longer: well below what servers take in one statement.
const LONGEST: usize = 2 << 20;

/// The head of the files of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    table: String,
    columns: Vec<String>,
}

impl Head {
    pub(crate) fn new(table: impl Into<String>, columns: Vec<String>) -> Self {
        Self { table: table.into(), columns }
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// The columns, in the order of the values.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The statement up to its rows, under the name of a table.
    pub(crate) fn insert_into(&self, table: &str) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| quote(column)).collect();
        format!("INSERT INTO {} ({}) VALUES\n", quote(table), columns.join(","))
    }

    fn text(&self) -> String {
        format!("{SESSION}{}", self.insert_into(&self.table))
    }

    /// Reads what [`Self::insert_into`] writes, without the line break at its end.
    fn parse(insert: &[u8]) -> Option<Self> {
        let mut rest = std::str::from_utf8(insert).ok()?.strip_prefix("INSERT INTO ")?;
        let table = unquote(&mut rest)?;
        rest = rest.strip_prefix(" (")?;
        let mut columns = Vec::new();
        loop {
            columns.push(unquote(&mut rest)?);
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        (rest == ") VALUES").then_some(Self { table, columns })
    }
}

/// Takes a name between backticks off the front of `text`.
fn unquote(text: &mut &str) -> Option<String> {
    let mut rest = text.strip_prefix('`')?;
    let mut name = String::new();
    loop {
        let at = rest.find('`')?;
        name.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('`') {
            Some(more) => {
                name.push('`');
                rest = more;
            }
            None => break,
        }
    }
    *text = rest;
    Some(name)
}

/// Gathers rows into files.
///
/// Where a file ends depends on the keys of the rows around the border alone: the hash of a row's key says whether it may begin
/// a file. So a row that is added or removed changes one file, and moves one border at the most.
#[derive(Debug)]
pub(crate) struct RowCutter {
    head: String,
    content: Vec<u8>,
    rows: u64,
}

impl RowCutter {
    pub(crate) fn new(head: &Head) -> Self {
        Self { head: head.text(), content: Vec::new(), rows: 0 }
    }

    /// Whether a row with this key begins a new file.
    pub(crate) fn cuts_before(&self, key: &[u8], row_len: usize) -> bool {
        let len = self.content.len().saturating_sub(self.head.len());
        if self.rows == 0 || len < SHORTEST {
            return false;
        }
        // A long row is a border with a higher probability than a short one: the mean is in bytes.
        let chance = (u64::MAX / SPACING).saturating_mul(row_len as u64);
        len + row_len > LONGEST || hash(key) < chance
    }

    /// Adds a row: its literals with commas in between.
    pub(crate) fn push(&mut self, row: &[u8]) {
        if self.rows == 0 {
            self.content.extend_from_slice(self.head.as_bytes());
        } else {
            self.content.extend_from_slice(b",\n");
        }
        self.content.push(b'(');
        self.content.extend_from_slice(row);
        self.content.push(b')');
        self.rows += 1;
    }

    /// Adds rows as they stand in a file of the same head: each in parentheses, with a comma and a line break in between.
    pub(crate) fn push_all(&mut self, rows: &[u8], count: u64) {
        self.content.extend_from_slice(if self.rows == 0 { self.head.as_bytes() } else { b",\n" });
        self.content.extend_from_slice(rows);
        self.rows += count;
    }

    /// Whether so many more bytes would make the file too long.
    pub(crate) fn is_full_with(&self, len: usize) -> bool {
        self.rows > 0 && self.content.len().saturating_sub(self.head.len()) + len > LONGEST
    }

    /// The rows of a file with this head; `None` when it has another one, or does not end as it should.
    pub(crate) fn rows_of<'c>(&self, content: &'c [u8]) -> Option<&'c [u8]> {
        content.strip_prefix(self.head.as_bytes())?.strip_suffix(b";\n")
    }

    /// The file of the rows so far; `None` when there are none.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        if self.rows == 0 {
            return None;
        }
        self.rows = 0;
        self.content.extend_from_slice(b";\n");
        Some(std::mem::take(&mut self.content))
    }
}

/// 64 bits that depend on all of `bytes`.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    blake3::hash(bytes).as_bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// A file of rows as it comes in, checked to be nothing but that: a head, and rows of literals.
///
/// What passes can be sent to a server as it stands.
#[derive(Debug, Default)]
pub(crate) struct RowFileReader {
    buffer: Vec<u8>,
    /// How much of the buffer holds no line break.
    searched: usize,
    has_session: bool,
    head: Option<Head>,
    ended: bool,
}

/// The longest line that is taken, in bytes: a row of the longest packet there is, as digits.
pub(crate) const MAX_LINE: usize = 1 << 30;
const MAX_HEAD: usize = 1 << 20;

/// A file of rows that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowFileError {
    #[error("it has a line that is not a row of literals")]
    NotARow,
    #[error("it does not begin as a file of rows does")]
    NotAHead,
    #[error("it ends in the middle")]
    Short,
    #[error("it goes on after its end")]
    Trailing,
}

impl RowFileReader {
    pub(crate) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Takes the next piece and hands each whole row, as `(…)`, to `row`.
    pub(crate) fn feed(&mut self, piece: &[u8], mut row: impl FnMut(&[u8])) -> Result<(), RowFileError> {
        self.buffer.extend_from_slice(piece);
        let mut done = 0;
        while let Some(at) = self.buffer.get(self.searched..).and_then(|rest| rest.iter().position(|&b| b == b'\n')) {
            let end = self.searched + at;
            let line = &self.buffer[done..end];
            if !self.has_session {
                if SESSION.as_bytes().strip_suffix(b"\n") != Some(line) {
                    return Err(RowFileError::NotAHead);
                }
                self.has_session = true;
            } else if self.head.is_none() {
                // A name can have line breaks: those between backticks do not end the line.
                if line.iter().filter(|&&b| b == b'`').count() % 2 == 1 {
                    self.searched = end + 1;
                    continue;
                }
                self.head = Some(Head::parse(line).ok_or(RowFileError::NotAHead)?);
            } else {
                if self.ended {
                    return Err(RowFileError::Trailing);
                }
                let columns = self.head.as_ref().map_or(0, |head| head.columns.len());
                let (body, last) = line.split_last().map(|(last, body)| (body, *last)).ok_or(RowFileError::NotARow)?;
                self.ended = last == b';';
                if !(self.ended || last == b',') || !is_row(body, columns) {
                    return Err(RowFileError::NotARow);
                }
                row(body);
            }
            done = end + 1;
            self.searched = done;
        }
        self.buffer.drain(..done);
        self.searched = self.buffer.len();
        let limit = if self.head.is_some() { MAX_LINE } else { MAX_HEAD };
        if self.buffer.len() > limit {
            return Err(if self.head.is_some() { RowFileError::NotARow } else { RowFileError::NotAHead });
        }
        Ok(())
    }

    /// Says that this was all.
    pub(crate) fn finish(&self) -> Result<(), RowFileError> {
        if self.head.is_none() {
            return Err(RowFileError::NotAHead);
        }
        match (self.ended, self.buffer.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(RowFileError::Trailing),
            (false, _) => Err(RowFileError::Short),
        }
    }
}

fn is_row(line: &[u8], columns: usize) -> bool {
    let Some(mut rest) = line.strip_prefix(b"(") else { return false };
    let mut found = 0;
    loop {
        // A table can have no column that is written at all.
        if columns > 0 || !rest.starts_with(b")") {
            let Some(len) = literal::scan(rest) else { return false };
            rest = rest.get(len..).unwrap_or_default();
            found += 1;
        }
        match rest {
            [b',', more @ ..] => rest = more,
            [b')'] => return found == columns,
            _ => return false,
        }
    }
}

/// The rows of a file and a sum over them that does not depend on their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RowSum {
    /// How many.
    pub(crate) rows: u64,
    /// The sum of 64 bits of each row's hash.
    pub(crate) sum: u64,
}

impl RowSum {
    /// Adds a row: its literals with commas in between.
    pub(crate) fn add(&mut self, row: &[u8]) {
        self.rows += 1;
        // Not an exclusive or: two equal rows must not cancel each other out.
        self.sum = self.sum.wrapping_add(hash(row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> Head {
        Head::new("a`b", vec!["id".to_owned(), "te`xt".to_owned()])
    }

    fn read(text: &[u8], piece: usize) -> Result<(Option<Head>, Vec<String>), RowFileError> {
        let mut reader = RowFileReader::default();
        let mut rows = Vec::new();
        for chunk in text.chunks(piece) {
            reader.feed(chunk, |row| rows.push(String::from_utf8(row.to_vec()).unwrap()))?;
        }
        reader.finish()?;
        Ok((reader.head().cloned(), rows))
    }

    #[test]
    fn the_form_is_fixed() {
        let mut cutter = RowCutter::new(&head());
        assert_eq!(cutter.take(), None);
        cutter.push(b"1,'x'");
        cutter.push(b"2,NULL");
        let text = String::from_utf8(cutter.take().unwrap()).unwrap();
        assert_eq!(
            text,
            "SET NAMES utf8mb4; SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION', TIME_ZONE='+00:00', \
             FOREIGN_KEY_CHECKS=0, UNIQUE_CHECKS=0;\nINSERT INTO `a``b` (`id`,`te``xt`) VALUES\n(1,'x'),\n(2,NULL);\n"
        );
        for piece in [1, 7, text.len()] {
            assert_eq!(read(text.as_bytes(), piece), Ok((Some(head()), vec!["(1,'x')".into(), "(2,NULL)".into()])));
        }
    }

    #[test]
    fn a_file_that_is_something_else_is_refused() {
        let good = |rows: &str| format!("{}{rows}", head().text());
        for (text, why) in [
            (good(""), RowFileError::Short),
            (good("(1,'x'),\n"), RowFileError::Short),
            (good("(1,'x');"), RowFileError::Short),
            (good("(1,'x');\nDROP TABLE t;\n"), RowFileError::Trailing),
            (good("(1,'x');\nDROP"), RowFileError::Trailing),
            (good("(1,'x');DROP TABLE t;\n"), RowFileError::NotARow),
            (good("(1,'x'),(2,'y');\n"), RowFileError::NotARow),
            (good("(1,'x',3);\n"), RowFileError::NotARow),
            (good("(1);\n"), RowFileError::NotARow),
            (good("(1,(SELECT 1));\n"), RowFileError::NotARow),
            (good("(1,sleep(9));\n"), RowFileError::NotARow),
            (good("(1,'x' /*! + 1 */);\n"), RowFileError::NotARow),
            (good("\n"), RowFileError::NotARow),
            ("DROP TABLE t;\n\n".to_owned(), RowFileError::NotAHead),
            (good("(1,'x');\n").replace("INSERT", "REPLACE"), RowFileError::NotAHead),
            (good("(1,'x');\n").replace("+00:00", "+01:00"), RowFileError::NotAHead),
            (good("(1,'x');\n").replace(" VALUES", " SELECT"), RowFileError::NotAHead),
        ] {
            assert_eq!(read(text.as_bytes(), 5), Err(why), "{text}");
        }
    }

    #[test]
    fn a_row_more_moves_one_border_at_most() {
        let rows: Vec<_> =
            (0..60_000u32).map(|i| (i * 2, format!("{},'{}'", i * 2, "x".repeat(40 + i as usize % 50)))).collect();
        let files = |rows: &[(u32, String)]| {
            let mut cutter = RowCutter::new(&head());
            let mut files = Vec::new();
            for (key, row) in rows {
                if cutter.cuts_before(key.to_string().as_bytes(), row.len()) {
                    files.extend(cutter.take());
                }
                cutter.push(row.as_bytes());
            }
            files.extend(cutter.take());
            files
        };
        let before = files(&rows);
        assert!((5..15).contains(&before.len()), "{}", before.len());
        assert!(before.iter().all(|file| file.len() < LONGEST + 1000));
        let mut more = rows.clone();
        more.insert(20_000, (39_999, "39999,'new'".to_owned()));
        let after = files(&more);
        let changed = after.iter().filter(|file| !before.contains(file)).count();
        assert!((1..=2).contains(&changed), "{changed} of {}", after.len());
    }

    #[test]
    fn the_sum_knows_equal_rows() {
        let mut one = RowSum::default();
        one.add(b"1");
        let mut three = one;
        three.add(b"1");
        three.add(b"1");
        assert!(one.sum != three.sum && three.rows == 3);
    }

    proptest! {
        #[test]
        fn heads_round_trip(table in "[a-z` ,()\\\\!é\n]{1,20}", columns in prop::collection::vec("[a-z` ,()'\n]{1,9}", 1..5)) {
            let head = Head::new(table, columns);
            let text = format!("{}(1);\n", head.text());
            let mut reader = RowFileReader::default();
            let _ = reader.feed(text.as_bytes(), |_| {});
            prop_assert_eq!(reader.head(), Some(&head));
        }
    }
}
