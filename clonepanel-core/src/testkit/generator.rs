//! Seeded random trees and edits: the same seed gives the same tree, everywhere.

mod edit;
mod random;

pub use edit::{EDITS, edit};
pub use random::Random;

use super::path;
use crate::{
    entry::{DeviceNumber, Entry, EntryKind, EntryMeta, LinkTarget},
    memory::MemoryTree,
    path::RelPath,
    time::Timestamp,
};

/// Lengths around the rsync wire's smallest block (700 bytes), a buffer, and several blocks.
const LENGTHS: [u64; 10] = [0, 1, 699, 700, 701, 4_095, 4_096, 65_537, 150_000, 300_000];
const FILE_MODES: [u32; 8] = [0o644, 0o600, 0o755, 0o4755, 0o2711, 0o400, 0o000, 0o666];
/// Ours to enter and to write, so that a tree can be made and removed without privileges.
const DIR_MODES: [u32; 6] = [0o755, 0o700, 0o750, 0o2755, 0o1777, 0o711];

/// What a random tree is like.
#[derive(Debug, Clone)]
pub struct Shape {
    entries: usize,
    longest: u64,
    devices: Devices,
    unreadable: Unreadable,
}

/// Whether there are device files, which only the superuser can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, missing_docs)]
pub enum Devices {
    With,
    Without,
}

/// Whether there are files that their owner cannot read, which is a problem to everybody but the superuser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, missing_docs)]
pub enum Unreadable {
    With,
    Without,
}

impl Default for Shape {
    fn default() -> Self {
        Self { entries: 80, longest: 300_000, devices: Devices::Without, unreadable: Unreadable::Without }
    }
}

impl Shape {
    /// Eighty entries, files up to 300 kB, no devices, everything readable.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// About so many entries.
    #[must_use]
    pub const fn entries(mut self, entries: usize) -> Self {
        self.entries = entries;
        self
    }

    /// No file longer than this, in bytes.
    #[must_use]
    pub const fn longest(mut self, bytes: u64) -> Self {
        self.longest = bytes;
        self
    }

    /// With or without device files.
    #[must_use]
    pub const fn devices(mut self, devices: Devices) -> Self {
        self.devices = devices;
        self
    }

    /// With or without unreadable files.
    #[must_use]
    pub const fn unreadable(mut self, unreadable: Unreadable) -> Self {
        self.unreadable = unreadable;
        self
    }

    /// The tree of this seed: at least three directories deep, with one of every kind of entry, names that are not UTF-8 and
    /// names of 255 bytes, hard-link groups across directories, links inside, outside and nowhere, odd times and modes.
    #[must_use]
    pub fn tree(&self, seed: u64) -> MemoryTree {
        let mut random = Random::new(seed);
        let tree = MemoryTree::new();
        self.fixed(&tree, &mut random);
        while tree.list().len() < self.entries {
            add(&tree, self, &mut random);
        }
        tree
    }

