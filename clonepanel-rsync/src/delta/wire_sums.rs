//! [`WireSums`]: the block sums that a receiver sent, ready to be searched.

use super::{
    rolling::{Signed, weak_sum},
    search::{Agreement, BlockSums},
    strong::StrongSum,
};
use crate::{error::ProtocolError, wire::SumHead};

/// The longest block that protocol 30 and later allow.
const MAX_BLOCK: u32 = 128 * 1024;

/// Block sums in the dialect of rsync's wire.
#[derive(Debug)]
pub(crate) struct WireSums {
    head: SumHead,
    sums: Vec<u8>,
    checksum: StrongSum,
    seed: i32,
}

impl WireSums {
    /// Length of the sums behind a head, in bytes; an error when no honest receiver sends such a head. To be asked before
    /// anything is read or kept. Limits: `reference/rsync-protocol.md`, section 7.2.
    pub(crate) fn expected_len(head: SumHead, checksum: StrongSum) -> Result<u64, ProtocolError> {
        let SumHead { count, block_len, strong_len, remainder } = head;
        let fits = block_len <= MAX_BLOCK
            && remainder <= block_len
            && strong_len as usize <= checksum.len()
            && (count == 0 || (block_len > 0 && strong_len > 0));
        if fits {
            Ok(u64::from(count) * (4 + u64::from(strong_len)))
        } else {
            Err(ProtocolError::Malformed("head of block sums"))
        }
    }

    /// `None` when there are no blocks or the sums do not belong to the head.
    pub(crate) fn new(head: SumHead, sums: Vec<u8>, checksum: StrongSum, seed: i32) -> Option<Self> {
        let expected = Self::expected_len(head, checksum).ok()?;
        (head.count > 0 && sums.len() as u64 == expected).then_some(Self { head, sums, checksum, seed })
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
    fn batch(&self, _after: Agreement) -> usize {
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
