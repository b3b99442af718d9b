//! What an import did, and why one did nothing.

use super::super::{DatabaseError, ObjectKind};
use clonepanel_core::{path::RelPath, retry::Retry};

/// What an import did. All tables are in place then, and each is what the dump says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct ImportReport {
    /// The tables, in the order of names.
    pub tables: Vec<ImportedTable>,
    /// How many views, routines, triggers, events and sequences were made.
    pub objects: u64,
    /// Objects that the server does not take: they are in the dump still.
    pub refused: Vec<RefusedObject>,
    /// Objects that had another definer where the dump was taken, and who that was: now it is the user of the import.
    pub redefined: Vec<(String, String)>,
    /// Rows that refer to rows which are not there. They are as in the dump; the others may be of a table that was not restored with them.
    pub dangling: Vec<DanglingRows>,
    /// What has another definition here than in the dump, as this server knows no such thing.
    pub adapted: Vec<AdaptedObject>,
    /// What the dump lacked from the beginning.
    pub missing: Vec<super::super::MissingObject>,
    /// Tables that were in the database and are not in the dump: they are as they were.
    pub untouched: Vec<String>,
}

/// A table that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct ImportedTable {
    /// Its name.
    pub name: String,
    /// How many rows it has, counted after they were written.
    pub rows: u64,
}

/// Rows of a table that refer to rows which are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct DanglingRows {
    /// The table.
    pub table: String,
    /// The name of the foreign key.
    pub key: String,
    /// The table that it refers to.
    pub to: String,
    /// How many rows; `None` when the server could not count them.
    pub rows: Option<u64>,
}

/// An object that is there with another definition than in the dump.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct AdaptedObject {
    /// What it is.
    pub kind: ObjectKind,
    /// Which one.
    pub name: String,
    /// What is different, one line each.
    pub changes: Vec<String>,
}

/// An object that a server did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct RefusedObject {
    /// What it is; a table is there, but without a tie to another one.
    pub kind: ObjectKind,
    /// Which one.
    pub name: String,
    /// Why, in one line.
    pub why: String,
}

/// Why an import did nothing: the database is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The database cannot be written to.
    #[error("the database cannot be written to")]
    Database(#[from] DatabaseError),
    /// There was no `dump.json`, so nobody can tell whether all has arrived.
    #[error("there is no dump.json, so nothing can be checked")]
    NoDescription,
    /// A table that stays refers to one that would be replaced, and would refer to nothing then.
    #[error("{by} refers to {table}, which would be replaced, and is not replaced with it")]
    Referred {
        /// Which table would be replaced, escaped.
        table: String,
        /// Which one refers to it, escaped; with its database when that is another one.
        by: String,
    },
    /// The database has tables, and the import is not one that replaces them.
    #[error("the database is not empty: it has {0} tables")]
    NotEmpty(usize),
    /// What was loaded is not what the dump says.
    #[error("{table} is not what the dump says: {why}")]
    Unlike {
        /// Which table, escaped.
        table: String,
        /// What is different.
        why: String,
    },
    /// A file is not what it should be.
    #[error("{path} cannot be imported: {why}")]
    Unusable {
        /// Which file, below the root of the dump.
        path: RelPath,
        /// Why, in one line.
        why: String,
    },
}

impl ImportError {
    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Database(error) => error.retry(),
            Self::NoDescription
            | Self::NotEmpty(_)
            | Self::Referred { .. }
            | Self::Unlike { .. }
            | Self::Unusable { .. } => Retry::Never,
        }
    }
}
