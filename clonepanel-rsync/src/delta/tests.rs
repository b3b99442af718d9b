//! Both dialects against a plain rebuild, `fast_rsync` and data made to hurt.

use super::{
    Content, DeltaError, Differ, Index, Operation, Operations, Signature, SignatureBuilder, SignatureError,
    SignatureOptions, apply, diff, longest_delta,
    search::{Agreement, BlockSums, Search, Searchable, Step},
    strong::StrongSum,
    wire_signature::{BlockRule, StrongLength, WireSignatureBuilder},
    wire_sums::WireSums,
};
use proptest::prelude::*;

/// Reproducible bytes.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| byte()).collect()
}

fn old_and_new() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let piece =
        (0..6_u64, 0..3000_usize).prop_map(|(seed, len)| if seed == 0 { vec![0; len] } else { noise(seed, len) });
    let old = proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat());
    let edit = (any::<prop::sample::Index>(), 0..200_usize, 0..2000_usize, 0..4_u8);
    (old, proptest::collection::vec(edit, 0..5)).prop_map(|(old, edits)| {
        let mut new = old.clone();
        for (at, len, removed, kind) in edits {
            let start = at.index(new.len() + 1);
            let end = (start + removed).min(new.len());
            match kind {
                0 => drop(new.splice(start..start, noise(99, len))),
                1 => drop(new.drain(start..end)),
                2 => drop(new.splice(start..end, noise(77, len))),
                _ => {
                    let moved: Vec<u8> = new.drain(start..end).collect();
                    new.splice(0..0, moved);
                }
            }
        }
        (old, new)
    })
}

fn index(old: &[u8], block_len: u32) -> Index {
    Signature::of(old, SignatureOptions::new(block_len)).index()
}

/// Deltas of windows that grow by `step` bytes, applied one after the other.
fn through_windows(index: &Index, old: &[u8], new: &[u8], step: usize) -> (Vec<u8>, usize) {
    let (mut differ, mut made, mut window, mut bytes) = (Differ::new(index), Vec::new(), Vec::new(), 0);
    for piece in new.chunks(step) {
        window.extend_from_slice(piece);
        let mut delta = Vec::new();
        let decided = differ.advance(&window, &mut delta);
        assert!(window.len() - decided < 2 * index.signature().options().block_len() as usize);
        apply(old, &delta, decided as u64, &mut made).unwrap();
        bytes += delta.len() - 5;
        window.drain(..decided);
    }
    let mut delta = Vec::new();
    differ.finish(&window, &mut delta);
    apply(old, &delta, window.len() as u64, &mut made).unwrap();
    (made, bytes + delta.len() - 5)
}

