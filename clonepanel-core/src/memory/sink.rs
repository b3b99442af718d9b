//! [`MemoryTree`] as a sink.

use super::{
    Content, lock,
    tree::{MemoryTree, Node, Shape, refused},
};
use crate::{
    digest::FileDigest,
    entry::{Entry, EntryKind, EntryMeta, Freshness},
    path::RelPath,
    tree::{Basis, FileSink, TreeError, TreeSink, Want},
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What one writing pass has seen.
#[derive(Default)]
pub(super) struct Pass {
    offered: BTreeSet<RelPath>,
    wanted: BTreeMap<RelPath, Wanted>,
}

/// A file whose content was asked for, with the further names that were offered since.
struct Wanted {
    names: Vec<(RelPath, EntryMeta)>,
    arrived: Option<Arc<Bytes>>,
}

#[async_trait]
impl TreeSink for MemoryTree {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        let (mut nodes, mut pass) = (lock(&self.nodes), lock(&self.pass));
        let path = &entry.path;
        if pass.offered.contains(path) {
            return Err(refused(path, "its path was offered before"));
        }
        nodes.check_place(entry)?;
        let want = match &entry.kind {
            EntryKind::File { hardlink_to: Some(leader), .. } => {
                if let Some(wanted) = pass.wanted.get_mut(leader) {
                    wanted.names.push((path.clone(), entry.meta.clone()));
                    if let Some(body) = &wanted.arrived {
                        nodes.insert(path.clone(), entry.meta.clone(), Shape::File(Arc::clone(body)));
                    }
                } else {
                    let first = pass.offered.get(leader).and_then(|leader| nodes.map.get(leader));
                    let Some(Node { shape: shape @ Shape::File(_), .. }) = first else {
                        return Err(refused(path, "its first name is not a file of this tree"));
                    };
                    let shape = shape.clone();
                    nodes.insert(path.clone(), entry.meta.clone(), shape);
                }
                Want::Nothing
            }
            EntryKind::File { len, hardlink_to: None } => {
                let here = match nodes.map.get(path) {
                    Some(Node { meta, shape: Shape::File(body), .. }) => Some((meta.mtime, Bytes::clone(body))),
                    _ => None,
                };
                match here {
                    Some((mtime, body))
                        if body.len() as u64 == *len
                            && mtime == entry.meta.mtime
                            && entry.meta.freshness != Freshness::Touched =>
                    {
                        // A body of its own: former further names are linked again only when they are offered as such.
                        nodes.insert(path.clone(), entry.meta.clone(), Shape::File(Arc::new(body)));
                        Want::Nothing
                    }
                    here => {
                        let names = vec![(path.clone(), entry.meta.clone())];
                        pass.wanted.insert(path.clone(), Wanted { names, arrived: None });
                        Want::Data { basis: here.map(|(_, body)| Arc::new(Content(body)) as Arc<dyn Basis>) }
                    }
                }
            }
            other => {
                nodes.insert(path.clone(), entry.meta.clone(), Shape::Other(other.clone()));
                Want::Nothing
            }
        };
        pass.offered.insert(path.clone());
        Ok(want)
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        if !lock(&self.pass).wanted.contains_key(&entry.path) {
            return Err(refused(&entry.path, "its content was not asked for"));
        }
        Ok(Box::new(MemoryFile { tree: self.clone(), path: entry.path.clone(), content: BytesMut::new() }))
    }
}

struct MemoryFile {
    tree: MemoryTree,
    path: RelPath,
    content: BytesMut,
}

#[async_trait]
impl FileSink for MemoryFile {
    async fn write(&mut self, chunk: Bytes) -> Result<(), TreeError> {
        self.content.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<FileDigest, TreeError> {
        let content = self.content.freeze();
        let digest = FileDigest::of(&content);
        let (mut nodes, mut pass) = (lock(&self.tree.nodes), lock(&self.tree.pass));
        if let Some(wanted) = pass.wanted.get_mut(&self.path) {
            let body = Arc::new(content);
            for (path, meta) in &wanted.names {
                // Somebody may have changed the tree since the offer.
                nodes.check_place(&Entry::file(path.clone(), digest.len, meta.mtime))?;
                nodes.insert(path.clone(), meta.clone(), Shape::File(Arc::clone(&body)));
            }
            wanted.arrived = Some(body);
        }
        Ok(digest)
    }
}
