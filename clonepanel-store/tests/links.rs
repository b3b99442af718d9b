//! As many names as a file system gives a file, and more.
#![allow(clippy::unwrap_used)]

mod common;

use clonepanel_core::{
    memory::MemoryTree,
    store::{SnapshotState, SnapshotStore as _},
    testkit::path,
};
use common::{Kept, day, old};
use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _};

/// ext4 gives a file 65,000 names.
const NAMES: usize = 65_010;

#[tokio::test]
async fn one_content_under_more_names_than_ext4_allows() {
    let kept = Kept::new();
    let tree = MemoryTree::new();
    let content = vec![b'e'; 200];
    for n in 0..NAMES {
        if n % 1000 == 0 {
            tree.put_dir(path(&format!("d{}", n / 1000))).unwrap();
        }
        tree.put_file(path(&format!("d{}/f{n}", n / 1000)), content.clone(), old(1)).unwrap();
    }
    let info = kept.back_up(&tree, 1).await;
    assert_eq!((info.state(), info.tally.files), (SnapshotState::Complete, NAMES as u64));
    let mut names: BTreeMap<u64, u64> = BTreeMap::new();
    for n in 0..NAMES {
        *names.entry(kept.stat(&info.id, &format!("d{}/f{n}", n / 1000)).ino()).or_default() += 1;
    }
    println!("{} inodes for {NAMES} names", names.len());
    assert!(names.len() < 20, "one content takes {} inodes", names.len());
    let last = kept.stat(&info.id, &format!("d{}/f{}", (NAMES - 1) / 1000, NAMES - 1));
    assert!(last.nlink() >= names[&last.ino()]);
    assert_eq!(fs::read(kept.file(&info.id, "d0/f0")).unwrap(), content);
    // And once more on top of it: every name is linked, or copied where its file is full.
    let again = kept.back_up(&tree, 2).await;
    assert_eq!((again.state(), again.tally.unchanged_files), (SnapshotState::Complete, NAMES as u64));
    assert_eq!(again.begun, day(2));
    kept.store.delete(&info.id).await.unwrap();
    assert_eq!(kept.content_of(&again.id, "d65/f65009"), content);
}
