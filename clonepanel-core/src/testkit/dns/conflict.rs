//! D2, D10: more than one writer.

use super::{
    super::store::hold,
    fixture::{DnsFixture, apply, desired, differences, far, plan, read, with, zone},
};
use crate::dns::DnsError;
use futures_util::future::join;

/// D2: a plan for another revision is a conflict.
pub async fn d2_a_moved_zone_is_a_conflict(fixture: &dyn DnsFixture) {
    fixture.place(&zone()).await;
    let now = read(fixture).await;
    let stale = plan(&now, &desired(&now));
    // Somebody else is faster, at a name that the plan does not touch.
    fixture.place(&with(&zone(), "theirs A 192.0.2.50")).await;
    let moved = far(fixture).await;
    let answer = apply(fixture, &stale).await;
    hold!("D2", matches!(answer, Err(DnsError::Conflict { .. })), "a stale plan is answered {answer:?}");
    let differences = differences(&moved, &far(fixture).await);
    hold!("D2", differences.is_empty(), "a stale plan has changed something: {differences:?}");
    // Planned anew, it works.
    let now = read(fixture).await;
    let answer = apply(fixture, &plan(&now, &with(&now, "ours A 192.0.2.51"))).await;
    hold!("D2", answer.is_ok(), "after a conflict, a new plan is refused: {answer:?}");
}

/// D10: of two plans for one revision, one is done.
pub async fn d10_one_of_two_writers_wins(fixture: &dyn DnsFixture) {
    fixture.place(&zone()).await;
    for round in 0..5 {
        let now = read(fixture).await;
        let lines = ["left", "right"].map(|side| format!("{side}{round} A 192.0.2.60"));
        let plans = lines.map(|line| plan(&now, &with(&now, &line)));
        let (left, right) = join(apply(fixture, &plans[0]), apply(fixture, &plans[1])).await;
        let winner = match (&left, &right) {
            (Ok(_), Err(DnsError::Conflict { .. })) => &plans[0],
            (Err(DnsError::Conflict { .. }), Ok(_)) => &plans[1],
            _ => panic!("D10: two writers are answered {left:?} and {right:?}"),
        };
        let differences = differences(winner.after(), &read(fixture).await);
        hold!("D10", differences.is_empty(), "the winner's change is not what is there: {differences:?}");
    }
}
