//! [`ContentIndex`]: one more name for every stored content, by its hash, so that the same content is stored once.

use super::damage::DamagedCopies;
use crate::{blocking::Stop, handle};
use clonepanel_core::digest::FileDigest;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::AtFlags,
    io::Errno,
};
use std::{
    collections::HashSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

/// Shorter contents are not shared: a name and its inode cost as much.
pub(crate) const SHORTEST: u64 = 100;

/// Begins the name of a file that is about to take the place of another.
const SPARE: &str = "new-";

/// Permission bits of a stored file: the source's, without setuid, setgid and sticky, and always readable for the owner, as
/// the store itself must read it.
pub(crate) const fn stored_mode(mode: u32) -> u32 {
    mode & 0o777 | 0o400
}

/// A directory of hard links, `<first two digits>/<hash>-<permission bits>`. A missing name costs a copy, a superfluous one a
/// directory entry: nothing in it needs to be in step with anything.
#[derive(Debug)]
pub(crate) struct ContentIndex {
    dir: Arc<OwnedFd>,
    link_cap: Option<u64>,
    spare_names: AtomicU32,
}

/// Which stored files may get another name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// How many names a file may have, if the file system's own limit is not to be reached.
    pub(crate) cap: Option<u64>,
    /// Those that never may.
    pub(crate) damaged: Arc<DamagedCopies>,
}

/// What came of an attempt to give stored content another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linked {
    /// There is no such content, or it lies on another file system.
    Absent,
    Done,
    /// It has as many names as it can have.
    Full,
    /// What is there is not what its name says.
    Wrong,
}

impl ContentIndex {
    pub(crate) const fn new(dir: Arc<OwnedFd>, link_cap: Option<u64>) -> Self {
        Self { dir, link_cap, spare_names: AtomicU32::new(0) }
    }

    /// Gives the content another name, `to` in `dir`.
    pub(crate) fn take(
        &self,
        content: &FileDigest,
        mode: u32,
        dir: impl AsFd,
        to: &[u8],
        limits: &Limits,
    ) -> io::Result<Linked> {
        if content.len < SHORTEST {
            return Ok(Linked::Absent);
        }
        link(&self.dir, name(content, mode).as_bytes(), &dir, to, content.len, limits)
    }

    /// Opens the content.
    pub(crate) fn open(&self, content: &FileDigest, mode: u32) -> io::Result<Option<std::fs::File>> {
        match handle::file_in(&self.dir, name(content, mode).as_bytes()) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the name of a content away if it stands for this inode.
    pub(crate) fn forget(&self, content: &FileDigest, mode: u32, inode: u64) -> io::Result<()> {
        let name = name(content, mode);
        match handle::stat_in(&self.dir, name.as_bytes())? {
            Some(stat) if stat.st_ino == inode => handle::unlink_in(&self.dir, name.as_bytes()),
            _ => Ok(()),
        }
    }

    /// Adds a stored file; if the content is known already, `succeeds` says that this file takes its place.
    pub(crate) fn add(
        &self,
        content: &FileDigest,
        mode: u32,
        dir: impl AsFd,
        file: &[u8],
        succeeds: Succeeds,
    ) -> io::Result<()> {
        if content.len < SHORTEST {
            return Ok(());
        }
        let name = name(content, mode);
        let link = |to: &str| rustix::fs::linkat(&dir, file, &self.dir, to, AtFlags::empty());
        let result = match link(&name) {
            Err(Errno::NOENT) => {
                handle::make_dir(&self.dir, name.get(..2).unwrap_or_default().as_bytes())?;
                link(&name)
            }
            other => other,
        };
        match result {
            Err(Errno::EXIST) if succeeds == Succeeds::Known => {
                let spare =
                    format!("{SPARE}{}-{}", std::process::id(), self.spare_names.fetch_add(1, Ordering::Relaxed));
                let replace = || {
                    handle::unlink_in(&self.dir, spare.as_bytes())?;
                    link(&spare)?;
                    Ok::<(), io::Error>(rustix::fs::renameat(&self.dir, &spare, &self.dir, &name)?)
                };
                // A sweep may take the spare name away.
                replace().or_else(|_| replace())?;
            }
            Ok(()) | Err(Errno::EXIST | Errno::MLINK) => {}
            Err(error) => return Err(error.into()),
        }
        // A name here counts as one of the file's names.
        if is_over(&self.dir, name.as_bytes(), self.link_cap)? {
            handle::unlink_in(&self.dir, name.as_bytes())?;
        }
        Ok(())
    }

    /// Removes the name of a content if no snapshot has it any more, and tells how many bytes that freed.
    pub(crate) fn sweep_one(&self, content: &FileDigest, mode: u32) -> io::Result<u64> {
        if content.len < SHORTEST { Ok(0) } else { sweep_name(&self.dir, name(content, mode).as_bytes()) }
    }

    /// Removes the names of all contents that no snapshot has any more, and tells how many bytes that freed.
    pub(crate) fn sweep(&self, threads: usize, stop: &Stop) -> io::Result<u64> {
        let names = handle::names_in(handle::listed_dir_in(&self.dir, b".")?)?;
        let next = AtomicUsize::new(0);
        let work = || {
            let mut freed = 0;
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop.is_set() {
                    break;
                }
                if name.is_dir(&self.dir)? {
                    freed += sweep_dir(&handle::listed_dir_in(&self.dir, &name.name)?)?;
                } else if name.name.starts_with(SPARE.as_bytes()) {
                    // Of a run that was killed.
                    handle::unlink_in(&self.dir, &name.name)?;
                }
            }
            Ok::<u64, io::Error>(freed)
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            others.into_iter().try_fold(own?, |sum, thread| match thread.join() {
                Ok(freed) => Ok(sum + freed?),
                Err(_) => Err(io::Error::other("a worker died")),
            })
        })
    }

    /// The inodes that have a name here.
    pub(crate) fn inodes(&self) -> io::Result<HashSet<u64>> {
        let mut inodes = HashSet::new();
        for name in handle::names_in(handle::listed_dir_in(&self.dir, b".")?)? {
            if name.is_dir(&self.dir)? {
                let names = handle::names_in(handle::listed_dir_in(&self.dir, &name.name)?)?;
                inodes.extend(names.iter().map(|name| name.inode));
            }
        }
        Ok(inodes)
    }
}

