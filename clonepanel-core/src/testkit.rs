//! What a back end is tested with: the contracts as tests, faults, cancellation, random trees.
//!
//! A store, transport or DNS provider of your own runs its contract with one line, [`store_contract!`](crate::store_contract),
//! [`transport_contract!`](crate::transport_contract) or [`dns_contract!`](crate::dns_contract), and gets one `#[test]` per numbered rule. New rules appear with a
//! new version of this crate; the change log lists them.
//!
//! - [`store`], [`transport`], [`dns`]: the rules, and what a fixture has to give; [`saboteur`]: back ends that break one rule each,
//!   to show that the rules bite;
//! - [`Gated`] with [`Faulty`] or [`Yields`]: an error at the n-th call, a point to cancel at every call;
//! - [`cancel_everywhere`]: an operation dropped after 0, 1, 2, … polls;
//! - [`VirtualTimer`] and [`ScriptedProbe`]: a year of monitoring in a second;
//! - [`generator`]: seeded random trees and edits; [`materialise`] writes them to disk, [`scan`] reads a directory back,
//!   [`differences`] compares.
//!
//! Everything here reports by panicking, as tests do.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stderr, clippy::missing_panics_doc)]

mod cancel;
mod compare;
#[cfg(unix)]
mod disk;
pub mod dns;
mod gate;
pub mod generator;
pub mod saboteur;
mod scripted_probe;
pub mod store;
pub mod transport;
mod virtual_timer;

pub use cancel::{cancel_everywhere, run_for};
pub use compare::{differences, owner_differences, read_tree};
#[cfg(unix)]
pub use disk::{materialise, scan};
pub use gate::{Call, Fault, Faulty, Gate, Gated, Yields};
pub use scripted_probe::ScriptedProbe;
pub use virtual_timer::VirtualTimer;

use crate::path::RelPath;
use std::time::Duration;

/// Only there to turn a hang into a failure.
const HANG: Duration = Duration::from_secs(600);

/// Runs a test's future on a runtime of its own, with several threads and everything that tokio was built with.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(HANG, future).await.expect("the test hangs") })
}

/// The path that a test means.
#[must_use]
pub fn path(text: &str) -> RelPath {
    RelPath::try_from(text).expect("a valid path")
}
