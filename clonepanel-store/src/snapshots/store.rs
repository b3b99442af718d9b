//! [`HardLinkStore`] and the folders it is made of.

use super::{
    content::{ContentIndex, Limits},
    damage::{self, DamagedCopies},
    draft::{Base, Draft, Parts},
    format::{Format, sync_dir},
    lock::{self, SourceLock},
    options::StoreOptions,
    place::Places,
    reader::{self, Reader},
    space::Space,
    staging::random_name,
    table::RowKind,
    work::Workers,
    writer::Writer,
};
use crate::{
    blocking::{self, Stop},
    handle,
};
use async_trait::async_trait;
use clonepanel_core::{
    digest::FileDigest,
    retry::Retry,
    snapshot_id::{SnapshotId, SourceName},
    store::{NewSnapshot, SnapshotInfo, SnapshotReader, SnapshotStore, SnapshotWriter, StoreError},
};
use rustix::{fd::OwnedFd, io::Errno};
use std::{io, path::Path, sync::Arc};

/// Where the store keeps things of its own, below its root.
const OWN: &[u8] = b".clonepanel";
/// What the root of a fresh ext4 has in it.
const LOST_AND_FOUND: &[u8] = b"lost+found";
/// In a source's folder: a link to the newest complete snapshot, for people.
const LATEST: &[u8] = b"latest";

/// Snapshots as plain directory trees in which unchanged files are hard links to one stored copy.
///
/// Every tree can be read with `ls`, `cp` and `tar`; the manifest beside it has what a plain tree cannot hold (owners, setuid
/// bits, exact times, special files). Stored files are never changed: do not edit them in place either, as all snapshots
/// share them. `docs/disk-format.md` describes the layout.
///
/// Several processes may use one store at once: one writer a source, any number of readers.
#[derive(Debug, Clone)]
pub struct HardLinkStore {
    root: Arc<Root>,
    unsound: Unsound,
}

/// What a list does about a snapshot that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsound {
    Fail,
    LeaveOut,
}

/// What is known about a snapshot, or why it is not.
type Info = Result<SnapshotInfo, StoreError>;

/// The open folders of a store.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) dir: OwnedFd,
    pub(crate) staging: OwnedFd,
    pub(crate) options: StoreOptions,
    pub(crate) places: Places,
    pub(super) trash: OwnedFd,
    pub(super) locks: OwnedFd,
    pub(super) damaged: OwnedFd,
    pub(super) due: OwnedFd,
    pub(super) own: Arc<OwnedFd>,
    pub(super) content: Arc<ContentIndex>,
}

impl HardLinkStore {
    /// Opens the store at `root`, creating it if the directory is missing or empty (but for a `lost+found`).
    ///
    /// Waits for the disk: a few system calls, some dozens for a new store.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when the directory is not empty and no store, when its file system is not fit for one (no
    /// hard links, upper and lower case the same), or when the store's version is not understood; the ways in which a file
    /// system fails.
    pub fn init(root: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::with_options(root, StoreOptions::default())
    }

