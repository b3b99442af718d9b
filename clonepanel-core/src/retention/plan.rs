//! [`plan`]: what a policy says about some snapshots at some moment.

use super::RetentionPolicy;
use crate::{
    snapshot_id::SnapshotId,
    store::{SnapshotInfo, SnapshotState},
    time::Timestamp,
};
use std::{collections::BTreeSet, fmt};

/// What is to stay and what is to go, oldest first. `Display` shows all of it, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct RetentionPlan {
    /// One for each snapshot.
    pub decisions: Vec<Decision>,
}

/// What is to become of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Decision {
    /// Which.
    pub id: SnapshotId,
    /// How far it can be trusted.
    pub state: SnapshotState,
    /// What is to become of it.
    pub verdict: Verdict,
}

/// Keep or delete.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Verdict {
    /// It goes: nothing asks for it.
    Delete,
    /// It stays, for these reasons (at least one).
    Keep(Vec<Reason>),
}

/// Why a snapshot stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// It is the newest complete one.
    NewestGood,
    /// It is not complete, but newer than the newest complete one.
    NewerThanGood,
    /// It claims to be from the future.
    Future,
    /// It is young.
    Within,
    /// It is the newest complete one of an hour.
    Hourly,
    /// It is the newest complete one of a day.
    Daily,
    /// It is the newest complete one of a week.
    Weekly,
    /// It is the newest complete one of a month.
    Monthly,
    /// It is the newest complete one of a year.
    Yearly,
}

impl Reason {
    /// The words for it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NewestGood => "newest good",
            Self::NewerThanGood => "newer than good",
            Self::Future => "future",
            Self::Within => "within",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }
}

impl RetentionPlan {
    /// What is to go, oldest first.
    pub fn deletions(&self) -> impl Iterator<Item = &SnapshotId> {
        self.decisions.iter().filter(|decision| decision.verdict == Verdict::Delete).map(|decision| &decision.id)
    }
}

impl fmt::Display for RetentionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for decision in &self.decisions {
            let Decision { id, state, verdict } = decision;
            match verdict {
                Verdict::Delete => writeln!(f, "delete {id} {}", state.word())?,
                Verdict::Keep(reasons) => {
                    let reasons: Vec<_> = reasons.iter().map(|reason| reason.words()).collect();
                    writeln!(f, "keep   {id} {} ({})", state.word(), reasons.join(", "))?;
                }
            }
        }
        let going = self.deletions().count();
        write!(f, "{} kept, {going} to delete", self.decisions.len() - going)
    }
}

/// Decides about `snapshots` of one source, in any order, as of `now`. Their age is that of
/// [`SnapshotInfo::begun`]; their order is that of their ids, which grow even when the clock goes back.
#[must_use]
pub fn plan(policy: &RetentionPolicy, snapshots: &[SnapshotInfo], now: Timestamp) -> RetentionPlan {
    let mut newest_first: Vec<_> = snapshots.iter().collect();
    newest_first.sort_by(|a, b| b.id.cmp(&a.id));

    let is_future = |info: &SnapshotInfo| info.begun > now;
    let is_good = |info: &SnapshotInfo| info.state() == SnapshotState::Complete;
    let newest_good = newest_first.iter().find(|info| is_good(info)).map(|info| &info.id);
    // One from the future is no measure of what is new.
    let newest_sure = newest_first.iter().find(|info| is_good(info) && !is_future(info)).map(|info| &info.id);
    let mut slots = Slots::of(policy);

    let decide = |info: &&SnapshotInfo| {
        let mut reasons = Vec::new();
        if is_good(info) && (Some(&info.id) == newest_good || Some(&info.id) == newest_sure) {
            reasons.push(Reason::NewestGood);
        }
        if !is_good(info) && newest_sure.is_none_or(|newest| info.id > *newest) {
            reasons.push(Reason::NewerThanGood);
        }
        if is_future(info) {
            reasons.push(Reason::Future);
        } else {
            if info.begun >= now.before(policy.keep_within) && !policy.keep_within.is_zero() {
                reasons.push(Reason::Within);
            }
            if is_good(info) {
                reasons.extend(slots.fill(info.begun));
            }
        }
        let verdict = if reasons.is_empty() { Verdict::Delete } else { Verdict::Keep(reasons) };
        Decision { id: info.id.clone(), state: info.state(), verdict }
    };
    let mut decisions: Vec<_> = newest_first.iter().map(decide).collect();
    decisions.reverse();
    RetentionPlan { decisions }
}

/// The periods of which one is kept each, by what tells one from another.
struct Slots(Vec<Slot>);

struct Slot {
    reason: Reason,
    period: fn(Timestamp) -> i64,
    left: u32,
    taken: BTreeSet<i64>,
}

impl Slots {
    fn of(policy: &RetentionPolicy) -> Self {
        let slot = |reason, left, period| Slot { reason, period, left, taken: BTreeSet::new() };
        Self(vec![
            slot(Reason::Hourly, policy.hourly, |time| time.secs().div_euclid(3600)),
            slot(Reason::Daily, policy.daily, Timestamp::day_number),
            // Day 0 was a Thursday; weeks begin on Monday.
            slot(Reason::Weekly, policy.weekly, |time| (time.day_number() + 3).div_euclid(7)),
            slot(Reason::Monthly, policy.monthly, |time| {
                let (year, month, _) = time.date();
                year * 12 + i64::from(month)
            }),
            slot(Reason::Yearly, policy.yearly, |time| time.date().0),
        ])
    }

    /// The slots that a snapshot of this time takes; the newest come first.
    fn fill(&mut self, time: Timestamp) -> Vec<Reason> {
        let takes = |slot: &mut Slot| {
            let free = slot.left > 0 && slot.taken.insert((slot.period)(time));
            slot.left -= u32::from(free);
            free.then_some(slot.reason)
        };
        self.0.iter_mut().filter_map(takes).collect()
    }
}
