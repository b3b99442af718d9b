//! [`DatabaseError`]: why a database cannot be read or written, by what the caller does next.

use clonepanel_core::{
    escape::Escaped,
    path::RelPath,
    retry::{BoxError, Retry},
    tree::TreeError,
};
use std::fmt;

/// Why a database cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// Somebody holds a lock for longer than is waited for.
    #[error("{action} waits for a lock")]
    Busy {
        /// What was tried, as a verb and its object.
        action: &'static str,
    },
    /// The definition of a table changed while it was read.
    #[error("{action} found another definition than before")]
    Changed {
        /// What was tried.
        action: &'static str,
    },
    /// The login or a right is refused.
    #[error("the server does not allow {action}")]
    Denied {
        /// What was tried.
        action: &'static str,
        /// What the server says.
        #[source]
        source: ServerMessage,
    },
    /// The server answers something that no server should.
    #[error("{action} got an answer that cannot be")]
    Nonsense {
        /// What was tried.
        action: &'static str,
        /// What is wrong with it.
        #[source]
        source: BoxError,
    },
    /// There is no such database or object.
    #[error("{action} found nothing")]
    NotFound {
        /// What was tried.
        action: &'static str,
        /// What the server says.
        #[source]
        source: ServerMessage,
    },
    /// The server says no for another reason.
    #[error("{action} failed")]
    Server {
        /// What was tried.
        action: &'static str,
        /// What the server says.
        #[source]
        source: ServerMessage,
    },
    /// The server stopped answering.
    #[error("{action} got no answer in time")]
    Silent {
        /// What was tried.
        action: &'static str,
    },
    /// The folder for what does not fit into memory failed: full, most likely.
    #[error("what was read cannot be kept")]
    Spool {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection cannot be made, or broke.
    #[error("{action} lost the connection")]
    Unreachable {
        /// What was tried.
        action: &'static str,
        /// The driver's own words.
        #[source]
        source: BoxError,
    },
}

/// What a server says when it refuses: one line, safe on a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct ServerMessage {
    /// The number of the error.
    pub code: u16,
    /// Its text, escaped and cut to 400 bytes.
    pub text: String,
}

impl fmt::Display for ServerMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (error {})", self.text, self.code)
    }
}

impl std::error::Error for ServerMessage {}

const MAX_TEXT: usize = 400;

impl ServerMessage {
    fn new(error: &mysql_async::ServerError) -> Self {
        let mut text = Escaped(error.message.as_bytes()).to_string();
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        Self { code: error.code, text }
    }
}

impl DatabaseError {
    pub(crate) fn of(action: &'static str, error: mysql_async::Error) -> Self {
        let mysql_async::Error::Server(error) = error else {
            return Self::Unreachable { action, source: error.into() };
        };
        let source = ServerMessage::new(&error);
        match error.code {
            // Lock wait timeouts and deadlocks.
            1205 | 1206 | 1213 | 1614 => Self::Busy { action },
            // A statement took longer than it may: only those that others wait for have a limit.
            1969 | 3024 => Self::Busy { action },
            // Table definition has changed; unknown column; prepared statement needs to be re-prepared.
            1412 | 1054 | 1615 => Self::Changed { action },
            1044 | 1045 | 1095 | 1142 | 1143 | 1227 | 1370 | 1698 | 1873 => Self::Denied { action, source },
            // No such database, table, trigger, routine, event.
            1049 | 1146 | 1305 | 1360 | 1539 | 4091 => Self::NotFound { action, source },
            // Killed, shut down, gone, too many connections.
            1053 | 1152 | 1158..=1161 | 1317 | 1927 => Self::Unreachable { action, source: source.into() },
            _ => Self::Server { action, source },
        }
    }

    pub(crate) fn nonsense(action: &'static str, why: impl Into<BoxError>) -> Self {
        Self::Nonsense { action, source: why.into() }
    }

    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Busy { .. }
            | Self::Changed { .. }
            | Self::Silent { .. }
            | Self::Spool { .. }
            | Self::Unreachable { .. } => Retry::Later,
            // Too many connections.
            Self::Server { source, .. } if matches!(source.code, 1040 | 1203 | 1226) => Retry::Later,
            Self::Denied { .. } | Self::Nonsense { .. } | Self::NotFound { .. } | Self::Server { .. } => Retry::Never,
        }
    }

    /// Whether nothing more can be asked over this connection.
    pub(crate) const fn ends_the_session(&self) -> bool {
        matches!(self, Self::Silent { .. } | Self::Unreachable { .. } | Self::Nonsense { .. })
    }

    /// The error and its causes on one line, for the detail of a problem.
    pub(crate) fn line(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    /// The same for somebody who deals in trees. What the server says is the cause.
    pub(crate) fn at(self, path: &RelPath) -> TreeError {
        TreeError::Backend { action: "dump", path: path.clone(), retry: self.retry(), source: self.into() }
    }
}
