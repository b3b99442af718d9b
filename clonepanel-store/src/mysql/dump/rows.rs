//! Reading the rows of a table, in the order of a key where it has one.

use super::{
    super::{
        DatabaseError,
        format::{literal::Form, name::quote},
        session::{Answer, Session, bytes, text},
    },
    catalogue::{Key, Table},
    range_sum,
};
use std::ops::Range;

const ACTION: &str = "reading rows";

/// So many bytes of rows are asked for at once: while they are read, whoever wants to alter the table waits for us, and
/// everybody else for them.
const PAGE: u64 = 2 << 20;
const FIRST_PAGE: u64 = 256;
const MOST_ROWS: u64 = 100_000;

/// A row, as its literals with commas in between, and where its key stands in it.
#[derive(Debug, Default)]
pub(crate) struct RowText {
    pub(crate) text: Vec<u8>,
    cells: Vec<Range<usize>>,
    /// What it adds to the sum that a server can be asked for, where that is wanted.
    pub(crate) hash: u64,
}

/// The rows from one key on, up to where another one would be: both as literals, none for the end there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span<'a> {
    pub(crate) from: Option<&'a [String]>,
    pub(crate) to: Option<&'a [String]>,
}

/// Reads a table with a key, page by page.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    table: &'a Table,
    key: &'a Key,
    span: Span<'a>,
    hashes: bool,
    select: String,
    page: u64,
    /// The literals of the key of the last row.
    last: Option<Vec<String>>,
    done: bool,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(table: &'a Table, key: &'a Key) -> Self {
        let span = Span::default();
        Self { table, key, span, hashes: false, select: select(table), page: FIRST_PAGE, last: None, done: false }
    }

    /// Only these rows.
    pub(crate) const fn within(mut self, span: Span<'a>) -> Self {
        self.span = span;
        self
    }

    /// With the hash of each row.
    pub(crate) const fn hashed(mut self, hashes: bool) -> Self {
        self.hashes = hashes;
        self
    }

    /// Reads the next rows and hands each to `take`, without holding anything at the server afterwards; `false` when there were
    /// no more.
    pub(crate) async fn next(
        &mut self,
        session: &mut Session,
        take: &mut (dyn FnMut(&RowText) -> Result<(), DatabaseError> + Send),
    ) -> Result<bool, DatabaseError> {
        if self.done {
            return Ok(false);
        }
        let mut answer = session.ask(ACTION, &self.question()).await?;
        let mut row = RowText::default();
        let (mut rows, mut len) = (0, 0);
        while let Some(values) = answer.next().await? {
            row.fill(self.table, &values)?;
            if self.hashes {
                row.hash = range_sum::hash(&self.table.columns, &values);
            }
            rows += 1;
            len += row.text.len() as u64;
            take(&row)?;
        }
        drop(answer);
        session.let_go().await?;
        if rows < self.page {
            self.done = true;
            return Ok(rows > 0);
        }
        self.last = Some(row.key_literals(self.key)?);
        let ideal = rows * PAGE / len.max(1);
        self.page = ideal.clamp(1, self.page * 8).min(MOST_ROWS);
        Ok(true)
    }

    fn question(&self) -> String {
        let names = key_names(self.table, self.key);
        let condition = self.span.condition(&names, self.last.as_deref());
        let (select, key, order) = (&self.select, quote(&self.key.name), names.join(","));
        format!("{select} FORCE INDEX ({key}){condition} ORDER BY {order} LIMIT {}", self.page)
    }
}

impl Span<'_> {
    /// What is true for its rows, or for those of them that come behind the row with a key.
    fn condition(self, names: &[String], last: Option<&[String]>) -> String {
        let from = match (last, self.from) {
            (Some(last), _) => Some(behind(names, last)),
            (None, from) => from.map(|from| compared(names, from, '>', ">=")),
        };
        let to = self.to.map(|to| compared(names, to, '<', "<"));
        match (from, to) {
            (None, None) => String::new(),
            (Some(one), None) | (None, Some(one)) => format!(" WHERE {one}"),
            (Some(from), Some(to)) => format!(" WHERE ({from}) AND ({to})"),
        }
    }
}

