//! [`MemoryDns`]: zones in memory.

use super::lock;
use crate::dns::{
    Capabilities, DnsError, DnsProvider, DomainName, RecordData, RecordSet, RecordType, Revision, Soa, Zone, ZonePlan,
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

const ENDPOINT: &str = "memory";

/// A provider in memory. Clones share the zones.
#[derive(Clone, Default)]
pub struct MemoryDns {
    state: Arc<Mutex<State>>,
    capabilities: Capabilities,
}

#[derive(Default)]
struct State {
    zones: BTreeMap<DomainName, Zone>,
    writes: u64,
}

impl State {
    /// Keeps a zone as a new version: another revision, and the next serial.
    fn keep(&mut self, zone: Zone) -> Revision {
        self.writes += 1;
        let revision = Revision::new(self.writes.to_string());
        let serial = self.zones.get(zone.name()).and_then(Zone::soa).map(|soa| soa.serial.wrapping_add(1));
        let zone = match serial {
            Some(serial) => with_serial(zone, serial),
            None => zone,
        };
        self.zones.insert(zone.name().clone(), zone.at(revision.clone()));
        revision
    }
}

fn with_serial(mut zone: Zone, serial: u32) -> Zone {
    let name = zone.name().clone();
    let ttl = zone.find(&name, RecordType::SOA).map_or(0, RecordSet::ttl_secs);
    if let Some(soa) = zone.soa() {
        let soa = RecordData::Soa(Soa { serial, ..soa.clone() });
        // The one record of a set that was there: it fits again.
        drop(RecordSet::new(name, ttl, [soa]).map(|set| zone.insert(set)));
    }
    zone
}

impl MemoryDns {
    /// A provider without zones that can write everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same zones with these capabilities.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Puts a zone here, in the place of one of that name, as somebody else would; tells its revision.
    pub fn place(&self, zone: &Zone) -> Revision {
        lock(&self.state).keep(zone.clone())
    }

    /// The zone as it is.
    #[must_use]
    pub fn zone(&self, name: &DomainName) -> Option<Zone> {
        lock(&self.state).zones.get(name).cloned()
    }

    /// Removes a zone.
    pub fn remove(&self, name: &DomainName) -> Option<Zone> {
        lock(&self.state).zones.remove(name)
    }
}

impl fmt::Debug for MemoryDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(lock(&self.state).zones.keys()).finish()
    }
}

fn not_found(zone: &DomainName) -> DnsError {
    DnsError::NotFound { endpoint: ENDPOINT.to_owned(), zone: zone.clone() }
}

#[async_trait]
impl DnsProvider for MemoryDns {
    fn endpoint(&self) -> &str {
        ENDPOINT
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    async fn zones(&self) -> Result<Vec<DomainName>, DnsError> {
        Ok(lock(&self.state).zones.keys().cloned().collect())
    }

    async fn read(&self, zone: &DomainName) -> Result<Zone, DnsError> {
        self.zone(zone).ok_or_else(|| not_found(zone))
    }

    async fn apply(&self, plan: &ZonePlan) -> Result<Revision, DnsError> {
        if let Some(detail) = self.capabilities.obstacle(plan) {
            return Err(DnsError::Unsupported { endpoint: ENDPOINT.to_owned(), detail });
        }
        let mut state = lock(&self.state);
        let now = state.zones.get(plan.zone()).ok_or_else(|| not_found(plan.zone()))?;
        if now.revision() != plan.base() {
            return Err(DnsError::Conflict { endpoint: ENDPOINT.to_owned(), zone: plan.zone().clone() });
        }
        if plan.is_empty() {
            return Ok(plan.base().clone());
        }
        // The revision is the same, so what the plan calls "before" is what is here.
        Ok(state.keep(plan.after().clone()))
    }
}
