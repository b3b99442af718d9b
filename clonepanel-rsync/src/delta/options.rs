//! [`SignatureOptions`] and [`Content`]: how long blocks and their sums are.

/// The shortest and longest blocks that are accepted, in bytes.
pub(super) const BLOCK_LENS: std::ops::RangeInclusive<u32> = 512..=128 * 1024;
/// The shortest and longest strong sums that are accepted, in bytes.
pub(super) const STRONG_LENS: std::ops::RangeInclusive<u32> = 4..=16;
/// One file in 2^24 may have a false match, which the check of the whole finds: it is tried again.
const FALSE_MATCH_BITS: u32 = 24;
const WEAK_BITS: u32 = 32;
/// Blocks of one signature at the most: what bounds the memory of an index.
pub(super) const MAX_BLOCKS: u64 = 600_000;

/// Length of the blocks and of their strong sums, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureOptions {
    block_len: u32,
    strong_len: u32,
}

impl SignatureOptions {
    /// Blocks of `block_len` bytes (512 to 131,072; other values are brought into that range) with strong sums of 8 bytes.
    #[must_use]
    pub fn new(block_len: u32) -> Self {
        Self { block_len: block_len.clamp(*BLOCK_LENS.start(), *BLOCK_LENS.end()), strong_len: 8 }
    }

    /// What makes signature and delta together smallest for a basis of `len` bytes: shorter blocks than the square root in what
    /// people write, where changes are scattered; 4 KiB in what is packed already. Strong sums are short, since every file is
    /// checked as a whole and tried again with [`Self::full_sums`]. Source: `delta-performance`, sections 4 and 6.
    #[must_use]
    pub fn for_basis(len: u64, content: Content) -> Self {
        let best = match content {
            Content::Text => (len.isqrt() / 2).next_multiple_of(64).clamp(1024, 8192),
            Content::Packed => 4096,
        };
        // Longer blocks only where there would be too many.
        let longest = u64::from(*BLOCK_LENS.end());
        let block_len = best.max(len.div_ceil(MAX_BLOCKS).next_multiple_of(64)).min(longest) as u32;
        // Every place is compared with every block, so the chance of a false match grows with both.
        let pairs = u128::from(len.max(1)) * u128::from(len.div_ceil(u64::from(block_len)).max(1));
        let bits = (pairs.ilog2() + 1 + FALSE_MATCH_BITS).saturating_sub(WEAK_BITS);
        Self { block_len, strong_len: bits.div_ceil(8).clamp(*STRONG_LENS.start(), *STRONG_LENS.end()) }
    }

    /// Strong sums of `strong_len` bytes (4 to 16; other values are brought into that range).
    #[must_use]
    pub fn with_strong_len(mut self, strong_len: u32) -> Self {
        self.strong_len = strong_len.clamp(*STRONG_LENS.start(), *STRONG_LENS.end());
        self
    }

    /// The longest strong sums: for a file whose first try came out wrong. This can come out wrong again, though not by chance
    /// (MD4 is broken); then the file must travel whole.
    #[must_use]
    pub fn full_sums(self) -> Self {
        self.with_strong_len(*STRONG_LENS.end())
    }

    /// Length of a block, in bytes.
    #[must_use]
    pub const fn block_len(self) -> u32 {
        self.block_len
    }

    /// Length of a strong sum, in bytes.
    #[must_use]
    pub const fn strong_len(self) -> u32 {
        self.strong_len
    }

    /// Whether a basis of `len` bytes has few enough blocks for a signature. A longer one (from 73 GiB on) travels whole.
    #[must_use]
    pub fn suits(self, len: u64) -> bool {
        len.div_ceil(u64::from(self.block_len)) <= MAX_BLOCKS
    }

    /// What goes to the library; within its limits by construction.
    pub(super) const fn raw(self) -> fast_rsync::SignatureOptions {
        fast_rsync::SignatureOptions { block_size: self.block_len, crypto_hash_size: self.strong_len }
    }
}

/// What kind of content a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_enums)]
pub enum Content {
    /// Programs, pages, dumps, logs, archives without compression: changes are small and scattered.
    #[default]
    Text,
    /// Pictures, compressed archives, table files in pages: changes are few, and large.
    Packed,
}

impl Content {
    /// Endings, in order.
    const PACKED: &[&[u8]] = &[
        b"7z", b"avi", b"avif", b"bz2", b"docx", b"flac", b"gif", b"gz", b"heic", b"ibd", b"jar", b"jpeg", b"jpg",
        b"m4a", b"mkv", b"mov", b"mp3", b"mp4", b"odt", b"ogg", b"pdf", b"png", b"pptx", b"rar", b"tgz", b"webm",
        b"webp", b"woff", b"woff2", b"xlsx", b"xz", b"zip", b"zst",
    ];

    /// By the ending of the name.
    #[must_use]
    pub fn of_name(name: &[u8]) -> Self {
        let ending = name.rsplit(|&byte| byte == b'.').next().filter(|ending| ending.len() < name.len());
        let lower = ending.map(<[u8]>::to_ascii_lowercase);
        if lower.is_some_and(|ending| Self::PACKED.binary_search(&&ending[..]).is_ok()) {
            Self::Packed
        } else {
            Self::Text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_for_files_of_all_sizes() {
        for (len, content, block_len, strong_len) in [
            (0, Content::Text, 1024, 4),
            (33_500_000, Content::Text, 2944, 4),
            (3_000_000, Content::Packed, 4096, 4),
            (1 << 30, Content::Text, 8192, 5),
            (10 << 30, Content::Text, 17_920, 6),
            (10 << 30, Content::Packed, 17_920, 6),
            (u64::MAX, Content::Text, 131_072, 13),
        ] {
            let options = SignatureOptions::for_basis(len, content);
            assert_eq!((options.block_len(), options.strong_len()), (block_len, strong_len), "{len}");
            assert_eq!(options.suits(len), len < u64::MAX, "{len}");
        }
        assert!(Content::PACKED.is_sorted());
        assert_eq!(SignatureOptions::new(0).block_len(), 512);
        assert_eq!(SignatureOptions::new(u32::MAX).full_sums().strong_len(), 16);
    }

    #[test]
    fn kinds_by_name() {
        for (name, content) in [
            (&b"a.JPG"[..], Content::Packed),
            (b"dump.sql", Content::Text),
            (b"jpg", Content::Text),
            (b"", Content::Text),
            (b"x.tar.zst", Content::Packed),
            (b"x.7z", Content::Packed),
            (b"x.", Content::Text),
        ] {
            assert_eq!(Content::of_name(name), content, "{}", name.escape_ascii());
        }
    }
}
