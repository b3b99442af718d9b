//! [`Far`]: what the far end holds, listed before anything is deleted there.

use async_trait::async_trait;
use clonepanel_core::{
    entry::Entry,
    path::RelPath,
    tree::{FileSink, TreeError, TreeSink, Want},
};
use std::sync::{Mutex, PoisonError};

/// A sink that only notes what there is.
#[derive(Debug, Default)]
pub(crate) struct Far(Mutex<Vec<(RelPath, bool)>>);

impl Far {
    /// All paths, and whether they are directories.
    pub(crate) fn into_paths(self) -> Vec<(RelPath, bool)> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TreeSink for Far {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((entry.path.clone(), entry.is_dir()));
        Ok(Want::Nothing)
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        Err(TreeError::Refused { path: entry.path.clone(), why: "no content is wanted" })
    }
}
