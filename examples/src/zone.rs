//! [`SiteZone`]: the zone of a site, as its server's WHM has it, as a part of a snapshot.

use crate::failure::chain;
use async_trait::async_trait;
use clonepanel_core::{
    dns::{DnsProvider, DomainName},
    entry::{Entry, EntryMeta, Freshness},
    path::RelPath,
    problem::{Problem, ProblemKind},
    tree::{EntryStream, FileStream, Listed, TreeError, TreeSource},
};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::Mutex;

/// The zone of a site as a tree of one master file. What keeps it from being read is a problem of the snapshot, in which an older one
/// then stands in, and does not keep the files from being backed up.
pub(crate) struct SiteZone {
    provider: Result<Arc<dyn DnsProvider>, String>,
    site: DomainName,
    /// The file that was listed.
    read: Mutex<Option<(RelPath, Vec<u8>)>>,
}

impl SiteZone {
    /// The zone that has the name of the site; `None` when that is no domain.
    pub(crate) fn new(provider: Result<Arc<dyn DnsProvider>, String>, site: &str) -> Option<Self> {
        let site = site.parse().ok()?;
        Some(Self { provider, site, read: Mutex::default() })
    }

    /// Where it stands in a snapshot.
    pub(crate) fn prefix() -> RelPath {
        RelPath::try_from("dns").unwrap_or_default()
    }

    /// The file, or nothing when the server has no zone for the site.
    async fn file(&self) -> Result<Option<(RelPath, Vec<u8>)>, String> {
        let provider = self.provider.as_ref().map_err(Clone::clone)?;
        let zones = provider.zones().await.map_err(|error| chain(&error))?;
        let holding = zones.into_iter().filter(|zone| self.site.is_within(zone) && !zone.is_root());
        let Some(name) = holding.max_by_key(|zone| zone.labels().count()) else { return Ok(None) };
        let zone = provider.read(&name).await.map_err(|error| chain(&error))?;
        let file = format!("{}.zone", name.to_string().trim_end_matches('.'));
        let path = RelPath::try_from(file.as_str()).map_err(|error| error.to_string())?;
        Ok(Some((path, zone.to_string().into_bytes())))
    }
}

#[async_trait]
impl TreeSource for SiteZone {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        let file = self.file().await;
        let mut listed = VecDeque::from([Listed::Entry(Entry::dir(RelPath::root()))]);
        match &file {
            Ok(None) => {}
            Ok(Some((path, text))) => {
                // A zone has no time of its own, and one of today would be another each day; so length and time prove nothing.
                let mut entry =
                    Entry::file(path.clone(), text.len() as u64, clonepanel_core::time::Timestamp::from_secs(0));
                entry.meta = EntryMeta { mode: 0o644, freshness: Freshness::Touched, ..entry.meta };
                listed.push_back(Listed::Entry(entry));
            }
            Err(why) => {
                listed.push_back(Listed::Problem(Problem::new(RelPath::root(), ProblemKind::Unlisted, why.as_str())));
            }
        }
        *self.read.lock().await = file.ok().flatten();
        Ok(Box::new(List(listed)))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        match &*self.read.lock().await {
            Some((listed, text)) if listed == path => Ok(Box::new(Text(Some(text.clone().into())))),
            _ => Err(TreeError::NotFound { path: path.clone() }),
        }
    }
}

struct List(VecDeque<Listed>);

#[async_trait]
impl EntryStream for List {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        Ok(self.0.pop_front())
    }
}

struct Text(Option<bytes::Bytes>);

#[async_trait]
impl FileStream for Text {
    async fn read(&mut self) -> Result<Option<bytes::Bytes>, TreeError> {
        Ok(self.0.take().filter(|text| !text.is_empty()))
    }
}
