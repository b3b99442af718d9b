//! The command line.

use crate::command::{
    agent, backup, cat, check, diff, dns, history, init, ls, monitor, prune, replicate, report, restore, snapshots,
    status, verify,
};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Snapshots of web sites on shared hosting accounts, without root.
#[derive(Debug, Parser)]
#[command(
    name = "clonepanel",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Examples:
  clonepanel backup --store /srv/backup alice@alpha.example.net:public_html
  clonepanel snapshots --store /srv/backup
  clonepanel init && clonepanel check && clonepanel backup

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 done in part, 4 refused by a guard."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The configuration [default: $CLONEPANEL_CONFIG, ./clonepanel.toml, ~/.config/clonepanel/clonepanel.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Common options")]
    pub(crate) config: Option<PathBuf>,
    /// The folder that keeps the snapshots, instead of a configuration
    #[arg(long, global = true, value_name = "DIR", help_heading = "Common options")]
    pub(crate) store: Option<PathBuf>,
    /// One JSON object a line on standard output, the last one being the result
    #[arg(long, global = true, help_heading = "Common options")]
    pub(crate) json: bool,
    /// No progress and no remarks
    #[arg(long, short, global = true, help_heading = "Common options")]
    pub(crate) quiet: bool,
}

impl Command {
    /// Whether it hears by itself that it should stop, as that is how it ends.
    pub(crate) fn stops_itself(&self) -> bool {
        matches!(self, Self::Monitor(monitor) if monitor.is_endless())
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Agent(agent::Agent),
    Backup(backup::Backup),
    Cat(cat::Cat),
    Check(check::Check),
    Diff(diff::Diff),
    Dns(dns::Dns),
    History(history::History),
    Init(init::Init),
    Ls(ls::Ls),
    Monitor(monitor::MonitorCommand),
    Prune(prune::Prune),
    Replicate(replicate::Replicate),
    Report(report::Report),
    Restore(restore::Restore),
    Snapshots(snapshots::Snapshots),
    Status(status::Status),
    Verify(verify::Verify),
}