/// How many rows there are in each of some spans, which follow each other, and what their sums are, as the server sees it; `None` when
/// it cannot tell.
///
/// `borders` are where the spans between the first and the last one begin.
pub(crate) async fn sums(
    table: &Table,
    key: &Key,
    span: Span<'_>,
    borders: &[&[String]],
    session: &mut Session,
) -> Result<Option<Vec<(u64, u64)>>, DatabaseError> {
    let names = key_names(table, key);
    let (expression, condition) = (range_sum::expression(&table.columns), span.condition(&names, None));
    let (name, key) = (quote(&table.name), quote(&key.name));
    let (place, group) = if borders.is_empty() {
        ("0".to_owned(), "")
    } else {
        let below = borders.iter().enumerate();
        let below = below.map(|(at, border)| format!("WHEN {} THEN {at}", compared(&names, border, '<', "<")));
        let below: Vec<_> = below.collect();
        (format!("CASE {} ELSE {} END", below.join(" "), borders.len()), " GROUP BY 1")
    };
    let question = format!("SELECT {place},{expression} FROM {name} FORCE INDEX ({key}){condition}{group}");
    let answer = session.rows("comparing rows", &question).await;
    let answer = match answer {
        Err(error) if error.ends_the_session() => return Err(error),
        answer => answer,
    };
    session.let_go().await?;
    match answer {
        Ok(answer) => Ok(numbers(&answer, borders.len() + 1)),
        // There are types that it does not take as bytes.
        Err(DatabaseError::Server { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What an answer has for each of some spans: those without rows are not in it.
fn numbers(answer: &[Vec<mysql_async::Value>], spans: usize) -> Option<Vec<(u64, u64)>> {
    let mut sums = vec![(0, 0); spans];
    for row in answer {
        let numbers = row.iter().map(|value| text(value).ok()?.parse::<u64>().ok()).collect::<Option<Vec<_>>>()?;
        let [place, rows, sum] = numbers.try_into().ok()?;
        *sums.get_mut(usize::try_from(place).ok()?)? = (rows, sum);
    }
    Some(sums)
}

fn key_names(table: &Table, key: &Key) -> Vec<String> {
    key.columns.iter().filter_map(|&at| Some(quote(&table.columns.get(at)?.name))).collect()
}

/// All rows of a table, in no order. Until they are all read, whoever wants to alter the table waits, or to change rows where the engine has
/// no transactions, and everybody else for them: there is no other way without a key, but to read fast.
#[derive(Debug)]
pub(crate) struct AllRows<'a> {
    table: &'a Table,
    answer: Answer<'a>,
    row: RowText,
}

impl<'a> AllRows<'a> {
    pub(crate) async fn of(table: &'a Table, session: &'a mut Session) -> Result<Self, DatabaseError> {
        let answer = session.ask(ACTION, &select(table)).await?;
        Ok(Self { table, answer, row: RowText::default() })
    }

    pub(crate) async fn next(&mut self) -> Result<Option<&RowText>, DatabaseError> {
        let Some(values) = self.answer.next().await? else { return Ok(None) };
        self.row.fill(self.table, &values)?;
        Ok(Some(&self.row))
    }
}

/// How many rows the server counts, at the same moment.
pub(crate) async fn count(table: &Table, session: &mut Session) -> Result<u64, DatabaseError> {
    let counted = session.one(ACTION, &format!("SELECT COUNT(*) FROM {}", quote(&table.name))).await?;
    session.let_go().await?;
    let counted = counted.first().map(text).transpose()?.and_then(|count| count.parse().ok());
    counted.ok_or_else(|| DatabaseError::nonsense(ACTION, "a count is no number"))
}

fn select(table: &Table) -> String {
    let expressions: Vec<_> = table.columns.iter().map(|column| column.expression.as_str()).collect();
    // A table whose every column is computed still has rows.
    let expressions = if expressions.is_empty() { "NULL".to_owned() } else { expressions.join(",") };
    format!("SELECT {expressions} FROM {}", quote(&table.name))
}

/// What is true for the rows behind the one with this key.
fn behind(names: &[String], last: &[String]) -> String {
    compared(names, last, '>', ">")
}

/// What is true for the rows on one side of a key, in a form that every server finds its index in; how the last column is compared
/// says whether the row itself is among them.
fn compared(names: &[String], key: &[String], side: char, last: &str) -> String {
    match (names, key) {
        ([name], [value]) => format!("{name} {last} {value}"),
        ([name, names @ ..], [value, rest @ ..]) => {
            format!("{name} {side}= {value} AND ({name} {side} {value} OR {})", compared(names, rest, side, last))
        }
        _ => "TRUE".to_owned(),
    }
}

impl RowText {
    fn fill(&mut self, table: &Table, values: &[mysql_async::Value]) -> Result<(), DatabaseError> {
        self.text.clear();
        self.cells.clear();
        if table.columns.is_empty() {
            return Ok(());
        }
        if values.len() != table.columns.len() {
            return Err(DatabaseError::nonsense(ACTION, "a row has other columns than were asked for"));
        }
        for (column, value) in table.columns.iter().zip(values) {
            if !self.cells.is_empty() {
                self.text.push(b',');
            }
            let from = self.text.len();
            let written = column.form.write(bytes(value), &mut self.text);
            written.map_err(|_| DatabaseError::nonsense(ACTION, "a value is not of the type of its column"))?;
            self.cells.push(from..self.text.len());
        }
        Ok(())
    }

    /// The literals of the key, in its order.
    pub(crate) fn key<'t>(&'t self, key: &'t Key) -> impl Iterator<Item = &'t [u8]> {
        key.columns.iter().filter_map(|&at| self.text.get(self.cells.get(at)?.clone()))
    }

    pub(crate) fn key_literals(&self, key: &Key) -> Result<Vec<String>, DatabaseError> {
        let literals = self.key(key).map(|literal| String::from_utf8(literal.to_vec()));
        literals.collect::<Result<_, _>>().map_err(|error| DatabaseError::nonsense(ACTION, error))
    }
}

/// The name of a file that begins with a key: numbers with as many digits as there can be, so that the order of names is that of
/// keys.
pub(crate) fn file_name<'l>(table: &Table, key: &Key, literals: impl Iterator<Item = &'l [u8]>) -> Vec<u8> {
    let mut name = Vec::new();
    for (literal, &at) in literals.zip(&key.columns) {
        if !name.is_empty() {
            name.push(b',');
        }
        let is_number = table.columns.get(at).is_some_and(|column| column.form == Form::Number);
        if is_number && literal.iter().all(u8::is_ascii_digit) {
            name.extend(std::iter::repeat_n(b'0', 20usize.saturating_sub(literal.len())));
            name.extend_from_slice(literal);
        } else {
            name.push(b'k');
            name.extend(literal.iter().filter(|&&b| b != b'\''));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_several_columns_is_followed() {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert_eq!(behind(&owned(&["`a`"]), &owned(&["5"])), "`a` > 5");
        assert_eq!(
            behind(&owned(&["`a`", "`b`", "`c`"]), &owned(&["5", "'x'", "0x00"])),
            "`a` >= 5 AND (`a` > 5 OR `b` >= 'x' AND (`b` > 'x' OR `c` > 0x00))"
        );
    }

    #[test]
    fn spans_meet_and_do_not_overlap() {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let names = owned(&["`a`", "`b`"]);
        let (from, to) = (owned(&["5", "'x'"]), owned(&["7", "'y'"]));
        let span = Span { from: Some(&from), to: Some(&to) };
        assert_eq!(
            span.condition(&names, None),
            " WHERE (`a` >= 5 AND (`a` > 5 OR `b` >= 'x')) AND (`a` <= 7 AND (`a` < 7 OR `b` < 'y'))"
        );
        assert_eq!(
            Span { to: None, ..span }.condition(&names, Some(&to)),
            " WHERE `a` >= 7 AND (`a` > 7 OR `b` > 'y')"
        );
        assert_eq!(Span::default().condition(&names, None), "");
    }
}
