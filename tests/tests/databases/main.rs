//! Databases as trees, against a real MariaDB.
#![allow(clippy::expect_used, clippy::print_stderr, clippy::unwrap_used)]

mod dumped;
mod hostile;
mod import;
mod large_rows;
mod moving;
mod mysql;
mod probe;
mod random;
mod ranges;
mod rights;
mod snapshot;
mod tls;
mod tool;
mod zoo;

use dumped::Dumped;
