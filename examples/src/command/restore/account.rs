//! A restore to an account: the plan, the consent, the undo snapshot, and then the writing.

use super::{Restore, destination::Destination, missing};
use crate::{
    config::Rate,
    consent::confirm,
    context::Context,
    failure::{Exit, Failure, Outcome},
    output::{
        json::{self, Paths},
        progress::Progress,
        show,
    },
    selector::{files, shown},
};
use clap::Args;
use clonepanel_core::{
    entry::Entry,
    job::{PushPlan, RestoreJob},
    store::{SnapshotInfo, SnapshotState},
    time::SystemClock,
    transport::{Comparison, Deletion, PushRequest},
};
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};

/// How much of what the account holds --delete may delete, in percent, unless a number is given.
const DELETION_SHARE: u8 = 50;
/// How many changes a person is shown; a program and a dry run tell them all.
const SHOWN_CHANGES: usize = 20;

/// What only matters with an account.
#[derive(Debug, Args)]
#[command(next_help_heading = "With an account")]
pub(super) struct AccountOptions {
    /// Compare every file by content, not by length and time: after a break-in, when times may have been set back
    #[arg(long)]
    checksum: bool,
    /// Also delete what is below PATH there and not in the snapshot, unless that is more than half
    #[arg(long)]
    delete: bool,
    /// Delete at most so many entries, whatever their share; if more would go, none does
    #[arg(long, value_name = "N", requires = "delete")]
    max_delete: Option<u64>,
    /// Do not keep what is overwritten and deleted
    #[arg(long)]
    pub(super) no_undo: bool,
    /// Write without asking
    #[arg(long, short = 'y')]
    yes: bool,
    /// For USER@HOST:DIR: the port of ssh
    #[arg(long)]
    pub(super) port: Option<u16>,
    /// For USER@HOST:DIR: the private key to log in with
    #[arg(long, value_name = "FILE")]
    pub(super) identity: Option<PathBuf>,
    /// For USER@HOST:DIR: where the host key is found
    #[arg(long, value_name = "FILE")]
    pub(super) known_hosts: Option<PathBuf>,
    /// For USER@HOST:DIR: a further setting of ssh, as in ssh_config
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) ssh_option: Vec<String>,
    /// For USER@HOST:DIR: at most so many bytes in a second, as in 4MiB/s
    #[arg(long, value_name = "RATE")]
    pub(super) bandwidth: Option<Rate>,
}

impl AccountOptions {
    /// An option that was given.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.checksum, "--checksum"),
            (self.delete, "--delete"),
            (self.no_undo, "--no-undo"),
            (self.yes, "--yes"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, name)| name).or_else(|| self.first_of_login())
    }

    /// An option about files that was given.
    pub(super) fn first_of_files(&self) -> Option<&'static str> {
        let given = [(self.checksum, "--checksum"), (self.delete, "--delete")];
        given.into_iter().find(|(given, _)| *given).map(|(_, name)| name).or_else(|| self.first_of_login())
    }

    /// An option about the login that was given.
    pub(super) fn first_of_login(&self) -> Option<&'static str> {
        let given = [
            (self.port.is_some(), "--port"),
            (self.identity.is_some(), "--identity"),
            (self.known_hosts.is_some(), "--known-hosts"),
            (!self.ssh_option.is_empty(), "--ssh-option"),
            (self.bandwidth.is_some(), "--bandwidth"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, name)| name)
    }

    fn apply(&self, request: PushRequest) -> PushRequest {
        let request = match self.checksum {
            true => request.comparison(Comparison::Content),
            false => request,
        };
        match (self.delete, self.max_delete) {
            (false, _) => request,
            (true, Some(limit)) => request.deletion(Deletion::UpTo(limit)),
            (true, None) => request.deletion(Deletion::UpTo(u64::MAX)).deletion_share(DELETION_SHARE),
        }
    }
}

