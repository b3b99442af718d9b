//! [`TransferReport`]: what a transfer did.

use crate::{problem::Problems, time::Timestamp};

/// What a transfer did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct TransferReport {
    /// Entries that were listed.
    pub entries: u64,
    /// Files whose content was transferred.
    pub files: u64,
    /// Bytes of content that travelled, uncompressed.
    pub literal_bytes: u64,
    /// Bytes of content that were taken from a version already here.
    pub matched_bytes: u64,
    /// Bytes read from the far end, as they travelled.
    pub received_bytes: u64,
    /// Bytes written to the far end, as they travelled.
    pub sent_bytes: u64,
    /// Entries deleted at the destination.
    pub deleted: u64,
    /// The source's own clock when its listing began, if it told.
    pub source_clock: Option<Timestamp>,
    /// Trouble with single paths.
    pub problems: Problems,
}
