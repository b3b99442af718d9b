//! [`TokenDecoder`]: the token stream of a file, plain or compressed: literal bytes and references to blocks of the basis.

use super::{
    Cursor, Stop,
    unpack::{Compressor, Unpacker},
};
use crate::error::ProtocolError;
use bytes::{Buf, Bytes, BytesMut};

/// Literal bytes are handed on in pieces of at most this size.
const MAX_PIECE: usize = 256 * 1024;
/// Pieces shorter than this are copied out of the receive buffer.
const SHORT_PIECE: usize = 16 * 1024;

/// One step of rebuilding a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// `count` blocks of the basis, beginning with block `first`.
    Blocks { first: u32, count: u32 },
    /// The end of the file.
    End,
    /// New bytes, never empty.
    Literal(Bytes),
}

/// Decodes the tokens of one file after the other.
#[derive(Debug)]
pub(crate) enum TokenDecoder {
    /// With compression.
    Packed(Packed),
    /// Without; the number of literal bytes that are still to come.
    Plain(u32),
}

impl TokenDecoder {
    pub(crate) fn new(compressor: Compressor) -> Result<Self, ProtocolError> {
        Ok(match Unpacker::new(compressor)? {
            None => Self::Plain(0),
            Some(unpacker) => Self::Packed(Packed { unpacker, previous: 0, run: None, in_data: false }),
        })
    }

    /// Prepares for the next file.
    pub(crate) fn begin(&mut self) {
        match self {
            Self::Plain(missing) => *missing = 0,
            Self::Packed(packed) => packed.begin(),
        }
    }

    /// Takes the next token off `data`; [`Stop::More`] when more bytes are needed.
    pub(crate) fn next(&mut self, data: &mut BytesMut) -> Result<Token, Stop> {
        match self {
            Self::Packed(packed) => packed.next(data),
            Self::Plain(missing) => plain(missing, data),
        }
    }

    /// Whether the content of copied blocks must be told with [`Self::copied`].
    pub(crate) const fn wants_copies(&self) -> bool {
        matches!(self, Self::Packed(Packed { unpacker, .. }) if unpacker.keeps_copies())
    }

    /// Tells what the blocks of the last [`Token::Blocks`] hold: plain zlib keeps them in its history.
    pub(crate) fn copied(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        match self {
            Self::Packed(packed) => packed.unpacker.copied(bytes),
            Self::Plain(_) => Ok(()),
        }
    }
}

fn plain(missing: &mut u32, data: &mut BytesMut) -> Result<Token, Stop> {
    if *missing == 0 {
        let token = Cursor::new(data).i32()?;
        data.advance(4);
        match token {
            0 => return Ok(Token::End),
            1.. => *missing = token.cast_unsigned(),
            _ => return Ok(Token::Blocks { first: !token.cast_unsigned(), count: 1 }),
        }
    }
    if data.is_empty() {
        return Err(Stop::More);
    }
    let len = data.len().min(*missing as usize).min(MAX_PIECE);
    *missing -= len as u32;
    let piece = data.split_to(len);
    // A short piece must not keep the whole buffer alive while it waits to be written.
    Ok(Token::Literal(if len < SHORT_PIECE { Bytes::copy_from_slice(&piece) } else { piece.freeze() }))
}

/// The compressed form: control bytes, packed literal data, and block numbers relative to the ones before.
#[derive(Debug)]
pub(crate) struct Packed {
    unpacker: Unpacker,
    /// The block that relative numbers count from.
    previous: u32,
    /// A block token that waits until the literals before it are out.
    run: Option<Token>,
    /// Whether packed data came since the last token, so that its flush is still to be completed.
    in_data: bool,
}

impl Packed {
    fn begin(&mut self) {
        self.previous = 0;
        self.run = None;
        self.in_data = false;
        self.unpacker.begin();
    }

    fn next(&mut self, data: &mut BytesMut) -> Result<Token, Stop> {
        loop {
            if let Some(piece) = self.unpacker.next()? {
                return Ok(Token::Literal(piece));
            }
            if let Some(token) = self.run.take() {
                return Ok(token);
            }
            let mut cursor = Cursor::new(data);
            let control = cursor.byte()?;
            let token = match control {
                0x40..=0x7f => {
                    let len = usize::from(control & 0x3f) << 8 | usize::from(cursor.byte()?);
                    cursor.bytes(len)?;
                    let head = cursor.position() - len;
                    data.advance(head);
                    self.unpacker.feed(data.split_to(len).freeze());
                    self.in_data = true;
                    continue;
                }
                0x00 => Token::End,
                0x80..=0xbf => self.relative(control, 1)?,
                0xc0..=0xff => {
                    let more = cursor.u16()?;
                    self.relative(control, u32::from(more) + 1)?
                }
                0x20 => absolute(cursor.i32()?, 1)?,
                0x21 => absolute(cursor.i32()?, u32::from(cursor.u16()?) + 1)?,
                _ => return Err(ProtocolError::Malformed("token").into()),
            };
            let len = cursor.position();
            data.advance(len);
            if let Token::Blocks { first, count } = token {
                self.previous = first + (count - 1);
            }
            if std::mem::take(&mut self.in_data) {
                self.unpacker.flush();
            }
            self.run = Some(token);
        }
    }

