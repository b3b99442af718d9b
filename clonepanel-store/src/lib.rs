//! Where ClonePanel keeps things: [`HardLinkStore`] keeps snapshots as directory trees that `ls`, `cp` and `tar` understand;
//! [`LocalTree`] and [`LocalTransport`] read and write local directories.
//!
//! Everything is opened relative to held directory handles, one component at a time and without following links, so that no
//! symbolic link in a tree can lead a read or a write out of it.

mod blocking;
mod handle;
#[cfg(feature = "health-log")]
mod health_log;
mod local;
#[cfg(feature = "mysql")]
pub mod mysql;
mod snapshots;
mod stack;

#[cfg(feature = "health-log")]
pub use health_log::SqliteHealthLog;
pub use local::{LocalScan, LocalTransport, LocalTree, Owners, SpecialBits, Unfinished};
pub use snapshots::{HardLinkStore, StoreOptions};
