//! A manifest of anybody's making: it is refused or is exactly what our encoder writes, however it is split.
#![no_main]

use clonepanel_core::{
    digest::ContentHash,
    manifest::{Decoder, Encoder, Item},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(&split) = data.last() else { return };
    // No fuzzer finds a right hash: the footer is made for it, also in place of one that is there.
    let footer = data.windows(5).rposition(|at| at == b"\nend ");
    let body = footer.map_or(data, |at| &data[..=at]);
    let records = decode(body, usize::MAX).1;
    let mut text = body.to_vec();
    text.extend_from_slice(format!("end {records} {}\n", ContentHash::of(body)).as_bytes());
    let (whole, _) = decode(&text, usize::MAX);
    let (split, _) = decode(&text, usize::from(split) + 1);
    assert_eq!(whole, split, "the same however it is split");
    if let Some(items) = whole {
        assert_eq!(encode(&items), text, "one way to write each manifest");
    }
});

/// All items, if the text is a manifest; how many records there were in any case.
fn decode(text: &[u8], piece: usize) -> (Option<Vec<Item>>, usize) {
    let mut decoder = Decoder::new();
    let mut items = Vec::new();
    let mut records = 0;
    for piece in text.chunks(piece) {
        decoder.feed(piece);
        loop {
            match decoder.next() {
                Err(_) => return (None, records),
                Ok(None) => break,
                Ok(Some(item)) => {
                    records += usize::from(matches!(item, Item::Record(_)));
                    items.push(item);
                }
            }
        }
    }
    (matches!(items.last(), Some(Item::End)).then_some(items), records)
}

fn encode(items: &[Item]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut encoder = None;
    for item in items {
        match item {
            Item::Info(info) => encoder = Some(Encoder::new(info, &mut text)),
            Item::Record(record) => encoder.as_mut().expect("info comes first").record(record, &mut text).expect("decoded, so in order"),
            Item::End => encoder.take().expect("one end").finish(&mut text),
        }
    }
    text
}
