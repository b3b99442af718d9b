//! The manifest's text: golden files, round trips, and what is not taken.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may.

use bytes::Bytes;
use clonepanel_core::{
    digest::{ContentHash, FileDigest},
    entry::{DeviceNumber, Entry, EntryKind, EntryMeta, LinkTarget},
    manifest::{self, Decoder, Encoder, Item, ManifestError, Marks, Record},
    path::RelPath,
    problem::{MAX_LISTED, Problem, ProblemKind, Problems},
    snapshot_id::SnapshotId,
    store::{SnapshotInfo, Tally},
    suspicion::Suspicion,
    time::Timestamp,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const GOLDEN: &[u8] = include_bytes!("golden/manifest-1.txt");
const GOLDEN_BARE: &[u8] = include_bytes!("golden/manifest-1-bare.txt");

fn id(text: &str) -> SnapshotId {
    text.parse().unwrap()
}

fn bare_info() -> SnapshotInfo {
    SnapshotInfo {
        id: id("example.org/20260823T021500Z"),
        begun: Timestamp::from_secs(1_787_451_300),
        committed: Timestamp::from_secs(1_787_451_300),
        source_clock: None,
        base: None,
        tally: Tally::default(),
        problems: Problems::new(),
        suspicions: vec![],
    }
}

fn full_info() -> SnapshotInfo {
    let mut problems = Problems::new();
    problems.push(Problem::new(path(b"files/secret \xff"), ProblemKind::Unreadable, "permission  denied \\ \x1b["));
    problems.push(Problem::new(RelPath::root(), ProblemKind::Unlisted, ""));
    problems.push(Problem::new(path(b"files/log"), ProblemKind::Changed, "grew"));
    SnapshotInfo {
        id: id("example.org/20260823T021500Z.1"),
        committed: Timestamp::new(1_787_451_342, 500_000_000),
        source_clock: Some(Timestamp::new(-2, 1)),
        base: Some(id("example.org/20260822T021500Z")),
        tally: Tally {
            dirs: 1,
            files: 2,
            others: 3,
            bytes: 4,
            unchanged_files: 5,
            added_files: 6,
            changed_files: 7,
            confirmed_files: 0,
            removed_files: 8,
            carried_files: 9,
            new_bytes: u64::MAX,
        },
        problems,
        suspicions: vec![
            Suspicion::Emptied,
            Suspicion::MassDeleted { removed: 400, of: 500 },
            Suspicion::BytesCollapsed { before: 1, now: 2 },
            Suspicion::ContentsChanged { changed: 3, of: 4 },
            Suspicion::CountCollapsed { before: 5, now: 6 },
            Suspicion::NothingLinked { unchanged: 7, of: 8 },
        ],
        ..bare_info()
    }
}

fn path(bytes: &[u8]) -> RelPath {
    RelPath::try_from(bytes).unwrap()
}

fn record(at: &[u8], kind: EntryKind) -> Record {
    let content = match &kind {
        EntryKind::File { len, .. } => Some(FileDigest { len: *len, hash: ContentHash::of(at) }),
        _ => None,
    };
    let meta = EntryMeta {
        mode: if kind == EntryKind::Dir { 0o755 } else { 0o644 },
        uid: 1001,
        gid: 1002,
        user: Some("alice".into()),
        group: Some("alice".into()),
        mtime: Timestamp::new(1_700_000_000, 123_456_789),
        ..EntryMeta::default()
    };
    Record { entry: Entry { path: path(at), kind, meta }, content, marks: Marks::default() }
}

fn file(at: &[u8], len: u64, leader: Option<&[u8]>) -> Record {
    record(at, EntryKind::File { len, hardlink_to: leader.map(path) })
}

fn every_kind() -> Vec<Record> {
    let device = DeviceNumber { major: 8, minor: u32::MAX };
    let mut records = vec![
        record(b"", EntryKind::Dir),
        record(b"files", EntryKind::Dir),
        file(b"files/a", 12_345, None),
        file(b"files/a b\n\\\xff\xc3\xa9", 0, Some(b"files/a")),
        record(b"files/block", EntryKind::BlockDevice(device)),
        file(b"files/carried", 1, None),
        record(b"files/char", EntryKind::CharDevice(device)),
        record(b"files/dir", EntryKind::Dir),
        file(b"files/dir/torn", 100, None),
        record(b"files/dir0", EntryKind::Symlink(LinkTarget::new("../some where\\").unwrap())),
        record(b"files/pipe", EntryKind::Fifo),
        record(b"files/socket", EntryKind::Socket),
        file(b"files/z", u64::MAX, Some(b"files/a")),
    ];
    records[5].marks.carried = true;
    records[7].entry.meta.mode = 0o7777;
    records[7].entry.meta.mtime = Timestamp::new(-1, 5);
    records[8].marks = Marks { carried: true, torn: true };
    records[8].content = Some(FileDigest { len: 90, hash: ContentHash::of(b"torn") });
    records[9].entry.meta.user = Some(Bytes::from_static(b"o'dd :name\xfe"));
    records[9].entry.meta.group = None;
    records[10].entry.meta = EntryMeta::default();
    records
}

fn encode(info: &SnapshotInfo, records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(info, &mut out);
    for record in records {
        encoder.record(record, &mut out).unwrap();
    }
    encoder.finish(&mut out);
    out
}

/// Everything that the decoder gives for the pieces, and how it ends.
fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Option<SnapshotInfo>, Vec<Record>, Result<(), ManifestError>) {
    let (mut info, mut records) = (None, Vec::new());
    let mut decoder = Decoder::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next() {
                Ok(None) => break,
                Ok(Some(Item::Info(header))) => assert_eq!(info.replace(header), None),
                Ok(Some(Item::Record(record))) => records.push(record),
                Ok(Some(Item::End)) => {}
                Err(error) => {
                    assert_eq!(decoder.next(), Err(error), "an error stays");
                    return (info, records, Err(error));
                }
            }
        }
    }
    (info, records, decoder.finish())
}

