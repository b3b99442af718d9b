//! The manifest: the truth about one snapshot, as sorted, versioned text.
//!
//! ```text
//! clonepanel-manifest 1
//! id example.org/20260823T021500Z
//! begun 1787451300
//! committed 1787451342.500000000
//! source-clock 1787451301                              where the source told it
//! base example.org/20260822T021500Z                    where there is one
//! tally dirs=1 files=1 others=0 bytes=6 unchanged=0 added=1 changed=0 removed=0 carried=0 new-bytes=6
//! problems 1 1                                         how many, and how many of them are losses
//! problem unreadable files/secret permission denied    the detail runs to the end of the line
//! suspicion mass-deleted 400 500
//! records
//! d 0755 1001:alice 1001:alice 1700000000.123456789 files
//! f 0644 1001:alice 1001:alice 1700000000 6 <64 hex digits> files/index.html
//! end 2 <64 hex digits>
//! ```
//!
//! One line a record, sorted by [`RelPath`](crate::path::RelPath), each path once, its parent a directory that stands before
//! it (the root need not be listed, and is `.` when it is). The fields:
//!
//! - the kind: `b` block device, `c` character device, `d` directory, `f` file, `l` symbolic link, `p` named pipe, `s` socket;
//! - permission bits in octal; owner and group as a number, with `:name` where known; the time of the last change in seconds
//!   (rounded down) with nine digits of fraction unless they are zero;
//! - for a file: listed length, BLAKE3 of the content kept, then as they apply `stored=` (the kept length, when it is another),
//!   `link=` (the first name of a hard-link group, which sorts before this one), `carried`, `torn`; for a link: its text; for a
//!   device: `major:minor`. `carried` may stand in any record;
//! - last the path.
//!
//! The tally goes on with `confirmed=` where it is not 0.
//!
//! Spaces, backslashes, control characters and whatever is not UTF-8 stand as `\xNN`. The footer counts the records and
//! hashes (BLAKE3) everything before it: a manifest without a right footer is none. There is one way to write each manifest,
//! and the decoder takes no other.

mod decoder;
mod encoder;
mod field;
mod header;
mod line;
mod order;
mod record;

pub use decoder::{Decoder, Item, MAX_LINE_LEN};
pub use encoder::Encoder;
pub use line::{decode_path, decode_record, encode_record};
pub use record::{Marks, Record};

const MAGIC: &[u8] = b"clonepanel-manifest 1";

/// Why a manifest is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The text is not what was written.
    #[error("the manifest is not what was written: its hash differs")]
    Hash,
    /// A line breaks the format.
    #[error("line {line} of the manifest is malformed: {why}")]
    Line {
        /// Which, counted from 1.
        line: u64,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A record breaks the format, or cannot stand where it is to be written.
    #[error("not a record that can stand here: {why}")]
    Record {
        /// The rule that it breaks.
        why: &'static str,
    },
    /// It ends before its footer.
    #[error("the manifest is cut short")]
    Truncated,
    /// It is no manifest, or one of another version.
    #[error("not a manifest, or one of a version that is not understood here")]
    Version,
}
