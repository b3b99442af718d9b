//! [`TokenEncoder`]: the token stream of a file, plain or compressed; the counterpart of
//! [`TokenDecoder`](super::TokenDecoder).

use super::{pack::Packer, unpack::Compressor};
use crate::error::ProtocolError;

/// Some versions (3.4.3, 3.4.4, patched older ones) take no longer literal.
const MAX_LITERAL: usize = 32 * 1024;
/// The longest run of blocks in one token.
const MAX_RUN: u32 = 65_536;
/// Relative block numbers go up to this.
const MAX_RELATIVE: u32 = 63;

const END: u8 = 0x00;
const ABSOLUTE: u8 = 0x20;
const ABSOLUTE_RUN: u8 = 0x21;
const RELATIVE: u8 = 0x80;
const RELATIVE_RUN: u8 = 0xc0;

/// Encodes the tokens of one file after the other.
#[derive(Debug)]
pub(crate) struct TokenEncoder {
    /// `None` when nothing is compressed.
    packer: Option<Packer>,
    /// The block that relative numbers count from.
    previous: u32,
}

impl TokenEncoder {
    pub(crate) fn new(compressor: Compressor) -> Result<Self, ProtocolError> {
        Ok(Self { packer: Packer::new(compressor)?, previous: 0 })
    }

    /// Prepares for the next file.
    pub(crate) fn begin(&mut self) {
        self.previous = 0;
        if let Some(packer) = &mut self.packer {
            packer.begin();
        }
    }

    /// Whether the content of copied blocks must be told with [`Self::copied`].
    pub(crate) fn wants_copies(&self) -> bool {
        self.packer.as_ref().is_some_and(Packer::keeps_copies)
    }