#[test]
fn golden_files_are_what_is_written_and_read() {
    for (golden, info, records) in [(GOLDEN, full_info(), every_kind()), (GOLDEN_BARE, bare_info(), vec![])] {
        let written = encode(&info, &records);
        assert_eq!(String::from_utf8(written).unwrap(), String::from_utf8(golden.to_vec()).unwrap());
        assert_eq!(decode([golden]), (Some(info), records, Ok(())));
    }
}

#[test]
fn problems_beyond_the_listed_ones_are_counted() {
    let mut info = bare_info();
    for at in 0..MAX_LISTED + 5 {
        info.problems.push(Problem::new(path(format!("p{at}").as_bytes()), ProblemKind::Failed, "x"));
    }
    let (read, ..) = decode([&encode(&info, &[])[..]]);
    assert_eq!(read.unwrap().problems, info.problems);
    assert!(info.problems.hides_losses());
}

/// Files that were confirmed are written where there are any; a manifest from before they were counted has none.
#[test]
fn confirmed_files_are_read_back() {
    let mut info = full_info();
    info.tally.confirmed_files = 6;
    let text = encode(&info, &[]);
    assert!(text.windows(13).any(|bytes| bytes == b" confirmed=6\n"), "{}", text.escape_ascii());
    let (read, ..) = decode([&text[..]]);
    assert_eq!(read.unwrap().tally, info.tally);
}

#[test]
fn a_manifest_cut_anywhere_is_not_whole() {
    for len in 0..GOLDEN.len() {
        assert_eq!(decode([&GOLDEN[..len]]).2, Err(ManifestError::Truncated), "{len}");
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let mut text = GOLDEN.to_vec();
    for at in 0..text.len() {
        for bit in 0..8 {
            text[at] ^= 1 << bit;
            let end = decode([&text[..]]).2;
            assert!(end.is_err(), "byte {at} bit {bit} went unnoticed");
            text[at] ^= 1 << bit;
        }
    }
}

#[test]
fn other_versions_and_trailing_text_are_refused() {
    assert_eq!(decode([&b"clonepanel-manifest 2\n"[..]]).2, Err(ManifestError::Version));
    assert_eq!(decode([&b"\n"[..]]).2, Err(ManifestError::Version));
    for trailing in ["\n", "x", "end 0 0\n"] {
        assert!(matches!(decode([GOLDEN, trailing.as_bytes()]).2, Err(ManifestError::Line { .. })), "{trailing:?}");
    }
}

#[test]
fn endless_lines_are_refused_before_they_fill_the_memory() {
    let piece = [b'x'; 4096];
    let mut decoder = Decoder::new();
    for fed in 0..20 {
        decoder.feed(&piece);
        if decoder.next().is_err() {
            assert!(fed <= manifest::MAX_LINE_LEN / piece.len());
            return;
        }
    }
    panic!("80 KiB without a newline were taken");
}

#[test]
fn the_longest_record_fits_into_a_line() {
    let long = [[b'\\'; 255].as_slice(); 15].join(&b'/');
    let target = LinkTarget::new(vec![1; 4095]).unwrap();
    let mut longest = record(&long, EntryKind::Symlink(target));
    longest.entry.meta.user = Some(vec![2; 255].into());
    longest.entry.meta.group = Some(vec![3; 255].into());
    let mut line = Vec::new();
    manifest::encode_record(&longest, &mut line).unwrap();
    assert!(line.len() <= manifest::MAX_LINE_LEN, "{}", line.len());
    assert_eq!(manifest::decode_record(&line[..line.len() - 1]), Ok(longest));
}

#[test]
fn records_out_of_order_or_without_a_parent_are_refused() {
    let orders: [&[Record]; 6] = [
        &[file(b"b", 0, None), file(b"a", 0, None)],
        &[file(b"a", 0, None), file(b"a", 0, None)],
        &[file(b"a/b", 0, None)],
        &[file(b"a", 0, None), file(b"a/b", 0, None)],
        &[record(b"a", EntryKind::Dir), record(b"a/b/c", EntryKind::Dir)],
        &[record(b"a", EntryKind::Dir), record(b"b", EntryKind::Dir), file(b"a/c", 0, None)],
    ];
    for records in orders {
        // Refused when it is written.
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&bare_info(), &mut out);
        let before_last = records.len() - 1;
        for record in &records[..before_last] {
            encoder.record(record, &mut out).unwrap();
        }
        let len = out.len();
        let refused = encoder.record(&records[before_last], &mut out);
        assert!(matches!(refused, Err(ManifestError::Record { .. })), "{records:?}");
        assert_eq!(out.len(), len);
        // Refused when it is read, at its line.
        manifest::encode_record(&records[before_last], &mut out).unwrap();
        assert!(matches!(decode([&out[..]]).2, Err(ManifestError::Line { .. })), "{records:?}");
    }
}

