//! How many bytes a file takes from one version to the next, signature and delta together, beside `rsync -z`: five kinds of
//! files that hosting accounts hold. Shown with `--no-capture`.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a test that shows its figures")]

use clonepanel_benches::versions::Versions;
use clonepanel_rsync::delta::{Content, Differ, Signature, SignatureOptions, apply};
use std::{fs, process::Command};

/// As our own far end cuts what it reads.
const WINDOW: usize = 4 << 20;

#[test]
fn fewer_than_rsync() {
    let cases = [
        ("SQL dump", "dump.sql", Versions::sql_dump(33_500_000)),
        ("table pages", "table.ibd", Versions::table_pages(33_500_000)),
        ("indexed pages", "shop.sqlite", Versions::indexed_pages(35_900_000)),
        ("source archive", "site.tar", Versions::source_archive(18_600_000)),
        ("picture", "photo.jpg", Versions::picture(3_000_000)),
    ];
    let mut logarithms = 0.0;
    for (kind, name, versions) in &cases {
        let (ours, theirs) = (ours(name, versions), theirs(versions));
        let ratio = ours as f64 / theirs as f64;
        println!("{kind:15} {:>10} bytes: ours {ours:>9}, rsync -z {theirs:>9}, {ratio:.2}x", versions.new.len());
        assert!(ratio <= 1.2, "{kind}: {ratio:.2}x of rsync -z");
        logarithms += ratio.ln();
    }
    let mean = (logarithms / cases.len() as f64).exp();
    println!("geometric mean {mean:.2}x");
    assert!(mean <= 0.95, "{mean:.2}x of rsync -z");
}

/// With our own far end: the signature one way, the other way a delta for each window, packed by zstd.
fn ours(name: &str, versions: &Versions) -> u64 {
    let Versions { old, new } = versions;
    let options = SignatureOptions::for_basis(old.len() as u64, Content::of_name(name.as_bytes()));
    let signature = Signature::of(old, options).unwrap();
    let mut bytes = signature.as_bytes().len();
    let (mut differ, mut rest, mut made) = (Differ::new(&signature.index()), &new[..], Vec::new());
    while rest.len() > WINDOW {
        let mut delta = Vec::new();
        let (_, later) = rest.split_at(differ.advance(&rest[..WINDOW], &mut delta));
        apply(old, &delta, WINDOW as u64, &mut made).unwrap();
        bytes += zstd::bulk::compress(&delta, 3).unwrap().len();
        rest = later;
    }
    let mut delta = Vec::new();
    differ.finish(rest, &mut delta);
    apply(old, &delta, WINDOW as u64, &mut made).unwrap();
    assert!(made == *new);
    (bytes + zstd::bulk::compress(&delta, 3).unwrap().len()) as u64
}

/// With the stock program, both directions.
fn theirs(versions: &Versions) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|side| dir.path().join(side));
    fs::write(&old, &versions.old).unwrap();
    fs::write(&new, &versions.new).unwrap();
    let output =
        Command::new("rsync").args(["-Iz", "--no-whole-file", "--stats"]).arg(&new).arg(&old).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(fs::read(&old).unwrap() == versions.new);
    let text = String::from_utf8(output.stdout).unwrap();
    let total = |label: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(label)).unwrap();
        line.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
    };
    total("Total bytes sent:") + total("Total bytes received:")
}
