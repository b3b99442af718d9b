//! [`Pace`]: how fast bytes may move, and how long may be waited.

use crate::options::RsyncOptions;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Progress is averaged over so many time-outs: a far end may well search a large file for one of them.
const AVERAGED: u32 = 4;

/// No disk of a server is slower than this, in bytes a second.
const SLOWEST_DISK: u64 = 1 << 20;

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
    /// How much of the averaged time is used up, and when that was. Time in which patience is due counts for as much less.
    spent: Duration,
    counted: Instant,
    patience: u32,
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
            spent: Duration::ZERO,
            counted: now,
            patience: 1,
        }
    }

    /// So many bytes came or were matched in all; fails when it was too little for too long. From now on, `patience` is due.
    pub(crate) fn keeps_up(&mut self, total: u64, patience: u32) -> Result<(), Dripping> {
        let now = Instant::now();
        self.spent += now.saturating_duration_since(self.counted) / self.patience.max(1);
        (self.counted, self.patience) = (now, patience);
        if self.spent < self.timeout.saturating_mul(AVERAGED) {
            return Ok(());
        }
        let (time, bytes) = (self.since.elapsed(), total.saturating_sub(self.before));
        (self.since, self.before, self.spent) = (now, total, Duration::ZERO);
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
        for moment in [&mut self.last_progress, &mut self.since, &mut self.counted] {
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

    /// How many whole time-outs a slow disk needs for so many bytes.
    pub(crate) fn time_outs_to_read(&self, len: u64) -> u32 {
        let in_one = (u128::from(SLOWEST_DISK) * self.timeout.as_millis() / 1000).max(1);
        u32::try_from(u128::from(len) / in_one).unwrap_or(u32::MAX)
    }

    /// How long silence may last when so much patience is due.
    pub(crate) const fn patience(&self, patience: u32) -> Duration {
        self.timeout.saturating_mul(patience)
    }

    /// Waits until nothing came for the time-out, so many times over.
    pub(crate) async fn wait_too_long(&self, patience: u32) {
        match self.last_progress.max(self.next_move).checked_add(self.patience(patience)) {
            Some(end) => sleep_until(end).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A long look that patience allows is no drip once it is over.
    #[test]
    fn patience_belongs_to_the_time_it_was_due_in() {
        let timeout = Duration::from_millis(50);
        let mut pace = Pace::new(&RsyncOptions::new().progress_timeout(timeout).minimum_progress(10));
        assert!(pace.keeps_up(0, 12).is_ok());
        // As if so much time had gone by.
        let pass = |pace: &mut Pace, timeouts: u32| {
            pace.counted = pace.counted.checked_sub(timeout * timeouts).unwrap();
        };
        pass(&mut pace, 12);
        assert!(pace.keeps_up(1, 1).is_ok());
        pass(&mut pace, 12);
        assert_eq!(pace.keeps_up(1, 1).unwrap_err().bytes, 1);
        pass(&mut pace, 5);
        assert!(pace.keeps_up(1000, 12).is_ok());
        pass(&mut pace, 49);
        assert!(pace.keeps_up(1000, 1).is_err());
    }
}