    fn relative(&self, control: u8, count: u32) -> Result<Token, ProtocolError> {
        blocks(self.previous.checked_add(u32::from(control & 0x3f)), count)
    }
}

fn absolute(first: i32, count: u32) -> Result<Token, ProtocolError> {
    blocks(u32::try_from(first).ok(), count)
}

/// Block numbers stay below 2^31 - 1 (CVE-2026-43618); whether there are such blocks is checked against the sum head.
fn blocks(first: Option<u32>, count: u32) -> Result<Token, ProtocolError> {
    first
        .filter(|first| first.checked_add(count).is_some_and(|end| end < i32::MAX as u32))
        .map(|first| Token::Blocks { first, count })
        .ok_or(ProtocolError::Violation("a block number is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(decoder: &mut TokenDecoder, bytes: &[u8], step: usize) -> Result<Vec<Token>, Stop> {
        let (mut data, mut tokens) = (BytesMut::new(), Vec::<Token>::new());
        decoder.begin();
        for part in bytes.chunks(step) {
            data.extend_from_slice(part);
            loop {
                match decoder.next(&mut data) {
                    Err(Stop::More) => break,
                    Err(bad) => return Err(bad),
                    Ok(Token::Literal(piece)) => match tokens.last_mut() {
                        Some(Token::Literal(before)) => *before = [&before[..], &piece].concat().into(),
                        _ => tokens.push(Token::Literal(piece)),
                    },
                    Ok(token) => tokens.push(token),
                }
            }
        }
        Ok(tokens)
    }

    #[test]
    fn plain_tokens_split_anywhere() {
        let bytes =
            [&6_i32.to_le_bytes()[..], b"hello\n", &(-1_i32).to_le_bytes(), &(-43_i32).to_le_bytes(), &[0; 4]].concat();
        let expected = vec![
            Token::Literal(Bytes::from_static(b"hello\n")),
            Token::Blocks { first: 0, count: 1 },
            Token::Blocks { first: 42, count: 1 },
            Token::End,
        ];
        for step in 1..=bytes.len() {
            let mut decoder = TokenDecoder::new(Compressor::None).unwrap();
            assert_eq!(all(&mut decoder, &bytes, step), Ok(expected.clone()), "{step}");
        }
    }

    #[test]
    fn block_numbers_are_relative() {
        let bytes = [0x83, 0x81, 0xc1, 2, 0, 0x80, 0x20, 7, 0, 0, 0, 0x21, 1, 0, 0, 0, 0xff, 0xff, 0x00];
        let expected = vec![
            Token::Blocks { first: 3, count: 1 },
            Token::Blocks { first: 4, count: 1 },
            Token::Blocks { first: 5, count: 3 },
            Token::Blocks { first: 7, count: 1 },
            Token::Blocks { first: 7, count: 1 },
            Token::Blocks { first: 1, count: 65536 },
            Token::End,
        ];
        for step in 1..=bytes.len() {
            let mut decoder = TokenDecoder::new(Compressor::Zstd).unwrap();
            assert_eq!(all(&mut decoder, &bytes, step), Ok(expected.clone()), "{step}");
        }
    }

    #[test]
    fn hostile_tokens_are_refused() {
        for bytes in [
            &[0x20, 0xff, 0xff, 0xff, 0xff][..],
            &[0x20, 0xff, 0xff, 0xff, 0x7f],
            &[0x21, 0xf0, 0xff, 0xff, 0x7f, 0xff, 0xff],
            &[0x01],
            &[0x3f],
            &[0x40, 4, 1, 2, 3, 4],
        ] {
            for compressor in [Compressor::Zstd, Compressor::Zlibx, Compressor::Zlib, Compressor::Lz4] {
                let mut decoder = TokenDecoder::new(compressor).unwrap();
                let with_end = [bytes, &[0]].concat();
                let outcome = all(&mut decoder, &with_end, 1);
                if bytes[0] != 0x40 {
                    assert!(matches!(outcome, Err(Stop::Bad(_))), "{compressor:?} {bytes:x?}");
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn noise_never_panics(bytes: Vec<u8>) {
            for compressor in
                [Compressor::None, Compressor::Zstd, Compressor::Zlibx, Compressor::Zlib, Compressor::Lz4]
            {
                let _ = all(&mut TokenDecoder::new(compressor).unwrap(), &bytes, 7);
            }
        }
    }
}
