//! [`Queue`]: what the workers of one writer still have to do.

use super::work::Op;
use clonepanel_core::path::RelPath;
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Batches that may wait; whoever queues more waits for room.
const MAX_BATCHES: usize = 16;
/// Content that may wait to be written, in KiB.
const MAX_CONTENT_KIB: usize = 3072;

/// Batches of work, taken by whichever worker is free, and the first failure of any of them.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    more: Condvar,
    idle: Condvar,
    room: Arc<Semaphore>,
    content: Arc<Semaphore>,
    failure: OnceLock<Failure>,
}

#[derive(Debug, Default)]
struct Inner {
    batches: VecDeque<Batch>,
    busy: usize,
    closed: bool,
}

/// Work that is best done by one worker in one go, mostly in one directory.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) ops: Vec<Op>,
    /// Given back when the work is done.
    pub(crate) _room: Option<OwnedSemaphorePermit>,
}

/// Why the writing cannot go on.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) action: &'static str,
    pub(crate) path: RelPath,
    error: io::Error,
}

impl Failure {
    pub(crate) const fn new(action: &'static str, path: RelPath, error: io::Error) -> Self {
        Self { action, path, error }
    }

    /// The cause, as often as it is asked for.
    pub(crate) fn error(&self) -> io::Error {
        match self.error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.error.kind(), self.error.to_string()),
        }
    }
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            more: Condvar::new(),
            idle: Condvar::new(),
            room: Arc::new(Semaphore::new(MAX_BATCHES)),
            content: Arc::new(Semaphore::new(MAX_CONTENT_KIB)),
            failure: OnceLock::new(),
        }
    }

    /// Waits until one more batch may be queued. `None` when the queue is closed.
    pub(crate) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    /// Room for one more batch, if there is any at once.
    pub(crate) fn try_room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// Waits until so much more content may wait to be written.
    pub(crate) async fn room_for_content(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.content).acquire_many_owned(content_kib(bytes)).await.ok()
    }

    /// Room for so much more content, if there is any at once.
    pub(crate) fn try_room_for_content(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.content).try_acquire_many_owned(content_kib(bytes)).ok()
    }

    pub(crate) fn push(&self, batch: Batch) {
        if !batch.ops.is_empty() {
            self.lock().batches.push_back(batch);
            self.more.notify_one();
        }
    }

    /// As [`Self::push`], waiting on this thread while much is queued.
    pub(crate) fn push_waiting(&self, batch: Batch) {
        let mut inner = self.lock();
        while inner.batches.len() >= MAX_BATCHES && !inner.closed {
            inner = self.idle.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        drop(inner);
        self.push(batch);
    }

    /// The next batch, waiting for one; `None` when the queue was closed.
    pub(crate) fn take(&self) -> Option<Taken<'_>> {
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(batch) = inner.batches.pop_front() {
                inner.busy += 1;
                return Some(Taken { queue: self, batch: Some(batch) });
            }
            inner = self.more.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until everything queued is done.
    pub(crate) fn wait_idle(&self) {
        let mut inner = self.lock();
        while !(inner.closed || inner.batches.is_empty() && inner.busy == 0) {
            inner = self.idle.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the workers; what is queued is dropped.
    pub(crate) fn close(&self) {
        self.room.close();
        self.content.close();
        let mut inner = self.lock();
        inner.closed = true;
        let dropped = std::mem::take(&mut inner.batches);
        drop(inner);
        drop(dropped);
        self.more.notify_all();
        self.idle.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Keeps the first failure.
    pub(crate) fn fail(&self, failure: Failure) {
        drop(self.failure.set(failure));
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn content_kib(bytes: usize) -> u32 {
    u32::try_from((bytes / 1024 + 1).min(MAX_CONTENT_KIB)).unwrap_or(1)
}

/// A batch in the hands of a worker; it counts as done when this is dropped.
pub(crate) struct Taken<'a> {
    queue: &'a Queue,
    batch: Option<Batch>,
}

impl Taken<'_> {
    pub(crate) fn ops(&mut self) -> Vec<Op> {
        self.batch.as_mut().map(|batch| std::mem::take(&mut batch.ops)).unwrap_or_default()
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = io::Error::other("a worker died");
            self.queue.fail(Failure::new("write", RelPath::root(), error));
        }
        self.batch = None;
        let mut inner = self.queue.lock();
        inner.busy -= 1;
        if inner.batches.len() < MAX_BATCHES {
            self.queue.idle.notify_all();
        }
    }
}
