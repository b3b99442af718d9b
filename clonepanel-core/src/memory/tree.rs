//! [`MemoryTree`]: a tree of entries and contents in memory.

use super::{Content, lock, sink::Pass};
use crate::{
    entry::{Entry, EntryKind, EntryMeta, Freshness},
    path::RelPath,
    time::Timestamp,
    tree::{EntryStream, FileStream, Listed, TreeError, TreeSource},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex},
};

/// A tree in memory: a source, and a sink that writes into what is already there.
///
/// Clones share the tree. [`Self::fork`] makes an independent copy, [`Self::pass`] a new writing pass over the same tree.
/// As a sink it answers `Nothing` for a file that it has with the same length and time, and replaces a file only when the
/// new content is complete. It has a change time of its own, counted in steps, against which
/// [`MemoryTransport`](super::MemoryTransport) judges freshness.
#[derive(Clone, Default)]
pub struct MemoryTree {
    pub(super) nodes: Arc<Mutex<Nodes>>,
    pub(super) pass: Arc<Mutex<Pass>>,
}

/// What stands at one path. The names of a hard-link group share one `Arc`.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) meta: EntryMeta,
    pub(super) shape: Shape,
    changed: u32,
    readable: bool,
}

#[derive(Clone)]
pub(super) enum Shape {
    File(Arc<Bytes>),
    Other(EntryKind),
}

#[derive(Clone)]
pub(super) struct Nodes {
    pub(super) map: BTreeMap<RelPath, Node>,
    step: u32,
}

impl MemoryTree {
    /// An empty tree: a root directory with mode 0755.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An independent copy; the contents themselves are shared.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { nodes: Arc::new(Mutex::new(lock(&self.nodes).clone())), pass: Arc::default() }
    }

    /// The same tree, to be written to once more: paths that were offered before may be offered again.
    #[must_use]
    pub fn pass(&self) -> Self {
        Self { nodes: Arc::clone(&self.nodes), pass: Arc::default() }
    }

    /// Takes over everything of another tree, in place of what is here.
    pub fn assign(&self, other: &Self) {
        let other = lock(&other.nodes).clone();
        let mut nodes = lock(&self.nodes);
        nodes.map.clear();
        for (path, node) in other.map {
            nodes.insert(path, node.meta, node.shape);
        }
    }

    /// Puts an entry at its path, in place of what is there. The length of a regular file is that of `content`; a further
    /// name of a hard-linked file takes everything from its first one.
    ///
    /// # Errors
    /// [`TreeError::Refused`] when the parent is not a directory, a directory that is not empty is in the place, or the
    /// first name of a hard-linked file is not a file here.
    pub fn put(&self, entry: &Entry, content: impl Into<Bytes>) -> Result<(), TreeError> {
        let mut nodes = lock(&self.nodes);
        nodes.check_place(entry)?;
        let (meta, shape) = match &entry.kind {
            EntryKind::File { hardlink_to: Some(leader), .. } => match nodes.map.get(leader) {
                Some(Node { meta, shape: shape @ Shape::File(_), .. }) => (meta.clone(), shape.clone()),
                _ => return Err(refused(&entry.path, "its first name is not a file of this tree")),
            },
            EntryKind::File { .. } => (entry.meta.clone(), Shape::File(Arc::new(content.into()))),
            other => (entry.meta.clone(), Shape::Other(other.clone())),
        };
        nodes.insert(entry.path.clone(), meta, shape);
        Ok(())
    }

    /// Puts a directory with mode 0755 at `path`.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn put_dir(&self, path: RelPath) -> Result<(), TreeError> {
        self.put(&Entry::dir(path), Bytes::new())
    }

    /// Puts a file with mode 0644 at `path`.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn put_file(&self, path: RelPath, content: impl Into<Bytes>, mtime: Timestamp) -> Result<(), TreeError> {
        self.put(&Entry::file(path, 0, mtime), content)
    }

    /// Gives a regular file, under all its names, a new content and time.
    ///
    /// # Errors
    /// [`TreeError::NotFound`] when there is no regular file at `path`.
    pub fn write(&self, path: &RelPath, content: impl Into<Bytes>, mtime: Timestamp) -> Result<(), TreeError> {
        let body = Arc::new(content.into());
        lock(&self.nodes).change_group(path, |node| {
            if let Shape::File(old) = &mut node.shape {
                *old = Arc::clone(&body);
                node.meta.mtime = mtime;
            }
        })
    }

    /// Gives an entry, under all its names, a new owner, mode and time.
    ///
    /// # Errors
    /// [`TreeError::NotFound`] when there is nothing at `path`.
    pub fn set_meta(&self, path: &RelPath, meta: &EntryMeta) -> Result<(), TreeError> {
        lock(&self.nodes).change_group(path, |node| node.meta = meta.clone())
    }

    /// From now on, opening the file at `path` is answered with [`TreeError::Denied`].
    ///
    /// # Errors
    /// [`TreeError::NotFound`] when there is nothing at `path`.
    pub fn forbid_reading(&self, path: &RelPath) -> Result<(), TreeError> {
        lock(&self.nodes).change_group(path, |node| node.readable = false)
    }

    /// Removes an entry and everything below it; tells how many entries that were. The root itself stays.
    pub fn remove(&self, path: &RelPath) -> usize {
        let mut nodes = lock(&self.nodes);
        let gone = nodes.below(path);
        nodes.step += 1;
        gone.iter().filter(|path| !path.is_root() && nodes.map.remove(*path).is_some()).count()
    }

    /// Moves an entry and everything below it.
    ///
    /// # Errors
    /// [`TreeError::NotFound`] when there is nothing at `from`; [`TreeError::Refused`] when something is at `to`, or its
    /// parent is not a directory, or it lies inside `from`.
    pub fn rename(&self, from: &RelPath, to: &RelPath) -> Result<(), TreeError> {
        let mut nodes = lock(&self.nodes);
        if from.is_root() || !nodes.map.contains_key(from) {
            return Err(TreeError::NotFound { path: from.clone() });
        }
        if nodes.map.contains_key(to) || to.is_within(from) {
            return Err(refused(to, "something is in its place"));
        }
        nodes.check_place(&Entry::dir(to.clone()))?;
        let mut moved = Vec::new();
        for old in nodes.below(from) {
            let below = old.strip_prefix(from).unwrap_or_default();
            moved.push((to.join(&below).map_err(|error| TreeError::too_deep(&old, error))?, old));
        }
        for (new, old) in moved {
            if let Some(Node { meta, shape, .. }) = nodes.map.remove(&old) {
                nodes.insert(new, meta, shape);
            }
        }
        Ok(())
    }

    /// The entry at `path`, as the listing shows it.
    #[must_use]
    pub fn entry(&self, path: &RelPath) -> Option<Entry> {
        self.list().into_iter().find(|entry| entry.path == *path)
    }

    /// The content of the regular file at `path`.
    #[must_use]
    pub fn content(&self, path: &RelPath) -> Option<Bytes> {
        match &lock(&self.nodes).map.get(path)?.shape {
            Shape::File(body) => Some(Bytes::clone(body)),
            Shape::Other(_) => None,
        }
    }

    /// All entries in the order of their paths.
    #[must_use]
    pub fn list(&self) -> Vec<Entry> {
        lock(&self.nodes).list(None)
    }

    /// All entries with what is known about changes since the scan at `since`, and the clock of this scan.
    pub(super) fn scan(&self, since: Option<Timestamp>) -> (Vec<Entry>, Timestamp) {
        let mut nodes = lock(&self.nodes);
        nodes.step += 1;
        (nodes.list(since), moment(nodes.step))
    }
}

