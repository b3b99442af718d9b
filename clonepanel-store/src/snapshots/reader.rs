//! [`Reader`]: reads one snapshot.

use super::{
    place::MANIFEST,
    store::Root,
    table::{Row, RowId, Table},
};
use crate::{
    blocking, handle,
    stack::{DirStack, Missing},
};
use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    digest::{DigestBuilder, FileDigest},
    manifest::{Decoder, Item, Record},
    path::RelPath,
    snapshot_id::SnapshotId,
    store::{RecordStream, SnapshotInfo, SnapshotReader, StoreError, StoredCopy},
    tree::{EntryStream, FileStream, Listed, TreeError, TreeSource},
};
use rustix::fd::OwnedFd;
use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    sync::Arc,
};

/// Manifests and contents are read in pieces of this length.
const PIECE: usize = 256 << 10;
/// The longest footer: `end`, a count, a hash.
const MAX_FOOTER_LEN: u64 = 100;

/// One snapshot, its manifest held in memory.
#[derive(Debug)]
pub(crate) struct Reader {
    info: SnapshotInfo,
    table: Arc<Table>,
    dir: Arc<OwnedFd>,
    root: Arc<Root>,
}

impl Reader {
    /// Holds the snapshot in use until it is dropped: deleted meanwhile, it can still be read to its end.
    pub(crate) fn open(root: &Arc<Root>, id: &SnapshotId) -> Result<Self, StoreError> {
        let dir = root.used_dir(id)?;
        let (info, table) = read_manifest(&dir, id)?;
        Ok(Self { info, table: Arc::new(table), dir: Arc::new(dir), root: Arc::clone(root) })
    }

    fn file_row(&self, path: &RelPath) -> Option<&Row> {
        self.table.row(self.table.find(path.as_bytes(), None)?).filter(|row| row.is_file())
    }
}

#[async_trait]
impl TreeSource for Reader {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(Records { table: Arc::clone(&self.table), next: 0, id: self.info.id.clone() }))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        let row = self.file_row(path).ok_or_else(|| TreeError::NotFound { path: path.clone() })?;
        let content = row.content().ok_or_else(|| TreeError::NotFound { path: path.clone() })?;
        let (dir, place) = (Arc::clone(&self.dir), self.root.places.of(path.as_bytes()).into_owned());
        let open = move || {
            let (parent, name) = handle::split(&place);
            let file = handle::file_in(handle::walk(&dir, parent)?, name)?;
            if handle::len(&rustix::fs::fstat(&file)?) != content.len {
                return Err(io::ErrorKind::InvalidData.into());
            }
            read_piece(file, DigestBuilder::new(), content.len)
        };
        let state = blocking::run(open, |error| error).await.map_err(|error: io::Error| match error.kind() {
            // The manifest says that it is there.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidData => {
                TreeError::Damaged { path: path.clone() }
            }
            _ => TreeError::from_io("open", path, error),
        })?;
        Ok(Box::new(Content { path: path.clone(), expected: content, state: Some(state) }))
    }
}

#[async_trait]
impl SnapshotReader for Reader {
    fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    async fn records(&self) -> Result<Box<dyn RecordStream>, StoreError> {
        Ok(Box::new(Records { table: Arc::clone(&self.table), next: 0, id: self.info.id.clone() }))
    }

    async fn record(&self, path: &RelPath) -> Result<Option<Record>, StoreError> {
        Ok(self.table.find(path.as_bytes(), None).and_then(|row| self.table.record(row)))
    }

    async fn stored_copies(&self, paths: &[RelPath]) -> Result<Vec<Option<StoredCopy>>, StoreError> {
        let place = |path: &RelPath| self.file_row(path).map(|_| self.root.places.of(path.as_bytes()).into_owned());
        let places: Vec<_> = paths.iter().map(place).collect();
        let mut dirs = DirStack::new(Arc::clone(&self.dir), Missing::Fail);
        let failed = |error| StoreError::from_io("look at the stored files", error);
        let look = move || {
            let copy = |place: Option<Vec<u8>>| place.map_or(Ok(None), |place| copy_at(&mut dirs, &place));
            places.into_iter().map(copy).collect::<io::Result<Vec<_>>>()
        };
        blocking::run(look, |error| error).await.map_err(failed)
    }

    async fn distrust(&self, path: &RelPath) -> Result<(), StoreError> {
        let Some((content, mode)) = self.file_row(path).and_then(|row| Some((row.content()?, row.mode()))) else {
            return Ok(());
        };
        let (root, dir) = (Arc::clone(&self.root), Arc::clone(&self.dir));
        let place = self.root.places.of(path.as_bytes()).into_owned();
        let failed = |error| StoreError::from_io("remember a damaged file", error);
        blocking::run(move || root.distrust(&dir, &place, &content, mode), |error| error).await.map_err(failed)
    }
}

