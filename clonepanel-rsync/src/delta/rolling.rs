//! The weak sums of both dialects: two 16-bit sums that slide along the data a byte at a time.

use std::marker::PhantomData;

/// What a byte counts in a dialect's weak sum. All sums are modulo 2^16.
pub(crate) trait ByteValue: Copy + Send + Sync + 'static {
    /// Added to every byte.
    const OFFSET: u16;
    /// The byte itself.
    fn value(byte: u8) -> u16;
}

/// rsync's wire: signed bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed;

impl ByteValue for Signed {
    const OFFSET: u16 = 0;

    fn value(byte: u8) -> u16 {
        i16::from(byte.cast_signed()).cast_unsigned()
    }
}

/// librsync's classic "rollsum": unsigned bytes, plus 31.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifted;

impl ByteValue for Lifted {
    const OFFSET: u16 = 31;

    fn value(byte: u8) -> u16 {
        u16::from(byte)
    }
}

/// The weak sum of one block.
///
/// Over n bytes of value v: the low half is the sum of v\[i\], the high half the sum of (n - i) * v\[i\].
#[must_use]
pub(crate) fn weak_sum<V: ByteValue>(block: &[u8]) -> u32 {
    const LANES: usize = 64;
    let (mut low, mut high) = (0_u16, 0_u16);
    let (chunks, rest) = block.as_chunks::<LANES>();
    for chunk in chunks {
        // In closed form, so that the compiler can use vector instructions: each chunk weighs its bytes from LANES down to
        // 1 and moves all that came before by LANES.
        let (mut sum, mut weighted) = (0_u16, 0_u16);
        for (at, &byte) in chunk.iter().enumerate() {
            let value = V::value(byte);
            sum = sum.wrapping_add(value);
            weighted = weighted.wrapping_add(value.wrapping_mul((LANES - at) as u16));
        }
        high = high.wrapping_add(low.wrapping_mul(LANES as u16)).wrapping_add(weighted);
        low = low.wrapping_add(sum);
    }
    for &byte in rest {
        low = low.wrapping_add(V::value(byte));
        high = high.wrapping_add(low);
    }
    let len = block.len() as u64;
    let triangle = (u128::from(len) * u128::from(len + 1) / 2) as u16;
    low = low.wrapping_add((len as u16).wrapping_mul(V::OFFSET));
    high = high.wrapping_add(triangle.wrapping_mul(V::OFFSET));
    u32::from(low) | u32::from(high) << 16
}

/// A weak sum that slides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rolling<V> {
    low: u32,
    high: u32,
    len: u32,
    dialect: PhantomData<V>,
}

impl<V: ByteValue> Rolling<V> {
    /// Of the first block to look at; later ones have the same length.
    pub(crate) fn new(block: &[u8]) -> Self {
        let sum = weak_sum::<V>(block);
        Self { low: sum & 0xffff, high: sum >> 16, len: block.len() as u32, dialect: PhantomData }
    }

    /// The sum where it stands.
    #[inline]
    pub(crate) const fn sum(&self) -> u32 {
        (self.low & 0xffff) | self.high << 16
    }

    /// One byte on.
    #[inline]
    pub(crate) fn roll(&mut self, leaves: u8, enters: u8) {
        let (leaves, enters) = (u32::from(V::value(leaves)), u32::from(V::value(enters)));
        // Differences first: one addition is all that one byte waits for the byte before it.
        self.low = self.low.wrapping_add(enters.wrapping_sub(leaves));
        let lifted = leaves.wrapping_add(u32::from(V::OFFSET));
        self.high = self.high.wrapping_add(self.low.wrapping_sub(lifted.wrapping_mul(self.len)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_captured() {
        assert_eq!(weak_sum::<Signed>(b"hellO\n").to_le_bytes(), [0xfe, 0x01, 0x05, 0x08]);
        assert_eq!(weak_sum::<Signed>(b""), 0);
        assert_eq!(weak_sum::<Lifted>(b""), 0);
    }

    fn defined<V: ByteValue>(block: &[u8]) -> u32 {
        let n = block.len() as u64;
        let value = |i: u64| u64::from(V::value(block[i as usize]).wrapping_add(V::OFFSET));
        let low = (0..n).map(value).fold(0, u64::wrapping_add);
        let high = (0..n).map(|i| (n - i) * value(i)).fold(0, u64::wrapping_add);
        (low & 0xffff) as u32 | ((high & 0xffff) as u32) << 16
    }

    proptest::proptest! {
        #[test]
        fn equals_its_definition(block: Vec<u8>, more in 0_usize..300) {
            let block = [block, vec![0x9c; more]].concat();
            proptest::prop_assert_eq!(weak_sum::<Signed>(&block), defined::<Signed>(&block));
            proptest::prop_assert_eq!(weak_sum::<Lifted>(&block), defined::<Lifted>(&block));
        }

        #[test]
        fn slides_as_it_is_defined(data in proptest::collection::vec(0_u8.., 1..400), len in 1_usize..200) {
            let len = len.min(data.len());
            let (mut signed, mut lifted) = (Rolling::<Signed>::new(&data[..len]), Rolling::<Lifted>::new(&data[..len]));
            for at in 0..=data.len() - len {
                let block = &data[at..at + len];
                proptest::prop_assert_eq!(signed.sum(), weak_sum::<Signed>(block));
                proptest::prop_assert_eq!(lifted.sum(), weak_sum::<Lifted>(block));
                if let Some(&enters) = data.get(at + len) {
                    signed.roll(data[at], enters);
                    lifted.roll(data[at], enters);
                }
            }
        }
    }
}
