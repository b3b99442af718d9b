//! `clonepanel status`: how things are now.

use super::report::percent;
use crate::{
    context::{self, Context},
    failure::{Exit, Failure, Outcome},
    output::show,
    watched::Watched,
};
use clap::Args;
use clonepanel_core::{escape::Escaped, health::State, store::SnapshotState};
use serde_json::json;
use std::time::Duration;

/// What the state of each target is judged by, beside the last day's.
const DAY: Duration = Duration::from_hours(24);

/// Say how the sites are now: what is up or down and since when, and how old the newest backup is
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel status
  clonepanel status example.org --json")]
pub(crate) struct Status {
    /// Only this site
    #[arg(value_name = "SITE")]
    site: Option<String>,
}

impl Status {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let watched = Watched::of(context, self.site.as_deref())?;
        let (now, output) = (context::now(), &context.output);
        let mut counts = [0_u64; 5];
        for target in watched.targets().await? {
            let told = watched.summary(&target, now.before(DAY), now).await?;
            let (state, since, cause) = told.last.clone().unwrap_or((State::Unknown, now, String::new()));
            counts[state as usize] += 1;
            let median = told.latencies.quantile(0.5).map(|latency| latency.as_secs_f64());
            output.event(&json!({
                "event": "target", "target": target, "state": state.word(), "since": since.to_string(), "cause": cause,
                "availability_24h": told.availability(), "coverage_24h": told.coverage(), "median_24h": median,
            }));
            let day = told.availability().map_or_else(|| "-".to_owned(), percent);
            let median = median.map_or_else(|| "-".to_owned(), |seconds| format!("{:.0} ms", seconds * 1000.0));
            let cause = if cause.is_empty() { String::new() } else { format!("  {}", Escaped(cause.as_bytes())) };
            output.line(format_args!(
                "{:<10} {}  since {}; a day: {day}, {median}{cause}",
                state.word(),
                Escaped(target.as_bytes()),
                show::moment(since),
            ));
        }
        let backups = self.tell_backups(context).await?;
        let [unknown, up, failing, down, recovering] = counts;
        Ok(Outcome::new(
            Exit::Done,
            json!({
                "up": up, "failing": failing, "down": down, "recovering": recovering, "unknown": unknown, "backups": backups,
            }),
        ))
    }

    async fn tell_backups(&self, context: &Context) -> Result<u64, Failure> {
        let config = context.config()?;
        let sites = config.select(self.site.as_slice())?;
        let catalogue = context.catalogue().ok();
        let now = context::now();
        let mut backups = 0;
        for site in sites {
            let name = site.name.as_str();
            let snapshots = match &catalogue {
                Some(catalogue) => catalogue.snapshots(&site.name).await.unwrap_or_default(),
                None => Vec::new(),
            };
            let good =
                snapshots.iter().filter(|info| info.state() == SnapshotState::Complete).map(|info| &info.id).max();
            let newest = good.map(|id| id.time());
            backups += u64::from(newest.is_some());
            context
                .output
                .event(&json!({ "event": "backup", "site": name, "newest_good": newest.map(|time| time.to_string()) }));
            context.output.line(match newest {
                Some(time) => format!("{:<10} {name}  {}", "backup", show::age(time, now)),
                None => format!("{:<10} {name}  no good one yet", "backup"),
            });
        }
        Ok(backups)
    }
}
