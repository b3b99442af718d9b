//! Suspicion: a run without errors that still looks like an accident.

/// Why a snapshot should not be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Suspicion {
    /// The source is empty and was not.
    Emptied,
}