    /// Opens the store at `root`, which must exist.
    ///
    /// # Errors
    /// As [`Self::init`]; [`StoreError::Unusable`] also when there is no store.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with_options(root, StoreOptions::default())
    }

    /// As [`Self::open`], with options.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with_options(root: impl AsRef<Path>, options: StoreOptions) -> Result<Self, StoreError> {
        let none = || StoreError::Unusable { why: "there is no store in this directory".to_owned() };
        let dir = match handle::open_root(root.as_ref()) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none()),
            Err(error) => return Err(StoreError::from_io("open the store", error)),
        };
        let own = match handle::listed_dir_in(&dir, OWN) {
            Ok(own) => own,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none()),
            Err(error) => return Err(StoreError::from_io("open the store", error)),
        };
        let format = Format::read(&own)?.ok_or_else(none)?;
        Self::assemble(dir, own, format, options)
    }

    /// As [`Self::init`], with options.
    ///
    /// # Errors
    /// As [`Self::init`].
    pub fn with_options(root: impl AsRef<Path>, options: StoreOptions) -> Result<Self, StoreError> {
        let failed = |error| StoreError::from_io("create the store", error);
        match rustix::fs::mkdir(root.as_ref(), rustix::fs::Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let dir = handle::open_root(root.as_ref()).map_err(failed)?;
        let own = match handle::listed_dir_in(&dir, OWN) {
            Ok(own) => own,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if handle::names_in(&dir).map_err(failed)?.iter().any(|name| &*name.name != LOST_AND_FOUND) {
                    let why = "the directory is not empty and holds no store; choose an empty or a new one".to_owned();
                    return Err(StoreError::Unusable { why });
                }
                handle::make_dir(&dir, OWN).map_err(failed)?;
                handle::listed_dir_in(&dir, OWN).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        let format = match Format::read(&own)? {
            Some(format) => format,
            None => Format::init(&own)?,
        };
        Self::assemble(dir, own, format, options)
    }

    fn assemble(dir: OwnedFd, own: OwnedFd, format: Format, options: StoreOptions) -> Result<Self, StoreError> {
        let failed = |error| StoreError::from_io("open the store", error);
        let folder = |name: &[u8]| {
            handle::make_dir(&own, name)?;
            handle::listed_dir_in(&own, name)
        };
        let content = Arc::new(folder(b"content").map_err(failed)?);
        let root = Root {
            staging: folder(b"staging").map_err(failed)?,
            trash: folder(b"trash").map_err(failed)?,
            locks: folder(b"locks").map_err(failed)?,
            damaged: folder(b"damaged").map_err(failed)?,
            due: folder(b"due").map_err(failed)?,
            content: Arc::new(ContentIndex::new(content, options.max_links())),
            places: Places { longest_name: format.longest_name },
            own: Arc::new(own),
            dir,
            options,
        };
        root.space().fill_reserve();
        Ok(Self { root: Arc::new(root), unsound: Unsound::Fail })
    }

    /// The same store, whose [`list`](SnapshotStore::list) leaves out what cannot be read, for jobs that go on beside it. What
    /// that is [`Self::list_sound`] tells: somebody has to be told.
    #[must_use]
    pub fn beside_unsound(&self) -> Self {
        Self { root: Arc::clone(&self.root), unsound: Unsound::LeaveOut }
    }

    /// The snapshots of a source, oldest first, and those whose manifest is damaged or cannot be read, with the reason: where
    /// [`list`](SnapshotStore::list) fails because of one, this still tells what can be used. As with `list`, only the head and
    /// the end of each manifest are looked at.
    ///
    /// # Errors
    /// As [`SnapshotStore::list`], but for what is wrong with single snapshots.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn list_sound(
        &self,
        source: &SourceName,
    ) -> Result<(Vec<SnapshotInfo>, Vec<(SnapshotId, StoreError)>), StoreError> {
        let (root, source) = (Arc::clone(&self.root), source.clone());
        let (mut sound, mut unsound) = (Vec::new(), Vec::new());
        for (id, info) in self.run("list the snapshots", move || root.infos(&source)).await? {
            match info {
                Ok(info) => sound.push(info),
                Err(error) if is_its_own(&error) => unsound.push((id, error)),
                Err(error) => return Err(error),
            }
        }
        Ok((sound, unsound))
    }

    /// How many bytes deleting a snapshot would free: those of files that no other snapshot has.
    ///
    /// # Errors
    /// As [`SnapshotStore::delete`].
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn freed_by_deleting(&self, id: &SnapshotId) -> Result<u64, StoreError> {
        let (root, id) = (Arc::clone(&self.root), id.clone());
        self.run("measure the snapshot", move || {
            let failed = |error| StoreError::from_io("measure the snapshot", error);
            let damaged = DamagedCopies::read(&root.damaged).map_err(failed)?;
            super::measure::freed(&root.used_dir(&id)?, &root.content, damaged.inodes()).map_err(failed)
        })
        .await
    }

    /// Removes what deleted snapshots and runs that never came back have left, and tells how many bytes that freed. The store
    /// does this by itself when it deletes; it is never needed.
    ///
    /// # Errors
    /// The ways in which a file system fails.
    ///
    /// # Cancel safety
    /// When dropped, what was not yet removed is removed another time.
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        let root = Arc::clone(&self.root);
        let failed = |error| StoreError::from_io("remove what was deleted", error);
        blocking::run_to_end(move |stop| root.sweep_all(stop).map_err(failed), failed).await
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        blocking::run(work, |error| StoreError::from_io(action, error)).await
    }
}