    /// What every tree has.
    fn fixed(&self, tree: &MemoryTree, random: &mut Random) {
        let put = |entry: &Entry, content: Vec<u8>| tree.put(entry, content).expect("a free place");
        for dir in ["one", "one/two", "one/two/three"] {
            put(&Entry { meta: self.dir_meta(random), ..Entry::dir(path(dir)) }, Vec::new());
        }
        let deep = path("one/two/three");
        let below = |name: Vec<u8>| deep.join(&RelPath::new(name).expect("a name")).expect("a short path");
        for (name, len) in [(b"\xff\xfe name".to_vec(), 701), (vec![b'n'; 255], 1), (b"empty".to_vec(), 0)] {
            let entry = Entry { meta: self.file_meta(random), ..Entry::file(below(name), 0, Timestamp::default()) };
            put(&entry, random.content(len.min(self.longest)));
        }
        let first =
            Entry { meta: self.file_meta(random), ..Entry::file(below(b"zz first".to_vec()), 0, Timestamp::default()) };
        put(&first, random.content(700.min(self.longest)));
        let kinds = [
            ("further", EntryKind::File { len: 0, hardlink_to: Some(first.path) }),
            ("inside", EntryKind::Symlink(LinkTarget::new("one/two").expect("a target"))),
            ("outside", EntryKind::Symlink(LinkTarget::new("/etc/passwd").expect("a target"))),
            ("climbing", EntryKind::Symlink(LinkTarget::new("../../x").expect("a target"))),
            ("dangling", EntryKind::Symlink(LinkTarget::new(&b"nothing \xff here"[..]).expect("a target"))),
            ("fifo", EntryKind::Fifo),
            ("socket", EntryKind::Socket),
        ];
        for (name, kind) in kinds {
            put(&self.entry(path(name), kind, random), Vec::new());
        }
        if self.devices == Devices::With {
            let number = DeviceNumber { major: 1, minor: 3 };
            put(&self.entry(path("null"), EntryKind::CharDevice(number), random), Vec::new());
            let number = DeviceNumber { major: 259, minor: 300 };
            put(&self.entry(path("block"), EntryKind::BlockDevice(number), random), Vec::new());
        }
    }

    fn entry(&self, path: RelPath, kind: EntryKind, random: &mut Random) -> Entry {
        let meta = match kind {
            EntryKind::Dir => self.dir_meta(random),
            // Linux gives every link this mode, and nothing can change it.
            EntryKind::Symlink(_) => EntryMeta { mode: 0o777, ..self.file_meta(random) },
            _ => self.file_meta(random),
        };
        Entry { path, kind, meta }
    }

    fn dir_meta(&self, random: &mut Random) -> EntryMeta {
        EntryMeta { mode: *random.pick(&DIR_MODES), ..self.file_meta(random) }
    }

    fn file_meta(&self, random: &mut Random) -> EntryMeta {
        let mut mode = *random.pick(&FILE_MODES);
        if self.unreadable == Unreadable::Without {
            mode |= 0o400;
        }
        let owner = *random.pick(&[0, 0, 1000, 65_534]);
        EntryMeta { mode, uid: owner, gid: owner, mtime: moment(random), ..EntryMeta::default() }
    }

    fn content(&self, random: &mut Random) -> Vec<u8> {
        let len = match random.below(4) {
            0 => *random.pick(&LENGTHS),
            1 => random.below(20_000),
            _ => random.below(1_500),
        };
        random.content(len.min(self.longest))
    }
}

/// Adds one entry at a random place.
fn add(tree: &MemoryTree, shape: &Shape, random: &mut Random) {
    let dirs: Vec<_> = tree.list().into_iter().filter(Entry::is_dir).map(|entry| entry.path).collect();
    let files: Vec<_> = tree.list().into_iter().filter(Entry::has_content).map(|entry| entry.path).collect();
    let Ok(place) = random.pick(&dirs).join(&name(random)) else { return };
    if tree.entry(&place).is_some() {
        return;
    }
    let kind = match random.below(20) {
        0..4 => EntryKind::Dir,
        4 if !files.is_empty() => EntryKind::File { len: 0, hardlink_to: Some(random.pick(&files).clone()) },
        5 => EntryKind::Fifo,
        6 => EntryKind::Socket,
        7 | 8 => EntryKind::Symlink(target(&files, random)),
        _ => EntryKind::File { len: 0, hardlink_to: None },
    };
    let content = shape.content(random);
    tree.put(&shape.entry(place, kind, random), content).expect("a free place in a directory");
}

