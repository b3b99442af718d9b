//! The traits, the vocabulary and the pure decisions of ClonePanel.
//!
//! Nothing here opens a socket, a file or a process. Back ends implement the traits ([`SnapshotStore`](store::SnapshotStore),
//! [`Transport`](transport::Transport)), jobs ([`job`]) drive them, and whatever has consequences is decided by plain
//! functions over data ([`retention`], [`suspicion`], [`dns`], [`health`]).
//!
//! From the top: [`Entry`](entry::Entry) is what trees are made of, [`tree`] is where stores and transports meet, and
//! [`job::BackupJob`] is the whole of a backup.

pub mod diff;
pub mod digest;
pub mod dns;
pub mod entry;
pub mod escape;
pub mod filter;
pub mod health;
pub mod history;
pub mod job;
pub mod manifest;
pub mod memory;
pub mod observer;
pub mod partial;
pub mod path;
pub mod problem;
pub mod retention;
pub mod retry;
pub mod secret;
pub mod snapshot_id;
pub mod store;
pub mod suspicion;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod time;
pub mod transport;
pub mod tree;
