//! Runs that end too early, and disks that are too small.
#![allow(clippy::print_stderr, clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use clonepanel_core::{
    memory::MemoryTree,
    store::{Seal, SnapshotState, SnapshotStore as _, StoreError},
    testkit::{block_on, differences, path},
    tree::TreeError,
};
use clonepanel_store::{HardLinkStore, StoreOptions};
use common::{Asked, Kept, ask, day, file, long, offer_files, old, send, source, tree};
use std::{fs, path::Path, process::Command};

/// Two files complete, one of several MiB half received; then the run ends.
async fn interrupted(kept: &Kept, how: fn(Box<dyn clonepanel_core::store::SnapshotWriter>)) {
    let writer = kept.begin(1).await;
    offer_files(&*writer).await;
    for (name, len) in [("small", 5000), ("large", 700_000)] {
        let entry = file(name, len);
        if ask(&*writer, &entry).await != Asked::No {
            send(&*writer, &entry, &vec![b'x'; len]).await;
        }
    }
    let entry = file("huge", 6 << 20);
    ask(&*writer, &entry).await;
    let mut sink = writer.file(&entry).await.unwrap();
    for _ in 0..30 {
        sink.write(Bytes::from(vec![b'h'; 100_000])).await.unwrap();
    }
    drop(sink);
    how(writer);
}

fn staged(kept: &Kept) -> usize {
    fs::read_dir(kept.root().join(".clonepanel/staging")).unwrap().count()
}

#[test]
fn the_next_run_goes_on_where_one_gave_up() {
    block_on(async {
        let kept = Kept::new();
        interrupted(&kept, |writer| {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(writer.abort())).unwrap();
        })
        .await;
        assert!(kept.store.list(&source("site")).await.unwrap().is_empty());
        assert_eq!(staged(&kept), 1);

        let writer = kept.begin(2).await;
        offer_files(&*writer).await;
        assert_eq!(ask(&*writer, &file("small", 5000)).await, Asked::No);
        assert_eq!(ask(&*writer, &file("large", 700_000)).await, Asked::No);
        let huge = file("huge", 6 << 20);
        let Asked::Basis(received) = ask(&*writer, &huge).await else { panic!("what was received is a basis") };
        assert!((1 << 20..=3_000_000).contains(&received), "{received}");
        send(&*writer, &huge, &vec![b'h'; 6 << 20]).await;
        let info = writer.commit(Seal::new(day(2))).await.unwrap();
        assert_eq!(info.state(), SnapshotState::Complete);
        assert_eq!(staged(&kept), 0, "nothing is left");
        let back = kept.tree(&info.id).await;
        assert_eq!(back.content(&path("small")).unwrap(), vec![b'x'; 5000]);
        assert_eq!(back.content(&path("huge")).unwrap(), vec![b'h'; 6 << 20]);
        assert_eq!(info.tally.new_bytes, 5000 + 700_000 + (6 << 20));
    });
}

#[test]
fn what_an_interruption_spoiled_is_not_believed() {
    block_on(async {
        let kept = Kept::new();
        interrupted(&kept, |writer| {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(writer.abort())).unwrap();
        })
        .await;
        // Power failed: lengths came to the disk, data did not.
        for entry in walkdir::WalkDir::new(kept.root().join(".clonepanel/staging")) {
            let entry = entry.unwrap();
            if entry.file_name() == "small" {
                fs::write(entry.path(), vec![0; 5000]).unwrap();
            }
        }
        let writer = kept.begin(2).await;
        offer_files(&*writer).await;
        let entry = file("small", 5000);
        assert_eq!(ask(&*writer, &entry).await, Asked::Basis(5000));
        send(&*writer, &entry, &[b'x'; 5000]).await;
        let id = writer.commit(Seal::new(day(2))).await.unwrap().id;
        assert_eq!(kept.content_of(&id, "small"), vec![b'x'; 5000]);
    });
}

