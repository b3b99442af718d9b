//! [`StoredFile`] and [`Both`]: stored versions of a file, as a basis for the new one.

use crate::{blocking, handle};
use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    path::RelPath,
    tree::{Basis, TreeError},
};
use rustix::fd::OwnedFd;
use std::{io, os::unix::fs::FileExt as _, sync::Arc};

/// A file below a held directory. It is opened for each read: a thousand of them may wait for their turn, which is more than
/// a process may have open.
#[derive(Debug)]
pub(crate) struct StoredFile {
    dir: Arc<OwnedFd>,
    place: Vec<u8>,
    path: RelPath,
    len: u64,
}

impl StoredFile {
    /// The file at `place` below `dir`, shown as `path` in errors.
    pub(crate) fn new(dir: Arc<OwnedFd>, place: Vec<u8>, path: RelPath, len: u64) -> Self {
        Self { dir, place, path, len }
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
        let (dir, place) = (Arc::clone(&self.dir), self.place.clone());
        let read = move || {
            let (parent, name) = handle::split(&place);
            let file = handle::file_in(handle::walk(&dir, parent)?, name)?;
            let mut buffer = vec![0; len];
            file.read_exact_at(&mut buffer, offset)?;
            Ok(Bytes::from(buffer))
        };
        blocking::run(read, |error| error).await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => TreeError::Damaged { path: self.path.clone() },
            _ => TreeError::from_io("read the older version of", &self.path, error),
        })
    }
}

/// Two versions one after the other: the older one of the same file, and one that may be the new one already.
pub(crate) struct Both(pub(crate) Arc<dyn Basis>, pub(crate) Arc<dyn Basis>);

#[async_trait]
impl Basis for Both {
    fn len(&self) -> u64 {
        self.0.len() + self.1.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, TreeError> {
        let Some(in_first) = self.0.len().checked_sub(offset).filter(|left| *left > 0) else {
            return self.1.read_at(offset - self.0.len(), len).await;
        };
        let in_first = usize::try_from(in_first).unwrap_or(len).min(len);
        let first = self.0.read_at(offset, in_first).await?;
        if in_first == len {
            return Ok(first);
        }
        let second = self.1.read_at(0, len - in_first).await?;
        Ok([first, second].concat().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clonepanel_core::testkit::block_on;

    struct Bytewise(u8, u64);

    #[async_trait]
    impl Basis for Bytewise {
        fn len(&self) -> u64 {
            self.1
        }

        fn is_empty(&self) -> bool {
            self.1 == 0
        }

        async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, TreeError> {
            assert!(offset + len as u64 <= self.1);
            Ok((offset..offset + len as u64).map(|at| self.0 + at as u8).collect())
        }
    }

    #[test]
    fn two_read_as_one() {
        let both = Both(Arc::new(Bytewise(0, 5)), Arc::new(Bytewise(100, 4)));
        let all = [0, 1, 2, 3, 4, 100, 101, 102, 103];
        assert_eq!(both.len(), 9);
        for from in 0..9 {
            for to in from..=9 {
                let read = block_on(both.read_at(from as u64, to - from)).unwrap();
                assert_eq!(read[..], all[from..to], "{from}..{to}");
            }
        }
    }
}