#[async_trait]
impl SnapshotStore for HardLinkStore {
    async fn begin(&self, new: NewSnapshot) -> Result<Box<dyn SnapshotWriter>, StoreError> {
        let root = Arc::clone(&self.root);
        let lost = |error| StoreError::from_io("begin the snapshot", error);
        let writer = blocking::run_to_end(move |stop| root.begin(&new, stop), lost).await?;
        Ok(Box::new(writer))
    }

    async fn open(&self, id: &SnapshotId) -> Result<Arc<dyn SnapshotReader>, StoreError> {
        let (root, id) = (Arc::clone(&self.root), id.clone());
        let reader = self.run("open the snapshot", move || Reader::open(&root, &id)).await?;
        Ok(Arc::new(reader))
    }

    async fn list(&self, source: &SourceName) -> Result<Vec<SnapshotInfo>, StoreError> {
        if self.unsound == Unsound::LeaveOut {
            return Ok(self.list_sound(source).await?.0);
        }
        let (root, source) = (Arc::clone(&self.root), source.clone());
        self.run("list the snapshots", move || root.infos(&source)?.into_iter().map(|(_, info)| info).collect()).await
    }

    async fn sources(&self) -> Result<Vec<SourceName>, StoreError> {
        let root = Arc::clone(&self.root);
        self.run("list the sources", move || {
            let mut sources = Vec::new();
            let failed = |error| StoreError::from_io("list the sources", error);
            for name in handle::names_in(handle::listed_dir_in(&root.dir, b".").map_err(failed)?).map_err(failed)? {
                let source = str::from_utf8(&name.name).ok().and_then(|name| SourceName::new(name).ok());
                if let Some(source) = source
                    && name.is_dir(&root.dir).map_err(failed)?
                    && !root.ids(&source)?.is_empty()
                {
                    sources.push(source);
                }
            }
            sources.sort();
            Ok(sources)
        })
        .await
    }

    async fn delete(&self, id: &SnapshotId) -> Result<(), StoreError> {
        let (root, id) = (Arc::clone(&self.root), id.clone());
        let lost = |error| StoreError::from_io("delete the snapshot", error);
        blocking::run_to_end(move |stop| root.delete(&id, stop), lost).await
    }
}

impl Root {
    pub(super) fn space(&self) -> Space {
        Space::new(Arc::clone(&self.own), &self.options)
    }

    /// Remembers that the file at `place` below `dir` is not what it should be: it is never given another name.
    pub(super) fn distrust(&self, dir: &OwnedFd, place: &[u8], content: &FileDigest, mode: u32) -> io::Result<()> {
        let (parent, name) = handle::split(place);
        let dir = handle::walk(dir, parent)?;
        // What is gone cannot be linked either.
        let Some(stat) = handle::stat_in(&dir, name)? else { return Ok(()) };
        self.content.forget(content, mode, stat.st_ino)?;
        damage::remember(&self.damaged, dir, name, stat.st_ino, &content.hash)
    }

