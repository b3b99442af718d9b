//! The store's contract, rule by rule.

use async_trait::async_trait;
use clonepanel_core::{store::SnapshotStore, testkit::store::StoreFixture};
use clonepanel_store::{HardLinkStore, StoreOptions};
use std::sync::Arc;
use tempfile::TempDir;

struct OnDisk {
    dir: TempDir,
    options: StoreOptions,
}

#[async_trait]
impl StoreFixture for OnDisk {
    async fn open(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(HardLinkStore::with_options(self.dir.path().join("store"), self.options.clone()).expect("a usable store"))
    }
}

fn on_disk(options: StoreOptions) -> OnDisk {
    OnDisk { dir: tempfile::tempdir().expect("a temporary directory"), options }
}

clonepanel_core::store_contract!(hard_links, on_disk(StoreOptions::new()));
clonepanel_core::store_contract!(one_worker, on_disk(StoreOptions::new().workers(1)));
clonepanel_core::store_contract!(few_links, on_disk(StoreOptions::new().link_cap(2)));
