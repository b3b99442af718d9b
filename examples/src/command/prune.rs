//! `clonepanel prune`: the retention plan, then do it.

use crate::{
    config::Config,
    context::{Context, now},
    failure::{Exit, Failure, Outcome},
    output::Output,
};
use clap::Args;
use clonepanel_core::{
    job::{PruneError, PruneJob},
    retention::{Reason, RetentionPlan, RetentionPolicy, Verdict},
    snapshot_id::SourceName,
};
use serde_json::json;
use std::time::Duration;

/// Delete the snapshots that the retention does not keep
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel prune --dry-run           shows the plan: what stays and why, what goes
  clonepanel prune example.org
  clonepanel prune --store /srv/backup --keep-within 48h --daily 14 --weekly 8

The newest good snapshot is never deleted. Partial and suspect ones do not count for retention.")]
pub(crate) struct Prune {
    /// Only these sites
    #[arg(value_name = "SITE")]
    sites: Vec<String>,
    /// Show the plan and delete nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    policy: PolicyOptions,
}

/// A policy for this run; without one that of the configuration holds.
#[derive(Debug, Args)]
#[command(next_help_heading = "Retention, instead of the configured one")]
pub(super) struct PolicyOptions {
    /// Keep everything that is so young: 48h
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| humantime::parse_duration(text))]
    keep_within: Option<Duration>,
    /// Keep the newest of each of so many hours
    #[arg(long, value_name = "N")]
    hourly: Option<u32>,
    /// Keep the newest of each of so many days
    #[arg(long, value_name = "N")]
    daily: Option<u32>,
    /// Keep the newest of each of so many weeks
    #[arg(long, value_name = "N")]
    weekly: Option<u32>,
    /// Keep the newest of each of so many months
    #[arg(long, value_name = "N")]
    monthly: Option<u32>,
    /// Keep the newest of each of so many years
    #[arg(long, value_name = "N")]
    yearly: Option<u32>,
}

impl Prune {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let catalogue = context.catalogue()?;
        let sites = catalogue.sites(&self.sites).await?;
        // All policies first: nothing is deleted before it is clear that all of it can be done.
        let mut jobs = Vec::new();
        for site in sites {
            let policy = self.policy.for_site(catalogue.config.as_ref(), &site)?;
            jobs.push((PruneJob::new(catalogue.shared_store(), site.clone(), policy), site));
        }
        // The plan of one site says by itself what would be deleted.
        let says_it_all = self.dry_run && jobs.len() == 1;
        let (mut kept, mut deleted, mut failed) = (0, 0, 0);
        for (job, site) in jobs {
            // Names those that cannot be read; they are neither counted nor deleted.
            catalogue.snapshots(&site).await?;
            let plan = match job.plan(now()).await {
                Ok(plan) => plan,
                // What one site holds says nothing about the others.
                Err(error) => {
                    tell_failure(&context.output, &site, &Failure::because(&error));
                    failed += 1;
                    continue;
                }
            };
            tell_plan(&context.output, &site, &plan);
            let going = plan.deletions().count();
            kept += plan.decisions.len() - going;
            if self.dry_run {
                deleted += going;
                continue;
            }
            match job.apply(&plan, &()).await {
                Ok(outcome) => deleted += outcome.deleted.len(),
                Err(error @ PruneError::Refused { .. }) => {
                    return Err(Failure { exit: Exit::Guard, ..Failure::because(&error) }
                        .hint("the snapshots changed since the plan was made; run it again"));
                }
                Err(error) => {
                    tell_failure(&context.output, &site, &Failure::because(&error));
                    failed += 1;
                }
            }
        }
        let verb = if self.dry_run { "would be deleted" } else { "deleted" };
        if !says_it_all {
            context.output.line(format_args!("{kept} kept, {deleted} {verb}"));
        }
        let exit = match (failed, deleted) {
            (0, _) => Exit::Done,
            (_, 0) => Exit::Failed,
            _ => Exit::Partial,
        };
        Ok(Outcome::new(exit, json!({ "kept": kept, "deleted": deleted, "failed": failed, "dry_run": self.dry_run })))
    }
}

impl PolicyOptions {
    /// What is given for this run, or else configured for a site.
    pub(super) fn for_site(&self, config: Option<&Config>, site: &SourceName) -> Result<RetentionPolicy, Failure> {
        if let Some(policy) = self.given() {
            if policy == RetentionPolicy::newest_only() {
                return Err(Failure::usage("this retention would keep nothing but the newest snapshot")
                    .hint("say how much is kept: --daily 14"));
            }
            return Ok(policy);
        }
        let Some(config) = config else {
            return Err(Failure::usage("there is no retention to go by")
                .hint("give one: --keep-within 48h --daily 14 --weekly 8 --monthly 12"));
        };
        // A source that is not configured any more falls under the common policy.
        let own = config.sites.iter().find(|known| known.name == *site).map(|known| known.retention.clone());
        own.unwrap_or_else(|| config.retention.clone()).ok_or_else(|| {
            Failure::usage(format!("{} has no [retention] for {site}", config.path.display()))
                .hint("add [retention] with daily = 14, or give one: --daily 14")
        })
    }

    pub(super) fn given(&self) -> Option<RetentionPolicy> {
        let counts = [self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        if self.keep_within.is_none() && counts.iter().all(Option::is_none) {
            return None;
        }
        let [hourly, daily, weekly, monthly, yearly] = counts.map(Option::unwrap_or_default);
        let policy = RetentionPolicy::newest_only().keep_within(self.keep_within.unwrap_or_default());
        Some(policy.hourly(hourly).daily(daily).weekly(weekly).monthly(monthly).yearly(yearly))
    }
}

pub(super) fn tell_failure(output: &Output, site: &SourceName, failure: &Failure) {
    output.failure(failure);
    let Failure { message, hint, .. } = failure;
    output.event(&json!({ "event": "failure", "site": site.as_str(), "error": message, "hint": hint }));
}

pub(super) fn tell_plan(output: &Output, site: &SourceName, plan: &RetentionPlan) {
    if plan.decisions.is_empty() {
        return;
    }
    output.line(plan);
    tell_unfinished(output, site, plan);
    for decision in &plan.decisions {
        let (verdict, reasons) = match &decision.verdict {
            Verdict::Delete => ("delete", Vec::new()),
            Verdict::Keep(reasons) => ("keep", reasons.iter().map(|reason| reason.words()).collect()),
        };
        output.event(&json!({
            "event": "decision",
            "site": site.as_str(),
            "id": decision.id.stem(),
            "state": decision.state.word(),
            "verdict": verdict,
            "reasons": reasons,
        }));
    }
}

/// So many snapshots in a row that are not complete are no accident any more.
const IN_A_ROW: usize = 3;

/// Snapshots that are not complete stay until a complete one is made, and go with it: whoever gets no other should know.
fn tell_unfinished(output: &Output, site: &SourceName, plan: &RetentionPlan) {
    let stays =
        |verdict: &Verdict| matches!(verdict, Verdict::Keep(reasons) if reasons.contains(&Reason::NewerThanGood));
    let staying = plan.decisions.iter().filter(|decision| stays(&decision.verdict)).count();
    if staying >= IN_A_ROW && !output.is_json() {
        output.warn(format_args!(
            "{site}: the newest {staying} snapshots are not complete; they all stay until a complete one is made"
        ));
        output.note(format_args!(
            "`clonepanel snapshots {site} --problems` lists why; what can never be read is best left out (`exclude`)"
        ));
    }
}
