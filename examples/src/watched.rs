//! [`Watched`]: what a monitor has seen of the sites of the configuration.

use crate::{config::Config, context::Context, failure::Failure};
use clonepanel_core::health::HealthLog as _;
use clonepanel_store::SqliteHealthLog;
use std::path::PathBuf;

/// The log, and which targets of it are asked about.
pub(crate) struct Watched {
    pub(crate) log: SqliteHealthLog,
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
        Ok(Self { log: open(&config)?, site })
    }

    pub(crate) async fn targets(&self) -> Result<Vec<String>, Failure> {
        let mut targets = self.log.targets().await.map_err(|error| Failure::because(&error))?;
        targets.retain(|target| self.site.as_ref().is_none_or(|site| target.starts_with(site)));
        Ok(targets)
    }
}

/// The log of the configuration.
pub(crate) fn open(config: &Config) -> Result<SqliteHealthLog, Failure> {
    SqliteHealthLog::open(place(config)).map_err(|error| Failure::because(&error))
}

fn place(config: &Config) -> PathBuf {
    config.state.join("health")
}
