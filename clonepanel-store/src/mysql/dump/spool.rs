//! [`Spool`]: what was read and is not yet asked for, in memory as long as it is little.

use crate::blocking;
use bytes::Bytes;
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// So many bytes are kept in memory by all that is spooled; what is beyond goes to a file without a name.
const IN_MEMORY: usize = 1 << 20;

/// Takes contents and gives them back.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    directory: PathBuf,
    used: Arc<AtomicUsize>,
    file: Option<Arc<File>>,
    end: u64,
}

/// A content that is kept. The file goes when the last content in it is gone.
#[derive(Debug)]
pub(crate) enum Held {
    Disk { file: Arc<File>, offset: u64, len: u64 },
    Memory { bytes: Bytes, _share: Share },
}

/// A part of the memory, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    used: Arc<AtomicUsize>,
    len: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.used.fetch_sub(self.len, Ordering::Relaxed);
    }
}

impl Spool {
    /// A spool whose files are in `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), used: Arc::default(), file: None, end: 0 }
    }

    /// The same memory, another file: what is in the old one goes with its contents.
    pub(crate) fn renew(&mut self) {
        self.file = None;
        self.end = 0;
    }

    pub(crate) async fn keep(&mut self, content: Vec<u8>) -> io::Result<Held> {
        let len = content.len();
        if self.used.load(Ordering::Relaxed).saturating_add(len) <= IN_MEMORY {
            self.used.fetch_add(len, Ordering::Relaxed);
            let share = Share { used: Arc::clone(&self.used), len };
            return Ok(Held::Memory { bytes: content.into(), _share: share });
        }
        let file = self.file().await?;
        let offset = self.end;
        let written = Arc::clone(&file);
        blocking::run(move || written.write_all_at(&content, offset), |error| error).await?;
        self.end += len as u64;
        Ok(Held::Disk { file, offset, len: len as u64 })
    }

    async fn file(&mut self) -> io::Result<Arc<File>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let directory = self.directory.clone();
        let file = Arc::new(blocking::run(move || tempfile::tempfile_in(directory), |error| error).await?);
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }
}

impl Held {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Disk { len, .. } => *len,
            Self::Memory { bytes, .. } => bytes.len() as u64,
        }
    }

    /// At most `len` bytes from `at` on; none at the end.
    pub(crate) async fn read(&self, at: u64, len: usize) -> io::Result<Bytes> {
        let len = usize::try_from(self.len().saturating_sub(at)).unwrap_or(usize::MAX).min(len);
        match self {
            Self::Disk { file, offset, .. } => {
                let (file, from) = (Arc::clone(file), offset + at);
                let read = move || {
                    let mut bytes = vec![0; len];
                    file.read_exact_at(&mut bytes, from)?;
                    Ok(bytes.into())
                };
                blocking::run(read, |error| error).await
            }
            Self::Memory { bytes, .. } => {
                let from = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(from..from + len))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_much_goes_to_disk_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path());
        let piece = |n: u8| vec![n; IN_MEMORY / 3];
        let mut held = Vec::new();
        for n in 0..6 {
            held.push(spool.keep(piece(n)).await.unwrap());
        }
        assert_eq!(held.iter().filter(|held| matches!(held, Held::Memory { .. })).count(), 3);
        for (n, held) in (0..).zip(&held) {
            assert_eq!(held.len(), piece(n).len() as u64);
            assert!(held.read(1, 5000).await.unwrap().iter().all(|&b| b == n));
            assert_eq!(held.read(held.len() - 2, 5000).await.unwrap().len(), 2);
            assert!(held.read(held.len(), 5000).await.unwrap().is_empty());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
        drop(held);
        assert!(matches!(spool.keep(piece(9)).await.unwrap(), Held::Memory { .. }), "memory is given back");
    }
}
