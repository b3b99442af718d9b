//! From a database to a tree.

mod catalogue;
mod column;
mod instant;
mod listing;
mod objects;
mod rights;
mod rows;
mod sorter;
mod source;
mod spool;
mod table;

pub(super) use catalogue::table_names;
pub(super) use sorter::{Sorted, Sorter};
pub use source::DatabaseSource;
pub(super) use spool::{Held, Spool};
pub(super) use table::read_sum;
