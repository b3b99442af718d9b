//! What the workers of a writer do: everything that touches the disk.

use super::{
    content::{ContentIndex, Linked, Succeeds, link, stored_mode},
    draft::Draft,
    staging::Staging,
    table::{LOST, RowId, STORED, SUCCEEDS, Table},
};
use crate::{
    handle,
    stack::{DirStack, Missing},
};
use clonepanel_core::{
    digest::{ContentHash, FileDigest},
    entry::LinkTarget,
    manifest::Record,
    path::RelPath,
    retry::Retry,
    time::Timestamp,
    tree::TreeError,
};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::Mode,
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    sync::Arc,
    thread::JoinHandle,
};
use tokio::sync::OwnedSemaphorePermit;

/// One piece of work.
#[derive(Debug)]
pub(crate) enum Op {
    /// Link what an interrupted run stored.
    Adopt { row: RowId, path: RelPath, content: FileDigest, mode: u32 },
    /// Store the content of a base's file anew, with other permission bits.
    Copy { row: RowId, base: RowId, mode: u32 },
    /// Make a directory.
    Dir { path: RelPath },
    /// Give a finished directory its mode and time.
    Dress { table: Arc<Table>, row: RowId },
    /// Enter a stored file into the content index.
    Index { table: Arc<Table>, row: RowId },
    /// Put arrived content on its place.
    Keep(Box<Keep>),
    /// Link a file of the base.
    Link { row: RowId, base: RowId },
    /// Give a file of this snapshot a further name.
    Name { row: RowId, first: RowId, content: FileDigest, mode: u32 },
    /// Make a symbolic link.
    Symlink { path: RelPath, target: LinkTarget, mtime: Timestamp },
}

/// Content that arrived.
#[derive(Debug)]
pub(crate) struct Keep {
    pub(crate) row: RowId,
    pub(crate) record: Record,
    pub(crate) content: FileDigest,
    pub(crate) body: Body,
    pub(crate) same: SameAsBase,
    pub(crate) _room: Option<OwnedSemaphorePermit>,
}

/// Where arrived content is.
#[derive(Debug)]
pub(crate) enum Body {
    /// A file in the staging area's `tmp`.
    File(Vec<u8>, File),
    Memory(Vec<u8>),
}

/// Whether the base's file at the same path has this content and these permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SameAsBase {
    No,
    Yes,
}

/// The threads of one writer; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Workers {
    draft: Arc<Draft>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    pub(crate) fn start(draft: &Arc<Draft>, count: usize) -> io::Result<Self> {
        let mut workers = Self { draft: Arc::clone(draft), threads: Vec::new() };
        for _ in 0..count {
            let draft = Arc::clone(draft);
            let thread = std::thread::Builder::new().name("store-writer".to_owned());
            workers.threads.push(thread.spawn(move || Worker::new(&draft).run())?);
        }
        Ok(workers)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.draft.queue.close();
        for thread in self.threads.drain(..) {
            // A panic was recorded as a failure of the queue.
            drop(thread.join());
        }
    }
}

struct Worker<'a> {
    draft: &'a Draft,
    tree: DirStack,
    base: Option<(DirStack, Arc<Table>)>,
    adopted: Option<DirStack>,
    journal: Vec<u8>,
}

impl<'a> Worker<'a> {
    fn new(draft: &'a Draft) -> Self {
        let old = |dir: &Arc<OwnedFd>| DirStack::new(Arc::clone(dir), Missing::Fail);
        Self {
            draft,
            tree: DirStack::new(Arc::clone(&draft.staging.tree), Missing::Make),
            base: draft.base.as_ref().map(|base| (old(&base.dir), Arc::clone(&base.table))),
            adopted: draft.adopted.as_ref().map(|adopted| old(&adopted.tree)),
            journal: Vec::new(),
        }
    }

    fn run(mut self) {
        while let Some(mut taken) = self.draft.queue.take() {
            for op in taken.ops() {
                if self.draft.queue.is_closed() || self.draft.queue.failure().is_some() {
                    break;
                }
                self.work(op);
            }
            self.draft.staging.append_journal(&mut self.journal);
        }
    }

