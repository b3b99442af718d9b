//! `clonepanel dns`: a zone on the WHM servers of the configuration.

mod apply;
mod desired;
mod servers;
mod show;
mod verify;

use crate::{
    context::Context,
    failure::{Failure, Outcome},
};
use clap::{Args, Subcommand};
use clonepanel_core::dns::DomainName;
use desired::{Desired, Wanted};
pub(crate) use servers::zones_of;
use std::time::Duration;

/// Show, plan and change a zone on every WHM server of the configuration
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel dns show example.org
  clonepanel dns show example.org --server alpha > example.org.zone
  clonepanel dns plan example.org example.org.zone
  clonepanel dns apply example.org example.org.zone --yes
  clonepanel dns apply example.org --from alpha
  clonepanel dns verify example.org

Every server has a copy of its own; copies are compared by content, never by serial numbers, and the
SOA and records of types that are not understood stay as each server has them. Records by which
certificate authorities know a name are never removed, and every copy gets those of all. A plan that
is dangerous (the name servers at the top, the last address of a name, many records at once) is
refused unless --reason says why it is right. Each server is read again after it was changed.")]
pub(crate) struct Dns {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The zone as each server has it, and where they differ
    Show {
        #[command(flatten)]
        copies: Copies,
    },
    /// What would change on each server
    Plan {
        #[command(flatten)]
        copies: Copies,
        #[command(flatten)]
        desired: Desired,
    },
    /// Change it, after the plan and a yes
    Apply {
        #[command(flatten)]
        copies: Copies,
        #[command(flatten)]
        desired: Desired,
        /// Write without asking
        #[arg(long, short = 'y')]
        yes: bool,
        /// Why a dangerous plan is right
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Ask every authoritative name server directly, over UDP and TCP
    Verify {
        #[command(flatten)]
        copies: Copies,
        #[command(flatten)]
        wanted: Wanted,
        /// How long the name servers have to answer as they should
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
        wait: Duration,
    },
}

/// Which zone, and where.
#[derive(Debug, Args)]
struct Copies {
    /// The name of the zone
    #[arg(value_name = "ZONE")]
    zone: DomainName,
    /// Only this server; may be given several times
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,
}

impl Dns {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        if context.given_store().is_some() {
            return Err(Failure::usage("dns needs a configuration, which names the servers, and no store"));
        }
        let config = context.config()?;
        match &self.action {
            Action::Show { copies } => show::run(context, &config, copies).await,
            Action::Plan { copies, desired } => apply::plan(context, &config, copies, desired).await,
            Action::Verify { copies, wanted, wait } => verify::run(context, &config, copies, wanted, *wait).await,
            Action::Apply { copies, desired, yes, reason } => {
                apply::apply(context, &config, copies, desired, *yes, reason.as_deref()).await
            }
        }
    }
}
