//! [`Pace`]: how fast may be read, and how long may be waited.

use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A bandwidth limit and a progress time-out.
#[derive(Debug)]
pub(super) struct Pace {
    bandwidth: Option<u64>,
    timeout: Duration,
    next_read: Instant,
    progress: u64,
    last_progress: Instant,
}

impl Pace {
    pub(super) fn new(bandwidth: Option<u64>, timeout: Duration) -> Self {
        let now = Instant::now();
        Self { bandwidth, timeout, next_read: now, progress: 0, last_progress: now }
    }

    /// So many bytes of substance came in all; only more of them count as progress.
    pub(super) fn progress(&mut self, total: u64) {
        if total != self.progress {
            self.progress = total;
            self.alive();
        }
    }

    /// Something of substance happened.
    pub(super) fn alive(&mut self) {
        self.last_progress = Instant::now();
    }

    /// We ourselves were busy for so long: that is not the peer's silence.
    pub(super) fn worked(&mut self, time: Duration) {
        self.last_progress = self.last_progress.checked_add(time).unwrap_or(self.last_progress).min(Instant::now());
    }

    /// So many bytes were read.
    pub(super) fn took(&mut self, len: usize) {
        if let Some(bandwidth) = self.bandwidth {
            let now = Instant::now();
            // What was not used before does not add up to a burst.
            self.next_read = self.next_read.max(now) + Duration::from_secs_f64(len as f64 / bandwidth as f64);
        }
    }

    pub(super) fn may_read(&self) -> bool {
        self.bandwidth.is_none() || Instant::now() >= self.next_read
    }

    pub(super) async fn wait_to_read(&self) {
        sleep_until(self.next_read).await;
    }

    /// Waits until nothing came for the time-out, so many times over.
    pub(super) async fn wait_too_long(&self, patience: u32) {
        match self.last_progress.max(self.next_read).checked_add(self.timeout.saturating_mul(patience)) {
            Some(end) => sleep_until(end).await,
            None => std::future::pending().await,
        }
    }
}
