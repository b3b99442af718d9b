//! [`Watch`]: the state of one server as one vantage sees it.

use super::{
    observation::{Class, Observation},
    quorum::Vote,
};
use std::{collections::VecDeque, time::Duration};

/// How many of the last looks tell whether a server flaps.
const REMEMBERED: usize = 20;
/// So many of a hundred looks that differ from the one before make it flap, and so few end that.
const FLAPPING_PERCENT: usize = 30;
const CALM_PERCENT: usize = 20;
/// After so many intervals without a result, nothing is known any more.
const STALE_INTERVALS: u32 = 3;

/// The state of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum State {
    /// Nothing is known: not looked at yet, or not for too long, or with bad eyes.
    Unknown,
    /// It does what it is for.
    Up,
    /// It failed, and may be down; it is looked at again soon.
    Failing,
    /// It failed often enough in a row.
    Down,
    /// It was down, and has not been up for long enough to be trusted.
    Recovering,
}

/// When a state becomes another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchPolicy {
    interval: Duration,
    recheck: Duration,
    first_rise: u32,
    fall: u32,
    rise: u32,
    recovery: Duration,
}

/// A state became another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Transition {
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
}

/// Judges what one vantage sees of one server, look by look. Times are counted from any beginning and must not go backwards; one that
/// does is taken for the latest there was.
#[derive(Debug, Clone)]
pub struct Watch {
    policy: WatchPolicy,
    state: State,
    now: Duration,
    /// Since when the state is what it is.
    since: Duration,
    /// Good or bad looks in a row, by the state.
    in_a_row: u32,
    /// When the good looks of a recovery began.
    recovering_since: Duration,
    last_result: Option<Duration>,
    last_good: Option<Duration>,
    class: Option<Class>,
    /// The last looks, whether they were good.
    looks: VecDeque<bool>,
    is_flapping: bool,
}

impl WatchPolicy {
    /// Looks every `interval`, and every 2 s after a failure; 3 failures in a row are down, 20 good looks over 5 minutes are up
    /// again, and 2 good ones at the beginning are up.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            recheck: Duration::from_secs(2),
            first_rise: 2,
            fall: 3,
            rise: 20,
            recovery: Duration::from_mins(5),
        }
    }

    /// How many failures in a row are down; at least 1.
    #[must_use]
    pub const fn fall(mut self, failures: u32) -> Self {
        self.fall = if failures == 0 { 1 } else { failures };
        self
    }

    /// How many good looks in a row, over how long at least, are up again after having been down; at least 1.
    #[must_use]
    pub const fn rise(mut self, looks: u32, over: Duration) -> Self {
        self.rise = if looks == 0 { 1 } else { looks };
        self.recovery = over;
        self
    }

    /// How soon it is looked at again after a failure.
    #[must_use]
    pub const fn recheck(mut self, recheck: Duration) -> Self {
        self.recheck = recheck;
        self
    }

    /// How long a failure may go unnoticed by `vantages` that look in turns, each look taking up to `timeout`: until it shows first, and
    /// then until it was seen often enough.
    #[must_use]
    pub fn longest_detection(&self, vantages: u32, timeout: Duration) -> Duration {
        self.interval / vantages.max(1) + (self.recheck + timeout) * (self.fall - 1) + timeout
    }
}

impl Watch {
    /// Nothing known yet.
    #[must_use]
    pub fn new(policy: WatchPolicy) -> Self {
        Self {
            policy,
            state: State::Unknown,
            now: Duration::ZERO,
            since: Duration::ZERO,
            in_a_row: 0,
            recovering_since: Duration::ZERO,
            last_result: None,
            last_good: None,
            class: None,
            looks: VecDeque::with_capacity(REMEMBERED),
            is_flapping: false,
        }
    }

    /// The state after the last look.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether it goes up and down so often that no state means much.
    #[must_use]
    pub const fn is_flapping(&self) -> bool {
        self.is_flapping
    }

    /// When to look again, counted from the last look.
    #[must_use]
    pub const fn next_look(&self) -> Duration {
        match self.state {
            State::Failing => self.policy.recheck,
            State::Unknown | State::Up | State::Down | State::Recovering => self.policy.interval,
        }
    }

