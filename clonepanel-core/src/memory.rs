//! Back ends that keep everything in memory: for examples, for tests, and as the plainest reading of the contracts.

mod copy;
mod dns;
mod draft;
mod reader;
mod sink;
mod store;
mod transport;
mod tree;
mod writer;

pub use dns::MemoryDns;
pub use store::MemoryStore;
pub use transport::MemoryTransport;
pub use tree::MemoryTree;

use crate::tree::{Basis, FileStream, TreeError};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{Mutex, MutexGuard, PoisonError};

const CHUNK: usize = 256 * 1024;

/// A lock whose holder panicked protects data that is still whole: every change under it is a single step.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A content that is all here, as a stream and as a basis.
struct Content(Bytes);

#[async_trait]
impl FileStream for Content {
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError> {
        let piece = self.0.split_to(self.0.len().min(CHUNK));
        Ok((!piece.is_empty()).then_some(piece))
    }
}

#[async_trait]
impl Basis for Content {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, TreeError> {
        let range = usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(len)?));
        match range {
            Some(range) if range.end <= self.0.len() => Ok(self.0.slice(range)),
            _ => Err(TreeError::Damaged { path: crate::path::RelPath::root() }),
        }
    }
}
