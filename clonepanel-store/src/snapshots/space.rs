//! [`Space`]: how much of the file system may be used, and the reserve that keeps deletion possible.

use super::options::StoreOptions;
use crate::handle;
use rustix::{fd::OwnedFd, fs::FallocateFlags};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const RESERVE: &[u8] = b"reserve";
const RESERVE_LEN: u64 = 1 << 20;
/// The file system is asked again after so many bytes or inodes.
const ASK_BYTES: u64 = 16 << 20;
const ASK_INODES: u64 = 1024;
/// What a name or a small file takes at least, in bytes.
const BLOCK: u64 = 4096;

/// Watches the free space of a store.
#[derive(Debug)]
pub(crate) struct Space {
    own: Arc<OwnedFd>,
    floor_bytes: u64,
    floor_inodes: u64,
    bytes: AtomicU64,
    inodes: AtomicU64,
}

impl Space {
    pub(crate) const fn new(own: Arc<OwnedFd>, options: &StoreOptions) -> Self {
        let (floor_bytes, floor_inodes) = options.reserved();
        Self { own, floor_bytes, floor_inodes, bytes: AtomicU64::new(0), inodes: AtomicU64::new(0) }
    }

    /// What is short, if the reserve would be touched by using so much more.
    pub(crate) fn shortage(&self, bytes: u64, inodes: u64) -> io::Result<Option<&'static str>> {
        let stat = rustix::fs::fstatvfs(&self.own)?;
        let unit = if stat.f_frsize == 0 { stat.f_bsize } else { stat.f_frsize };
        if stat.f_bavail.saturating_mul(unit) < self.floor_bytes.saturating_add(bytes) {
            return Ok(Some("disk space"));
        }
        // A file system that makes inodes as it goes tells 0 of 0.
        if stat.f_files > 0 && stat.f_favail < self.floor_inodes.saturating_add(inodes) {
            return Ok(Some("inodes"));
        }
        Ok(None)
    }

    /// Whether a tenth of everything is free.
    pub(crate) fn is_ample(&self) -> io::Result<bool> {
        let stat = rustix::fs::fstatvfs(&self.own)?;
        Ok(stat.f_bavail >= stat.f_blocks / 10 && stat.f_favail >= stat.f_files / 10)
    }

    /// Counts what is used, and asks the file system every now and then.
    pub(crate) fn use_up(&self, bytes: u64, inodes: u64) -> io::Result<()> {
        let bytes = self.bytes.fetch_add(bytes + inodes * BLOCK, Ordering::Relaxed) + bytes + inodes * BLOCK;
        let inodes = self.inodes.fetch_add(inodes, Ordering::Relaxed) + inodes;
        if bytes < ASK_BYTES && inodes < ASK_INODES {
            return Ok(());
        }
        self.bytes.store(0, Ordering::Relaxed);
        self.inodes.store(0, Ordering::Relaxed);
        match self.shortage(0, 0)? {
            None => Ok(()),
            Some(what) => Err(io::Error::new(io::ErrorKind::StorageFull, what)),
        }
    }

    /// Sets the reserve file up where it is missing. Not having room for it is no error.
    pub(crate) fn fill_reserve(&self) {
        if let Ok(file) = handle::create_in(&self.own, RESERVE, 0o600)
            && rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE_LEN).is_err()
        {
            drop(handle::unlink_in(&self.own, RESERVE));
        }
    }

    /// Gives the reserve file up, so that a deletion finds the blocks that it needs itself.
    pub(crate) fn spend_reserve(&self) -> io::Result<()> {
        handle::unlink_in(&self.own, RESERVE)
    }
}
