//! `clonepanel snapshots`: the list.

use crate::{
    context::{Catalogue, Context, now},
    failure::{Failure, Outcome},
    output::{
        json, show,
        table::{Align, Table},
    },
    selector::{Selector, SelectorParser, shown},
};
use clap::Args;
use clonepanel_core::store::SnapshotInfo;
use serde_json::json;

/// List snapshots: id, state, age, files, size, new bytes, problems
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel snapshots
  clonepanel snapshots example.org
  clonepanel snapshots example.org@latest --problems
  clonepanel snapshots --store /srv/backup --json")]
pub(crate) struct Snapshots {
    /// Only this site, or only this snapshot of it
    #[arg(value_name = "SITE[@WHEN]", value_parser = SelectorParser)]
    selector: Option<Selector>,
    /// Each problem and each suspicion too
    #[arg(long)]
    problems: bool,
}

impl Snapshots {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let catalogue = context.catalogue()?;
        let snapshots = self.list(&catalogue).await?;
        let now = now();
        if snapshots.is_empty() {
            context.output.line("no snapshots yet; `clonepanel backup` makes one");
        } else if !context.output.is_json() {
            for line in table(&snapshots, now).lines() {
                context.output.line(line);
            }
        }
        for info in &snapshots {
            context.output.event(&json::snapshot(info));
            if self.problems {
                self.list_problems(context, info);
            }
        }
        Ok(Outcome::done(json!({ "snapshots": snapshots.len() })))
    }

    async fn list(&self, catalogue: &Catalogue) -> Result<Vec<SnapshotInfo>, Failure> {
        match &self.selector {
            Some(selector) if selector.path.is_some() => {
                Err(Failure::usage("snapshots takes no path").hint("`clonepanel history SITE:PATH` follows one path"))
            }
            Some(selector) if selector.when.is_some() => Ok(vec![catalogue.select(selector).await?]),
            chosen => {
                let names: Vec<_> = chosen.iter().map(|selector| selector.site.clone()).collect();
                let mut snapshots = Vec::new();
                for site in catalogue.sites(&names).await? {
                    snapshots.extend(catalogue.snapshots(&site).await?);
                }
                Ok(snapshots)
            }
        }
    }

    fn list_problems(&self, context: &Context, info: &SnapshotInfo) {
        for suspicion in &info.suspicions {
            context.output.line(format_args!("{}: {suspicion}", info.id));
        }
        for problem in info.problems.listed() {
            let detail = if problem.detail().is_empty() { String::new() } else { format!(": {}", problem.detail()) };
            context.output.line(format_args!("{}: {}: {}{detail}", info.id, shown(&problem.path), problem.kind.word()));
            context.output.event(&json::problem(&info.id, problem, json::Paths::Snapshot));
        }
        let unlisted = info.problems.total() - info.problems.listed().len() as u64;
        if unlisted > 0 {
            context.output.line(format_args!("{}: and {} that were only counted", info.id, show::count(unlisted)));
        }
    }
}

fn table(snapshots: &[SnapshotInfo], now: clonepanel_core::time::Timestamp) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("SITE", Left),
        ("ID", Left),
        ("STATE", Left),
        ("AGE", Left),
        ("FILES", Right),
        ("SIZE", Right),
        ("NEW", Right),
        ("PROBLEMS", Right),
    ]);
    for info in snapshots {
        table.row(&[
            &info.id.source(),
            &info.id.stem(),
            &show::state(info.state()),
            &show::age(info.begun, now),
            &show::count(info.tally.files),
            &show::bytes(info.tally.bytes),
            &show::bytes(info.tally.new_bytes),
            &show::count(info.problems.total() + info.suspicions.len() as u64),
        ]);
    }
    table
}
