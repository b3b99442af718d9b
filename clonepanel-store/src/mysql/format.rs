//! The form of a dump: pure, without a server or a file.

pub(super) mod charset;
pub(super) mod definition;
pub(super) mod description;
pub(super) mod literal;
pub(super) mod name;
pub(super) mod range_record;
pub(super) mod row_file;
pub(super) mod sql;
