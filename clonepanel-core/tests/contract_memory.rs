//! The contracts, run against the back ends in memory.

use async_trait::async_trait;
use clonepanel_core::{memory::MemoryStore, store::SnapshotStore, store_contract, testkit::store::StoreFixture};
use std::sync::Arc;

struct Store(MemoryStore);

#[async_trait]
impl StoreFixture for Store {
    async fn open(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.0.clone())
    }
}

store_contract!(store, Store(MemoryStore::new()));
