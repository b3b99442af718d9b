//! [`Unpacker`]: literal data of the token stream, decompressed with bounded buffers.

use crate::error::ProtocolError;
use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress};
use std::fmt;
use zstd::stream::raw::{DParameter, Decoder, Operation};

/// Decompressed data is handed on in pieces of at most this size.
const PIECE: usize = 128 * 1024;
/// The largest window that a zstd stream may ask for: 2^27 bytes.
const ZSTD_WINDOW_LOG: u32 = 27;
/// An lz4 block is made of at most 16,383 bytes that may have expanded to this.
const LZ4_BLOCK: usize = 33 * 1024;
/// What the sender strips from a sync flush and the receiver puts back.
const SYNC_MARK: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// The longest stored deflate block.
const STORED_BLOCK: usize = 0xffff;

/// How literal data is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compressor {
    Lz4,
    None,
    Zlib,
    Zlibx,
    Zstd,
}

impl Compressor {
    /// Whether the content of copied blocks goes into the history.
    pub(crate) const fn keeps_copies(self) -> bool {
        matches!(self, Self::Zlib)
    }
}

/// Decompresses what [`Unpacker::feed`] takes; [`Unpacker::next`] gives it piece by piece, however far it expands.
pub(crate) struct Unpacker {
    compressor: Compressor,
    codec: Codec,
    input: Bytes,
    output: Vec<u8>,
    /// The last piece filled the output, so there may be more without further input.
    has_more: bool,
}

enum Codec {
    Deflate(Decompress),
    Lz4,
    Zstd(Decoder<'static>),
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").field("compressor", &self.compressor).finish_non_exhaustive()
    }
}

const BAD: ProtocolError = ProtocolError::Malformed("compressed data");

impl Unpacker {
    /// `None` when there is nothing to decompress.
    pub(crate) fn new(compressor: Compressor) -> Result<Option<Self>, ProtocolError> {
        let codec = match compressor {
            Compressor::None => return Ok(None),
            Compressor::Lz4 => Codec::Lz4,
            Compressor::Zlib | Compressor::Zlibx => Codec::Deflate(Decompress::new(false)),
            Compressor::Zstd => {
                let mut decoder = Decoder::new().map_err(|_| BAD)?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).map_err(|_| BAD)?;
                Codec::Zstd(decoder)
            }
        };
        let output = vec![0; PIECE];
        Ok(Some(Self { compressor, codec, input: Bytes::new(), output, has_more: false }))
    }

    pub(crate) const fn keeps_copies(&self) -> bool {
        self.compressor.keeps_copies()
    }

    /// Prepares for the next file: deflate starts anew, zstd runs on for the whole session.
    pub(crate) fn begin(&mut self) {
        self.input.clear();
        self.has_more = false;
        if let Codec::Deflate(inflate) = &mut self.codec {
            inflate.reset(false);
        }
    }

    /// Takes one packed piece; the one before must have been given in full.
    pub(crate) fn feed(&mut self, input: Bytes) {
        self.input = input;
    }

    /// All data before a token is here: the sender flushed its compressor.
    pub(crate) fn flush(&mut self) {
        if matches!(self.codec, Codec::Deflate(_)) {
            self.input = Bytes::from_static(&SYNC_MARK);
        }
    }

    /// The next piece of output, never empty; `None` when the input is used up.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, ProtocolError> {
        while !self.input.is_empty() || self.has_more {
            let (consumed, written) = self.step()?;
            self.input.advance(consumed);
            self.has_more = written == self.output.len();
            if written > 0 {
                return Ok(Some(Bytes::copy_from_slice(&self.output[..written])));
            }
            if consumed == 0 {
                // Neither input was used nor output given: the rest of the input cannot be part of the stream.
                return if self.input.is_empty() { Ok(None) } else { Err(BAD) };
            }
        }
        Ok(None)
    }

    fn step(&mut self) -> Result<(usize, usize), ProtocolError> {
        match &mut self.codec {
            Codec::Deflate(inflate) => inflate_step(inflate, &self.input, &mut self.output),
            Codec::Lz4 => {
                let output = &mut self.output[..LZ4_BLOCK];
                let written = lz4_flex::block::decompress_into(&self.input, output).map_err(|_| BAD)?;
                // Stock rsync takes an empty piece for the end of the file.
                if written == 0 { Err(BAD) } else { Ok((self.input.len(), written)) }
            }
            Codec::Zstd(decoder) => {
                let status = decoder.run_on_buffers(&self.input, &mut self.output).map_err(|_| BAD)?;
                if status.remaining == 0 {
                    return Err(ProtocolError::Violation("the compressed stream ended"));
                }
                Ok((status.bytes_read, status.bytes_written))
            }
        }
    }

    /// Puts the content of copied blocks into the history, as stored blocks whose output is dropped.
    pub(crate) fn copied(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let Codec::Deflate(inflate) = &mut self.codec else { return Ok(()) };
        for part in bytes.chunks(STORED_BLOCK) {
            let len = part.len() as u16;
            let mut block = Vec::with_capacity(part.len() + 5);
            block.push(0);
            block.extend_from_slice(&len.to_le_bytes());
            block.extend_from_slice(&(!len).to_le_bytes());
            block.extend_from_slice(part);
            let mut rest = &block[..];
            let mut dropped = 0;
            while dropped < part.len() || !rest.is_empty() {
                let (consumed, written) = inflate_step(inflate, rest, &mut self.output)?;
                if consumed == 0 && written == 0 {
                    return Err(BAD);
                }
                rest.advance(consumed);
                dropped += written;
            }
        }
        Ok(())
    }
}

