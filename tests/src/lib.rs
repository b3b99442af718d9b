//! What the tests that cross crates share: a real sshd, a real MariaDB and MySQL, a proxy that counts and cuts, the tool as a child process, and a
//! look at a store that no library of ours has a part in.
//!
//! Unpublished. The benches use it too.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stderr, reason = "test code: it fails by panicking")]

mod agent_words;
mod bind;
mod fingerprint;
mod lacking;
mod mariadb;
mod mysql;
mod namespace;
mod nginx;
mod proxy;
mod rsyncs;
mod site;
mod sql_server;
mod sshd;
mod tool;
mod whm;

pub use agent_words::AgentWords;
pub use bind::Bind;
pub use fingerprint::Fingerprint;
pub use lacking::may_lack;
pub use mariadb::MariaDb;
pub use mysql::MySql;
pub use namespace::in_own_mounts;
pub use nginx::{Certificate, Nginx};
pub use proxy::Proxy;
pub use rsyncs::{StockRsync, stock_rsyncs};
pub use site::Site;
pub use sql_server::SqlServer;
pub use sshd::{Login, Sshd, SshdOptions};
pub use tool::{Ran, Tool};
pub use whm::{Fault, WhmServer};

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
