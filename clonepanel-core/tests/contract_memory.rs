//! The contracts, run against the back ends in memory.

use async_trait::async_trait;
use clonepanel_core::{
    dns::{DnsProvider, DomainName, Zone},
    dns_contract,
    memory::{MemoryDns, MemoryStore, MemoryTransport, MemoryTree},
    path::RelPath,
    store::SnapshotStore,
    store_contract,
    testkit::{dns::DnsFixture, store::StoreFixture, transport::TransportFixture},
    transport::Transport,
    transport_contract,
};
use std::sync::Arc;

struct Store(MemoryStore);

#[async_trait]
impl StoreFixture for Store {
    async fn open(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.0.clone())
    }
}

store_contract!(store, Store(MemoryStore::new()));

struct FarEnd(MemoryTree);

#[async_trait]
impl TransportFixture for FarEnd {
    async fn place(&self, tree: &MemoryTree) {
        self.0.assign(tree);
    }

    async fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(MemoryTransport::new(self.0.clone()))
    }

    async fn far(&self) -> MemoryTree {
        self.0.fork()
    }

    async fn remove(&self, path: &RelPath) {
        self.0.remove(path);
    }

    async fn forbid_reading(&self, path: &RelPath) -> bool {
        self.0.forbid_reading(path).is_ok()
    }
}

transport_contract!(transport, FarEnd(MemoryTree::new()));

struct Zones(MemoryDns);

#[async_trait]
impl DnsFixture for Zones {
    async fn place(&self, zone: &Zone) {
        self.0.place(zone);
    }

    async fn provider(&self) -> Arc<dyn DnsProvider> {
        Arc::new(self.0.clone())
    }

    async fn far(&self, name: &DomainName) -> Option<Zone> {
        self.0.zone(name)
    }
}

dns_contract!(dns, Zones(MemoryDns::new()));
