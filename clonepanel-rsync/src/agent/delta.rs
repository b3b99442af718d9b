//! The delta core, as contents on their way use it: a signature of a [`Basis`], and windows put together from one.

use super::preparing::{MAX_READ, read_exactly};
use crate::delta::{Content, DeltaError, Operation, Operations, Signature, SignatureOptions};
use bytes::Bytes;
use clonepanel_core::tree::Basis;

/// How strong the sums of a signature are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// As strong as they come: for a content whose first try came out wrong.
    Full,
    Short,
}

/// How a basis is summed; `None` when it is too long for that.
pub(super) fn options(name: &[u8], basis_len: u64, strength: Strength) -> Option<SignatureOptions> {
    let options = SignatureOptions::for_basis(basis_len, Content::of_name(name));
    let options = if strength == Strength::Full { options.full_sums() } else { options };
    options.suits(basis_len).then_some(options)
}

/// How many bytes the signature of a basis takes.
pub(super) fn signature_len(basis_len: u64, options: SignatureOptions) -> usize {
    Signature::expected_len(basis_len, options).ok().and_then(|len| usize::try_from(len).ok()).unwrap_or(0)
}

/// A window that was put together.
pub(super) struct Applied {
    pub(super) bytes: Bytes,
    /// How many of them came from the basis.
    pub(super) matched: u64,
}

/// Puts a window of `len` bytes together; `None` when the basis cannot be read.
pub(super) async fn apply(basis: &dyn Basis, delta: &[u8], len: usize) -> Result<Option<Applied>, DeltaError> {
    let (mut bytes, mut matched) = (Vec::with_capacity(len), 0);
    for operation in Operations::new(delta, basis.len(), len as u64) {
        match operation? {
            Operation::Literal(data) => bytes.extend_from_slice(data),
            Operation::Copy { mut offset, len } => {
                let end = offset + len;
                matched += len;
                while offset < end {
                    let part = MAX_READ.min(end - offset);
                    let Ok(piece) = read_exactly(basis, offset, part as usize).await else { return Ok(None) };
                    bytes.extend_from_slice(&piece);
                    offset += part;
                }
            }
        }
    }
    if bytes.len() != len {
        return Err(DeltaError::Truncated);
    }
    Ok(Some(Applied { bytes: bytes.into(), matched }))
}