#[test]
fn runs_that_are_dropped_pile_nothing_up() {
    block_on(async {
        let kept = Kept::new();
        for _ in 0..4 {
            interrupted(&kept, drop).await;
            assert!(staged(&kept) <= 2, "the one just dropped, and the one it went on from");
        }
        let now = tree(&[("small", &[b'x'; 5000])]);
        let info = kept.back_up(&now, 2).await;
        assert_eq!(differences(&kept.tree(&info.id).await, &now), Vec::<String>::new());
        assert_eq!(staged(&kept), 0);
    });
}

/// A small file system of its own in memory; needs the right to mount.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(dir.path()).status().unwrap();
        assert!(mounted.success(), "cannot mount a file system in memory");
        Self(dir)
    }

    fn store(&self) -> HardLinkStore {
        let options = StoreOptions::new().reserve_bytes(0).reserve_inodes(0);
        HardLinkStore::with_options(self.0.path().join("store"), options).unwrap()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn may_mount(test: &str) -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        eprintln!("{test}: not run, as only the superuser can mount a small file system");
    }
    may
}

async fn fill_up(root: &Path, store: HardLinkStore, many: &MemoryTree) {
    let few = tree(&[("a", &long(b'a')), ("b", &long(b'b'))]);
    let at = |n| clonepanel_core::store::NewSnapshot::new(source("site"), day(n));
    let run = async |tree: &MemoryTree, n| -> Result<clonepanel_core::store::SnapshotInfo, StoreError> {
        let writer = store.begin(at(n)).await?;
        let sink = clonepanel_core::tree::Under::new(path("files"), &*writer);
        if let Err(error) = clonepanel_core::tree::copy(tree, &sink, &()).await {
            writer.abort().await?;
            return Err(TreeError::from(error).into());
        }
        writer.commit(Seal::new(day(n))).await
    };
    let first = run(&few, 1).await.unwrap().id;
    let before = common::freeze(&root.join("store/site").join(first.stem()));
    let result = run(many, 2).await;
    assert!(
        matches!(&result, Err(StoreError::NoSpace { .. } | StoreError::Tree(TreeError::NoSpace { .. }))),
        "{result:?}"
    );
    assert_eq!(common::freeze(&root.join("store/site").join(first.stem())), before);
    let list = store.list(&source("site")).await.unwrap();
    assert_eq!(list.iter().map(|info| &info.id).collect::<Vec<_>>(), [&first]);
    // Deleting works on the full disk, and the next run succeeds unaided.
    store.delete(&first).await.unwrap();
    let third = run(&few, 3).await.unwrap();
    assert_eq!(third.state(), SnapshotState::Complete);
    let reader = store.open(&third.id).await.unwrap();
    let back =
        clonepanel_core::testkit::read_tree(&clonepanel_core::tree::Under::new(path("files"), reader)).await.unwrap();
    assert_eq!(differences(&back, &few), Vec::<String>::new());
}

#[test]
fn a_full_disk_harms_nothing() {
    if may_mount("a_full_disk_harms_nothing") {
        let small = Small::mount("size=6m");
        let many = MemoryTree::new();
        for n in 0..200_u32 {
            let content: Vec<u8> = (0..50_000_u32).map(|at| (at.wrapping_mul(n + 7) >> 5) as u8).collect();
            many.put_file(path(&format!("f{n}")), content, old(1)).unwrap();
        }
        block_on(fill_up(small.0.path(), small.store(), &many));
    }
}

#[test]
fn a_disk_without_inodes_harms_nothing() {
    if may_mount("a_disk_without_inodes_harms_nothing") {
        let small = Small::mount("size=50m,nr_inodes=120");
        let many = MemoryTree::new();
        for n in 0..300_u32 {
            many.put_file(path(&format!("f{n}")), format!("{n}").repeat(100), old(1)).unwrap();
        }
        block_on(fill_up(small.0.path(), small.store(), &many));
    }
}
