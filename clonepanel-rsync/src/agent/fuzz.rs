//! Ways in for fuzzers: bytes of a hostile peer to either end. Not part of the API.

use super::{
    frame::{FrameDecoder, MAGIC},
    link::Link,
    listing,
    message::Message,
    pump::{Manners, Pump, Throttle},
    receiver::{Receiver, Tells},
    sender::Sender,
    session::drive,
};
use clonepanel_core::{memory::MemoryTree, path::RelPath, time::Timestamp, transport::PullRequest, tree::TreeSource};
use std::time::Duration;
use tokio::runtime::Builder;

/// Frames and what is in them, cut anywhere.
pub fn messages(data: &[u8]) {
    let mut decoder = FrameDecoder::new();
    decoder.buffer().extend_from_slice(MAGIC);
    for part in data.chunks(7) {
        decoder.buffer().extend_from_slice(part);
        while let Ok(Some(frame)) = decoder.next() {
            match Message::parse(frame) {
                Ok(Message::Listing(batch)) => drop(listing::parse(&batch)),
                Ok(Message::Window(window)) => drop(window.unpack()),
                _ => {}
            }
        }
    }
}

/// A small tree: texts that are alike, one of them long enough for differences.
fn tree() -> MemoryTree {
    let tree = MemoryTree::new();
    for (name, len) in [("a", 10), ("b", 300), ("c", 40_000)] {
        let path = RelPath::try_from(name).unwrap_or_default();
        // A name that is free is taken.
        drop(tree.put_file(path, b"the same again and ".repeat(len / 19 + 1), Timestamp::from_secs(1)));
    }
    tree
}

fn converse<T>(data: &[u8], worker: impl FnOnce(Link) -> T)
where
    T: Future<Output = Result<(), super::link::Broken>>,
{
    let Ok(runtime) = Builder::new_current_thread().enable_time().build() else { return };
    let mut input = [MAGIC, data].concat();
    let (mut input, mut output) = (std::io::Cursor::new(&mut input), tokio::io::sink());
    runtime.block_on(async {
        let (link, far) = Link::new();
        let timeout = Duration::from_secs(60);
        let mut pump = Pump::new(&mut input, &mut output, far, Throttle::new(None), timeout);
        // What it ends with does not matter; that it ends does.
        drop(drive(&mut pump, Manners::SpeakFirst, worker(link)).await);
    });
}

/// A sender's words to the receiving end. The first byte chooses what is there already.
pub fn receiver(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let here = if choice & 1 == 0 { tree() } else { MemoryTree::new() };
    let request = PullRequest::new();
    converse(data, |link| {
        let receiver = Receiver::new(&here, &request, &(), Tells::Nobody, link);
        async move { receiver.run().await.map(drop) }
    });
}

/// A receiver's words to the sending end.
pub fn sender(data: &[u8]) {
    let (tree, request) = (tree(), PullRequest::new());
    let source: &dyn TreeSource = &tree;
    converse(data, |link| {
        let sender = Sender::new(source, &request, &(), link);
        async move { sender.run().await.map(drop) }
    });
}
