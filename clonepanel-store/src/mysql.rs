//! Databases as trees of plain SQL: [`DatabaseSource`] dumps a MySQL or MariaDB database with an ordinary user's rights, and
//! [`DatabaseImport`] loads such a tree.
//!
//! A dump is of one consistent moment, and its files are such that any client can load them in the order of names. An unchanged range
//! of rows is the same file each day, so a store links it. `docs/dump-format.md` describes it.
//!
//! ```no_run
//! use clonepanel_core::{secret::Secret, tree};
//! use clonepanel_store::{LocalTree, mysql::{DatabaseAddress, DatabaseSource}};
//!
//! # async fn dump() -> Result<(), Box<dyn std::error::Error>> {
//! let address = DatabaseAddress::socket("/run/mysqld/mysqld.sock", "alice_wp", "alice").password(Secret::new("sesame"));
//! let report = tree::copy(&DatabaseSource::new(address), &LocalTree::new("dump"), &()).await?;
//! for problem in report.problems.listed() {
//!     println!("missing: {problem}");
//! }
//! # Ok(())
//! # }
//! ```

mod address;
mod bridge;
mod dump;
mod error;
mod format;
mod import;
mod layout;
mod probe;
mod session;
mod versions;

pub use address::{DatabaseAddress, DatabaseTls};
pub use dump::{DatabaseSource, RangeSums};
pub use error::{DatabaseError, ServerMessage};
pub use format::{
    definition::ObjectKind,
    description::{DumpDescription, DumpedObject, DumpedTable, MissingObject, TableInstant},
};
pub use import::{
    AdaptedObject, DanglingRows, DatabaseImport, EventState, ImportError, ImportReport, ImportedTable, Placement,
    RefusedObject,
};
pub use probe::DatabaseProbe;
pub use versions::{
    ColumnChange, DatabaseDiff, RowChange, RowHistory, RowIdentity, RowVersion, TableDiff, VersionsError,
};
