//! [`Pass`]: the writing of one tree into a directory.

use super::tree::{Owners, SpecialBits, Unfinished};
use crate::{
    blocking, handle,
    snapshots::{Both, StoredFile},
    stack::{DirStack, Missing},
};
use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    digest::{DigestBuilder, FileDigest},
    entry::{DeviceNumber, Entry, EntryKind, EntryMeta, Freshness},
    partial::PARTIAL_DIR,
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    tree::{Basis, FileSink, TreeError, Want},
};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, FileType, Gid, Mode, Stat, Uid},
    io::Errno,
};
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Content is gathered in memory up to this length, and written in pieces of it.
const PIECE: usize = 256 << 10;
/// Why something is not written.
const NOT_ALLOWED: &str = "whoever writes here is not allowed to";

/// The writing of one tree, until it is finished.
#[derive(Debug)]
pub(super) struct Pass {
    root: Arc<OwnedFd>,
    special_bits: SpecialBits,
    owners: Owners,
    unfinished: Unfinished,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    dirs: DirStack,
    /// Every path that was offered, and whether it is a directory.
    offered: HashMap<RelPath, Kind>,
    /// Directories with what they get at the end.
    undressed: Vec<(RelPath, EntryMeta)>,
    /// Further names with their first ones.
    links: Vec<(RelPath, RelPath)>,
    /// Files of which a part was kept the last time.
    begun: HashSet<RelPath>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dir,
    /// Its content is not here yet.
    File,
    /// A file whose content is here.
    Whole,
    Other,
}

impl Pass {
    pub(super) fn new(root: OwnedFd, special_bits: SpecialBits, owners: Owners, unfinished: Unfinished) -> Self {
        let root = Arc::new(root);
        let dirs = DirStack::new(Arc::clone(&root), Missing::Fail);
        let state =
            State { dirs, offered: HashMap::new(), undressed: Vec::new(), links: Vec::new(), begun: HashSet::new() };
        Self { root, special_bits, owners, unfinished, state: Mutex::new(state) }
    }

