//! `clonepanel replicate`: a second copy of the store.

use super::prune::{PolicyOptions, tell_failure, tell_plan};
use crate::{
    context::{Catalogue, Context, now, tell_unsound},
    failure::{Exit, Failure, Outcome, chain},
    location::Location,
    output::{Output, json, progress::Progress, show},
    within::{lies_within, real_path, store_around},
};
use clap::Args;
use clonepanel_core::{
    job::{CopyFailure, PruneJob, ReplicateError, ReplicateJob, ReplicateOutcome, ReplicatePlan},
    memory::MemoryStore,
    retention::RetentionPolicy,
    snapshot_id::{SnapshotId, SourceName},
    store::{SnapshotStore, StoreError},
    time::SystemClock,
    tree::TreeError,
};
use clonepanel_store::HardLinkStore;
use serde_json::{Value, json};
use std::{ffi::OsString, path::Path, sync::Arc};

/// Copy the snapshots to a second store, with their ids, states and shared contents
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel replicate --to /mnt/usb/snapshots
  clonepanel replicate --to /mnt/usb/snapshots example.org --dry-run
  clonepanel replicate --to /mnt/usb/snapshots --prune --monthly 24
  clonepanel verify --store /mnt/usb/snapshots

Only what the second store lacks is read and copied: contents are known by their hash. Each is
checked as it is copied, and a snapshot that cannot be had in whole is left out. What the second
store has already is trusted until `verify` reads it there; what is damaged there is not mended.
With --prune the second store has a retention of its own: what it would not keep is not copied, and
what it does not keep any more is deleted there.")]
pub(crate) struct Replicate {
    /// Only these sites
    #[arg(value_name = "SITE")]
    sites: Vec<String>,
    /// The folder of the second store; made if it is missing
    #[arg(long, value_name = "STORE")]
    to: OsString,
    /// Keep there only what the retention says: what is given here, or the configured one
    #[arg(long)]
    prune: bool,
    /// Show what would be copied, and write nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    policy: PolicyOptions,
}

#[derive(Default)]
struct Total {
    copied: usize,
    present: usize,
    deleted: usize,
    /// Snapshots that were not copied, and sites that could not be looked at.
    failed: usize,
    different: usize,
    files: u64,
    bytes: u64,
}

impl Replicate {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let catalogue = context.catalogue()?;
        if !self.prune && self.policy.given().is_some() {
            return Err(Failure::usage("a retention is for --prune").hint("add --prune, or leave it out"));
        }
        let sites = catalogue.sites(&self.sites).await?;
        // All policies first: nothing is done before it is clear that all of it can be done.
        let mut policies = Vec::new();
        for site in &sites {
            let policy = self.prune.then(|| self.policy.for_site(catalogue.config.as_ref(), site)).transpose()?;
            policies.push(policy);
        }
        let second = self.second(&catalogue.root)?;
        let mut total = Total::default();
        for (site, policy) in sites.iter().zip(policies) {
            // What one site holds says nothing about the others.
            if let Err(failure) = self.one(context, &catalogue, second.as_ref(), site, policy, &mut total).await {
                tell_failure(&context.output, site, &failure);
                total.failed += 1;
            }
        }
        let (verb, also) = if self.dry_run { ("would be copied", "would be deleted") } else { ("copied", "deleted") };
        let Total { copied, present, deleted, failed, different, files, bytes } = total;
        let pruned = if self.prune { format!(", {deleted} {also} there") } else { String::new() };
        context.output.line(format_args!(
            "{copied} {verb} ({}, {}), {present} there already{pruned}",
            show::counted(files, "file"),
            show::bytes(bytes)
        ));
        let exit = match (failed + different, copied + deleted) {
            (0, _) => Exit::Done,
            (_, 0) => Exit::Failed,
            _ => Exit::Partial,
        };
        Ok(Outcome::new(
            exit,
            json!({
                "copied": copied,
                "present": present,
                "deleted": deleted,
                "failed": failed,
                "different": different,
                "copied_files": files,
                "copied_bytes": bytes,
                "dry_run": self.dry_run,
            }),
        ))
    }

    /// Opens the second store; `None` if it is only to be shown what would go into a new one.
    fn second(&self, first: &Path) -> Result<Option<HardLinkStore>, Failure> {
        let path = match Location::parse(&self.to)? {
            Location::Local(path) => path,
            Location::Remote { host, .. } => {
                return Err(Failure::usage(format!("this version cannot write a store on {host}"))
                    .hint("name a folder of this machine; one that is mounted there will do"));
            }
        };
        let shown = path.display();
        if lies_within(&path, first)? || lies_within(first, &path)? {
            return Err(Failure::guard(format!("{shown} and the store {} lie in each other", first.display()))
                .hint("the second store is for the day on which the first is lost: put it on another disk"));
        }
        if let Some(around) = real_path(&path)?.parent().and_then(store_around) {
            return Err(Failure::guard(format!("{shown} lies in the store {}", around.display()))
                .hint("a store holds its snapshots and nothing else: name a folder outside of it"));
        }
        if self.dry_run && !path.exists() {
            return Ok(None);
        }
        let opened = if self.dry_run { HardLinkStore::open(&path) } else { HardLinkStore::init(&path) };
        opened.map(Some).map_err(|error| Failure::from(error).within(shown))
    }

    async fn one(
        &self,
        context: &Context,
        catalogue: &Catalogue,
        second: Option<&HardLinkStore>,
        site: &SourceName,
        policy: Option<RetentionPolicy>,
        total: &mut Total,
    ) -> Result<(), Failure> {
        // Names those that cannot be read: they cannot be copied.
        catalogue.snapshots(site).await?;
        let to: Arc<dyn SnapshotStore> = match second {
            Some(second) => {
                for (id, why) in second.list_sound(site).await?.1 {
                    context.output.note("in the second store:");
                    tell_unsound(&context.output, &id, &why);
                }
                Arc::new(second.beside_unsound())
            }
            // A new one has nothing.
            None => Arc::new(MemoryStore::new()),
        };
        let mut job = ReplicateJob::new(catalogue.shared_store(), Arc::clone(&to), site.clone());
        if let Some(policy) = &policy {
            job = job.policy(policy.clone());
        }
        let plan = job.plan(now()).await.map_err(|error| Failure::because(&error))?;
        total.present += plan.present.len();
        tell_different(&context.output, &plan, total);
        let prune = policy.map(|policy| PruneJob::new(to, site.clone(), policy));
        if self.dry_run {
            total.copied += plan.copies.len();
            context.output.line(&plan);
            plan.copies.iter().for_each(|id| context.output.event(&planned("copy", id)));
            plan.passed_over.iter().for_each(|id| context.output.event(&planned("pass-over", id)));
            if let Some(prune) = prune {
                let plan = prune.plan(now()).await.map_err(|error| Failure::because(&error))?;
                total.deleted += plan.deletions().count();
                tell_plan(&context.output, site, &plan);
            }
            return Ok(());
        }
        let mut copied = copy(context, &job, &plan, site, total).await;
        if let Some(prune) = prune
            && copied.as_ref().err().is_none_or(is_full)
        {
            // A full store is the one that needs it most, and may then have room for the rest.
            let deleted = delete(context, &prune, total).await?;
            if copied.is_err() && deleted > 0 {
                let rest = job.plan(now()).await.map_err(|error| Failure::because(&error))?;
                copied = copy(context, &job, &rest, site, total).await;
            }
        }
        copied.map_err(|error| Failure::because(&error))
    }
}

