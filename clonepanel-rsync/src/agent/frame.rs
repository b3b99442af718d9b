//! [`Frame`]: the unit of the stream: a kind, a length, and so many bytes.

use crate::error::ProtocolError;
use bytes::{Buf, Bytes, BytesMut};

/// The longest frame, without its header, in bytes: a window that does not compress, and what stands before it.
pub(super) const MAX_FRAME: usize = (1 << 20) + (64 << 10);
/// A stream begins with this, from either end.
pub(super) const MAGIC: &[u8; 16] = b"\0ClonePanelAgent";
/// What a login may print before the stream begins, in bytes.
const MAX_NOISE: usize = 64 << 10;
const HEADER: usize = 5;

/// One frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) body: Bytes,
}

/// Appends a frame whose body `write` appends.
pub(super) fn put_frame(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(kind);
    out.extend_from_slice(&[0; 4]);
    write(out);
    let len = u32::try_from(out.len() - start - HEADER).unwrap_or(u32::MAX);
    debug_assert!(len as usize <= MAX_FRAME);
    if let Some(place) = out.get_mut(start + 1..start + HEADER) {
        place.copy_from_slice(&len.to_le_bytes());
    }
}

/// Cuts a stream, which may come in pieces of any size, into frames.
#[derive(Debug)]
pub(super) struct FrameDecoder {
    buffer: BytesMut,
    noise: Vec<u8>,
    has_begun: bool,
}

impl FrameDecoder {
    pub(super) fn new() -> Self {
        Self { buffer: BytesMut::new(), noise: Vec::new(), has_begun: false }
    }

    /// Where the next bytes go.
    pub(super) const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether the peer was heard.
    pub(super) const fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// What came before the stream began.
    pub(super) fn noise(&self) -> &[u8] {
        &self.noise
    }

    /// The next frame, if all of it is here.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, ProtocolError> {
        if !self.has_begun && !self.begin()? {
            return Ok(None);
        }
        let Some(&[kind, a, b, c, d]) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        if len > MAX_FRAME {
            return Err(ProtocolError::Violation("a frame that is too long"));
        }
        if self.buffer.len() < HEADER + len {
            self.buffer.reserve(HEADER + len - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        Ok(Some(Frame { kind, body: self.buffer.split_to(len).freeze() }))
    }

    /// Skips what a login prints by itself.
    fn begin(&mut self) -> Result<bool, ProtocolError> {
        let found = self.buffer.windows(MAGIC.len()).position(|window| window == MAGIC);
        // What may be the beginning of the magic stays.
        let skipped = found.unwrap_or_else(|| self.buffer.len().saturating_sub(MAGIC.len() - 1));
        self.noise.extend_from_slice(&self.buffer.split_to(skipped));
        if self.noise.len() > MAX_NOISE {
            return Err(ProtocolError::Malformed("beginning: this is no ClonePanel agent"));
        }
        self.has_begun = found.is_some();
        if self.has_begun {
            self.buffer.advance(MAGIC.len());
        }
        Ok(self.has_begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Vec<Frame>, ProtocolError> {
        let mut decoder = FrameDecoder::new();
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.buffer().extend_from_slice(piece.as_ref());
            while let Some(frame) = decoder.next()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    #[test]
    fn noise_before_the_magic_is_skipped() {
        let mut stream = b"Welcome to alpha\r\n\0Clone".to_vec();
        stream.extend_from_slice(MAGIC);
        put_frame(&mut stream, 7, |out| out.extend_from_slice(b"body"));
        let expected = vec![Frame { kind: 7, body: Bytes::from_static(b"body") }];
        assert_eq!(frames(stream.chunks(1)), Ok(expected.clone()));
        assert_eq!(frames([&stream]), Ok(expected));
        assert!(frames([vec![b'x'; MAX_NOISE + 100]]).is_err());
        assert_eq!(frames([b"short"]), Ok(vec![]));
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_is_here() {
        let header = [9].into_iter().chain((MAX_FRAME as u32 + 1).to_le_bytes()).collect::<Vec<_>>();
        assert!(frames([&MAGIC[..], &header]).is_err());
    }

    proptest! {
        #[test]
        fn cut_anywhere(bodies: Vec<(u8, Vec<u8>)>, step in 1_usize..40) {
            let mut stream = MAGIC.to_vec();
            for (kind, body) in &bodies {
                put_frame(&mut stream, *kind, |out| out.extend_from_slice(body));
            }
            let expected: Vec<_> = bodies.into_iter().map(|(kind, body)| Frame { kind, body: body.into() }).collect();
            prop_assert_eq!(frames(stream.chunks(step)).unwrap(), expected);
        }

        #[test]
        fn noise_never_panics(noise: Vec<u8>, step in 1_usize..40) {
            let mut stream = MAGIC.to_vec();
            stream.extend_from_slice(&noise);
            let _ = frames(stream.chunks(step));
        }
    }
}
