//! The contracts of the store and of the local transport, rule by rule.
#![allow(clippy::expect_used)]

use async_trait::async_trait;
use clonepanel_core::{
    memory::MemoryTree,
    path::RelPath,
    store::SnapshotStore,
    testkit::{
        store::StoreFixture,
        transport::{Directory, Lack, TransportFixture},
    },
    transport::Transport,
};
use clonepanel_store::{HardLinkStore, LocalTransport, SpecialBits, StoreOptions};
use std::{path::PathBuf, sync::Arc};
use tempfile::TempDir;

struct OnDisk {
    dir: TempDir,
    options: StoreOptions,
}

#[async_trait]
impl StoreFixture for OnDisk {
    async fn open(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(
            HardLinkStore::with_options(self.dir.path().join("store"), self.options.clone()).expect("a usable store"),
        )
    }
}

fn on_disk(options: StoreOptions) -> OnDisk {
    OnDisk { dir: tempfile::tempdir().expect("a temporary directory"), options }
}

clonepanel_core::store_contract!(hard_links, on_disk(StoreOptions::new()));
clonepanel_core::store_contract!(one_worker, on_disk(StoreOptions::new().workers(1)));
clonepanel_core::store_contract!(few_links, on_disk(StoreOptions::new().link_cap(2)));

/// A local directory as far end.
struct Near {
    _dir: TempDir,
    far: Directory,
    root: PathBuf,
    bits: SpecialBits,
}

#[async_trait]
impl TransportFixture for Near {
    async fn place(&self, tree: &MemoryTree) {
        self.far.place(tree);
    }
    async fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(LocalTransport::new(&self.root).special_bits(self.bits))
    }
    async fn far(&self) -> MemoryTree {
        self.far.far()
    }
    async fn remove(&self, path: &RelPath) {
        self.far.remove(path);
    }
    async fn forbid_reading(&self, path: &RelPath) -> bool {
        self.far.forbid_reading(path)
    }
    fn lacks(&self) -> &[Lack] {
        match self.bits {
            SpecialBits::Drop => &[Lack::SetIds],
            SpecialBits::Set => &[],
        }
    }
}

fn near(bits: SpecialBits) -> Near {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path().join("far");
    Near { _dir: dir, far: Directory::new(&root), root, bits }
}

clonepanel_core::transport_contract!(local, near(SpecialBits::Drop));
clonepanel_core::transport_contract!(local_with_special_bits, near(SpecialBits::Set));
