//! `clonepanel check`: tries everything that the configuration names.

mod account;
mod local;
mod report;

use crate::{
    context::Context,
    failure::{Exit, Failure, Outcome},
};
use clap::Args;
use report::Report;
use serde_json::json;
use std::collections::BTreeSet;

/// Try everything that the configuration names: one line each, with what to do about it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel check
  clonepanel check example.org
  clonepanel check --json | jq 'select(.verdict == \"bad\")'

Tried are: the store, keys and secrets, the ssh login with its host key, the rsync at the far end,
the paths and databases there, and the WHM of each server. Nothing is written anywhere.")]
pub(crate) struct Check {
    /// Only these sites
    #[arg(value_name = "SITE")]
    sites: Vec<String>,
}

impl Check {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        if context.given_store().is_some() {
            return Err(Failure::usage("check tries a configuration, not a store")
                .hint("`clonepanel verify --store DIR` reads what a store holds"));
        }
        let config = context.config()?;
        let sites = config.select(&self.sites)?;
        let mut report = Report::new(&context.output);

        report.good("configuration", format!("{} is understood", config.path.display()));
        local::check_store(&config, &mut report);
        let accounts: Vec<_> = sites
            .iter()
            .flat_map(|site| {
                [Some(&site.primary), site.spare.as_ref()].into_iter().flatten().map(move |account| (*site, account))
            })
            .collect();
        let used: BTreeSet<_> = accounts.iter().map(|(_, account)| account.server.as_str()).collect();
        for server in used.iter().filter_map(|name| config.servers.get(*name)) {
            local::check_server(server, &mut report);
            Box::pin(local::check_whm(server, &mut report)).await;
        }
        for (site, account) in accounts {
            let Some(server) = config.servers.get(&account.server) else { continue };
            account::check(site.name.as_str(), server, account, &mut report).await;
        }
        for site in &sites {
            for section in &site.unused {
                report.unchecked(site.name.as_str(), format!("[{section}]: this version does not have it"));
            }
            if site.retention.is_none() {
                report.unchecked(site.name.as_str(), "no [retention]: `clonepanel prune` will refuse".to_owned());
            }
        }
        for section in &config.unused {
            report.unchecked("configuration", format!("[{section}]: this version does not have it"));
        }
        let (good, bad, unchecked) = report.totals();
        context.output.line(format_args!("{good} good, {bad} bad, {unchecked} not checked"));
        let exit = if bad == 0 { Exit::Done } else { Exit::Failed };
        Ok(Outcome::new(exit, json!({ "good": good, "bad": bad, "not_checked": unchecked })))
    }
}
