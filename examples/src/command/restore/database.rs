//! A restore of a database: into a live one, with the plan, the consent and the undo snapshot first; or its dump, as files or as one.

mod dump;
mod export;
mod plan;
mod target;

use super::{Restore, destination::undo_of};
use crate::{
    config::SecretSource,
    context::{Catalogue, Context},
    failure::{Exit, Failure, Outcome},
    output::{progress::Progress, show},
};
use clap::Args;
use clonepanel_core::{
    escape::Escaped,
    job::{BackupJob, RestoreError, RestoreJob},
    store::SnapshotInfo,
    suspicion::SuspicionRules,
    time::SystemClock,
};
use clonepanel_store::mysql::{
    AdaptedObject, DanglingRows, DatabaseAddress, DatabaseError, DatabaseImport, DatabaseSource, ImportError,
    ImportReport, Placement,
};
use dump::Dump;
use plan::Plan;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use target::Target;

/// What only matters with a database.
#[derive(Debug, Args)]
#[command(next_help_heading = "With a database")]
pub(super) struct DatabaseOptions {
    /// Restore a database of the snapshot instead of files
    #[arg(long, value_name = "NAME")]
    pub(super) database: Option<String>,
    /// Only this table, with its triggers; may be given several times
    #[arg(long = "table", value_name = "TABLE", requires = "database")]
    tables: Vec<String>,
    /// For --to-database URL: the environment variable that has the password
    #[arg(long, value_name = "NAME", requires = "to_database")]
    password_env: Option<String>,
    /// For --to-database URL: the file that has the password
    #[arg(long, value_name = "FILE", requires = "to_database", conflicts_with = "password_env")]
    password_file: Option<PathBuf>,
}

impl DatabaseOptions {
    /// Where the password for a URL is found.
    fn password(&self) -> Option<SecretSource> {
        let variable = self.password_env.clone().map(SecretSource::Env);
        variable.or_else(|| self.password_file.clone().map(SecretSource::File))
    }
}

impl Restore {
    pub(super) async fn run_database(&self, context: &Context, name: &str) -> Result<Outcome, Failure> {
        if self.selector.path.is_some() {
            return Err(Failure::usage("a path and --database exclude each other")
                .hint(format!("leave the path out: clonepanel restore {} --database {name} ...", self.selector.site)));
        }
        if let Some(option) = self.account.first_of_files() {
            return Err(Failure::usage(format!("{option} is for files, not for a database")).hint("leave it out"));
        }
        let path = dump::place(name)?;
        if let Some(folder) = &self.target.to {
            if !self.database.tables.is_empty() {
                return Err(Failure::usage("--table is for --to-database and --export")
                    .hint("leave it out: in a dump each table has files of its own"));
            }
            return self.run_here(context, folder, Some(path)).await;
        }
        let catalogue = context.catalogue()?;
        let reader = catalogue.open_for_use(&self.selector).await?;
        let dump = Dump::open(reader, path, &self.database.tables).await?;
        if dump.is_older {
            context.output.warn(format_args!(
                "{name} could not be dumped for {}: what it has is the dump of an older snapshot",
                dump.id()
            ));
        }
        match &self.target.export {
            Some(file) => self.export(context, &dump, file).await,
            None => self.import(context, &catalogue, &dump).await,
        }
    }

