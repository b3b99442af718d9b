//! [`SystemTimer`]: the time of this machine, for jobs that wait.

use async_trait::async_trait;
use clonepanel_core::time::{Clock, SystemClock, Timer, Timestamp};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The time of this machine.
#[derive(Debug)]
pub(crate) struct SystemTimer {
    begun: Instant,
}

impl SystemTimer {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now() }
    }
}

impl Clock for SystemTimer {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

#[async_trait]
impl Timer for SystemTimer {
    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    async fn sleep_until(&self, until: Duration) {
        match self.begun.checked_add(until) {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}
