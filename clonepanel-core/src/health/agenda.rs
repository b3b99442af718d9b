//! [`Agenda`]: when to look at what, so that looks are spread over time and over servers.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

/// What is looked at when. Pure: times are counted from any beginning by a clock that only goes forwards.
///
/// Looks of the same interval are spread evenly over it, with a little disorder, so that no server and no network sees them all at once;
/// after a stall, for all that were missed, once each and spread again.
#[derive(Debug, Clone)]
pub struct Agenda {
    per_server: usize,
    entries: Vec<Entry>,
    /// By time: each that is neither under way nor held back.
    waiting: BTreeSet<(Duration, usize)>,
    /// By server: how many are under way, and who waits for them.
    servers: HashMap<String, Server>,
    seed: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    server: String,
    interval: Duration,
    /// When it was, or is, to be looked at.
    due: Duration,
}

#[derive(Debug, Clone, Default)]
struct Server {
    under_way: usize,
    held_back: BTreeSet<(Duration, usize)>,
}

/// Something to look at now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Due {
    /// Which, by the number that [`Agenda::add`] gave.
    pub number: usize,
    /// How much too late it is.
    pub late: Duration,
}

impl Agenda {
    /// Nothing to look at; so many looks at the same server at a time, at least 1. The seed decides about the disorder.
    #[must_use]
    pub fn new(per_server: usize, seed: u64) -> Self {
        Self {
            per_server: per_server.max(1),
            entries: Vec::new(),
            waiting: BTreeSet::new(),
            servers: HashMap::new(),
            seed: seed | 1,
        }
    }

    /// Adds something that is looked at every `interval` from `now` on; its number counts from 0.
    pub fn add(&mut self, server: impl Into<String>, interval: Duration, now: Duration) -> usize {
        let number = self.entries.len();
        // The golden ratio spreads any number of them evenly.
        let share = (number as f64 * 0.618_033_988_749_895).fract();
        let due = now.saturating_add(interval.mul_f64(share));
        self.entries.push(Entry { server: server.into(), interval, due });
        self.waiting.insert((due, number));
        number
    }

    /// The next one to look at, which is under way until [`Self::done`]; `None` when it is not time for any.
    pub fn due(&mut self, now: Duration) -> Option<Due> {
        while let Some(&(due, number)) = self.waiting.first().filter(|(due, _)| *due <= now) {
            self.waiting.pop_first();
            let server = self.servers.entry(self.entries[number].server.clone()).or_default();
            if server.under_way < self.per_server {
                server.under_way += 1;
                return Some(Due { number, late: now.saturating_sub(due) });
            }
            server.held_back.insert((due, number));
        }
        None
    }

    /// When the next look is due, if nothing is done before.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// A look is over. The next one is after the interval, counted from when it was due, or `sooner` from now.
    pub fn done(&mut self, number: usize, now: Duration, sooner: Option<Duration>) {
        let disorder = self.disorder();
        let Some(entry) = self.entries.get_mut(number) else { return };
        let regular = entry.due.saturating_add(entry.interval);
        // What was missed is not made up for.
        let regular = if regular > now { regular } else { now.saturating_add(entry.interval) };
        let soon = sooner.map(|sooner| now.saturating_add(sooner));
        entry.due = match soon {
            Some(soon) => soon.min(regular),
            None => regular.saturating_add(entry.interval.mul_f64(disorder)),
        };
        self.waiting.insert((entry.due, number));
        let server = entry.server.clone();
        if let Some(server) = self.servers.get_mut(&server) {
            server.under_way = server.under_way.saturating_sub(1);
            // Whoever was held back is due still, and is as late as it is.
            self.waiting.extend(server.held_back.pop_first());
        }
    }

    /// Looks at this one at once: another vantage has seen something.
    pub fn hurry(&mut self, number: usize, now: Duration) {
        let Some(entry) = self.entries.get_mut(number) else { return };
        if self.waiting.remove(&(entry.due, number)) {
            entry.due = entry.due.min(now);
            self.waiting.insert((entry.due, number));
        }
    }

    /// Nobody looked for a while: all that is overdue is spread over its interval again.
    pub fn resume(&mut self, now: Duration) {
        let overdue: Vec<_> = self.waiting.iter().take_while(|(due, _)| *due <= now).copied().collect();
        for (place, &(due, number)) in overdue.iter().enumerate() {
            self.waiting.remove(&(due, number));
            let share = (place as f64 * 0.618_033_988_749_895).fract();
            let entry = &mut self.entries[number];
            entry.due = now.saturating_add(entry.interval.mul_f64(share));
            self.waiting.insert((entry.due, number));
        }
    }

