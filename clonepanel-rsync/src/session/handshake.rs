//! [`Handshake`]: versions, compatibility flags, algorithms and the seed.

use crate::{
    delta::StrongSum,
    error::ProtocolError,
    wire::{Compressor, Cursor, Listing, Stop, put_vstring},
};
use bytes::{Buf, BytesMut};

/// What we announce; 32 and 31 do not differ on the wire.
const OUR_VERSION: i32 = 32;
const OLDEST_VERSION: i32 = 30;
/// Versions outside of this range are no versions: the remote shell printed something.
const PLAUSIBLE_VERSIONS: std::ops::RangeInclusive<i32> = 20..=40;

const INC_RECURSE: u32 = 1 << 0;
const SAFE_FLIST: u32 = 1 << 3;
const CHECKSUM_SEED_FIX: u32 = 1 << 5;
const VARINT_FLAGS: u32 = 1 << 7;
const ID0_NAMES: u32 = 1 << 8;
const KNOWN_COMPAT: u32 = 0x1ff;

/// The longest list of names.
const MAX_NAMES: usize = 255;

/// The algorithms that we would take, best first.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Names of checksums.
    pub(crate) checksums: Vec<&'static str>,
    /// Names of compressors; empty when the server was not asked to compress.
    pub(crate) compressors: Vec<&'static str>,
}

/// What both ends agreed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreed {
    pub(crate) protocol: u32,
    pub(crate) checksum: StrongSum,
    pub(crate) compressor: Compressor,
    pub(crate) inc_recurse: bool,
    pub(crate) id0_names: bool,
    pub(crate) seed: i32,
    pub(crate) listing: Listing,
}

#[derive(Debug)]
pub(crate) struct Handshake {
    wanted: Wanted,
    protocol: Option<u32>,
    compat: Option<u32>,
    algorithms: Option<(StrongSum, Compressor)>,
}

impl Handshake {
    pub(crate) fn new(wanted: Wanted, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&OUR_VERSION.to_le_bytes());
        Self { wanted, protocol: None, compat: None, algorithms: None }
    }

    /// Goes on with what came; `None` when more bytes are needed.
    pub(crate) fn poll(&mut self, raw: &mut BytesMut, out: &mut Vec<u8>) -> Result<Option<Agreed>, ProtocolError> {
        loop {
            let mut cursor = Cursor::new(raw);
            match self.step(&mut cursor, out) {
                Err(Stop::More) => return Ok(None),
                Err(Stop::Bad(error)) => return Err(error),
                Ok(agreed) => {
                    let len = cursor.position();
                    raw.advance(len);
                    if agreed.is_some() {
                        return Ok(agreed);
                    }
                }
            }
        }
    }

    fn step(&mut self, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<Option<Agreed>, Stop> {
        let Some(protocol) = self.protocol else {
            self.protocol = Some(version(cursor.i32()?)?);
            return Ok(None);
        };
        let Some(compat) = self.compat else {
            let compat = cursor.count("compatibility flags")?;
            if compat & !KNOWN_COMPAT != 0 {
                return Err(ProtocolError::Unsupported(format!("compatibility flags {compat:#x}")).into());
            }
            self.compat = Some(compat);
            return Ok(None);
        };
        let Some((checksum, compressor)) = self.algorithms else {
            self.algorithms = Some(self.negotiate(cursor, compat, out)?);
            return Ok(None);
        };
        let seed = cursor.i32()?;
        let inc_recurse = compat & INC_RECURSE != 0;
        let listing = Listing {
            protocol,
            varint_flags: compat & VARINT_FLAGS != 0,
            safe_end: protocol >= 31 || compat & SAFE_FLIST != 0,
            inline_names: inc_recurse,
        };
        let id0_names = compat & ID0_NAMES != 0;
        Ok(Some(Agreed { protocol, checksum, compressor, inc_recurse, id0_names, seed, listing }))
    }

    /// Reads the server's lists and answers each with exactly one name: which end's order decides differs between versions
    /// (up to 3.4 the client's, from 3.5 on the server's), but with one name there is nothing to decide.
    fn negotiate(
        &self,
        cursor: &mut Cursor<'_>,
        compat: u32,
        out: &mut Vec<u8>,
    ) -> Result<(StrongSum, Compressor), Stop> {
        let seed_first = compat & CHECKSUM_SEED_FIX != 0;
        let compresses = !self.wanted.compressors.is_empty();
        if compat & VARINT_FLAGS == 0 {
            let checksum = choose(&self.wanted.checksums, b"md5", "checksum")?;
            let compressor =
                if compresses { choose(&self.wanted.compressors, b"zlib", "compression")? } else { "none" };
            return Ok((checksum_named(checksum, seed_first)?, compressor_named(compressor)?));
        }
        let checksum = choose(&self.wanted.checksums, names(cursor)?, "checksum")?;
        let compressor =
            if compresses { choose(&self.wanted.compressors, names(cursor)?, "compression")? } else { "none" };
        put_vstring(out, checksum.as_bytes());
        if compresses {
            put_vstring(out, compressor.as_bytes());
        }
        Ok((checksum_named(checksum, seed_first)?, compressor_named(compressor)?))
    }
}