fn name(random: &mut Random) -> RelPath {
    let name = match random.below(12) {
        0 => vec![0xc3, 0x28, u8::try_from(random.below(26)).unwrap_or(0) + b'a'],
        1 => {
            let mut name = vec![b'l'; 255];
            name[..8].copy_from_slice(format!("{:08x}", random.below(1 << 32)).as_bytes());
            name
        }
        2 => format!(" spaced {}\n", random.below(100)).into_bytes(),
        3 => format!("-{}*?[x]", random.below(100)).into_bytes(),
        4 => format!("é{}\u{202e}", random.below(100)).into_bytes(),
        5 => format!("back\\slash{}", random.below(100)).into_bytes(),
        _ => format!("name{}", random.below(1000)).into_bytes(),
    };
    RelPath::new(name).expect("a valid name")
}

fn target(files: &[RelPath], random: &mut Random) -> LinkTarget {
    let bytes = match random.below(4) {
        0 => b"/absolute/target".to_vec(),
        1 => b"../../../../../out".to_vec(),
        2 if !files.is_empty() => random.pick(files).as_bytes().to_vec(),
        _ => format!("dangling{}", random.below(100)).into_bytes(),
    };
    LinkTarget::new(bytes).expect("a valid target")
}

/// A time: mostly of the last years, some before 1970, some of whole seconds. Never in the future.
fn moment(random: &mut Random) -> Timestamp {
    let nanos = u32::try_from(random.below(1_000_000_000)).unwrap_or(0);
    let recent = i64::try_from(1_500_000_000 + random.below(200_000_000)).unwrap_or(0);
    match random.below(8) {
        0 => Timestamp::new(-recent / 10, nanos),
        1 => Timestamp::from_secs(recent),
        2 => Timestamp::from_secs(0),
        _ => Timestamp::new(recent, nanos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{differences, owner_differences};

    #[test]
    fn a_seed_is_a_tree() {
        let shape = Shape::new().devices(Devices::With);
        let (one, same, other) = (shape.tree(7), shape.tree(7), shape.tree(8));
        assert_eq!(differences(&one, &same), [""; 0]);
        assert_eq!(owner_differences(&one, &same), [""; 0]);
        assert!(!differences(&one, &other).is_empty());
        assert_eq!(differences(&edit(&one, &shape, 1), &edit(&one, &shape, 1)), [""; 0]);
    }

    #[test]
    fn every_edit_changes_something_and_leaves_a_tree() {
        let shape = Shape::new();
        for seed in 0..40 {
            let tree = shape.tree(seed);
            let edited = edit(&tree, &shape, seed);
            assert!(!differences(&tree, &edited).is_empty(), "seed {seed}");
            assert_eq!(differences(&tree, &shape.tree(seed)), [""; 0], "the edited tree is another one");
        }
    }

    #[cfg(unix)]
    #[test]
    fn disk_holds_what_was_written() {
        let scratch = std::env::temp_dir().join(format!("clonepanel-disk-{}", std::process::id()));
        let shape = Shape::new();
        for seed in 0..10 {
            let tree = shape.tree(seed);
            crate::testkit::materialise(&tree, &scratch).unwrap();
            assert_eq!(differences(&tree, &crate::testkit::scan(&scratch).unwrap()), [""; 0], "seed {seed}");
            let edited = edit(&tree, &shape, seed);
            crate::testkit::materialise(&edited, &scratch).unwrap();
            assert_eq!(differences(&edited, &crate::testkit::scan(&scratch).unwrap()), [""; 0], "seed {seed}, edited");
        }
        std::fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn a_change_of_content_shows_in_length_or_time() {
        let shape = Shape::new().entries(60);
        for seed in (0..200).chain([354_769]) {
            let (before, after) = (shape.tree(seed), edit(&shape.tree(seed), &shape, seed));
            for old in before.list().iter().filter(|entry| entry.len().is_some()) {
                let Some(new) = after.entry(&old.path).filter(|new| new.len() == old.len()) else { continue };
                if new.meta.mtime == old.meta.mtime {
                    assert_eq!(before.content(&old.path), after.content(&old.path), "seed {seed}, {}", old.path);
                }
            }
        }
    }
}
