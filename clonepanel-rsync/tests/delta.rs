//! Deltas against an older version, and older versions that are not what they were.
#![allow(clippy::unwrap_used)]

mod common;

use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    entry::Entry,
    memory::MemoryTree,
    path::RelPath,
    problem::ProblemKind,
    transport::{PullRequest, TransferReport, TransportError},
    tree::{Basis, FileSink, TreeError, TreeSink, Want},
};
use clonepanel_rsync::{Checksum, Compression, RsyncOptions};
use common::try_pull;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// An older version that can lie: what it gives after `honest` reads is something else, or nothing.
struct Version {
    content: Vec<u8>,
    honest: usize,
    later: Later,
    reads: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Later {
    Different,
    Gone,
}

impl Version {
    fn new(content: Vec<u8>, honest: usize, later: Later) -> Arc<Self> {
        Arc::new(Self { content, honest, later, reads: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Basis for Version {
    fn len(&self) -> u64 {
        self.content.len() as u64
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, TreeError> {
        assert!(len <= 1 << 20, "more than the contract allows");
        let part = self.content[offset as usize..offset as usize + len].to_vec();
        if self.reads.fetch_add(1, Ordering::Relaxed) < self.honest {
            return Ok(part.into());
        }
        match self.later {
            Later::Different => Ok(vec![b'?'; len].into()),
            Later::Gone => Err(TreeError::Damaged { path: RelPath::root() }),
        }
    }
}

/// A tree that gives a basis for the file `f`.
struct WithBasis {
    tree: MemoryTree,
    basis: Arc<Version>,
}

#[async_trait]
impl TreeSink for WithBasis {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        let want = self.tree.offer(entry).await?;
        Ok(match want {
            Want::Data { .. } => Want::Data { basis: Some(Arc::clone(&self.basis) as Arc<dyn Basis>) },
            Want::Nothing => want,
        })
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.tree.file(entry).await
    }
}

fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(len)
    .collect()
}

fn run(
    new: &[u8],
    basis: &Arc<Version>,
    options: RsyncOptions,
) -> (Result<TransferReport, TransportError>, Option<Bytes>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), new).unwrap();
    let sink = WithBasis { tree: MemoryTree::new(), basis: Arc::clone(basis) };
    let report = try_pull(folder.path(), options, &PullRequest::new(), &sink);
    (report, sink.tree.content(&RelPath::try_from("f").unwrap()))
}

const COMPRESSIONS: [Compression; 5] =
    [Compression::Off, Compression::Lz4, Compression::Zlib, Compression::Zlibx, Compression::Zstd];

#[test]
fn only_changes_travel() {
    let old = content(3_000_000, 1);
    let mut new = old.clone();
    new.splice(1_000_000..1_000_010, content(5_000, 2));
    new.truncate(2_900_000);
    new.extend(content(1_000, 3));
    for compression in COMPRESSIONS {
        for checksum in [Checksum::Auto, Checksum::Md5] {
            let basis = Version::new(old.clone(), usize::MAX, Later::Gone);
            let options = RsyncOptions::new().compression(compression).checksum(checksum);
            let (report, got) = run(&new, &basis, options);
            let report = report.unwrap();
            assert!(got.is_some_and(|got| got == new), "{compression:?}");
            assert!(report.literal_bytes < 12_000, "{compression:?}: {report:?}");
            assert_eq!(report.literal_bytes + report.matched_bytes, new.len() as u64);
            // Uncompressed, each of the 1,700 blocks takes four bytes.
            assert!(report.received_bytes < 18_000 && report.sent_bytes < 30_000, "{report:?}");
        }
    }
}

#[test]
fn sizes_around_the_block() {
    for len in [0, 1, 699, 700, 701, 1399, 1400, 489_999, 490_000, 490_001, 1_048_576, 1_048_577] {
        let new = content(len, 9);
        let basis = Version::new(new.clone(), usize::MAX, Later::Gone);
        let (report, got) = run(&new, &basis, RsyncOptions::new());
        assert!(got.is_some_and(|got| got == new), "{len}");
        assert_eq!(report.unwrap().literal_bytes, 0, "{len}");
    }
}

/// The basis changes between the sums and the copy: the check finds it, the second try asks again.
#[test]
fn a_basis_that_changes_is_found_out() {
    let old = content(300_000, 1);
    for compression in COMPRESSIONS {
        // Honest for the first sums only: the first copy is wrong, and so are the sums of the second try, which then match
        // nothing, so that everything travels.
        let basis = Version::new(old.clone(), 1, Later::Different);
        let (report, got) = run(&old, &basis, RsyncOptions::new().compression(compression));
        // Plain zlib cannot go on with bytes that the far end does not have: an error, never a wrong file.
        match report {
            Ok(report) => {
                assert!(report.problems.is_empty(), "{report:?}");
                assert!(got.is_some_and(|got| got == old), "{compression:?}");
                assert!(report.literal_bytes >= old.len() as u64);
            }
            Err(_) => assert_eq!(compression, Compression::Zlib),
        }
    }
}

#[test]
fn a_basis_that_keeps_changing_is_a_problem() {
    /// Honest whenever it is summed, wrong whenever it is copied.
    struct Turncoat(Vec<u8>, AtomicUsize);

    #[async_trait]
    impl Basis for Turncoat {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, TreeError> {
            let is_sum = self.1.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            let part = &self.0[offset as usize..offset as usize + len];
            Ok(if is_sum { part.to_vec().into() } else { vec![b'?'; len].into() })
        }
    }

    struct Sink(MemoryTree, Arc<Turncoat>);

    #[async_trait]
    impl TreeSink for Sink {
        async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
            let is_f = entry.path.as_bytes() == b"f";
            self.0.offer(entry).await.map(|want| match want {
                Want::Data { .. } if is_f => Want::Data { basis: Some(Arc::clone(&self.1) as Arc<dyn Basis>) },
                _ => want,
            })
        }

        async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
            self.0.file(entry).await
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let new = content(50_000, 4);
    std::fs::write(folder.path().join("f"), &new).unwrap();
    std::fs::write(folder.path().join("g"), "").unwrap();
    let sink = Sink(MemoryTree::new(), Arc::new(Turncoat(new, AtomicUsize::new(0))));
    let report = try_pull(folder.path(), RsyncOptions::new(), &PullRequest::new(), &sink).unwrap();
    let kinds: Vec<_> = report.problems.listed().iter().map(|p| (p.path.to_string(), p.kind)).collect();
    assert_eq!(kinds, [("f".to_owned(), ProblemKind::Failed)]);
    assert_ne!(sink.0.content(&RelPath::try_from("f").unwrap()).map(|content| content.len()), Some(50_000));
}

#[test]
fn a_basis_that_goes_away_is_done_without() {
    let old = content(300_000, 1);
    for honest in [0, 1] {
        for compression in COMPRESSIONS {
            let basis = Version::new(old.clone(), honest, Later::Gone);
            let (report, got) = run(&old, &basis, RsyncOptions::new().compression(compression));
            match report {
                Ok(report) => {
                    assert!(report.problems.is_empty(), "{report:?}");
                    assert!(got.is_some_and(|got| got == old), "{compression:?}");
                }
                Err(_) => assert_eq!((compression, honest), (Compression::Zlib, 1)),
            }
        }
    }
}
