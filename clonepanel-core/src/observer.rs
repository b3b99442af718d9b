//! [`Observer`]: who watches a transfer.

use crate::{path::RelPath, problem::Problem};

/// Told what happens during a transfer, while it happens. Called often and inline: it must be quick and must not block.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn notice(&self, event: &Event<'_>);
}

/// What an [`Observer`] is told.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// So much content was written to the destination.
    Data {
        /// Bytes that travelled.
        literal_bytes: u64,
        /// Bytes taken from a version that was already here.
        matched_bytes: u64,
    },
    /// A file is complete; what is pushed may still be found wrong by the far end.
    Finished {
        /// Which.
        path: &'a RelPath,
    },
    /// More entries are known.
    Listed {
        /// How many more.
        entries: u64,
        /// The sum of the lengths of the files among them, in bytes.
        bytes: u64,
    },
    /// Text from the far end, escaped and of one line.
    Message {
        /// The text.
        text: &'a str,
    },
    /// One path has a problem; it will be in the report too.
    Problem(&'a Problem),
}

/// Watches nothing.
impl Observer for () {
    fn notice(&self, _: &Event<'_>) {}
}

#[deny(clippy::missing_trait_methods)]
impl<T: Observer + ?Sized> Observer for &T {
    fn notice(&self, event: &Event<'_>) {
        (**self).notice(event);
    }
}

#[deny(clippy::missing_trait_methods)]
impl<T: Observer + ?Sized> Observer for std::sync::Arc<T> {
    fn notice(&self, event: &Event<'_>) {
        (**self).notice(event);
    }
}

#[deny(clippy::missing_trait_methods)]
impl<T: Observer + ?Sized> Observer for Box<T> {
    fn notice(&self, event: &Event<'_>) {
        (**self).notice(event);
    }
}
