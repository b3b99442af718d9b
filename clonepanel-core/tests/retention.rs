//! Retention: a table of cases, reckoned apart from this code, and what holds for any.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may.

use clonepanel_core::{
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    retention::{RetentionPlan, RetentionPolicy, Verdict, plan},
    snapshot_id::{SnapshotId, SourceName},
    store::{SnapshotInfo, SnapshotState, Tally},
    suspicion::Suspicion,
    time::Timestamp,
};
use proptest::prelude::*;
use std::{collections::BTreeSet, fmt::Write, time::Duration};

const TABLE: &str = include_str!("golden/retention.txt");

fn snapshot(begun: Timestamp, state: SnapshotState, newest: Option<&SnapshotId>) -> SnapshotInfo {
    let mut problems = Problems::new();
    if state == SnapshotState::Partial {
        problems.push(Problem::new(RelPath::root(), ProblemKind::Unlisted, "test"));
    }
    SnapshotInfo {
        id: SnapshotId::next(SourceName::new("a").unwrap(), begun, newest),
        begun,
        committed: begun,
        source_clock: None,
        base: newest.cloned(),
        tally: Tally::default(),
        problems,
        suspicions: if state == SnapshotState::Suspect { vec![Suspicion::Emptied] } else { vec![] },
    }
}

fn snapshots(made: impl IntoIterator<Item = (Timestamp, SnapshotState)>) -> Vec<SnapshotInfo> {
    let mut all: Vec<SnapshotInfo> = Vec::new();
    for (begun, state) in made {
        let newest = all.last().map(|info| info.id.clone());
        all.push(snapshot(begun, state, newest.as_ref()));
    }
    all
}

fn policy(text: &str) -> RetentionPolicy {
    text.split_whitespace().fold(RetentionPolicy::newest_only(), |policy, setting| {
        let (key, value) = setting.split_once('=').unwrap();
        let number = value.trim_end_matches('h').parse().unwrap();
        match key {
            "within" => policy.keep_within(Duration::from_secs(3600 * u64::from(number))),
            "hourly" => policy.hourly(number),
            "daily" => policy.daily(number),
            "weekly" => policy.weekly(number),
            "monthly" => policy.monthly(number),
            "yearly" => policy.yearly(number),
            _ => panic!("{key}"),
        }
    })
}

fn state(word: &str) -> SnapshotState {
    let all = [SnapshotState::Complete, SnapshotState::Partial, SnapshotState::Suspect];
    all.into_iter().find(|state| state.word() == word).unwrap()
}

#[test]
fn the_table_holds() {
    let mut cases = 0;
    for case in TABLE.split("\n\n").map(str::trim).filter(|case| case.starts_with("case ")) {
        let mut lines = case.lines();
        let title = lines.next().unwrap();
        let now = Timestamp::parse_rfc3339(lines.next().unwrap().strip_prefix("now ").unwrap()).unwrap();
        let policy = policy(lines.next().unwrap().strip_prefix("policy").unwrap());
        let expected: Vec<_> = lines.collect();
        let infos = snapshots(expected.iter().map(|line| {
            let mut words = line.split_whitespace().skip(1);
            (Timestamp::parse_rfc3339(words.next().unwrap()).unwrap(), state(words.next().unwrap()))
        }));
        let planned = plan(&policy, &infos, now);
        let shown: Vec<_> = planned
            .decisions
            .iter()
            .zip(&infos)
            .map(|(decision, info)| {
                assert_eq!(decision.id, info.id, "{title}");
                let mut line = String::new();
                match &decision.verdict {
                    Verdict::Delete => write!(line, "delete {} {}", info.begun, info.state().word()).unwrap(),
                    Verdict::Keep(reasons) => {
                        let reasons: Vec<_> = reasons.iter().map(|reason| reason.words()).collect();
                        write!(line, "keep   {} {} {}", info.begun, info.state().word(), reasons.join(", ")).unwrap();
                    }
                }
                line
            })
            .collect();
        assert_eq!(shown, expected, "{title}");
        cases += 1;
    }
    assert!(cases >= 40, "{cases} cases");
}

