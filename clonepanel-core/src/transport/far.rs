//! [`list_far`]: what a far end holds, without a content.

use super::{PullRequest, PushRequest, Transport, TransportError};
use crate::{
    entry::Entry,
    problem::Problems,
    tree::{FileSink, TreeError, TreeSink, Want},
};
use async_trait::async_trait;
use std::sync::{Mutex, PoisonError};

/// What the entries that are kept may take together, in bytes: some three million of them. A far end tells as many as it likes.
const MAX_KEPT: usize = 1 << 30;
/// What one takes beside its path.
const ENTRY: usize = size_of::<Entry>() + 64;

/// Lists what a push with `request` would find: all entries at its wanted paths, and the directories that lead there. What does
/// not exist there is left out, also the root itself. What is more than can be kept (1 GiB) is a problem for each entry.
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
        let noted = Noted::with_room(MAX_KEPT);
        match transport.pull(&PullRequest::new().paths(wanted.clone()), &noted, &()).await {
            Ok(report) => return Ok((noted.into_entries(), report.problems)),
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
struct Noted(Mutex<Kept>);

struct Kept {
    entries: Vec<Entry>,
    room: usize,
}

impl Noted {
    const fn with_room(room: usize) -> Self {
        Self(Mutex::new(Kept { entries: Vec::new(), room }))
    }

    fn into_entries(self) -> Vec<Entry> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).entries
    }
}

#[async_trait]
impl TreeSink for Noted {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.room.checked_sub(ENTRY + entry.path.as_bytes().len()) {
            Some(room) => {
                kept.room = room;
                kept.entries.push(entry.clone());
                Ok(Want::Nothing)
            }
            None => Err(TreeError::Refused { path: entry.path.clone(), why: "there is more than can be kept in mind" }),
        }
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        Err(TreeError::Refused { path: entry.path.clone(), why: "no content is wanted" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        memory::MemoryTree,
        testkit::{block_on, path},
        time::Timestamp,
        tree::copy,
    };

    #[test]
    fn what_is_too_much_to_keep_is_told() {
        let tree = MemoryTree::new();
        for name in 0..10 {
            tree.put_file(path(&name.to_string()), "x", Timestamp::from_secs(1)).unwrap();
        }
        let noted = Noted::with_room(5 * (ENTRY + 1));
        let report = block_on(copy(&tree, &noted, &())).unwrap();
        assert_eq!((noted.into_entries().len(), report.problems.losses()), (5, 6));
    }
}
