//! The fields of a message: numbers in seven bits a byte, byte strings with their length before them, paths, hashes, moments.

use crate::error::ProtocolError;
use bytes::Bytes;
use clonepanel_core::{
    digest::ContentHash,
    path::{MAX_PATH_LEN, RelPath},
    time::Timestamp,
};

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn put_hash(out: &mut Vec<u8>, hash: &ContentHash) {
    out.extend_from_slice(hash.as_bytes());
}

/// Seconds with their sign in the lowest bit, then nanoseconds.
pub(super) fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    let secs = time.secs();
    put_number(out, (secs << 1 ^ secs >> 63) as u64);
    put_number(out, time.nanos().into());
}

/// What is still to be read of a message.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    rest: Bytes,
}

impl Fields {
    pub(super) const fn new(message: Bytes) -> Self {
        Self { rest: message }
    }

    pub(super) fn byte(&mut self) -> Result<u8, ProtocolError> {
        let (&byte, _) = self.rest.split_first().ok_or(ProtocolError::Malformed("message: it is too short"))?;
        let _ = self.rest.split_to(1);
        Ok(byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, ProtocolError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part || (byte == 0 && shift > 0) {
                return Err(ProtocolError::Malformed("number"));
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(ProtocolError::Malformed("number"))
    }

    /// A number of at most `limit`.
    pub(super) fn number_to(&mut self, limit: u64, what: &'static str) -> Result<u64, ProtocolError> {
        Some(self.number()?).filter(|&number| number <= limit).ok_or(ProtocolError::Malformed(what))
    }

    pub(super) fn number_u32(&mut self) -> Result<u32, ProtocolError> {
        u32::try_from(self.number()?).map_err(|_| ProtocolError::Malformed("number"))
    }

    /// A byte string of at most `limit` bytes.
    pub(super) fn bytes(&mut self, limit: usize, what: &'static str) -> Result<Bytes, ProtocolError> {
        let len = usize::try_from(self.number()?).map_err(|_| ProtocolError::Malformed(what))?;
        if len > limit || len > self.rest.len() {
            return Err(ProtocolError::Malformed(what));
        }
        Ok(self.rest.split_to(len))
    }

    pub(super) fn path(&mut self) -> Result<RelPath, ProtocolError> {
        RelPath::new(self.bytes(MAX_PATH_LEN, "path")?).map_err(|_| ProtocolError::Malformed("path"))
    }

    pub(super) fn hash(&mut self) -> Result<ContentHash, ProtocolError> {
        let bytes = self.rest.get(..32).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let bytes = bytes.ok_or(ProtocolError::Malformed("hash"))?;
        let _ = self.rest.split_to(32);
        Ok(ContentHash::new(bytes))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, ProtocolError> {
        let secs = self.number()?;
        let secs = (secs >> 1) as i64 ^ -((secs & 1) as i64);
        let nanos = self.number_to(999_999_999, "time")?;
        Ok(Timestamp::new(secs, nanos as u32))
    }

    /// Everything that is left.
    pub(super) fn rest(self) -> Bytes {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), ProtocolError> {
        if self.rest.is_empty() { Ok(()) } else { Err(ProtocolError::Malformed("message: it is too long")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(bytes: &[u8], read: impl Fn(&mut Fields) -> Result<T, ProtocolError>) -> Result<T, ProtocolError> {
        let mut fields = Fields::new(Bytes::copy_from_slice(bytes));
        let value = read(&mut fields)?;
        fields.end().map(|()| value)
    }

    #[test]
    fn numbers_have_one_form() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_number(&mut out, number);
            assert_eq!(read(&out, Fields::number), Ok(number));
        }
        for bad in [&[0x80][..], &[0x80, 0], &[0xff; 10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]] {
            assert!(read(bad, Fields::number).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn moments_before_1970() {
        for (secs, nanos) in [(0, 0), (-1, 999_999_999), (1_700_000_000, 5), (i64::MIN, 0), (i64::MAX, 1)] {
            let mut out = Vec::new();
            put_time(&mut out, Timestamp::new(secs, nanos));
            assert_eq!(read(&out, Fields::time), Ok(Timestamp::new(secs, nanos)));
        }
    }

    #[test]
    fn lengths_have_limits() {
        assert!(read(b"\x05abcd", |fields| fields.bytes(9, "text")).is_err());
        assert!(read(b"\x04abcd", |fields| fields.bytes(3, "text")).is_err());
        assert!(read(b"\x04../a", Fields::path).is_err());
    }
}
