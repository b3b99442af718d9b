//! The listing and the files of a local directory as streams.

use super::walk::Walk;
use crate::{blocking, handle};
use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    path::RelPath,
    tree::{EntryStream, FileStream, Listed, TreeError},
};
use rustix::{fd::OwnedFd, fs::Stat};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _},
    sync::{Arc, Mutex, PoisonError},
};

/// So many entries are listed in one go.
const BATCH: usize = 256;
/// Files are read in pieces of this length.
const PIECE: usize = 256 << 10;

/// A walk that is taken further when its entries run out.
pub(super) struct Entries {
    walk: Option<Walk>,
    ready: VecDeque<Listed>,
}

impl Entries {
    pub(super) const fn new(walk: Walk) -> Self {
        Self { walk: Some(walk), ready: VecDeque::new() }
    }
}

#[async_trait]
impl EntryStream for Entries {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        if self.ready.is_empty()
            && let Some(mut walk) = self.walk.take()
        {
            let list = move || {
                let mut ready = VecDeque::with_capacity(BATCH);
                while ready.len() < BATCH {
                    match walk.next()? {
                        Some(listed) => ready.push_back(listed),
                        None => return Ok((ready, None)),
                    }
                }
                Ok((ready, Some(walk)))
            };
            let listed = blocking::run(list, |error| error).await;
            (self.ready, self.walk) = listed.map_err(|error| TreeError::from_io("list", &RelPath::root(), error))?;
        }
        Ok(self.ready.pop_front())
    }
}

/// Paths of files that changed while they were read.
pub(super) type Changed = Arc<Mutex<Vec<RelPath>>>;

/// A file that is being read. The first piece is read as it is opened: for most files that is all of it.
pub(super) struct Content {
    path: RelPath,
    next: Option<Piece>,
    changed: Option<Changed>,
}

/// A piece of a file, and the way to the next one.
struct Piece {
    bytes: Bytes,
    rest: Rest,
}

enum Rest {
    /// The file as it was when it was opened.
    File(File, Stat),
    /// That was all; whether the file was written to meanwhile.
    None { changed: bool },
}

impl Piece {
    /// Reads until the piece is full or the file ends.
    fn read(mut file: File, stat: Stat) -> io::Result<Self> {
        // One byte more than the file should have shows its end in the same go.
        let likely = usize::try_from(handle::len(&stat)).unwrap_or(PIECE).saturating_add(1);
        let mut buffer = vec![0; PIECE.min(likely).max(512)];
        let mut len = 0;
        while let Some(free) = buffer.get_mut(len..).filter(|free| !free.is_empty()) {
            match file.read(free)? {
                0 => {
                    let now = rustix::fs::fstat(&file)?;
                    // A rename or a new link changes the time of the inode, which is not looked at.
                    let changed = handle::mtime(&now) != handle::mtime(&stat) || now.st_size != stat.st_size;
                    buffer.truncate(len);
                    return Ok(Self { bytes: buffer.into(), rest: Rest::None { changed } });
                }
                more => len += more,
            }
        }
        Ok(Self { bytes: buffer.into(), rest: Rest::File(file, stat) })
    }
}

impl Content {
    pub(super) async fn open(root: Arc<OwnedFd>, path: &RelPath, changed: Option<Changed>) -> Result<Self, TreeError> {
        let at = path.clone();
        let open = move || {
            let (_, name) = handle::split(at.as_bytes());
            let file = handle::file_in(handle::parent_of(&root, &at)?, name)?;
            let stat = rustix::fs::fstat(&file)?;
            Piece::read(file, stat)
        };
        let first = blocking::run(open, |error| error).await.map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::NotADirectory => TreeError::NotFound { path: path.clone() },
            _ => TreeError::from_io("open", path, error),
        })?;
        Ok(Self { path: path.clone(), next: Some(first), changed })
    }
}

#[async_trait]
impl FileStream for Content {
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError> {
        let Some(Piece { bytes, rest }) = self.next.take() else { return Ok(None) };
        match rest {
            Rest::File(file, stat) if bytes.is_empty() => {
                let next = blocking::run(move || Piece::read(file, stat), |error| error).await;
                let next = next.map_err(|error: io::Error| TreeError::from_io("read", &self.path, error))?;
                if next.bytes.is_empty() {
                    self.end(&next.rest);
                    return Ok(None);
                }
                let bytes = next.bytes.clone();
                self.next = Some(Piece { bytes: Bytes::new(), rest: next.rest });
                Ok(Some(bytes))
            }
            rest if bytes.is_empty() => {
                self.end(&rest);
                Ok(None)
            }
            rest => {
                self.next = Some(Piece { bytes: Bytes::new(), rest });
                Ok(Some(bytes))
            }
        }
    }
}

impl Content {
    fn end(&self, rest: &Rest) {
        if let (Rest::None { changed: true }, Some(changed)) = (rest, &self.changed) {
            changed.lock().unwrap_or_else(PoisonError::into_inner).push(self.path.clone());
        }
    }
}
