//! [`WhmError`]: what can go wrong with a call, by what the caller does next.

use clonepanel_core::{
    dns::{DnsError, DomainName},
    escape::Escaped,
};

/// The longest text of a server, in bytes, that is quoted.
const MAX_QUOTE_LEN: usize = 300;

/// Why a call to a WHM server failed. Text from the server is escaped and short; the token is never part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WhmError {
    /// The server asks for patience.
    #[error("the server is busy: {detail}")]
    Busy {
        /// What it said.
        detail: String,
    },
    /// The login was refused, or it has no right to this.
    #[error("access denied: {detail}")]
    Denied {
        /// What it said, or why nothing was sent.
        detail: String,
    },
    /// The server failed by itself.
    #[error("the server failed: {detail}")]
    Failed {
        /// What was seen.
        detail: String,
    },
    /// The options make no sense.
    #[error("{detail}")]
    Options {
        /// Which, and why.
        detail: String,
    },
    /// A change was sent and no usable answer came: it was done or not.
    #[error("no usable answer came to a change: {detail}")]
    Lost {
        /// What was seen.
        detail: String,
    },
    /// The answer is not one of a WHM server.
    #[error("not an answer of a WHM server: {detail}")]
    Protocol {
        /// What was wrong.
        detail: String,
    },
    /// The function was called and says no.
    #[error("{function}: {reason}")]
    Refused {
        /// Which.
        function: String,
        /// Its reason.
        reason: String,
    },
    /// Nothing answers, or not in time.
    #[error("{detail}")]
    Unreachable {
        /// What was seen.
        detail: String,
    },
    /// The server has no such function for this login.
    #[error("the login may not call {function}")]
    Unsupported {
        /// What is missing.
        function: String,
    },
    /// The certificate is not one that is trusted.
    #[error("{detail}")]
    Untrusted {
        /// What is wrong with it and what to do.
        detail: String,
    },
}

impl WhmError {
    /// Whether a read that failed like this may work at once.
    pub(crate) const fn is_fleeting(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Failed { .. } | Self::Unreachable { .. })
    }

    /// The same for whoever knows zones only.
    pub(crate) fn into_dns(self, endpoint: &str, zone: Option<&DomainName>) -> DnsError {
        let endpoint = endpoint.to_owned();
        match (self, zone) {
            (Self::Busy { detail }, _) => DnsError::Busy { endpoint, detail },
            (Self::Denied { detail }, _) => DnsError::Denied { endpoint, detail },
            (Self::Failed { detail }, _) => DnsError::Remote { endpoint, detail },
            (Self::Options { detail }, _) => DnsError::Unsupported { endpoint, detail },
            (Self::Lost { detail }, Some(zone)) => DnsError::Unsettled { endpoint, zone: zone.clone(), detail },
            (Self::Lost { detail }, None) => DnsError::Remote { endpoint, detail },
            (Self::Protocol { detail }, _) => DnsError::Protocol { endpoint, detail, source: None },
            (Self::Refused { function, reason }, _) => {
                DnsError::Refused { endpoint, detail: format!("{function}: {reason}") }
            }
            (Self::Unreachable { detail }, _) => DnsError::Unreachable { endpoint, detail },
            (Self::Unsupported { function }, _) => DnsError::Unsupported {
                endpoint,
                detail: format!("the login may not call {function}: ask the host for the privilege"),
            },
            (Self::Untrusted { detail }, _) => DnsError::Untrusted { endpoint, detail },
        }
    }
}

/// Text of a server, made harmless and short.
pub(crate) fn quote(text: &[u8]) -> String {
    let end = text.len().min(MAX_QUOTE_LEN);
    let cut = text.get(..end).unwrap_or(text);
    let one_line: Vec<u8> = cut.iter().map(|&byte| if byte == b'\n' { b' ' } else { byte }).collect();
    format!("{}{}", Escaped(one_line.trim_ascii()), if end < text.len() { "…" } else { "" })
}
