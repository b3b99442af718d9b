//! What deleting a snapshot would free.

use super::content::ContentIndex;
use crate::handle;
use rustix::fd::OwnedFd;
use std::{
    collections::{HashMap, HashSet},
    io,
};

/// Bytes of files all of whose names are in this snapshot, in the content index, or among the damaged.
pub(crate) fn freed(dir: &OwnedFd, content: &ContentIndex, damaged: &HashSet<u64>) -> io::Result<u64> {
    let indexed = content.inodes()?;
    // Inode: names seen, names in all, length.
    let mut files: HashMap<u64, (u64, u64, u64)> = HashMap::new();
    walk(dir, &mut files)?;
    let own = |(inode, &(seen, names, len)): (&u64, &(u64, u64, u64))| {
        let of_the_store = u64::from(indexed.contains(inode)) + u64::from(damaged.contains(inode));
        (seen + of_the_store >= names).then_some(len)
    };
    Ok(files.iter().filter_map(own).sum())
}

fn walk(dir: &OwnedFd, files: &mut HashMap<u64, (u64, u64, u64)>) -> io::Result<()> {
    // Names are walked from the top each time, so that depth costs no handles.
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        let at = handle::walk(dir, &path)?;
        let listed = handle::listed_dir_in(&at, b".")?;
        for name in handle::names_in(&listed)? {
            if name.is_dir(&listed)? {
                let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
                todo.push([&path, separator, &name.name].concat());
            } else if let Some(stat) = handle::stat_in(&listed, &name.name)? {
                let file = files.entry(stat.st_ino).or_insert_with(|| (0, stat.st_nlink, handle::len(&stat)));
                file.0 += 1;
            }
        }
    }
    Ok(())
}
