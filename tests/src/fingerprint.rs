//! [`Fingerprint`]: everything that must never change about a snapshot that is committed.

use clonepanel_core::digest::ContentHash;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};
use walkdir::WalkDir;

/// Type, inode, permissions, owner, size, time and content of everything below a directory.
///
/// The number of names of an inode and its change time are left out: a later snapshot that shares a file adds a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<PathBuf, Stamp>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    /// Of a directory it is the file system's own business.
    size: Option<u64>,
    content: Option<ContentHash>,
}

impl Fingerprint {
    /// Looks at `root` and everything below it.
    ///
    /// # Panics
    /// When something there cannot be read.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        let stamp = |path: &Path| {
            let meta = fs::symlink_metadata(path).expect("stat");
            let content = if meta.is_file() {
                Some(ContentHash::of(&fs::read(path).expect("read")))
            } else if meta.is_symlink() {
                Some(ContentHash::of(fs::read_link(path).expect("readlink").as_os_str().as_bytes()))
            } else {
                None
            };
            Stamp {
                inode: meta.ino(),
                mode: meta.mode(),
                owner: (meta.uid(), meta.gid()),
                mtime: (meta.mtime(), meta.mtime_nsec()),
                size: (!meta.is_dir()).then(|| meta.size()),
                content,
            }
        };
        let entries = WalkDir::new(root).into_iter().map(|entry| entry.expect("walk").into_path());
        Self(entries.map(|path| (path.strip_prefix(root).expect("below").to_owned(), stamp(&path))).collect())
    }

    /// How many objects were looked at.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there was nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What `later` has differently, one line each.
    #[must_use]
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let changed = self.0.iter().filter_map(|(path, was)| match later.0.get(path) {
            None => Some(format!("{} is gone", path.display())),
            Some(is) if is != was => Some(format!("{} changed: {was:?} -> {is:?}", path.display())),
            Some(_) => None,
        });
        let new = later.0.keys().filter(|path| !self.0.contains_key(*path));
        changed.chain(new.map(|path| format!("{} is new", path.display()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_change_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "one").unwrap();
        let before = Fingerprint::of(dir.path());
        assert_eq!(before.changes(&Fingerprint::of(dir.path())), Vec::<String>::new());
        let mtime = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "two").unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(mtime).unwrap();
        assert_eq!(before.changes(&Fingerprint::of(dir.path())).len(), 1, "content alone");
        fs::write(dir.path().join("other"), "").unwrap();
        fs::remove_file(&file).unwrap();
        let changes = before.changes(&Fingerprint::of(dir.path()));
        assert!(changes.iter().any(|line| line.contains("file is gone")), "{changes:?}");
        assert!(changes.iter().any(|line| line.contains("other is new")), "{changes:?}");
    }
}
