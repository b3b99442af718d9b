//! [`Context`]: what a command works with: the output, the configuration, the store.

use crate::{
    cli::Common,
    config::{Config, default_path, locate},
    failure::Failure,
    nearest::nearest,
    output::Output,
    selector::{Selector, When},
};
use clonepanel_core::{
    snapshot_id::SourceName,
    store::{SnapshotInfo, SnapshotReader, SnapshotStore},
    time::{Clock, SystemClock},
};
use clonepanel_store::HardLinkStore;
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

/// What a command works with.
pub(crate) struct Context {
    pub(crate) output: Arc<Output>,
    given_config: Option<PathBuf>,
    given_store: Option<PathBuf>,
}

/// The snapshots to look at, and what the configuration says about their sites.
pub(crate) struct Catalogue {
    pub(crate) store: Arc<dyn SnapshotStore>,
    pub(crate) config: Option<Config>,
    output: Arc<Output>,
}

impl Context {
    pub(crate) fn new(common: &Common, output: Arc<Output>) -> Result<Self, Failure> {
        if common.config.is_some() && common.store.is_some() {
            return Err(Failure::usage("--config and --store exclude each other")
                .hint("the configuration names its store; --store works without a configuration"));
        }
        Ok(Self { output, given_config: common.config.clone(), given_store: common.store.clone() })
    }

    /// The store that was named on the command line.
    pub(crate) fn given_store(&self) -> Option<&PathBuf> {
        self.given_store.as_ref()
    }

    /// Where the configuration is.
    pub(crate) fn config_path(&self) -> Result<PathBuf, Failure> {
        locate(self.given_config.as_deref()).ok_or_else(|| {
            let also = default_path().map(|path| format!(" nor {}", path.display())).unwrap_or_default();
            Failure::usage(format!("there is no configuration: neither ./clonepanel.toml{also}"))
                .hint("`clonepanel init` writes a sample; or name a store with --store DIR")
        })
    }

    /// Reads the configuration.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        Ok(Config::load(&self.config_path()?)?)
    }

    /// Opens the store, which must exist.
    pub(crate) fn catalogue(&self) -> Result<Catalogue, Failure> {
        let (root, config) = match &self.given_store {
            Some(root) => (root.clone(), None),
            None => {
                let config = self.config()?;
                (config.store.clone(), Some(config))
            }
        };
        if !root.exists() {
            return Err(Failure::failed(format!("there is no store at {} yet", root.display()))
                .hint("the first `clonepanel backup` creates it"));
        }
        let store = HardLinkStore::open(&root).map_err(|error| Failure::from(error).within(root.display()))?;
        Ok(Catalogue { store: Arc::new(store), config, output: Arc::clone(&self.output) })
    }
}

impl Catalogue {
    /// The sites with these names; all that have snapshots or are configured when there are none.
    pub(crate) async fn sites(&self, names: &[String]) -> Result<Vec<SourceName>, Failure> {
        let known = self.known().await?;
        if names.is_empty() {
            return Ok(known.into_iter().collect());
        }
        names.iter().map(|name| find(&known, name)).collect()
    }

    /// The site with this name.
    pub(crate) async fn site(&self, name: &str) -> Result<SourceName, Failure> {
        find(&self.known().await?, name)
    }

    async fn known(&self) -> Result<BTreeSet<SourceName>, Failure> {
        let mut known: BTreeSet<SourceName> = self.store.sources().await?.into_iter().collect();
        if let Some(config) = &self.config {
            known.extend(config.sites.iter().map(|site| site.name.clone()));
        }
        Ok(known)
    }

    /// The snapshots of a site, oldest first.
    pub(crate) async fn snapshots(&self, site: &SourceName) -> Result<Vec<SnapshotInfo>, Failure> {
        Ok(self.store.list(site).await?)
    }

    /// The snapshot that a selector means.
    pub(crate) async fn select(&self, selector: &Selector) -> Result<SnapshotInfo, Failure> {
        let site = self.site(&selector.site).await?;
        let snapshots = self.snapshots(&site).await?;
        let when = selector.when.as_ref().unwrap_or(&When::Latest);
        Ok(when.choose(site.as_str(), &snapshots, now())?.clone())
    }

    /// Opens the snapshot that a selector means.
    pub(crate) async fn open(&self, selector: &Selector) -> Result<Arc<dyn SnapshotReader>, Failure> {
        let info = self.select(selector).await?;
        Ok(self.store.open(&info.id).await?)
    }

    /// Opens the snapshot that a selector means, and says so when it is not a complete one.
    pub(crate) async fn open_for_use(&self, selector: &Selector) -> Result<Arc<dyn SnapshotReader>, Failure> {
        let reader = self.open(selector).await?;
        let info = reader.info();
        if info.state() != clonepanel_core::store::SnapshotState::Complete {
            self.output.note(format_args!(
                "{} is {}; `clonepanel snapshots {} --problems` says why",
                info.id,
                info.state().word(),
                info.id.source()
            ));
        }
        Ok(reader)
    }
}

/// The time.
pub(crate) fn now() -> clonepanel_core::time::Timestamp {
    SystemClock.now()
}

fn find(known: &BTreeSet<SourceName>, name: &str) -> Result<SourceName, Failure> {
    if let Some(site) = known.iter().find(|site| site.as_str() == name) {
        return Ok(site.clone());
    }
    let shown = clonepanel_core::escape::Escaped(name.as_bytes());
    let failure = Failure::usage(format!("there is no site `{shown}`"));
    let mut names = known.iter().map(SourceName::as_str);
    Err(match nearest(name, known.iter().map(SourceName::as_str)) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => failure.hint("the store is empty: `clonepanel backup` makes the first snapshot"),
        None if known.len() <= 20 => {
            let listed = names.by_ref().collect::<Vec<_>>().join(", ");
            failure.hint(format!("sites are: {listed}"))
        }
        None => failure.hint("`clonepanel snapshots` lists the sites"),
    })
}
