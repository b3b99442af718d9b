//! Where file-system calls are made: on threads that may wait.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

/// Runs work that may wait for a disk. When the future is dropped the work runs to its end unobserved: for work that changes
/// nothing, or nothing that anybody could mind.
pub(crate) async fn run<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
    lost: impl FnOnce(io::Error) -> E,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(lost(io::Error::other(error))),
    }
}

/// Runs work that holds something others wait for. When the future is dropped, the work is told to stop at its next step and
/// is waited for: afterwards nothing of it goes on.
pub(crate) async fn run_to_end<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce(&Stop) -> Result<T, E> + Send + 'static,
    lost: impl FnOnce(io::Error) -> E,
) -> Result<T, E> {
    let stop = Stop::default();
    let (alive, ended) = mpsc::channel::<()>();
    let _waits = Waits { stop: stop.clone(), ended };
    let (tell, told) = tokio::sync::oneshot::channel();
    drop(tokio::task::spawn_blocking(move || {
        // Dropped last, when everything that the work held is gone.
        let _alive = alive;
        // A receiver that is gone drops the result here.
        drop(tell.send(work(&stop)));
    }));
    match told.await {
        Ok(result) => result,
        Err(_) => Err(lost(io::Error::other("the work was abandoned"))),
    }
}

/// Says that nobody waits for the result any more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Waits {
    stop: Stop,
    ended: mpsc::Receiver<()>,
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::Relaxed);
        // Nothing is ever sent: this returns when the other end is gone.
        let _: Result<(), mpsc::RecvError> = self.ended.recv();
    }
}
