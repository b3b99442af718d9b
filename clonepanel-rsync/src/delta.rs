//! The delta core: rolling and strong sums, block sizes, and the signature of a basis.

mod rolling;
mod signature;
mod strong;

pub(crate) use signature::{BlockRule, SignatureBuilder, StrongLength};
pub(crate) use strong::{Hasher, StrongSum};