/// An undo snapshot that holds all that it should; refused otherwise.
pub(super) fn whole_undo(context: &Context, info: SnapshotInfo) -> Result<SnapshotInfo, Failure> {
    if info.state() == SnapshotState::Partial {
        for problem in info.problems.listed() {
            context.output.warn(format_args!("{}: {problem}", info.id));
        }
        return Err(Failure::guard(format!("nothing was written: {} does not hold all that is there", info.id))
            .hint("mend what cannot be read there, or say --no-undo"));
    }
    Ok(info)
}

impl Restore {
    pub(super) async fn run_there(&self, context: &Context) -> Result<Outcome, Failure> {
        let catalogue = context.catalogue()?;
        let destination = Destination::of(self, &catalogue)?;
        let reader = catalogue.open_for_use(&self.selector).await?;
        let path = self.selector.path.clone().unwrap_or_else(files);
        if reader.record(&path).await?.is_none() {
            return Err(missing(&*reader, &path).await);
        }
        let job = RestoreJob::new(reader, destination.root.clone());
        let request = self.account.apply(destination.request.clone());
        let endpoint = destination.transport.endpoint().to_owned();

        let progress = Progress::new(&context.output, endpoint.as_str(), "written");
        progress.phase("looking at what is there");
        let planned = job.plan_push(&*destination.transport, &request).await;
        let plan = planned.map_err(|error| Failure::because(&error));
        progress.finish(plan.as_ref().err());
        let plan = plan?;
        self.tell_plan(context, &plan);
        if let Some(refusal) = &plan.refusal {
            return Err(Failure::guard(refusal.detail().to_owned())
                .hint("see the plan with --dry-run; then say --max-delete N, or leave --delete out"));
        }
        if self.dry_run || plan.is_empty() {
            return Ok(Outcome::done(self.result(&plan, None)));
        }
        self.confirm(context, &endpoint)?;
        let undo = self.keep(context, &catalogue, &destination, &job, &request, &plan).await?;

        let progress = Progress::new(&context.output, endpoint.as_str(), "sent");
        let pushed = job.push(&*destination.transport, &request, &progress).await;
        let pushed = pushed.map_err(|error| Failure::because(&error));
        progress.finish(pushed.as_ref().err());
        if let Some(undo) = &undo {
            self.tell_undo(context, &destination, undo);
        }
        let report = pushed?.report;
        for problem in report.problems.listed() {
            context.output.event(&json::problem(&plan.id, problem, Paths::Destination));
            if !context.output.is_json() {
                context.output.warn(problem);
            }
        }
        context.output.line(format_args!(
            "restored {} ({} sent of {}) of {} to {endpoint}, deleted {}",
            show::counted(report.files, "file"),
            show::bytes(report.literal_bytes),
            show::bytes(report.literal_bytes + report.matched_bytes),
            plan.id,
            show::counted(report.deleted, "entry"),
        ));
        let mut result = self.result(&plan, undo.as_ref());
        if let Value::Object(fields) = &mut result {
            fields.insert("files".to_owned(), report.files.into());
            fields.insert("literal_bytes".to_owned(), report.literal_bytes.into());
            fields.insert("matched_bytes".to_owned(), report.matched_bytes.into());
            fields.insert("deleted".to_owned(), report.deleted.into());
            fields.insert("problems".to_owned(), report.problems.total().into());
        }
        let exit = if report.problems.is_empty() { Exit::Done } else { Exit::Partial };
        Ok(Outcome::new(exit, result))
    }

