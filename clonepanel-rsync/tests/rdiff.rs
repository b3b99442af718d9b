//! librsync's own `rdiff` reads what we write, and we read what it writes.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use clonepanel_rsync::delta::{Differ, Signature, SignatureBuilder, SignatureOptions, apply, diff};
use std::{fs, path::Path, process::Command};

const BLOCK_LEN: u32 = 2048;

fn rdiff(dir: &Path, arguments: &[&str]) {
    let output = Command::new("rdiff").args(arguments).current_dir(dir).output().expect("rdiff is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn versions() -> Vec<(Vec<u8>, Vec<u8>)> {
    let noise = |seed: u64, len: usize| -> Vec<u8> {
        (0..len as u64).map(|i| ((i + (seed << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 37) as u8).collect()
    };
    let old = noise(1, 700_123);
    let inserted = [&noise(2, 99)[..], &old[..300_000], b"in the middle", &old[300_000..]].concat();
    let mut edited = old.clone();
    edited[5000..5100].fill(0);
    edited[650_000] ^= 1;
    edited.truncate(699_000);
    vec![
        (old.clone(), old.clone()),
        (old.clone(), inserted),
        (old.clone(), edited),
        (old.clone(), noise(3, 100_000)),
        (old, Vec::new()),
        (Vec::new(), noise(4, 10_000)),
        (noise(5, 100), noise(5, 100)),
        (vec![0; 1 << 20], vec![0; (2 << 20) + 5]),
    ]
}

#[test]
fn both_ways() {
    for strong_len in [4, 5, 8, 16] {
        for (old, new) in versions() {
            let dir = tempfile::tempdir().unwrap();
            let path = |name: &str| dir.path().join(name);
            fs::write(path("old"), &old).unwrap();
            fs::write(path("new"), &new).unwrap();
            let options = SignatureOptions::new(BLOCK_LEN).with_strong_len(strong_len);

            // The signatures are the same, byte by byte.
            let lens = [format!("-b{BLOCK_LEN}"), format!("-S{strong_len}")];
            rdiff(dir.path(), &["-Hmd4", "-Rrollsum", &lens[0], &lens[1], "signature", "old", "rdiff.sig"]);
            let mut builder = SignatureBuilder::new(options);
            old.chunks(100_000).for_each(|piece| builder.update(piece));
            let signature = builder.finish().unwrap();
            assert!(fs::read(path("rdiff.sig")).unwrap() == signature.as_bytes());

            // Its signature and delta, our patch.
            let theirs = Signature::parse(fs::read(path("rdiff.sig")).unwrap(), old.len() as u64).unwrap();
            rdiff(dir.path(), &["delta", "rdiff.sig", "new", "rdiff.delta"]);
            let mut made = Vec::new();
            apply(&old, &fs::read(path("rdiff.delta")).unwrap(), new.len() as u64, &mut made).unwrap();
            assert!(made == new);

            // Our delta of its signature, its patch: as one piece, and as windows put together.
            let (mut whole, index) = (Vec::new(), theirs.index());
            diff(&index, &new, &mut whole);
            if old == new {
                assert!(whole.len() <= 32);
            }
            for delta in [whole, in_windows(&index, &new)] {
                fs::write(path("our.delta"), delta).unwrap();
                let _ = fs::remove_file(path("made"));
                rdiff(dir.path(), &["patch", "old", "our.delta", "made"]);
                assert!(fs::read(path("made")).unwrap() == new);
            }
        }
    }
}

/// Deltas of windows become one by leaving out the ends and beginnings between them.
fn in_windows(index: &clonepanel_rsync::delta::Index, new: &[u8]) -> Vec<u8> {
    let (mut differ, mut from, mut to) = (Differ::new(index), 0, 0);
    let mut all = Vec::new();
    let mut add = |delta: &[u8]| {
        all.truncate(all.len().saturating_sub(1));
        all.extend_from_slice(if all.is_empty() { delta } else { &delta[4..] });
    };
    while new.len() - to > 128 << 10 {
        to += 128 << 10;
        let mut delta = Vec::new();
        from += differ.advance(&new[from..to], &mut delta);
        add(&delta);
    }
    let mut delta = Vec::new();
    differ.finish(&new[from..], &mut delta);
    add(&delta);
    all
}