proptest! {
    #[test]
    fn a_delta_makes_the_new_data((old, new) in old_and_new(), block_len in 512..1500_u32, step in 1..5000_usize) {
        let index = index(&old, block_len);
        let mut delta = Vec::new();
        diff(&index, &new, &mut delta);
        prop_assert!(delta.len() as u64 <= longest_delta(new.len() as u64, index.signature()));
        let mut made = Vec::new();
        prop_assert_eq!(apply(&old, &delta, new.len() as u64, &mut made), Ok(()));
        prop_assert!(made == new);
        // The peer reads it as well.
        let mut made = Vec::new();
        fast_rsync::apply_limited(&old, &delta, &mut made, new.len()).unwrap();
        prop_assert!(made == new);
        let (made, _) = through_windows(&index, &old, &new, step);
        prop_assert!(made == new);
    }

    #[test]
    fn never_longer_than_the_peer((old, new) in old_and_new(), block_len in 512..1500_u32) {
        let signature = Signature::of(&old, SignatureOptions::new(block_len));
        let peer = fast_rsync::Signature::deserialize(signature.as_bytes().to_vec()).unwrap();
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        fast_rsync::diff(&peer.index(), &new, &mut theirs).unwrap();
        diff(&signature.index(), &new, &mut ours);
        // Where blocks repeat, either may choose the luckier one; where they do not, ours has the tail in addition.
        prop_assert!(ours.len() <= theirs.len() + 3 * block_len as usize, "{} {}", ours.len(), theirs.len());
    }

    #[test]
    fn a_signature_in_pieces_is_the_same(old in proptest::collection::vec(0_u8.., 0..200_000), cuts: Vec<prop::sample::Index>) {
        let options = SignatureOptions::new(512);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(old.len() + 1)).collect();
        cuts.push(old.len());
        cuts.sort_unstable();
        let (mut builder, mut from) = (SignatureBuilder::new(options), 0);
        for cut in cuts {
            builder.update(&old[from..cut]);
            from = cut;
        }
        let signature = builder.finish();
        prop_assert_eq!(&signature, &Signature::of(&old, options));
        let parsed = Signature::parse(signature.as_bytes().to_vec(), old.len() as u64);
        prop_assert_eq!(parsed, Ok(signature));
    }

    #[test]
    fn what_is_not_a_delta_is_refused(noise: Vec<u8>, magic: bool, basis_len in 0..2000_u64, limit in 0..5000_u64) {
        let magic = if magic { 0x7273_0236_u32.to_be_bytes().to_vec() } else { Vec::new() };
        let delta = [magic, noise].concat();
        let mut made = 0;
        for operation in Operations::new(&delta, basis_len, limit) {
            match operation {
                Ok(Operation::Literal(data)) => made += data.len() as u64,
                Ok(Operation::Copy { offset, len }) => {
                    prop_assert!(offset + len <= basis_len && len > 0);
                    made += len;
                }
                Err(_) => break,
            }
        }
        prop_assert!(made <= limit);
    }

    #[test]
    fn what_is_not_a_signature_is_refused(noise: Vec<u8>, block_len: u32, strong_len in 0..40_u32, basis_len: u64) {
        let bytes = [&0x7273_0136_u32.to_be_bytes()[..], &block_len.to_be_bytes(), &strong_len.to_be_bytes(), &noise].concat();
        if let Ok(signature) = Signature::parse(bytes, basis_len) {
            let mut delta = Vec::new();
            diff(&signature.index(), &noise, &mut delta);
        }
    }

    #[test]
    fn the_wire_dialect_makes_the_new_data((old, new) in old_and_new(), step in 1..5000_usize, which in 0..4_usize, seed: i32) {
        prop_assume!(!old.is_empty());
        let checksum = [StrongSum::Xxh128, StrongSum::Xxh64, StrongSum::Md5 { seed_first: true }, StrongSum::Sha1][which];
        let head = BlockRule::any().head(old.len() as u64, checksum, StrongLength::Full);
        let mut builder = WireSignatureBuilder::new(head, checksum, seed);
        builder.update(&old);
        let (head, sums) = builder.finish();
        let basis = Searchable::new(WireSums::new(head, sums, checksum, seed).unwrap());
        let (mut made, mut literal) = (Vec::new(), 0);
        let mut put = |step: Step<'_>| match step {
            Step::Literal(data) => {
                literal += data.len();
                made.extend_from_slice(data);
            }
            Step::Blocks { first, count } => {
                let (offset, len) = head.range(first, count).unwrap();
                made.extend_from_slice(&old[offset as usize..][..len as usize]);
            }
        };
        let (mut search, mut window) = (Search::new(&basis), Vec::new());
        for piece in new.chunks(step) {
            window.extend_from_slice(piece);
            let decided = search.advance(&window, &mut put);
            window.drain(..decided);
        }
        search.finish(&window, &mut put);
        prop_assert!(made == new);
        if old == new {
            prop_assert_eq!(literal, 0);
        }
    }
}

#[test]
fn equal_files_cost_one_copy() {
    for len in [1, 511, 512, 513, 10_000, 65_536, 1_000_000] {
        let old = noise(len as u64, len);
        for block_len in [512, 4096] {
            let mut delta = Vec::new();
            diff(&index(&old, block_len), &old, &mut delta);
            assert!(delta.len() <= 32, "{len} bytes in blocks of {block_len}: {}", delta.len());
            for step in [1000, 4096, 65_536] {
                let (made, bytes) = through_windows(&index(&old, block_len), &old, &old, step);
                assert!(made == old);
                assert!(bytes <= 32 + 17 * (len / step), "{len} bytes in blocks of {block_len}: {bytes}");
            }
        }
    }
}

#[test]
fn runs_of_equal_blocks_are_one_copy() {
    let zeros = vec![0; 4 << 20];
    let mut delta = Vec::new();
    diff(&index(&zeros, 4096), &zeros, &mut delta);
    assert!(delta.len() <= 32, "{}", delta.len());
    let mut delta = Vec::new();
    diff(&index(&zeros, 4096), &vec![0; (9 << 20) + 17], &mut delta);
    assert!(delta.len() <= 96, "{}", delta.len());
}

#[test]
fn windows_cost_next_to_nothing() {
    let old = noise(5, 3 << 20);
    let new = [&old[..1 << 20], b"inserted", &old[(1 << 20) + 100..]].concat();
    let index = index(&old, 2048);
    let mut whole = Vec::new();
    diff(&index, &new, &mut whole);
    let (made, bytes) = through_windows(&index, &old, &new, 256 << 10);
    assert!(made == new);
    assert!(bytes <= whole.len() + 13 * 22, "{bytes} {}", whole.len());
}

/// Neighbouring bytes changed by +1, -2, +1 keep the weak sum: every place looks like a block until its strong sum is computed.
fn colliding(block_len: usize, blocks: usize) -> (Vec<u8>, Vec<u8>) {
    let old = vec![100_u8; block_len * blocks];
    let mut new = old.clone();
    for at in (0..new.len() - 2).step_by(block_len / 4) {
        for (byte, change) in new[at..at + 3].iter_mut().zip([1_i8, -2, 1]) {
            *byte = byte.wrapping_add_signed(change);
        }
    }
    (old, new)
}

