//! [`Watch`]: the state of one server as one vantage sees it.

use super::{
    observation::{Class, Observation},
    quorum::Vote,
};
use std::{collections::VecDeque, fmt, time::Duration};

/// How many of the last looks tell whether a server flaps.
const REMEMBERED: usize = 20;
/// So many of a hundred looks that differ from the one before make it flap, and so few end that.
const FLAPPING_PERCENT: usize = 30;
const CALM_PERCENT: usize = 20;
/// After so many intervals without a result, nothing is known any more.
const STALE_INTERVALS: u32 = 3;
/// Nobody is looked at more often than that.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

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
    /// It failed often enough in a row, whether it was seen up before or not.
    Down,
    /// It was down, and has not been up for long enough to be trusted.
    Recovering,
}

impl State {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Failing => "failing",
            Self::Down => "down",
            Self::Recovering => "recovering",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
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
    good_in_a_row: u32,
    bad_in_a_row: u32,
    /// When the good looks of a recovery began.
    recovering_since: Duration,
    was_ever_up: bool,
    /// The last look, and when it was.
    last: Option<(Duration, Class)>,
    /// The last looks, whether they were good.
    looks: VecDeque<bool>,
    is_flapping: bool,
}

impl WatchPolicy {
    /// Looks every `interval` (1 s at least), and every 2 s after a failure; 3 failures in a row are down, 20 good looks over 5
    /// minutes are up again, and 2 good ones at the beginning are up.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        let interval = interval.max(SHORTEST_INTERVAL);
        Self {
            interval,
            recheck: interval.min(Duration::from_secs(2)),
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

    /// How soon it is looked at again after a failure; never later than after the interval.
    #[must_use]
    pub fn recheck(mut self, recheck: Duration) -> Self {
        self.recheck = recheck.min(self.interval);
        self
    }

    /// How long a failure may go unnoticed by `vantages` that look in turns, each look taking up to `timeout`: until it shows to the
    /// first of them, which has all others asked at once, and then until they saw it often enough.
    #[must_use]
    pub fn longest_detection(&self, vantages: u32, timeout: Duration) -> Duration {
        let until_first = (self.interval / vantages.max(1)).saturating_add(timeout);
        let again = self.recheck.saturating_add(timeout).saturating_mul(self.fall - 1);
        let others_first = if vantages > 1 { timeout } else { Duration::ZERO };
        until_first.saturating_add(again).saturating_add(others_first)
    }

    /// How old a look may be before it says nothing any more.
    const fn stale(&self) -> Duration {
        self.interval.saturating_mul(STALE_INTERVALS)
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
            good_in_a_row: 0,
            bad_in_a_row: 0,
            recovering_since: Duration::ZERO,
            was_ever_up: false,
            last: None,
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

    /// When to look again, counted from the last look: soon, while it is not clear what a failure means.
    #[must_use]
    pub const fn next_look(&self) -> Duration {
        match self.state {
            State::Failing => self.policy.recheck,
            State::Unknown if self.bad_in_a_row > 0 => self.policy.recheck,
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
        self.last = Some((self.now, seen.class));
        (self.good_in_a_row, self.bad_in_a_row) =
            if is_good { (self.good_in_a_row.saturating_add(1), 0) } else { (0, self.bad_in_a_row.saturating_add(1)) };
        let next = if is_good { self.after_good() } else { self.after_bad() };
        self.was_ever_up |= next == State::Up;
        self.enter(next);
        (self.state != before).then_some(Transition { from: before, to: self.state })
    }

    fn after_good(&mut self) -> State {
        if self.good_in_a_row == 1 {
            self.recovering_since = self.now;
        }
        match self.state {
            State::Unknown if self.good_in_a_row < self.policy.first_rise => State::Unknown,
            State::Unknown | State::Up | State::Failing => State::Up,
            State::Down | State::Recovering => {
                let is_long = self.now.saturating_sub(self.recovering_since) >= self.policy.recovery;
                if self.good_in_a_row >= self.policy.rise && is_long { State::Up } else { State::Recovering }
            }
        }
    }

    const fn after_bad(&self) -> State {
        match self.state {
            State::Down | State::Recovering => State::Down,
            _ if self.bad_in_a_row >= self.policy.fall => State::Down,
            State::Unknown => State::Unknown,
            State::Up | State::Failing => State::Failing,
        }
    }

    /// Lets time pass without a look: after too long, nothing is known any more. It never ages into being down.
    pub fn pass(&mut self, now: Duration) -> Option<Transition> {
        self.now = self.now.max(now);
        match self.last {
            Some((last, _)) if self.now.saturating_sub(last) > self.policy.stale() => self.abstain(self.now),
            _ => None,
        }
    }

    /// This vantage cannot be trusted: its own canaries fail, its scheduler stood still, or it could not look. What it saw is
    /// forgotten; only that it once saw the server up is not.
    pub fn abstain(&mut self, now: Duration) -> Option<Transition> {
        self.now = self.now.max(now);
        let from = self.state;
        (self.good_in_a_row, self.bad_in_a_row) = (0, 0);
        self.last = None;
        self.looks.clear();
        self.is_flapping = false;
        self.enter(State::Unknown);
        (from != State::Unknown).then_some(Transition { from, to: State::Unknown })
    }

    /// What this vantage has to say now.
    #[must_use]
    pub fn vote(&self, vantage: impl Into<String>, now: Duration) -> Vote {
        let now = self.now.max(now);
        let fresh = self.last.filter(|(last, _)| now.saturating_sub(*last) <= self.policy.stale());
        let just_now = self.last.filter(|(last, _)| now.saturating_sub(*last) <= self.policy.interval);
        Vote {
            vantage: vantage.into(),
            state: if fresh.is_some() { self.state } else { State::Unknown },
            class: fresh.map(|(_, class)| class),
            lasting: now.saturating_sub(self.since),
            was_good_just_now: just_now.is_some_and(|(_, class)| !class.is_failure()),
            was_ever_up: self.was_ever_up,
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
    use super::{
        super::{Life, Quorum},
        *,
    };
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
            ("----", vec![Unknown, Unknown, Down, Down]),
            ("+-++", vec![Unknown, Unknown, Unknown, Up]),
            ("-+--+", vec![Unknown; 5]),
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
    }

    /// Three that look in turns, and are all asked as soon as one sees a failure.
    fn together(policy: &WatchPolicy, timeout: Duration, broken: Duration) -> Duration {
        const VANTAGES: u32 = 3;
        let mut watches: Vec<_> =
            (0..VANTAGES).map(|at| (Watch::new(policy.clone()), INTERVAL / VANTAGES * at)).collect();
        let mut is_noticed = false;
        loop {
            let next = watches.iter_mut().min_by_key(|(_, due)| *due).unwrap();
            let begun = next.1;
            let is_good = begun < broken;
            let now = if is_good { begun } else { begun + timeout };
            next.0.observe(now, &seen(is_good));
            next.1 = now + next.0.next_look();
            if !is_good && !is_noticed {
                is_noticed = true;
                watches.iter_mut().for_each(|(_, due)| *due = now.min(*due));
            }
            let votes: Vec<_> =
                watches.iter().enumerate().map(|(at, (watch, _))| watch.vote(at.to_string(), now)).collect();
            if Quorum::new().verdict(&votes, Life::NoSign).may_act {
                return now - broken;
            }
        }
    }

    #[test]
    fn several_notice_a_failure_within_the_formula() {
        let policy = WatchPolicy::new(INTERVAL);
        for (timeout, most) in [(0, 10), (4, 35)] {
            let timeout = Duration::from_secs(timeout);
            let longest = policy.longest_detection(3, timeout);
            assert!(longest < Duration::from_secs(most));
            for offset in 1..150 {
                let took = together(&policy, timeout, INTERVAL * 4 + Duration::from_millis(100 * offset));
                assert!(took <= longest, "{took:?} after {offset}");
            }
        }
    }

    #[test]
    fn no_policy_is_absurd() {
        let zero = WatchPolicy::new(Duration::ZERO).recheck(Duration::MAX).fall(0).rise(0, Duration::ZERO);
        assert_eq!((zero.interval, zero.recheck, zero.fall, zero.rise), (SHORTEST_INTERVAL, SHORTEST_INTERVAL, 1, 1));
        let long = WatchPolicy::new(Duration::MAX).recheck(Duration::MAX);
        assert_eq!(long.longest_detection(1, Duration::MAX), Duration::MAX);
        let mut watch = Watch::new(long);
        watch.observe(Duration::ZERO, &seen(true));
        assert_eq!(watch.pass(Duration::MAX), None);
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
        // The failures of before count no more, and it takes as many new ones.
        for (second, state) in [(90, State::Unknown), (92, State::Unknown), (94, State::Down)] {
            watch.observe(Duration::from_secs(second), &seen(false));
            assert_eq!(watch.state(), state);
        }
        assert!(watch.vote("x", Duration::from_secs(94)).was_ever_up);
    }

    #[test]
    fn who_abstains_says_nothing_at_all() {
        let mut watch = Watch::new(WatchPolicy::new(INTERVAL));
        for number in 0..12 {
            watch.observe(INTERVAL * number, &seen(number % 2 == 0));
        }
        watch.observe(INTERVAL * 12, &seen(true));
        let before = watch.vote("x", INTERVAL * 12);
        assert!(before.is_flapping && before.was_good_just_now && before.class.is_some());
        watch.abstain(INTERVAL * 12);
        let after = watch.vote("x", INTERVAL * 12);
        assert!(!after.is_flapping && !after.was_good_just_now && after.class.is_none());
        assert_eq!(after.state, State::Unknown);
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
        /// Whatever happens, down is only what failed as often as it takes and was looked at in between.
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
                        watch.observe(now, &seen(is_good));
                        last = Some(now);
                    }
                    None => {
                        let _ = watch.abstain(now);
                        (failures, last) = (0, None);
                    }
                }
                was_up |= watch.state() == State::Up;
                if watch.state() == State::Down && before != State::Down {
                    prop_assert!(failures >= policy.fall || before == State::Recovering);
                }
                prop_assert_eq!(watch.vote("x", now).was_ever_up, was_up);
                let unknown = watch.vote("x", now + INTERVAL * (STALE_INTERVALS + 1));
                prop_assert_eq!(unknown.state, State::Unknown);
            }
        }
    }
}