    async fn import(&self, context: &Context, catalogue: &Catalogue, dump: &Dump) -> Result<Outcome, Failure> {
        let target = Target::of(self, catalogue, &dump.name)?;
        let progress = Progress::new(&context.output, target.shown.as_str(), "written");
        progress.phase("looking at what is there");
        let begun = self.begin(&target).await;
        progress.finish(begun.as_ref().err());
        let (reached, import) = begun?;
        let import =
            if dump.is_part { import.tables(dump.tables.iter().map(|table| table.name.clone())) } else { import };

        let plan = Plan::new(dump, import.existing());
        plan.tell(context, dump.id());
        if self.dry_run {
            return Ok(Outcome::done(result(dump, &target, &plan, None, None)));
        }
        self.confirm(context, &target.shown)?;
        let undo = self.keep_database(context, catalogue, dump, &plan, &reached.address).await?;

        let progress = Progress::new(&context.output, target.shown.as_str(), "written");
        let copied = RestoreJob::new(Arc::clone(&dump.reader), dump.path.clone()).run(&import, &progress).await;
        progress.phase("comparing");
        let unchanged = |failure: Failure| failure.within("nothing was replaced");
        let done = match &copied {
            Err(error @ (RestoreError::Snapshot { .. } | RestoreError::NotFound { .. })) => {
                Err(unchanged(Failure::because(error)))
            }
            // What the database refused comes out at the end.
            _ => Box::pin(import.finish()).await.map_err(|error| unchanged(because(&error))),
        };
        progress.finish(done.as_ref().err());
        if let (Ok(_), Some(undo)) = (&done, &undo) {
            self.tell_database_undo(context, &target, dump, undo);
        }
        let (report, copied) = (done?, copied.map_err(|error| Failure::because(&error))?.report);
        for problem in copied.problems.listed() {
            context.output.warn(problem);
        }
        tell(context, dump, &target, &report);
        let is_whole = copied.problems.is_empty() && report.refused.is_empty() && report.missing.is_empty();
        let exit = if is_whole { Exit::Done } else { Exit::Partial };
        Ok(Outcome::new(exit, result(dump, &target, &plan, undo.as_ref(), Some(&report))))
    }

    async fn begin(&self, target: &Target) -> Result<(crate::database::Reached, DatabaseImport), Failure> {
        let begun = target.reach(|address| DatabaseImport::begin(address, Placement::Replace));
        let (reached, import) = begun.await.map_err(|why| Failure::failed(why).within(&target.shown))?;
        let import = import.map_err(|error| because(&error).within(&target.shown))?;
        Ok((reached, import.events(target.events)))
    }

    /// Keeps what is about to be replaced.
    async fn keep_database(
        &self,
        context: &Context,
        catalogue: &Catalogue,
        dump: &Dump,
        plan: &Plan,
        address: &DatabaseAddress,
    ) -> Result<Option<SnapshotInfo>, Failure> {
        // A whole dump also brings views, routines and triggers, in place of what is there under their names.
        let is_nothing_lost = plan.replaced == 0 && (dump.is_part || plan.untouched == 0);
        if self.account.no_undo || is_nothing_lost {
            return Ok(None);
        }
        let source = undo_of(dump.id().source().as_str())?;
        let progress = Progress::new(&context.output, source.as_str(), "new");
        progress.phase("keeping what is there");
        let job = BackupJob::new(catalogue.shared_store(), source)
            .tree(dump.path.clone(), Arc::new(DatabaseSource::new(address.clone())))
            .suspicion(SuspicionRules::accept_everything());
        let kept = job.run(&SystemClock, &progress).await.map_err(|error| {
            Failure::because(&error)
                .within("nothing was written: what is there could not be kept")
                .hint("with --no-undo nothing is kept")
        });
        progress.finish(kept.as_ref().err());
        super::account::whole_undo(context, kept?.info).map(Some)
    }

    fn tell_database_undo(&self, context: &Context, target: &Target, dump: &Dump, undo: &SnapshotInfo) {
        let id = &undo.id;
        context.output.event(&json!({ "event": "undo", "site": id.source().as_str(), "id": id.stem() }));
        context.output.note(format_args!(
            "what was there is kept as {id}; `clonepanel restore {}@{} --database {} --to-database {}` writes it back",
            id.source(),
            id.stem(),
            dump.name,
            target.option,
        ));
    }
}

fn because(error: &ImportError) -> Failure {
    let failure = Failure::because(error);
    match error {
        ImportError::Referred { .. } => failure.hint("drop that foreign key, restore, and add it again"),
        ImportError::Database(DatabaseError::Denied { .. }) => {
            failure.hint("see that the user, the password and the user's rights are as the panel of the host says")
        }
        _ => failure,
    }
}

