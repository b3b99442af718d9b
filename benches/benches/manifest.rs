//! Writing and reading the manifest of 100,000 files.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a bench")]

use clonepanel_core::{
    digest::FileDigest,
    entry::Entry,
    manifest::{Decoder, Encoder, Item, Marks, Record, decode_record, encode_record},
    path::RelPath,
    problem::Problems,
    snapshot_id::{SnapshotId, SourceName},
    store::{SnapshotInfo, Tally},
    time::Timestamp,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const FILES: u64 = 100_000;
/// As files arrive from a disk.
const PIECE: usize = 64 * 1024;

fn benches(criterion: &mut Criterion) {
    let records = records();
    let info = info();
    let text = encode(&info, &records);
    let mut group = criterion.benchmark_group("manifest");
    group.throughput(Throughput::Elements(records.len() as u64)).sample_size(20);
    group.bench_function("encode", |b| b.iter(|| encode(&info, black_box(&records))));
    group.bench_function("decode", |b| b.iter(|| assert_eq!(decode(black_box(&text)), records.len())));
    let lines: Vec<Vec<u8>> = records.iter().map(line).collect();
    group.bench_function("decode_record", |b| {
        b.iter(|| lines.iter().for_each(|line| drop(black_box(decode_record(line).unwrap()))));
    });
    // What no decoder can be faster than: reading all of it once.
    group.bench_function("blake3 of the text", |b| b.iter(|| FileDigest::of(black_box(&text))));
    group.finish();
}

fn records() -> Vec<Record> {
    let mut records = vec![dir("files")];
    for site in 0..50 {
        records.push(dir(&format!("files/site{site:02}")));
        for file in 0..FILES / 50 {
            let path = format!("files/site{site:02}/a-file-of-usual-length-{file:05}.php");
            let mut entry = Entry::file(path_of(&path), file * 7, Timestamp::new(1_700_000_000, 123_456_789));
            entry.meta.user = Some("alice".into());
            let content = Some(FileDigest { len: file * 7, ..FileDigest::of(path.as_bytes()) });
            records.push(Record { entry, content, marks: Marks::default() });
        }
    }
    records
}

fn dir(path: &str) -> Record {
    Record { entry: Entry::dir(path_of(path)), content: None, marks: Marks::default() }
}

fn path_of(path: &str) -> RelPath {
    RelPath::try_from(path).unwrap()
}

fn info() -> SnapshotInfo {
    let source = SourceName::new("example.org").unwrap();
    let now = Timestamp::from_secs(1_787_451_300);
    SnapshotInfo {
        id: SnapshotId::next(source, now, None),
        base: None,
        begun: now,
        committed: now,
        source_clock: None,
        tally: Tally::default(),
        problems: Problems::default(),
        suspicions: Vec::new(),
    }
}

fn encode(info: &SnapshotInfo, records: &[Record]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut encoder = Encoder::new(info, &mut text);
    records.iter().for_each(|record| encoder.record(record, &mut text).unwrap());
    encoder.finish(&mut text);
    text
}

fn line(record: &Record) -> Vec<u8> {
    let mut line = Vec::new();
    encode_record(record, &mut line).unwrap();
    line
}

fn decode(text: &[u8]) -> usize {
    let mut decoder = Decoder::new();
    let mut records = 0;
    for piece in text.chunks(PIECE) {
        decoder.feed(piece);
        while let Some(item) = decoder.next().unwrap() {
            match item {
                Item::Info(_) => {}
                Item::Record(_) => records += 1,
                Item::End => return records,
            }
        }
    }
    0
}

criterion_group!(all, benches);
criterion_main!(all);