    /// A share of an interval, up to a twentieth.
    fn disorder(&mut self) -> f64 {
        // Marsaglia's xorshift64.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed % 1000) as f64 / 20_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    #[test]
    fn looks_are_spread() {
        let mut agenda = Agenda::new(10, 7);
        for number in 0..100 {
            assert_eq!(agenda.add(format!("s{number}"), INTERVAL, Duration::ZERO), number);
        }
        // In each second about as many as in any other.
        let mut counts = vec![0; 30];
        for second in 0..30 {
            while let Some(due) = agenda.due(Duration::from_secs(second + 1)) {
                counts[second as usize] += 1;
                assert!(due.late <= Duration::from_secs(1));
            }
        }
        assert_eq!(counts.iter().sum::<u32>(), 100);
        assert!(counts.iter().all(|count| (2..=5).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_server_is_not_asked_by_all_at_once() {
        let mut agenda = Agenda::new(2, 7);
        for _ in 0..5 {
            agenda.add("alpha", INTERVAL, Duration::ZERO);
        }
        let other = agenda.add("beta", INTERVAL, Duration::ZERO);
        let now = INTERVAL;
        let first: Vec<_> = std::iter::from_fn(|| agenda.due(now)).map(|due| due.number).collect();
        assert_eq!(first.iter().filter(|number| **number != other).count(), 2);
        assert!(first.contains(&other));
        agenda.done(first[0], now, None);
        assert!(agenda.due(now).is_some() && agenda.due(now).is_none());
    }

    #[test]
    fn a_failure_is_looked_at_again_soon_and_by_others_at_once() {
        let mut agenda = Agenda::new(2, 7);
        let (one, two) = (agenda.add("a", INTERVAL, Duration::ZERO), agenda.add("a", INTERVAL, Duration::ZERO));
        assert_eq!(agenda.due(Duration::ZERO), Some(Due { number: one, late: Duration::ZERO }));
        assert_eq!(agenda.due(Duration::ZERO), None);
        agenda.hurry(two, Duration::ZERO);
        assert_eq!(agenda.due(Duration::ZERO).map(|due| due.number), Some(two));
        agenda.done(one, Duration::from_secs(1), Some(Duration::from_secs(2)));
        assert_eq!(agenda.next(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_stall_is_not_made_up_for_all_at_once() {
        let mut agenda = Agenda::new(100, 7);
        for _ in 0..60 {
            agenda.add("a", INTERVAL, Duration::ZERO);
        }
        let late = Duration::from_secs(3600);
        agenda.resume(late);
        let at_once = std::iter::from_fn(|| agenda.due(late)).count();
        assert!(at_once <= 1, "{at_once}");
        let within: usize = std::iter::from_fn(|| agenda.due(late + INTERVAL)).count();
        assert_eq!(at_once + within, 60);
    }

    proptest! {
        /// Whatever happens, each is looked at again and again, and never twice at a time.
        #[test]
        fn nobody_is_forgotten(steps in proptest::collection::vec((0u64..40, 0u8..4), 1..200), count in 1usize..8) {
            let mut agenda = Agenda::new(2, 3);
            for number in 0..count {
                agenda.add(format!("s{}", number % 3), INTERVAL, Duration::ZERO);
            }
            let (mut now, mut under_way) = (Duration::ZERO, Vec::new());
            for (seconds, what) in steps {
                now += Duration::from_secs(seconds);
                match what {
                    0 => agenda.resume(now),
                    1 => agenda.hurry(seconds as usize % count, now),
                    2 => if let Some(number) = under_way.pop() { agenda.done(number, now, (seconds % 2 == 0).then_some(Duration::from_secs(2))) },
                    _ => while let Some(due) = agenda.due(now) {
                        prop_assert!(!under_way.contains(&due.number));
                        under_way.push(due.number);
                    }
                }
            }
            under_way.drain(..).for_each(|number| agenda.done(number, now, None));
            let mut seen = BTreeSet::new();
            for _ in 0..count * 3 {
                now += INTERVAL * 2;
                while let Some(due) = agenda.due(now) {
                    seen.insert(due.number);
                    agenda.done(due.number, now, None);
                }
            }
            prop_assert_eq!(seen.len(), count);
        }
    }
}
