//! [`Pace`]: how fast may be read, and how long may be waited.

use crate::options::RsyncOptions;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Progress is averaged over so many time-outs: a far end may well search a large file for one of them.
const AVERAGED: u32 = 4;

/// A bandwidth limit, a progress time-out and a least progress.
#[derive(Debug)]
pub(super) struct Pace {
    bandwidth: Option<u64>,
    timeout: Duration,
    minimum: u64,
    next_read: Instant,
    progress: u64,
    last_progress: Instant,
    /// When the averaging began, and what there was by then.
    since: Instant,
    before: u64,
}

/// Something came all the time, and it was next to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dripping {
    pub(super) bytes: u64,
    pub(super) time: Duration,
}

impl Pace {
    pub(super) fn new(options: &RsyncOptions) -> Self {
        let now = Instant::now();
        Self {
            bandwidth: options.bandwidth,
            timeout: options.progress_timeout,
            minimum: options.minimum_progress,
            next_read: now,
            progress: 0,
            last_progress: now,
            since: now,
            before: 0,
        }
    }

    /// So many bytes came or were matched in all; fails when it was too little for too long.
    pub(super) fn keeps_up(&mut self, total: u64, patience: u32) -> Result<(), Dripping> {
        let time = self.since.elapsed();
        if time < self.timeout.saturating_mul(patience.saturating_mul(AVERAGED)) {
            return Ok(());
        }
        let bytes = total.saturating_sub(self.before);
        (self.since, self.before) = (Instant::now(), total);
        let enough = self.minimum.saturating_mul(AVERAGED.into());
        if bytes < enough { Err(Dripping { bytes, time }) } else { Ok(()) }
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
        for moment in [&mut self.last_progress, &mut self.since] {
            *moment = moment.checked_add(time).unwrap_or(*moment).min(Instant::now());
        }
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