#[test]
fn records_that_cannot_be_are_refused() {
    let mut cases = vec![
        file(b"a", 0, Some(b"b")),
        file(b"a", 0, Some(b"a")),
        file(b"", 0, None),
        record(b"", EntryKind::Fifo),
        Record { content: None, ..file(b"a", 0, None) },
        Record { content: Some(FileDigest::of(b"")), ..record(b"a", EntryKind::Dir) },
    ];
    let mut bad = |change: &dyn Fn(&mut EntryMeta)| {
        let mut record = file(b"a", 0, None);
        change(&mut record.entry.meta);
        cases.push(record);
    };
    bad(&|meta| meta.mode = 0o10000);
    bad(&|meta| meta.user = Some(Bytes::new()));
    bad(&|meta| meta.group = Some(vec![b'x'; 256].into()));
    for record in cases {
        let mut out = Vec::new();
        assert!(manifest::encode_record(&record, &mut out).is_err(), "{record:?}");
        assert!(out.is_empty());
    }
}

#[test]
fn lines_written_another_way_are_refused() {
    let hash = "0".repeat(64);
    let good = format!("f 0644 0 0 0 6 {hash} stored=5 link=a carried torn b");
    assert!(manifest::decode_record(good.as_bytes()).is_ok());
    for bad in [
        String::new(),
        "d".into(),
        "d 0755 0 0 0".into(),
        "d 0755 0 0 0 a ".into(),
        "d 0755 0 0 0  a".into(),
        "d 0755 0 0 0 a\n".into(),
        "D 0755 0 0 0 a".into(),
        "d 755 0 0 0 a".into(),
        "d 0755 00 0 0 a".into(),
        "d 0755 0: 0 0 a".into(),
        "d 0755 4294967296 0 0 a".into(),
        "d 0755 0 0 0.5 a".into(),
        "d 0755 0 0 0 ../a".into(),
        "d 0755 0 0 0 /a".into(),
        "d 0755 0 0 0 torn carried a".into(),
        "d 0755 0 0 0 carriedly a".into(),
        "d 0755 0 0 0 \\x61".into(),
        "b 0644 0 0 0 8 a".into(),
        "b 0644 0 0 0 8:0:0 a".into(),
        "l 0777 0 0 0 a".into(),
        "p 0777 0 0 0 .".into(),
        good.replace("stored=5", "stored=6"),
        good.replace("stored=5 link=a", "link=a stored=5"),
        good.replace("link=a", "link=c"),
        good.replace("link=a", "link="),
        good.replace(&hash, &hash[1..]),
        good.replace(&hash, &"A".repeat(64)),
    ] {
        assert!(matches!(manifest::decode_record(bad.as_bytes()), Err(ManifestError::Record { .. })), "{bad:?}");
    }
}

#[test]
fn paths_that_look_like_words_are_paths() {
    for name in ["carried", "torn", "link=a", "stored=1", "end"] {
        let mut line = Vec::new();
        let written = file(name.as_bytes(), 1, None);
        manifest::encode_record(&written, &mut line).unwrap();
        let line = line.strip_suffix(b"\n").unwrap();
        assert_eq!(manifest::decode_record(line), Ok(written.clone()), "{name}");
        assert_eq!(manifest::decode_path(line), Ok(written.entry.path), "{name}");
    }
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let interesting = prop::sample::select(&b"ab \\\n.-0\xff\xc3\xa9\x1b="[..]);
    prop::collection::vec(prop_oneof![4 => interesting, 1 => any::<u8>()], 1..8).prop_map(|bytes| {
        let name: Vec<u8> = bytes.into_iter().filter(|&b| b != 0 && b != b'/').collect();
        if matches!(&name[..], b"" | b"." | b"..") { b"x".to_vec() } else { name }
    })
}