    /// Takes in what a look showed.
    pub fn observe(&mut self, now: Duration, seen: &Observation) -> Option<Transition> {
        // What happened before it was looked away counts no more.
        let before = self.state;
        self.pass(now);
        let is_good = !seen.class.is_failure();
        self.remember(is_good);
        self.last_result = Some(self.now);
        self.class = Some(seen.class);
        if is_good {
            self.last_good = Some(self.now);
        }
        let next = match (self.state, is_good) {
            (State::Unknown, true) => {
                self.in_a_row += 1;
                if self.in_a_row >= self.policy.first_rise { State::Up } else { State::Unknown }
            }
            // What was never seen up is not said to have gone down.
            (State::Unknown, false) => {
                self.in_a_row = 0;
                State::Unknown
            }
            (State::Up, true) => State::Up,
            (State::Up, false) => {
                self.in_a_row = 1;
                if self.policy.fall <= 1 { State::Down } else { State::Failing }
            }
            (State::Failing, true) => State::Up,
            (State::Failing, false) => {
                self.in_a_row += 1;
                if self.in_a_row >= self.policy.fall { State::Down } else { State::Failing }
            }
            (State::Down, true) => {
                self.in_a_row = 1;
                self.recovering_since = self.now;
                State::Recovering
            }
            (State::Down, false) => State::Down,
            (State::Recovering, true) => {
                self.in_a_row += 1;
                let is_long = self.now.saturating_sub(self.recovering_since) >= self.policy.recovery;
                if self.in_a_row >= self.policy.rise && is_long { State::Up } else { State::Recovering }
            }
            (State::Recovering, false) => State::Down,
        };
        self.enter(next);
        (self.state != before).then_some(Transition { from: before, to: self.state })
    }

    /// Lets time pass without a look: after too long, nothing is known any more. It never ages into being down.
    pub fn pass(&mut self, now: Duration) -> Option<Transition> {
        self.now = self.now.max(now);
        let stale = self.policy.interval * STALE_INTERVALS;
        if self.last_result.is_some_and(|last| self.now.saturating_sub(last) > stale) {
            self.abstain(self.now)
        } else {
            None
        }
    }

    /// This vantage cannot be trusted: its own canaries fail, its scheduler stood still, or it could not look. Everything it knew is
    /// forgotten.
    pub fn abstain(&mut self, now: Duration) -> Option<Transition> {
        self.now = self.now.max(now);
        let from = self.state;
        self.in_a_row = 0;
        self.last_result = None;
        self.enter(State::Unknown);
        (from != State::Unknown).then_some(Transition { from, to: State::Unknown })
    }

    /// What this vantage has to say now.
    #[must_use]
    pub fn vote(&self, vantage: impl Into<String>, now: Duration) -> Vote {
        let now = self.now.max(now);
        let stale = self.policy.interval * STALE_INTERVALS;
        let is_fresh = self.last_result.is_some_and(|last| now.saturating_sub(last) <= stale);
        Vote {
            vantage: vantage.into(),
            state: if is_fresh { self.state } else { State::Unknown },
            class: self.class,
            lasting: now.saturating_sub(self.since),
            was_good_just_now: self.last_good.is_some_and(|last| now.saturating_sub(last) <= self.policy.interval),
            is_flapping: self.is_flapping,
        }
    }

    fn enter(&mut self, next: State) {
        if next != self.state {
            self.state = next;
            self.since = self.now;
        }
    }

