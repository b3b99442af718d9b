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

pub use source::DatabaseSource;