    /// Makes everything but content.
    pub(super) fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        let refused = |why| Err(TreeError::Refused { path: entry.path.clone(), why });
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty => {
                TreeError::Refused { path: entry.path.clone(), why: "a directory that is not empty is in the way" }
            }
            // What belongs to somebody else is no reason to leave the rest.
            io::ErrorKind::PermissionDenied if !entry.path.is_root() => {
                TreeError::Refused { path: entry.path.clone(), why: NOT_ALLOWED }
            }
            _ => TreeError::from_io("write", &entry.path, error),
        };
        let mut state = self.lock();
        if state.offered.contains_key(&entry.path) {
            return refused("it was offered before");
        }
        if let Some(parent) = entry.path.parent().filter(|parent| !parent.is_root())
            && state.offered.get(&parent) != Some(&Kind::Dir)
        {
            return refused("its parent is not a directory of this tree");
        }
        let (mut want, mut kind) = (Want::Nothing, Kind::Other);
        match &entry.kind {
            EntryKind::Dir => {
                self.make_dir(&mut state, entry).map_err(failed)?;
                state.undressed.push((entry.path.clone(), entry.meta.clone()));
                kind = Kind::Dir;
            }
            _ if entry.path.is_root() => return refused("the root of a tree is a directory"),
            EntryKind::File { hardlink_to: Some(first), .. } => {
                if !matches!(state.offered.get(first), Some(Kind::File | Kind::Whole)) {
                    return refused("the file that it is a further name of is not in the tree");
                }
                state.links.push((entry.path.clone(), first.clone()));
            }
            EntryKind::File { hardlink_to: None, len } => {
                want = self.want(&mut state, entry, *len).map_err(failed)?;
                kind = if matches!(want, Want::Nothing) { Kind::Whole } else { Kind::File };
            }
            other => self.make_other(&mut state, entry, other).map_err(failed)?,
        }
        state.offered.insert(entry.path.clone(), kind);
        Ok(want)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_dir(&self, state: &mut State, entry: &Entry) -> io::Result<()> {
        let path = &entry.path;
        let (parent, name) = handle::split(path.as_bytes());
        let name = if path.is_root() { b"." } else { name };
        let dir = state.dirs.enter(parent)?;
        match handle::stat_in(dir, name)? {
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                // Until the end we have to get in.
                if stat.st_mode & 0o700 != 0o700 {
                    set_mode(dir, name, stat.st_mode & 0o7777 | 0o700)?;
                }
                return Ok(());
            }
            Some(_) => handle::unlink_in(dir, name)?,
            None => {}
        }
        handle::make_dir(dir, name)?;
        // Should the writing break off, others find their way in all the same, a web server for one.
        set_mode(dir, name, self.mode(&entry.meta) | 0o700)
    }

    /// Whether a file's content is wanted: not if one of this length and time is there, all by itself, unless the source says that
    /// these prove nothing.
    fn want(&self, state: &mut State, entry: &Entry, len: u64) -> io::Result<Want> {
        let (parent, name) = handle::split(entry.path.as_bytes());
        let dir = state.dirs.enter(parent)?;
        let stat = handle::stat_in(dir, name)?;
        let Some(stat) = stat.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile) else {
            return Ok(Want::Data { basis: self.begun(state, &entry.path) });
        };
        let looks_same = handle::len(&stat) == len && handle::mtime(&stat) == entry.meta.mtime;
        if looks_same && stat.st_nlink == 1 && entry.meta.freshness != Freshness::Touched {
            self.dress(dir, name, &entry.meta, Some(&stat))?;
            return Ok(Want::Nothing);
        }
        let place = entry.path.as_bytes().to_vec();
        let basis = StoredFile::new(Arc::clone(&self.root), place, entry.path.clone(), handle::len(&stat));
        let older = (stat.st_size > 0).then(|| Arc::new(basis) as Arc<dyn Basis>);
        Ok(Want::Data {
            basis: match (self.begun(state, &entry.path), older) {
                (Some(begun), Some(older)) => Some(Arc::new(Both(begun, older))),
                (begun, older) => begun.or(older),
            },
        })
    }

    /// What was kept of a file that arrived in part.
    fn begun(&self, state: &mut State, path: &RelPath) -> Option<Arc<dyn Basis>> {
        if self.unfinished == Unfinished::Discard {
            return None;
        }
        let (parent, name) = handle::split(path.as_bytes());
        let mut place = parent.to_vec();
        if !place.is_empty() {
            place.push(b'/');
        }
        place.extend_from_slice(PARTIAL_DIR);
        // What cannot be looked at is not built on.
        let stat = handle::walk(&self.root, &place).and_then(|dir| handle::stat_in(dir, name)).ok().flatten()?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        state.begun.insert(path.clone());
        place.push(b'/');
        place.extend_from_slice(name);
        let basis = StoredFile::new(Arc::clone(&self.root), place, path.clone(), handle::len(&stat));
        (is_file && stat.st_size > 0).then(|| Arc::new(basis) as Arc<dyn Basis>)
    }

    /// Makes a symbolic link, device, pipe or socket, if it is not there already.
    fn make_other(&self, state: &mut State, entry: &Entry, kind: &EntryKind) -> io::Result<()> {
        let (parent, name) = handle::split(entry.path.as_bytes());
        let dir = state.dirs.enter(parent)?;
        let there = handle::stat_in(dir, name)?;
        let same = match &there {
            Some(stat) => handle::kind(stat, dir, name)?.as_ref() == Some(kind),
            None => false,
        };
        if same {
            return self.dress(dir, name, &entry.meta, there.as_ref());
        }
        let temporary = temporary_name();
        let node = |file_type, number: Option<DeviceNumber>| {
            let device = number.map_or(0, |number| rustix::fs::makedev(number.major, number.minor));
            rustix::fs::mknodat(dir, &temporary, file_type, Mode::RUSR | Mode::WUSR, device)
        };
        match kind {
            EntryKind::Symlink(target) => rustix::fs::symlinkat(target.as_bytes(), dir, &temporary),
            EntryKind::BlockDevice(number) => node(FileType::BlockDevice, Some(*number)),
            EntryKind::CharDevice(number) => node(FileType::CharacterDevice, Some(*number)),
            EntryKind::Fifo => node(FileType::Fifo, None),
            EntryKind::Socket => node(FileType::Socket, None),
            EntryKind::Dir | EntryKind::File { .. } => Err(Errno::INVAL),
        }?;
        let placed = self.dress(dir, &temporary, &entry.meta, None).and_then(|()| place(dir, &temporary, name));
        if placed.is_err() {
            handle::unlink_in(dir, &temporary)?;
        }
        placed
    }

    /// Sets owner, mode and time of a name, as far as they differ from what is there.
    fn dress(&self, dir: BorrowedFd<'_>, name: &[u8], meta: &EntryMeta, there: Option<&Stat>) -> io::Result<()> {
        let is_given = self.owners == Owners::Listed
            && there.is_none_or(|stat| (stat.st_uid, stat.st_gid) != (meta.uid, meta.gid));
        if is_given {
            let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        let mode = self.mode(meta);
        // Giving a file away takes its setuid and setgid bits.
        if is_given || there.is_none_or(|stat| stat.st_mode & 0o7777 != mode) {
            set_mode(dir, name, mode)?;
        }
        if there.is_none_or(|stat| handle::mtime(stat) != meta.mtime) {
            handle::set_mtime(dir, name, meta.mtime)?;
        }
        Ok(())
    }

    fn mode(&self, meta: &EntryMeta) -> u32 {
        match self.special_bits {
            SpecialBits::Drop => meta.mode & 0o777,
            SpecialBits::Set => meta.mode & 0o7777,
        }
    }

    /// Links further names, then dresses the directories, the deepest first.
    pub(super) fn finish(&self) -> Problems {
        let mut problems = Problems::new();
        let mut state = self.lock();
        let State { dirs, offered, undressed, links, .. } = &mut *state;
        for (path, first) in &*links {
            // Whatever lies at the place of a first name that did not arrive, it is not what this name is to have.
            if offered.get(first) != Some(&Kind::Whole) {
                let detail = "the content of its first name did not arrive";
                problems.push(Problem::new(path.clone(), ProblemKind::Failed, detail));
            } else if let Err(error) = self.link(dirs, path, first) {
                problems.push(Problem::new(path.clone(), ProblemKind::Failed, error.to_string()));
            }
        }
        undressed.sort_by(|a, b| b.0.cmp(&a.0));
        for (path, meta) in &*undressed {
            let (parent, name) = handle::split(path.as_bytes());
            let name = if path.is_root() { b"." } else { name };
            let dressed =
                dirs.enter(parent).and_then(|dir| self.dress(dir, name, meta, handle::stat_in(dir, name)?.as_ref()));
            if let Err(error) = dressed {
                problems.push(Problem::new(path.clone(), ProblemKind::Failed, error.to_string()));
            }
        }
        problems
    }

    fn link(&self, dirs: &mut DirStack, path: &RelPath, first: &RelPath) -> io::Result<()> {
        let (first_parent, first_name) = handle::split(first.as_bytes());
        let (parent, name) = handle::split(path.as_bytes());
        let from = handle::walk(&self.root, first_parent)?;
        let dir = dirs.enter(parent)?;
        let of = |dir: BorrowedFd<'_>, name| {
            Ok::<_, io::Error>(handle::stat_in(dir, name)?.map(|stat| (stat.st_dev, stat.st_ino)))
        };
        // Renaming one name of a file over another name of it would do nothing and leave both.
        if of(from.as_fd(), first_name)?.is_some_and(|wanted| of(dir, name).is_ok_and(|there| there == Some(wanted))) {
            return Ok(());
        }
        let temporary = temporary_name();
        rustix::fs::linkat(&from, first_name, dir, &temporary, AtFlags::empty())?;
        let placed = place(dir, &temporary, name);
        if placed.is_err() {
            handle::unlink_in(dir, &temporary)?;
        }
        placed
    }
}

