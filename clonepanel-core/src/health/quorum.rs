//! [`Quorum`]: what several vantages see together.

use super::{observation::Class, watch::State};
use std::time::Duration;

/// What one vantage says of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Vote {
    /// Which vantage.
    pub vantage: String,
    /// What it sees; [`State::Unknown`] is an abstention.
    pub state: State,
    /// What its last look showed.
    pub class: Option<Class>,
    /// For how long it has seen that.
    pub lasting: Duration,
    /// Whether it had a good answer within the last interval.
    pub was_good_just_now: bool,
    /// Whether what it sees changes all the time.
    pub is_flapping: bool,
}

/// How votes are counted, leaning towards healthy: a server that is wrongly taken for down costs more than one that is noticed late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    fewest: usize,
    percent: usize,
}

/// What is known of a server, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Verdict {
    /// Its state.
    pub state: State,
    /// Why it is that and no other.
    pub reason: Reason,
    /// Whether somebody may act on it without asking a person.
    pub may_act: bool,
    /// The votes that it was made of.
    pub votes: Vec<Vote>,
}

/// Why a verdict is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Nobody can tell.
    NobodySees,
    /// Nobody sees it down.
    Agreed,
    /// As many as it takes see it down, and nobody sees it up.
    EnoughSeeItDown,
    /// Some see it down, and too few.
    TooFewSeeItDown,
    /// As many as it takes see it down, and somebody had a good answer just now.
    SomebodySeesItUp,
    /// As many as it takes see it down, and it gave a sign of life by another way: the path may be broken.
    ItIsAlive,
    /// It goes up and down all the time.
    Flapping,
    /// There is but one vantage, whose own path may be broken.
    OneVantage,
}

impl Default for Quorum {
    /// Two fresh votes at least, and two thirds of those who do not abstain.
    fn default() -> Self {
        Self { fewest: 2, percent: 67 }
    }
}

impl Quorum {
    /// As [`Self::default`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The verdict of these votes.
    #[must_use]
    pub fn verdict(&self, votes: &[Vote]) -> Verdict {
        self.verdict_with_life(votes, false)
    }

    /// The verdict of these votes, when the server gave a sign of life by another way within the last 30 s: load that it reported, a
    /// sync that reads, a row of its database that moves. Then it is not down, whoever cannot reach it.
    #[must_use]
    pub fn verdict_with_life(&self, votes: &[Vote], is_alive: bool) -> Verdict {
        let of = |states: &[State]| votes.iter().filter(|vote| states.contains(&vote.state)).count();
        let said = votes.len() - of(&[State::Unknown]);
        let down = of(&[State::Down]);
        let is_flapping = votes.iter().any(|vote| vote.is_flapping);
        let enough = down >= (said * self.percent).div_ceil(100).max(1);
        let (state, reason) = if said == 0 {
            (State::Unknown, Reason::NobodySees)
        } else if down == 0 {
            (best(votes), Reason::Agreed)
        } else if !enough {
            (State::Failing, Reason::TooFewSeeItDown)
        } else if votes.iter().any(|vote| vote.was_good_just_now) {
            (State::Failing, Reason::SomebodySeesItUp)
        } else if is_alive {
            (State::Failing, Reason::ItIsAlive)
        } else if said < self.fewest {
            (State::Down, Reason::OneVantage)
        } else {
            (State::Down, if is_flapping { Reason::Flapping } else { Reason::EnoughSeeItDown })
        };
        Verdict { state, reason, may_act: reason == Reason::EnoughSeeItDown, votes: votes.to_vec() }
    }
}

