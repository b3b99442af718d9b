//! [`Staging`]: the folder in which a snapshot is put together, out of sight.

use crate::handle;
use clonepanel_core::{
    digest::FileDigest,
    escape::Escaped,
    manifest::{Marks, Record, encode_record},
    path::RelPath,
    snapshot_id::SourceName,
    store::NewSnapshot,
    time::Timestamp,
};
use rustix::fd::OwnedFd;
use std::{
    fs::File,
    hash::{BuildHasher as _, RandomState},
    io::{self, Write as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) const TREE: &[u8] = b"tree";
pub(crate) const TMP: &[u8] = b"tmp";
pub(crate) const JOURNAL: &[u8] = b"journal";
pub(crate) const OWNER: &[u8] = b"source";
/// Begins a line of the journal about a file that is being received.
pub(crate) const PARTIAL: &str = "partial ";

/// The third line about the owner of a copy in the making.
pub(crate) const COPY: &str = "copy\n";

/// What is put together in a staging folder. What one kind left is nothing for the other: times and marks of a copied file are
/// those of its record, and say nothing about what a backup finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Makes {
    #[default]
    Backup,
    Copy,
}

impl Makes {
    pub(crate) fn of(new: &NewSnapshot) -> Self {
        if new.copied().is_some() { Self::Copy } else { Self::Backup }
    }
}

/// `staging/<random>`: `tree` becomes the snapshot, `tmp` takes files that are being received, `journal` says what is
/// complete, `source` whose it is.
#[derive(Debug)]
pub(crate) struct Staging {
    pub(crate) name: Vec<u8>,
    pub(crate) dir: OwnedFd,
    pub(crate) tree: Arc<OwnedFd>,
    pub(crate) tmp: OwnedFd,
    journal: Mutex<File>,
    next: AtomicU64,
}

impl Staging {
    /// A new one in the store's `staging` directory.
    pub(crate) fn create(all: &OwnedFd, source: &SourceName, begun: Timestamp, makes: Makes) -> io::Result<Self> {
        let name = random_name();
        rustix::fs::mkdirat(all, &name, rustix::fs::Mode::RWXU)?;
        let dir = handle::listed_dir_in(all, &name)?;
        // First of all: a folder without an owner is anybody's to remove.
        let copy = if makes == Makes::Copy { COPY } else { "" };
        let owner = format!("{source}\n{}.{:09}\n{copy}", begun.secs(), begun.nanos());
        handle::create_in(&dir, OWNER, 0o600)?.write_all(owner.as_bytes())?;
        handle::make_dir(&dir, TREE)?;
        let tree = Arc::new(handle::listed_dir_in(&dir, TREE)?);
        let tmp = handle::made_dir_in(&dir, TMP)?;
        let journal = Mutex::new(handle::create_in(&dir, JOURNAL, 0o600)?);
        Ok(Self { name, dir, tree, tmp, journal, next: AtomicU64::new(0) })
    }

    /// A new file for content that is too large to be kept in memory, with its name in `tmp`.
    pub(crate) fn temporary(&self, path: &RelPath) -> io::Result<(Vec<u8>, File)> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let file = handle::create_in(&self.tmp, name.as_bytes(), 0o600)?;
        let mut line = format!("{PARTIAL}{name} {}\n", Escaped(path.as_bytes())).into_bytes();
        self.append_journal(&mut line);
        Ok((name.into_bytes(), file))
    }

    /// Appends lines to the journal and clears them. A line that cannot be written costs time after an interruption, no more.
    pub(crate) fn append_journal(&self, lines: &mut Vec<u8>) {
        if !lines.is_empty() {
            drop(self.journal.lock().unwrap_or_else(PoisonError::into_inner).write_all(lines));
            lines.clear();
        }
    }

    /// Writes down that a record's content is on its place.
    pub(crate) fn note(&self, record: Record, content: FileDigest) {
        let mut lines = Vec::new();
        Self::journal_record(&mut lines, record, content);
        self.append_journal(&mut lines);
    }

    /// Adds the line about content that is on its place.
    pub(crate) fn journal_record(lines: &mut Vec<u8>, record: Record, content: FileDigest) {
        let record = Record { content: Some(content), marks: Marks::default(), ..record };
        encode_record(&record, lines).ok();
    }
}

/// A name that nobody has used: sixteen hexadecimal digits.
pub(crate) fn random_name() -> Vec<u8> {
    let now = std::time::SystemTime::now();
    format!("{:016x}", RandomState::new().hash_one((now, std::process::id(), std::thread::current().id()))).into_bytes()
}
