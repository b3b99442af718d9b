//! Directory handles: every name is opened in a directory that is already held, and no symbolic link on the way is followed.

use clonepanel_core::{
    entry::{DeviceNumber, EntryKind, EntryMeta, Freshness, LinkTarget},
    path::RelPath,
    time::Timestamp,
};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, Stat, Timespec, Timestamps, UTIME_OMIT},
    io::Errno,
};
use std::{fs::File, io, path::Path};

const HELD: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const LISTED: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
// Without NONBLOCK, opening a pipe that took the place of a file would wait for a writer.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const CREATE: OFlags =
    OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Directories are listed by so many bytes at once.
const LISTING: usize = 32 << 10;

/// A path is resolved below the directory that is held, and without any symbolic link.
const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// The directory that the user named: the only place where links are followed.
pub(crate) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty())?)
}

/// A handle to work in; it cannot be listed.
pub(crate) fn dir_in(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(dir, name, HELD, Mode::empty())?)
}

/// A handle that can be listed and synced.
pub(crate) fn listed_dir_in(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(dir, name, LISTED, Mode::empty())?)
}

/// As [`dir_in`]; makes the directory, for the owner alone, if it is missing.
pub(crate) fn made_dir_in(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    match rustix::fs::openat(&dir, name, HELD, Mode::empty()) {
        Err(Errno::NOENT) => {
            make_dir(&dir, name)?;
            dir_in(dir, name)
        }
        other => Ok(other?),
    }
}

/// Makes a directory for the owner alone; content if it is there already.
pub(crate) fn make_dir(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::mkdirat(dir, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Opens a regular file for reading; anything else is not found.
pub(crate) fn file_in(dir: impl AsFd, name: &[u8]) -> io::Result<File> {
    let file = rustix::fs::openat(dir, name, READ, Mode::empty()).map_err(|error| match error {
        // Its name is a symbolic link, or a socket.
        Errno::LOOP | Errno::NXIO => Errno::NOENT,
        error => error,
    })?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file.into()),
        _ => Err(Errno::NOENT.into()),
    }
}

/// Creates a file that must not exist.
pub(crate) fn create_in(dir: impl AsFd, name: &[u8], mode: u32) -> io::Result<File> {
    Ok(rustix::fs::openat(dir, name, CREATE, Mode::from_raw_mode(mode))?.into())
}

/// Looks at a name without following it; `None` when there is nothing.
pub(crate) fn stat_in(dir: impl AsFd, name: &[u8]) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes a name that is not a directory; content if there is none.
pub(crate) fn unlink_in(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The names in a directory that can be listed, with their inode numbers and kinds, without `.` and `..`.
pub(crate) fn names_in(dir: impl AsFd) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    // An earlier listing through the same handle left it at its end.
    rustix::fs::seek(&dir, SeekFrom::Start(0))?;
    let mut buffer = Vec::with_capacity(LISTING);
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(Name { name: name.into(), inode: entry.ino(), kind: entry.file_type() });
        }
    }
    Ok(names)
}

/// One name of a directory.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) name: Box<[u8]>,
    pub(crate) inode: u64,
    /// May be unknown.
    pub(crate) kind: FileType,
}

impl Name {
    /// Whether it is a directory, looking at it where the listing does not tell.
    pub(crate) fn is_dir(&self, dir: impl AsFd) -> io::Result<bool> {
        Ok(match self.kind {
            FileType::Directory => true,
            FileType::Unknown => stat_in(dir, &self.name)?
                .is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
            _ => false,
        })
    }
}

/// Sets the time of the last change of what a name stands for, without following it; the time of access stays.
pub(crate) fn set_mtime(dir: impl AsFd, name: &[u8], mtime: Timestamp) -> io::Result<()> {
    Ok(rustix::fs::utimensat(dir, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Sets mode and time of an open file.
pub(crate) fn dress(file: &File, mode: u32, mtime: Timestamp) -> io::Result<()> {
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
    Ok(rustix::fs::futimens(file, &times(mtime))?)
}

fn times(mtime: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.secs(), tv_nsec: mtime.nanos().into() },
    }
}

/// The time of the last change of content.
pub(crate) fn mtime(stat: &Stat) -> Timestamp {
    Timestamp::new(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or_default())
}

/// The time of the last change of content or metadata.
pub(crate) fn ctime(stat: &Stat) -> Timestamp {
    Timestamp::new(stat.st_ctime, u32::try_from(stat.st_ctime_nsec).unwrap_or_default())
}

/// Whether an error is about the process and not about the file: it has as many files open, or as much memory, as it, or the
/// system, may.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// Whether it is a regular file.
pub(crate) fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Length in bytes.
pub(crate) fn len(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

/// Owner, permissions and times; names are not looked up.
pub(crate) fn meta(stat: &Stat) -> EntryMeta {
    EntryMeta {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        user: None,
        group: None,
        mtime: mtime(stat),
        freshness: Freshness::Unknown,
    }
}

/// What kind of entry a name is; `None` for what no tree can hold.
pub(crate) fn kind(stat: &Stat, dir: impl AsFd, name: &[u8]) -> io::Result<Option<EntryKind>> {
    let device = || DeviceNumber { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) };
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => EntryKind::BlockDevice(device()),
        FileType::CharacterDevice => EntryKind::CharDevice(device()),
        FileType::Directory => EntryKind::Dir,
        FileType::Fifo => EntryKind::Fifo,
        FileType::RegularFile => EntryKind::File { len: len(stat), hardlink_to: None },
        FileType::Socket => EntryKind::Socket,
        FileType::Symlink => {
            let text = rustix::fs::readlinkat(dir, name, Vec::new())?;
            match LinkTarget::new(text.into_bytes()) {
                Some(target) => EntryKind::Symlink(target),
                None => return Ok(None),
            }
        }
        FileType::Unknown => return Ok(None),
    }))
}

/// The directory part and the name of a path below some root.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

/// Opens the directory that holds `path`.
pub(crate) fn parent_of(root: &OwnedFd, path: &RelPath) -> io::Result<OwnedFd> {
    let (parent, _) = split(path.as_bytes());
    walk(root, parent)
}

/// Opens a directory below `root`; no symbolic link on the way is followed.
pub(crate) fn walk(root: &OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
    if path.is_empty() {
        return root.try_clone();
    }
    match rustix::fs::openat2(root, path, HELD, Mode::empty(), INSIDE) {
        // Kernels before 5.6, sandboxes that do not know the call, or a rename next to the walk.
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => step_by_step(root, path),
        // What the walk by steps says of a link on the way.
        Err(Errno::LOOP) => Err(Errno::NOTDIR.into()),
        other => Ok(other?),
    }
}

fn step_by_step(root: &OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
    let mut at: Option<OwnedFd> = None;
    for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
        at = Some(dir_in(at.as_ref().unwrap_or(root), name)?);
    }
    at.map_or_else(|| root.try_clone(), Ok)
}
