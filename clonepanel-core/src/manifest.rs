//! The manifest: the truth about one snapshot, as sorted, versioned text.

mod record;

pub use record::{Marks, Record};