/// Whether a stored file takes the place of one with the same content in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Succeeds {
    Known,
    Nothing,
}

fn name(content: &FileDigest, mode: u32) -> String {
    let hash = content.hash.to_string();
    format!("{}/{hash}-{:o}", hash.get(..2).unwrap_or_default(), stored_mode(mode))
}

fn sweep_dir(dir: &OwnedFd) -> io::Result<u64> {
    let mut freed = 0;
    for name in handle::names_in(dir)? {
        freed += sweep_name(dir, &name.name)?;
    }
    Ok(freed)
}

fn sweep_name(dir: &OwnedFd, name: &[u8]) -> io::Result<u64> {
    // Between the look and the unlinking a run may take the content: it then has a name of its own and keeps its data.
    match handle::stat_in(dir, name)?.filter(|stat| stat.st_nlink == 1) {
        Some(stat) => handle::unlink_in(dir, name).map(|()| handle::len(&stat)),
        None => Ok(0),
    }
}

/// Gives a file of this length another name. An old name in the way is replaced.
pub(crate) fn link(
    from: impl AsFd,
    name: &[u8],
    dir: impl AsFd,
    to: &[u8],
    len: u64,
    limits: &Limits,
) -> io::Result<Linked> {
    let link = || rustix::fs::linkat(&from, name, &dir, to, AtFlags::empty());
    let result = match link() {
        Err(Errno::EXIST) => {
            handle::unlink_in(&dir, to)?;
            link()
        }
        other => other,
    };
    match result {
        Ok(()) => {}
        Err(Errno::MLINK) => return Ok(Linked::Full),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::XDEV) => return Ok(Linked::Absent),
        // What cannot even be looked at is at fault itself, not where the name should go.
        Err(_) if !handle::stat_in(&from, name).is_ok_and(|stat| stat.is_some_and(|stat| handle::is_file(&stat))) => {
            return Ok(Linked::Wrong);
        }
        Err(error) => return Err(error.into()),
    }
    // Its bytes are trusted as those of every stored file are; a look at its length is nearly free. Looked at afterwards, as
    // others link at the same time.
    let linked = match handle::stat_in(&dir, to)? {
        Some(stat) if !handle::is_file(&stat) || handle::len(&stat) != len => Linked::Wrong,
        Some(stat) if limits.damaged.has(stat.st_ino) => Linked::Wrong,
        Some(stat) if limits.cap.is_some_and(|cap| stat.st_nlink > cap) => Linked::Full,
        Some(_) => return Ok(Linked::Done),
        None => return Ok(Linked::Absent),
    };
    handle::unlink_in(&dir, to)?;
    Ok(linked)
}

fn is_over(dir: impl AsFd, name: &[u8], cap: Option<u64>) -> io::Result<bool> {
    let Some(cap) = cap else { return Ok(false) };
    Ok(handle::stat_in(dir, name)?.is_some_and(|stat| stat.st_nlink > cap))
}
