//! [`DamagedCopies`]: stored files that were found not to be what was written.

use super::format::sync_dir;
use crate::handle;
use clonepanel_core::digest::ContentHash;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::AtFlags,
    io::Errno,
};
use std::{collections::HashSet, io};

/// What is known of damaged copies: each has one more name in the store's own `damaged` directory,
/// `<hash that it should have>-<inode>`. So its inode is not given to another file while anything is known of it, and when that
/// name is its last, no snapshot has it any more.
#[derive(Debug, Default)]
pub(crate) struct DamagedCopies {
    inodes: HashSet<u64>,
    contents: HashSet<[u8; 32]>,
}

impl DamagedCopies {
    pub(crate) fn read(dir: &OwnedFd) -> io::Result<Self> {
        let mut found = Self::default();
        for name in handle::names_in(handle::listed_dir_in(dir, b".")?)? {
            let hash = str::from_utf8(&name.name).ok().and_then(|name| ContentHash::parse(name.split_once('-')?.0));
            if let Some(hash) = hash {
                found.inodes.insert(name.inode);
                found.contents.insert(*hash.as_bytes());
            }
        }
        Ok(found)
    }

    /// Whether this inode is one of them.
    pub(crate) fn has(&self, inode: u64) -> bool {
        self.inodes.contains(&inode)
    }

    /// Whether one of them should have this content.
    pub(crate) fn has_content(&self, hash: &[u8; 32]) -> bool {
        self.contents.contains(hash)
    }

    pub(crate) const fn inodes(&self) -> &HashSet<u64> {
        &self.inodes
    }
}

/// Remembers that a stored file is not what it should be.
pub(crate) fn remember(
    damaged: &OwnedFd,
    dir: impl AsFd,
    name: &[u8],
    inode: u64,
    hash: &ContentHash,
) -> io::Result<()> {
    match rustix::fs::linkat(dir, name, damaged, format!("{hash}-{inode}"), AtFlags::empty()) {
        Ok(()) => sync_dir(damaged),
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Forgets the copies that no snapshot has any more, and tells how many bytes that freed.
pub(crate) fn sweep(damaged: &OwnedFd) -> io::Result<u64> {
    let mut freed = 0;
    for name in handle::names_in(handle::listed_dir_in(damaged, b".")?)? {
        if let Some(stat) = handle::stat_in(damaged, &name.name)?
            && stat.st_nlink == 1
        {
            handle::unlink_in(damaged, &name.name)?;
            freed += handle::len(&stat);
        }
    }
    Ok(freed)
}
