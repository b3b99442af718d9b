//! [`Scan`]: what a request covers of a local directory, as a source.

use super::{
    stream::{Changed, Content, Entries},
    walk::Walk,
};
use async_trait::async_trait;
use clonepanel_core::{
    path::RelPath,
    transport::PullRequest,
    tree::{EntryStream, FileStream, TreeError, TreeSource},
};
use rustix::fd::OwnedFd;
use std::sync::Arc;

/// The covered part of a directory. What is not covered is not even listed; files that change while they are read are noted.
pub(super) struct Scan {
    pub(super) root: Arc<OwnedFd>,
    pub(super) request: PullRequest,
    pub(super) changed: Changed,
}

#[async_trait]
impl TreeSource for Scan {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(Entries::new(Walk::new(Arc::clone(&self.root), self.request.clone()))))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        Ok(Box::new(Content::open(Arc::clone(&self.root), path, Some(Arc::clone(&self.changed))).await?))
    }
}
