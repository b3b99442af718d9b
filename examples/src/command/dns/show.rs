//! `clonepanel dns show`.

use super::{Copies, servers::cluster};
use crate::{
    config::Config,
    context::Context,
    failure::{Exit, Failure, Outcome, chain},
};
use clonepanel_core::{
    dns::{RecordSet, ZonePlan},
    job::Nameservers,
};
use serde_json::{Value, json};

pub(super) async fn run(context: &Context, config: &Config, copies: &Copies) -> Result<Outcome, Failure> {
    let cluster = cluster(config, &copies.servers, Nameservers::AsDesired)?;
    let read = cluster.read(&copies.zone).await;
    let there: Vec<_> = read.iter().filter_map(|copy| Some((&copy.name, copy.zone.as_ref().ok()?))).collect();
    let away: Vec<_> = read.iter().filter_map(|copy| Some((&copy.name, chain(copy.zone.as_ref().err()?)))).collect();
    for (name, zone) in &there {
        let records: Vec<Value> = zone.sets().flat_map(records).collect();
        context.output.event(&json!({
            "event": "zone", "server": name, "revision": zone.revision().as_str(), "records": records,
        }));
    }
    let mut differing = 0;
    if let Some(((first, zone), others)) = there.split_first() {
        // A comment, so that what is printed is a master file.
        context.output.line(format_args!("; {} as {first} has it", zone.name()));
        context.output.line(zone.to_string().trim_end());
        for (name, other) in others {
            if other.has_content_of(zone) {
                context.output.line(format_args!("; {name} has the same"));
                continue;
            }
            differing += 1;
            context.output.line(format_args!("; {name} differs from {first}:"));
            let plan = ZonePlan::between(zone, other).map(|plan| plan.to_string()).unwrap_or_default();
            for line in plan.lines() {
                context.output.line(format_args!("; {line}"));
            }
        }
    }
    for (name, why) in &away {
        context.output.event(&json!({ "event": "away", "server": name, "why": why }));
        context.output.warn(format_args!("{name}: {why}"));
    }
    if there.is_empty() {
        return Err(Failure::failed(format!("no server could tell {}", copies.zone))
            .hint("`clonepanel check` tries every server"));
    }
    let exit = if away.is_empty() { Exit::Done } else { Exit::Partial };
    let result =
        json!({ "zone": copies.zone.to_string(), "read": there.len(), "away": away.len(), "differing": differing });
    Ok(Outcome::new(exit, result))
}

fn records(set: &RecordSet) -> impl Iterator<Item = Value> {
    set.data().iter().map(|data| {
        json!({
            "name": set.name().to_string(),
            "ttl": set.ttl_secs(),
            "type": set.record_type().to_string(),
            "data": data.to_string(),
        })
    })
}

/// The changes of a plan, for a program.
pub(super) fn changes(plan: &ZonePlan) -> Vec<Value> {
    let side = |set: Option<&RecordSet>| set.map(|set| records(set).collect::<Vec<_>>());
    plan.changes().iter().map(|change| json!({ "from": side(change.from()), "to": side(change.to()) })).collect()
}

#[cfg(test)]
mod tests {
    use clonepanel_core::dns::Zone;

    #[test]
    fn what_is_shown_is_a_master_file() {
        let name = "example.org".parse().unwrap();
        let zone = Zone::parse(&name, b"$TTL 60\n@ SOA a. b. 1 2 3 4 5\nwww A 192.0.2.1\nx TXT \"a;b\"\n").unwrap();
        let shown = format!("; as alpha has it\n{zone}; beta has the same\n; - www A\n");
        assert!(Zone::parse(&name, shown.as_bytes()).unwrap().has_content_of(&zone));
    }
}
