//! Runs that end too early, and disks that are too small.
#![allow(clippy::print_stderr, clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use clonepanel_core::{
    memory::MemoryTree,
    problem::{Problem, ProblemKind, Problems},
    store::{NewSnapshot, Seal, SnapshotState, SnapshotStore as _, StoreError},
    testkit::{block_on, differences, path},
    tree::{TreeError, Want},
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

fn give_up(writer: Box<dyn clonepanel_core::store::SnapshotWriter>) {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(writer.abort())).unwrap();
}

#[test]
fn a_leftover_that_is_not_whole_stops_no_run() {
    block_on(async {
        for missing in ["tree", "tmp", "journal", "source"] {
            let kept = Kept::new();
            interrupted(&kept, give_up).await;
            let staging = kept.root().join(".clonepanel/staging");
            let folder = fs::read_dir(&staging).unwrap().next().unwrap().unwrap().path();
            let gone = folder.join(missing);
            if gone.is_dir() {
                fs::remove_dir_all(&gone).unwrap();
            } else {
                fs::remove_file(&gone).unwrap();
            }
            let now = tree(&[("small", &[b'x'; 5000])]);
            let info = kept.back_up_as("site", &now, 2).await;
            let info = info.unwrap_or_else(|error| panic!("without {missing}: {error}"));
            assert_eq!(differences(&kept.tree(&info.id).await, &now), Vec::<String>::new(), "{missing}");
            // One without an owner might be in the making.
            assert_eq!(staged(&kept), usize::from(missing == "source"), "{missing}");
        }
    });
}

#[test]
fn an_older_leftover_is_used_where_the_newest_is_of_no_use() {
    block_on(async {
        let kept = Kept::new();
        interrupted(&kept, give_up).await;
        let staging = kept.root().join(".clonepanel/staging");
        let folder = fs::read_dir(&staging).unwrap().next().unwrap().unwrap().path();
        // As if its run had been killed just after its tree was published.
        let published = staging.join("published");
        fs::create_dir_all(published.join("tmp")).unwrap();
        for name in ["source", "journal"] {
            let text = fs::read(folder.join(name)).unwrap();
            fs::write(published.join(name), if name == "source" { text } else { text.repeat(2) }).unwrap();
        }
        let writer = kept.begin(2).await;
        offer_files(&*writer).await;
        assert_eq!(ask(&*writer, &file("small", 5000)).await, Asked::No);
        assert_eq!(staged(&kept), 2, "the older leftover and the new run");
    });
}

#[test]
fn what_cannot_be_removed_stops_no_run() {
    if !may_mount("what_cannot_be_removed_stops_no_run") {
        return;
    }
    block_on(async {
        let kept = Kept::new();
        let now = tree(&[("a", &long(b'a'))]);
        let first = kept.back_up(&now, 1).await.id;
        interrupted(&kept, give_up).await;
        let staging = kept.root().join(".clonepanel/staging");
        let folder = fs::read_dir(&staging).unwrap().next().unwrap().unwrap().path();
        fs::remove_dir_all(folder.join("tree")).unwrap();
        fs::create_dir(folder.join("held")).unwrap();
        // A place where a file system is mounted cannot be removed.
        let trash = kept.root().join(".clonepanel/trash/held");
        fs::create_dir(&trash).unwrap();
        // What is to be done besides is done nevertheless.
        let due = kept.root().join(".clonepanel/due/0123456789abcdef");
        fs::write(&due, "no manifest").unwrap();
        let mounts = [Mounted::at(&folder.join("held"), "size=1m"), Mounted::at(&trash, "size=1m")];
        let result = kept.back_up_as("site", &now, 2).await;
        let deleted = kept.store.delete(&first).await;
        for mount in mounts {
            mount.unmount();
        }
        assert_eq!(result.unwrap().state(), SnapshotState::Complete);
        deleted.unwrap();
        assert!(!due.exists());
        kept.back_up(&now, 3).await;
        assert_eq!(staged(&kept), 0);
        assert_eq!(fs::read_dir(kept.root().join(".clonepanel/trash")).unwrap().count(), 0);
    });
}

#[test]
fn what_cannot_be_kept_for_a_sweep_is_swept_at_once() {
    if !may_mount("what_cannot_be_kept_for_a_sweep_is_swept_at_once") {
        return;
    }
    block_on(async {
        let mut kept = Kept::new();
        // Nothing can be moved to another file system.
        let mount = Mounted::at(&kept.root().join(".clonepanel/due"), "size=1m");
        kept.reopen();
        let first = kept.back_up(&tree(&[("a", &long(b'a'))]), 1).await.id;
        kept.back_up(&tree(&[("b", &long(b'b'))]), 2).await;
        kept.store.delete(&first).await.unwrap();
        let indexed = walkdir::WalkDir::new(kept.root().join(".clonepanel/content")).into_iter();
        let indexed = indexed.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_type().is_file())).count();
        // The store's own handle of the folder would keep it busy.
        kept.store = Kept::new().store;
        mount.unmount();
        assert_eq!(indexed, 1, "the content of the one that is left");
    });
}