impl fmt::Debug for MemoryTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl Default for Nodes {
    fn default() -> Self {
        let mut nodes = Self { map: BTreeMap::new(), step: 0 };
        let root = Entry::dir(RelPath::root());
        nodes.insert(root.path, root.meta, Shape::Other(EntryKind::Dir));
        nodes
    }
}

impl Nodes {
    pub(super) fn insert(&mut self, path: RelPath, meta: EntryMeta, shape: Shape) {
        self.step += 1;
        let meta = EntryMeta { freshness: Freshness::Unknown, ..meta };
        self.map.insert(path, Node { meta, shape, changed: self.step, readable: true });
    }

    /// Whether `entry` can stand at its path.
    pub(super) fn check_place(&self, entry: &Entry) -> Result<(), TreeError> {
        if let Some(parent) = entry.path.parent()
            && !self.is_dir(&parent)
        {
            return Err(refused(&entry.path, "its parent is not a directory of this tree"));
        }
        if !entry.is_dir() && self.is_dir(&entry.path) && (entry.path.is_root() || self.below(&entry.path).len() > 1) {
            return Err(refused(&entry.path, "a directory that is not empty is in its place"));
        }
        Ok(())
    }

    fn is_dir(&self, path: &RelPath) -> bool {
        matches!(self.map.get(path), Some(Node { shape: Shape::Other(EntryKind::Dir), .. }))
    }

    fn below(&self, path: &RelPath) -> Vec<RelPath> {
        self.map.range(path.clone()..).map(|(path, _)| path).take_while(|at| at.is_within(path)).cloned().collect()
    }

    fn change_group(&mut self, path: &RelPath, mut change: impl FnMut(&mut Node)) -> Result<(), TreeError> {
        self.step += 1;
        let step = self.step;
        let Some(found) = self.map.get(path) else { return Err(TreeError::NotFound { path: path.clone() }) };
        match &found.shape {
            Shape::File(body) => {
                let body = Arc::clone(body);
                for node in self.map.values_mut() {
                    if matches!(&node.shape, Shape::File(other) if Arc::ptr_eq(other, &body)) {
                        change(node);
                        node.changed = step;
                    }
                }
            }
            Shape::Other(_) => {
                if let Some(node) = self.map.get_mut(path) {
                    change(node);
                    node.changed = step;
                }
            }
        }
        Ok(())
    }

