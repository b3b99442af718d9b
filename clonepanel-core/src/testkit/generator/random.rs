//! [`Random`]: numbers from a seed.

/// A small generator (splitmix64): the same numbers for the same seed, on every machine and in every version.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 when that is 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.number() % limit }
    }

    /// One of several. Panics when there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(from.len() as u64)).unwrap_or(0);
        &from[at]
    }

    /// So many bytes: half of the time text that repeats itself, else noise.
    pub fn content(&mut self, len: u64) -> Vec<u8> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(len + 64);
        let textual = self.below(2) == 0;
        while bytes.len() < len {
            if textual {
                bytes.extend_from_slice(format!("line {} of some text\n", self.below(1000)).as_bytes());
            } else {
                bytes.extend_from_slice(&self.number().to_le_bytes());
            }
        }
        bytes.truncate(len);
        bytes
    }
}