fn inflate_step(inflate: &mut Decompress, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), ProtocolError> {
    let (read, written) = (inflate.total_in(), inflate.total_out());
    match inflate.decompress(input, output, FlushDecompress::Sync) {
        Ok(flate2::Status::StreamEnd) => Err(ProtocolError::Violation("the compressed stream ended")),
        Ok(_) => Ok(((inflate.total_in() - read) as usize, (inflate.total_out() - written) as usize)),
        Err(_) => Err(BAD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    fn deflate(compress: &mut Compress, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() + 1024);
        compress.compress_vec(data, &mut out, FlushCompress::Sync).unwrap();
        assert_eq!(out[out.len() - 4..], SYNC_MARK);
        out.truncate(out.len() - 4);
        out
    }

    fn drain(unpacker: &mut Unpacker) -> Vec<u8> {
        std::iter::from_fn(|| unpacker.next().unwrap()).flatten().collect()
    }

    #[test]
    fn zlib_history_holds_the_copied_blocks() {
        let block: Vec<u8> = (0..20_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let mut compress = Compress::new(Compression::default(), false);
        let mut unpacker = Unpacker::new(Compressor::Zlib).unwrap().unwrap();
        unpacker.begin();
        deflate(&mut compress, &block);
        unpacker.copied(&block).unwrap();
        // The literal repeats the end of the block, which is in the 32 KiB window of both sides.
        let literal = &block[block.len() - 10_000..];
        let packed = deflate(&mut compress, literal);
        assert!(packed.len() < 200);
        unpacker.feed(packed.into());
        let mut got = drain(&mut unpacker);
        unpacker.flush();
        got.extend(drain(&mut unpacker));
        assert_eq!(got, literal);
    }

    #[test]
    fn a_bomb_comes_in_bounded_pieces() {
        let zeros = vec![0; 8 << 20];
        let mut compress = Compress::new(Compression::best(), false);
        let packed = deflate(&mut compress, &zeros);
        let mut unpacker = Unpacker::new(Compressor::Zlibx).unwrap().unwrap();
        unpacker.begin();
        unpacker.feed(packed.into());
        let mut total = 0;
        while let Some(piece) = unpacker.next().unwrap() {
            assert!(piece.len() <= PIECE);
            total += piece.len();
        }
        unpacker.flush();
        assert_eq!(total + drain(&mut unpacker).len(), zeros.len());
    }

    #[test]
    fn an_ended_stream_is_refused() {
        let packed = zstd::stream::encode_all(&b"hello"[..], 3).unwrap();
        let mut unpacker = Unpacker::new(Compressor::Zstd).unwrap().unwrap();
        unpacker.feed(packed.into());
        assert!(unpacker.next().is_err());
    }
}
