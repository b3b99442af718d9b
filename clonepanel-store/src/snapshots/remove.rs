//! [`remove_tree`]: removes a directory with all that is in it, fast and without following anything.

use crate::{
    blocking::Stop,
    handle::{self, Name},
};
use rustix::{fd::OwnedFd, fs::AtFlags, io::Errno};
use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

/// A directory that lies deeper is moved up to the top before it is emptied, so that depth costs no handles.
const MAX_DEPTH: usize = 64;

/// Empties and removes `name` in `parent` on several threads. Names go in the order of their inodes, which is the order in
/// which a disk has them. What is gone already is no error; after `stop` is set the rest is left for another time.
pub(crate) fn remove_tree(parent: &OwnedFd, name: &[u8], threads: usize, stop: &Stop) -> io::Result<()> {
    remove(parent, name, threads, stop, Look::No).map(drop)
}

/// As [`remove_tree`], and tells which files had no name elsewhere but, perhaps, one: that of the content index.
pub(crate) fn remove_snapshot(parent: &OwnedFd, name: &[u8], threads: usize, stop: &Stop) -> io::Result<LastNames> {
    let links = remove(parent, name, threads, stop, Look::AtLinks)?;
    Ok(LastNames(links.into_values().filter(|links| links.seen + 1 >= links.of).map(|links| links.key).collect()))
}

/// Keys of the names of files that may have lost their last name outside the content index.
#[derive(Debug)]
pub(crate) struct LastNames(HashSet<u64>);

impl LastNames {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a file may be one of them, which lay under this name and has this length.
    pub(crate) fn may_have(&self, name: &[u8], len: u64) -> bool {
        self.0.contains(&key(name, len))
    }
}

fn key(name: &[u8], len: u64) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one((name, len))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    AtLinks,
    No,
}

/// How many names an inode had before the first was removed, and how many of them were removed here.
struct Links {
    of: u64,
    seen: u64,
    key: u64,
}

type Inodes = HashMap<u64, Links>;

fn remove(parent: &OwnedFd, name: &[u8], threads: usize, stop: &Stop, look: Look) -> io::Result<Inodes> {
    let top = match handle::listed_dir_in(parent, name) {
        Ok(top) => Node {
            parent: None,
            name: name.into(),
            depth: 0,
            dir: Mutex::new(Some(Arc::new(top))),
            open: AtomicUsize::new(1),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Inodes::new()),
        // Not a directory: there is nothing in it.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return handle::unlink_in(parent, name).map(|()| Inodes::new());
        }
        Err(error) => return Err(error),
    };
    let top = Arc::new(top);
    let removal = Removal {
        outside: parent,
        top: Arc::clone(&top),
        stop,
        look,
        moved: AtomicU32::new(0),
        todo: Mutex::new(Todo { nodes: vec![top], busy: 0, failed: None }),
        more: Condvar::new(),
    };
    let inodes = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| removal.work())).collect();
        let own = removal.work();
        others.into_iter().filter_map(|thread| thread.join().ok()).fold(own, merged)
    });
    let todo = removal.todo.into_inner().unwrap_or_else(PoisonError::into_inner);
    todo.failed.map_or(Ok(inodes), Err)
}

/// Whichever thread looked first saw all names there were: each looks before it removes one.
fn merged(mut all: Inodes, more: Inodes) -> Inodes {
    for (inode, links) in more {
        let known = all.entry(inode).or_insert(Links { seen: 0, ..links });
        known.of = known.of.max(links.of);
        known.seen += links.seen;
    }
    all
}

struct Removal<'a> {
    outside: &'a OwnedFd,
    top: Arc<Node>,
    stop: &'a Stop,
    look: Look,
    moved: AtomicU32,
    todo: Mutex<Todo>,
    more: Condvar,
}

struct Todo {
    /// The last one is taken first: depth before breadth, which bounds how many directories are open.
    nodes: Vec<Arc<Node>>,
    busy: usize,
    failed: Option<io::Error>,
}

/// A directory on its way out.
struct Node {
    parent: Option<Arc<Self>>,
    name: Box<[u8]>,
    depth: usize,
    dir: Mutex<Option<Arc<OwnedFd>>>,
    /// Directories in it that are still there, and one for itself until it was listed.
    open: AtomicUsize,
}

