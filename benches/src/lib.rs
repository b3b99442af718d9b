//! What the benches share: a tree that looks like a server full of small sites, a database like that of a blog, and a way to measure whole processes.
//!
//! Unpublished.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "benches fail by panicking")]

pub mod blog;
pub mod hosting;
pub mod measure;
pub mod random;
pub mod versions;
