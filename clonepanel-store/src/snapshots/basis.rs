//! [`StoredFile`]: a stored version of a file, as a basis for the new one.

use crate::{blocking, handle};
use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    path::RelPath,
    tree::{Basis, TreeError},
};
use rustix::fd::OwnedFd;
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{Arc, OnceLock},
};

/// A file below a held directory, opened when it is first read: offers may run far ahead.
#[derive(Debug)]
pub(crate) struct StoredFile {
    dir: Arc<OwnedFd>,
    place: Vec<u8>,
    path: RelPath,
    len: u64,
    file: Arc<OnceLock<File>>,
}

impl StoredFile {
    /// The file at `place` below `dir`, shown as `path` in errors.
    pub(crate) fn new(dir: Arc<OwnedFd>, place: Vec<u8>, path: RelPath, len: u64) -> Self {
        Self { dir, place, path, len, file: Arc::default() }
    }
}

#[async_trait]
impl Basis for StoredFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, TreeError> {
        let (dir, place, file) = (Arc::clone(&self.dir), self.place.clone(), Arc::clone(&self.file));
        let read = move || {
            if file.get().is_none() {
                let (parent, name) = handle::split(&place);
                drop(file.set(handle::file_in(handle::walk(&dir, parent)?, name)?));
            }
            let mut buffer = vec![0; len];
            file.get().ok_or(io::ErrorKind::NotFound)?.read_exact_at(&mut buffer, offset)?;
            Ok(Bytes::from(buffer))
        };
        blocking::run(read, |error| error).await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => TreeError::Damaged { path: self.path.clone() },
            _ => TreeError::from_io("read the older version of", &self.path, error),
        })
    }
}
