//! [`Under`]: a part of a tree, seen as a tree of its own.

use super::{EntryStream, FileSink, FileStream, Listed, TreeError, TreeSink, TreeSource, Want};
use crate::{
    entry::{Entry, EntryKind},
    path::RelPath,
};
use async_trait::async_trait;

/// The directory `prefix` of a tree as the root of one: a sink writes below it, a source shows what is below it.
#[derive(Debug, Clone)]
pub struct Under<T> {
    prefix: RelPath,
    inner: T,
}

impl<T> Under<T> {
    /// The part of `inner` at `prefix`.
    #[must_use]
    pub const fn new(prefix: RelPath, inner: T) -> Self {
        Self { prefix, inner }
    }

    fn full(&self, path: &RelPath) -> Result<RelPath, TreeError> {
        self.prefix.join(path).map_err(|error| TreeError::too_deep(path, error))
    }

    fn full_entry(&self, entry: &Entry) -> Result<Entry, TreeError> {
        let mut entry = Entry { path: self.full(&entry.path)?, ..entry.clone() };
        if let EntryKind::File { hardlink_to: Some(leader), .. } = &mut entry.kind {
            *leader = self.full(leader)?;
        }
        Ok(entry)
    }
}

#[async_trait]
impl<T: TreeSink> TreeSink for Under<T> {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        self.inner.offer(&self.full_entry(entry)?).await
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.inner.file(&self.full_entry(entry)?).await
    }
}

#[async_trait]
impl<T: TreeSource> TreeSource for Under<T> {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(Below { prefix: self.prefix.clone(), inner: self.inner.entries().await? }))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        self.inner.open(&self.full(path)?).await
    }
}

struct Below {
    prefix: RelPath,
    inner: Box<dyn EntryStream>,
}

#[async_trait]
impl EntryStream for Below {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        while let Some(mut listed) = self.inner.next().await? {
            let path = match &mut listed {
                Listed::Entry(entry) => {
                    // A group whose first name lies outside this part has no first name here: it is left as it is, and the
                    // reader opens the file under its own path.
                    if let EntryKind::File { hardlink_to, .. } = &mut entry.kind {
                        *hardlink_to = hardlink_to.take().and_then(|leader| leader.strip_prefix(&self.prefix));
                    }
                    &mut entry.path
                }
                Listed::Problem(problem) => &mut problem.path,
            };
            if let Some(below) = path.strip_prefix(&self.prefix) {
                *path = below;
                return Ok(Some(listed));
            }
        }
        Ok(None)
    }
}
