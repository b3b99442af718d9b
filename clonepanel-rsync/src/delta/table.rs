//! [`Table`]: from a weak sum to the blocks that have it, with a filter in front that answers "none" from the cache.

use std::hash::{BuildHasher, RandomState};

/// Bits of the filter for each block: more of them let fewer foreign sums through, until the filter leaves the cache.
const FILTER_BITS_PER_BLOCK: usize = 128;
/// The largest filter, in bits: 512 KiB stay in the second-level cache.
const MAX_FILTER_BITS: usize = 512 * 1024 * 8;
/// Blocks with the same weak sum that are looked at; more of them are repetitions, or crafted.
const MAX_CANDIDATES: usize = 32;
/// Entries of one bucket that are looked at.
const MAX_LOOKED_AT: usize = 256;

/// Where the blocks with a given weak sum are.
#[derive(Debug)]
pub(crate) struct Table {
    filter: Vec<u32>,
    filter_shift: u32,
    /// Bucket b holds `entries[starts[b]..starts[b + 1]]`, in the order of the blocks.
    starts: Vec<u32>,
    bucket_shift: u32,
    entries: Vec<(u32, u32)>,
    /// Odd and secret: nobody who knows our code can craft sums that share a bucket.
    multiplier: u32,
}

impl Table {
    /// Of the weak sums of all blocks, in order. Takes time and memory linear in their number, whatever they are.
    pub(crate) fn new(sums: impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + Clone) -> Self {
        let count = sums.len();
        let filter_bits = (count * FILTER_BITS_PER_BLOCK).next_power_of_two().clamp(32, MAX_FILTER_BITS);
        let buckets = count.next_power_of_two().max(2);
        let mut table = Self {
            filter: vec![0; filter_bits / 32],
            filter_shift: 32 - filter_bits.ilog2(),
            starts: vec![0; buckets + 1],
            bucket_shift: 32 - buckets.ilog2(),
            entries: vec![(0, 0); count],
            multiplier: RandomState::new().hash_one(count) as u32 | 1,
        };
        for sum in sums.clone() {
            let hash = table.hash(sum);
            let bit = hash >> table.filter_shift;
            table.filter[(bit / 32) as usize] |= 1 << (bit % 32);
            table.starts[(hash >> table.bucket_shift) as usize] += 1;
        }
        // From how many are in each bucket to where each one ends; filling it from its end leaves where it starts.
        let mut end = 0;
        for start in &mut table.starts {
            end += *start;
            *start = end;
        }
        for (sum, block) in sums.zip(0_u32..count as u32).rev() {
            let bucket = (table.hash(sum) >> table.bucket_shift) as usize;
            table.starts[bucket] -= 1;
            table.entries[table.starts[bucket] as usize] = (sum, block);
        }
        table
    }

    #[inline]
    const fn hash(&self, sum: u32) -> u32 {
        sum.wrapping_mul(self.multiplier)
    }

    /// Whether there may be a block with this sum. Says yes for some that there are not.
    #[inline]
    pub(crate) fn may_have(&self, sum: u32) -> bool {
        let bit = self.hash(sum) >> self.filter_shift;
        self.filter[(bit / 32) as usize] >> (bit % 32) & 1 != 0
    }

    /// The first blocks with this sum, in order.
    pub(crate) fn blocks(&self, sum: u32) -> impl Iterator<Item = u32> + Clone {
        let bucket = (self.hash(sum) >> self.bucket_shift) as usize;
        let range = self.starts[bucket] as usize..self.starts[bucket + 1] as usize;
        // Only equal sums can fill a bucket, and the first of them are enough.
        let entries = self.entries[range].iter().take(MAX_LOOKED_AT);
        entries.filter(move |entry| entry.0 == sum).map(|entry| entry.1).take(MAX_CANDIDATES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn finds_the_first_blocks_with_a_sum(sums in proptest::collection::vec(0_u32..40, 0..200), asked in 0_u32..50) {
            let table = Table::new(sums.iter().copied());
            let expected: Vec<u32> =
                (0..).zip(&sums).filter(|(_, sum)| **sum == asked).map(|(block, _)| block).take(MAX_CANDIDATES).collect();
            proptest::prop_assert_eq!(table.blocks(asked).collect::<Vec<_>>(), expected.clone());
            proptest::prop_assert!(expected.is_empty() || table.may_have(asked));
        }
    }

    #[test]
    fn the_filter_lets_few_through() {
        let sums = (0..10_000_u32).map(|i| i.wrapping_mul(2_654_435_761));
        let table = Table::new(sums);
        let through = (0..100_000_u32).filter(|i| table.may_have(i.wrapping_mul(40_503).wrapping_add(7))).count();
        assert!(through < 5_000, "{through}");
    }
}