/// What those see together of whom none sees it down. One that fails is told; it takes all to be up again.
fn best(votes: &[Vote]) -> State {
    let any = |state| votes.iter().any(|vote| vote.state == state);
    if any(State::Failing) {
        State::Failing
    } else if any(State::Recovering) {
        State::Recovering
    } else {
        State::Up
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Observation, Watch, WatchPolicy},
        *,
    };
    use crate::testkit::generator::Random;
    use proptest::prelude::*;

    fn vote(state: State) -> Vote {
        Vote {
            vantage: "v".to_owned(),
            state,
            class: None,
            lasting: Duration::ZERO,
            was_good_just_now: state == State::Up,
            is_flapping: false,
        }
    }

    #[test]
    fn votes_are_counted_towards_healthy() {
        use State::{Down, Failing, Recovering, Unknown, Up};
        for (states, expected, reason, may_act) in [
            (&[][..], Unknown, Reason::NobodySees, false),
            (&[Unknown, Unknown], Unknown, Reason::NobodySees, false),
            (&[Up, Unknown], Up, Reason::Agreed, false),
            (&[Up, Failing], Failing, Reason::Agreed, false),
            (&[Up, Recovering], Recovering, Reason::Agreed, false),
            (&[Down, Down], Down, Reason::EnoughSeeItDown, true),
            (&[Down, Down, Failing], Failing, Reason::TooFewSeeItDown, false),
            (&[Down, Down, Down, Failing], Down, Reason::EnoughSeeItDown, true),
            (&[Down, Down, Unknown], Down, Reason::EnoughSeeItDown, true),
            (&[Down, Up, Unknown], Failing, Reason::TooFewSeeItDown, false),
            (&[Down, Down, Down, Up], Failing, Reason::SomebodySeesItUp, false),
            (&[Down], Down, Reason::OneVantage, false),
            (&[Down, Unknown], Down, Reason::OneVantage, false),
        ] {
            let votes: Vec<_> = states.iter().map(|state| vote(*state)).collect();
            let verdict = Quorum::new().verdict(&votes);
            assert_eq!((verdict.state, verdict.reason, verdict.may_act), (expected, reason, may_act), "{states:?}");
        }
        let down = [vote(Down), vote(Down)];
        assert_eq!(Quorum::new().verdict_with_life(&down, true).reason, Reason::ItIsAlive);
        let flapping = [vote(Down), Vote { is_flapping: true, ..vote(Down) }];
        assert!(!Quorum::new().verdict(&flapping).may_act);
    }

    proptest! {
        /// Nobody acts on less than two who see it down, nor against anybody who sees it up, nor on abstentions.
        #[test]
        fn acting_takes_agreement(states in proptest::collection::vec(0usize..5, 0..7), good in any::<u8>(), alive: bool) {
            let all = [State::Unknown, State::Up, State::Failing, State::Down, State::Recovering];
            let votes: Vec<_> = states.iter().enumerate().map(|(at, state)| {
                Vote { was_good_just_now: good >> at & 1 == 1, ..vote(all[*state]) }
            }).collect();
            let verdict = Quorum::new().verdict_with_life(&votes, alive);
            let down = votes.iter().filter(|vote| vote.state == State::Down).count();
            if verdict.may_act {
                prop_assert!(verdict.state == State::Down && down >= 2 && !alive);
                prop_assert!(votes.iter().all(|vote| !vote.was_good_just_now));
            }
            if down == 0 {
                prop_assert!(verdict.state != State::Down);
            }
        }
    }

    /// A year, or as many days as the variable says, of looks every 10 s through paths that lose them in bursts: one burst about every six
    /// hours, 60 s long on average, with 80 % lost inside and 0.5 % outside. The server is up all the time.
    fn false_verdicts(vantages: usize, days: u64, seed: u64) -> u32 {
        const STEP: u64 = 10;
        let policy =
            WatchPolicy::new(Duration::from_secs(STEP)).recheck(Duration::from_secs(STEP)).rise(1, Duration::ZERO);
        let mut random = Random::new(seed);
        let mut watches: Vec<_> = (0..vantages).map(|_| (Watch::new(policy.clone()), 0u64)).collect();
        let (good, lost) =
            (Observation::new(Class::Good, Duration::ZERO, ""), Observation::new(Class::TimedOut, Duration::ZERO, ""));
        let (mut verdicts, mut was_down) = (0, false);
        for step in 0..days * 86_400 / STEP {
            let now = Duration::from_secs(step * STEP);
            for (watch, burst) in &mut watches {
                if *burst == 0 && random.below(6 * 3600 / STEP) == 0 {
                    // Of any length around the mean.
                    *burst = 1 + random.below(2 * 60 / STEP);
                }
                let loss = if *burst > 0 { 800 } else { 5 };
                *burst = burst.saturating_sub(1);
                watch.observe(now, if random.below(1000) < loss { &lost } else { &good });
            }
            let votes: Vec<_> = watches.iter().map(|(watch, _)| watch.vote("", now)).collect();
            let is_down = Quorum::new().verdict(&votes).may_act;
            verdicts += u32::from(is_down && !was_down);
            was_down = is_down;
        }
        verdicts
    }

    /// One vantage alone acts on nothing; of the others, few are fooled at the same time.
    #[test]
    fn bursts_of_loss_fool_few() {
        let days = std::env::var("CLONEPANEL_HEALTH_DAYS").map_or(30, |text| text.parse().unwrap());
        for (vantages, most_in_a_year) in [(1, 0), (2, 3), (3, 4)] {
            let verdicts: u32 = (0..3).map(|seed| false_verdicts(vantages, days, seed)).sum();
            let most = (3 * days * most_in_a_year).div_ceil(365);
            println!("{vantages} vantages: {verdicts} false verdicts in three times {days} days");
            assert!(u64::from(verdicts) <= most, "{vantages} vantages: {verdicts} in three times {days} days");
        }
    }
}