#[test]
fn crafted_sums_cost_bounded_work() {
    let (old, new) = colliding(1024, 8192);
    let signature = Signature::of(&old, SignatureOptions::new(1024));
    let counted = Searchable::new(Counted { signature, hashed: 0.into() });
    let mut made = 0;
    Search::new(&counted).finish(&new, |step| match step {
        Step::Literal(data) => made += data.len(),
        Step::Blocks { count, .. } => made += count as usize * 1024,
    });
    assert_eq!(made, new.len());
    let hashed = counted.sums().hashed.load(std::sync::atomic::Ordering::Relaxed);
    assert!(hashed <= 4 * new.len() + (8 << 20), "{hashed} bytes hashed for {}", new.len());
    // What may be wasted is also used up, so the limit is what ended it.
    assert!(hashed >= 4 << 20, "{hashed}");
}

/// Counts the bytes that strong sums are computed of.
struct Counted {
    signature: Signature,
    hashed: std::sync::atomic::AtomicUsize,
}

impl BlockSums for Counted {
    type Value = <Signature as BlockSums>::Value;

    fn block_len(&self) -> usize {
        self.signature.block_len()
    }

    fn whole_blocks(&self) -> u32 {
        self.signature.whole_blocks()
    }

    fn tail_len(&self) -> usize {
        self.signature.tail_len()
    }

    fn weak(&self, block: u32) -> u32 {
        self.signature.weak(block)
    }

    fn batch(&self, after: Agreement) -> usize {
        self.signature.batch(after)
    }

    fn equal(&self, first: u32, data: &[u8]) -> u64 {
        self.hashed.fetch_add(data.len(), std::sync::atomic::Ordering::Relaxed);
        self.signature.equal(first, data)
    }

    fn find(&self, candidates: impl Iterator<Item = u32>, data: &[u8]) -> Option<u32> {
        self.hashed.fetch_add(data.len(), std::sync::atomic::Ordering::Relaxed);
        self.signature.find(candidates, data)
    }
}

#[test]
fn signatures_outside_the_limits_are_refused() {
    let signature = Signature::of(&noise(1, 5000), SignatureOptions::for_basis(5000, Content::Text));
    let bytes = signature.as_bytes().to_vec();
    let with = |at: usize, value: u32| {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        Signature::parse(bytes, 5000)
    };
    assert_eq!(with(0, 0x7273_0137), Err(SignatureError::Format));
    for (at, value) in [(4, 0), (4, 511), (4, 131_073), (4, u32::MAX), (8, 0), (8, 3), (8, 17), (8, u32::MAX)] {
        assert_eq!(with(at, value), Err(SignatureError::Limits), "{at} {value}");
    }
    assert_eq!(Signature::parse(bytes[..bytes.len() - 1].to_vec(), 5000), Err(SignatureError::Length));
    assert_eq!(Signature::parse(bytes.clone(), 6000), Err(SignatureError::Length));
    assert_eq!(Signature::parse(bytes, u64::MAX), Err(SignatureError::Limits));
    assert_eq!(Signature::parse(Vec::new(), 0), Err(SignatureError::Length));
}

#[test]
fn deltas_are_cut_off_anywhere() {
    let old = noise(3, 20_000);
    let new = [&old[..7000], b"new", &old[7500..]].concat();
    let mut delta = Vec::new();
    diff(&index(&old, 512), &new, &mut delta);
    for len in 0..delta.len() {
        let outcome = apply(&old, &delta[..len], new.len() as u64, &mut Vec::new());
        assert_eq!(outcome, Err(DeltaError::Truncated), "{len}");
    }
    assert_eq!(apply(&old, &delta, new.len() as u64 - 1, &mut Vec::new()), Err(DeltaError::TooLong));
    assert_eq!(apply(&old[..19_999], &delta, new.len() as u64, &mut Vec::new()), Err(DeltaError::OutsideBasis));
    delta.push(0);
    assert_eq!(apply(&old, &delta, new.len() as u64, &mut Vec::new()), Err(DeltaError::Format));
}

#[test]
fn operations_as_librsync_writes_them() {
    let old: Vec<u8> = noise(9, 70_000);
    let new = [&old[..1024], b"0123456789", &old[65_536..66_560]].concat();
    let mut delta = Vec::new();
    diff(&index(&old, 512), &new, &mut delta);
    let expected = [
        &[0x72, 0x73, 0x02, 0x36][..],
        &[0x46, 0, 0x04, 0x00],
        &[10],
        b"0123456789",
        &[0x4e, 0, 1, 0, 0, 0x04, 0x00],
        &[0],
    ];
    assert_eq!(delta, expected.concat());
}
