//! [`WireSignatureBuilder`]: the block sums of a basis, computed while it is read.

use super::{
    rolling::{Signed, weak_sum},
    strong::StrongSum,
};
use crate::wire::SumHead;

/// The longest block that protocol 30 and later allow.
pub(super) const MAX_BLOCK: u32 = 128 * 1024;
const MIN_BLOCK: u32 = 700;
/// Blocks of a signature that is kept in memory, at 20 bytes each at the most.
const MAX_BLOCKS: u64 = 4 << 20;

/// How long the strong sums of a signature are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StrongLength {
    /// As the length of the file asks for: enough to make a false match unlikely; the whole-file sum catches the rest.
    ByLength,
    /// As long as they get: for a file whose first try was wrong.
    Full,
}

/// The longest block that the session allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockRule {
    max_block: u32,
}

impl BlockRule {
    /// Any length up to the protocol's limit.
    pub(crate) const fn any() -> Self {
        Self { max_block: MAX_BLOCK }
    }

    /// Blocks below 64 KiB: plain zlib with protocol 30 has longer ones wrong in its history.
    pub(crate) const fn short() -> Self {
        Self { max_block: 65_528 }
    }

    /// The head for a basis of `len` bytes: about the square root as block length. All zero for a basis that has nothing to
    /// match or is too long to be described.
    pub(crate) fn head(self, len: u64, checksum: StrongSum, strong: StrongLength) -> SumHead {
        if len == 0 {
            return SumHead::default();
        }
        let root = len.isqrt().min(u64::from(self.max_block)) as u32;
        let block_len = if len <= u64::from(MIN_BLOCK) * u64::from(MIN_BLOCK) { MIN_BLOCK } else { root & !7 };
        let count = len.div_ceil(u64::from(block_len));
        if count > MAX_BLOCKS {
            return SumHead::default();
        }
        let longest = checksum.len().min(16) as u32;
        let strong_len = match strong {
            StrongLength::Full => longest,
            StrongLength::ByLength => {
                let bits = 10 + 2 * i64::from(len.ilog2()) - i64::from(block_len.ilog2()) - 24;
                u32::try_from(bits / 8).unwrap_or(0).clamp(2, longest)
            }
        };
        SumHead { count: count as u32, block_len, strong_len, remainder: (len % u64::from(block_len)) as u32 }
    }
}

/// Collects the sums of the blocks of a basis.
#[derive(Debug)]
pub(crate) struct WireSignatureBuilder {
    head: SumHead,
    checksum: StrongSum,
    seed: i32,
    sums: Vec<u8>,
}

impl WireSignatureBuilder {
    pub(crate) fn new(head: SumHead, checksum: StrongSum, seed: i32) -> Self {
        let sums = Vec::with_capacity(head.count as usize * (4 + head.strong_len as usize));
        Self { head, checksum, seed, sums }
    }

    /// Adds whole blocks; only the last piece of the basis may end in a shorter one.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        if self.head.count == 0 {
            return;
        }
        for block in piece.chunks(self.head.block_len as usize) {
            self.sums.extend_from_slice(&weak_sum::<Signed>(block).to_le_bytes());
            self.checksum.put_block(self.seed, block, self.head.strong_len as usize, &mut self.sums);
        }
    }

    /// The head and the sums as they go on the wire.
    pub(crate) fn finish(self) -> (SumHead, Vec<u8>) {
        (self.head, self.sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_lengths_as_stock() {
        let head = |len| BlockRule::any().head(len, StrongSum::Xxh128, StrongLength::ByLength);
        for (len, block_len, strong_len) in [
            (1, 700, 2),
            (490_000, 700, 2),
            (1_000_000, 1000, 2),
            (123_456_789, 11_104, 3),
            (1 << 30, 32_768, 3),
            (5 << 30, 73_264, 4),
        ] {
            let head = head(len);
            assert_eq!((head.block_len, head.strong_len), (block_len, strong_len), "{len}");
            assert_eq!(head.range(0, head.count), Some((0, len)));
        }
        assert_eq!(head(0), SumHead::default());
        assert_eq!(BlockRule::any().head(1, StrongSum::Xxh64, StrongLength::Full).strong_len, 8);
    }

    #[test]
    fn sums_as_captured() {
        let head = BlockRule::any().head(6, StrongSum::Xxh128, StrongLength::ByLength);
        let mut builder = WireSignatureBuilder::new(head, StrongSum::Xxh128, 1);
        builder.update(b"hellO\n");
        let (head, sums) = builder.finish();
        assert_eq!(head, SumHead { count: 1, block_len: 700, strong_len: 2, remainder: 6 });
        assert_eq!(sums, [0xfe, 0x01, 0x05, 0x08, 0x48, 0x63]);
    }
}
