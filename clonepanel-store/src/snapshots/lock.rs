//! Locks that the kernel gives back when their holder dies.

use clonepanel_core::{snapshot_id::SourceName, store::StoreError};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
};
use std::io;

/// The right to write snapshots of one source.
#[derive(Debug)]
pub(crate) struct SourceLock {
    file: OwnedFd,
}

impl Drop for SourceLock {
    /// Closing alone would not do: a child process that is just being started has a copy of every descriptor until it becomes
    /// the program it is to run, and would hold the lock for that long.
    fn drop(&mut self) {
        // Where it fails, closing gives the lock back.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

impl SourceLock {
    /// Takes the lock, or says that somebody has it; a second taker in the same process is somebody else too.
    pub(crate) fn take(locks: &OwnedFd, source: &SourceName) -> Result<Self, StoreError> {
        Self::try_take(locks, source)
            .map_err(|error| StoreError::from_io("lock the source", error))?
            .ok_or_else(|| StoreError::Busy { source_name: source.clone() })
    }

    /// Takes the lock if nobody has it.
    pub(crate) fn try_take(locks: &OwnedFd, source: &SourceName) -> io::Result<Option<Self>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(locks, source.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Marks a directory as in use until the handle is closed: it may be renamed, but what is in it is not removed meanwhile.
pub(crate) fn use_dir(dir: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::flock(dir, FlockOperation::NonBlockingLockShared)?)
}

/// Takes a directory for removal; `false` when somebody uses or removes it.
pub(crate) fn take_dir(dir: impl AsFd) -> io::Result<bool> {
    match rustix::fs::flock(dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
