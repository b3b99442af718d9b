//! [`Signature`]: the block sums of a basis in librsync's format, and [`Index`], in which they can be looked up.

use super::{
    options::{BLOCK_LENS, MAX_BLOCKS, STRONG_LENS, SignatureOptions},
    rolling::Lifted,
    search::{BlockSums, Searchable},
};

use std::sync::Arc;

/// MD4 sums with the classic rolling sum: what `rdiff -H md4 -R rollsum` writes.
const MAGIC: [u8; 4] = 0x7273_0136_u32.to_be_bytes();
const HEADER_LEN: usize = 12;
const WEAK_LEN: usize = 4;
/// Pieces that are shorter than so many blocks are collected, since the sums of eight blocks cost as much as those of one.
const BLOCKS_AT_ONCE: usize = 64;

/// The block sums of a basis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    bytes: Vec<u8>,
    options: SignatureOptions,
    basis_len: u64,
}

impl Signature {
    /// Of a basis in memory.
    ///
    /// # Errors
    /// [`SignatureError::Limits`] when there are too many blocks: see [`SignatureOptions::suits`].
    pub fn of(basis: &[u8], options: SignatureOptions) -> Result<Self, SignatureError> {
        Self::expected_len(basis.len() as u64, options)?;
        let bytes = fast_rsync::Signature::calculate(basis, options.raw()).into_serialized();
        Ok(Self { bytes, options, basis_len: basis.len() as u64 })
    }

    /// Reads a signature that a peer made of a basis of `basis_len` bytes.
    ///
    /// # Errors
    /// [`SignatureError`] when it is not in this format, outside the limits, or not of a basis of that length.
    pub fn parse(bytes: Vec<u8>, basis_len: u64) -> Result<Self, SignatureError> {
        let number = |at: usize| bytes.get(at..at + 4).and_then(<[u8]>::first_chunk).copied().map(u32::from_be_bytes);
        let (Some(block_len), Some(strong_len)) = (number(4), number(8)) else { return Err(SignatureError::Length) };
        if bytes[..4] != MAGIC {
            return Err(SignatureError::Format);
        }
        if !BLOCK_LENS.contains(&block_len) || !STRONG_LENS.contains(&strong_len) {
            return Err(SignatureError::Limits);
        }
        let options = SignatureOptions::new(block_len).with_strong_len(strong_len);
        if bytes.len() as u64 != Self::expected_len(basis_len, options)? {
            return Err(SignatureError::Length);
        }
        Ok(Self { bytes, options, basis_len })
    }

    /// Length in bytes of a signature, to be asked before room is made for it.
    ///
    /// # Errors
    /// [`SignatureError::Limits`] when there would be too many blocks.
    pub fn expected_len(basis_len: u64, options: SignatureOptions) -> Result<u64, SignatureError> {
        let blocks = basis_len.div_ceil(u64::from(options.block_len()));
        if blocks > MAX_BLOCKS {
            return Err(SignatureError::Limits);
        }
        Ok(HEADER_LEN as u64 + blocks * (WEAK_LEN as u64 + u64::from(options.strong_len())))
    }

    /// As a file or on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// As a file or on the wire.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Lengths of blocks and sums.
    #[must_use]
    pub const fn options(&self) -> SignatureOptions {
        self.options
    }

    /// Length of the basis, in bytes. Not part of the format; without it the last, shorter block could not be matched.
    #[must_use]
    pub const fn basis_len(&self) -> u64 {
        self.basis_len
    }

    /// Prepares it for searching. About 22 bytes for each block, and a filter of at most 512 KiB.
    #[must_use]
    pub fn index(self) -> Index {
        Index(Arc::new(Searchable::new(self)))
    }

    const fn entry_len(&self) -> usize {
        WEAK_LEN + self.options.strong_len() as usize
    }

    fn entries(&self, first: u32, count: usize) -> &[u8] {
        let entries = &self.bytes[HEADER_LEN + first as usize * self.entry_len()..];
        &entries[..count * self.entry_len()]
    }
}

impl BlockSums for Signature {
    type Value = Lifted;

    fn block_len(&self) -> usize {
        self.options.block_len() as usize
    }