/// A stored file whose bytes the disk does not give back.
#[test]
fn a_stored_file_that_cannot_be_read_fails_no_run() {
    if !may_mount("a_stored_file_that_cannot_be_read_fails_no_run") {
        return;
    }
    block_on(async {
        let kept = Kept::new();
        let now = tree(&[("a", &long(b'a')), ("small", b"tiny"), ("odd", b"odd")]);
        let first = kept.back_up(&now, 1).await.id;
        let small = kept.file(&first, "small");
        // The first page of a process has nothing in it: reading it is an error of input and output.
        let mem = format!("/proc/{}/mem", std::process::id());
        assert!(Command::new("mount").args(["--bind", &mem]).arg(&small).status().unwrap().success());
        assert_eq!(fs::read(&small).unwrap_err().raw_os_error(), Some(5));
        fs::remove_file(kept.file(&first, "odd")).unwrap();
        fs::create_dir(kept.file(&first, "odd")).unwrap();

        // Both have to be carried forward, as the source does not give them either.
        let writer = kept.begin(2).await;
        offer_files(&*writer).await;
        let mut problems = Problems::new();
        for name in ["odd", "small"] {
            ask(&*writer, &file(name, 7)).await;
            problems.push(Problem::new(path("files").join(&path(name)).unwrap(), ProblemKind::Unreadable, "denied"));
        }
        assert_eq!(ask(&*writer, &file("a", 5000)).await, Asked::No);
        let second = writer.commit(Seal::new(day(2)).problems(problems)).await;
        assert!(Command::new("umount").arg(&small).status().unwrap().success());
        let second = second.unwrap();
        assert_eq!(second.state(), SnapshotState::Partial);
        assert_eq!(kept.content_of(&second.id, "a"), long(b'a'));
        assert!(!kept.file(&second.id, "small").exists() && !kept.file(&second.id, "odd").exists());
        // The next run asks for them.
        let third = kept.back_up(&now, 3).await;
        assert_eq!(third.state(), SnapshotState::Complete);
        assert_eq!(differences(&kept.tree(&third.id).await, &now), Vec::<String>::new());
    });
}

#[test]
fn what_a_copy_left_is_nothing_for_a_backup() {
    block_on(async {
        let (from, kept) = (Kept::new(), Kept::new());
        let info = from.back_up(&tree(&[("a", &long(b'a')), ("b", &long(b'b'))]), 1).await;
        let reader = from.store.open(&info.id).await.unwrap();
        // Offered everything, a copy wants so much; then it ends.
        let mut wanted = Vec::new();
        for _ in 0..2 {
            let writer = kept.store.begin(NewSnapshot::copy_of(info.clone(), day(2))).await.unwrap();
            let mut records = reader.records().await.unwrap();
            let mut asked = Vec::new();
            while let Some(record) = records.next().await.unwrap() {
                if let Want::Data { .. } = writer.offer_kept(&record).await.unwrap() {
                    asked.push(record.entry);
                }
            }
            if wanted.is_empty() {
                send(&*writer, &asked[0], &long(b'a')).await;
            }
            wanted.push(asked.len());
            writer.abort().await.unwrap();
        }
        assert_eq!(wanted, [2, 1], "another try of the copy goes on");
        let writer = kept.begin(3).await;
        offer_files(&*writer).await;
        assert_eq!(ask(&*writer, &file("a", 5000)).await, Asked::Plain, "a backup looks for itself");
    });
}

/// A file system in memory, mounted somewhere in a store. The folder around it may be moved meanwhile.
struct Mounted(fs::File);

impl Mounted {
    fn at(path: &Path, options: &str) -> Self {
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(path).status().unwrap();
        assert!(status.success(), "cannot mount a file system in memory");
        Self(fs::File::open(path).unwrap())
    }

    fn unmount(self) {
        use std::os::fd::AsRawFd as _;
        let at = fs::read_link(format!("/proc/self/fd/{}", self.0.as_raw_fd())).unwrap();
        drop(self);
        assert!(Command::new("umount").arg(at).status().unwrap().success());
    }
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
    let at = |n| NewSnapshot::new(source("site"), day(n));
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
    // Not a name more fits, and nothing says when the store was last looked through.
    fs::remove_file(root.join("store/.clonepanel/swept")).ok();
    let fits = (0..10_000).find(|n| fs::write(root.join(format!("junk{n}")), [0; 4096]).is_err());
    assert!(fits.is_some(), "the disk does not fill up");
    // Deleting works on the full disk, and the next run succeeds unaided.
    store.delete(&first).await.unwrap();
    assert_eq!(fs::read_dir(root.join("store/.clonepanel/trash")).unwrap().count(), 0, "nothing was freed");
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

#[test]
fn a_run_that_reached_the_reserve_leaves_room_for_every_other() {
    if !may_mount("a_run_that_reached_the_reserve_leaves_room_for_every_other") {
        return;
    }
    let few = tree(&[("a", &long(b'a'))]);
    let many = MemoryTree::new();
    for n in 0..400_u32 {
        let content: Vec<u8> = (0..100_000_u32).map(|at| (at.wrapping_mul(n + 7) >> 5) as u8).collect();
        many.put_file(path(&format!("f{n}")), content, old(1)).unwrap();
    }
    block_on(async {
        for next in ["site", "other", "sweep"] {
            let small = Small::mount("size=40m");
            let options = StoreOptions::new().reserve_bytes(16 << 20).reserve_inodes(0);
            let kept = Kept::open(&small.0.path().join("store"), options);
            let result = kept.back_up_as("site", &many, 1).await;
            assert!(
                matches!(&result, Err(StoreError::NoSpace { .. } | StoreError::Tree(TreeError::NoSpace { .. }))),
                "{result:?}"
            );
            assert_eq!(staged(&kept), 1);
            if next == "sweep" {
                kept.store.sweep().await.unwrap();
            } else {
                kept.back_up_as(next, &few, 2).await.unwrap();
            }
            assert_eq!(staged(&kept), 0, "{next}");
        }
    });
}
