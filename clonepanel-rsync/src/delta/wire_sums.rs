//! [`WireSums`]: the block sums that a receiver sent, ready to be searched.

use super::{
    rolling::{Signed, weak_sum},
    search::BlockSums,
    strong::StrongSum,
    wire_signature::MAX_BLOCK,
};
use crate::{error::ProtocolError, wire::SumHead};

/// Blocks that are searched at the most, at some 20 bytes each; stock rsync reaches so many with a file of 512 GiB.
const MAX_BLOCKS: u32 = 4 << 20;
/// The shortest block that stock rsync chooses, however short the file. Shorter ones would cost a sum for each byte.
const MIN_BLOCK: u32 = 700;

/// Block sums in the dialect of rsync's wire.
#[derive(Debug)]
pub(crate) struct WireSums {
    head: SumHead,
    sums: Vec<u8>,
    checksum: StrongSum,
    seed: i32,
}

impl WireSums {
    /// Length of the sums behind a head, in bytes; an error when stock rsync would not take the head either. To be asked before
    /// anything is read or kept. Source: `rsync-protocol`, section 7.2.
    pub(crate) fn expected_len(head: SumHead, checksum: StrongSum) -> Result<u64, ProtocolError> {
        let SumHead { count, block_len, strong_len, remainder } = head;
        let fits = count <= i32::MAX as u32
            && block_len <= MAX_BLOCK
            && remainder <= block_len
            && strong_len as usize <= checksum.len()
            && (count == 0 || block_len > 0);
        if fits {
            Ok(u64::from(count) * (4 + u64::from(strong_len)))
        } else {
            Err(ProtocolError::Malformed("head of block sums"))
        }
    }

    /// Whether sums with this head are worth keeping: there are some, and they can be searched. Others are read and forgotten,
    /// and the file travels whole.
    pub(crate) const fn can_be_searched(head: SumHead) -> bool {
        head.count > 0 && head.count <= MAX_BLOCKS && head.block_len >= MIN_BLOCK && head.strong_len > 0
    }

    /// `None` when they cannot be searched or do not belong to the head.
    pub(crate) fn new(mut head: SumHead, sums: Vec<u8>, checksum: StrongSum, seed: i32) -> Option<Self> {
        let expected = Self::expected_len(head, checksum).ok()?;
        if head.remainder == head.block_len {
            head.remainder = 0;
        }
        (Self::can_be_searched(head) && sums.len() as u64 == expected).then_some(Self { head, sums, checksum, seed })
    }

    fn entry(&self, block: u32) -> &[u8] {
        let len = 4 + self.head.strong_len as usize;
        &self.sums[block as usize * len..][..len]
    }
}

impl BlockSums for WireSums {
    type Value = Signed;

    fn block_len(&self) -> usize {
        self.head.block_len as usize
    }

    fn whole_blocks(&self) -> u32 {
        self.head.count - u32::from(self.head.remainder > 0)
    }

    fn tail_len(&self) -> usize {
        self.head.remainder as usize
    }

    fn weak(&self, block: u32) -> u32 {
        self.entry(block).first_chunk().copied().map_or(0, u32::from_le_bytes)
    }

    /// One after the other: no sum is computed that is not asked for.
    fn batch(&self, _equal: usize) -> usize {
        1
    }

    fn equal(&self, first: u32, data: &[u8]) -> u64 {
        // A weak sum costs a tenth of an MD5, and as much as an xxHash.
        let is_slow = matches!(self.checksum, StrongSum::Md5 { .. } | StrongSum::Sha1);
        let differs = is_slow && weak_sum::<Signed>(data) != self.weak(first);
        u64::from(!differs && self.find(std::iter::once(first), data).is_some())
    }

    fn find(&self, mut candidates: impl Iterator<Item = u32>, data: &[u8]) -> Option<u32> {
        let mut sum = Vec::with_capacity(20);
        self.checksum.put_block(self.seed, data, self.head.strong_len as usize, &mut sum);
        candidates.find(|block| self.entry(*block)[4..] == sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: SumHead = SumHead { count: 3, block_len: 700, strong_len: 2, remainder: 6 };

    #[test]
    fn heads_are_taken_as_stock_takes_them() {
        let len = |head| WireSums::expected_len(head, StrongSum::Xxh128).ok();
        assert_eq!(len(HEAD), Some(18));
        assert_eq!(len(SumHead::default()), Some(0));
        assert_eq!(len(SumHead { count: i32::MAX as u32, ..HEAD }), Some(6 * i32::MAX as u64));
        for head in [
            SumHead { count: 1 << 31, ..HEAD },
            SumHead { block_len: MAX_BLOCK + 1, ..HEAD },
            SumHead { block_len: 0, remainder: 0, ..HEAD },
            SumHead { remainder: 701, ..HEAD },
            SumHead { strong_len: 17, ..HEAD },
        ] {
            assert_eq!(len(head), None, "{head:?}");
        }
    }

    #[test]
    fn what_cannot_be_searched_is_left_alone() {
        let new = |head: SumHead, len: usize| WireSums::new(head, vec![0; len], StrongSum::Xxh128, 1);
        assert!(new(HEAD, 18).is_some());
        assert!(new(HEAD, 17).is_none());
        assert!(new(SumHead { count: 0, ..HEAD }, 0).is_none());
        assert!(new(SumHead { block_len: 699, ..HEAD }, 18).is_none());
        assert!(new(SumHead { strong_len: 0, ..HEAD }, 12).is_none());
        assert!(!WireSums::can_be_searched(SumHead { count: MAX_BLOCKS + 1, ..HEAD }));
    }

    #[test]
    fn a_full_last_block_is_whole() {
        for (remainder, whole, tail) in [(0, 3, 0), (700, 3, 0), (6, 2, 6)] {
            let sums = WireSums::new(SumHead { remainder, ..HEAD }, vec![0; 18], StrongSum::Xxh128, 1).unwrap();
            assert_eq!((sums.whole_blocks(), sums.tail_len()), (whole, tail));
        }
    }
}
