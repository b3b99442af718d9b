//! [`StoreError`]: what can go wrong with a store, by what the caller does next.

use crate::{
    path::RelPath,
    retry::{BoxError, Retry, is_exhaustion},
    snapshot_id::{SnapshotId, SourceName},
    tree::TreeError,
};

/// Why a store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The back end failed.
    #[error("{action} failed")]
    Backend {
        /// What was tried: "read the catalogue".
        action: &'static str,
        /// Whether it can work later.
        retry: Retry,
        /// The cause: [`std::io::Error`] for local back ends.
        #[source]
        source: BoxError,
    },
    /// Another writer is at work on this source.
    #[error("another run is writing a snapshot of {source_name}")]
    Busy {
        /// Which source.
        source_name: SourceName,
    },
    /// A snapshot is not what was written.
    #[error("snapshot {id} is damaged at {path}")]
    Damaged {
        /// Which snapshot.
        id: SnapshotId,
        /// Where; the root for the manifest itself.
        path: RelPath,
    },
    /// A copy of a snapshot was begun that the store has.
    #[error("snapshot {id} is there already")]
    Exists {
        /// Which snapshot.
        id: SnapshotId,
    },
    /// The store is full: space, inodes or quota, or its reserve is reached.
    #[error("no space left in the store ({what})")]
    NoSpace {
        /// What is short: "disk space", "inodes".
        what: &'static str,
    },
    /// There is no such snapshot.
    #[error("snapshot {id} does not exist")]
    NotFound {
        /// Which.
        id: SnapshotId,
    },
    /// A tree inside the store cannot be read or written.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// What is there is not a store, or one that this version does not understand.
    #[error("not a usable store: {why}")]
    Unusable {
        /// Why.
        why: String,
    },
}

impl StoreError {
    /// An I/O error during `action`.
    #[must_use]
    pub fn from_io(action: &'static str, error: std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        match error.kind() {
            E::StorageFull | E::QuotaExceeded => Self::NoSpace { what: "disk space" },
            E::Interrupted | E::TimedOut | E::WouldBlock => {
                Self::Backend { action, retry: Retry::Later, source: error.into() }
            }
            _ if is_exhaustion(&error) => Self::Backend { action, retry: Retry::Later, source: error.into() },
            _ => Self::Backend { action, retry: Retry::Never, source: error.into() },
        }
    }

    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Backend { retry, .. } => *retry,
            Self::Busy { .. } | Self::NoSpace { .. } => Retry::Later,
            Self::Damaged { .. } | Self::Exists { .. } | Self::NotFound { .. } | Self::Unusable { .. } => Retry::Never,
            Self::Tree(error) => error.retry(),
        }
    }
}
