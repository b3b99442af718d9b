//! [`ProtocolError`]: how a peer can break the rsync protocol.

/// What is wrong with what the peer sent. Text in it is a fixed explanation or escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Bytes that cannot be parsed.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The peer says that it gave up, with rsync's exit code.
    #[error("the far end gave up with code {0}")]
    Remote(i32),
    /// Legal, but not ours: an algorithm or version that this client does not speak.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// Parseable, but against the rules.
    #[error("rule broken: {0}")]
    Violation(&'static str),
}
