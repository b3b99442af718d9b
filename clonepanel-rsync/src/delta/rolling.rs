//! The rolling sum of rsync's wire: two 16-bit sums over signed bytes.

/// The weak sum of one block.
///
/// Over n bytes b: the low half is the sum of b\[i\], the high half the sum of (n - i) * b\[i\], both modulo 2^16, with bytes
/// taken as signed.
#[must_use]
pub(crate) fn weak_sum(block: &[u8]) -> u32 {
    const LANES: usize = 64;
    let (mut low, mut high) = (0_i32, 0_i32);
    let mut chunks = block.chunks_exact(LANES);
    for chunk in &mut chunks {
        // In closed form, so that the compiler can use vector instructions: each chunk weighs its bytes from LANES down to
        // 1 and moves all that came before by LANES.
        let (mut sum, mut weighted) = (0_i32, 0_i32);
        for (at, &byte) in chunk.iter().enumerate() {
            let value = i32::from(byte.cast_signed());
            sum += value;
            weighted += value * (LANES - at) as i32;
        }
        high = high.wrapping_add(low.wrapping_mul(LANES as i32)).wrapping_add(weighted);
        low = low.wrapping_add(sum);
    }
    for &byte in chunks.remainder() {
        low = low.wrapping_add(i32::from(byte.cast_signed()));
        high = high.wrapping_add(low);
    }
    (low & 0xffff).cast_unsigned() | high.cast_unsigned() << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_captured() {
        assert_eq!(weak_sum(b"hellO\n").to_le_bytes(), [0xfe, 0x01, 0x05, 0x08]);
        assert_eq!(weak_sum(b""), 0);
    }

    proptest::proptest! {
        #[test]
        fn equals_its_definition(block: Vec<u8>, more in 0_usize..300) {
            let block = [block, vec![0x9c; more]].concat();
            let n = block.len() as i64;
            let value = |i: usize| i64::from(block[i].cast_signed());
            let low: i64 = (0..block.len()).map(value).sum();
            let high: i64 = (0..block.len()).map(|i| (n - i as i64) * value(i)).sum();
            let expected = (low & 0xffff) as u32 | ((high & 0xffff) as u32) << 16;
            proptest::prop_assert_eq!(weak_sum(&block), expected);
        }
    }
}
