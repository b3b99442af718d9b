//! [`HealthProbe`]: looks at a server.

use super::observation::Observation;
use crate::retry::{BoxError, Retry};
use async_trait::async_trait;

/// Looks at a server, once each time it is asked. It keeps nothing between looks.
#[async_trait]
pub trait HealthProbe: Send + Sync {
    /// What it looks at, for people: `https://example.org/ at 192.0.2.1`. Holds no secret.
    fn name(&self) -> &str;

    /// Looks once.
    ///
    /// # Errors
    /// [`ProbeError`] when it could not look: that says nothing about the server, and is never told as a failure of it.
    ///
    /// # Cancel safety
    /// Harmless to drop, which is how a deadline is kept.
    async fn check(&self) -> Result<Observation, ProbeError>;
}

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// This machine has no network, no descriptors or no memory left.
    #[error("this machine cannot look")]
    Local {
        /// Why.
        #[source]
        source: BoxError,
    },
    /// What it needs is not configured, or not installed.
    #[error("the probe cannot be run: {detail}")]
    Unusable {
        /// What is missing.
        detail: String,
    },
}

impl ProbeError {
    /// Whether a later look may be possible.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Local { .. } => Retry::Later,
            Self::Unusable { .. } => Retry::Never,
        }
    }
}