    fn tell_plan(&self, context: &Context, plan: &PushPlan) {
        let output = &context.output;
        for (word, entries) in [("new", &plan.added), ("overwritten", &plan.overwritten)] {
            for entry in entries {
                let mut event = json::entry("change", entry, Paths::Destination);
                event.insert("change".to_owned(), word.into());
                output.event(&event.into());
            }
        }
        for path in &plan.deleted {
            let mut event = serde_json::Map::new();
            event.insert("event".to_owned(), "change".into());
            json::put_path(&mut event, path, Paths::Destination);
            event.insert("change".to_owned(), "deleted".into());
            output.event(&event.into());
        }
        for problem in plan.problems.listed() {
            output.warn(problem);
        }
        if self.dry_run {
            output.line(plan);
            return;
        }
        let named = |word: &'static str, entries: &[Entry]| -> Vec<String> {
            entries.iter().map(|entry| format!("{word} {}", entry.path)).collect()
        };
        // What is lost first.
        let mut changes: Vec<_> = plan.deleted.iter().map(|path| format!("deleted {path}")).collect();
        changes.extend(named("overwritten", &plan.overwritten));
        changes.extend(named("new", &plan.added));
        for change in changes.iter().take(SHOWN_CHANGES) {
            output.line(change);
        }
        if changes.len() > SHOWN_CHANGES {
            let more = show::count((changes.len() - SHOWN_CHANGES) as u64);
            output.line(format_args!("and {more} more; --dry-run shows them all"));
        }
        if plan.is_empty() {
            output.line(format_args!(
                "nothing to do: all {} are as in {}",
                show::counted(plan.unchanged, "entry"),
                plan.id
            ));
        } else {
            let compared = match plan.compared.len() as u64 {
                0 => String::new(),
                compared => format!(", {} to compare", show::count(compared)),
            };
            output.line(format_args!(
                "{} new, {} overwritten, {} deleted, {} unchanged{compared}, up to {} from {}",
                show::count(plan.added.len() as u64),
                show::count(plan.overwritten.len() as u64),
                show::count(plan.deleted.len() as u64),
                show::count(plan.unchanged),
                show::bytes(plan.bytes),
                plan.id,
            ));
        }
    }

    pub(super) fn confirm(&self, context: &Context, endpoint: &str) -> Result<(), Failure> {
        confirm(&context.output, self.account.yes, endpoint)
    }

    /// Keeps what is about to be lost.
    async fn keep(
        &self,
        context: &Context,
        catalogue: &crate::context::Catalogue,
        destination: &Destination,
        job: &RestoreJob,
        request: &PushRequest,
        plan: &PushPlan,
    ) -> Result<Option<SnapshotInfo>, Failure> {
        if self.account.no_undo || !plan.loses() {
            return Ok(None);
        }
        let (store, transport) = (catalogue.shared_store(), Arc::clone(&destination.transport));
        let Some(undo) = job.undo(store, destination.undo.clone(), transport, request, plan) else { return Ok(None) };
        let progress = Progress::new(&context.output, destination.undo.as_str(), "new");
        progress.phase("keeping what is there");
        let kept = undo.run(&SystemClock, &progress).await.map_err(|error| {
            let failure = Failure::because(&error).within("nothing was written: what is there could not be kept");
            let hint = failure.hint.clone().map_or_else(String::new, |hint| format!("{hint}; "));
            failure.hint(format!("{hint}with --no-undo nothing is kept"))
        });
        progress.finish(kept.as_ref().err());
        whole_undo(context, kept?.info).map(Some)
    }

    fn tell_undo(&self, context: &Context, destination: &Destination, undo: &SnapshotInfo) {
        let id = &undo.id;
        context.output.event(&json!({ "event": "undo", "site": id.source().as_str(), "id": id.stem() }));
        let path = self.selector.path.as_ref().map(|path| format!(":{}", shown(path))).unwrap_or_default();
        context.output.note(format_args!(
            "what was there is kept as {id}; `clonepanel restore {}@{}{path} {}{}` writes it back",
            id.source(),
            id.stem(),
            destination.option,
            // What differs in content only does so on the way back as well.
            if self.account.checksum { " --checksum" } else { "" },
        ));
    }

    fn result(&self, plan: &PushPlan, undo: Option<&SnapshotInfo>) -> Value {
        json!({
            "site": plan.id.source().as_str(),
            "id": plan.id.stem(),
            "new": plan.added.len(),
            "overwritten": plan.overwritten.len(),
            "to_delete": plan.deleted.len(),
            "to_compare": plan.compared.len(),
            "unchanged": plan.unchanged,
            "bytes": plan.bytes,
            "undo": undo.map(|undo| undo.id.stem()),
            "dry_run": self.dry_run,
        })
    }
}
