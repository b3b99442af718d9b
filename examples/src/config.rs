//! [`Config`]: what `clonepanel.toml` says, checked.

mod error;
mod locate;
mod monitor;
mod retention;
mod secret;
mod section;
mod server;
mod site;
mod value;

pub(crate) use error::ConfigError;
pub(crate) use locate::{default_path, locate};
pub(crate) use monitor::{Monitor, Vantage};
pub(crate) use secret::SecretSource;
pub(crate) use server::{Server, Ssh};
pub(crate) use site::{Account, Database, Site, Way};
pub(crate) use value::Rate;

use crate::nearest::nearest;
use clonepanel_core::retention::RetentionPolicy;
use section::{Document, Section};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// A configuration that is larger is not one.
const MAX_LEN: u64 = 4 << 20;

/// The whole configuration.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) path: PathBuf,
    pub(crate) store: PathBuf,
    /// Where what was seen is kept.
    pub(crate) state: PathBuf,
    pub(crate) retention: Option<RetentionPolicy>,
    pub(crate) servers: BTreeMap<String, Server>,
    pub(crate) sites: Vec<Site>,
    /// Sections of commands that this version does not have.
    pub(crate) unused: Vec<&'static str>,
}

impl Config {
    /// Reads and checks a configuration.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let whole = |message: String| ConfigError::new(path, None, message);
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                whole("there is no such configuration".to_owned()).hint("`clonepanel init` writes a commented sample")
            }
            _ => whole(format!("cannot be read: {error}")),
        })?;
        if !metadata.is_file() || metadata.len() > MAX_LEN {
            return Err(whole("is not a configuration: not a file of at most 4 MiB".to_owned()));
        }
        let bytes = fs::read(path).map_err(|error| whole(format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| whole("is not UTF-8 text".to_owned()))?;
        Self::parse(path, text)
    }

    fn parse(path: &Path, text: String) -> Result<Self, ConfigError> {
        let document = Document::new(path.to_owned(), text);
        let mut root = document.root()?;
        let mut unused = Vec::new();

        let Some(mut store) = root.section("store")? else {
            return Err(document.error(0, "there is no [store]").hint("add [store] with path = \"snapshots\""));
        };
        let store_path = store.required::<PathBuf>("path")?;
        store.finish()?;

        let state = match root.section("state")? {
            Some(state) => read_state(state, &mut unused)?,
            None => PathBuf::from("state"),
        };
        if let Some(notify) = root.section("notify")? {
            check_notify(notify)?;
            unused.push("notify");
        }
        let retention = root.section("retention")?;
        let (server_sections, site_sections) = (root.named_sections("server")?, root.named_sections("site")?);
        // A misspelt section first: what it should have held would be missed further down.
        root.finish()?;
        let retention = retention.map(|section| retention::read(section, None)).transpose()?;
        let mut servers = BTreeMap::new();
        for (name, section) in server_sections {
            let server = Server::read(name.value.clone(), section)?;
            servers.insert(name.value, server);
        }
        let mut sites = Vec::new();
        for (name, section) in site_sections {
            sites.push(Site::read(name, section, &servers, retention.as_ref())?);
        }
        let (store, state) = (document.resolve(store_path.value), document.resolve(state));
        Ok(Self { path: path.to_owned(), store, state, retention, servers, sites, unused })
    }

    /// The sites with these names; all when there are none.
    pub(crate) fn select(&self, names: &[String]) -> Result<Vec<&Site>, ConfigError> {
        if names.is_empty() {
            return Ok(self.sites.iter().collect());
        }
        let mut selected: Vec<&Site> = Vec::new();
        for name in names {
            let site = self.sites.iter().find(|site| site.name.as_str() == name).ok_or_else(|| self.unknown(name))?;
            if !selected.iter().any(|chosen| chosen.name == site.name) {
                selected.push(site);
            }
        }
        Ok(selected)
    }

    fn unknown(&self, name: &str) -> ConfigError {
        let shown = clonepanel_core::escape::Escaped(name.as_bytes());
        let error = ConfigError::new(&self.path, None, format!("there is no site `{shown}`"));
        let names = || self.sites.iter().map(|site| site.name.as_str());
        match nearest(name, names()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None if self.sites.is_empty() => error.hint("the configuration has no [site.\"...\"] yet"),
            None => error.hint(format!("sites are: {}", names().collect::<Vec<_>>().join(", "))),
        }
    }
}

fn read_state(mut state: Section<'_>, unused: &mut Vec<&'static str>) -> Result<PathBuf, ConfigError> {
    let path = state.optional::<PathBuf>("path")?.unwrap_or_else(|| "state".into());
    if state.optional::<String>("log")?.is_some() {
        unused.push("state.log");
    }
    state.finish()?;
    Ok(path)
}

fn check_notify(mut notify: Section<'_>) -> Result<(), ConfigError> {
    notify.check::<Vec<String>>("command")?;
    notify.check::<String>("webhook")?;
    notify.finish()
}

#[cfg(test)]
mod tests;
