//! Multiplexing: frames of data and of messages that share one direction of the pipe.

use crate::{error::ProtocolError, messages::Severity};
use bytes::{Buf, Bytes, BytesMut};

/// Longest payload of a frame that is not data; stock rsync accepts no longer one.
const MAX_MESSAGE: usize = 5120;
/// How many bytes of messages a peer may send in one session.
const MAX_MESSAGES_TOTAL: u64 = 64 << 20;
/// What a message counts for at the least: each takes room of its own, however short it is.
const MIN_MESSAGE: usize = 64;
const HEADER: usize = 4;
const TAG_BASE: u8 = 7;

const TAG_DATA: u8 = 0;
const TAG_ERROR_XFER: u8 = 1;
const TAG_IO_ERROR: u8 = 22;
const TAG_IO_TIMEOUT: u8 = 33;
const TAG_NOOP: u8 = 42;
const TAG_ERROR_EXIT: u8 = 86;
const TAG_DELETED: u8 = 101;
const TAG_NO_SEND: u8 = 102;

/// A message between the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// An entry was deleted; the name of a directory ends in a NUL.
    Deleted(Bytes),
    /// The sending side gives up with this code, or acknowledges that we do.
    ErrorExit(Option<i32>),
    /// Error bits of the file list: 1 general, 2 vanished, 4 deletions skipped.
    IoError(i32),
    /// The requested file will not be sent.
    NoSend(i32),
    /// Text for a person; with tag 1 it is an error that makes the transfer partial.
    Text(Severity, Bytes),
}

/// Which end of a transfer the peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Peer {
    /// It takes files, and tells what it deletes.
    Receiver,
    /// It sends files, and tells what it does not send.
    #[default]
    Sender,
}

/// Splits what comes from the peer into the data stream and the messages.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    peer: Peer,
    header: BytesMut,
    /// Tag and missing bytes of the frame that is being read.
    frame: Option<(u8, usize)>,
    message: BytesMut,
    data: BytesMut,
    messages: std::collections::VecDeque<Message>,
    messages_total: u64,
    progress: u64,
}

impl Demux {
    pub(crate) fn new(peer: Peer) -> Self {
        Self { peer, ..Self::default() }
    }

    /// Takes bytes from the peer.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ProtocolError> {
        while !bytes.is_empty() {
            let Some((tag, missing)) = &mut self.frame else {
                let take = bytes.len().min(HEADER - self.header.len());
                self.header.extend_from_slice(&bytes[..take]);
                bytes.advance(take);
                if self.header.len() == HEADER {
                    let header = self.header.get_u32_le();
                    self.open(header)?;
                }
                continue;
            };
            let take = bytes.len().min(*missing);
            let (part, rest) = bytes.split_at(take);
            let target = if *tag == TAG_DATA { &mut self.data } else { &mut self.message };
            target.extend_from_slice(part);
            bytes = rest;
            *missing -= take;
            // Empty frames are keepalives and message floods are no work: neither counts as progress.
            self.progress += if *tag == TAG_DATA { take as u64 } else { 0 };
            if *missing == 0 {
                self.close()?;
            }
        }
        Ok(())
    }

    /// The data stream that was not consumed yet.
    pub(crate) const fn data(&mut self) -> &mut BytesMut {
        &mut self.data
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }

    /// How many bytes of data came in all.
    pub(crate) const fn progress(&self) -> u64 {
        self.progress
    }

    fn open(&mut self, header: u32) -> Result<(), ProtocolError> {
        let len = (header & 0x00ff_ffff) as usize;
        let tag = ((header >> 24) as u8).checked_sub(TAG_BASE).ok_or(ProtocolError::Malformed("frame tag"))?;
        let of_one_side = match self.peer {
            Peer::Receiver => TAG_DELETED,
            Peer::Sender => TAG_NO_SEND,
        };
        match tag {
            TAG_DATA => {}
            1..=4 | TAG_IO_ERROR | TAG_IO_TIMEOUT | TAG_NOOP | TAG_ERROR_EXIT | TAG_DELETED | TAG_NO_SEND => {
                if matches!(tag, TAG_DELETED | TAG_NO_SEND) && tag != of_one_side {
                    return Err(ProtocolError::Violation("a message that only the other end may send"));
                }
                let is_text = (1..=4).contains(&tag);
                let least = if is_text { MIN_MESSAGE } else { 0 };
                self.messages_total += (len + HEADER).max(least) as u64;
                if len >= MAX_MESSAGE {
                    return Err(ProtocolError::Violation("a message is too long"));
                }
                if self.messages_total > MAX_MESSAGES_TOTAL {
                    return Err(ProtocolError::Violation("too many messages"));
                }
            }
            _ => return Err(ProtocolError::Malformed("frame tag")),
        }
        self.frame = Some((tag, len));
        if len == 0 { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), ProtocolError> {
        let Some((tag, _)) = self.frame.take() else { return Ok(()) };
        if tag == TAG_DATA {
            return Ok(());
        }
        let payload = self.message.split().freeze();
        let number = || {
            <[u8; 4]>::try_from(&payload[..])
                .map(i32::from_le_bytes)
                .map_err(|_| ProtocolError::Malformed("message with a number"))
        };
        let message = match tag {
            TAG_DELETED => Message::Deleted(payload),
            TAG_IO_ERROR => Message::IoError(number()?),
            TAG_NO_SEND => Message::NoSend(number()?),
            TAG_ERROR_EXIT if payload.is_empty() => Message::ErrorExit(None),
            TAG_ERROR_EXIT => Message::ErrorExit(Some(number()?)),
            // A server's wish for a shorter time-out is not ours to follow over ssh (CVE-2026-70462).
            TAG_IO_TIMEOUT | TAG_NOOP => return Ok(()),
            1..=4 if payload.is_empty() => return Ok(()),
            TAG_ERROR_XFER => Message::Text(Severity::Error, payload),
            _ => Message::Text(Severity::Other, payload),
        };
        self.messages.push_back(message);
        Ok(())
    }
}

