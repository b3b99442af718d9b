//! [`Pace`]: how fast bytes may move, and how long may be waited.

use crate::options::RsyncOptions;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Progress is averaged over so many time-outs: a far end may well search a large file for one of them.
const AVERAGED: u32 = 4;

/// A bandwidth limit, a progress time-out and a least progress.
#[derive(Debug)]
pub(crate) struct Pace {
    bandwidth: Option<u64>,
    timeout: Duration,
    minimum: u64,
    next_move: Instant,
    progress: u64,
    last_progress: Instant,
    /// When the averaging began, and what there was by then.
    since: Instant,
    before: u64,
}

/// Something came all the time, and it was next to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dripping {
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

impl Pace {
    pub(crate) fn new(options: &RsyncOptions) -> Self {
        let now = Instant::now();
        Self {
            bandwidth: options.bandwidth,
            timeout: options.progress_timeout,
            minimum: options.minimum_progress,
            next_move: now,
            progress: 0,
            last_progress: now,
            since: now,
            before: 0,
        }
    }

    /// So many bytes came or were matched in all; fails when it was too little for too long.
    pub(crate) fn keeps_up(&mut self, total: u64, patience: u32) -> Result<(), Dripping> {
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
    pub(crate) fn progress(&mut self, total: u64) {
        if total != self.progress {
            self.progress = total;
            self.alive();
        }
    }

    /// Something of substance happened.
    pub(crate) fn alive(&mut self) {
        self.last_progress = Instant::now();
    }

    /// We ourselves were busy for so long: that is not the peer's silence.
    pub(crate) fn worked(&mut self, time: Duration) {
        for moment in [&mut self.last_progress, &mut self.since] {
            *moment = moment.checked_add(time).unwrap_or(*moment).min(Instant::now());
        }
    }

    /// So many bytes were moved.
    pub(crate) fn moved(&mut self, len: usize) {
        if let Some(bandwidth) = self.bandwidth {
            let now = Instant::now();
            // What was not used before does not add up to a burst.
            self.next_move = self.next_move.max(now) + Duration::from_secs_f64(len as f64 / bandwidth as f64);
        }
    }

    /// How many bytes may be moved at a time, so that a slow line is not taken in gulps.
    pub(crate) fn piece(&self) -> usize {
        self.bandwidth.map_or(usize::MAX, |bandwidth| usize::try_from(bandwidth / 10).unwrap_or(usize::MAX).max(1024))
    }

    pub(crate) fn may_move(&self) -> bool {
        self.bandwidth.is_none() || Instant::now() >= self.next_move
    }

    pub(crate) async fn wait_to_move(&self) {
        sleep_until(self.next_move).await;
    }

    /// Waits until nothing came for the time-out, so many times over.
    pub(crate) async fn wait_too_long(&self, patience: u32) {
        match self.last_progress.max(self.next_move).checked_add(self.timeout.saturating_mul(patience)) {
            Some(end) => sleep_until(end).await,
            None => std::future::pending().await,
        }
    }
}
