//! Where things stand in a dump. The order of names is an order in which everything can be loaded.

use clonepanel_core::path::RelPath;

/// Sequences, one file each.
pub(crate) const SEQUENCES: &str = "00-schema/10-sequences";
/// Tables without their rows, one file each.
pub(crate) const TABLES: &str = "00-schema/20-tables";
/// Rows: one directory a table, one file a range of keys.
pub(crate) const ROWS: &str = "10-data";
/// Where the counters of `AUTO_INCREMENT` columns stand.
pub(crate) const COUNTERS: &str = "20-counters.sql";
/// Functions, procedures and packages.
pub(crate) const ROUTINES: &str = "90-after/10-routines";
/// Views, those that others read first.
pub(crate) const VIEWS: &str = "90-after/20-views";
/// Triggers, in the order in which they fire.
pub(crate) const TRIGGERS: &str = "90-after/30-triggers";
/// Events.
pub(crate) const EVENTS: &str = "90-after/40-events";
/// What the dump holds and lacks.
pub(crate) const DESCRIPTION: &str = "dump.json";

/// How to tell, without reading them, which ranges of rows are as they were.
pub(crate) const RANGES: &str = "ranges.json";

/// The directories that every dump has, parents first.
pub(crate) const DIRECTORIES: [&str; 9] =
    ["00-schema", SEQUENCES, TABLES, ROWS, "90-after", ROUTINES, VIEWS, TRIGGERS, EVENTS];

/// The directory of the rows of a table.
pub(crate) fn rows(table: &str) -> String {
    format!("{ROWS}/{table}")
}

/// A path made of names that fit; the root if one does not, which cannot be.
pub(crate) fn path(text: &str) -> RelPath {
    RelPath::try_from(text).unwrap_or_default()
}
