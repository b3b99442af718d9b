//! [`DirStack`]: the handles of the directories that lead to where work is being done.

use crate::handle;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::{io, sync::Arc};

/// How many handles one stack keeps; what lies deeper is opened anew from there, so that depth costs no handles.
const MAX_HELD: usize = 48;

/// Opens directories below a root, one component at a time, and remembers the way to the last one: work that stays in one
/// directory or moves to a neighbour opens next to nothing.
#[derive(Debug)]
pub(crate) struct DirStack {
    root: Arc<OwnedFd>,
    missing: Missing,
    /// Path of the last held directory, and where each of its components ends.
    path: Vec<u8>,
    held: Vec<(usize, OwnedFd)>,
    /// A directory below the held ones.
    tail: Option<(Vec<u8>, OwnedFd)>,
}

/// What is done about a directory that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Fail,
    Make,
}

impl DirStack {
    pub(crate) const fn new(root: Arc<OwnedFd>, missing: Missing) -> Self {
        Self { root, missing, path: Vec::new(), held: Vec::new(), tail: None }
    }

    /// The directory at `path`, relative to the root.
    pub(crate) fn enter(&mut self, path: &[u8]) -> io::Result<BorrowedFd<'_>> {
        if self.tail.as_ref().is_some_and(|(tail, _)| tail != path) {
            self.tail = None;
        }
        if self.tail.is_none() && path != self.path {
            self.move_to(path)?;
        }
        Ok(match (&self.tail, self.held.last()) {
            (Some((_, dir)), _) | (None, Some((_, dir))) => dir.as_fd(),
            (None, None) => self.root.as_fd(),
        })
    }

    fn move_to(&mut self, path: &[u8]) -> io::Result<()> {
        let shared = self.held.iter().take_while(|&&(end, _)| {
            self.path
                .get(..end)
                .is_some_and(|held| path.strip_prefix(held).is_some_and(|rest| matches!(rest, [] | [b'/', ..])))
        });
        let shared = shared.count();
        self.held.truncate(shared);
        let start = self.held.last().map_or(0, |&(end, _)| end);
        self.path.truncate(start);
        let mut deeper: Option<OwnedFd> = None;
        for name in path.get(start..).unwrap_or_default().split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            let at = deeper.as_ref().or_else(|| self.held.last().map(|(_, dir)| dir)).unwrap_or(&self.root);
            let dir = match self.missing {
                Missing::Fail => handle::dir_in(at, name)?,
                Missing::Make => handle::made_dir_in(at, name)?,
            };
            if self.held.len() < MAX_HELD {
                if !self.path.is_empty() {
                    self.path.push(b'/');
                }
                self.path.extend_from_slice(name);
                self.held.push((self.path.len(), dir));
            } else {
                deeper = Some(dir);
            }
        }
        self.tail = deeper.map(|dir| (path.to_vec(), dir));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode(dir: impl AsFd) -> u64 {
        rustix::fs::fstat(dir).unwrap().st_ino
    }

    #[test]
    fn any_walk_ends_where_the_path_says() {
        let temp = tempfile::tempdir().unwrap();
        let root = Arc::new(handle::open_root(temp.path()).unwrap());
        let mut stack = DirStack::new(Arc::clone(&root), Missing::Make);
        let deep = vec!["d"; 200].join("/");
        let deeper = format!("{deep}/e/f");
        for path in ["", "a", "a/b", "a/bc", "a/b/c", &deep, &deeper, &deep, "a/b", "", "d/d", "a"] {
            let found = inode(stack.enter(path.as_bytes()).unwrap());
            assert_eq!(found, inode(handle::walk(&root, path.as_bytes()).unwrap()), "{path}");
        }
        assert!(stack.held.len() <= MAX_HELD);
    }

    #[test]
    fn a_link_leads_nowhere() {
        let temp = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), temp.path().join("link")).unwrap();
        let mut stack = DirStack::new(Arc::new(handle::open_root(temp.path()).unwrap()), Missing::Make);
        assert!(stack.enter(b"link").is_err());
        assert!(stack.enter(b"link/x").is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(stack.enter(b"x/y").is_ok());
    }
}
