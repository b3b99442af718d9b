//! D1, D3, D4, D5, D7: what a plan does and does not do.

use super::{
    super::store::hold,
    fixture::{DnsFixture, apply, desired, differences, far, name, plan, read, with, zone},
};
use crate::{
    dns::{DnsError, RecordSet, RecordType, Zone},
    testkit::run_for,
};

/// D1: what is read after a plan was applied is what the plan says.
pub async fn d1_what_is_planned_is_read_back(fixture: &dyn DnsFixture) {
    fixture.place(&zone()).await;
    for round in 0..2 {
        let now = read(fixture).await;
        // There and back again: each kind of change in both directions.
        let wanted = if round == 0 { desired(&now) } else { zone() };
        let plan = plan(&now, &wanted);
        let revision = apply(fixture, &plan).await;
        hold!("D1", revision.is_ok(), "the plan is not applied: {:?}", revision.err());
        let after = read(fixture).await;
        let differences = differences(plan.after(), &after);
        hold!("D1", differences.is_empty(), "what is read differs from the plan: {differences:?}");
        let told = revision.expect("it was applied");
        hold!("D1", *after.revision() == told, "the revision {told} was told, and {} is read", after.revision());
    }
}

/// D3: an empty plan changes nothing.
pub async fn d3_an_empty_plan_changes_nothing(fixture: &dyn DnsFixture) {
    fixture.place(&zone()).await;
    let (before, now) = (far(fixture).await, read(fixture).await);
    let told = apply(fixture, &plan(&now, &now)).await;
    hold!("D3", told.is_ok(), "an empty plan fails: {:?}", told.err());
    hold!("D3", told.is_ok_and(|told| told == *now.revision()), "an empty plan tells another revision");
    hold!("D3", read(fixture).await.revision() == now.revision(), "an empty plan moves the revision");
    hold!("D3", far(fixture).await.soa() == before.soa(), "an empty plan moves the serial");
}

/// D4: what the plan does not name is as it was.
pub async fn d4_the_rest_is_untouched(fixture: &dyn DnsFixture) {
    fixture.place(&zone()).await;
    let before = far(fixture).await;
    let odd = before.find(&name("odd"), RecordType::new(65280)).cloned();
    hold!("D4", odd.is_some(), "the fixture does not keep a record of an unknown type");
    let now = read(fixture).await;
    let plan = plan(&now, &desired(&now));
    apply(fixture, &plan).await.expect("apply a plan");
    let after = far(fixture).await;
    let named = |set: &RecordSet| plan.changes().iter().any(|change| change.key() == set.key());
    let rest = |zone: &Zone| {
        let sets = zone.sets().filter(|set| !named(set) && set.record_type() != RecordType::SOA);
        sets.map(ToString::to_string).collect::<Vec<_>>()
    };
    let (was, is) = (rest(&before), rest(&after));
    hold!("D4", was == is, "what no plan named has changed:\n{}\nis now\n{}", was.join("\n"), is.join("\n"));
    let soa = |zone: &Zone| zone.soa().map(|soa| crate::dns::Soa { serial: 0, ..soa.clone() });
    hold!("D4", soa(&before) == soa(&after), "the SOA has changed: {:?}", after.soa());
}

/// D5: what cannot be written is refused before anything is.
pub async fn d5_what_cannot_be_written_is_refused_before(fixture: &dyn DnsFixture) {
    fixture.place(&zone()).await;
    let (before, now) = (far(fixture).await, read(fixture).await);
    let capabilities = fixture.provider().await.capabilities();
    let shortest = capabilities.shortest_ttl_secs();
    let mut attempts = Vec::new();
    if let Some(too_short) = shortest.checked_sub(1) {
        attempts.push(format!("short {too_short} A 192.0.2.3"));
    }
    for (record_type, line) in
        [(RecordType::CAA, "x CAA 0 issue \"a\""), (RecordType::SRV, "x SRV 0 0 1 a."), (RecordType::PTR, "x PTR a.")]
    {
        if !capabilities.writes(record_type) {
            attempts.push(line.to_owned());
        }
    }
    for line in attempts {
        // With a harmless change before and behind: none of them may be done.
        let wanted = with(&now, &format!("aaa A 192.0.2.4\n{line}\nzzz A 192.0.2.5"));
        let answer = apply(fixture, &plan(&now, &wanted)).await;
        let refused = matches!(answer, Err(DnsError::Unsupported { .. }));
        hold!("D5", refused, "{line}: the answer is {answer:?}");
        hold!("D5", far(fixture).await == before, "{line}: something was written before the refusal");
    }
    let shortest = with(&now, &format!("short {shortest} A 192.0.2.3"));
    let answer = apply(fixture, &plan(&now, &shortest)).await;
    hold!("D5", answer.is_ok(), "the shortest time to live is refused: {answer:?}");
}

/// D7: dropped at any point, the zone is old or new.
pub async fn d7_all_or_nothing(fixture: &dyn DnsFixture) {
    // Every point at first, then ever fewer: a real connection has many.
    let mut polls = 0;
    loop {
        fixture.place(&zone()).await;
        let now = read(fixture).await;
        let plan = plan(&now, &desired(&now));
        let provider = fixture.provider().await;
        let done = run_for(polls, provider.apply(&plan)).await;
        let after = settled(fixture, plan.after()).await;
        let (old, new) = (differences(plan.before(), &after), differences(plan.after(), &after));
        let whole = old.is_empty() || new.is_empty();
        hold!("D7", whole, "after {polls} polls, the zone is neither old nor new: {old:?}, {new:?}");
        if let Some(answer) = done {
            hold!("D7", answer.is_err() || new.is_empty(), "the plan is said to be applied, and is not: {new:?}");
            break;
        }
        polls += 1 + polls / 4;
    }
}

/// Reads until nothing moves any more: what was sent before the drop may still be on its way.
async fn settled(fixture: &dyn DnsFixture, new: &Zone) -> Zone {
    let mut zone = read(fixture).await;
    for _ in 0..3 {
        if differences(new, &zone).is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let next = read(fixture).await;
        let same = next == zone;
        zone = next;
        if same {
            break;
        }
    }
    zone
}
