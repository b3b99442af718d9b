//! The delta core beside its peers, in one run on one thread: `fast_rsync` called raw, librsync (through the `librsync` crate,
//! which bundles librsync 2.2.2), and `memcpy` as what no copy can be faster than.
//!
//! `CLONEPANEL_BENCH_MIB` sets the size of the inputs (64); `delta_table` turns a run into a table of ratios and a chart.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a bench")]

use clonepanel_benches::versions::Versions;
use clonepanel_rsync::delta::{Index, Signature, SignatureBuilder, SignatureOptions, apply, diff};
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use std::{
    hint::black_box,
    io::{self, Cursor},
    time::Duration,
};

const BLOCK_LEN: u32 = 8192;
const STRONG_LEN: u32 = 8;

fn mib() -> usize {
    std::env::var("CLONEPANEL_BENCH_MIB").map_or(64, |mib| mib.parse().expect("CLONEPANEL_BENCH_MIB is a number"))
}

fn options() -> SignatureOptions {
    SignatureOptions::new(BLOCK_LEN).with_strong_len(STRONG_LEN)
}

fn peer_options() -> fast_rsync::SignatureOptions {
    fast_rsync::SignatureOptions { block_size: BLOCK_LEN, crypto_hash_size: STRONG_LEN }
}

fn group<'c>(criterion: &'c mut Criterion, name: &str, len: usize) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(len as u64)).sample_size(10).warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(2));
    group
}

fn signature(criterion: &mut Criterion) {
    let len = mib() << 20;
    for (name, data) in [("random", Versions::foreign(len).old), ("sql", Versions::sql_dump(len).old)] {
        let mut group = group(criterion, &format!("signature/{name}"), data.len());
        group.bench_function("ours", |b| {
            b.iter(|| {
                // As a file is read.
                let mut builder = SignatureBuilder::new(options());
                black_box(&data).chunks(1 << 20).for_each(|piece| builder.update(piece));
                builder.finish().expect("few enough blocks")
            });
        });
        group.bench_function("fast_rsync", |b| {
            b.iter(|| fast_rsync::Signature::calculate(black_box(&data), peer_options()));
        });
        group.bench_function("librsync", |b| b.iter(|| librsync_signature(black_box(&data))));
        let mut copy = data.clone();
        group.bench_function("memcpy", |b| b.iter(|| copy.copy_from_slice(black_box(&data))));
        group.finish();
    }
}

fn librsync_signature(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut signature = librsync::Signature::with_options(
        Cursor::new(data),
        BLOCK_LEN as usize,
        STRONG_LEN as usize,
        librsync::SignatureType::MD4,
    )
    .expect("a signature");
    io::copy(&mut signature, &mut out).expect("a signature");
    out
}

/// Who takes part: librsync has no guard against crafted data, and `fast_rsync` needs minutes for some MiB of it.
#[derive(Clone, Copy, PartialEq)]
enum Peers {
    All,
    FastRsync,
    None,
}

fn compare(criterion: &mut Criterion, name: &str, versions: &Versions, peers: Peers) {
    let Versions { old, new } = versions;
    let signature = Signature::of(old, options()).expect("few enough blocks");
    let peer = fast_rsync::Signature::deserialize(signature.as_bytes().to_vec()).expect("a signature");
    let (index, peer_index): (Index, _) = (signature.clone().index(), peer.index());
    let mut group = group(criterion, name, new.len());
    let mut delta = Vec::new();
    group.bench_function("ours", |b| {
        b.iter(|| {
            delta.clear();
            diff(&index, black_box(new), &mut delta);
        });
    });
    let mut made = Vec::new();
    apply(old, &delta, new.len() as u64, &mut made).expect("applies");
    assert!(made == *new, "{name}");
    if peers != Peers::None {
        group.bench_function("fast_rsync", |b| {
            b.iter(|| {
                delta.clear();
                fast_rsync::diff(&peer_index, black_box(new), &mut delta).expect("a delta");
            });
        });
    }
    if peers == Peers::All {
        group.bench_function("librsync", |b| {
            b.iter(|| {
                delta.clear();
                let signature = &mut Cursor::new(signature.as_bytes());
                let mut stream = librsync::Delta::new(Cursor::new(black_box(new)), signature).expect("a delta");
                io::copy(&mut stream, &mut delta).expect("a delta");
            });
        });
    }
    let mut copy = new.clone();
    group.bench_function("memcpy", |b| b.iter(|| copy.copy_from_slice(black_box(new))));
    group.finish();
}

