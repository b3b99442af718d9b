//! From a tree to a database.

mod finish;
mod report;
mod rows;
mod shadow;
mod sink;
mod target;

pub use report::{ImportError, ImportReport, ImportedTable, RefusedObject};
pub use sink::{DatabaseImport, EventState, Placement};
