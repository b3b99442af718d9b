//! What goes wrong with stores made of hard links, and does not go wrong with this one.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use clonepanel_core::{
    entry::{Entry, EntryKind, Freshness, LinkTarget},
    memory::MemoryTree,
    problem::{Problem, ProblemKind, Problems},
    store::{NewSnapshot, Seal, Slice, SnapshotState, SnapshotStore as _, StoreError},
    testkit::{differences, path},
    tree::{TreeError, TreeSink as _, TreeSource as _, Want},
};
use clonepanel_store::{HardLinkStore, StoreOptions};
use common::{Asked, Kept, ask, basis_content, day, file, long, offer_files, old, send, source, tree};
use std::{
    fs,
    io::{Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

#[tokio::test]
async fn a_new_mode_leaves_the_older_file_as_it_was() {
    let kept = Kept::new();
    let now = tree(&[("a", &long(b'a'))]);
    let first = kept.back_up(&now, 1).await.id;
    let before = kept.frozen(&first);
    let mut meta = now.entry(&path("a")).unwrap().meta;
    meta.mode = 0o600;
    now.set_meta(&path("a"), &meta).unwrap();
    let second = kept.back_up(&now, 2).await;
    assert_eq!(kept.frozen(&first), before);
    assert_eq!(second.tally.unchanged_files, 1, "no content was asked for");
    assert_eq!(kept.stat(&second.id, "a").permissions().mode() & 0o7777, 0o600);
    assert_eq!(kept.content_of(&second.id, "a"), long(b'a'));
    // And back again: both versions are in the content index now, so nothing is stored.
    meta.mode = 0o644;
    now.set_meta(&path("a"), &meta).unwrap();
    let third = kept.back_up(&now, 3).await;
    assert_eq!(third.tally.new_bytes, 0);
    assert_eq!(kept.stat(&third.id, "a").ino(), kept.stat(&first, "a").ino());
}

#[tokio::test]
async fn a_touch_costs_no_data() {
    let kept = Kept::new();
    let now = tree(&[("a", &long(b'a')), ("small", b"s")]);
    let first = kept.back_up(&now, 1).await.id;
    now.write(&path("a"), long(b'a'), old(50)).unwrap();
    now.write(&path("small"), "s", old(50)).unwrap();
    let second = kept.back_up(&now, 2).await;
    assert_eq!(second.tally.new_bytes, 0);
    for name in ["a", "small"] {
        assert_eq!(kept.stat(&first, name).ino(), kept.stat(&second.id, name).ino());
    }
    assert_eq!(differences(&kept.tree(&second.id).await, &now), Vec::<String>::new(), "the manifest has the new time");
}

#[tokio::test]
async fn what_was_changed_in_place_is_found() {
    let kept = Kept::new();
    let id = kept.back_up(&tree(&[("same", &long(b'a')), ("longer", &long(b'b'))]), 1).await.id;
    let mut stored = fs::OpenOptions::new().write(true).open(kept.file(&id, "same")).unwrap();
    stored.seek(std::io::SeekFrom::Start(4000)).unwrap();
    stored.write_all(b"evil").unwrap();
    fs::OpenOptions::new().append(true).open(kept.file(&id, "longer")).unwrap().write_all(b"x").unwrap();
    let reader = kept.store.open(&id).await.unwrap();
    let mut stream = reader.open(&path("files/same")).await.unwrap();
    let mut result = stream.read().await;
    while let Ok(Some(_)) = result {
        result = stream.read().await;
    }
    assert!(matches!(result, Err(TreeError::Damaged { .. })), "{result:?}");
    assert!(matches!(reader.open(&path("files/longer")).await, Err(TreeError::Damaged { .. })));
}

#[tokio::test]
async fn an_audit_does_not_link_what_is_damaged() {
    let kept = Kept::new();
    let now = tree(&[("a", &long(b'a'))]);
    let first = kept.back_up(&now, 1).await.id;
    fs::OpenOptions::new().write(true).open(kept.file(&first, "a")).unwrap().write_all(b"evil").unwrap();

    let all = Slice::new(0, 1).unwrap();
    let writer = kept.store.begin(NewSnapshot::new(source("site"), day(2)).audit(all)).await.unwrap();
    offer_files(&*writer).await;
    let entry = file("a", 5000);
    assert_eq!(ask(&*writer, &entry).await, Asked::Basis(5000));
    send(&*writer, &entry, &long(b'a')).await;
    let second = writer.commit(Seal::new(day(2))).await.unwrap();
    assert_eq!(kept.content_of(&second.id, "a"), long(b'a'));
    // The content index was healed too.
    let third = kept.back_up(&tree(&[("elsewhere", &long(b'a'))]), 3).await;
    assert_eq!(kept.content_of(&third.id, "elsewhere"), long(b'a'));
    assert_eq!(third.tally.new_bytes, 0);
}

#[tokio::test]
async fn what_is_known_to_be_damaged_is_not_carried_forward() {
    let kept = Kept::new();
    let now = tree(&[("a", &long(b'a')), ("b", &long(b'b'))]);
    let first = kept.back_up(&now, 1).await.id;
    fs::OpenOptions::new().write(true).open(kept.file(&first, "a")).unwrap().write_all(b"evil").unwrap();
    kept.store.open(&first).await.unwrap().distrust(&path("files/a")).await.unwrap();

    // The source has it and cannot give it, though it is asked.
    let writer = kept.begin(2).await;
    offer_files(&*writer).await;
    assert_eq!(ask(&*writer, &file("a", 5000)).await, Asked::Basis(5000));
    assert_eq!(ask(&*writer, &file("b", 5000)).await, Asked::No);
    let mut problems = Problems::new();
    problems.push(Problem::new(path("files/a"), ProblemKind::Unreadable, "permission denied"));
    let second = writer.commit(Seal::new(day(2)).problems(problems)).await.unwrap();
    assert_eq!(second.state(), SnapshotState::Partial);
    assert!(second.problems.listed().iter().any(|problem| problem.detail().contains("damaged")), "{second:?}");
    assert!(!kept.file(&second.id, "a").exists());
    assert_eq!(kept.content_of(&second.id, "b"), long(b'b'));
    // As soon as it can be read it is there again.
    let third = kept.back_up(&now, 3).await;
    assert_eq!(kept.content_of(&third.id, "a"), long(b'a'));
}

#[tokio::test]
async fn a_full_inode_gets_a_successor() {
    let kept = Kept::with(StoreOptions::new().link_cap(3));
    let content = long(b'x');
    let files: Vec<_> = (0..7).map(|n| format!("f{n}")).collect();
    let now = tree(&files.iter().map(|name| (&**name, &content[..])).collect::<Vec<_>>());
    for n in 1..=4 {
        let info = kept.back_up(&now, n).await;
        assert_eq!(info.state(), SnapshotState::Complete);
        for name in &files {
            assert!(kept.stat(&info.id, name).nlink() <= 3);
        }
        assert_eq!(differences(&kept.tree(&info.id).await, &now), Vec::<String>::new());
    }
}

#[tokio::test]
async fn store_links_are_not_source_links() {
    let kept = Kept::new();
    let now = tree(&[("a", &long(b'x')), ("b", &long(b'x')), ("leader", &long(b'y'))]);
    let mut member = now.entry(&path("leader")).unwrap();
    member.path = path("member");
    member.kind = EntryKind::File { len: 5000, hardlink_to: Some(path("leader")) };
    now.put(&member, Bytes::new()).unwrap();
    let info = kept.back_up(&now, 1).await;
    assert_eq!(kept.stat(&info.id, "a").ino(), kept.stat(&info.id, "b").ino(), "stored once");
    let back = kept.tree(&info.id).await;
    let group = |name| match back.entry(&path(name)).unwrap().kind {
        EntryKind::File { hardlink_to, .. } => hardlink_to,
        _ => None,
    };
    assert_eq!((group("a"), group("b"), group("leader")), (None, None, None));
    assert_eq!(group("member"), Some(path("leader")));
}

#[tokio::test]
async fn the_first_listed_name_of_a_group_need_not_sort_first() {
    let kept = Kept::new();
    let writer = kept.begin(1).await;
    offer_files(&*writer).await;
    let leader = file("z", 5000);
    assert_eq!(ask(&*writer, &leader).await, Asked::Plain);
    let mut member = file("a", 5000);
    member.kind = EntryKind::File { len: 5000, hardlink_to: Some(path("files/z")) };
    assert_eq!(ask(&*writer, &member).await, Asked::No);
    send(&*writer, &leader, &long(b'g')).await;
    let id = writer.commit(Seal::new(day(1))).await.unwrap().id;
    let back = kept.tree(&id).await;
    let z = back.entry(&path("z")).unwrap();
    assert_eq!(z.kind, EntryKind::File { len: 5000, hardlink_to: Some(path("a")) });
    assert_eq!(back.content(&path("z")).unwrap(), long(b'g'));
    // The next run finds both unchanged.
    let writer = kept.begin(2).await;
    offer_files(&*writer).await;
    assert_eq!(ask(&*writer, &leader).await, Asked::No);
    assert_eq!(ask(&*writer, &member).await, Asked::No);
    assert_eq!(writer.tally().unchanged_files, 2);
}

#[tokio::test]
async fn a_moved_file_is_compared_with_where_it_was() {
    let kept = Kept::new();
    kept.back_up(&tree(&[("old/logo.png", &long(b'p'))]), 1).await;
    let writer = kept.begin(2).await;
    offer_files(&*writer).await;
    assert_eq!(ask(&*writer, &Entry::dir(path("files/new"))).await, Asked::No);
    let entry = file("new/logo.png", 5000);
    let Want::Data { basis: Some(basis) } = writer.offer(&entry).await.unwrap() else { panic!("a basis is known") };
    assert_eq!(basis_content(&basis).await, long(b'p'));
    send(&*writer, &entry, &long(b'p')).await;
    let info = writer.commit(Seal::new(day(2))).await.unwrap();
    assert_eq!(info.tally.new_bytes, 0);
}

#[tokio::test]
async fn the_same_program_on_many_sites_is_compared_with_the_first() {
    let kept = Kept::new();
    let writer = kept.begin(1).await;
    offer_files(&*writer).await;
    for dir in ["files/one", "files/two"] {
        assert_eq!(ask(&*writer, &Entry::dir(path(dir))).await, Asked::No);
    }
    let [one, two] = ["one/wp.php", "two/wp.php"].map(|name| file(name, 300_000));
    assert_eq!(ask(&*writer, &one).await, Asked::Plain);
    send(&*writer, &one, &vec![b'w'; 300_000]).await;
    // It is written behind; a second content for an entry waits until everything is on its place.
    let other = file("one/other", 1000);
    assert_eq!(ask(&*writer, &other).await, Asked::Plain);
    for content in [b'1', b'2'] {
        send(&*writer, &other, &[content; 1000]).await;
    }
    let Want::Data { basis: Some(basis) } = writer.offer(&two).await.unwrap() else { panic!("a basis is known") };
    assert_eq!(basis_content(&basis).await, vec![b'w'; 300_000]);
    send(&*writer, &two, &vec![b'w'; 300_000]).await;
    let info = writer.commit(Seal::new(day(1))).await.unwrap();
    assert_eq!(info.tally.new_bytes, 301_000);
}

#[tokio::test]
async fn equal_size_and_time_are_not_always_believed() {
    let kept = Kept::new();
    let files: Vec<(&str, Vec<u8>)> = vec![("settled", long(b's')), ("touched", long(b't')), ("young", long(b'y'))];
    let now = tree(&files.iter().map(|(name, content)| (*name, &content[..])).collect::<Vec<_>>());
    let young = clonepanel_core::time::Timestamp::from_secs(day(1).secs() - 1);
    now.write(&path("young"), long(b'y'), young).unwrap();
    kept.back_up(&now, 1).await;

    let writer = kept.begin(2).await;
    offer_files(&*writer).await;
    assert_eq!(ask(&*writer, &file("settled", 5000)).await, Asked::No);
    let mut touched = file("touched", 5000);
    touched.meta.freshness = Freshness::Touched;
    assert_eq!(ask(&*writer, &touched).await, Asked::Basis(5000), "its change time moved");
    let mut entry = file("young", 5000);
    entry.meta.mtime = young;
    assert_eq!(ask(&*writer, &entry).await, Asked::Basis(5000), "it changed while the scan began");
    drop(writer);

    let all = Slice::new(0, 1).unwrap();
    let writer = kept.store.begin(NewSnapshot::new(source("site"), day(3)).audit(all)).await.unwrap();
    offer_files(&*writer).await;
    assert_eq!(ask(&*writer, &file("settled", 5000)).await, Asked::Basis(5000), "it is its turn to be compared");
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_kept_marked_and_asked_for_again() {
    let kept = Kept::new();
    let writer = kept.begin(1).await;
    offer_files(&*writer).await;
    let entry = file("log", 5000);
    assert_eq!(ask(&*writer, &entry).await, Asked::Plain);
    send(&*writer, &entry, &vec![b'l'; 6000]).await;
    let info = writer.commit(Seal::new(day(1))).await.unwrap();
    assert_eq!(info.state(), SnapshotState::Complete);
    assert_eq!(info.problems.listed().iter().map(|problem| problem.kind).collect::<Vec<_>>(), [ProblemKind::Changed]);
    let record = kept.store.open(&info.id).await.unwrap().record(&path("files/log")).await.unwrap().unwrap();
    assert!(record.marks.torn);
    assert_eq!((record.entry.len(), record.content.unwrap().len), (Some(6000), 6000));

    let writer = kept.begin(2).await;
    offer_files(&*writer).await;
    assert_eq!(ask(&*writer, &file("log", 6000)).await, Asked::Basis(6000));
}

#[tokio::test]
async fn the_plain_tree_is_what_ls_and_cp_expect() {
    let kept = Kept::new();
    let now = tree(&[("dir/setuid", &long(b'u')), ("dir/none", b"n")]);
    for (name, mode) in [("dir/setuid", 0o4755), ("dir/none", 0o000), ("dir", 0o2555)] {
        let mut meta = now.entry(&path(name)).unwrap().meta;
        (meta.mode, meta.mtime) = (mode, old(77));
        now.set_meta(&path(name), &meta).unwrap();
    }
    for (name, target) in [("inside", "dir/none"), ("outside", "../../../etc/passwd"), ("absolute", "/etc/passwd")] {
        let mut entry = Entry::dir(path(name));
        entry.kind = EntryKind::Symlink(LinkTarget::new(target).unwrap());
        entry.meta.mtime = old(5);
        now.put(&entry, Bytes::new()).unwrap();
    }
    let mut pipe = Entry::dir(path("pipe"));
    pipe.kind = EntryKind::Fifo;
    now.put(&pipe, Bytes::new()).unwrap();
    let id = kept.back_up(&now, 1).await.id;

    assert_eq!(kept.stat(&id, "dir/setuid").mode() & 0o7777, 0o755);
    assert_eq!(kept.stat(&id, "dir/none").mode() & 0o7777, 0o400, "the store must be able to read it");
    assert_eq!(kept.stat(&id, "dir").mode() & 0o7777, 0o755, "the store must be able to get in");
    assert_eq!(kept.stat(&id, "dir").mtime(), old(77).secs());
    assert_eq!(kept.stat(&id, "dir/setuid").mtime_nsec(), 123_456_789);
    assert_eq!(fs::read_link(kept.file(&id, "inside")).unwrap().to_str(), Some("dir/none"));
    assert_eq!(kept.stat(&id, "inside").mtime(), old(5).secs());
    for name in ["outside", "absolute", "pipe"] {
        assert!(fs::symlink_metadata(kept.file(&id, name)).is_err(), "{name} is in the manifest only");
    }
    assert_eq!(differences(&kept.tree(&id).await, &now), Vec::<String>::new());
}

#[tokio::test]
async fn names_that_the_store_needs_itself_are_not_lost() {
    let kept = Kept::new();
    let writer = kept.begin(1).await;
    for dir in ["overflow", "overflow/deeper"] {
        assert_eq!(ask(&*writer, &Entry::dir(path(dir))).await, Asked::No);
    }
    for name in ["manifest", "overflow/deeper/file"] {
        let entry = Entry::file(path(name), 5000, old(1));
        assert_eq!(ask(&*writer, &entry).await, Asked::Plain);
        send(&*writer, &entry, name.repeat(5000).as_bytes().get(..5000).unwrap()).await;
    }
    let id = writer.commit(Seal::new(day(1))).await.unwrap().id;
    let back = clonepanel_core::testkit::read_tree(&kept.store.open(&id).await.unwrap()).await.unwrap();
    for name in ["manifest", "overflow/deeper/file"] {
        assert_eq!(back.content(&path(name)).unwrap(), name.repeat(5000).as_bytes().get(..5000).unwrap());
    }
    let writer = kept.begin(2).await;
    assert_eq!(ask(&*writer, &Entry::file(path("manifest"), 5000, old(1))).await, Asked::No);
    let id = writer.commit(Seal::new(day(2))).await.unwrap().id;
    assert!(kept.store.open(&id).await.unwrap().open(&path("manifest")).await.is_ok());
}

#[tokio::test]
async fn links_in_the_store_lead_nowhere() {
    let kept = Kept::new();
    let id = kept.back_up(&tree(&[("dir/file", &long(b'f')), ("top", &long(b't'))]), 1).await.id;
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), long(b'f')).unwrap();
    fs::remove_file(kept.file(&id, "top")).unwrap();
    symlink(outside.path().join("file"), kept.file(&id, "top")).unwrap();
    fs::remove_dir_all(kept.file(&id, "dir")).unwrap();
    symlink(outside.path(), kept.file(&id, "dir")).unwrap();
    let reader = kept.store.open(&id).await.unwrap();
    for name in ["files/top", "files/dir/file"] {
        assert!(matches!(reader.open(&path(name)).await, Err(TreeError::Damaged { .. })), "{name}");
    }
    kept.store.delete(&id).await.unwrap();
    assert!(outside.path().join("file").exists());
}

#[tokio::test]
async fn a_lost_stored_file_does_not_stop_the_next_run() {
    let kept = Kept::new();
    let now = tree(&[("a", &long(b'a')), ("small", b"tiny")]);
    let first = kept.back_up(&now, 1).await.id;
    fs::remove_file(kept.file(&first, "a")).unwrap();
    fs::remove_file(kept.file(&first, "small")).unwrap();
    let second = kept.back_up(&now, 2).await;
    assert_eq!(kept.content_of(&second.id, "a"), long(b'a'), "the content index still had it");
    assert_eq!(second.state(), SnapshotState::Partial);
    assert_eq!(second.problems.listed().iter().map(|p| p.path.clone()).collect::<Vec<_>>(), [path("files/small")]);
    let third = kept.back_up(&now, 3).await;
    assert_eq!(third.state(), SnapshotState::Complete);
    assert_eq!(differences(&kept.tree(&third.id).await, &now), Vec::<String>::new());
}

#[tokio::test]
async fn a_stored_file_of_another_length_is_not_linked_again() {
    let kept = Kept::new();
    let now = tree(&[("a", &long(b'a')), ("small", b"tiny")]);
    let first = kept.back_up(&now, 1).await.id;
    for name in ["a", "small"] {
        fs::OpenOptions::new().write(true).open(kept.file(&first, name)).unwrap().set_len(2).unwrap();
    }
    let second = kept.back_up(&now, 2).await;
    assert_eq!(second.state(), SnapshotState::Partial);
    let lost: Vec<_> = second.problems.listed().iter().map(|problem| problem.path.clone()).collect();
    assert_eq!(lost, [path("files/a"), path("files/small")]);
    let third = kept.back_up(&now, 3).await;
    assert_eq!(third.state(), SnapshotState::Complete);
    assert_eq!(differences(&kept.tree(&third.id).await, &now), Vec::<String>::new());
}

#[tokio::test]
async fn a_snapshot_may_be_deleted_while_it_is_read() {
    let kept = Kept::new();
    let now = tree(&[("a", &long(b'a')), ("b", b"short")]);
    let first = kept.back_up(&now, 1).await.id;
    let reader = kept.store.open(&first).await.unwrap();
    kept.store.delete(&first).await.unwrap();
    assert!(kept.store.list(&source("site")).await.unwrap().is_empty());
    assert!(matches!(kept.store.open(&first).await, Err(StoreError::NotFound { .. })));
    let back = clonepanel_core::testkit::read_tree(&clonepanel_core::tree::Under::new(path("files"), reader)).await;
    assert_eq!(differences(&back.unwrap(), &now), Vec::<String>::new());
    // What the deletion had to leave is removed by the next run.
    kept.back_up(&MemoryTree::new(), 9).await;
    assert_eq!(fs::read_dir(kept.root().join(".clonepanel/trash")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_people_put_into_the_root_is_no_source() {
    let kept = Kept::new();
    let id = kept.back_up(&tree(&[("a", b"a")]), 1).await.id;
    fs::write(kept.root().join("notes"), "x").unwrap();
    symlink("site", kept.root().join("alias")).unwrap();
    assert_eq!(kept.store.sources().await.unwrap(), [id.source().clone()]);
}

#[tokio::test]
async fn a_spare_name_of_a_killed_run_is_swept() {
    let kept = Kept::new();
    let id = kept.back_up(&tree(&[("a", &long(b'a'))]), 1).await.id;
    let content = kept.root().join(".clonepanel/content");
    fs::hard_link(kept.file(&id, "a"), content.join("new-1-0")).unwrap();
    kept.store.delete(&id).await.unwrap();
    kept.store.sweep().await.unwrap();
    let left = walkdir::WalkDir::new(content).into_iter().filter(|entry| entry.as_ref().unwrap().file_type().is_file());
    assert_eq!(left.count(), 0);
}

/// The names in the content index.
fn indexed(kept: &Kept) -> usize {
    let all = walkdir::WalkDir::new(kept.root().join(".clonepanel/content"));
    all.into_iter().filter(|entry| entry.as_ref().unwrap().file_type().is_file()).count()
}

#[tokio::test]
async fn a_deletion_sweeps_what_only_the_deleted_one_had() {
    let kept = Kept::new();
    let (a, b, c) = (long(b'a'), long(b'b'), long(b'c'));
    // `b` has two names in the first one.
    let first = tree(&[("a", &a), ("b", &b), ("sub/b", &b), ("other", &long(b'o'))]);
    let first = kept.back_up(&first, 1).await.id;
    let second = kept.back_up(&tree(&[("a", &a), ("c", &c)]), 2).await.id;
    assert_eq!(indexed(&kept), 4);
    // Some other content that nobody has: a deletion does not look there.
    let foreign = kept.root().join(".clonepanel/content/ff");
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("f".repeat(64)), long(b'x')).unwrap();
    kept.store.delete(&first).await.unwrap();
    assert_eq!(indexed(&kept), 3, "a, c and the foreign one");
    assert_eq!(kept.content_of(&second, "a"), a);

    // Cut short after the trash was emptied, or before: the next one makes up for it.
    let third = kept.back_up(&tree(&[("a", &a), ("d", &long(b'd'))]), 3).await.id;
    let fourth = kept.back_up(&tree(&[("a", &a), ("e", &long(b'e'))]), 4).await.id;
    let own = kept.root().join(".clonepanel");
    fs::rename(kept.at(&third).join("manifest"), own.join("due/gone")).unwrap();
    fs::remove_dir_all(kept.at(&third)).unwrap();
    fs::rename(kept.at(&fourth).join("manifest"), own.join("due/half")).unwrap();
    fs::remove_file(kept.file(&fourth, "e")).unwrap();
    fs::rename(kept.at(&fourth), own.join("trash/half")).unwrap();
    let fifth = kept.back_up(&tree(&[("a", &a)]), 5).await.id;
    assert_eq!(indexed(&kept), 4, "a, c, d and the foreign one: the run emptied the trash");
    kept.store.delete(&second).await.unwrap();
    assert_eq!(indexed(&kept), 2, "a and the foreign one");
    assert_eq!(fs::read_dir(own.join("due")).unwrap().count(), 0);
    assert_eq!(kept.content_of(&fifth, "a"), a);

    // A week later, everything is looked at.
    let week = filetime::FileTime::from_unix_time(1_600_000_000, 0);
    filetime::set_file_mtime(own.join("swept"), week).unwrap();
    kept.store.delete(&fifth).await.unwrap();
    assert_eq!(indexed(&kept), 0);
}

#[tokio::test]
async fn latest_leads_to_the_newest_complete_snapshot() {
    let kept = Kept::new();
    let now = tree(&[("a", b"a")]);
    let target = || fs::read_link(kept.root().join("site/latest")).ok().map(|to| to.to_str().unwrap().to_owned());
    let first = kept.back_up(&now, 1).await.id;
    assert_eq!(target(), Some(first.stem()));
    let second = kept.back_up(&now, 2).await.id;
    assert_eq!(target(), Some(second.stem()));
    let writer = kept.begin(3).await;
    let mut problems = Problems::new();
    problems.push(Problem::new(path("files"), ProblemKind::Unlisted, "cannot be listed"));
    let third = writer.commit(Seal::new(day(3)).problems(problems)).await.unwrap();
    assert_eq!(third.state(), SnapshotState::Partial);
    assert_eq!(third.tally.carried_files, 1);
    assert_eq!(target(), Some(second.stem()));
    kept.store.delete(&second).await.unwrap();
    assert_eq!(target(), Some(first.stem()));
    kept.store.delete(&first).await.unwrap();
    assert_eq!(target(), None);
}

#[tokio::test]
async fn without_a_whole_manifest_there_is_no_snapshot() {
    let kept = Kept::new();
    let now = tree(&[("a", &long(b'a'))]);
    let first = kept.back_up(&now, 1).await.id;
    let second = kept.back_up(&now, 2).await.id;
    let manifest = kept.at(&second).join("manifest");
    let whole = fs::read(&manifest).unwrap();
    let mut flipped = whole.clone();
    let middle = whole.len() / 2;
    flipped[middle] ^= 1;
    for bad in [&whole[..whole.len() - 10], &whole[..whole.len() / 2], b"", &flipped] {
        fs::write(&manifest, bad).unwrap();
        assert!(matches!(kept.store.open(&second).await, Err(StoreError::Damaged { .. })));
    }
    fs::write(&manifest, &whole[..whole.len() / 2]).unwrap();
    let listed = kept.store.list(&source("site")).await;
    assert!(matches!(&listed, Err(StoreError::Damaged { id, .. }) if *id == second), "{listed:?}");
    let (sound, damaged) = kept.store.list_sound(&source("site")).await.unwrap();
    assert_eq!(sound.iter().map(|info| &info.id).collect::<Vec<_>>(), [&first]);
    assert_eq!(damaged.iter().map(|(id, _)| id).collect::<Vec<_>>(), [&second]);
    assert_eq!(kept.store.open(&first).await.unwrap().info().id, first, "the others can be opened");
    // A backup goes on from the one before, and the damaged one can be deleted.
    let third = kept.back_up(&now, 3).await;
    assert_eq!(third.base, Some(first));
    assert!(third.id > second);
    kept.store.delete(&second).await.unwrap();
    assert_eq!(kept.store.list(&source("site")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_reserve_is_not_touched() {
    let kept = Kept::with(StoreOptions::new().reserve_bytes(u64::MAX / 2));
    let result = kept.store.begin(NewSnapshot::new(source("site"), day(1))).await;
    assert!(matches!(result, Err(StoreError::NoSpace { what: "disk space" })));
    let kept = Kept::with(StoreOptions::new().reserve_inodes(u64::MAX / 2));
    let result = kept.store.begin(NewSnapshot::new(source("site"), day(1))).await;
    assert!(matches!(result, Err(StoreError::NoSpace { what: "inodes" })));
}

#[tokio::test]
async fn only_an_empty_directory_or_a_store_is_taken() {
    let temp = tempfile::tempdir().unwrap();
    assert!(matches!(HardLinkStore::open(temp.path().join("absent")), Err(StoreError::Unusable { .. })));
    assert!(matches!(HardLinkStore::open(temp.path()), Err(StoreError::Unusable { .. })));
    fs::write(temp.path().join("something"), "x").unwrap();
    assert!(matches!(HardLinkStore::init(temp.path()), Err(StoreError::Unusable { .. })));
    let store = temp.path().join("store");
    fs::create_dir_all(store.join("lost+found")).unwrap();
    HardLinkStore::init(&store).unwrap();
    HardLinkStore::open(&store).unwrap();
    fs::write(store.join(".clonepanel/format"), "clonepanel-store 2\n").unwrap();
    assert!(matches!(HardLinkStore::open(&store), Err(StoreError::Unusable { .. })));
    assert!(matches!(HardLinkStore::init(&store), Err(StoreError::Unusable { .. })));
}

#[tokio::test]
async fn a_base_may_be_deleted_while_a_run_builds_on_it() {
    let kept = Kept::new();
    let now = tree(&[("a", &long(b'a')), ("b", b"short")]);
    let first = kept.back_up(&now, 1).await.id;
    let writer = kept.begin(2).await;
    kept.store.delete(&first).await.unwrap();
    assert!(kept.store.list(&source("site")).await.unwrap().is_empty());
    offer_files(&*writer).await;
    assert_eq!(ask(&*writer, &file("a", 5000)).await, Asked::No);
    assert_eq!(ask(&*writer, &file("b", 5)).await, Asked::No);
    let second = writer.commit(Seal::new(day(2))).await.unwrap();
    assert_eq!(second.state(), SnapshotState::Complete);
    assert_eq!(kept.content_of(&second.id, "b"), b"short");
    // What the deletion had to leave is removed by the next.
    kept.back_up(&now, 3).await;
    assert_eq!(fs::read_dir(kept.root().join(".clonepanel/trash")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_several_sites_have_is_stored_once_and_lives_as_long_as_one_of_them() {
    let kept = Kept::new();
    let now = tree(&[("core.php", &long(b'c')), ("tiny", b"t")]);
    let one = kept.back_up_as("one", &now, 1).await.unwrap();
    let two = kept.back_up_as("two", &now, 1).await.unwrap();
    assert_eq!((one.tally.new_bytes, two.tally.new_bytes), (5001, 1), "short files are not worth sharing");
    assert_eq!(kept.stat(&one.id, "core.php").ino(), kept.stat(&two.id, "core.php").ino());
    assert_eq!(kept.store.sources().await.unwrap(), [source("one"), source("two")]);
    assert_eq!(kept.store.freed_by_deleting(&two.id).await.unwrap(), 1 + manifest_len(&kept, &two.id));
    kept.store.delete(&one.id).await.unwrap();
    assert_eq!(kept.store.freed_by_deleting(&two.id).await.unwrap(), 5001 + manifest_len(&kept, &two.id));
    assert_eq!(kept.content_of(&two.id, "core.php"), long(b'c'));
    kept.store.delete(&two.id).await.unwrap();
    let left = walkdir::WalkDir::new(kept.root().join(".clonepanel/content"));
    assert_eq!(left.into_iter().filter(|entry| entry.as_ref().unwrap().file_type().is_file()).count(), 0);
}

fn manifest_len(kept: &Kept, id: &clonepanel_core::snapshot_id::SnapshotId) -> u64 {
    fs::metadata(kept.at(id).join("manifest")).unwrap().len()
}

#[tokio::test]
async fn what_finishes_last_counts() {
    let kept = Kept::new();
    let writer = kept.begin(1).await;
    offer_files(&*writer).await;
    for (name, len) in [("small", 5000), ("large", 700_000)] {
        let entry = file(name, len);
        assert_eq!(ask(&*writer, &entry).await, Asked::Plain);
        send(&*writer, &entry, &vec![b'1'; len]).await;
        send(&*writer, &entry, &vec![b'2'; len]).await;
        // One that is given up does not count.
        writer.file(&entry).await.unwrap().write(Bytes::from_static(b"3")).await.unwrap();
    }
    let id = writer.commit(Seal::new(day(1))).await.unwrap().id;
    let back = kept.tree(&id).await;
    assert_eq!(back.content(&path("small")).unwrap(), vec![b'2'; 5000]);
    assert_eq!(back.content(&path("large")).unwrap(), vec![b'2'; 700_000]);
}

#[tokio::test]
async fn entries_that_break_a_rule_are_refused() {
    let kept = Kept::new();
    let writer = kept.begin(1).await;
    let refused =
        |result: Result<Want, TreeError>| assert!(matches!(result, Err(TreeError::Refused { .. })), "{result:?}");
    refused(writer.offer(&file("a", 1)).await);
    offer_files(&*writer).await;
    refused(writer.offer(&Entry::dir(path("files"))).await);
    assert_eq!(ask(&*writer, &file("a", 1)).await, Asked::Plain);
    refused(writer.offer(&file("a", 1)).await);
    refused(writer.offer(&file("a/b", 1)).await);
    let mut member = file("m", 1);
    member.kind = EntryKind::File { len: 1, hardlink_to: Some(path("files/none")) };
    refused(writer.offer(&member).await);
    refused(writer.offer(&Entry::file(path(""), 1, old(1))).await);
    assert!(matches!(writer.file(&file("b", 1)).await, Err(TreeError::Refused { .. })));
}

#[tokio::test]
async fn an_empty_snapshot_is_one() {
    let kept = Kept::new();
    let info = kept.back_up(&MemoryTree::new(), 1).await;
    assert_eq!((info.tally.dirs, info.tally.files), (1, 0));
    let writer = kept.begin(2).await;
    let info = writer.commit(Seal::new(day(2))).await.unwrap();
    assert_eq!(info.tally.dirs, 0);
    assert_eq!(kept.store.list(&source("site")).await.unwrap().len(), 2);
}