fn diffs(criterion: &mut Criterion) {
    let len = mib() << 20;
    compare(criterion, "diff/similar/identical", &Versions::identical(len), Peers::All);
    compare(criterion, "diff/similar/insert_front", &Versions::insert_front(len), Peers::All);
    compare(criterion, "diff/edits/scattered", &Versions::scattered_edits(len), Peers::All);
    compare(criterion, "diff/edits/sql", &Versions::sql_dump(len), Peers::All);
    compare(criterion, "diff/foreign/random", &Versions::foreign(len), Peers::All);
    compare(criterion, "diff/foreign/packed", &Versions::packed(len), Peers::All);
}

fn hostile(criterion: &mut Criterion) {
    let len = 4 << 20;
    compare(criterion, "diff/hostile/random", &Versions::foreign(len), Peers::FastRsync);
    compare(criterion, "diff/hostile/zeros", &Versions::zeros(len), Peers::FastRsync);
    compare(criterion, "diff/hostile/constant", &Versions::constant(len), Peers::FastRsync);
    compare(criterion, "diff/hostile/periodic", &Versions::periodic(len), Peers::FastRsync);
    compare(criterion, "diff/hostile/colliding", &Versions::colliding(len, BLOCK_LEN as usize), Peers::None);
    let colliding = Versions::colliding(1 << 20, BLOCK_LEN as usize);
    compare(criterion, "diff/hostile/colliding of 1 MiB", &colliding, Peers::FastRsync);
}

fn applies(criterion: &mut Criterion) {
    let len = mib() << 20;
    for (name, versions) in [
        ("identical", Versions::identical(len)),
        ("scattered", Versions::scattered_edits(len)),
        ("sql", Versions::sql_dump(len)),
        ("random", Versions::foreign(len)),
    ] {
        let Versions { old, new } = versions;
        let (mut delta, mut out) = (Vec::new(), Vec::with_capacity(new.len()));
        diff(&Signature::of(&old, options()).expect("few enough blocks").index(), &new, &mut delta);
        let mut group = group(criterion, &format!("apply/{name}"), new.len());
        group.bench_function("ours", |b| {
            b.iter(|| {
                out.clear();
                apply(black_box(&old), &delta, new.len() as u64, &mut out).expect("applies");
            });
        });
        group.bench_function("fast_rsync", |b| {
            b.iter(|| {
                out.clear();
                fast_rsync::apply_limited(black_box(&old), &delta, &mut out, new.len()).expect("applies");
            });
        });
        group.bench_function("librsync", |b| {
            b.iter(|| {
                out.clear();
                let mut stream =
                    librsync::Patch::new(Cursor::new(black_box(&old)), Cursor::new(&delta)).expect("applies");
                io::copy(&mut stream, &mut out).expect("applies");
            });
        });
        let mut copy = new.clone();
        group.bench_function("memcpy", |b| b.iter(|| copy.copy_from_slice(black_box(&new))));
        group.finish();
    }
}

fn tails(criterion: &mut Criterion) {
    for len in [10_000, 1 << 10, 16 << 10, 64 << 10] {
        compare(criterion, &format!("tail/small/{len}"), &Versions::identical(len), Peers::All);
    }
}

criterion_group!(delta, signature, diffs, hostile, applies, tails);
criterion_main!(delta);