fn version(theirs: i32) -> Result<u32, ProtocolError> {
    if !PLAUSIBLE_VERSIONS.contains(&theirs) {
        return Err(ProtocolError::Malformed("greeting: this is not rsync"));
    }
    if theirs < OLDEST_VERSION {
        return Err(ProtocolError::Unsupported(format!("protocol {theirs}; rsync 3.0 or later is needed there")));
    }
    Ok(theirs.min(OUR_VERSION).cast_unsigned())
}

fn names<'a>(cursor: &'a mut Cursor<'_>) -> Result<&'a [u8], Stop> {
    let names = cursor.vstring()?;
    if names.len() > MAX_NAMES { Err(ProtocolError::Malformed("list of names").into()) } else { Ok(names) }
}

/// The first of ours that is among theirs.
fn choose(ours: &[&'static str], theirs: &[u8], what: &str) -> Result<&'static str, ProtocolError> {
    let has = |name: &str| theirs.split(|&b| b == b' ').any(|theirs| theirs.eq_ignore_ascii_case(name.as_bytes()));
    ours.iter().copied().find(|name| has(name)).ok_or_else(|| {
        let theirs = clonepanel_core::escape::Escaped(theirs);
        ProtocolError::Unsupported(format!("no common {what}: the far end has {theirs}"))
    })
}

fn checksum_named(name: &str, seed_first: bool) -> Result<StrongSum, ProtocolError> {
    Ok(match name {
        "xxh128" => StrongSum::Xxh128,
        "xxh3" => StrongSum::Xxh3,
        "xxh64" => StrongSum::Xxh64,
        "md5" => StrongSum::Md5 { seed_first },
        "sha1" => StrongSum::Sha1,
        _ => return Err(ProtocolError::Unsupported(format!("checksum {name}"))),
    })
}

fn compressor_named(name: &str) -> Result<Compressor, ProtocolError> {
    Ok(match name {
        "none" => Compressor::None,
        "zstd" => Compressor::Zstd,
        "lz4" => Compressor::Lz4,
        "zlibx" => Compressor::Zlibx,
        "zlib" => Compressor::Zlib,
        _ => return Err(ProtocolError::Unsupported(format!("compression {name}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted { checksums: vec!["xxh128", "md5"], compressors: vec!["zstd", "zlibx", "zlib"] }
    }

    fn shake(bytes: &[u8], step: usize) -> (Result<Option<Agreed>, ProtocolError>, Vec<u8>) {
        let (mut out, mut raw) = (Vec::new(), BytesMut::new());
        let mut handshake = Handshake::new(wanted(), &mut out);
        for part in bytes.chunks(step) {
            raw.extend_from_slice(part);
            match handshake.poll(&mut raw, &mut out) {
                Ok(None) => {}
                end => return (end, out),
            }
        }
        (Ok(None), out)
    }

    fn modern() -> Vec<u8> {
        let mut bytes = vec![32, 0, 0, 0, 0x81, 0xff];
        put_vstring(&mut bytes, b"xxh128 xxh3 xxh64 md5 md4 sha1 none");
        put_vstring(&mut bytes, b"zstd lz4 zlibx zlib none");
        bytes.extend_from_slice(&[1, 0, 0, 0]);
        bytes
    }

    #[test]
    fn one_name_is_answered_wherever_it_is_cut() {
        let bytes = modern();
        for step in 1..=bytes.len() {
            let (agreed, out) = shake(&bytes, step);
            let agreed = agreed.unwrap().unwrap();
            assert_eq!((agreed.protocol, agreed.seed, agreed.inc_recurse), (32, 1, true));
            assert_eq!((agreed.checksum, agreed.compressor), (StrongSum::Xxh128, Compressor::Zstd));
            assert_eq!(out, b"\x20\0\0\0\x06xxh128\x04zstd");
        }
    }

    #[test]
    fn old_servers_have_md5_and_zlib() {
        let (agreed, out) = shake(&[30, 0, 0, 0, 0x0f, 9, 0, 0, 0], 1);
        let agreed = agreed.unwrap().unwrap();
        assert_eq!(agreed.protocol, 30);
        assert_eq!((agreed.checksum, agreed.compressor), (StrongSum::Md5 { seed_first: false }, Compressor::Zlib));
        assert_eq!(out, 32_i32.to_le_bytes());
    }

    #[test]
    fn junk_is_named() {
        assert!(matches!(shake(b"Welcome to", 1).0, Err(ProtocolError::Malformed(_))));
        assert!(matches!(shake(&[29, 0, 0, 0], 4).0, Err(ProtocolError::Unsupported(_))));
        assert!(matches!(shake(&[32, 0, 0, 0, 0x86, 0x00], 6).0, Err(ProtocolError::Unsupported(_))));
        let mut none = vec![32, 0, 0, 0, 0x81, 0xff];
        put_vstring(&mut none, b"md4 \x1b[2J");
        let error = shake(&none, 3).0.unwrap_err().to_string();
        assert!(error.contains("md4 \\x1b[2J"), "{error}");
    }
}
