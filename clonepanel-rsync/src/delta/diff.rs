//! [`Differ`]: a delta of new data against an index, window by window; and [`apply`].

use super::{
    operation::{DeltaError, FRAME_LEN, Operation, OperationWriter, Operations},
    options::SignatureOptions,
    search::{BlockSums, Search, Searchable, Step},
    signature::{Index, Signature},
};
use std::sync::Arc;

/// Goes through new data once and writes a delta for each window.
///
/// The caller keeps what a window left undecided (always less than two blocks) and puts those very bytes, not a second reading of
/// them, at the start of the next one; nothing else is held between windows. Windows of 64 blocks and more cost neither time nor
/// bytes compared with the data as one piece; short ones cost both, and one of less than two blocks may decide nothing.
#[derive(Debug)]
pub struct Differ {
    search: Search<Arc<Searchable<Signature>>>,
    index: Index,
}

impl Differ {
    /// At the start of the new data.
    #[must_use]
    pub fn new(index: &Index) -> Self {
        Self { search: Search::new(Arc::clone(&index.0)), index: index.clone() }
    }

    /// Appends to `delta` a whole delta that makes the start of `window`, and returns how many bytes that is. More data follow.
    #[must_use = "the rest of the window must come again"]
    pub fn advance(&mut self, window: &[u8], delta: &mut Vec<u8>) -> usize {
        let (signature, mut writer) = (self.index.signature(), OperationWriter::new(delta));
        let decided = self.search.advance(window, |step| put(signature, &mut writer, step));
        writer.finish();
        decided
    }

    /// Appends to `delta` a whole delta that makes all of `window`, behind which the new data end.
    pub fn finish(self, window: &[u8], delta: &mut Vec<u8>) {
        let (signature, mut writer) = (self.index.signature(), OperationWriter::new(delta));
        self.search.finish(window, |step| put(signature, &mut writer, step));
        writer.finish();
    }
}

fn put(signature: &Signature, writer: &mut OperationWriter<'_>, step: Step<'_>) {
    match step {
        Step::Literal(data) => writer.literal(data),
        Step::Blocks { first, count } => {
            let offset = |block: u32| (u64::from(block) * signature.block_len() as u64).min(signature.basis_len());
            let start = offset(first);
            writer.copy(start, offset(first + count) - start);
        }
    }
}

/// Appends to `delta` the whole delta of `new` against the basis of an index.
pub fn diff(index: &Index, new: &[u8], delta: &mut Vec<u8>) {
    Differ::new(index).finish(new, delta);
}

/// Appends to `out` what `delta` makes of `basis`, at most `limit` bytes, and returns how many bytes that was. A basis that is not in memory, or a delta with large
/// copies, is better read as [`Operations`].
///
/// A delta can rebuild wrong data, by chance or by intent: MD4 is broken. Compare a hash of the whole file afterwards.
///
/// # Errors
/// [`DeltaError`]; `out` then has what was made so far.
pub fn apply(basis: &[u8], delta: &[u8], limit: u64, out: &mut Vec<u8>) -> Result<u64, DeltaError> {
    let before = out.len();
    for operation in Operations::new(delta, basis.len() as u64, limit) {
        match operation? {
            Operation::Literal(data) => out.extend_from_slice(data),
            // Inside the basis, so inside memory.
            Operation::Copy { offset, len } => out.extend_from_slice(&basis[offset as usize..][..len as usize]),
        }
    }
    Ok((out.len() - before) as u64)
}

/// The longest delta that [`Differ`] writes for `len` bytes of new data: for limits on what a peer may send. Every operation but
/// the first and last of a window stands between two matches of at least a block.
#[must_use]
pub const fn longest_delta(len: u64, options: SignatureOptions) -> u64 {
    let operations = (2 * (len / options.block_len() as u64)).saturating_add(3);
    len.saturating_add(operations.saturating_mul(17)).saturating_add(FRAME_LEN as u64)
}
