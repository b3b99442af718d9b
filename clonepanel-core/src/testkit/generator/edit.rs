//! [`edit`]: what people and programs do to a tree between two backups.

use super::{Random, Shape, add, name, target};
use crate::{
    entry::{Entry, EntryKind, EntryMeta},
    memory::MemoryTree,
    path::RelPath,
    time::Timestamp,
};
use std::time::Duration;

/// How many edits one call makes.
pub const EDITS: usize = 20;

/// A copy of `tree` after [`EDITS`] random edits: added, deleted, written in the middle, appended, truncated, rewritten with the
/// same length, touched, chmodded, renamed, moved with everything below, replaced by another kind, linked and unlinked.
/// Every change of content changes the time of the file too, by a second at least.
#[must_use]
pub fn edit(tree: &MemoryTree, shape: &Shape, seed: u64) -> MemoryTree {
    let tree = tree.fork();
    let mut random = Random::new(seed ^ 0x00ed_1700_00ed_1700);
    for _ in 0..EDITS {
        one(&tree, shape, &mut random);
    }
    tree
}

fn one(tree: &MemoryTree, shape: &Shape, random: &mut Random) {
    let all = tree.list();
    let others: Vec<_> = all.iter().filter(|entry| !entry.path.is_root()).collect();
    let files: Vec<_> = all.iter().filter(|entry| entry.len().is_some()).collect();
    let dirs: Vec<_> = all.iter().filter(|entry| entry.is_dir()).collect();
    if others.is_empty() || files.is_empty() {
        return add(tree, shape, random);
    }
    let (other, file, dir) = (*random.pick(&others), *random.pick(&files), *random.pick(&dirs));
    match random.below(13) {
        0 | 1 => add(tree, shape, random),
        2 => {
            tree.remove(&other.path);
        }
        3..7 => write(tree, file, shape, random),
        7 => meta(tree, other, EntryMeta { mtime: later(other.meta.mtime, random), ..other.meta.clone() }),
        8 if !matches!(other.kind, EntryKind::Symlink(_)) => {
            let new = if other.is_dir() { shape.dir_meta(random) } else { shape.file_meta(random) };
            meta(tree, other, EntryMeta { mode: new.mode, ..other.meta.clone() });
        }
        8 | 9 => {
            if let Ok(place) = dir.path.join(&name(random)) {
                // Refused when it would go into itself or onto another one: then nothing moves.
                drop(tree.rename(&other.path, &place));
            }
        }
        10 => replace(tree, other, shape, random),
        11 => {
            if let Ok(place) = dir.path.join(&name(random)) {
                let leader = EntryKind::File { len: 0, hardlink_to: Some(file.path.clone()) };
                if tree.entry(&place).is_none() {
                    put(tree, &Entry { path: place, kind: leader, meta: file.meta.clone() }, Vec::new());
                }
            }
        }
        _ => {
            // Unlinked from its group: the same content as a file of its own.
            let content = tree.content(&file.path).unwrap_or_default();
            put(tree, &Entry { kind: EntryKind::File { len: 0, hardlink_to: None }, ..file.clone() }, content.to_vec());
        }
    }
}

fn write(tree: &MemoryTree, file: &Entry, shape: &Shape, random: &mut Random) {
    let mut content = tree.content(&file.path).unwrap_or_default().to_vec();
    let middle = usize::try_from(random.below(content.len() as u64)).unwrap_or(0);
    match random.below(5) {
        0 => {
            let some = random.content(1 + random.clone().below(5_000));
            content.splice(middle..middle, some);
        }
        1 => content.extend(random.content(1 + random.clone().below(5_000))),
        2 => content.truncate(middle),
        3 => {
            let end = content.len().min(middle + 100);
            content[middle..end].iter_mut().for_each(|byte| *byte = !*byte);
        }
        _ => content = shape.content(random),
    }
    content.truncate(usize::try_from(shape.longest).unwrap_or(usize::MAX));
    let mtime = later(file.meta.mtime, random);
    tree.write(&file.path, content, mtime).expect("the file is there");
}

/// Another kind of entry at the same path: a directory with something in it, a link, a file, a pipe.
fn replace(tree: &MemoryTree, old: &Entry, shape: &Shape, random: &mut Random) {
    tree.remove(&old.path);
    let kind = match (random.below(4), &old.kind) {
        (0, EntryKind::Dir) | (1, _) => EntryKind::Symlink(target(&[], random)),
        (0, _) => EntryKind::Dir,
        (2, EntryKind::Fifo) | (3, _) => EntryKind::File { len: 0, hardlink_to: None },
        (_, _) => EntryKind::Fifo,
    };
    let is_dir = kind == EntryKind::Dir;
    let content = shape.content(random);
    put(tree, &shape.entry(old.path.clone(), kind, random), content);
    if is_dir && let Ok(place) = old.path.join(&RelPath::try_from("inside").unwrap_or_default()) {
        let meta = shape.file_meta(random);
        put(tree, &Entry { meta, ..Entry::file(place, 0, Timestamp::default()) }, shape.content(random));
    }
}

fn meta(tree: &MemoryTree, entry: &Entry, new: EntryMeta) {
    tree.set_meta(&entry.path, &new).expect("the entry is there");
}

fn put(tree: &MemoryTree, entry: &Entry, content: Vec<u8>) {
    tree.put(entry, content).expect("a free place in a directory");
}

fn later(mtime: Timestamp, random: &mut Random) -> Timestamp {
    mtime.after(Duration::new(1 + random.below(1_000_000), u32::try_from(random.below(1_000_000_000)).unwrap_or(0)))
}