    fn list(&self, since: Option<Timestamp>) -> Vec<Entry> {
        let mut first_names: HashMap<usize, &RelPath> = HashMap::new();
        let mut entries = Vec::with_capacity(self.map.len());
        for (path, node) in &self.map {
            let kind = match &node.shape {
                Shape::File(body) => {
                    let first = *first_names.entry(Arc::as_ptr(body).addr()).or_insert(path);
                    EntryKind::File { len: body.len() as u64, hardlink_to: (first != path).then(|| first.clone()) }
                }
                Shape::Other(kind) => kind.clone(),
            };
            let freshness = match since {
                None => Freshness::Unknown,
                Some(since) if moment(node.changed) < since => Freshness::Settled,
                Some(_) => Freshness::Touched,
            };
            entries.push(Entry { path: path.clone(), kind, meta: EntryMeta { freshness, ..node.meta.clone() } });
        }
        entries
    }
}

#[async_trait]
impl TreeSource for MemoryTree {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(Listing::new(self.list().into_iter().map(Listed::Entry).collect())))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        match lock(&self.nodes).map.get(path) {
            Some(Node { readable: false, .. }) => Err(TreeError::Denied { path: path.clone() }),
            Some(Node { shape: Shape::File(body), .. }) => Ok(Box::new(Content(Bytes::clone(body)))),
            _ => Err(TreeError::NotFound { path: path.clone() }),
        }
    }
}

/// What was listed before.
pub(super) struct Listing(std::vec::IntoIter<Listed>);

impl Listing {
    pub(super) fn new(listed: Vec<Listed>) -> Self {
        Self(listed.into_iter())
    }
}

#[async_trait]
impl EntryStream for Listing {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        Ok(self.0.next())
    }
}

pub(super) fn refused(path: &RelPath, why: &'static str) -> TreeError {
    TreeError::Refused { path: path.clone(), why }
}

/// The tree's own clock counts steps, one nanosecond each, so that every change is before or after every scan.
fn moment(step: u32) -> Timestamp {
    Timestamp::default().after(std::time::Duration::from_nanos(u64::from(step)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::try_from(text).unwrap()
    }

    #[test]
    fn names_of_one_file_stay_together() {
        let tree = MemoryTree::new();
        tree.put_file(path("b"), "one", Timestamp::from_secs(1)).unwrap();
        let further = EntryKind::File { len: 3, hardlink_to: Some(path("b")) };
        tree.put(&Entry { kind: further, ..Entry::file(path("a"), 3, Timestamp::default()) }, "").unwrap();
        let fork = tree.fork();
        tree.write(&path("a"), "other", Timestamp::from_secs(2)).unwrap();
        assert_eq!(tree.content(&path("b")).unwrap(), "other");
        assert_eq!(tree.entry(&path("b")).unwrap().kind, EntryKind::File { len: 5, hardlink_to: Some(path("a")) });
        assert_eq!(fork.content(&path("a")).unwrap(), "one");
        tree.remove(&path("a"));
        assert!(tree.entry(&path("b")).unwrap().has_content());
    }

    #[test]
    fn moving_and_removing_take_what_is_below() {
        let tree = MemoryTree::new();
        tree.put_dir(path("d")).unwrap();
        tree.put_file(path("d/f"), "x", Timestamp::default()).unwrap();
        assert!(tree.rename(&path("d"), &path("d/e")).is_err());
        tree.rename(&path("d"), &path("e")).unwrap();
        assert_eq!(tree.list().into_iter().map(|entry| entry.path).collect::<Vec<_>>(), ["", "e", "e/f"].map(path));
        assert!(tree.put_file(path("e"), "in the way", Timestamp::default()).is_err());
        assert!(tree.put_file(path("d/f"), "no parent", Timestamp::default()).is_err());
        assert_eq!(tree.remove(&path("e")), 2);
        assert_eq!(tree.remove(&RelPath::root()), 0);
    }

    #[test]
    fn every_change_is_before_or_after_a_scan() {
        let tree = MemoryTree::new();
        tree.put_file(path("f"), "x", Timestamp::default()).unwrap();
        let (_, first) = tree.scan(None);
        tree.put_file(path("g"), "x", Timestamp::default()).unwrap();
        let (entries, second) = tree.scan(Some(first));
        let freshness: Vec<_> = entries.iter().map(|entry| entry.meta.freshness).collect();
        assert_eq!(freshness, [Freshness::Settled, Freshness::Settled, Freshness::Touched]);
        assert!(tree.scan(Some(second)).0.iter().all(|entry| entry.meta.freshness == Freshness::Settled));
    }
}
