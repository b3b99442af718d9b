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

/// Whether an error is about this process or machine and not about the file: too many open files, too little memory.
pub(crate) fn is_exhaustion(error: &std::io::Error) -> bool {
    // Every Unix has these numbers for "file table overflow" and "too many open files"; the standard library has no stable
    // name for them.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    error.kind() == std::io::ErrorKind::OutOfMemory
        || cfg!(unix) && matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}
