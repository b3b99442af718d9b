//! Pulls from the installed rsync, run as a local child process, with every algorithm it has.

use clonepanel_core::{
    memory::MemoryTree,
    observer::{Event, Observer},
    path::RelPath,
    testkit::{differences, generator::Shape, materialise, scan},
    transport::{PullRequest, TransferReport, Transport},
};
use clonepanel_rsync::{ChangeDetection, Checksum, Compression, LocalConnect, RsyncOptions, RsyncTransport};
use std::os::unix::ffi::OsStrExt;

struct Print;

impl Observer for Print {
    fn notice(&self, event: &Event<'_>) {
        if let Event::Message { text } = event {
            println!("far end: {text}");
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn pull(root: &std::path::Path, options: RsyncOptions, request: &PullRequest, into: &MemoryTree) -> TransferReport {
    let transport = RsyncTransport::new(LocalConnect::new(), root.as_os_str().as_bytes()).options(options);
    block_on(transport.pull(request, into, &Print)).unwrap()
}

#[test]
fn random_trees_arrive_exactly() {
    for seed in 0..6 {
        let tree = Shape::new().tree(seed);
        let folder = tempfile::tempdir().unwrap();
        materialise(&tree, folder.path()).unwrap();
        let real = scan(folder.path()).unwrap();
        let got = MemoryTree::new();
        let report = pull(folder.path(), RsyncOptions::new(), &PullRequest::new(), &got);
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        assert_eq!(differences(&real, &got), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn every_algorithm() {
    let tree = Shape::new().tree(77);
    let folder = tempfile::tempdir().unwrap();
    materialise(&tree, folder.path()).unwrap();
    let real = scan(folder.path()).unwrap();
    for compression in [
        Compression::Off,
        Compression::Lz4,
        Compression::Zlib,
        Compression::Zlibx,
        Compression::Zstd,
        Compression::Auto,
    ] {
        for checksum in
            [Checksum::Md5, Checksum::Sha1, Checksum::Xxh64, Checksum::Xxh3, Checksum::Xxh128, Checksum::Auto]
        {
            for detection in [ChangeDetection::Auto, ChangeDetection::SizeAndTime] {
                let options =
                    RsyncOptions::new().compression(compression).checksum(checksum).change_detection(detection);
                let got = MemoryTree::new();
                let report = pull(folder.path(), options, &PullRequest::new(), &got);
                assert!(report.problems.is_empty(), "{:?}", report.problems);
                assert_eq!(differences(&real, &got), Vec::<String>::new(), "{compression:?} {checksum:?}");
            }
        }
    }
}

#[test]
fn only_wanted_paths() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["a/b/c/1", "a/b/d/2", "a/3", "e/4", "5"] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    let path = |text: &str| RelPath::try_from(text).unwrap();
    for detection in [ChangeDetection::Auto, ChangeDetection::SizeAndTime] {
        let got = MemoryTree::new();
        let request = PullRequest::new().paths(vec![path("a/b/c"), path("e"), path("5")]);
        let report = pull(folder.path(), RsyncOptions::new().change_detection(detection), &request, &got);
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let listed: Vec<_> = got.list().iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(listed, [".", "5", "a", "a/b", "a/b/c", "a/b/c/1", "e", "e/4"]);
    }
}