impl Removal<'_> {
    fn work(&self) -> Inodes {
        let mut inodes = Inodes::new();
        while let Some(node) = self.next() {
            let result = if self.stop.is_set() { Ok(()) } else { self.empty(&node, &mut inodes) };
            self.finish_one(result);
        }
        inodes
    }

    fn next(&self) -> Option<Arc<Node>> {
        let mut todo = self.todo.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(node) = todo.nodes.pop() {
                todo.busy += 1;
                return Some(node);
            }
            if todo.busy == 0 {
                return None;
            }
            todo = self.more.wait(todo).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish_one(&self, result: io::Result<()>) {
        let mut todo = self.todo.lock().unwrap_or_else(PoisonError::into_inner);
        todo.busy -= 1;
        if let Err(error) = result {
            todo.failed.get_or_insert(error);
        }
        if todo.busy == 0 {
            self.more.notify_all();
        }
    }

    fn empty(&self, node: &Arc<Node>, inodes: &mut Inodes) -> io::Result<()> {
        if let Some(dir) = self.open(node)? {
            let mut names = handle::names_in(&dir)?;
            names.sort_unstable_by_key(|name| name.inode);
            let mut inner = Vec::new();
            for name in names {
                if name.is_dir(&dir)? {
                    inner.push(self.inner(node, &dir, name.name)?);
                } else {
                    if self.look == Look::AtLinks {
                        look_at(&dir, &name, inodes)?;
                    }
                    handle::unlink_in(&dir, &name.name)?;
                }
            }
            if !inner.is_empty() {
                self.todo.lock().unwrap_or_else(PoisonError::into_inner).nodes.append(&mut inner);
                self.more.notify_all();
            }
        }
        self.close(node)
    }

    fn open(&self, node: &Node) -> io::Result<Option<Arc<OwnedFd>>> {
        if let Some(dir) = node.handle() {
            return Ok(Some(dir));
        }
        let opened = match node.parent.as_ref().and_then(|parent| parent.handle()) {
            Some(parent) => handle::listed_dir_in(&parent, &node.name),
            None => handle::listed_dir_in(self.outside, &node.name),
        };
        match opened {
            Ok(dir) => Ok(Some(Arc::clone(node.lock().insert(Arc::new(dir))))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn inner(&self, node: &Arc<Node>, dir: &OwnedFd, name: Box<[u8]>) -> io::Result<Arc<Node>> {
        let (parent, name, depth) = match self.top.handle() {
            Some(top) if node.depth >= MAX_DEPTH => (&self.top, self.move_up(dir, &name, &top)?, 1),
            _ => (node, name, node.depth + 1),
        };
        parent.open.fetch_add(1, Ordering::AcqRel);
        let parent = Some(Arc::clone(parent));
        Ok(Arc::new(Node { parent, name, depth, dir: Mutex::default(), open: AtomicUsize::new(1) }))
    }

    fn move_up(&self, dir: &OwnedFd, name: &[u8], top: &OwnedFd) -> io::Result<Box<[u8]>> {
        loop {
            let moved = format!("deep-{}", self.moved.fetch_add(1, Ordering::Relaxed)).into_bytes();
            match rustix::fs::renameat(dir, name, top, &moved) {
                Ok(()) => return Ok(moved.into()),
                // Left by an earlier removal.
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// One reason less to keep the directory; removes it, and what it was the last one in, when none is left.
    fn close(&self, node: &Arc<Node>) -> io::Result<()> {
        let mut node = node;
        while node.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Closed before anybody is told: as long as the last handle is being closed, and the directory's blocks are being
            // freed, removing the directory around it spins in the kernel.
            node.lock().take();
            let removed = match node.parent.as_ref().and_then(|parent| parent.handle()) {
                Some(parent) => rustix::fs::unlinkat(&parent, &*node.name, AtFlags::REMOVEDIR),
                None => rustix::fs::unlinkat(self.outside, &*node.name, AtFlags::REMOVEDIR),
            };
            match removed {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            match &node.parent {
                Some(parent) => node = parent,
                None => break,
            }
        }
        Ok(())
    }
}

fn look_at(dir: &OwnedFd, name: &Name, inodes: &mut Inodes) -> io::Result<()> {
    if let Some(stat) = handle::stat_in(dir, &name.name)?
        && stat.st_nlink > 1
    {
        let links = || Links { of: stat.st_nlink, seen: 0, key: key(&name.name, handle::len(&stat)) };
        inodes.entry(stat.st_ino).or_insert_with(links).seen += 1;
    }
    Ok(())
}

impl Node {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.dir.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self) -> Option<Arc<OwnedFd>> {
        self.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn remove(path: &Path, threads: usize) -> io::Result<()> {
        let parent = handle::open_root(path.parent().unwrap()).unwrap();
        remove_tree(&parent, path.file_name().unwrap().as_encoded_bytes(), threads, &Stop::default())
    }

    #[test]
    fn everything_goes_and_nothing_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        for threads in [1, 2, 5] {
            let top = temp.path().join("top");
            for wide in 0..20 {
                let dir = top.join(format!("a{wide}/b/c"));
                std::fs::create_dir_all(&dir).unwrap();
                std::fs::write(dir.join("file"), "x").unwrap();
                std::os::unix::fs::symlink(&outside, dir.join("link")).unwrap();
            }
            remove(&top, threads).unwrap();
            assert!(!top.exists());
            assert!(outside.join("kept").exists());
        }
        remove(&temp.path().join("absent"), 2).unwrap();
    }

    #[test]
    fn depth_beyond_every_limit_goes_too() {
        let temp = tempfile::tempdir().unwrap();
        let root = handle::open_root(temp.path()).unwrap();
        let mut at = handle::made_dir_in(&root, b"top").unwrap();
        for _ in 0..3000 {
            drop(handle::create_in(&at, b"file", 0o600).unwrap());
            at = handle::made_dir_in(&at, b"d").unwrap();
        }
        drop(at);
        remove_tree(&root, b"top", 2, &Stop::default()).unwrap();
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }
}