    fn remember(&mut self, is_good: bool) {
        if self.looks.len() == REMEMBERED {
            self.looks.pop_front();
        }
        self.looks.push_back(is_good);
        let changes = self.looks.iter().zip(self.looks.iter().skip(1)).filter(|(a, b)| a != b).count();
        let limit = if self.is_flapping { CALM_PERCENT } else { FLAPPING_PERCENT };
        self.is_flapping = changes * 100 > (REMEMBERED - 1) * limit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(15);

    fn seen(is_good: bool) -> Observation {
        Observation::new(if is_good { Class::Good } else { Class::Refused }, Duration::ZERO, "")
    }

    /// Looks whenever it is time, `+` good and `-` bad, and tells the states.
    fn states(policy: WatchPolicy, looks: &str) -> Vec<State> {
        let mut watch = Watch::new(policy);
        let mut now = Duration::ZERO;
        let look = |look: char| {
            now += watch.next_look();
            watch.observe(now, &seen(look == '+'));
            watch.state()
        };
        looks.chars().map(look).collect()
    }

    #[test]
    fn states_follow_the_looks() {
        use State::{Down, Failing, Recovering, Unknown, Up};
        let policy = WatchPolicy::new(INTERVAL).rise(3, Duration::from_secs(30));
        for (looks, expected) in [
            ("+", vec![Unknown]),
            ("++", vec![Unknown, Up]),
            ("----", vec![Unknown; 4]),
            ("+-++", vec![Unknown, Unknown, Unknown, Up]),
            ("++--+", vec![Unknown, Up, Failing, Failing, Up]),
            ("++---", vec![Unknown, Up, Failing, Failing, Down]),
            ("++---+-", vec![Unknown, Up, Failing, Failing, Down, Recovering, Down]),
            ("++---+++", vec![Unknown, Up, Failing, Failing, Down, Recovering, Recovering, Up]),
        ] {
            assert_eq!(states(policy.clone(), looks), expected, "{looks}");
        }
        // Many good looks in a short time are not long enough.
        let slow = WatchPolicy::new(INTERVAL).rise(3, Duration::from_mins(5));
        assert_eq!(states(slow, "++---+++").last(), Some(&Recovering));
    }

    #[test]
    fn a_failure_is_noticed_within_the_formula() {
        let policy = WatchPolicy::new(INTERVAL);
        let timeout = Duration::from_secs(4);
        let mut watch = Watch::new(policy.clone());
        for number in 0..4 {
            watch.observe(INTERVAL * number, &seen(true));
        }
        // It breaks right after a look.
        let broken = INTERVAL * 3;
        let mut now = broken;
        while watch.state() != State::Down {
            now += watch.next_look() + timeout;
            watch.observe(now, &seen(false));
        }
        assert_eq!(now - broken, policy.longest_detection(1, timeout));
        assert!(policy.longest_detection(3, Duration::ZERO) <= Duration::from_secs(10));
    }

    #[test]
    fn what_is_not_looked_at_becomes_unknown_and_never_down() {
        let mut watch = Watch::new(WatchPolicy::new(INTERVAL));
        for (second, is_good) in [(0, true), (15, true), (30, false), (32, false)] {
            watch.observe(Duration::from_secs(second), &seen(is_good));
        }
        assert_eq!(watch.state(), State::Failing);
        // A clock that goes back changes nothing.
        assert_eq!(watch.pass(Duration::from_secs(1)), None);
        assert_eq!(watch.pass(Duration::from_secs(32 + 45)), None);
        let told = watch.pass(Duration::from_secs(32 + 46));
        assert_eq!(told, Some(Transition { from: State::Failing, to: State::Unknown }));
        // The failures of before count no more.
        for second in [90, 92, 94] {
            watch.observe(Duration::from_secs(second), &seen(false));
            assert_eq!(watch.state(), State::Unknown);
        }
    }

    #[test]
    fn flapping_is_noticed_and_ends() {
        let mut watch = Watch::new(WatchPolicy::new(INTERVAL));
        let mut number = 0;
        let mut look = |watch: &mut Watch, is_good| {
            number += 1;
            watch.observe(INTERVAL * number, &seen(is_good));
        };
        for round in 0..10 {
            look(&mut watch, round % 2 == 0);
        }
        assert!(watch.is_flapping());
        for _ in 0..20 {
            look(&mut watch, true);
        }
        assert!(!watch.is_flapping());
    }

    proptest! {
        /// Whatever happens, down is only what was up, failed as often as it takes and was looked at in between.
        #[test]
        fn down_is_earned(looks in proptest::collection::vec((0u64..120, prop::option::of(any::<bool>())), 0..60)) {
            let policy = WatchPolicy::new(INTERVAL);
            let mut watch = Watch::new(policy.clone());
            let (mut now, mut failures, mut was_up) = (Duration::ZERO, 0, false);
            let mut last = None;
            for (pause, look) in looks {
                now += Duration::from_secs(pause);
                let before = watch.state();
                match look {
                    Some(is_good) => {
                        let is_late = last.is_some_and(|last| now - last > INTERVAL * STALE_INTERVALS);
                        failures = if is_good { 0 } else if is_late { 1 } else { failures + 1 };
                        was_up &= !is_late;
                        watch.observe(now, &seen(is_good));
                        last = Some(now);
                    }
                    None => drop(watch.abstain(now)),
                }
                if look.is_none() {
                    (was_up, failures, last) = (false, 0, None);
                }
                was_up |= watch.state() == State::Up;
                if watch.state() == State::Down && before != State::Down {
                    prop_assert!(was_up && (failures >= policy.fall || before == State::Recovering));
                }
                let unknown = watch.vote("x", now + INTERVAL * (STALE_INTERVALS + 1));
                prop_assert_eq!(unknown.state, State::Unknown);
            }
        }
    }
}
