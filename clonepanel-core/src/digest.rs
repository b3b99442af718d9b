//! [`ContentHash`] and [`FileDigest`]: what the content of a file is known by.

use std::fmt;

/// The BLAKE3 hash of a file's content (32 bytes). `Display` is lower-case hexadecimal, as `b3sum` prints it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Hashes a whole content at once.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(blake3::hash(content).into())
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|hash| Self(hash.into()))
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from(self.0).to_hex())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Length and hash of a file's content, as it was really written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileDigest {
    /// Length in bytes.
    pub len: u64,
    /// BLAKE3 of the content.
    pub hash: ContentHash,
}

impl FileDigest {
    /// Length and hash of a whole content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self { len: content.len() as u64, hash: ContentHash::of(content) }
    }
}

/// Hashes a content that comes in pieces.
#[derive(Debug, Clone, Default)]
pub struct DigestBuilder {
    hasher: blake3::Hasher,
    len: u64,
}

impl DigestBuilder {
    /// Nothing hashed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
        self.len += piece.len() as u64;
    }

    /// Length so far, in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was added.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The digest of all pieces.
    #[must_use]
    pub fn finish(&self) -> FileDigest {
        FileDigest { len: self.len, hash: ContentHash::new(self.hasher.finalize().into()) }
    }
}
