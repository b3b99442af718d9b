//! `clonepanel restore`: write a snapshot, or a part of it, back to this machine or to an account.

mod account;
mod database;
mod destination;
mod rewritten;

use super::ls::missing;
use crate::{
    context::Context,
    failure::{Exit, Failure, Outcome},
    output::{
        json::{self, Paths},
        progress::Progress,
        show,
    },
    selector::{Selector, SelectorParser, files},
    within::{lies_within, real_path, store_around},
};
use account::AccountOptions;
use clap::Args;
use clonepanel_core::{job::RestoreJob, path::RelPath};
use clonepanel_store::LocalTree;
use database::DatabaseOptions;
use rewritten::Rewritten;
use serde_json::json;
use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

/// Write a snapshot, or a part of it, to a folder of this machine or back to an account
#[derive(Debug, Args)]
#[command(override_usage = "clonepanel restore [OPTIONS] <SITE[@WHEN][:PATH]> <--to DIR|--to-account ACCOUNT|...>")]
#[command(after_help = "Examples:
  clonepanel restore example.org --to ./back
  clonepanel restore example.org@3w:public_html/wp-content --to ./back --dry-run
  clonepanel restore example.org:public_html/index.php --to ./back
  clonepanel restore example.org@3d:public_html --in-place --dry-run
  clonepanel restore example.org@3d:public_html --in-place --delete --yes
  clonepanel restore example.org --to-account spare
  clonepanel restore example.org:public_html --to-account bob@beta.example.net:public_html
  clonepanel restore example.org@3d --database alice_wp --in-place --dry-run
  clonepanel restore example.org --database wp --table posts --to-database mysql://bob@127.0.0.1/x
  clonepanel restore example.org --database alice_wp --export alice_wp.sql

With --to, what is written is the content of PATH: `back/` then holds what PATH held; owners and
setuid bits are not set. With --in-place and `--to-account primary|spare`, PATH is written to where
it is in the account; with `--to-account USER@HOST:DIR`, its content to DIR. Only differences travel;
nothing is deleted without --delete; first the plan is shown, then what would be overwritten or
deleted is kept as a snapshot of SITE-undo. Every file is checked against its hash on the way.
With --database, tables are filled under other names, read again and compared with the dump, and
then take their places all at once; tables that the dump does not have stay as they are.
Without @WHEN, and with @latest, it is the newest complete snapshot; any other is restored when it
is named.")]
pub(crate) struct Restore {
    /// What to restore; without @WHEN of the newest complete snapshot
    #[arg(value_name = "SITE[@WHEN][:PATH]", value_parser = SelectorParser)]
    selector: Selector,
    #[command(flatten)]
    target: Target,
    /// Show what would be written and write nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// With --to and --export: write into a folder that is not empty, and over what is there
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    account: AccountOptions,
}

/// Where to.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// The folder to write to; made if it is missing
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// primary or spare for an account of the site, or any other as USER@HOST:DIR
    #[arg(long, value_name = "ACCOUNT")]
    to_account: Option<OsString>,
    /// The account that it came from: the same as --to-account primary
    #[arg(long)]
    in_place: bool,
    /// primary or spare for the database of an account of the site, or any other as mysql://USER@HOST/NAME
    #[arg(long, value_name = "DATABASE", requires = "database")]
    to_database: Option<String>,
    /// A file of SQL, which any client loads; `-` for standard output
    #[arg(long, value_name = "FILE", requires = "database")]
    export: Option<PathBuf>,
}

