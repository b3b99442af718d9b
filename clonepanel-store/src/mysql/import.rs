//! From a tree to a database.

mod adaptation;
mod finish;
mod report;
mod rows;
mod shadow;
mod sink;
mod target;

pub use report::{AdaptedObject, DanglingRows, ImportError, ImportReport, ImportedTable, RefusedObject};
pub use sink::{DatabaseImport, EventState, Placement};