fn meta() -> impl Strategy<Value = EntryMeta> {
    let owner = || prop::option::of(prop::collection::vec(any::<u8>(), 1..6).prop_map(Bytes::from));
    (0_u32..0o10000, any::<u32>(), any::<u32>(), owner(), owner(), any::<i64>(), 0_u32..1_000_000_000).prop_map(
        |(mode, uid, gid, user, group, secs, nanos)| EntryMeta {
            mode,
            uid,
            gid,
            user,
            group,
            mtime: Timestamp::new(secs, nanos),
            ..EntryMeta::default()
        },
    )
}

/// Sorted records with parents: from a set of paths, of which those with something below become directories.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let one = (prop::collection::vec(name(), 1..4), meta(), 0_u8..8, any::<[u64; 2]>(), any::<(bool, bool)>());
    prop::collection::vec(one, 0..30).prop_map(|made| {
        let mut made: BTreeMap<RelPath, _> = made
            .into_iter()
            .map(|(parts, meta, kind, lens, marks)| (path(&parts.join(&b'/')), (meta, kind, lens, marks)))
            .collect();
        let parents: BTreeSet<RelPath> =
            made.keys().flat_map(|at| std::iter::successors(at.parent(), RelPath::parent)).collect();
        for parent in &parents {
            made.entry(parent.clone()).or_insert_with(|| (EntryMeta::default(), 0, [0, 0], (false, false))).1 = 0;
        }
        let mut leader = None;
        let build = |(path, (meta, kind, [len, stored], (carried, torn))): (RelPath, (EntryMeta, u8, [u64; 2], _))| {
            let number = DeviceNumber { major: len as u32, minor: stored as u32 };
            let mut content = None;
            let kind = match kind {
                0 => EntryKind::Dir,
                1 => EntryKind::BlockDevice(number),
                2 => EntryKind::CharDevice(number),
                3 => EntryKind::Fifo,
                4 => EntryKind::Socket,
                5 => EntryKind::Symlink(LinkTarget::new(path.as_bytes().to_vec()).unwrap()),
                file => {
                    content = Some(FileDigest { len: stored, hash: ContentHash::of(&len.to_le_bytes()) });
                    let hardlink_to = if file == 7 { leader.clone() } else { None };
                    leader = Some(path.clone());
                    EntryKind::File { len, hardlink_to }
                }
            };
            Record { entry: Entry { path, kind, meta }, content, marks: Marks { carried, torn } }
        };
        made.into_iter().map(build).collect()
    })
}

proptest! {
    #[test]
    fn any_manifest_round_trips_in_any_pieces(records in records(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let info = full_info();
        let text = encode(&info, &records);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]);
        prop_assert_eq!(decode(pieces), (Some(info.clone()), records.clone(), Ok(())));
        prop_assert_eq!(decode(text.chunks(1)), (Some(info), records, Ok(())));
    }

    #[test]
    fn changed_text_never_passes(
        records in records(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4, any::<u8>(), 0_usize..80), 1..4),
    ) {
        let text = encode(&full_info(), &records);
        let mut changed = text.clone();
        for (at, edit, byte, len) in edits {
            let at = at.index(changed.len());
            let end = (at + len).min(changed.len());
            match edit {
                0 => changed[at] = byte,
                1 => changed.insert(at, byte),
                2 => drop(changed.drain(at..end)),
                _ => { let copy = changed[at..end].to_vec(); changed.extend(copy); }
            }
            if changed.is_empty() { changed.push(byte); }
        }
        prop_assume!(changed != text);
        prop_assert!(decode([&changed[..]]).2.is_err());
    }

    #[test]
    fn any_line_that_is_taken_is_written_the_same(line in "[fdlpsbc] 0[0-7]{3} [0-9]{1,2}(:[a-z:]{1,3})? 0 -?[0-9]{1,3}(\\.[0-9]{9})? ([0-9:]{1,3} |[a-c=]{1,4} |carried |torn ){0,3}[a-z./\\\\x0-9]{1,6}") {
        if let Ok(record) = manifest::decode_record(line.as_bytes()) {
            let mut again = Vec::new();
            manifest::encode_record(&record, &mut again).unwrap();
            prop_assert_eq!(again.strip_suffix(b"\n").unwrap(), line.as_bytes());
        }
    }
}