    fn whole_blocks(&self) -> u32 {
        (self.basis_len / u64::from(self.options.block_len())) as u32
    }

    fn tail_len(&self) -> usize {
        (self.basis_len % u64::from(self.options.block_len())) as usize
    }

    fn weak(&self, block: u32) -> u32 {
        self.entries(block, 1).first_chunk().copied().map_or(0, u32::from_be_bytes)
    }

    /// The library computes eight sums in little more than the time of one.
    fn batch(&self, equal: usize) -> usize {
        equal.clamp(8, 64)
    }

    fn equal(&self, first: u32, data: &[u8]) -> u64 {
        let sums = fast_rsync::Signature::calculate(data, self.options.raw());
        let theirs = sums.serialized()[HEADER_LEN..].chunks_exact(self.entry_len());
        let ours = self.entries(first, theirs.len()).chunks_exact(self.entry_len());
        ours.zip(theirs).rev().fold(0, |equal, (ours, theirs)| equal << 1 | u64::from(ours == theirs))
    }

    fn find(&self, mut candidates: impl Iterator<Item = u32>, data: &[u8]) -> Option<u32> {
        let sums = fast_rsync::Signature::calculate(data, self.options.raw());
        candidates.find(|block| *self.entries(*block, 1) == sums.serialized()[HEADER_LEN..])
    }
}

/// A signature in which blocks can be looked up. Clones share it; one index may serve many threads.
#[derive(Debug, Clone)]
pub struct Index(pub(super) Arc<Searchable<Signature>>);

impl Index {
    /// What it was made of.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        self.0.sums()
    }
}

/// Makes a signature of a basis that comes in pieces. Holds up to 64 blocks of it.
#[derive(Debug)]
pub struct SignatureBuilder {
    signature: Signature,
    /// Less than [`BLOCKS_AT_ONCE`] blocks, whose sums are still to be computed.
    rest: Vec<u8>,
}

impl SignatureBuilder {
    /// Of nothing yet.
    #[must_use]
    pub fn new(options: SignatureOptions) -> Self {
        let empty = fast_rsync::Signature::calculate(&[], options.raw()).into_serialized();
        Self { signature: Signature { bytes: empty, options, basis_len: 0 }, rest: Vec::new() }
    }

    /// Goes on with the next piece of the basis, of any length.
    pub fn update(&mut self, mut piece: &[u8]) {
        let at_once = BLOCKS_AT_ONCE * self.signature.block_len();
        if !self.rest.is_empty() {
            let (first, more) = piece.split_at((at_once - self.rest.len()).min(piece.len()));
            self.rest.extend_from_slice(first);
            piece = more;
            if self.rest.len() < at_once {
                return;
            }
            let rest = std::mem::take(&mut self.rest);
            self.put(&rest);
            self.rest = rest;
            self.rest.clear();
        }
        let (now, later) = piece.split_at(piece.len() / at_once * at_once);
        if !now.is_empty() {
            self.put(now);
        }
        self.rest.extend_from_slice(later);
    }

    /// The signature of all pieces.
    ///
    /// # Errors
    /// [`SignatureError::Limits`] when there were too many blocks: see [`SignatureOptions::suits`].
    pub fn finish(mut self) -> Result<Signature, SignatureError> {
        let rest = std::mem::take(&mut self.rest);
        self.put(&rest);
        Signature::expected_len(self.signature.basis_len, self.signature.options)?;
        Ok(self.signature)
    }

    fn put(&mut self, blocks: &[u8]) {
        self.signature.basis_len += blocks.len() as u64;
        if !self.signature.options.suits(self.signature.basis_len) {
            return;
        }
        let sums = fast_rsync::Signature::calculate(blocks, self.signature.options.raw());
        self.signature.bytes.extend_from_slice(&sums.serialized()[HEADER_LEN..]);
    }
}

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// It is not one, or of another kind.
    #[error("not a signature of md4 and rolling sums")]
    Format,
    /// Its blocks or sums are too short, too long or too many.
    #[error("a signature outside the limits")]
    Limits,
    /// Its length is not that of a signature of this basis.
    #[error("a signature of another length than its basis asks for")]
    Length,
}