    fn work(&mut self, op: Op) {
        match op {
            Op::Adopt { row, path, content, mode } => {
                self.try_on("adopt", path.as_bytes(), |worker| worker.adopt(row, &path, &content, mode));
            }
            Op::Copy { row, base, mode } => {
                self.on_base("copy", base, |worker, path| worker.copy(row, base, path, mode));
            }
            Op::Dir { path } => self.try_on("make the directory", path.as_bytes(), |worker| {
                worker.draft.space.use_up(0, 1)?;
                worker.tree.enter(path.as_bytes()).map(drop)
            }),
            Op::Dress { table, row } => {
                self.try_on("set the mode of", table.path(row), |worker| worker.dress_dir(&table, row));
            }
            // A content that is not in the index costs a copy later, nothing else.
            Op::Index { table, row } => drop(self.index(&table, row)),
            Op::Keep(keep) => {
                let path = keep.record.entry.path.clone();
                self.try_on("write", path.as_bytes(), |worker| worker.keep(*keep));
            }
            Op::Link { row, base } => self.on_base("link", base, |worker, path| worker.link(row, base, path)),
            Op::Name { row, first, content, mode } => {
                let state = self.draft.lock();
                let [from, to] = [first, row].map(|row| state.table.path(row).to_vec());
                drop(state);
                self.try_on("link", &to, |worker| worker.name(row, &from, &to, &content, mode));
            }
            Op::Symlink { path, target, mtime } => {
                self.try_on("make the link", path.as_bytes(), |worker| worker.symlink(&path, &target, mtime));
            }
        }
    }

    fn try_on(&mut self, action: &'static str, path: &[u8], work: impl FnOnce(&mut Self) -> io::Result<()>) {
        if let Err(error) = work(self) {
            self.draft.fail(action, path, error);
        }
    }

    fn on_base(&mut self, action: &'static str, row: RowId, work: impl FnOnce(&mut Self, &[u8]) -> io::Result<()>) {
        if let Some((_, table)) = &self.base {
            let table = Arc::clone(table);
            let path = table.path(row);
            self.try_on(action, path, |worker| work(worker, path));
        }
    }

    /// The common case, and the one that has to be fast: a file of the base that did not change.
    fn link(&mut self, row: RowId, base: RowId, path: &[u8]) -> io::Result<()> {
        let Some((content, mode)) = self.base_row(base) else { return Ok(()) };
        match self.link_base(path, content.len)? {
            Linked::Done => Ok(()),
            Linked::Absent | Linked::Full | Linked::Wrong => self.link_elsewhere(row, path, &content, mode),
        }
    }

    fn link_base(&mut self, path: &[u8], len: u64) -> io::Result<Linked> {
        let place = self.draft.places.of(path);
        let (parent, name) = handle::split(&place);
        let Some((from, _)) = &mut self.base else { return Ok(Linked::Absent) };
        let from = match from.enter(parent) {
            Ok(from) => from,
            Err(error) if is_gone(&error) => return Ok(Linked::Absent),
            Err(error) if is_lasting(&error) => return Ok(Linked::Wrong),
            Err(error) => return Err(error),
        };
        let to = self.tree.enter(parent)?;
        link(from, name, to, name, len, &self.draft.limits)
    }

    fn base_row(&self, row: RowId) -> Option<(FileDigest, u32)> {
        let (_, table) = self.base.as_ref()?;
        let row = table.row(row)?;
        Some((row.content()?, row.mode()))
    }

