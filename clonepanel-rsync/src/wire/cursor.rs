//! [`Cursor`]: reads values from the front of a buffer that may still be incomplete.

use crate::error::ProtocolError;

/// Why no value could be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The bytes are no value.
    Bad(ProtocolError),
    /// The value is not here in full yet; nothing may be consumed.
    More,
}

impl From<ProtocolError> for Stop {
    fn from(error: ProtocolError) -> Self {
        Self::Bad(error)
    }
}

/// A reading position in a buffer. The caller consumes [`Self::position`] bytes once a whole value was read.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    buffer: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(buffer: &'a [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    /// How many bytes were read.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let end = self.at.checked_add(len).ok_or(Stop::More)?;
        let bytes = self.buffer.get(self.at..end).ok_or(Stop::More)?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        self.bytes(N)?.try_into().map_err(|_| Stop::More)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Stop> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Stop> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Stop> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_le_bytes)
    }
}
