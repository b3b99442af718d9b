//! [`RowLoader`]: from the pieces of a file of rows to statements.

use super::{
    super::{
        DatabaseError,
        format::{
            definition::BadDefinition,
            row_file::{Head, RowFileError, RowFileReader},
        },
    },
    shadow,
    target::Target,
};

/// Rows are sent in statements of this length, in bytes: few enough round trips, and far below what servers take.
const STATEMENT: usize = 1 << 20;
/// What a statement may have besides its rows.
const MARGIN: usize = 64 << 10;

/// Why a file of rows could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    File(#[from] RowFileError),
    #[error(transparent)]
    Definition(#[from] BadDefinition),
    #[error("it is of the table {0}")]
    OtherTable(String),
    #[error("it has a row of {len} bytes, and the server takes no statement of more than {longest}")]
    TooLong { len: usize, longest: usize },
}

/// Loads one file of rows into the table that waits to be this one. Rows are sent as soon as there are enough.
#[derive(Debug)]
pub(crate) struct RowLoader {
    table: String,
    reader: RowFileReader,
    statement: Vec<u8>,
    /// The length of the statement without rows.
    empty: usize,
}

impl RowLoader {
    pub(crate) fn new(table: &str) -> Self {
        Self { table: table.to_owned(), reader: RowFileReader::default(), statement: Vec::new(), empty: 0 }
    }

    pub(crate) async fn feed(&mut self, piece: &[u8], target: &Target) -> Result<(), LoadError> {
        let mut rows = Vec::new();
        self.reader.feed(piece, |row| rows.push(row.to_vec()))?;
        let Some(head) = self.reader.head() else { return Ok(()) };
        if self.statement.is_empty() {
            self.statement = begin(head, &self.table)?;
            self.empty = self.statement.len();
        }
        for row in rows {
            if self.statement.len() > self.empty && self.statement.len() + row.len() > STATEMENT {
                self.send(target).await?;
            }
            if row.len() + MARGIN > target.longest() {
                return Err(LoadError::TooLong { len: row.len(), longest: target.longest() });
            }
            if self.statement.len() > self.empty {
                self.statement.push(b',');
            }
            self.statement.extend_from_slice(&row);
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self, target: &Target) -> Result<(), LoadError> {
        self.reader.finish()?;
        if self.statement.len() > self.empty { Ok(self.send(target).await?) } else { Ok(()) }
    }

    async fn send(&mut self, target: &Target) -> Result<(), DatabaseError> {
        let rest = self.statement.get(..self.empty).unwrap_or_default().to_vec();
        let statement = std::mem::replace(&mut self.statement, rest);
        target.write(statement).await
    }
}

fn begin(head: &Head, table: &str) -> Result<Vec<u8>, LoadError> {
    if head.table() != table {
        return Err(LoadError::OtherTable(clonepanel_core::escape::Escaped(head.table().as_bytes()).to_string()));
    }
    Ok(head.insert_into(&shadow::new(table)).into_bytes())
}
