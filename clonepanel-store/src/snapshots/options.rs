//! [`StoreOptions`]: what can be set about a store.

/// What can be set about a [`HardLinkStore`](super::HardLinkStore).
#[derive(Debug, Clone)]
pub struct StoreOptions {
    reserve_bytes: u64,
    reserve_inodes: u64,
    link_cap: Option<u64>,
    workers: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { reserve_bytes: 64 << 20, reserve_inodes: 1000, link_cap: None, workers: 2 }
    }
}

impl StoreOptions {
    /// A reserve of 64 MiB and 1000 inodes, as many links to a file as the file system takes, two workers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops writing with [`StoreError::NoSpace`](clonepanel_core::store::StoreError::NoSpace) while this many bytes of the file
    /// system are still free.
    #[must_use]
    pub const fn reserve_bytes(mut self, bytes: u64) -> Self {
        self.reserve_bytes = bytes;
        self
    }

    /// Stops writing while this many inodes are still free, on file systems that count them.
    #[must_use]
    pub const fn reserve_inodes(mut self, inodes: u64) -> Self {
        self.reserve_inodes = inodes;
        self
    }

    /// Never gives one stored file more names than this; a further copy is stored instead. Without it the file system's own
    /// limit counts (65,000 on ext4). At least 2.
    #[must_use]
    pub const fn link_cap(mut self, links: u64) -> Self {
        self.link_cap = Some(if links < 2 { 2 } else { links });
        self
    }

    /// How many threads write, link and delete side by side; 1 to 64.
    #[must_use]
    pub const fn workers(mut self, workers: usize) -> Self {
        self.workers = match workers {
            0 => 1,
            1..=64 => workers,
            _ => 64,
        };
        self
    }

    pub(crate) const fn reserved(&self) -> (u64, u64) {
        (self.reserve_bytes, self.reserve_inodes)
    }

    pub(crate) const fn max_links(&self) -> Option<u64> {
        self.link_cap
    }

    pub(crate) const fn threads(&self) -> usize {
        self.workers
    }
}