fn tell(context: &Context, dump: &Dump, target: &Target, report: &ImportReport) {
    let (output, shown) = (&context.output, |name: &str| Escaped(name.as_bytes()).to_string());
    for table in &report.tables {
        output.event(&json!({ "event": "table", "name": table.name, "rows": table.rows }));
        output.line(format_args!("{}  {}, as in the dump", shown(&table.name), show::counted(table.rows, "row")));
    }
    for refused in &report.refused {
        let kind = refused.kind.word();
        output.event(&json!({ "event": "refused", "kind": kind, "name": refused.name, "why": refused.why }));
        output.warn(format_args!("{kind} {} is not there: {}", shown(&refused.name), refused.why));
    }
    for missing in &report.missing {
        let (kind, name) = (missing.kind.word(), missing.name.as_deref().unwrap_or_default());
        output.event(&json!({ "event": "missing", "kind": kind, "name": missing.name, "why": missing.why }));
        output.warn(format_args!("{kind} {} was not in the dump: {}", shown(name), missing.why));
    }
    for (name, definer) in &report.redefined {
        output.event(&json!({ "event": "redefined", "name": name, "definer": definer }));
        output.note(format_args!("{} was defined by {}, and now by who restored it", shown(name), shown(definer)));
    }
    tell_adapted(context, &report.adapted);
    for DanglingRows { table, key, to, rows } in &report.dangling {
        output.event(&json!({ "event": "dangling", "table": table, "key": key, "to": to, "rows": rows }));
        let (table, to) = (shown(table), shown(to));
        match rows {
            Some(rows) => output.warn(format_args!(
                "{} of {table} {} to rows of {to} that are not there",
                show::counted(*rows, "row"),
                if *rows == 1 { "refers" } else { "refer" },
            )),
            None => output
                .warn(format_args!("whether rows of {table} refer to rows of {to} that are not there, is not known")),
        }
    }
    if target.keeps_events_quiet() && dump.has_events() {
        output.note("events are disabled: ALTER EVENT ... ENABLE lets them run");
    }
    output.line(format_args!(
        "restored {} ({}) and {} of {} to {}",
        show::counted(report.tables.len() as u64, "table"),
        show::counted(report.tables.iter().map(|table| table.rows).sum(), "row"),
        show::counted(report.objects, "other object"),
        dump.id(),
        target.shown,
    ));
}

/// What is defined in another way than in the dump. The same may be true for each table: that is one line.
fn tell_adapted(context: &Context, adapted: &[AdaptedObject]) {
    let mut by_change = BTreeMap::<&str, Vec<&AdaptedObject>>::new();
    for object in adapted {
        let AdaptedObject { kind, name, changes } = object;
        context.output.event(&json!({ "event": "adapted", "kind": kind.word(), "name": name, "changes": changes }));
        changes.iter().for_each(|change| by_change.entry(change).or_default().push(object));
    }
    for (change, objects) in by_change {
        let first = objects.first().map(|object| format!("{} {}", object.kind.word(), object.name)).unwrap_or_default();
        let others = match objects.len() {
            0 | 1 => String::new(),
            count => format!(" and {}", show::counted(count as u64 - 1, "other")),
        };
        let line = format!("{first}{others}: {change}");
        context.output.note(format_args!("not as in the dump: {}", Escaped(line.as_bytes())));
    }
}

fn result(
    dump: &Dump,
    target: &Target,
    plan: &Plan,
    undo: Option<&SnapshotInfo>,
    report: Option<&ImportReport>,
) -> Value {
    json!({
        "site": dump.id().source().as_str(),
        "id": dump.id().stem(),
        "database": dump.name,
        "target": target.shown,
        "new": plan.added,
        "replaced": plan.replaced,
        "untouched": plan.untouched,
        "rows": plan.rows,
        "objects": report.map(|report| report.objects),
        "adapted": report.map(|report| report.adapted.len()),
        "refused": report.map(|report| report.refused.len()),
        "missing": report.map(|report| report.missing.len()),
        "undo": undo.map(|undo| undo.id.stem()),
        "dry_run": report.is_none(),
    })
}
