//! [`VirtualTimer`]: time that passes when nobody has anything else to do.

use crate::time::{Clock, Timer, Timestamp};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

/// A timer for tests: a year passes in as long as it takes to do what is done in it.
#[derive(Debug, Clone)]
pub struct VirtualTimer {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    begun: Timestamp,
    elapsed: Duration,
    next: u64,
    sleeping: BTreeMap<(Duration, u64), Waker>,
}

/// Nobody has to be told: [`VirtualTimer::run`] looks again by itself.
struct Unheard;

impl Wake for Unheard {
    fn wake(self: Arc<Self>) {}
}

impl VirtualTimer {
    /// It is `begun`.
    #[must_use]
    pub fn new(begun: Timestamp) -> Self {
        let inner = Inner { begun, elapsed: Duration::ZERO, next: 0, sleeping: BTreeMap::new() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Does what needs nothing but this timer, to its end.
    ///
    /// # Panics
    /// When it waits for something else.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let waker = Waker::from(Arc::new(Unheard));
        let mut context = Context::from_waker(&waker);
        let mut idle = 0;
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
                return done;
            }
            idle = if self.pass() { 0 } else { idle + 1 };
            assert!(idle < 1000, "it waits for something else than time");
        }
    }

    /// As if the machine had stood still: time passes and nobody is woken before.
    pub fn stand_still(&self, lasting: Duration) {
        let mut inner = self.lock();
        inner.elapsed = inner.elapsed.saturating_add(lasting);
    }

    /// Lets the time come for which the first one sleeps; `false` when nobody does.
    fn pass(&self) -> bool {
        let mut inner = self.lock();
        let Some(&(first, _)) = inner.sleeping.keys().next() else { return false };
        inner.elapsed = inner.elapsed.max(first);
        let later = inner.sleeping.split_off(&(first, u64::MAX));
        let woken = std::mem::replace(&mut inner.sleeping, later);
        drop(inner);
        woken.into_values().for_each(Waker::wake);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualTimer {
    fn now(&self) -> Timestamp {
        let inner = self.lock();
        inner.begun.after(inner.elapsed)
    }
}

#[async_trait]
impl Timer for VirtualTimer {
    fn elapsed(&self) -> Duration {
        self.lock().elapsed
    }

    async fn sleep_until(&self, until: Duration) {
        /// Whoever is dropped does not sleep any more.
        struct Bed<'a>(&'a VirtualTimer, (Duration, u64));
        impl Drop for Bed<'_> {
            fn drop(&mut self) {
                self.0.lock().sleeping.remove(&self.1);
            }
        }
        let number = {
            let mut inner = self.lock();
            inner.next += 1;
            inner.next
        };
        let bed = Bed(self, (until, number));
        poll_fn(|context| {
            let mut inner = self.lock();
            if inner.elapsed >= until {
                return Poll::Ready(());
            }
            inner.sleeping.insert(bed.1, context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
