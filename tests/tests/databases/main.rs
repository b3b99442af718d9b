//! Databases as trees, against a real MariaDB.
#![allow(clippy::expect_used, clippy::print_stderr, clippy::unwrap_used)]

mod dumped;
mod moving;
mod rights;
mod zoo;

use dumped::Dumped;
