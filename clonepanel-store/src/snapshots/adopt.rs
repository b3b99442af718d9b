//! [`Adopted`]: what an interrupted run left behind, taken over by the next one.

use super::{
    staging::{JOURNAL, PARTIAL, TMP, TREE},
    table::{self, RowId, Table},
};
use crate::handle;
use clonepanel_core::{escape, manifest, path::RelPath, time::Timestamp};
use rustix::fd::OwnedFd;
use std::{
    collections::HashMap,
    io::{self, BufRead as _, BufReader, Read as _},
    sync::Arc,
};

/// Longer than any line of a journal.
const MAX_LINE_LEN: u64 = 64 << 10;

/// Files that an interrupted run of the same source had completed, and the ones it was receiving. Nothing in it is trusted:
/// power may have failed, so contents are hashed again before they are used.
#[derive(Debug)]
pub(crate) struct Adopted {
    /// Its folder's name in `staging`.
    pub(crate) name: Vec<u8>,
    pub(crate) tree: Arc<OwnedFd>,
    pub(crate) tmp: Arc<OwnedFd>,
    /// When the run was begun.
    pub(crate) begun: Timestamp,
    pub(crate) table: Table,
    order: Vec<RowId>,
    partial: HashMap<Vec<u8>, (Vec<u8>, u64)>,
}

impl Adopted {
    /// Reads what the folder holds; `None` when there is nothing of use, or nothing that can be read: a run may have ended just
    /// after its tree was published, or while somebody removed what it left.
    pub(crate) fn read(all: &OwnedFd, name: &[u8], begun: Timestamp) -> Option<Self> {
        Self::try_read(all, name, begun).ok().flatten()
    }

    fn try_read(all: &OwnedFd, name: &[u8], begun: Timestamp) -> io::Result<Option<Self>> {
        let dir = handle::listed_dir_in(all, name)?;
        let (tree, tmp) = (Arc::new(handle::dir_in(&dir, TREE)?), Arc::new(handle::dir_in(&dir, TMP)?));
        let mut adopted = Self {
            name: name.to_vec(),
            tree,
            tmp,
            begun,
            table: Table::default(),
            order: Vec::new(),
            partial: HashMap::new(),
        };
        let mut journal = BufReader::new(handle::file_in(&dir, JOURNAL)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            (&mut journal).take(MAX_LINE_LEN).read_until(b'\n', &mut line)?;
            // The last line may be cut short by the interruption.
            let Some(text) = line.strip_suffix(b"\n") else { break };
            if adopted.read_line(text).is_none() {
                break;
            }
        }
        adopted.order = adopted.table.sorted();
        let useful = adopted.table.len() > 0 || !adopted.partial.is_empty();
        Ok(useful.then_some(adopted))
    }

    fn read_line(&mut self, line: &[u8]) -> Option<()> {
        let Some(partial) = line.strip_prefix(PARTIAL.as_bytes()) else {
            let record = manifest::decode_record(line).ok()?;
            self.table.push_record(&record)?;
            return Some(());
        };
        let space = partial.iter().position(|&b| b == b' ')?;
        let (name, path) = (partial.get(..space)?, escape::unescape(partial.get(space + 1..)?)?);
        if !name.is_empty()
            && name.iter().all(u8::is_ascii_digit)
            && let Ok(Some(stat)) = handle::stat_in(&self.tmp, name)
            && handle::len(&stat) > 0
        {
            self.partial.insert(path, (name.to_vec(), handle::len(&stat)));
        }
        Some(())
    }

    /// The row of a path; the last one if it was stored several times.
    pub(crate) fn find(&self, path: &RelPath) -> Option<RowId> {
        let end = self.order.partition_point(|&id| table::compare(self.table.path(id), path.as_bytes()).is_le());
        let same = self.order.get(..end)?.iter().rev().take_while(|&&id| self.table.path(id) == path.as_bytes());
        same.max().copied()
    }

    /// A file that was being received: its name in `tmp` and the length it had.
    pub(crate) fn partial(&self, path: &RelPath) -> Option<(&[u8], u64)> {
        self.partial.get(path.as_bytes()).map(|(name, len)| (&**name, *len))
    }
}
