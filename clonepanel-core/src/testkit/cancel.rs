//! Cancelling an operation wherever it can be cancelled.

use std::{
    future::poll_fn,
    pin::pin,
    task::Poll::{Pending, Ready},
};

/// Drops an operation after 0, 1, 2, … polls, a new one each time, until one is fast enough to complete; `check` looks at the
/// world after each, and is given the number of polls and what came out. Returns how many were dropped.
///
/// An operation whose back ends never wait completes at its first poll: put [`Gated`](super::Gated) with
/// [`Yields`](super::Yields) around them.
pub async fn cancel_everywhere<T, F: Future<Output = T>>(
    mut start: impl FnMut() -> F,
    mut check: impl AsyncFnMut(usize, Option<&T>),
) -> usize {
    for polls in 0.. {
        let outcome = run_for(polls, start()).await;
        check(polls, outcome.as_ref()).await;
        if outcome.is_some() {
            return polls;
        }
    }
    usize::MAX
}

/// Runs a future for at most so many polls and drops it; `None` when it was not done by then.
pub async fn run_for<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Ready(output) => Ready(Some(output)),
            Pending if left == 0 => Ready(None),
            Pending => Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Call, Gate, Yields, block_on, path};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn every_point_is_cancelled_once() {
        let reached = AtomicUsize::new(0);
        let mut seen = Vec::new();
        let dropped = block_on(cancel_everywhere(
            || async {
                reached.store(0, Relaxed);
                for step in 1..=3 {
                    Yields.pass(Call::Offer, &path("")).await.unwrap();
                    reached.store(step, Relaxed);
                }
                "done"
            },
            async |polls, outcome| seen.push((polls, reached.load(Relaxed), outcome.copied())),
        ));
        assert_eq!(dropped, 4);
        // Zero polls run nothing, so the counter still holds its first value.
        assert_eq!(seen, [(0, 0, None), (1, 0, None), (2, 1, None), (3, 2, None), (4, 3, Some("done"))]);
    }
}
