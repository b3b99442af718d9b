//! Suspicion: a run without errors that still looks like an accident.

mod rules;

pub use rules::{SuspicionRules, judge};

use std::fmt;

/// Why a snapshot should not be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suspicion {
    /// Most of the content is gone, by length.
    BytesCollapsed {
        /// Bytes before.
        before: u64,
        /// Bytes now.
        now: u64,
    },
    /// Most files have another content at once, as after a break-in or an encryption by blackmailers.
    ContentsChanged {
        /// Files with another content.
        changed: u64,
        /// Files that were there before and still are.
        of: u64,
    },
    /// Most of the files are gone, by number.
    CountCollapsed {
        /// Files before.
        before: u64,
        /// Files now.
        now: u64,
    },
    /// The source is empty and was not.
    Emptied,
    /// Most of the files were deleted, whatever came instead.
    MassDeleted {
        /// Files deleted.
        removed: u64,
        /// Files before.
        of: u64,
    },
    /// Nearly no file was recognised as unchanged, though the contents were here already: the run was not incremental.
    NothingLinked {
        /// Files recognised as unchanged.
        unchanged: u64,
        /// Files in all.
        of: u64,
    },
}

impl Suspicion {
    /// The word for it in manifests and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::BytesCollapsed { .. } => "bytes-collapsed",
            Self::ContentsChanged { .. } => "contents-changed",
            Self::CountCollapsed { .. } => "count-collapsed",
            Self::Emptied => "emptied",
            Self::MassDeleted { .. } => "mass-deleted",
            Self::NothingLinked { .. } => "nothing-linked",
        }
    }

    pub(crate) fn numbers(self) -> Vec<u64> {
        match self {
            Self::BytesCollapsed { before, now } | Self::CountCollapsed { before, now } => vec![before, now],
            Self::ContentsChanged { changed, of } => vec![changed, of],
            Self::Emptied => vec![],
            Self::MassDeleted { removed, of } => vec![removed, of],
            Self::NothingLinked { unchanged, of } => vec![unchanged, of],
        }
    }

    pub(crate) fn restored(word: &str, numbers: &[u64]) -> Option<Self> {
        Some(match (word, numbers) {
            ("bytes-collapsed", &[before, now]) => Self::BytesCollapsed { before, now },
            ("contents-changed", &[changed, of]) => Self::ContentsChanged { changed, of },
            ("count-collapsed", &[before, now]) => Self::CountCollapsed { before, now },
            ("emptied", []) => Self::Emptied,
            ("mass-deleted", &[removed, of]) => Self::MassDeleted { removed, of },
            ("nothing-linked", &[unchanged, of]) => Self::NothingLinked { unchanged, of },
            _ => return None,
        })
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const GO_ON: &str = "if this was meant, accept it with the next backup";
        match self {
            Self::BytesCollapsed { before, now } => {
                write!(f, "the content shrank from {before} to {now} bytes; {GO_ON}")
            }
            Self::ContentsChanged { changed, of } => {
                write!(f, "{changed} of {of} files have another content at once; look for a break-in; {GO_ON}")
            }
            Self::CountCollapsed { before, now } => {
                write!(f, "the number of files fell from {before} to {now}; {GO_ON}")
            }
            Self::Emptied => {
                write!(f, "the source is empty and was not; look whether the account or its path moved; {GO_ON}")
            }
            Self::MassDeleted { removed, of } => write!(f, "{removed} of {of} files were deleted at once; {GO_ON}"),
            Self::NothingLinked { unchanged, of } => write!(
                f,
                "only {unchanged} of {of} files were recognised as unchanged, though their contents were here already; \
                 look whether something touches every file"
            ),
        }
    }
}
