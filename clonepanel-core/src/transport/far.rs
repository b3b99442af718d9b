//! [`list_far`]: what a far end holds, without a content.

use super::{PullRequest, PushRequest, Transport, TransportError};
use crate::{
    entry::Entry,
    problem::Problems,
    tree::{FileSink, TreeError, TreeSink, Want},
};
use async_trait::async_trait;
use std::sync::{Mutex, PoisonError};

/// Lists what a push with `request` would find: all entries at its wanted paths, and the directories that lead there. What does
/// not exist there is left out, also the root itself.
///
/// # Errors
/// As a pull, but for [`TransportError::NotFound`].
///
/// # Cancel safety
/// Harmless to drop.
pub async fn list_far(
    transport: &dyn Transport,
    request: &PushRequest,
) -> Result<(Vec<Entry>, Problems), TransportError> {
    let mut wanted = request.wanted_paths().to_vec();
    loop {
        let noted = Noted::default();
        match transport.pull(&PullRequest::new().paths(wanted.clone()), &noted, &()).await {
            Ok(report) => return Ok((noted.0.into_inner().unwrap_or_else(PoisonError::into_inner), report.problems)),
            Err(TransportError::NotFound { path, .. }) => {
                let before = wanted.len();
                wanted.retain(|wanted| wanted.to_string() != path);
                if wanted.is_empty() || wanted.len() == before {
                    return Ok((Vec::new(), Problems::new()));
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// A sink that only notes what there is.
#[derive(Default)]
struct Noted(Mutex<Vec<Entry>>);

#[async_trait]
impl TreeSink for Noted {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry.clone());
        Ok(Want::Nothing)
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        Err(TreeError::Refused { path: entry.path.clone(), why: "no content is wanted" })
    }
}
