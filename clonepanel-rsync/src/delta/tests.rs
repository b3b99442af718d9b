//! Both dialects against a plain rebuild, `fast_rsync` and data made to hurt.

use super::{
    Content, DeltaError, Differ, Index, Operation, Operations, Signature, SignatureBuilder, SignatureError,
    SignatureOptions, apply, diff, longest_delta,
    search::{BlockSums, Search, Searchable, Step},
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
    Signature::of(old, SignatureOptions::new(block_len)).unwrap().index()
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
        prop_assert!(delta.len() as u64 <= longest_delta(new.len() as u64, index.signature().options()));
        let mut made = Vec::new();
        prop_assert_eq!(apply(&old, &delta, new.len() as u64, &mut made), Ok(new.len() as u64));
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
        let signature = Signature::of(&old, SignatureOptions::new(block_len)).unwrap();
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
        let signature = builder.finish().unwrap();
        prop_assert_eq!(&signature, &Signature::of(&old, options).unwrap());
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
    fn any_sums_make_a_delta_of_the_right_length(
        sums in proptest::collection::vec((0..3_usize, any::<u32>()), 1..60),
        (old, new) in old_and_new(),
        tail in 0..512_u64,
    ) {
        // Sums that a hostile peer made up: some are of blocks that the new data do have.
        let mut bytes = [0x7273_0136_u32, 512, 4].map(u32::to_be_bytes).concat();
        for (kind, noise) in &sums {
            let start = *noise as usize % (new.len() + 1);
            let block = &new[start..(start + 512).min(new.len())];
            let real = Signature::of(block, SignatureOptions::new(512).with_strong_len(4)).unwrap().into_bytes();
            match (kind, real.get(12..20)) {
                (0, Some(real)) => bytes.extend_from_slice(real),
                (1, Some(real)) => bytes.extend_from_slice(&[&real[..4], &noise.to_be_bytes()].concat()),
                _ => bytes.extend_from_slice(&[noise.to_be_bytes(), [0; 4]].concat()),
            }
        }
        let basis_len = (sums.len() as u64 * 512).saturating_sub(tail);
        let index = Signature::parse(bytes, basis_len).unwrap().index();
        for data in [&new, &old] {
            let mut delta = Vec::new();
            diff(&index, data, &mut delta);
            let made = Operations::new(&delta, basis_len, data.len() as u64).map(|operation| match operation.unwrap() {
                Operation::Literal(data) => data.len() as u64,
                Operation::Copy { len, .. } => len,
            });
            prop_assert_eq!(made.sum::<u64>(), data.len() as u64);
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

/// Two bytes in turn, in regions with +1, -2, +1 added to neighbours in each quarter of a block: each place of the new data has the
/// weak sum of a block, of another one in each region, and no block stands there.
fn colliding(block_len: usize, blocks: usize) -> (Vec<u8>, Vec<u8>) {
    let turn = |pair: usize, len: usize| -> Vec<u8> {
        (0..len).map(|at| 50 + (if at % 2 == 0 { pair % 128 } else { pair / 128 }) as u8).collect()
    };
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for pair in 0..blocks / 2 {
        let region = turn(pair, block_len + 1);
        old.extend_from_slice(&region[..block_len]);
        old.extend_from_slice(&region[1..]);
        let start = new.len();
        new.extend_from_slice(&turn(pair, 2 * block_len));
        for at in (start..start + 2 * block_len - 2).step_by(block_len / 4) {
            (new[at], new[at + 1], new[at + 2]) = (new[at] + 1, new[at + 1] - 2, new[at + 2] + 1);
        }
    }
    (old, new)
}

/// Bytes hashed for `new`, and how many of it came out literal.
fn work(old: &[u8], new: &[u8]) -> (usize, usize) {
    let signature = Signature::of(old, SignatureOptions::new(1024)).unwrap();
    let counted = Searchable::new(Counted { signature, hashed: 0.into() });
    let (mut made, mut literal) = (0, 0);
    Search::new(&counted).finish(new, |step| match step {
        Step::Literal(data) => literal += data.len(),
        Step::Blocks { count, .. } => made += count as usize * 1024,
    });
    assert_eq!(made + literal, new.len());
    (counted.sums().hashed.load(std::sync::atomic::Ordering::Relaxed), literal)
}

#[test]
fn crafted_sums_cost_bounded_work() {
    let (old, new) = colliding(1024, 16_384);
    let (hashed, _) = work(&old, &new);
    assert!(hashed <= 4 * new.len() + (9 << 20), "{hashed} bytes hashed for {}", new.len());
    // What may be wasted is also used up, so the limit is what ended it.
    assert!(hashed >= 4 * new.len(), "{hashed}");
}

#[test]
fn lonely_blocks_cost_bounded_work() {
    // The last block, whose followers do not exist, between blocks whose followers are others.
    let old = noise(8, 1024 * 1024);
    let last = &old[1023 * 1024..];
    let mut new = Vec::new();
    for block in (0..1000).step_by(3) {
        new.extend_from_slice(last);
        new.extend_from_slice(&old[block * 1024..][..1024]);
    }
    let (hashed, literal) = work(&old, &new);
    assert_eq!(literal, 0);
    assert!(hashed <= 10 * new.len(), "{hashed} bytes hashed for {}", new.len());
}

#[test]
fn ordinary_changes_are_never_too_much_work() {
    let old = noise(6, 16 << 20);
    // Something inserted every eight and a half blocks, all blocks the other way round, every second block removed.
    let inserted: Vec<u8> = old.chunks(8704).flat_map(|piece| [piece, b"inserted"].concat()).collect();
    let turned: Vec<u8> = old.rchunks(1024).flatten().copied().collect();
    let thinned: Vec<u8> = old.chunks(2048).flat_map(|pair| &pair[..1024]).copied().collect();
    for (new, most) in [(inserted, 8), (turned, 1000), (thinned, 1000)] {
        let (hashed, literal) = work(&old, &new);
        assert!(literal <= new.len() / most, "{literal} of {} literal", new.len());
        assert!(hashed <= 9 * new.len(), "{hashed} bytes hashed for {}", new.len());
        assert!(wire_literal(&old, &new) <= new.len() / most, "on the wire");
    }
}

/// How many bytes come out literal in the wire's dialect.
fn wire_literal(old: &[u8], new: &[u8]) -> usize {
    let head = crate::wire::SumHead { count: (old.len() / 1024) as u32, block_len: 1024, strong_len: 8, remainder: 0 };
    let mut builder = WireSignatureBuilder::new(head, StrongSum::Xxh64, 7);
    builder.update(old);
    let (head, sums) = builder.finish();
    let basis = Searchable::new(WireSums::new(head, sums, StrongSum::Xxh64, 7).unwrap());
    let mut literal = 0;
    Search::new(&basis).finish(new, |step| {
        if let Step::Literal(data) = step {
            literal += data.len();
        }
    });
    literal
}

#[test]
fn copies_reach_beyond_four_gigabytes() {
    let options = SignatureOptions::for_basis(10 << 30, Content::Text);
    let block = noise(4, options.block_len() as usize);
    let real = Signature::of(&block, options).unwrap().into_bytes();
    let len = Signature::expected_len(10 << 30, options).unwrap() as usize;
    let mut bytes = real[..12].to_vec();
    bytes.resize(len, 0);
    let entry = real.len() - 12;
    bytes[12 + 500_000 * entry..][..entry].copy_from_slice(&real[12..]);
    let mut delta = Vec::new();
    diff(&Signature::parse(bytes, 10 << 30).unwrap().index(), &block, &mut delta);
    let offset = 500_000 * u64::from(options.block_len());
    assert!(offset > u64::from(u32::MAX));
    let operations: Vec<_> = Operations::new(&delta, 10 << 30, block.len() as u64).collect();
    assert_eq!(operations, [Ok(Operation::Copy { offset, len: block.len() as u64 })]);
}

#[test]
fn too_many_blocks_are_refused() {
    let options = SignatureOptions::new(512);
    let (mut builder, piece) = (SignatureBuilder::new(options), vec![0; 1 << 20]);
    for _ in 0..300 {
        builder.update(&piece);
    }
    assert_eq!(builder.finish(), Err(SignatureError::Limits));
    assert!(!options.suits(300 << 20));
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

    fn batch(&self, equal: usize) -> usize {
        self.signature.batch(equal)
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
    let signature = Signature::of(&noise(1, 5000), SignatureOptions::for_basis(5000, Content::Text)).unwrap();
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
