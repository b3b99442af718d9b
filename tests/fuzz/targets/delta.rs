//! The delta core: what a peer sends is refused or applied within its limits, and every delta makes the new data.
#![no_main]

use clonepanel_rsync::delta::{Differ, Operation, Operations, Signature, SignatureOptions, apply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(([kind, cut, step, seed], data)) = data.split_first_chunk::<4>() else { return };
    let (first, second) = data.split_at(data.len() * usize::from(*cut) / 255);
    match kind % 3 {
        0 => {
            let mut made = 0;
            for operation in Operations::new(data, 10_000, 100_000).map_while(Result::ok) {
                made += match operation {
                    Operation::Literal(data) => data.len() as u64,
                    Operation::Copy { offset, len } => {
                        assert!(offset + len <= 10_000);
                        len
                    }
                };
            }
            assert!(made <= 100_000);
        }
        1 => {
            // Sums as a peer may send them: a good head, and any content.
            let sums = &first[..first.len() / 8 * 8];
            let bytes = [&[0x72, 0x73, 0x01, 0x36, 0, 0, 2, 0, 0, 0, 0, 4], sums].concat();
            let basis_len = (sums.len() as u64 / 8 * 512).saturating_sub(u64::from(*seed));
            let index = Signature::parse(bytes, basis_len).expect("a good head").index();
            let new: Vec<u8> = second.iter().flat_map(|byte| [*byte; 64]).collect();
            let mut delta = Vec::new();
            Differ::new(&index).finish(&new, &mut delta);
            let made = Operations::new(&delta, basis_len, new.len() as u64).map(|operation| match operation.expect("ours") {
                Operation::Literal(data) => data.len() as u64,
                Operation::Copy { len, .. } => len,
            });
            assert_eq!(made.sum::<u64>(), new.len() as u64);
        }
        _ => {
            // Long enough for blocks: the input repeated, each time a little different.
            let stretch = |data: &[u8], times: usize| -> Vec<u8> {
                (0..times).flat_map(|time| data.iter().map(move |byte| byte.wrapping_add((time as u8 ^ seed) & 3))).collect()
            };
            let times = 1 + 6000 / (first.len() + second.len() + 1);
            let (old, new) = (stretch(data, times), [stretch(first, times), stretch(second, times)].concat());
            let index = Signature::of(&old, SignatureOptions::new(512).with_strong_len(16)).expect("few blocks").index();
            let (mut differ, mut window, mut made) = (Differ::new(&index), Vec::new(), Vec::new());
            for piece in new.chunks(1 + usize::from(*step) * 16) {
                window.extend_from_slice(piece);
                let mut delta = Vec::new();
                let decided = differ.advance(&window, &mut delta);
                apply(&old, &delta, decided as u64, &mut made).expect("our own delta");
                window.drain(..decided);
                assert!(window.len() < 1024);
            }
            let mut delta = Vec::new();
            differ.finish(&window, &mut delta);
            apply(&old, &delta, window.len() as u64, &mut made).expect("our own delta");
            assert!(made == new);
        }
    }
});
