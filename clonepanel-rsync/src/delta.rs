//! The delta core: signatures of a basis, the search for its blocks in new data, and the way back.
//!
//! One search serves two dialects. Here is librsync's (`rdiff -H md4 -R rollsum` reads and writes the same signatures and
//! deltas); that of rsync's wire is inside [`RsyncTransport`](crate::RsyncTransport).
//!
//! ```
//! use clonepanel_rsync::delta::{Content, Signature, SignatureOptions, apply, diff};
//!
//! let (old, new) = (vec![7; 100_000], [&[1, 2, 3][..], &[7; 99_000]].concat());
//! // Where the old version is:
//! let signature = Signature::of(&old, SignatureOptions::for_basis(old.len() as u64, Content::Text))?;
//! // Where the new version is:
//! let mut delta = Vec::new();
//! diff(&signature.index(), &new, &mut delta);
//! // Where the old version is, again:
//! let mut made = Vec::new();
//! apply(&old, &delta, new.len() as u64, &mut made)?;
//! assert_eq!(made, new);
//! assert!(delta.len() < 2_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Everything works on slices in memory and holds nothing else, so a file of any size goes through in windows. Neither sum is
//! safe against somebody who wants a wrong result: a hash of the whole file belongs to every use.

mod diff;
mod operation;
mod options;
mod rolling;
mod search;
mod signature;
mod strong;
mod table;
mod wire_signature;
mod wire_sums;

#[cfg(test)]
mod tests;

pub use diff::{Differ, apply, diff, longest_delta};
pub use operation::{DeltaError, Operation, Operations};
pub use options::{Content, SignatureOptions};
pub use signature::{Index, Signature, SignatureBuilder, SignatureError};

pub(crate) use search::{Search, Searchable, Step};
pub(crate) use strong::{Hasher, StrongSum};
pub(crate) use wire_signature::{BlockRule, StrongLength, WireSignatureBuilder};
pub(crate) use wire_sums::WireSums;
