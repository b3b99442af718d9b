//! `clonepanel report`: how reliable the sites have been.

use crate::{
    context::{self, Context},
    failure::{Exit, Failure, Outcome},
    output::show,
    watched::Watched,
};
use clap::Args;
use clonepanel_core::{
    escape::Escaped,
    health::{HealthSummary, Outage},
    time::Timestamp,
};
use serde_json::json;
use std::time::Duration;

/// Say how reliable the sites have been: uptime, outages, response times
///
/// Time in which nobody looked is no part of the uptime; how much of the time is known is told beside it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel report
  clonepanel report example.org --since 7d
  clonepanel report --promised 99.9      compare with what the host promises")]
pub(crate) struct Report {
    /// Only this site
    #[arg(value_name = "SITE")]
    site: Option<String>,
    /// So far back
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = humantime::parse_duration)]
    since: Duration,
    /// The uptime that was promised, in percent
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    promised: Option<f64>,
}

fn parse_percent(text: &str) -> Result<f64, String> {
    let percent: f64 = text.trim_end_matches('%').parse().map_err(|_| "it is no number of percent".to_owned())?;
    if (0.0..=100.0).contains(&percent) { Ok(percent) } else { Err("it is not from 0 to 100".to_owned()) }
}

impl Report {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let watched = Watched::of(context, self.site.as_deref())?;
        let (to, output) = (context::now(), &context.output);
        let from = to.before(self.since);
        output.line(format_args!("from {} to {} UTC", show::moment(from), show::moment(to)));
        let mut missed = 0_u64;
        let targets = watched.targets().await?;
        for target in &targets {
            let told = watched.summary(target, from, to).await?;
            missed += u64::from(self.tell(context, target, &told));
        }
        if targets.is_empty() {
            output.line("nothing was watched yet: `clonepanel monitor` does");
        }
        let (from, to) = (from.to_string(), to.to_string());
        Ok(Outcome::new(Exit::Done, json!({ "from": from, "to": to, "targets": targets.len(), "missed": missed })))
    }

    /// Whether the promise was not kept.
    fn tell(&self, context: &Context, target: &str, told: &HealthSummary) -> bool {
        let output = &context.output;
        let quantile = |share| told.latencies.quantile(share).map(|latency| latency.as_secs_f64());
        let outages: Vec<_> = told.outages.iter().map(|outage| {
            json!({ "from": outage.from.to_string(), "seconds": outage.lasting.as_secs_f64(), "cause": outage.cause, "is_over": outage.is_over })
        }).collect();
        let shortfall = self.promised.and_then(|percent| shortfall(told, percent));
        output.event(&json!({
            "event": "target", "target": target, "availability": told.availability(), "coverage": told.coverage(),
            "up": told.up.as_secs_f64(), "unwell": told.unwell.as_secs_f64(), "down": told.down.as_secs_f64(),
            "unknown": told.unknown.as_secs_f64(), "outages": outages, "looks": told.looks, "failures": told.failures,
            "p50": quantile(0.5), "p95": quantile(0.95), "p99": quantile(0.99),
            "promised": self.promised, "shortfall": shortfall.map(|seconds| seconds.max(0.0)),
        }));
        let shown = Escaped(target.as_bytes());
        let Some(availability) = told.availability() else {
            output.line(format_args!("\n{shown}\n  nothing is known"));
            return false;
        };
        output.line(format_args!(
            "\n{shown}\n  uptime     {} ({} down; {} of the time is known)",
            percent(availability),
            span(told.down),
            percent(told.coverage()),
        ));
        if let Some(seconds) = shortfall {
            let allowed = if seconds > 0.0 { "missed by" } else { "kept, with" };
            let left = if seconds > 0.0 { "" } else { " to spare" };
            let seconds = span(Duration::from_secs_f64(seconds.abs()));
            output
                .line(format_args!("  promised   {} %: {allowed} {seconds}{left}", self.promised.unwrap_or_default()));
        }
        let millis =
            |share| quantile(share).map_or_else(|| "-".to_owned(), |seconds| format!("{:.0} ms", seconds * 1000.0));
        output.line(format_args!(
            "  answers    {} in the middle, {} for 95 of 100, {} for 99 of 100; {}, {}",
            millis(0.5),
            millis(0.95),
            millis(0.99),
            show::counted(told.looks, "look"),
            show::counted(told.failures, "failure"),
        ));
        for outage in &told.outages {
            output.line(format_args!("  down       {}", outage_line(outage)));
        }
        shortfall.is_some_and(|seconds| seconds > 0.0)
    }
}

/// By how many seconds of the known time a promise was missed; below zero when it was kept.
fn shortfall(told: &HealthSummary, percent: f64) -> Option<f64> {
    let known = (told.up + told.unwell + told.down).as_secs_f64();
    (known > 0.0).then(|| told.down.as_secs_f64() - known * (100.0 - percent) / 100.0)
}

fn outage_line(outage: &Outage) -> String {
    let from: Timestamp = outage.from;
    let end = if outage.is_over { "" } else { ", and not seen to end" };
    let cause = Escaped(outage.cause.as_bytes());
    format!("{} for {}{end}: {cause}", show::moment(from), span(outage.lasting))
}

/// Rounded down, so that nobody reads 100 % after an outage.
pub(crate) fn percent(share: f64) -> String {
    let percent = (share * 100_000.0).floor() / 1000.0;
    if (share - 1.0).abs() < f64::EPSILON { "100 %".to_owned() } else { format!("{percent:.3} %") }
}

/// `2 h 5 min`: the two largest parts.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(parts.len() - 1);
    let parts: Vec<_> = parts.iter().skip(first).take(2).filter(|(count, _)| *count > 0).collect();
    match parts.is_empty() {
        true => "0 s".to_owned(),
        false => parts.iter().map(|(count, unit)| format!("{count} {unit}")).collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_rounded_up() {
        assert_eq!(
            (percent(1.0), percent(0.999_999_9), percent(0.5)),
            ("100 %".to_owned(), "99.999 %".to_owned(), "50.000 %".to_owned())
        );
        let told = |seconds| span(Duration::from_secs(seconds));
        assert_eq!((told(0), told(59), told(3600)), ("0 s".to_owned(), "59 s".to_owned(), "1 h".to_owned()));
        assert_eq!((told(7505), told(90_061)), ("2 h 5 min".to_owned(), "1 d 1 h".to_owned()));
    }
}
