//! Ways in for fuzzers: bytes of a hostile peer to every decoder. Not part of the API.

pub use crate::agent::fuzz::{messages as agent_messages, receiver as agent_receiver, sender as agent_sender};

use crate::{
    delta::{BlockRule, StrongLength, WireSignatureBuilder},
    messages::Messages,
    preamble::Preamble,
    session::{Answer, Deletions, Receiver, Sender, SenderStep, Step, Wanted},
    wire::{Compressor, SumHead, TokenDecoder},
};
use bytes::BytesMut;
use clonepanel_core::{entry::Entry, path::RelPath, time::Timestamp, transport::PullRequest};

/// How much content a session is let make, so that a fuzzer does not spend its time on decompression bombs.
const MAX_CONTENT: u64 = 64 << 20;

/// A whole session: the first byte chooses the algorithms and how the rest is cut.
pub fn receiver(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let compressors = match choice & 7 {
        0 => vec!["zstd"],
        1 => vec![],
        2 => vec!["lz4"],
        3 => vec!["zlibx"],
        _ => vec!["zstd", "lz4", "zlibx", "zlib"],
    };
    let checksums = vec!["xxh128", "xxh3", "xxh64", "md5", "sha1"];
    let mut receiver = Receiver::new(PullRequest::new(), Wanted { checksums, compressors });
    let step = if choice & 8 == 0 { data.len().max(1) } else { 7 };
    let mut content = 0;
    for part in data.chunks(step) {
        if receiver.feed(part).is_err() || drive(&mut receiver, choice, &mut content).is_err() {
            break;
        }
    }
    receiver.give_up(2);
    receiver.transmit();
}

fn drive(receiver: &mut Receiver, choice: u8, content: &mut u64) -> Result<(), crate::ProtocolError> {
    while let Some(step) = receiver.poll()? {
        match step {
            Step::Copy { len, .. } => {
                // The basis has 30,000 bytes: a longer copy would be one that it does not have.
                assert!(len <= 30_000 * 65_536);
                if receiver.wants_copies() {
                    receiver.copied(&vec![0; len.min(100_000) as usize])?;
                }
                *content += len;
            }
            Step::Literal(bytes) => *content += bytes.len() as u64,
            Step::End { index, .. } if choice & 16 != 0 && receiver.may_retry(index) => {
                receiver.ask(index, 1000, &Answer { head: SumHead::default(), sums: Vec::new() })?;
            }
            Step::End { index, .. } | Step::Unsent { index } => receiver.settle(index),
            _ => {}
        }
        if *content > MAX_CONTENT {
            return Err(crate::ProtocolError::Violation("enough"));
        }
        while let Some((index, entry)) = receiver.next_entry() {
            if entry.has_content() {
                let has_basis = choice & 32 != 0;
                let answer =
                    if has_basis { signature(receiver) } else { Answer { head: SumHead::default(), sums: Vec::new() } };
                receiver.ask(index, entry.len().unwrap_or(0).min(1 << 20), &answer)?;
            } else {
                receiver.settle(index);
            }
        }
    }
    Ok(())
}

fn signature(receiver: &Receiver) -> Answer {
    let Some(agreed) = receiver.agreed() else { return Answer { head: SumHead::default(), sums: Vec::new() } };
    let basis = [0_u8; 3_000];
    let head = BlockRule::any().head(basis.len() as u64, agreed.checksum, StrongLength::ByLength);
    let mut builder = WireSignatureBuilder::new(head, agreed.checksum, agreed.seed);
    builder.update(&basis);
    let (head, sums) = builder.finish();
    Answer { head, sums }
}

/// A whole session in which the peer takes files: the first byte chooses the algorithms and how the rest is cut.
pub fn sender(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let compressors = match choice & 7 {
        0 => vec!["zstd"],
        1 => vec![],
        2 => vec!["lz4"],
        3 => vec!["zlibx"],
        _ => vec!["zstd", "lz4", "zlibx", "zlib"],
    };
    let checksums = vec!["xxh128", "xxh3", "xxh64", "md5", "sha1"];
    let deletions = if choice & 16 == 0 { Deletions::Expected } else { Deletions::None };
    let content: Vec<u8> = (0..30_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let file = |name: &str, len| RelPath::try_from(name).map(|path| Entry::file(path, len, Timestamp::default()));
    let entries: Vec<_> = [Ok(Entry::dir(RelPath::root())), file("a", 120_000), file("b", 0), file("c", 120_000)]
        .into_iter()
        .flatten()
        .collect();
    let mut sender = Sender::new(Wanted { checksums, compressors }, deletions, &[]);
    let mut asked_for = 0;
    for part in data.chunks(if choice & 8 == 0 { data.len().max(1) } else { 7 }) {
        if sender.feed(part).is_err() {
            break;
        }
        while let Ok(Some(step)) = sender.poll() {
            match step {
                SenderStep::Agreed => sender.list(&entries, &[]),
                SenderStep::Asked(asked) => {
                    asked_for += 1;
                    assert!(asked_for <= 2 * entries.len(), "nothing is sent more than twice");
                    let content = if asked.entry == 2 { &[][..] } else { &content };
                    if choice & 32 != 0 && asked.entry == 1 {
                        sender.refuse();
                    } else if sender.answer(asked, content).is_err() {
                        return;
                    }
                }
                SenderStep::Finished | SenderStep::Text(..) => {}
            }
        }
        sender.transmit();
    }
    sender.give_up(2);
    sender.transmit();
}

/// The tokens of files, with each compression.
pub fn tokens(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let compressors = [Compressor::None, Compressor::Zstd, Compressor::Lz4, Compressor::Zlibx, Compressor::Zlib];
    let Ok(mut decoder) = TokenDecoder::new(compressors[usize::from(choice) % compressors.len()]) else { return };
    decoder.begin();
    let mut rest = BytesMut::from(data);
    let mut content = 0;
    while let Ok(token) = decoder.next(&mut rest) {
        match token {
            crate::wire::Token::Literal(bytes) => content += bytes.len() as u64,
            crate::wire::Token::Blocks { .. } if decoder.copied(&[1; 700]).is_err() => return,
            crate::wire::Token::Blocks { .. } => {}
            crate::wire::Token::End => decoder.begin(),
        }
        if content > MAX_CONTENT {
            return;
        }
    }
}

/// The report of a login.
pub fn preamble(data: &[u8]) {
    let mut preamble = Preamble::new(Some(b"m".to_vec()));
    let mut buffer = BytesMut::new();
    for part in data.chunks(5) {
        buffer.extend_from_slice(part);
        if preamble.read(&mut buffer, &PullRequest::new()).is_err() {
            return;
        }
    }
    preamble.freshness(&RelPath::root());
}

/// Text of the far end.
pub fn messages(data: &[u8]) {
    let mut messages = Messages::default();
    for part in data.chunks(11) {
        messages.feed(part);
    }
    messages.end_line(crate::messages::Severity::Other);
    let unsent: Vec<RelPath> = ["a", "a/b"].iter().filter_map(|path| RelPath::try_from(*path).ok()).collect();
    let dirs = unsent.iter().cloned().collect();
    for problem in crate::messages::problems(&[&messages], &unsent, &dirs) {
        assert!(!problem.to_string().contains(char::is_control));
    }
    assert!(!messages.text().contains(|c: char| c.is_control() && c != '\n'));
}
