//! What a session must know of files that arrived in part.

pub(crate) use clonepanel_core::partial::{PARTIAL_DIR, holder, is_partial};

/// The rule that keeps them from being deleted; perishable, so that they go with a directory that goes as a whole.
pub(crate) const PARTIAL_RULE: &[u8] = b"-p .clonepanel-partial/";

/// Whether a pull tells what is kept there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Partials {
    #[default]
    LeftOut,
    Listed,
}
