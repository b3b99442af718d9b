//! `clonepanel dns plan` and `apply`.

use super::{Copies, desired::Desired, servers::cluster, show::changes};
use crate::{
    config::Config,
    consent::confirm,
    context::Context,
    failure::{Exit, Failure, Outcome, chain},
    output::show,
};
use clonepanel_core::job::{ClusterPlan, CopyChange, CopyOutcome, DnsCluster};
use serde_json::{Value, json};

pub(super) async fn plan(
    context: &Context,
    config: &Config,
    copies: &Copies,
    desired: &Desired,
) -> Result<Outcome, Failure> {
    let (cluster, plan) = planned(config, copies, desired).await?;
    let away = tell(context, &cluster, &plan)?;
    Ok(Outcome::new(if away == 0 { Exit::Done } else { Exit::Partial }, result(copies, &plan, None)))
}

pub(super) async fn apply(
    context: &Context,
    config: &Config,
    copies: &Copies,
    desired: &Desired,
    yes: bool,
    reason: Option<&str>,
) -> Result<Outcome, Failure> {
    let (cluster, plan) = planned(config, copies, desired).await?;
    let away = tell(context, &cluster, &plan)?;
    let is_empty = plan.copies.iter().all(|(_, plan)| plan.as_ref().is_ok_and(|plan| plan.is_empty()) || plan.is_err());
    let mut summary = result(copies, &plan, Some(0));
    if is_empty {
        return Ok(Outcome::new(if away == 0 { Exit::Done } else { Exit::Partial }, summary));
    }
    // What would be refused is not asked about.
    if reason.is_none() && !cluster.risks(&plan).is_empty() {
        return Err(Failure::guard(format!("the plan for {} is dangerous, and was not done", copies.zone))
            .hint("when it is right all the same, say --reason TEXT"));
    }
    let endpoint = names(&plan);
    confirm(&context.output, yes, &endpoint)?;
    let outcomes = cluster.apply(plan, reason).await.map_err(|refused| {
        Failure::guard(refused.to_string()).hint("nobody can answer for that: mend what is desired")
    })?;
    let (mut changed, mut failed) = (0, 0);
    for CopyOutcome { name, result, change } in &outcomes {
        changed += usize::from(*change == CopyChange::Yes);
        match result {
            Ok(revision) => {
                let word = if *change == CopyChange::No { "unchanged" } else { "changed" };
                context.output.event(&json!({
                    "event": "copy", "server": name, "outcome": word, "revision": revision.as_str(),
                }));
                context.output.line(format_args!("{name}: {word}, read back, serial {revision}"));
            }
            Err(error) => {
                failed += 1;
                let why = chain(error);
                let (outcome, words) = match change {
                    CopyChange::No => ("failed", "not changed"),
                    CopyChange::Yes => ("not proven", "changed, but not seen to be as desired"),
                    CopyChange::Unknown => ("unknown", "perhaps changed"),
                };
                context.output.event(&json!({ "event": "copy", "server": name, "outcome": outcome, "why": why }));
                context.output.warn(format_args!("{name}: {words}: {why}"));
            }
        }
    }
    if failed == outcomes.len() {
        return Err(Failure::failed(format!("{} is on no server known to be as desired", copies.zone))
            .hint("read it with `clonepanel dns show` before the next try"));
    }
    if let Value::Object(fields) = &mut summary {
        fields.insert("changed".to_owned(), changed.into());
    }
    Ok(Outcome::new(if failed == 0 { Exit::Done } else { Exit::Partial }, summary))
}

async fn planned(config: &Config, copies: &Copies, desired: &Desired) -> Result<(DnsCluster, ClusterPlan), Failure> {
    let cluster = cluster(config, &copies.servers, desired.nameservers())?;
    let wanted = desired.read(config, &copies.zone).await?;
    let read = cluster.read(&copies.zone).await;
    let plan = cluster.plan(&wanted, read);
    Ok((cluster, plan))
}

/// Shows what would change, and what is dangerous about it; tells how many copies could not be read.
fn tell(context: &Context, cluster: &DnsCluster, plan: &ClusterPlan) -> Result<usize, Failure> {
    let output = &context.output;
    let mut away = 0;
    for (name, plan) in &plan.copies {
        match plan {
            Ok(plan) if plan.is_empty() => {
                output.event(&json!({ "event": "plan", "server": name, "changes": [] }));
                output.line(format_args!("{name}: nothing to do"));
                output.line(plan.to_string().trim_end());
            }
            Ok(plan) => {
                output.event(&json!({ "event": "plan", "server": name, "changes": changes(plan) }));
                let count = show::counted(plan.changes().len() as u64, "record set");
                output.line(format_args!("{name}: {count} to change"));
                output.line(plan.to_string().trim_end());
            }
            Err(error) => {
                away += 1;
                let why = chain(error);
                output.event(&json!({ "event": "away", "server": name, "why": why }));
                output.warn(format_args!("{name}: {why}"));
            }
        }
    }
    for (name, risks) in cluster.risks(plan) {
        for risk in risks {
            output.event(&json!({ "event": "risk", "server": name, "risk": risk.to_string() }));
            output.warn(format_args!("{name}: {risk}"));
        }
    }
    if away == plan.copies.len() {
        return Err(Failure::failed("no server could be read").hint("`clonepanel check` tries every server"));
    }
    Ok(away)
}

fn names(plan: &ClusterPlan) -> String {
    let changing = plan.copies.iter().filter(|(_, plan)| plan.as_ref().is_ok_and(|plan| !plan.is_empty()));
    changing.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

fn result(copies: &Copies, plan: &ClusterPlan, changed: Option<usize>) -> Value {
    let to_change = plan.copies.iter().filter(|(_, plan)| plan.as_ref().is_ok_and(|plan| !plan.is_empty())).count();
    let away = plan.copies.iter().filter(|(_, plan)| plan.is_err()).count();
    json!({ "zone": copies.zone.to_string(), "to_change": to_change, "away": away, "changed": changed })
}
