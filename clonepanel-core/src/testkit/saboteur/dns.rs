//! [`DnsSaboteur`]: providers that break one rule.

use super::rules;
use crate::{
    dns::{
        Capabilities, Change, DnsError, DnsProvider, DomainName, RecordData, RecordSet, RecordType, Revision, Strings,
        Zone, ZonePlan,
    },
    memory::MemoryDns,
    testkit::{dns::DnsFixture, gate::yield_once},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard};

rules! {
    /// A rule of [`DnsProvider`].
    DnsRule: D1 D2 D3 D4 D5 D6 D7 D8 D9 D10 D11
}

const ENDPOINT: &str = "saboteur";

/// So that there is something to refuse.
fn capabilities() -> Capabilities {
    Capabilities::new().min_ttl_secs(30).without(RecordType::PTR)
}

/// A provider in memory that breaks one rule and keeps the others; its own fixture.
#[derive(Debug, Clone)]
pub struct DnsSaboteur {
    breaks: Option<DnsRule>,
    zones: MemoryDns,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    /// What the last plan that was applied led to.
    applied: Option<Revision>,
    /// The zone that was read last, if nothing was written since.
    read: Option<DomainName>,
}

impl DnsSaboteur {
    /// A provider that breaks `rule`.
    #[must_use]
    pub fn new(rule: DnsRule) -> Self {
        let zones = if rule == DnsRule::D5 { MemoryDns::new() } else { Self::honest().zones };
        Self { breaks: Some(rule), zones, memory: Arc::default() }
    }

    /// A provider that breaks none.
    #[must_use]
    pub fn honest() -> Self {
        Self { breaks: None, zones: MemoryDns::new().with_capabilities(capabilities()), memory: Arc::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no panic")
    }

    fn conflict(zone: &DomainName) -> DnsError {
        DnsError::Conflict { endpoint: ENDPOINT.to_owned(), zone: zone.clone() }
    }

    fn present(&self, zone: &DomainName) -> Result<Zone, DnsError> {
        let absent = || DnsError::NotFound { endpoint: ENDPOINT.to_owned(), zone: zone.clone() };
        self.zones.zone(zone).ok_or_else(absent)
    }

    /// Puts `wanted` in the place of whatever is there, planned again from what is there.
    async fn overwrite(&self, wanted: &Zone) -> Result<Revision, DnsError> {
        let now = self.present(wanted.name())?;
        let again = ZonePlan::between(&now, wanted).expect("one zone");
        self.zones.apply(&again).await
    }
}

#[async_trait]
impl DnsFixture for DnsSaboteur {
    async fn place(&self, zone: &Zone) {
        self.memory().read = None;
        self.zones.place(zone);
    }

    async fn provider(&self) -> Arc<dyn DnsProvider> {
        Arc::new(self.clone())
    }

    async fn far(&self, name: &DomainName) -> Option<Zone> {
        self.zones.zone(name)
    }
}

#[async_trait]
impl DnsProvider for DnsSaboteur {
    fn endpoint(&self) -> &str {
        ENDPOINT
    }

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    async fn zones(&self) -> Result<Vec<DomainName>, DnsError> {
        let mut zones = self.zones.zones().await?;
        if self.breaks == Some(DnsRule::D8) {
            zones.pop();
        }
        Ok(zones)
    }

    async fn read(&self, zone: &DomainName) -> Result<Zone, DnsError> {
        match (self.breaks, self.present(zone)) {
            (Some(DnsRule::D6), Err(DnsError::NotFound { .. })) => Ok(Zone::new(zone.clone(), Revision::new("0"))),
            (Some(DnsRule::D9), Ok(zone)) => Ok(read_as_text(&zone)),
            // The second time in a row, something is tidied up.
            (Some(DnsRule::D11), Ok(zone)) => {
                if self.memory().read.replace(zone.name().clone()).as_ref() == Some(zone.name()) {
                    self.zones.place(&zone);
                }
                self.present(zone.name())
            }
            (_, answer) => answer,
        }
    }

    async fn apply(&self, plan: &ZonePlan) -> Result<Revision, DnsError> {
        match self.breaks {
            // The revision that it came from.
            Some(DnsRule::D1) => self.zones.apply(plan).await.map(|_| plan.base().clone()),
            // What others have written in between is overwritten.
            Some(DnsRule::D2) => {
                let now = self.present(plan.zone())?;
                let theirs = now.revision() != plan.base() && self.memory().applied.as_ref() != Some(now.revision());
                let revision = if theirs { self.overwrite(plan.after()).await } else { self.zones.apply(plan).await }?;
                self.memory().applied = Some(revision.clone());
                Ok(revision)
            }
            Some(DnsRule::D3) if plan.is_empty() => Ok(self.zones.place(&self.present(plan.zone())?)),
            Some(DnsRule::D4) if !plan.is_empty() => {
                self.zones.apply(plan).await?;
                let mut now = self.present(plan.zone())?;
                let unread = now.sets().filter(|set| !set.is_managed() && set.record_type() != RecordType::SOA);
                let unread: Vec<_> = unread.map(|set| set.key().clone()).collect();
                unread.iter().for_each(|key| drop(now.remove(key)));
                Ok(self.zones.place(&now))
            }
            Some(DnsRule::D7) => self.one_by_one(plan).await,
            // Looks first, and writes later.
            Some(DnsRule::D10) => {
                if self.present(plan.zone())?.revision() != plan.base() {
                    return Err(Self::conflict(plan.zone()));
                }
                if plan.is_empty() {
                    return Ok(plan.base().clone());
                }
                yield_once().await;
                self.overwrite(plan.after()).await
            }
            Some(DnsRule::D11) => {
                self.memory().read = None;
                self.zones.apply(plan).await
            }
            _ => self.zones.apply(plan).await,
        }
    }
}

impl DnsSaboteur {
    async fn one_by_one(&self, plan: &ZonePlan) -> Result<Revision, DnsError> {
        let mut now = self.present(plan.zone())?;
        if let Some(detail) = capabilities().obstacle(plan) {
            return Err(DnsError::Unsupported { endpoint: ENDPOINT.to_owned(), detail });
        }
        if now.revision() != plan.base() {
            return Err(Self::conflict(plan.zone()));
        }
        let mut revision = plan.base().clone();
        for change in plan.changes() {
            match change {
                Change::Remove(set) => drop(now.remove(set.key())),
                Change::Add(to) | Change::Replace { to, .. } => drop(now.insert(to.clone()).expect("within the zone")),
            }
            revision = self.zones.place(&now);
            yield_once().await;
        }
        Ok(revision)
    }
}

/// What is not UTF-8 is replaced.
fn read_as_text(zone: &Zone) -> Zone {
    let mut read = zone.clone();
    for set in zone.sets() {
        let data = set.data().iter().map(|data| match data {
            RecordData::Txt(strings) => {
                let lossy = |string: &Bytes| String::from_utf8_lossy(string).replace('\u{fffd}', "?");
                RecordData::Txt(Strings::from_strings(strings.iter().map(lossy)).expect("it became no longer"))
            }
            data => data.clone(),
        });
        let set = RecordSet::new(set.name().clone(), set.ttl_secs(), data).expect("a set");
        read.insert(set).expect("a name within the zone");
    }
    read
}
