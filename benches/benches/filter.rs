//! Deciding 10,000 paths by common rules, and by rules that are meant to be slow.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a bench")]

use clonepanel_core::{filter::Filter, path::RelPath};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

fn benches(criterion: &mut Criterion) {
    let paths: Vec<_> = (0..10_000)
        .map(|number| format!("public_html/wp-content/plugins/plugin-{:02}/includes/file-{number}.php", number % 40))
        .map(|path| RelPath::try_from(&*path).unwrap())
        .collect();
    let mut group = criterion.benchmark_group("filter");
    group.throughput(Throughput::Elements(paths.len() as u64));
    for (name, rules) in [
        ("none", &[][..]),
        ("common", &["public_html/wp-content/cache/", "*.tmp", "error_log", "/.trash/", "*.log.[0-9]*"]),
        ("hostile", &["**a**a**a**a**a**a**a**b", "*-*-*-*-*-*-*-*-*x", "[a-z]*[a-z]*[a-z]*[a-z]*[0-9]*?q"]),
    ] {
        let filter = Filter::parse(rules).unwrap();
        group.bench_function(name, |b| {
            b.iter(|| paths.iter().filter(|path| filter.excludes_with_parents(black_box(path), false)).count());
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
