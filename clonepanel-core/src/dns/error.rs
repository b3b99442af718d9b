//! [`DnsError`]: what can go wrong with a provider, by what the caller does next.

use super::name::DomainName;
use crate::retry::{BoxError, Retry};

/// Why a zone was not read or changed. Text from the provider is escaped and short.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// The provider asks for patience.
    #[error("{endpoint} is busy: {detail}")]
    Busy {
        /// Who.
        endpoint: String,
        /// What it said.
        detail: String,
    },
    /// The zone is not at the revision that the plan is for; nothing was changed. Read again, and plan anew.
    #[error("{zone} has moved on at {endpoint} since it was read")]
    Conflict {
        /// Who.
        endpoint: String,
        /// Which zone.
        zone: DomainName,
    },
    /// The login was refused, or has no right to this zone or this function.
    #[error("{endpoint} denies this: {detail}")]
    Denied {
        /// Who.
        endpoint: String,
        /// What it said.
        detail: String,
    },
    /// The provider has no such zone, as it said itself.
    #[error("{endpoint} has no zone {zone}")]
    NotFound {
        /// Who.
        endpoint: String,
        /// Which zone.
        zone: DomainName,
    },
    /// The provider broke its own rules, or is not what it should be.
    #[error("{endpoint} gives an answer that makes no sense: {detail}")]
    Protocol {
        /// Who.
        endpoint: String,
        /// What was wrong.
        detail: String,
        /// The cause, where there is a typed one.
        #[source]
        source: Option<BoxError>,
    },
    /// The provider does not take this content; nothing was changed.
    #[error("{endpoint} refuses the change: {detail}")]
    Refused {
        /// Who.
        endpoint: String,
        /// What it said, and about what.
        detail: String,
    },
    /// The provider failed by itself.
    #[error("{endpoint} failed: {detail}")]
    Remote {
        /// Who.
        endpoint: String,
        /// What it said.
        detail: String,
    },
    /// The network or the name of the provider does not answer.
    #[error("{endpoint} cannot be reached: {detail}")]
    Unreachable {
        /// Who.
        endpoint: String,
        /// What was seen.
        detail: String,
    },
    /// A change was sent and its outcome could not be learned: the zone is old or new. Read it before anything else.
    #[error("whether {endpoint} has changed {zone} is not known: {detail}")]
    Unsettled {
        /// Who.
        endpoint: String,
        /// Which zone.
        zone: DomainName,
        /// What was seen.
        detail: String,
    },
    /// The provider lacks something that is needed, or this client does; nothing was changed.
    #[error("{endpoint} cannot do this: {detail}")]
    Unsupported {
        /// Who.
        endpoint: String,
        /// What is missing and what to do.
        detail: String,
    },
    /// The provider is not the machine that was expected.
    #[error("{endpoint} is not known to be the right machine: {detail}")]
    Untrusted {
        /// Who.
        endpoint: String,
        /// What was seen and what to do.
        detail: String,
    },
}

impl DnsError {
    /// Whether the same call can succeed later without anybody changing anything.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Busy { .. } | Self::Remote { .. } | Self::Unreachable { .. } | Self::Unsettled { .. } => Retry::Later,
            Self::Conflict { .. }
            | Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Protocol { .. }
            | Self::Refused { .. }
            | Self::Unsupported { .. }
            | Self::Untrusted { .. } => Retry::Never,
        }
    }
}
