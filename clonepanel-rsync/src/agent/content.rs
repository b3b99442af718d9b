//! [`Packer`]: bytes with zstd around them where that makes them shorter.

use super::field::{Fields, put_number};
use crate::error::ProtocolError;
use bytes::Bytes;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// rsync's own level, too.
const LEVEL: i32 = 3;
/// Less than this is not worth a try, in bytes.
const WORTH_IT: usize = 64;

/// Compresses one piece after the other.
pub(super) struct Packer {
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    pub(super) fn new() -> Self {
        // Without memory for it things travel as they are.
        Self { compressor: zstd::bulk::Compressor::new(LEVEL).ok() }
    }

    /// Hands it out, to come back soon: until then things are packed plainly.
    pub(super) fn lend(&mut self) -> Self {
        Self { compressor: self.compressor.take() }
    }

    /// Appends the form, the length if it is not plain, and the bytes. Tells whether they became shorter.
    pub(super) fn pack_into(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let packed = match &mut self.compressor {
            Some(compressor) if bytes.len() >= WORTH_IT => compressor.compress(bytes).ok(),
            _ => None,
        };
        match packed.filter(|packed| packed.len() + 8 < bytes.len()) {
            Some(packed) => {
                out.push(ZSTD);
                put_number(out, bytes.len() as u64);
                out.extend_from_slice(&packed);
                true
            }
            None => {
                Self::plain_into(bytes, out);
                false
            }
        }
    }

    /// Appends the bytes as they are.
    pub(super) fn plain_into(bytes: &[u8], out: &mut Vec<u8>) {
        out.push(PLAIN);
        out.extend_from_slice(bytes);
    }
}

/// Gives back what was packed, if it is not longer than `limit`.
pub(super) fn unpack(body: Bytes, limit: usize) -> Result<Bytes, ProtocolError> {
    let bad = ProtocolError::Malformed("compressed data");
    let mut fields = Fields::new(body);
    let bytes = match fields.byte()? {
        PLAIN => fields.rest(),
        ZSTD => {
            let len = fields.number_to(limit as u64, "compressed data: it is too long")? as usize;
            let bytes = zstd::bulk::decompress(&fields.rest(), len).map_err(|_| bad.clone())?;
            if bytes.len() != len {
                return Err(bad);
            }
            bytes.into()
        }
        _ => return Err(bad),
    };
    if bytes.len() > limit { Err(bad) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_does_not_go_off() {
        let mut out = Vec::new();
        assert!(Packer::new().pack_into(&vec![0; 1 << 20], &mut out));
        let body = Bytes::from(out);
        assert!(body.len() < 200);
        assert_eq!(unpack(body.clone(), 1 << 20).unwrap(), vec![0; 1 << 20]);
        assert!(unpack(body.clone(), (1 << 20) - 1).is_err());
        // One that lies about its length.
        let mut lie = vec![ZSTD, 5];
        lie.extend_from_slice(body.get(4..).unwrap());
        assert!(unpack(lie.into(), 1 << 20).is_err());
    }

    #[test]
    fn noise_stays_as_it_is() {
        let noise: Vec<u8> =
            (0..1000_u32).flat_map(|n| n.wrapping_mul(0x9e37_79b9).rotate_left(7).to_le_bytes()).collect();
        let mut out = Vec::new();
        let shorter = Packer::new().pack_into(&noise, &mut out);
        assert!(!shorter && out.len() <= noise.len() + 1);
        assert_eq!(unpack(out.into(), 4000).unwrap(), noise);
    }
}