/// Renames a finished object to its name. A directory in the way goes only if it is empty.
fn place(dir: BorrowedFd<'_>, temporary: &[u8], name: &[u8]) -> io::Result<()> {
    match rustix::fs::renameat(dir, temporary, dir, name) {
        Err(Errno::ISDIR) => {
            rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?;
            Ok(rustix::fs::renameat(dir, temporary, dir, name)?)
        }
        other => Ok(other?),
    }
}

/// Sets permission bits without following a link, which has none of its own: Linux changes modes by name only with following,
/// so a handle is taken and its own name used.
fn set_mode(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> io::Result<()> {
    use rustix::{fd::AsRawFd as _, fs::OFlags};
    let held = rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&held)?.st_mode) == FileType::Symlink {
        return Ok(());
    }
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    Ok(rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty())?)
}

/// Short enough for every file system, whatever the name that it stands in for.
fn temporary_name() -> Vec<u8> {
    [b".clonepanel-", &*crate::snapshots::random_name()].concat()
}

/// Takes the content of one file: in memory while it is short, else in a file beside its place.
pub(super) struct Incoming {
    pass: Arc<Pass>,
    entry: Entry,
    digest: DigestBuilder,
    buffer: Vec<u8>,
    file: Option<Temporary>,
}

/// A file under a temporary name. When this is dropped, the name goes, or the file is kept for the next time.
struct Temporary {
    dir: Arc<OwnedFd>,
    name: Vec<u8>,
    file: File,
    /// The name in the folder of files that arrived in part.
    kept_as: Option<Vec<u8>>,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let is_kept = |name: &Vec<u8>| {
            let partial = handle::made_dir_in(&self.dir, PARTIAL_DIR);
            partial.is_ok_and(|partial| rustix::fs::renameat(&self.dir, &self.name, partial, &**name).is_ok())
        };
        if !self.name.is_empty() && !self.kept_as.as_ref().is_some_and(is_kept) {
            drop(handle::unlink_in(&self.dir, &self.name));
        }
    }
}

