//! What became of tables and rows from one dump to the next, as far as snapshots tell.

mod database_diff;
mod dumped_tables;
mod error;
mod row;
mod row_history;

pub use database_diff::{DatabaseDiff, RowIdentity, TableDiff};
pub use error::VersionsError;
pub use row_history::{ColumnChange, RowChange, RowHistory, RowVersion};
