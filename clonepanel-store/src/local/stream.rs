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

/// A file that is being read.
pub(super) struct Content {
    path: RelPath,
    file: Option<(File, Stat)>,
    changed: Option<Changed>,
}

impl Content {
    pub(super) async fn open(root: Arc<OwnedFd>, path: &RelPath, changed: Option<Changed>) -> Result<Self, TreeError> {
        let at = path.clone();
        let open = move || {
            let (_, name) = handle::split(at.as_bytes());
            let file = handle::file_in(handle::parent_of(&root, &at)?, name)?;
            let stat = rustix::fs::fstat(&file)?;
            Ok((file, stat))
        };
        let file = blocking::run(open, |error| error).await.map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::NotADirectory => TreeError::NotFound { path: path.clone() },
            _ => TreeError::from_io("open", path, error),
        })?;
        Ok(Self { path: path.clone(), file: Some(file), changed })
    }
}

#[async_trait]
impl FileStream for Content {
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError> {
        let Some((mut file, stat)) = self.file.take() else { return Ok(None) };
        let read = move || {
            let mut buffer = vec![0; PIECE.min(usize::try_from(handle::len(&stat)).unwrap_or(PIECE)).max(512)];
            let len = file.read(&mut buffer)?;
            buffer.truncate(len);
            let now = if len == 0 { Some(rustix::fs::fstat(&file)?) } else { None };
            Ok((file, Bytes::from(buffer), now))
        };
        let (file, piece, now) = blocking::run(read, |error| error)
            .await
            .map_err(|error: io::Error| TreeError::from_io("read", &self.path, error))?;
        let Some(now) = now else {
            self.file = Some((file, stat));
            return Ok(Some(piece));
        };
        // Reading changes neither; a rename or a new link changes only the time of the inode, which is not looked at.
        if (handle::mtime(&now) != handle::mtime(&stat) || now.st_size != stat.st_size)
            && let Some(changed) = &self.changed
        {
            changed.lock().unwrap_or_else(PoisonError::into_inner).push(self.path.clone());
        }
        Ok(None)
    }
}
