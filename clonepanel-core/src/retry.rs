//! [`Retry`]: whether trying again can help.

/// Whether the same call can succeed later without anybody changing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The cause may pass: a network, a lock, a full disk that is being cleared.
    Later,
    /// Somebody has to change something first.
    Never,
}

/// The cause of an error, as the back end knows it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