/// Which inode a stored file is.
fn copy_at(dirs: &mut DirStack, place: &[u8]) -> io::Result<Option<StoredCopy>> {
    let (parent, name) = handle::split(place);
    match dirs.enter(parent).and_then(|dir| handle::stat_in(dir, name)) {
        Ok(stat) => Ok(stat.map(|stat| StoredCopy::new(stat.st_ino))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All records in the order of their paths, which is an order for a tree as well: a directory comes before what is in it, and
/// the name that stands for a hard-link group is the first of them.
struct Records {
    table: Arc<Table>,
    next: RowId,
    id: SnapshotId,
}

impl Records {
    fn advance(&mut self) -> Option<RowId> {
        let row = self.next;
        (row < self.table.ids().end).then(|| {
            self.next += 1;
            row
        })
    }
}

#[async_trait]
impl RecordStream for Records {
    async fn next(&mut self) -> Result<Option<Record>, StoreError> {
        let Some(row) = self.advance() else { return Ok(None) };
        let damaged = || StoreError::Damaged { id: self.id.clone(), path: RelPath::root() };
        self.table.record(row).map(Some).ok_or_else(damaged)
    }
}

#[async_trait]
impl EntryStream for Records {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        let Some(row) = self.advance() else { return Ok(None) };
        self.table
            .entry(row)
            .map(|entry| Some(Listed::Entry(entry)))
            .ok_or(TreeError::Damaged { path: RelPath::root() })
    }
}

/// A stored content, hashed on the way: the end comes only if it is what was written. The first piece is read as the file is
/// opened, which for most files is all of it.
struct Content {
    path: RelPath,
    expected: FileDigest,
    state: Option<(File, DigestBuilder, Bytes)>,
}

#[async_trait]
impl FileStream for Content {
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError> {
        let Some((file, digest, ready)) = self.state.take() else { return Ok(None) };
        if !ready.is_empty() {
            self.state = Some((file, digest, Bytes::new()));
            return Ok(Some(ready));
        }
        let damaged = || TreeError::Damaged { path: self.path.clone() };
        if digest.len() == self.expected.len {
            return if digest.finish() == self.expected { Ok(None) } else { Err(damaged()) };
        }
        let left = self.expected.len.saturating_sub(digest.len());
        let read = blocking::run(move || read_piece(file, digest, left), |error| error).await;
        let (file, digest, piece) = read.map_err(|error| TreeError::from_io("read", &self.path, error))?;
        if piece.is_empty() {
            return Err(damaged());
        }
        self.state = Some((file, digest, Bytes::new()));
        Ok(Some(piece))
    }
}

/// Reads what is `left`, at most a piece of it.
fn read_piece(mut file: File, mut digest: DigestBuilder, left: u64) -> io::Result<(File, DigestBuilder, Bytes)> {
    let mut buffer = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
    let mut len = 0;
    while let Some(free) = buffer.get_mut(len..).filter(|free| !free.is_empty()) {
        match file.read(free)? {
            0 => break,
            more => len += more,
        }
    }
    buffer.truncate(len);
    digest.update(&buffer);
    Ok((file, digest, buffer.into()))
}

/// Reads the head of a manifest, and looks whether it seems to have an end.
pub(crate) fn read_info(dir: &OwnedFd, id: &SnapshotId) -> Result<SnapshotInfo, StoreError> {
    let mut file = open_manifest(dir, id)?;
    let failed = |error| StoreError::from_io("read the manifest", error);
    let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(len.saturating_sub(MAX_FOOTER_LEN))).map_err(failed)?;
    file.read_to_end(&mut tail).map_err(failed)?;
    let last = tail.strip_suffix(b"\n").and_then(|text| text.rsplit(|&b| b == b'\n').next());
    if !last.is_some_and(|line| line.starts_with(b"end ")) {
        return Err(damaged(id));
    }
    file.rewind().map_err(failed)?;
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; 8 << 10];
    loop {
        match decoder.next() {
            Ok(Some(Item::Info(info))) if info.id == *id => return Ok(info),
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return Err(damaged(id)),
        }
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Err(damaged(id)),
            read => decoder.feed(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// Reads a whole manifest and checks its footer.
pub(crate) fn read_manifest(dir: &OwnedFd, id: &SnapshotId) -> Result<(SnapshotInfo, Table), StoreError> {
    let mut file = open_manifest(dir, id)?;
    let (mut decoder, mut table, mut info) = (Decoder::new(), Table::new(None), None);
    let mut buffer = vec![0; PIECE];
    loop {
        match decoder.next().map_err(|_| damaged(id))? {
            Some(Item::Info(found)) => info = Some(found),
            Some(Item::Record(record)) => drop(table.push_record(&record).ok_or_else(|| damaged(id))?),
            Some(Item::End) => break,
            None => match file.read(&mut buffer).map_err(|error| StoreError::from_io("read the manifest", error))? {
                0 => return Err(damaged(id)),
                read => decoder.feed(buffer.get(..read).unwrap_or_default()),
            },
        }
    }
    let info = info.filter(|info| info.id == *id).ok_or_else(|| damaged(id))?;
    Ok((info, table))
}

fn open_manifest(dir: &OwnedFd, id: &SnapshotId) -> Result<File, StoreError> {
    handle::file_in(dir, MANIFEST.as_bytes()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => damaged(id),
        _ => StoreError::from_io("read the manifest", error),
    })
}

fn damaged(id: &SnapshotId) -> StoreError {
    StoreError::Damaged { id: id.clone(), path: RelPath::root() }
}
