//! Names under which tables wait until all of them can take their places.

/// In front of the name of a table that is being filled.
const NEW: &str = "_clonepanel_new_";
/// In front of the name of a table that was replaced.
const OLD: &str = "_clonepanel_old_";

/// The name under which a table is filled.
pub(crate) fn new(table: &str) -> String {
    named(NEW, table)
}

/// The name under which a table waits for its removal.
pub(crate) fn old(table: &str) -> String {
    named(OLD, table)
}

/// Whether a table is one of an import that did not end.
pub(crate) fn is_leftover(table: &str) -> bool {
    table.starts_with(NEW) || table.starts_with(OLD)
}

/// Short enough for every server, whatever the name is.
fn named(prefix: &str, table: &str) -> String {
    let hash = blake3::hash(table.as_bytes()).to_hex();
    format!("{prefix}{}", hash.get(..24).unwrap_or_default())
}
