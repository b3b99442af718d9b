//! [`Context`]: what a command works with: the output, the configuration, the store.

use crate::{
    cli::Common,
    config::{Config, default_path, locate},
    failure::{Exit, Failure, Outcome},
    nearest::nearest,
    output::Output,
    selector::{Selector, When},
};
use clonepanel_core::{
    retry::Retry,
    snapshot_id::{SnapshotId, SourceName},
    store::{SnapshotInfo, SnapshotReader, SnapshotState, SnapshotStore, StoreError},
    time::{Clock, SystemClock},
};
use clonepanel_store::HardLinkStore;
use serde_json::json;
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// What a command works with.
pub(crate) struct Context {
    pub(crate) output: Arc<Output>,
    given_config: Option<PathBuf>,
    given_store: Option<PathBuf>,
    damaged: Damaged,
    pub(crate) told: Told,
}

/// The snapshots to look at, and what the configuration says about their sites.
pub(crate) struct Catalogue {
    pub(crate) store: Arc<HardLinkStore>,
    pub(crate) root: PathBuf,
    pub(crate) config: Option<Config>,
    output: Arc<Output>,
    damaged: Damaged,
}

/// The snapshots of this run that were told.
pub(crate) type Told = Arc<Mutex<BTreeSet<SnapshotId>>>;

/// What was named as damaged.
type Damaged = Arc<Mutex<BTreeSet<SnapshotId>>>;

impl Context {
    pub(crate) fn new(common: &Common, output: Arc<Output>) -> Result<Self, Failure> {
        if common.config.is_some() && common.store.is_some() {
            return Err(Failure::usage("--config and --store exclude each other")
                .hint("the configuration names its store; --store works without a configuration"));
        }
        let (given_config, given_store) = (common.config.clone(), common.store.clone());
        Ok(Self { output, given_config, given_store, damaged: Damaged::default(), told: Told::default() })
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
        let (output, damaged) = (Arc::clone(&self.output), Arc::clone(&self.damaged));
        Ok(Catalogue { store: Arc::new(store), root, config, output, damaged })
    }

    /// Whether a snapshot of this run was told already.
    pub(crate) fn is_told(&self, id: &SnapshotId) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// How many snapshots were named as damaged.
    pub(crate) fn damaged(&self) -> usize {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What a command did: not all of it when a snapshot had to be left out.
    pub(crate) fn judged(&self, outcome: Outcome) -> Outcome {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.is_empty() || outcome.exit != Exit::Done {
            return outcome;
        }
        let Outcome { mut result, .. } = outcome;
        let named: Vec<_> = damaged.iter().map(|id| json!({ "site": id.source().as_str(), "id": id.stem() })).collect();
        result.insert("left_out".to_owned(), named.into());
        Outcome { exit: Exit::Partial, result }
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

    /// The store, for a job, which goes on beside snapshots that cannot be read: [`Self::snapshots`] names them.
    pub(crate) fn shared_store(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.store.beside_unsound())
    }

    /// The snapshots of a site, oldest first. Those that cannot be read are named and left out.
    pub(crate) async fn snapshots(&self, site: &SourceName) -> Result<Vec<SnapshotInfo>, Failure> {
        let (sound, unsound) = self.store.list_sound(site).await?;
        for (id, why) in unsound {
            self.leave_out(id, &why);
        }
        Ok(sound)
    }

    /// Names a snapshot that cannot be read, once. The command goes on without it.
    pub(crate) fn leave_out(&self, id: SnapshotId, why: &StoreError) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.insert(id.clone()) {
            tell_unsound(&self.output, &id, why);
        }
    }

    /// The snapshot that a selector means.
    pub(crate) async fn select(&self, selector: &Selector) -> Result<SnapshotInfo, Failure> {
        let site = self.site(&selector.site).await?;
        let when = selector.when.as_ref().unwrap_or(&When::Latest);
        if let Some(reader) = self.exact(&site, when).await? {
            return Ok(reader.info().clone());
        }
        let snapshots = self.snapshots(&site).await?;
        Ok(when.choose(site.as_str(), &snapshots, now())?.clone())
    }

