//! [`LocalScan`]: what a request covers of a local directory, as a source.

use super::{
    stream::{Changed, Content, Entries},
    walk::{Partials, Walk},
};
use crate::{blocking, handle};
use async_trait::async_trait;
use clonepanel_core::{
    path::RelPath,
    transport::PullRequest,
    tree::{EntryStream, FileStream, TreeError, TreeSource},
};
use rustix::{fd::OwnedFd, io::Errno};
use std::sync::{Arc, PoisonError};

/// The covered part of a directory, made by [`LocalTree::scan`](super::LocalTree::scan). What is not covered is not even listed;
/// files that change while they are read are noted.
#[derive(Debug)]
pub struct LocalScan {
    root: Arc<OwnedFd>,
    request: PullRequest,
    changed: Changed,
}

impl LocalScan {
    pub(super) fn new(root: Arc<OwnedFd>, request: PullRequest) -> Self {
        Self { root, request, changed: Arc::default() }
    }

    /// The paths among these that are not there, or not to be reached.
    ///
    /// # Errors
    /// The ways in which looking can fail.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn missing(&self, paths: &[RelPath]) -> Result<Vec<RelPath>, TreeError> {
        let (root, paths) = (Arc::clone(&self.root), paths.to_vec());
        let look = move || {
            let mut missing = Vec::new();
            for path in paths.into_iter().filter(|path| !path.is_root()) {
                let (_, name) = handle::split(path.as_bytes());
                match handle::parent_of(&root, &path).and_then(|dir| handle::stat_in(dir, name)) {
                    Ok(Some(_)) => {}
                    Ok(None) => missing.push(path),
                    // Any other error is no absence. A link on the way is not followed.
                    Err(error) => match Errno::from_io_error(&error) {
                        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => missing.push(path),
                        _ => return Err(TreeError::from_io("list", &path, error)),
                    },
                }
            }
            Ok(missing)
        };
        blocking::run(look, |error| TreeError::from_io("list", &RelPath::root(), error)).await
    }

    /// The files that were seen to change while they were read, so far.
    #[must_use]
    pub fn changed(&self) -> Vec<RelPath> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl TreeSource for LocalScan {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(Entries::new(Walk::new(Arc::clone(&self.root), self.request.clone(), Partials::LeftOut))))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        Ok(Box::new(Content::open(Arc::clone(&self.root), path, Some(Arc::clone(&self.changed))).await?))
    }
}
