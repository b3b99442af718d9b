//! [`Order`]: the rules that hold between the records of a manifest, checked while they pass by.

use super::Record;
use crate::path::RelPath;

/// Sorted, each path once, every parent a directory that came before.
#[derive(Debug, Default)]
pub(super) struct Order {
    last: Option<RelPath>,
    /// The directories that lead to the last record, and that record itself if it is one.
    open: Vec<RelPath>,
    records: u64,
}

impl Order {
    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn check(&mut self, record: &Record) -> Result<(), &'static str> {
        let path = &record.entry.path;
        if self.last.as_ref().is_some_and(|last| last >= path) {
            return Err("a path that is not after the one before");
        }
        while self.open.last().is_some_and(|dir| !path.is_within(dir)) {
            self.open.pop();
        }
        let at_top = !path.as_bytes().contains(&b'/');
        let has_parent = self.open.last().is_some_and(|dir| is_parent(dir, path));
        if !at_top && !has_parent {
            return Err("a path whose parent is not a directory before it");
        }
        if record.entry.is_dir() {
            self.open.push(path.clone());
        }
        self.last = Some(path.clone());
        self.records += 1;
        Ok(())
    }
}

/// Whether `path`, which is below `dir`, is directly in it.
fn is_parent(dir: &RelPath, path: &RelPath) -> bool {
    let start = if dir.is_root() { 0 } else { dir.as_bytes().len() + 1 };
    path.as_bytes().get(start..).is_some_and(|name| !name.contains(&b'/'))
}