    /// All snapshots of a source, oldest first, without looking into them.
    fn ids(&self, source: &SourceName) -> Result<Vec<SnapshotId>, StoreError> {
        let failed = |error| StoreError::from_io("list the snapshots", error);
        let dir = match handle::listed_dir_in(&self.dir, source.as_str().as_bytes()) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut ids: Vec<_> = handle::names_in(dir)
            .map_err(failed)?
            .iter()
            .filter_map(|name| SnapshotId::parse_stem(source.clone(), str::from_utf8(&name.name).ok()?).ok())
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// What is known about each snapshot of a source, oldest first; one that cannot be read is an error of its own.
    fn infos(&self, source: &SourceName) -> Result<Vec<(SnapshotId, Info)>, StoreError> {
        let mut infos = Vec::new();
        for id in self.ids(source)? {
            let info = self.snapshot_dir(&id).and_then(|dir| {
                reader::read_info(&dir, &id).or_else(|error| {
                    // One that is being removed looks damaged.
                    self.check_named(&dir, &id)?;
                    Err(error)
                })
            });
            if !matches!(info, Err(StoreError::NotFound { .. })) {
                infos.push((id, info));
            }
        }
        Ok(infos)
    }

    /// The directory of a snapshot, marked as in use: its files stay for as long as the handle is open, even if it is deleted.
    pub(crate) fn used_dir(&self, id: &SnapshotId) -> Result<OwnedFd, StoreError> {
        let dir = self.snapshot_dir(id)?;
        lock::use_dir(&dir).map_err(|error| match error.kind() {
            // Whoever holds it removes it.
            io::ErrorKind::WouldBlock => StoreError::NotFound { id: id.clone() },
            _ => StoreError::from_io("open the snapshot", error),
        })?;
        // Between the opening and the mark it may have been removed.
        self.check_named(&dir, id)?;
        Ok(dir)
    }

    /// [`StoreError::NotFound`] if a snapshot was deleted after its directory was opened.
    fn check_named(&self, dir: &OwnedFd, id: &SnapshotId) -> Result<(), StoreError> {
        let inode = |dir: &OwnedFd| rustix::fs::fstat(dir).map(|stat| stat.st_ino);
        let (held, named) = (inode(dir), inode(&self.snapshot_dir(id)?));
        let (Ok(held), Ok(named)) = (held, named) else { return Ok(()) };
        if held == named { Ok(()) } else { Err(StoreError::NotFound { id: id.clone() }) }
    }

    /// The directory of a snapshot.
    pub(crate) fn snapshot_dir(&self, id: &SnapshotId) -> Result<OwnedFd, StoreError> {
        let dir = handle::dir_in(&self.dir, id.source().as_str().as_bytes())
            .and_then(|source| handle::listed_dir_in(source, id.stem().as_bytes()));
        dir.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StoreError::NotFound { id: id.clone() },
            _ => StoreError::from_io("open the snapshot", error),
        })
    }

    fn begin(self: &Arc<Self>, new: &NewSnapshot, stop: &Stop) -> Result<Writer, StoreError> {
        let failed = |error| StoreError::from_io("begin the snapshot", error);
        let source = new.source();
        let lock = SourceLock::take(&self.locks, source)?;
        let adopted = self.adopt(source, new, stop);
        self.check_file_system(source)?;
        let ids = self.ids(source)?;
        let id = match new.copied() {
            // One whose manifest is damaged stays until its copy is complete, and takes its place then.
            Some(info) if ids.contains(&info.id) && !self.is_damaged(&info.id) => {
                return Err(StoreError::Exists { id: info.id.clone() });
            }
            Some(info) => info.id.clone(),
            None => SnapshotId::next(source.clone(), new.now(), ids.last()),
        };
        // Of a copy, what comes before it is most like it.
        let before = ids.partition_point(|other| *other < id);
        let older = if before > 0 { ids.get(..before).unwrap_or_default() } else { &ids };
        let base = self.newest_sound(older)?;
        let adopted = self.make_room(base.as_ref(), adopted, stop)?;
        let (adopted, staging) = self.stage(adopted, source, new, stop).map_err(failed)?;
        let damaged = Arc::new(DamagedCopies::read(&self.damaged).map_err(failed)?);
        let limits = Limits { cap: self.options.max_links(), damaged };
        let draft = Arc::new(Draft::new(Parts {
            base,
            adopted,
            staging,
            content: Arc::clone(&self.content),
            space: self.space(),
            places: self.places,
            limits,
            audit: new.audited(),
            copied: new.copied().cloned(),
        }));
        let workers = Workers::start(&draft, self.options.threads()).map_err(failed)?;
        let copy_dirs = Arc::default();
        Ok(Writer { _workers: workers, draft, root: Arc::clone(self), id, begun: new.now(), copy_dirs, _lock: lock })
    }

    /// Hard links and renames work within one file system only.
    fn check_file_system(&self, source: &SourceName) -> Result<(), StoreError> {
        let failed = |error| StoreError::from_io("begin the snapshot", error);
        let of = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| stat.st_dev).map_err(|error| failed(error.into()));
        let dir = handle::made_dir_in(&self.dir, source.as_str().as_bytes()).map_err(failed)?;
        if of(&dir)? == of(&self.own)? {
            return Ok(());
        }
        Err(StoreError::Unusable { why: format!("the folder of {source} lies on another file system than the store") })
    }

    /// A new snapshot takes at least an inode for each directory.
    pub(super) fn check_space(&self, base: Option<&Base>) -> Result<(), StoreError> {
        let count = |table: &super::table::Table| {
            table.ids().filter(|&id| table.row(id).is_some_and(|row| row.kind == RowKind::Dir)).count()
        };
        let dirs = base.map_or(0, |base| count(&base.table)) as u64;
        match self.space().shortage(0, dirs).map_err(|error| StoreError::from_io("look at the free space", error))? {
            None => Ok(()),
            Some(what) => Err(StoreError::NoSpace { what }),
        }
    }

    /// The newest snapshot whose manifest is whole: one that is damaged, or that the disk does not give back, is no base for
    /// anything.
    fn newest_sound(&self, ids: &[SnapshotId]) -> Result<Option<Base>, StoreError> {
        for id in ids.iter().rev() {
            let dir = match self.used_dir(id) {
                Ok(dir) => dir,
                Err(StoreError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            match reader::read_manifest(&dir, id) {
                Ok((info, table)) => return Ok(Some(Base { info, table: Arc::new(table), dir: Arc::new(dir) })),
                Err(StoreError::NotFound { .. }) => {}
                Err(error) if is_its_own(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether a snapshot has no whole manifest. One that cannot be looked at may have.
    fn is_damaged(&self, id: &SnapshotId) -> bool {
        let read = self.used_dir(id).and_then(|dir| reader::read_manifest(&dir, id));
        matches!(read, Err(StoreError::Damaged { .. }))
    }

    fn delete(&self, id: &SnapshotId, stop: &Stop) -> Result<(), StoreError> {
        let failed = |error| StoreError::from_io("delete the snapshot", error);
        drop(self.snapshot_dir(id)?);
        let source = handle::listed_dir_in(&self.dir, id.source().as_str().as_bytes()).map_err(failed)?;
        match self.discard(&source, id) {
            Err(error) if is_full(&error) => {
                self.space().spend_reserve().map_err(failed)?;
                self.discard(&source, id).map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NotFound { id: id.clone() });
            }
            other => other.map_err(failed)?,
        }
        // It is gone from the list; what follows only frees its space, and can be made up for at any time.
        self.renew_latest(id, &source);
        drop(self.sweep_deleted(stop));
        self.space().fill_reserve();
        Ok(())
    }

    fn discard(&self, source: &OwnedFd, id: &SnapshotId) -> io::Result<()> {
        rustix::fs::renameat(source, id.stem(), &self.trash, random_name())?;
        sync_dir(source)?;
        sync_dir(&self.trash)
    }

    /// Points `latest` of a source to a snapshot: a convenience for people, never read by the store.
    pub(crate) fn point_latest(&self, id: &SnapshotId) -> io::Result<()> {
        let source = handle::dir_in(&self.dir, id.source().as_str().as_bytes())?;
        const NEW: &[u8] = b".latest.new";
        handle::unlink_in(&source, NEW)?;
        rustix::fs::symlinkat(id.stem(), &source, NEW)?;
        Ok(rustix::fs::renameat(&source, NEW, &source, LATEST)?)
    }

    /// Whether `latest` leads to a later snapshot than this one, as it may when an older one is copied.
    pub(crate) fn leads_later(&self, id: &SnapshotId) -> bool {
        let source = id.source();
        let target = handle::dir_in(&self.dir, source.as_str().as_bytes())
            .and_then(|dir| Ok(rustix::fs::readlinkat(dir, LATEST, Vec::new())?));
        let target = target.ok().and_then(|target| Some(target.to_str().ok()?.to_owned()));
        target.and_then(|stem| SnapshotId::parse_stem(source.clone(), &stem).ok()).is_some_and(|latest| latest > *id)
    }

    /// After `deleted` went: `latest` must not lead to nothing.
    fn renew_latest(&self, deleted: &SnapshotId, source: &OwnedFd) {
        let target = rustix::fs::readlinkat(source, LATEST, Vec::new());
        if target.is_ok_and(|target| target.to_bytes() == deleted.stem().as_bytes()) {
            let complete = self.ids(deleted.source()).ok().and_then(|ids| {
                ids.into_iter().rev().find(|id| {
                    let info = self.snapshot_dir(id).and_then(|dir| reader::read_info(&dir, id));
                    info.is_ok_and(|info| info.state() == clonepanel_core::store::SnapshotState::Complete)
                })
            });
            drop(match complete {
                Some(id) => self.point_latest(&id),
                None => handle::unlink_in(source, LATEST),
            });
        }
    }
}

/// Whether an error in reading a snapshot says nothing about the others. What can pass is about the machine: taken for the
/// snapshot's own, it would hide a good one.
fn is_its_own(error: &StoreError) -> bool {
    error.retry() == Retry::Never
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