impl Restore {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        if self.overwrite && self.target.to.is_none() && self.target.export.is_none() {
            return Err(Failure::usage("--overwrite is for --to and --export").hint("leave it out"));
        }
        match (&self.database.database, &self.target.to) {
            (Some(name), _) => self.run_database(context, name).await,
            (None, Some(folder)) => self.run_here(context, folder, None).await,
            (None, None) => self.run_there(context).await,
        }
    }

    /// Writes what the snapshot has at `path`, or at the path that was given, to a folder.
    async fn run_here(&self, context: &Context, to: &Path, path: Option<RelPath>) -> Result<Outcome, Failure> {
        if let Some(option) = self.account.first_given() {
            return Err(Failure::usage(format!("{option} is for accounts; --to writes to a folder of this machine"))
                .hint("leave it out, or say --to-account"));
        }
        let catalogue = context.catalogue()?;
        refuse_store(to, &catalogue.root)?;
        let reader = catalogue.open_for_use(&self.selector).await?;
        let path = path.or_else(|| self.selector.path.clone()).unwrap_or_else(files);
        if reader.record(&path).await?.is_none() {
            return Err(missing(&*reader, &path).await);
        }
        if !self.overwrite {
            refuse_occupied(to)?;
        }
        let job = RestoreJob::new(reader, path);
        if self.dry_run {
            return self.show_plan(context, &job).await;
        }
        let target = LocalTree::new(to);
        let progress = Progress::new(&context.output, to.display().to_string(), "written");
        let restored = job.run(&Rewritten(&target), &progress).await.map_err(|error| Failure::because(&error))?;
        let at_the_end = target.finish().await?;
        drop(progress);

        let report = &restored.report;
        let problems = || report.problems.listed().iter().chain(at_the_end.listed());
        for problem in problems() {
            context.output.event(&json::problem(&restored.id, problem, Paths::Destination));
            if !context.output.is_json() {
                context.output.warn(problem);
            }
        }
        let total = report.problems.total() + at_the_end.total();
        context.output.line(format_args!(
            "restored {} ({}) of {} to {}",
            show::counted(report.files, "file"),
            show::bytes(report.literal_bytes + report.matched_bytes),
            restored.id,
            to.display(),
        ));
        let exit = if total == 0 { Exit::Done } else { Exit::Partial };
        Ok(Outcome::new(
            exit,
            json!({
                "site": restored.id.source().as_str(),
                "id": restored.id.stem(),
                "entries": report.entries,
                "files": report.files,
                "bytes": report.literal_bytes + report.matched_bytes,
                "problems": total,
                "dry_run": false,
            }),
        ))
    }

    async fn show_plan(&self, context: &Context, job: &RestoreJob) -> Result<Outcome, Failure> {
        let plan = job.plan().await.map_err(|error| Failure::because(&error))?;
        context.output.line(&plan);
        for entry in &plan.entries {
            context.output.event(&json::entry("entry", entry, Paths::Destination).into());
        }
        Ok(Outcome::done(json!({
            "site": plan.id.source().as_str(),
            "id": plan.id.stem(),
            "entries": plan.entries.len(),
            "files": plan.files,
            "bytes": plan.bytes,
            "dry_run": true,
        })))
    }
}

/// What a store holds must not change.
fn refuse_store(folder: &Path, store: &Path) -> Result<(), Failure> {
    let (shown, store_shown) = (folder.display(), store.display());
    let real = real_path(folder)?;
    // Any store: this one is not the only one that somebody may need.
    if let Some(around) = store_around(&real).filter(|_| !lies_within(folder, store).unwrap_or(false)) {
        return Err(Failure::guard(format!("{shown} lies in another store, {}", around.display()))
            .hint("name a folder outside of it; a store holds the snapshots and nothing else"));
    }
    if lies_within(folder, store)? {
        return Err(Failure::guard(format!("{shown} lies in the store {store_shown}"))
            .hint("name a folder outside of it; the store holds the snapshots and nothing else"));
    }
    if lies_within(store, folder)? {
        return Err(Failure::guard(format!("{shown} has the store {store_shown} in it, which could be written over"))
            .hint("name a folder beside it, or a new one below"));
    }
    Ok(())
}

/// What is there already is not written over unasked.
fn refuse_occupied(folder: &Path) -> Result<(), Failure> {
    let shown = folder.display();
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::guard(format!("{shown} is not empty"))
            .hint("name a new folder, or say --overwrite to write over what is there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            Err(Failure::failed(format!("{shown} cannot be written to: {error}")).hint("name another folder"))
        }
    }
}
