//! [`VersionsError`]: why dumps cannot be compared.

use clonepanel_core::{path::RelPath, retry::Retry, store::StoreError, tree::TreeError};

/// Why dumps cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionsError {
    /// Rows of a table without a key cannot be told apart.
    #[error("the table {table} has no key that tells its rows apart")]
    NoKey {
        /// Which table, escaped.
        table: String,
    },
    /// The key has another number of values than columns.
    #[error("a key of {table} has this many values: {columns}, not {given}")]
    OtherKey {
        /// Which table, escaped.
        table: String,
        /// How many columns its key has.
        columns: usize,
        /// How many values were given.
        given: usize,
    },
    /// The snapshot cannot be read.
    #[error("the snapshot cannot be read")]
    Snapshot(#[from] StoreError),
    /// The folder for what does not fit into memory failed: full, most likely.
    #[error("what was read cannot be kept")]
    Spool(#[source] std::io::Error),
    /// A file is not what a dump has at its place.
    #[error("{path} is not what it should be: {why}")]
    Unusable {
        /// Which file of the snapshot.
        path: RelPath,
        /// Why, in one line.
        why: String,
    },
}

impl VersionsError {
    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::NoKey { .. } | Self::OtherKey { .. } | Self::Unusable { .. } => Retry::Never,
            Self::Snapshot(error) => error.retry(),
            Self::Spool(_) => Retry::Later,
        }
    }

    pub(super) fn unusable(path: &RelPath, why: impl Into<String>) -> Self {
        Self::Unusable { path: path.clone(), why: why.into() }
    }
}

impl From<TreeError> for VersionsError {
    fn from(error: TreeError) -> Self {
        Self::Snapshot(error.into())
    }
}