    /// New bytes.
    pub(crate) fn literal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        match &mut self.packer {
            _ if data.is_empty() => Ok(()),
            Some(packer) => packer.literal(data, out),
            None => {
                for part in data.chunks(MAX_LITERAL) {
                    out.extend_from_slice(&(part.len() as i32).to_le_bytes());
                    out.extend_from_slice(part);
                }
                Ok(())
            }
        }
    }

    /// `count` blocks of the receiver's basis, from block `first` on.
    pub(crate) fn blocks(&mut self, first: u32, count: u32, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let Some(packer) = &mut self.packer else {
            for block in first..first + count {
                out.extend_from_slice(&(!block).to_le_bytes());
            }
            return Ok(());
        };
        packer.flush(out)?;
        let (mut first, end) = (first, first + count);
        while first < end {
            let run = (end - first).min(MAX_RUN);
            let relative = first.checked_sub(self.previous).filter(|relative| *relative <= MAX_RELATIVE);
            match (relative, run) {
                (Some(relative), 1) => out.push(RELATIVE | relative as u8),
                (Some(relative), _) => out.push(RELATIVE_RUN | relative as u8),
                (None, 1) => out.push(ABSOLUTE),
                (None, _) => out.push(ABSOLUTE_RUN),
            }
            if relative.is_none() {
                out.extend_from_slice(&first.to_le_bytes());
            }
            if run > 1 {
                out.extend_from_slice(&((run - 1) as u16).to_le_bytes());
            }
            first += run;
            self.previous = first - 1;
        }
        Ok(())
    }

    /// Tells what the blocks of the last [`Self::blocks`] hold.
    pub(crate) fn copied(&mut self, data: &[u8]) -> Result<(), ProtocolError> {
        self.packer.as_mut().map_or(Ok(()), |packer| packer.copied(data))
    }

    /// The end of the file.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        match &mut self.packer {
            Some(packer) => {
                packer.flush(out)?;
                out.push(END);
            }
            None => out.extend_from_slice(&[0; 4]),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Stop, Token, TokenDecoder};
    use bytes::BytesMut;
    use proptest::prelude::*;

    const BLOCK: usize = 700;

    #[derive(Debug, Clone)]
    enum Part {
        Literal(Vec<u8>),
        Blocks { first: u32, count: u32 },
    }

    fn noise(seed: u32, len: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn basis() -> Vec<u8> {
        noise(9, BLOCK * 200)
    }

    fn content(file: &[Part], basis: &[u8]) -> Vec<u8> {
        let part = |part: &Part| match part {
            Part::Literal(bytes) => bytes.clone(),
            Part::Blocks { first, count } => {
                basis[*first as usize * BLOCK..(*first + *count) as usize * BLOCK].to_vec()
            }
        };
        file.iter().flat_map(part).collect()
    }

    /// Several files, one after the other, through both codecs.
    fn round_trip(compressor: Compressor, files: &[Vec<Part>]) {
        let basis = basis();
        let (mut encoder, mut decoder) =
            (TokenEncoder::new(compressor).unwrap(), TokenDecoder::new(compressor).unwrap());
        for file in files {
            let (mut out, mut got) = (Vec::new(), Vec::new());
            encoder.begin();
            for part in file {
                match part {
                    Part::Literal(bytes) => encoder.literal(bytes, &mut out).unwrap(),
                    Part::Blocks { first, count } => {
                        encoder.blocks(*first, *count, &mut out).unwrap();
                        if encoder.wants_copies() {
                            encoder.copied(&content(std::slice::from_ref(part), &basis)).unwrap();
                        }
                    }
                }
            }
            encoder.end(&mut out).unwrap();
            decoder.begin();
            let mut data = BytesMut::from(&out[..]);
            loop {
                match decoder.next(&mut data) {
                    Ok(Token::Literal(bytes)) => got.extend_from_slice(&bytes),
                    Ok(Token::Blocks { first, count }) => {
                        let copied = content(&[Part::Blocks { first, count }], &basis);
                        if decoder.wants_copies() {
                            decoder.copied(&copied).unwrap();
                        }
                        got.extend_from_slice(&copied);
                    }
                    Ok(Token::End) => break,
                    Err(Stop::More) => panic!("{compressor:?}: the stream ends early"),
                    Err(Stop::Bad(error)) => panic!("{compressor:?}: {error}"),
                }
            }
            assert!(data.is_empty(), "{compressor:?}: bytes are left");
            assert!(got == content(file, &basis), "{compressor:?}: another content");
        }
    }

    const ALL: [Compressor; 5] =
        [Compressor::None, Compressor::Zstd, Compressor::Lz4, Compressor::Zlibx, Compressor::Zlib];

    #[test]
    fn chosen_files_round_trip() {
        let lines = b"a line that repeats itself, ".repeat(9000);
        let files = [
            vec![],
            vec![Part::Literal(vec![])],
            vec![Part::Literal(noise(1, 300_000))],
            vec![Part::Literal(lines.clone()), Part::Blocks { first: 0, count: 1 }, Part::Literal(lines)],
            vec![Part::Blocks { first: 150, count: 50 }, Part::Blocks { first: 0, count: 200 }],
            vec![
                Part::Blocks { first: 63, count: 1 },
                Part::Blocks { first: 64, count: 2 },
                Part::Blocks { first: 130, count: 1 },
            ],
            vec![Part::Literal(noise(2, 0x3fff)), Part::Literal(noise(3, 1))],
        ];
        for compressor in ALL {
            round_trip(compressor, &files);
        }
    }

    #[test]
    fn tokens_as_the_reference_has_them() {
        let mut encoder = TokenEncoder::new(Compressor::Lz4).unwrap();
        let mut out = Vec::new();
        encoder.begin();
        for (first, count) in [(3, 1), (4, 1), (5, 3), (71, 1), (0, 65_537)] {
            encoder.blocks(first, count, &mut out).unwrap();
        }
        encoder.end(&mut out).unwrap();
        let expected: [&[u8]; 7] =
            [&[0x83], &[0x81], &[0xc1, 2, 0], &[0x20, 71, 0, 0, 0], &[0x21, 0, 0, 0, 0, 0xff, 0xff], &[0x81], &[0x00]];
        assert_eq!(out, expected.concat());
    }

    fn part() -> impl Strategy<Value = Part> {
        let literal = (any::<u32>(), 0_usize..40_000, any::<bool>()).prop_map(|(seed, len, repeats)| {
            Part::Literal(if repeats { noise(seed, 50).repeat(len / 50 + 1) } else { noise(seed, len) })
        });
        let blocks = (0_u32..199).prop_flat_map(|first| (Just(first), 1..=200 - first));
        prop_oneof![literal, blocks.prop_map(|(first, count)| Part::Blocks { first, count })]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_files_round_trip(files in prop::collection::vec(prop::collection::vec(part(), 0..6), 1..4)) {
            for compressor in ALL {
                round_trip(compressor, &files);
            }
        }
    }
}
