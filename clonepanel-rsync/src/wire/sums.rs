//! [`SumHead`]: the description of a basis that goes before its block sums, and comes back before the tokens.

use super::{Cursor, Stop};

/// Count of blocks, their length, the length of a strong sum, and the length of the last block (0: it is full).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SumHead {
    pub(crate) count: u32,
    pub(crate) block_len: u32,
    pub(crate) strong_len: u32,
    pub(crate) remainder: u32,
}

impl SumHead {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for value in [self.count, self.block_len, self.strong_len, self.remainder] {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        Ok(Self { count: cursor.u32()?, block_len: cursor.u32()?, strong_len: cursor.u32()?, remainder: cursor.u32()? })
    }

    /// Offset and length of a run of blocks in the basis; `None` when there are no such blocks.
    pub(crate) fn range(&self, first: u32, count: u32) -> Option<(u64, u64)> {
        let end = first.checked_add(count).filter(|end| *end <= self.count && count > 0)?;
        let block_len = u64::from(self.block_len);
        let short = if end == self.count && self.remainder > 0 { block_len - u64::from(self.remainder) } else { 0 };
        Some((u64::from(first) * block_len, u64::from(count) * block_len - short))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_inside_the_basis() {
        let head = SumHead { count: 3, block_len: 700, strong_len: 2, remainder: 6 };
        assert_eq!(head.range(0, 1), Some((0, 700)));
        assert_eq!(head.range(2, 1), Some((1400, 6)));
        assert_eq!(head.range(0, 3), Some((0, 1406)));
        assert_eq!(head.range(1, 3), None);
        assert_eq!(head.range(3, 1), None);
        assert_eq!(head.range(u32::MAX, 2), None);
        assert_eq!(head.range(0, 0), None);
        let full = SumHead { remainder: 0, ..head };
        assert_eq!(full.range(2, 1), Some((1400, 700)));
        assert_eq!(SumHead::default().range(0, 1), None);
    }
}
