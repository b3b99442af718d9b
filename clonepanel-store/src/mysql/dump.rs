//! From a database to a tree.

mod catalogue;
mod column;
mod content;
mod in_order;
mod instant;
mod known_ranges;
mod listing;
mod objects;
mod range_sum;
mod rights;
mod row_files;
mod rows;
mod sorter;
mod source;
mod spool;
mod table;

pub(super) use catalogue::table_names;
pub use known_ranges::RangeSums;
pub(super) use sorter::{Sorted, Sorter};
pub use source::DatabaseSource;
pub(super) use spool::{Held, Spool};
pub(super) use table::read_sum;