#[test]
fn a_plan_can_be_read() {
    let now = Timestamp::parse_rfc3339("2026-08-23T12:00:00Z").unwrap();
    let made = [(3, SnapshotState::Complete), (2, SnapshotState::Partial), (1, SnapshotState::Complete)];
    let infos = snapshots(made.map(|(hours, state)| (now.before(Duration::from_secs(3600 * hours)), state)));
    let planned = plan(&RetentionPolicy::newest_only().hourly(1), &infos, now);
    assert_eq!(
        planned.to_string(),
        "delete a/20260823T090000Z complete\n\
         delete a/20260823T100000Z partial\n\
         keep   a/20260823T110000Z complete (newest good, hourly)\n\
         1 kept, 2 to delete"
    );
}

fn any_snapshots() -> impl Strategy<Value = Vec<SnapshotInfo>> {
    let state = prop_oneof![3 => Just(SnapshotState::Complete), 1 => Just(SnapshotState::Partial), 1 => Just(SnapshotState::Suspect)];
    // Mostly forward, sometimes back; minutes to weeks.
    let step = prop_oneof![8 => 0_i64..7200, 4 => 0_i64..200_000, 2 => 0_i64..3_000_000, 1 => -1_000_000_i64..0];
    prop::collection::vec((step, state), 0..60).prop_map(|steps| {
        let mut time = 1_700_000_000;
        snapshots(steps.into_iter().map(|(step, state)| {
            time += step;
            (Timestamp::from_secs(time), state)
        }))
    })
}

fn any_counts() -> impl Strategy<Value = [u32; 6]> {
    prop::array::uniform6(0_u32..6)
}

fn with([within, hourly, daily, weekly, monthly, yearly]: [u32; 6]) -> RetentionPolicy {
    let within = Duration::from_secs(u64::from(within) * 50_000);
    RetentionPolicy::newest_only()
        .keep_within(within)
        .hourly(hourly)
        .daily(daily)
        .weekly(weekly)
        .monthly(monthly)
        .yearly(yearly)
}

fn deleted(plan: &RetentionPlan) -> BTreeSet<SnapshotId> {
    plan.deletions().cloned().collect()
}

proptest! {
    #[test]
    fn planning_again_deletes_nothing_more(infos in any_snapshots(), counts in any_counts(), ahead in -100_000_i64..1_000_000) {
        let now = Timestamp::from_secs(infos.last().map_or(0, |info| info.begun.secs()) + ahead);
        let gone = deleted(&plan(&with(counts), &infos, now));
        let left: Vec<_> = infos.iter().filter(|info| !gone.contains(&info.id)).cloned().collect();
        prop_assert_eq!(deleted(&plan(&with(counts), &left, now)), BTreeSet::new());
    }

    #[test]
    fn the_newest_good_one_stays(infos in any_snapshots(), counts in any_counts(), now: i32) {
        let newest = infos.iter().rev().find(|info| info.state() == SnapshotState::Complete);
        for now in [Timestamp::from_secs(now.into()), Timestamp::from_secs(1_701_000_000)] {
            let gone = deleted(&plan(&with(counts), &infos, now));
            prop_assert!(newest.is_none_or(|newest| !gone.contains(&newest.id)));
            prop_assert!(infos.is_empty() || gone.len() < infos.len());
        }
    }

    #[test]
    fn a_policy_that_keeps_more_deletes_less(infos in any_snapshots(), counts in any_counts(), more in any_counts(), ahead in -100_000_i64..1_000_000) {
        let now = Timestamp::from_secs(infos.last().map_or(0, |info| info.begun.secs()) + ahead);
        let mut larger = counts;
        larger.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        let (gone, gone_with_more) = (deleted(&plan(&with(counts), &infos, now)), deleted(&plan(&with(larger), &infos, now)));
        prop_assert!(gone_with_more.is_subset(&gone));
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(infos in any_snapshots().prop_shuffle(), counts in any_counts()) {
        let now = Timestamp::from_secs(1_701_000_000);
        let mut sorted = infos.clone();
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        prop_assert_eq!(plan(&with(counts), &infos, now), plan(&with(counts), &sorted, now));
    }
}
