//! Local directories: [`LocalTree`] as source and sink, [`LocalTransport`] as a far end that is near.

mod delete;
mod names;
mod scan;
mod sink;
mod stream;
mod transport;
mod tree;
mod walk;

pub use scan::LocalScan;
pub use transport::LocalTransport;
pub use tree::{LocalTree, Owners, SpecialBits, Unfinished};