    /// The base's file cannot be linked: another copy of the same content, from the index, from this run, or a new one.
    fn link_elsewhere(&mut self, row: RowId, path: &[u8], content: &FileDigest, mode: u32) -> io::Result<()> {
        if self.link_known(path, content, mode)? == Linked::Done {
            return Ok(());
        }
        match self.copy_base(path, content, mode) {
            Ok(()) => {
                // What the index has is full as well, or was never there.
                self.draft.remember(row, content, mode, STORED | SUCCEEDS);
                Ok(())
            }
            Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::InvalidData => {
                self.lose(row);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Links the same content from where this run stored it, or from the index.
    fn link_known(&mut self, path: &[u8], content: &FileDigest, mode: u32) -> io::Result<Linked> {
        if content.len < super::content::SHORTEST {
            return Ok(Linked::Absent);
        }
        let place = self.draft.places.of(path).into_owned();
        let (parent, name) = handle::split(&place);
        if let Some(from) = self.draft.stored_alike(content, mode)
            && from != place
        {
            let (from_parent, from_name) = handle::split(&from);
            let from = handle::walk(&self.draft.staging.tree, from_parent)?;
            let linked = link(&from, from_name, self.tree.enter(parent)?, name, content.len, &self.draft.limits)?;
            if linked == Linked::Done {
                return Ok(linked);
            }
        }
        self.draft.content.take(content, mode, self.tree.enter(parent)?, name, &self.draft.limits)
    }

    fn lose(&self, row: RowId) {
        if let Some(row) = self.draft.lock().table.row_mut(row) {
            row.flags |= LOST;
        }
    }

    fn copy(&mut self, row: RowId, base: RowId, path: &[u8], mode: u32) -> io::Result<()> {
        let Some((content, _)) = self.base_row(base) else { return Ok(()) };
        self.link_elsewhere(row, path, &content, mode)
    }

    /// Copies the base's file, checking that it is what its record says: invalid data if it is not, or cannot be read.
    fn copy_base(&mut self, path: &[u8], content: &FileDigest, mode: u32) -> io::Result<()> {
        let place = self.draft.places.of(path).into_owned();
        let (parent, name) = handle::split(&place);
        let Some((from, table)) = &mut self.base else { return Err(Errno::NOENT.into()) };
        let dir = from.enter(parent).or_else(or_damaged)?;
        // One that is known to be damaged is not even opened: a failing disk takes its time.
        if handle::stat_in(dir, name).or_else(or_damaged)?.is_none_or(|stat| self.draft.limits.damaged.has(stat.st_ino))
        {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let from = handle::file_in(dir, name).or_else(or_damaged)?;
        let mtime = table.find(path, None).and_then(|row| table.row(row)).map(|row| row.mtime());
        self.draft.space.use_up(content.len, 1)?;
        let to = self.tree.enter(parent)?;
        store_copy(from, to, name, content, mode, mtime.unwrap_or_default())
    }

    fn adopt(&mut self, row: RowId, path: &RelPath, content: &FileDigest, mode: u32) -> io::Result<()> {
        let place = self.draft.places.of(path.as_bytes()).into_owned();
        let (parent, name) = handle::split(&place);
        let linked = match &mut self.adopted {
            Some(from) => {
                link(from.enter(parent)?, name, self.tree.enter(parent)?, name, content.len, &self.draft.limits)?
            }
            None => Linked::Absent,
        };
        match linked {
            Linked::Done => {
                self.draft.remember(row, content, mode, STORED);
                self.note(row);
            }
            _ => self.lose(row),
        }
        Ok(())
    }

    fn name(&mut self, row: RowId, from: &[u8], to: &[u8], content: &FileDigest, mode: u32) -> io::Result<()> {
        let [from, to] = [from, to].map(|path| self.draft.places.of(path).into_owned());
        let (from_parent, from_name) = handle::split(&from);
        let (parent, name) = handle::split(&to);
        let from_dir = handle::walk(&self.draft.staging.tree, from_parent)?;
        match link(&from_dir, from_name, self.tree.enter(parent)?, name, content.len, &self.draft.limits)? {
            Linked::Done => Ok(()),
            Linked::Full => {
                let file = handle::file_in(&from_dir, from_name)?;
                let mtime = handle::mtime(&rustix::fs::fstat(&file)?);
                self.draft.space.use_up(content.len, 1)?;
                store_copy(file, self.tree.enter(parent)?, name, content, mode, mtime)?;
                self.draft.remember(row, content, mode, STORED | SUCCEEDS);
                Ok(())
            }
            Linked::Absent | Linked::Wrong => {
                self.lose(row);
                Ok(())
            }
        }
    }

    fn symlink(&mut self, path: &RelPath, target: &LinkTarget, mtime: Timestamp) -> io::Result<()> {
        let (parent, name) = handle::split(path.as_bytes());
        self.draft.space.use_up(0, 1)?;
        let dir = self.tree.enter(parent)?;
        match rustix::fs::symlinkat(target.as_bytes(), dir, name) {
            Ok(()) => handle::set_mtime(dir, name, mtime),
            // The manifest has the text; this file system takes only shorter ones.
            Err(Errno::NAMETOOLONG) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn keep(&mut self, keep: Keep) -> io::Result<()> {
        let Keep { row, record, content, body, same, _room } = keep;
        let path = record.entry.path.as_bytes();
        let mode = record.entry.meta.mode;
        let (mut linked, mut flags) = (Linked::Absent, STORED);
        match same {
            SameAsBase::No => linked = self.link_known(path, &content, mode)?,
            // The index has no copy that is known to be damaged.
            SameAsBase::Yes if self.base_is_damaged(path, &content) => {
                linked = self.link_known(path, &content, mode)?;
            }
            // It was asked for although the base has it. The stored bytes are hashed again before they are believed: if they
            // are not what their record says, what arrived takes their place, here and in the index.
            SameAsBase::Yes if self.base_is_sound(path, &content) => {
                linked = self.link_base(path, content.len)?;
                if linked != Linked::Done {
                    linked = self.link_known(path, &content, mode)?;
                }
            }
            SameAsBase::Yes => flags |= SUCCEEDS,
        }
        if matches!(linked, Linked::Full | Linked::Wrong) {
            flags |= SUCCEEDS;
        }
        if linked == Linked::Done {
            if let Body::File(name, _) = body {
                handle::unlink_in(&self.draft.staging.tmp, &name)?;
            }
            return Ok(());
        }
        let place = self.draft.places.of(path).into_owned();
        let (parent, name) = handle::split(&place);
        let mtime = record.entry.meta.mtime;
        match body {
            Body::Memory(bytes) => {
                self.draft.space.use_up(content.len, 1)?;
                let mut file = create_over(self.tree.enter(parent)?, name)?;
                file.write_all(&bytes)?;
                handle::dress(&file, stored_mode(mode), mtime)?;
            }
            Body::File(temporary, file) => {
                handle::dress(&file, stored_mode(mode), mtime)?;
                rustix::fs::renameat(&self.draft.staging.tmp, &temporary, self.tree.enter(parent)?, name)?;
            }
        }
        self.draft.remember(row, &content, mode, flags);
        Staging::journal_record(&mut self.journal, record, content);
        Ok(())
    }

    fn base_is_damaged(&self, path: &[u8], content: &FileDigest) -> bool {
        let hash = content.hash.as_bytes();
        self.draft.base.as_ref().is_some_and(|base| self.draft.is_damaged(base, path, hash))
    }

    fn base_is_sound(&mut self, path: &[u8], content: &FileDigest) -> bool {
        let place = self.draft.places.of(path);
        let (parent, name) = handle::split(&place);
        let Some((from, _)) = &mut self.base else { return false };
        let file = from.enter(parent).and_then(|dir| handle::file_in(dir, name));
        file.and_then(hash_file).is_ok_and(|found| found == *content)
    }

    /// Writes down that a row's content is stored, for the run after an interruption.
    fn note(&mut self, row: RowId) {
        let record = self.draft.lock().table.record(row);
        if let Some(record) = record
            && let Some(content) = record.content
        {
            Staging::journal_record(&mut self.journal, record, content);
        }
    }

    fn dress_dir(&mut self, table: &Table, row: RowId) -> io::Result<()> {
        let path = table.path(row);
        let Some(kept) = table.row(row) else { return Ok(()) };
        let dir = self.tree.enter(path)?;
        // The store itself has to get in.
        let mode = kept.mode() & 0o777 | 0o700;
        // A handle that was opened for its path alone is reached through its own name.
        rustix::fs::chmodat(dir, ".", Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())?;
        handle::set_mtime(dir, b".", kept.mtime())
    }

    fn index(&mut self, table: &Table, row: RowId) -> io::Result<()> {
        let Some(kept) = table.row(row) else { return Ok(()) };
        let Some(content) = kept.content() else { return Ok(()) };
        let place = self.draft.places.of(table.path(row));
        let (parent, name) = handle::split(&place);
        let succeeds = if kept.has(SUCCEEDS) { Succeeds::Known } else { Succeeds::Nothing };
        let index: &ContentIndex = &self.draft.content;
        index.add(&content, kept.mode(), self.tree.enter(parent)?, name, succeeds)
    }
}

/// Hashes a file from the start to the end.
pub(crate) fn hash_file(mut file: File) -> io::Result<FileDigest> {
    let mut builder = clonepanel_core::digest::DigestBuilder::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(builder.finish()),
            read => builder.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// Creates a file, replacing an old name.
fn create_over(dir: impl AsFd, name: &[u8]) -> io::Result<File> {
    match handle::create_in(&dir, name, 0o600) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            handle::unlink_in(&dir, name)?;
            handle::create_in(dir, name, 0o600)
        }
        other => other,
    }
}

/// Whether an error in reading stored bytes is about them, and will be the same later.
pub(crate) fn is_lasting(error: &io::Error) -> bool {
    let same = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
    TreeError::from_io("read", &RelPath::root(), same).retry() == Retry::Never
}

/// Invalid data for what cannot be read, now or later: one bad file must not fail the run. What says nothing about the file does.
pub(crate) fn or_damaged<T>(error: io::Error) -> io::Result<T> {
    Err(if is_lasting(&error) { io::ErrorKind::InvalidData.into() } else { error })
}

/// Copies a stored file; bytes that are not what the record says, or cannot be read, are invalid data and leave nothing behind.
pub(crate) fn store_copy(
    from: File,
    dir: impl AsFd,
    name: &[u8],
    content: &FileDigest,
    mode: u32,
    mtime: Timestamp,
) -> io::Result<()> {
    let mut to = create_over(&dir, name)?;
    let copied = match rustix::fs::ioctl_ficlone(&to, &from) {
        Ok(()) => hash_file(from).or_else(or_damaged),
        Err(_) => copy_hashing(from, &mut to),
    };
    match copied {
        Ok(copied) if copied == *content => {}
        Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
        _ => {
            handle::unlink_in(dir, name)?;
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    handle::dress(&to, stored_mode(mode), mtime)
}

fn copy_hashing(mut from: File, to: &mut File) -> io::Result<FileDigest> {
    let (mut hasher, mut len) = (blake3::Hasher::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let piece = match from.read(&mut buffer).or_else(or_damaged)? {
            0 => return Ok(FileDigest { len, hash: ContentHash::new(hasher.finalize().into()) }),
            read => buffer.get(..read).unwrap_or_default(),
        };
        hasher.update(piece);
        to.write_all(piece)?;
        len += piece.len() as u64;
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