/// Frames of at most this many bytes are written, as stock rsync does.
const MAX_DATA: usize = 32 * 1024;

/// Appends `data` in frames.
pub(crate) fn put_data(out: &mut Vec<u8>, data: &[u8]) {
    for part in data.chunks(MAX_DATA) {
        put_frame(out, TAG_DATA, part);
    }
}

/// Appends the frame with which we give up, or acknowledge that the peer does.
pub(crate) fn put_message(out: &mut Vec<u8>, code: Option<i32>) {
    match code {
        Some(code) => put_frame(out, TAG_ERROR_EXIT, &code.to_le_bytes()),
        None => put_frame(out, TAG_ERROR_EXIT, &[]),
    }
}

/// Appends the message that a requested file will not be sent.
pub(crate) fn put_no_send(out: &mut Vec<u8>, index: u32) {
    put_frame(out, TAG_NO_SEND, &index.to_le_bytes());
}

/// Appends the message that something failed here: a receiver that has yet to delete then does not.
pub(crate) fn put_io_error(out: &mut Vec<u8>) {
    put_frame(out, TAG_IO_ERROR, &1_i32.to_le_bytes());
}

fn put_frame(out: &mut Vec<u8>, tag: u8, payload: &[u8]) {
    let header = u32::from(TAG_BASE + tag) << 24 | payload.len() as u32;
    out.extend_from_slice(&header.to_le_bytes());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_frame(&mut out, tag, payload);
        out
    }

    #[test]
    fn frames_split_anywhere() {
        let stream = [
            frame(0, b"abc"),
            frame(2, b"hello\n"),
            frame(0, b""),
            frame(0, b"def"),
            frame(102, &7_i32.to_le_bytes()),
            frame(86, b""),
            frame(22, &1_i32.to_le_bytes()),
        ]
        .concat();
        for step in 1..stream.len() {
            let mut demux = Demux::default();
            stream.chunks(step).for_each(|part| demux.feed(part).unwrap());
            assert_eq!(&demux.data()[..], b"abcdef");
            assert_eq!(demux.progress(), 6);
            let messages: Vec<_> = std::iter::from_fn(|| demux.message()).collect();
            let expected = [
                Message::Text(Severity::Other, Bytes::from_static(b"hello\n")),
                Message::NoSend(7),
                Message::ErrorExit(None),
                Message::IoError(1),
            ];
            assert_eq!(messages, expected);
        }
    }

    #[test]
    fn hostile_frames_are_refused() {
        for bytes in [
            vec![0, 0, 0, 6],
            frame(9, &[0; 4]),
            frame(100, &[0; 4]),
            frame(255 - 7, b""),
            frame(2, &[b'x'; MAX_MESSAGE]),
            frame(102, &[0; 3]),
        ] {
            assert!(Demux::default().feed(&bytes).is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn each_end_has_messages_of_its_own() {
        let mut demux = Demux::new(Peer::Receiver);
        demux.feed(&frame(101, b"dir\0")).unwrap();
        assert_eq!(demux.message(), Some(Message::Deleted(Bytes::from_static(b"dir\0"))));
        assert!(demux.feed(&frame(102, &[0; 4])).is_err());
        assert!(Demux::default().feed(&frame(101, b"x")).is_err());
    }

    #[test]
    fn a_flood_of_messages_ends() {
        for (len, most) in [(5000, 5000), (1, MIN_MESSAGE), (0, MIN_MESSAGE)] {
            let text = frame(2, &vec![b'x'; len]);
            let mut demux = Demux::default();
            let flood = (0..=MAX_MESSAGES_TOTAL / most as u64).find(|_| {
                demux.messages.clear();
                demux.feed(&text).is_err()
            });
            assert!(flood.is_some(), "of {len} bytes");
            assert!(len > 0 || demux.messages.is_empty());
        }
    }
}