impl Temporary {
    fn create(pass: &Pass, path: &RelPath) -> io::Result<Self> {
        let dir = Arc::new(handle::parent_of(&pass.root, path)?);
        let name = temporary_name();
        let file = handle::create_in(&dir, &name, 0o600)?;
        let (_, last) = handle::split(path.as_bytes());
        let kept_as = (pass.unfinished == Unfinished::Keep).then(|| last.to_vec());
        Ok(Self { dir, name, file, kept_as })
    }

    /// Removes what was kept of the file the last time, and the folder for it if that was all.
    fn clear(&self, name: &[u8]) {
        // Whatever stays is known not to be a part of the tree.
        let Ok(partial) = handle::dir_in(&self.dir, PARTIAL_DIR) else { return };
        let _ = handle::unlink_in(&partial, name);
        let _ = rustix::fs::unlinkat(&self.dir, PARTIAL_DIR, AtFlags::REMOVEDIR);
    }

    fn complete(mut self, pass: &Pass, entry: &Entry) -> io::Result<()> {
        let (_, name) = handle::split(entry.path.as_bytes());
        if pass.owners == Owners::Listed {
            let (uid, gid) = (Uid::from_raw(entry.meta.uid), Gid::from_raw(entry.meta.gid));
            rustix::fs::fchown(&self.file, Some(uid), Some(gid))?;
        }
        handle::dress(&self.file, pass.mode(&entry.meta), entry.meta.mtime)?;
        place(self.dir.as_fd(), &self.name, name)?;
        self.name.clear();
        if pass.lock().begun.remove(&entry.path) {
            self.clear(name);
        }
        Ok(())
    }
}

impl Incoming {
    pub(super) fn new(pass: Arc<Pass>, entry: &Entry) -> Result<Self, TreeError> {
        let known = matches!(pass.lock().offered.get(&entry.path), Some(Kind::File | Kind::Whole));
        if !known || !entry.has_content() {
            return Err(TreeError::Refused { path: entry.path.clone(), why: "it was not offered as a file" });
        }
        Ok(Self { pass, entry: entry.clone(), digest: DigestBuilder::new(), buffer: Vec::new(), file: None })
    }

    /// Writes what is gathered.
    async fn write_piece(&mut self) -> Result<(), TreeError> {
        let piece = std::mem::take(&mut self.buffer);
        let (file, mut digest) = (self.file.take(), std::mem::take(&mut self.digest));
        let (pass, path) = (Arc::clone(&self.pass), self.entry.path.clone());
        let write = move || {
            let mut file = match file {
                Some(file) => file,
                None => Temporary::create(&pass, &path)?,
            };
            digest.update(&piece);
            file.file.write_all(&piece)?;
            Ok((file, digest))
        };
        let (file, digest) = blocking::run(write, |error| error).await.map_err(|error| self.failed(error))?;
        (self.file, self.digest) = (Some(file), digest);
        Ok(())
    }

    fn failed(&self, error: io::Error) -> TreeError {
        match error.kind() {
            io::ErrorKind::DirectoryNotEmpty => {
                TreeError::Refused { path: self.entry.path.clone(), why: "a directory that is not empty is in the way" }
            }
            io::ErrorKind::PermissionDenied => TreeError::Refused { path: self.entry.path.clone(), why: NOT_ALLOWED },
            _ => TreeError::from_io("write", &self.entry.path, error),
        }
    }
}

#[async_trait]
impl FileSink for Incoming {
    async fn write(&mut self, chunk: Bytes) -> Result<(), TreeError> {
        if self.buffer.len() + chunk.len() > PIECE && !self.buffer.is_empty() {
            self.write_piece().await?;
        }
        self.buffer.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<FileDigest, TreeError> {
        let piece = std::mem::take(&mut self.buffer);
        let (file, mut digest) = (self.file.take(), std::mem::take(&mut self.digest));
        let (pass, entry) = (Arc::clone(&self.pass), self.entry.clone());
        let complete = move || {
            let mut file = match file {
                Some(file) => file,
                None => Temporary::create(&pass, &entry.path)?,
            };
            digest.update(&piece);
            file.file.write_all(&piece)?;
            file.complete(&pass, &entry)?;
            pass.lock().offered.insert(entry.path.clone(), Kind::Whole);
            Ok(digest.finish())
        };
        blocking::run(complete, |error| error).await.map_err(|error| self.failed(error))
    }
}