    /// Opens the snapshot that a selector means.
    pub(crate) async fn open(&self, selector: &Selector) -> Result<Arc<dyn SnapshotReader>, Failure> {
        let site = self.site(&selector.site).await?;
        let when = selector.when.as_ref().unwrap_or(&When::Latest);
        if let Some(reader) = self.exact(&site, when).await? {
            return Ok(reader);
        }
        let (snapshots, now) = (self.snapshots(&site).await?, now());
        if let When::Id(_) = when {
            return Ok(self.store.open(&when.choose(site.as_str(), &snapshots, now)?.id).await?);
        }
        self.open_sound(snapshots, |snapshots| when.choose(site.as_str(), snapshots, now)).await
    }

    /// Opens the snapshot that is chosen; when it turns out to be damaged, the one that is chosen without it.
    async fn open_sound(
        &self,
        mut snapshots: Vec<SnapshotInfo>,
        choose: impl Fn(&[SnapshotInfo]) -> Result<&SnapshotInfo, Failure>,
    ) -> Result<Arc<dyn SnapshotReader>, Failure> {
        loop {
            let id = choose(&snapshots)?.id.clone();
            match self.store.open(&id).await {
                Ok(reader) => return Ok(reader),
                // It was deleted meanwhile.
                Err(StoreError::NotFound { .. }) => {}
                Err(error) if error.retry() == Retry::Never => self.leave_out(id.clone(), &error),
                Err(error) => return Err(error.into()),
            }
            snapshots.retain(|info| info.id != id);
        }
    }

    /// Opens the snapshot that is named in full, whatever the others are like.
    async fn exact(&self, site: &SourceName, when: &When) -> Result<Option<Arc<dyn SnapshotReader>>, Failure> {
        let When::Id(stem) = when else { return Ok(None) };
        let Ok(id) = SnapshotId::parse_stem(site.clone(), stem) else { return Ok(None) };
        match self.store.open(&id).await {
            Ok(reader) => Ok(Some(reader)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the snapshot that a selector means for a restore: the newest complete one unless another is asked for. Says so
    /// when a newer one is passed over, and when it is not a complete one.
    pub(crate) async fn open_for_use(&self, selector: &Selector) -> Result<Arc<dyn SnapshotReader>, Failure> {
        let reader = match selector.when {
            None | Some(When::Latest) => self.newest_complete(&selector.site).await?,
            _ => self.open(selector).await?,
        };
        let info = reader.info();
        if info.state() != SnapshotState::Complete {
            self.output.note(format_args!(
                "{} is {}; `clonepanel snapshots {}@{} --problems` says why",
                info.id,
                info.state().word(),
                info.id.source(),
                info.id.stem()
            ));
        }
        Ok(reader)
    }

    /// The newest complete snapshot; the newest one when none is complete.
    async fn newest_complete(&self, site: &str) -> Result<Arc<dyn SnapshotReader>, Failure> {
        let site = self.site(site).await?;
        let snapshots = self.snapshots(&site).await?;
        let newest = When::Latest.choose(site.as_str(), &snapshots, now())?.clone();
        let reader = self
            .open_sound(snapshots, |snapshots| {
                let complete = snapshots.iter().rfind(|info| info.state() == SnapshotState::Complete);
                complete.map_or_else(|| When::Latest.choose(site.as_str(), snapshots, now()), Ok)
            })
            .await?;
        let id = &reader.info().id;
        if *id != newest.id && newest.state() != SnapshotState::Complete {
            self.output.note(format_args!(
                "{id} is taken, the newest complete snapshot; {} is newer and {}: say {site}@{} for that one",
                newest.id,
                newest.state().word(),
                newest.id.stem()
            ));
        }
        Ok(reader)
    }
}

/// Names a snapshot that a command goes on without.
pub(crate) fn tell_unsound(output: &Output, id: &SnapshotId, why: &StoreError) {
    let (event, detail) = match why {
        StoreError::Damaged { .. } => ("damaged", "its manifest is damaged".to_owned()),
        other => ("unreadable", format!("its manifest cannot be read: {}", Failure::because(other).message)),
    };
    output.warn(format_args!("{id}: {detail}; going on without it"));
    let (site, stem) = (id.source().as_str(), id.stem());
    output.event(&json!({ "event": event, "site": site, "id": stem, "path": null, "detail": detail }));
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