/// Copies what the plan says, one after the other: what was copied is told, whatever comes after it.
async fn copy(
    context: &Context,
    job: &ReplicateJob,
    plan: &ReplicatePlan,
    site: &SourceName,
    total: &mut Total,
) -> Result<(), ReplicateError> {
    let progress = Progress::new(&context.output, site.as_str(), "copied");
    for id in &plan.copies {
        let one = ReplicatePlan { copies: vec![id.clone()], ..ReplicatePlan::default() };
        tell(&context.output, &job.apply(&one, &SystemClock, &progress).await?, total);
    }
    Ok(())
}

async fn delete(context: &Context, prune: &PruneJob, total: &mut Total) -> Result<usize, Failure> {
    let plan = prune.plan(now()).await.map_err(|error| Failure::because(&error))?;
    let outcome = prune.apply(&plan, &()).await.map_err(|error| Failure::because(&error))?;
    total.deleted += outcome.deleted.len();
    for id in &outcome.deleted {
        context.output.event(&planned("deleted", id));
    }
    Ok(outcome.deleted.len())
}

/// Whether the second store has no room.
fn is_full(error: &ReplicateError) -> bool {
    matches!(
        error,
        ReplicateError::Destination {
            source: StoreError::NoSpace { .. } | StoreError::Tree(TreeError::NoSpace { .. }),
            ..
        }
    )
}

/// What to do about a snapshot that was not copied.
fn advice(id: &SnapshotId, failure: &CopyFailure) -> String {
    let (site, stem) = (id.source(), id.stem());
    match failure {
        CopyFailure::Occupied(_) => {
            format!(
                "what is there may have what nobody else has; to give it up, remove {site}/{stem} in the second store"
            )
        }
        CopyFailure::Different => "run it again; when it stays so, look at the disk of the second store".to_owned(),
        _ => format!(
            "it may have more damage than that: `clonepanel verify {site}@{stem}` lists all of it, and the next \
             backup stores anew what the account still has"
        ),
    }
}

fn planned(event: &str, id: &SnapshotId) -> Value {
    json!({ "event": event, "site": id.source().as_str(), "id": id.stem() })
}

fn tell_different(output: &Output, plan: &ReplicatePlan, total: &mut Total) {
    for id in &plan.different {
        output.warn(format_args!("{id} is another snapshot in the second store, and is left alone"));
        output.event(&planned("different", id));
    }
    total.different += plan.different.len();
}

fn tell(output: &Output, outcome: &ReplicateOutcome, total: &mut Total) {
    for copied in &outcome.copied {
        let id = &copied.info.id;
        output.line(format_args!(
            "{id} {} copied: {} of {} lacked there, {}",
            show::state(copied.info.state()),
            show::count(copied.files),
            show::counted(copied.info.tally.files, "file"),
            show::bytes(copied.bytes)
        ));
        let mut event = json::snapshot(&copied.info);
        if let Value::Object(fields) = &mut event {
            fields.insert("event".to_owned(), "copied".into());
            fields.insert("copied_files".to_owned(), copied.files.into());
            fields.insert("copied_bytes".to_owned(), copied.bytes.into());
        }
        output.event(&event);
        total.files += copied.files;
        total.bytes += copied.bytes;
    }
    for (id, failure) in &outcome.failed {
        let detail = chain(failure);
        output.warn(format_args!("{id} is not copied: {detail}"));
        output.note(advice(id, failure));
        output.event(&json!({
            "event": "not-copied",
            "site": id.source().as_str(),
            "id": id.stem(),
            "detail": detail,
        }));
    }
    total.copied += outcome.copied.len();
    total.present += outcome.overtaken.len();
    total.failed += outcome.failed.len();
}
