//! [`HealthRecorder`]: from what a monitor tells to a log, off the way of the probes.

use super::monitor::{MonitorEvent, MonitorObserver};
use crate::{
    health::{HealthLog, HealthLogError, HealthRecord},
    time::Timer,
};
use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How often records are written.
const BEAT: Duration = Duration::from_secs(1);
/// So many looks wait for a log that does not take them; older ones are dropped.
const MOST_LOOKS: usize = 20_000;

/// Collects what a monitor tells and writes it to a log once a second. When the log does not take it, looks are dropped, the oldest first,
/// and counted; a change of state never is.
#[derive(Default)]
pub struct HealthRecorder {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    looks: VecDeque<(u64, HealthRecord)>,
    states: VecDeque<(u64, HealthRecord)>,
    /// The number of the next record.
    next: u64,
    dropped: u64,
}

impl Waiting {
    fn push(&mut self, record: HealthRecord) {
        let numbered = (self.next, record);
        self.next += 1;
        if !matches!(numbered.1, HealthRecord::Look { .. }) {
            return self.states.push_back(numbered);
        }
        if self.looks.len() == MOST_LOOKS {
            self.looks.pop_front();
            self.dropped += 1;
        }
        self.looks.push_back(numbered);
    }

    /// Those before a number are written.
    fn written(&mut self, until: u64) {
        for queue in [&mut self.looks, &mut self.states] {
            while queue.front().is_some_and(|(number, _)| *number < until) {
                queue.pop_front();
            }
        }
    }
}

impl fmt::Debug for HealthRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthRecorder").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

impl HealthRecorder {
    /// Nothing collected yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many looks were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Writes until it is dropped; what was not written then is written by [`Self::flush`]. Trouble with the log is told each time.
    ///
    /// # Cancel safety
    /// Harmless to drop: what was being written is written again.
    pub async fn run(&self, log: &dyn HealthLog, timer: &dyn Timer, trouble: &(dyn Fn(&HealthLogError) + Sync)) {
        self.lock().states.push_front((0, HealthRecord::Begun { at: timer.now() }));
        loop {
            if let Err(error) = self.flush(log).await {
                trouble(&error);
            }
            timer.sleep_until(timer.elapsed().saturating_add(BEAT)).await;
        }
    }

    /// Writes what is there.
    ///
    /// # Errors
    /// [`HealthLogError`]: it is kept, and written the next time.
    ///
    /// # Cancel safety
    /// Harmless to drop: it is kept, and written the next time.
    pub async fn flush(&self, log: &dyn HealthLog) -> Result<(), HealthLogError> {
        let (batch, until) = {
            let waiting = self.lock();
            let all = waiting.states.iter().chain(&waiting.looks).map(|(_, record)| record.clone());
            (all.collect::<Vec<_>>(), waiting.next)
        };
        if !batch.is_empty() {
            log.append(&batch).await?;
            self.lock().written(until);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MonitorObserver for HealthRecorder {
    fn notice(&self, event: &MonitorEvent<'_>) {
        let record = match event {
            MonitorEvent::Looked { target, vantage, at, look, .. } => HealthRecord::Look {
                target: (*target).to_owned(),
                vantage: (*vantage).to_owned(),
                at: *at,
                class: look.as_ref().ok().map(|seen| seen.class),
                latency: look.as_ref().map_or(Duration::ZERO, |seen| seen.latency),
            },
            MonitorEvent::Changed { target, verdict, cause, at, .. } => HealthRecord::State {
                target: (*target).to_owned(),
                at: *at,
                state: verdict.state,
                cause: cause.map(|seen| format!("{}: {}", seen.class, seen.detail())).unwrap_or_default(),
            },
            MonitorEvent::OwnTrouble { .. } => return,
        };
        self.lock().push(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        health::{Class, HealthSummary, Observation, Reason, State, Verdict},
        testkit::VirtualTimer,
        time::Timestamp,
    };
    use async_trait::async_trait;

    /// Takes nothing while it is full.
    #[derive(Default)]
    struct Log {
        is_full: Mutex<bool>,
        kept: Mutex<Vec<HealthRecord>>,
    }

    #[async_trait]
    impl HealthLog for Log {
        async fn append(&self, records: &[HealthRecord]) -> Result<(), HealthLogError> {
            if *self.is_full.lock().unwrap() {
                return Err(HealthLogError::Unavailable { place: "x".to_owned(), source: "full".into() });
            }
            self.kept.lock().unwrap().extend_from_slice(records);
            Ok(())
        }

        async fn targets(&self) -> Result<Vec<String>, HealthLogError> {
            Ok(Vec::new())
        }

        async fn summary(&self, _: &str, _: Timestamp, _: Timestamp) -> Result<HealthSummary, HealthLogError> {
            Ok(HealthSummary::default())
        }
    }

    fn look(recorder: &HealthRecorder, second: i64) {
        let look = Ok(Observation::new(Class::Good, Duration::from_millis(5), ""));
        let (at, late) = (Timestamp::from_secs(second), Duration::ZERO);
        recorder.notice(&MonitorEvent::Looked { target: "page", vantage: "here", at, look: &look, late });
    }

    fn change(recorder: &HealthRecorder, second: i64) {
        let verdict = Verdict { state: State::Down, reason: Reason::Agreed, may_act: false, votes: Vec::new() };
        let at = Timestamp::from_secs(second);
        recorder.notice(&MonitorEvent::Changed { target: "page", from: State::Up, verdict: &verdict, cause: None, at });
    }

    #[test]
    fn looks_are_dropped_and_changes_are_not() {
        let (recorder, log, timer) = (HealthRecorder::new(), Log::default(), VirtualTimer::new(Timestamp::default()));
        *log.is_full.lock().unwrap() = true;
        for second in 0..30_000 {
            look(&recorder, second);
            if second % 1000 == 0 {
                change(&recorder, second);
                assert!(timer.run(recorder.flush(&log)).is_err());
            }
        }
        assert_eq!(recorder.dropped(), 10_000);
        *log.is_full.lock().unwrap() = false;
        timer.run(recorder.flush(&log)).unwrap();
        timer.run(recorder.flush(&log)).unwrap();
        let kept = log.kept.lock().unwrap();
        let states = kept.iter().filter(|record| matches!(record, HealthRecord::State { .. })).count();
        assert_eq!((states, kept.len()), (30, 20_030), "each once");
    }

    #[test]
    fn it_is_written_each_second_and_begins_with_the_beginning() {
        let (recorder, log, timer) =
            (HealthRecorder::new(), Log::default(), VirtualTimer::new(Timestamp::from_secs(5)));
        let troubles = Mutex::new(0);
        let watch = async {
            for second in 0..5 {
                look(&recorder, second);
                *log.is_full.lock().unwrap() = second == 3;
                timer.sleep_until(Duration::from_secs(second.unsigned_abs() + 1)).await;
            }
        };
        let trouble = |_: &HealthLogError| *troubles.lock().unwrap() += 1;
        let writing = recorder.run(&log, &timer, &trouble);
        timer.run(futures_util::future::select(std::pin::pin!(watch), std::pin::pin!(writing)));
        timer.run(recorder.flush(&log)).unwrap();
        let kept = log.kept.lock().unwrap();
        assert_eq!(kept[0], HealthRecord::Begun { at: Timestamp::from_secs(5) });
        assert_eq!(kept.len(), 6, "{kept:?}");
        assert_eq!(*troubles.lock().unwrap(), 1);
    }
}
