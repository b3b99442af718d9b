//! [`Packer`]: literal data of the token stream, compressed into chunks; the counterpart of
//! [`Unpacker`](super::unpack::Unpacker).

use super::unpack::Compressor;
use crate::error::ProtocolError;
use flate2::{Compress, Compression, FlushCompress};
use std::fmt;
use zstd::stream::raw::{Encoder, InBuffer, Operation, OutBuffer};

/// The longest chunk, and the most that one lz4 block is made of.
const MAX_CHUNK: usize = 0x3fff;
const CHUNK: u8 = 0x40;
/// What a sync flush ends with, and the receiver puts back.
const SYNC_MARK: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// The compressors' own defaults: about as much as a hosting account's line bears.
const ZSTD_LEVEL: i32 = 3;
const DEFLATE_LEVEL: u32 = 6;
/// The compressor is given room for so much at a time.
const ROOM: usize = 64 * 1024;

/// Compresses literal data.
pub(crate) struct Packer {
    codec: Codec,
    /// Compressed (for lz4: not compressed yet) and not in a chunk yet.
    waiting: Vec<u8>,
    /// Whether there is literal data since the last flush.
    is_dirty: bool,
    room: Vec<u8>,
}

enum Codec {
    Deflate { compress: Box<Compress>, keeps_copies: bool },
    Lz4,
    Zstd(Encoder<'static>),
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packer")
    }
}

const BROKEN: ProtocolError = ProtocolError::Violation("the compressor failed");

impl Packer {
    /// `None` when nothing is compressed.
    pub(crate) fn new(compressor: Compressor) -> Result<Option<Self>, ProtocolError> {
        let codec = match compressor {
            Compressor::None => return Ok(None),
            Compressor::Lz4 => Codec::Lz4,
            Compressor::Zlib | Compressor::Zlibx => Codec::Deflate {
                compress: Box::new(Compress::new(Compression::new(DEFLATE_LEVEL), false)),
                keeps_copies: compressor.keeps_copies(),
            },
            Compressor::Zstd => Codec::Zstd(Encoder::new(ZSTD_LEVEL).map_err(|_| BROKEN)?),
        };
        Ok(Some(Self { codec, waiting: Vec::new(), is_dirty: false, room: vec![0; ROOM] }))
    }

    pub(crate) const fn keeps_copies(&self) -> bool {
        matches!(self.codec, Codec::Deflate { keeps_copies: true, .. })
    }

    /// Prepares for the next file: deflate starts anew, zstd runs on for the whole session.
    pub(crate) fn begin(&mut self) {
        if let Codec::Deflate { compress, .. } = &mut self.codec {
            compress.reset();
        }
    }

    /// Takes literal data, not empty, and appends the chunks that are full.
    pub(crate) fn literal(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        self.is_dirty = true;
        match &mut self.codec {
            Codec::Deflate { compress, .. } => {
                deflate(compress, data, FlushCompress::None, &mut self.room, &mut self.waiting)?;
            }
            Codec::Lz4 => {
                while self.waiting.len() + data.len() >= MAX_CHUNK {
                    let (part, rest) = data.split_at(MAX_CHUNK - self.waiting.len());
                    self.waiting.extend_from_slice(part);
                    put_lz4(&self.waiting, out);
                    self.waiting.clear();
                    data = rest;
                }
                self.waiting.extend_from_slice(data);
                return Ok(());
            }
            Codec::Zstd(encoder) => {
                let mut input = InBuffer::around(data);
                while input.pos() < data.len() {
                    let mut output = OutBuffer::around(&mut self.room[..]);
                    encoder.run(&mut input, &mut output).map_err(|_| BROKEN)?;
                    self.waiting.extend_from_slice(output.as_slice());
                }
            }
        }
        let full = self.waiting.len() / MAX_CHUNK * MAX_CHUNK;
        put_chunks(&self.waiting[..full], out);
        self.waiting.drain(..full);
        Ok(())
    }

    /// Appends all that is left: what follows is a token or the end of the file.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        if !std::mem::take(&mut self.is_dirty) {
            return Ok(());
        }
        match &mut self.codec {
            Codec::Deflate { compress, .. } => {
                deflate(compress, &[], FlushCompress::Sync, &mut self.room, &mut self.waiting)?;
                if !self.waiting.ends_with(&SYNC_MARK) {
                    return Err(BROKEN);
                }
                self.waiting.truncate(self.waiting.len() - SYNC_MARK.len());
            }
            Codec::Lz4 => {
                if !self.waiting.is_empty() {
                    put_lz4(&self.waiting, out);
                    self.waiting.clear();
                }
            }
            Codec::Zstd(encoder) => loop {
                let mut output = OutBuffer::around(&mut self.room[..]);
                let left = encoder.flush(&mut output).map_err(|_| BROKEN)?;
                self.waiting.extend_from_slice(output.as_slice());
                if left == 0 {
                    break;
                }
            },
        }
        put_chunks(&self.waiting, out);
        self.waiting.clear();
        Ok(())
    }

    /// Tells what copied blocks hold, which plain zlib keeps in its history; what comes out is dropped.
    pub(crate) fn copied(&mut self, data: &[u8]) -> Result<(), ProtocolError> {
        let Codec::Deflate { compress, keeps_copies: true } = &mut self.codec else { return Ok(()) };
        let mut dropped = Vec::new();
        for part in data.chunks(ROOM) {
            dropped.clear();
            deflate(compress, part, FlushCompress::Sync, &mut self.room, &mut dropped)?;
        }
        Ok(())
    }
}

fn deflate(
    compress: &mut Compress,
    mut data: &[u8],
    flush: FlushCompress,
    room: &mut [u8],
    into: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    loop {
        let (read, written) = (compress.total_in(), compress.total_out());
        compress.compress(data, room, flush).map_err(|_| BROKEN)?;
        let (read, written) = ((compress.total_in() - read) as usize, (compress.total_out() - written) as usize);
        into.extend_from_slice(&room[..written]);
        data = &data[read..];
        // With room to spare, everything that could come out has.
        if data.is_empty() && written < room.len() {
            return Ok(());
        }
    }
}

/// Blocks that grow too long are made of halves.
fn put_lz4(data: &[u8], out: &mut Vec<u8>) {
    let packed = lz4_flex::block::compress(data);
    if packed.len() > MAX_CHUNK {
        let (left, right) = data.split_at(data.len() / 2);
        put_lz4(left, out);
        put_lz4(right, out);
    } else {
        put_chunks(&packed, out);
    }
}

fn put_chunks(packed: &[u8], out: &mut Vec<u8>) {
    for chunk in packed.chunks(MAX_CHUNK) {
        out.extend_from_slice(&[CHUNK | (chunk.len() >> 8) as u8, chunk.len() as u8]);
        out.extend_from_slice(chunk);
    }
}
