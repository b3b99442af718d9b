//! [`TreeError`]: what can go wrong with a tree, by what the caller does next.

use crate::{
    path::{PathError, RelPath},
    retry::{BoxError, Retry, is_exhaustion},
};

/// Why a tree cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The file system or network failed.
    #[error("{action} {path} failed")]
    Backend {
        /// What was tried, as a verb: "open", "write".
        action: &'static str,
        /// On what.
        path: RelPath,
        /// Whether it can work later.
        retry: Retry,
        /// The cause: [`std::io::Error`] for local back ends.
        #[source]
        source: BoxError,
    },
    /// What is kept is not what was written.
    #[error("{path} is damaged")]
    Damaged {
        /// Where.
        path: RelPath,
    },
    /// Access is refused by permissions.
    #[error("{path} may not be accessed")]
    Denied {
        /// Where.
        path: RelPath,
    },
    /// This process or machine has no more to give of what every file needs: open files, memory. It says nothing about the
    /// path, and ends the run.
    #[error("{action} {path} failed for want of open files or memory")]
    Exhausted {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: RelPath,
        /// The cause.
        #[source]
        source: BoxError,
    },
    /// The destination is full: space, inodes or quota, or its reserve is reached.
    #[error("no space left for {path}")]
    NoSpace {
        /// What did not fit.
        path: RelPath,
    },
    /// There is no such entry.
    #[error("{path} does not exist")]
    NotFound {
        /// Where.
        path: RelPath,
    },
    /// The entry breaks a rule of the tree and is left out.
    #[error("{path} is refused: {why}")]
    Refused {
        /// Where.
        path: RelPath,
        /// The rule.
        why: &'static str,
    },
}

impl TreeError {
    /// Sorts an I/O error on `path` into the variant that says what to do next.
    #[must_use]
    pub fn from_io(action: &'static str, path: &RelPath, error: std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        let path = path.clone();
        match error.kind() {
            E::NotFound => Self::NotFound { path },
            E::PermissionDenied => Self::Denied { path },
            E::StorageFull | E::QuotaExceeded => Self::NoSpace { path },
            _ if is_exhaustion(&error) => Self::Exhausted { action, path, source: error.into() },
            E::Interrupted | E::TimedOut | E::WouldBlock => {
                Self::Backend { action, path, retry: Retry::Later, source: error.into() }
            }
            _ => Self::Backend { action, path, retry: Retry::Never, source: error.into() },
        }
    }

    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Backend { retry, .. } => *retry,
            Self::Exhausted { .. } | Self::NoSpace { .. } => Retry::Later,
            Self::Damaged { .. } | Self::Denied { .. } | Self::NotFound { .. } | Self::Refused { .. } => Retry::Never,
        }
    }

    /// A path that cannot be placed in the tree.
    #[must_use]
    pub fn too_deep(path: &RelPath, _: PathError) -> Self {
        Self::Refused { path: path.clone(), why: "its path is too long" }
    }
}
