//! [`Watched`]: what a monitor has seen of the sites of the configuration.

use crate::{config::Config, context::Context, failure::Failure};
use clonepanel_core::{
    health::{HealthLog as _, HealthSummary},
    time::Timestamp,
};
use clonepanel_store::SqliteHealthLog;
use std::path::PathBuf;

/// The log, and which targets of it are asked about.
pub(crate) struct Watched {
    /// `None` when nobody has watched yet: looking at it makes no files.
    log: Option<SqliteHealthLog>,
    /// What the names of targets of a site begin with.
    site: Option<String>,
}

impl Watched {
    pub(crate) fn of(context: &Context, site: Option<&str>) -> Result<Self, Failure> {
        let config = context.config()?;
        let site = match site {
            Some(name) => config.select(&[name.to_owned()])?.first().map(|site| format!("{} ", site.name)),
            None => None,
        };
        let log = if place(&config).exists() { Some(open(&config)?) } else { None };
        Ok(Self { log, site })
    }

    pub(crate) async fn targets(&self) -> Result<Vec<String>, Failure> {
        let Some(log) = &self.log else { return Ok(Vec::new()) };
        let mut targets = log.targets().await.map_err(|error| Failure::because(&error))?;
        targets.retain(|target| self.site.as_ref().is_none_or(|site| target.starts_with(site)));
        Ok(targets)
    }

    pub(crate) async fn summary(&self, target: &str, from: Timestamp, to: Timestamp) -> Result<HealthSummary, Failure> {
        match &self.log {
            Some(log) => log.summary(target, from, to).await.map_err(|error| Failure::because(&error)),
            None => Ok(HealthSummary::default()),
        }
    }
}

/// The log of the configuration.
pub(crate) fn open(config: &Config) -> Result<SqliteHealthLog, Failure> {
    SqliteHealthLog::open(place(config)).map_err(|error| Failure::because(&error))
}

fn place(config: &Config) -> PathBuf {
    config.state.join("health")
}
