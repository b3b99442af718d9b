//! [`TransportError`]: what can go wrong on the way, by what the caller does next.

use crate::{
    retry::{BoxError, Retry},
    tree::TreeError,
};

/// Why a transfer did not come to its end. Text from the far end is escaped and short.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The login was refused.
    #[error("{endpoint} refused the login: {detail}")]
    Denied {
        /// Who.
        endpoint: String,
        /// What it said.
        detail: String,
    },
    /// The connection ended or nothing moved for too long.
    #[error("the connection to {endpoint} broke: {detail}")]
    Interrupted {
        /// Who.
        endpoint: String,
        /// What was seen.
        detail: String,
    },
    /// The path to be transferred does not exist at the far end.
    #[error("{endpoint} has no {path}")]
    NotFound {
        /// Who.
        endpoint: String,
        /// What is missing, escaped.
        path: String,
    },
    /// The far end broke the protocol, or is not what it should be.
    #[error("{endpoint} does not keep to the protocol: {detail}")]
    Protocol {
        /// Who.
        endpoint: String,
        /// What was wrong.
        detail: String,
        /// The cause, where there is a typed one.
        #[source]
        source: Option<BoxError>,
    },
    /// The far end gave up by itself.
    #[error("{endpoint} gave up: {detail}")]
    Remote {
        /// Who.
        endpoint: String,
        /// What it said, or its exit code.
        detail: String,
    },
    /// The destination failed.
    #[error("writing here failed")]
    Sink(#[source] TreeError),
    /// The source failed (for a push).
    #[error("reading here failed")]
    Source(#[source] TreeError),
    /// The network or the name of the far end does not answer.
    #[error("{endpoint} cannot be reached: {detail}")]
    Unreachable {
        /// Who.
        endpoint: String,
        /// What was seen.
        detail: String,
    },
    /// The far end lacks something that is needed, or this transport does.
    #[error("{endpoint} cannot do this: {detail}")]
    Unsupported {
        /// Who.
        endpoint: String,
        /// What is missing and what to do.
        detail: String,
    },
    /// The far end is not the machine that was expected: its host key is unknown or has changed.
    #[error("{endpoint} is not known to be the right machine: {detail}")]
    Untrusted {
        /// Who.
        endpoint: String,
        /// What was seen and what to do.
        detail: String,
    },
}

impl TransportError {
    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Interrupted { .. } | Self::Remote { .. } | Self::Unreachable { .. } => Retry::Later,
            Self::Sink(error) | Self::Source(error) => error.retry(),
            Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Protocol { .. }
            | Self::Unsupported { .. }
            | Self::Untrusted { .. } => Retry::Never,
        }
    }
}
