//! [`StrongSum`] and [`Hasher`]: the strong sums of the wire, over blocks (seeded) and over whole files (not seeded).

use md5::{Digest, Md5};
use sha1::Sha1;
use xxhash_rust::{
    xxh3::{Xxh3, xxh3_64_with_seed, xxh3_128_with_seed},
    xxh64::{Xxh64, xxh64},
};

/// A strong sum that both ends agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StrongSum {
    /// With the seed before the data (compat bit 5) or after it.
    Md5 {
        seed_first: bool,
    },
    Sha1,
    Xxh128,
    Xxh3,
    Xxh64,
}

impl StrongSum {
    /// Length of a whole digest, in bytes.
    pub(crate) const fn len(self) -> usize {
        match self {
            Self::Md5 { .. } | Self::Xxh128 => 16,
            Self::Sha1 => 20,
            Self::Xxh3 | Self::Xxh64 => 8,
        }
    }

    /// Appends the first `len` bytes of the sum of a block. A seed of zero is no seed.
    pub(crate) fn put_block(self, seed: i32, block: &[u8], len: usize, out: &mut Vec<u8>) {
        let long_seed = i64::from(seed).cast_unsigned();
        let seed_bytes = if seed == 0 { &[][..] } else { &seed.to_le_bytes()[..] };
        match self {
            Self::Md5 { seed_first: true } => {
                put(out, len, &Md5::new().chain_update(seed_bytes).chain_update(block).finalize());
            }
            Self::Md5 { seed_first: false } => {
                put(out, len, &Md5::new().chain_update(block).chain_update(seed_bytes).finalize());
            }
            Self::Sha1 => put(out, len, &Sha1::new().chain_update(seed_bytes).chain_update(block).finalize()),
            Self::Xxh128 => put(out, len, &xxh3_128_with_seed(block, long_seed).to_le_bytes()),
            Self::Xxh3 => put(out, len, &xxh3_64_with_seed(block, long_seed).to_le_bytes()),
            Self::Xxh64 => put(out, len, &xxh64(block, long_seed).to_le_bytes()),
        }
    }
}

fn put(out: &mut Vec<u8>, len: usize, digest: &[u8]) {
    out.extend_from_slice(&digest[..len.min(digest.len())]);
}

/// Computes the sum of a whole file from pieces.
#[derive(Clone)]
pub(crate) enum Hasher {
    Md5(Md5),
    Sha1(Sha1),
    Xxh128(Box<Xxh3>),
    Xxh3(Box<Xxh3>),
    Xxh64(Xxh64),
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    pub(crate) fn new(checksum: StrongSum) -> Self {
        match checksum {
            StrongSum::Md5 { .. } => Self::Md5(Md5::new()),
            StrongSum::Sha1 => Self::Sha1(Sha1::new()),
            StrongSum::Xxh128 => Self::Xxh128(Box::new(Xxh3::new())),
            StrongSum::Xxh3 => Self::Xxh3(Box::new(Xxh3::new())),
            StrongSum::Xxh64 => Self::Xxh64(Xxh64::new(0)),
        }
    }

    pub(crate) fn update(&mut self, piece: &[u8]) {
        match self {
            Self::Md5(hasher) => hasher.update(piece),
            Self::Sha1(hasher) => hasher.update(piece),
            Self::Xxh128(hasher) | Self::Xxh3(hasher) => hasher.update(piece),
            Self::Xxh64(hasher) => hasher.update(piece),
        }
    }

    /// The digest of all pieces.
    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Md5(hasher) => hasher.finalize().to_vec(),
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Xxh128(hasher) => hasher.digest128().to_le_bytes().to_vec(),
            Self::Xxh3(hasher) => hasher.digest().to_le_bytes().to_vec(),
            Self::Xxh64(hasher) => hasher.digest().to_le_bytes().to_vec(),
        }
    }

    /// Whether the digest of all pieces is `expected`.
    pub(crate) fn is(self, expected: &[u8]) -> bool {
        self.finish() == expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_captured() {
        // The digest of "hello\n" and the first bytes of a seeded block sum, from stock rsync 3.5.0.
        let digest = [0x9c, 0xe4, 0xc8, 0xf1, 0x35, 0xb4, 0x10, 0x5a, 0x6d, 0xf5, 0x69, 0xe0, 0xc7, 0x86, 0xba, 0x6b];
        let mut hasher = Hasher::new(StrongSum::Xxh128);
        hasher.update(b"hel");
        hasher.update(b"lo\n");
        assert!(hasher.clone().is(&digest));
        hasher.update(b"x");
        assert!(!hasher.is(&digest));
        let mut sums = Vec::new();
        StrongSum::Xxh128.put_block(1, b"hellO\n", 2, &mut sums);
        assert_eq!(sums, [0x48, 0x63]);
    }

    #[test]
    fn every_digest_has_its_length() {
        for checksum in [
            StrongSum::Md5 { seed_first: true },
            StrongSum::Md5 { seed_first: false },
            StrongSum::Sha1,
            StrongSum::Xxh128,
            StrongSum::Xxh3,
            StrongSum::Xxh64,
        ] {
            let mut sums = Vec::new();
            checksum.put_block(-7, b"block", 64, &mut sums);
            assert_eq!(sums.len(), checksum.len(), "{checksum:?}");
            let (mut seeded, mut plain) = (Vec::new(), Vec::new());
            checksum.put_block(-7, b"block", 8, &mut seeded);
            checksum.put_block(0, b"block", 8, &mut plain);
            assert_ne!(seeded, plain);
        }
    }
}
