//! The tables and rows in which two snapshots differ.

use crate::{
    context::Context,
    failure::Failure,
    output::{
        show,
        style::{BAD, GOOD, NOTE},
    },
};
use clonepanel_core::{escape::Escaped, path::RelPath, store::SnapshotReader};
use clonepanel_store::mysql::{DatabaseDiff, RowIdentity, TableDiff};
use serde_json::json;

/// The dump that a path belongs to.
pub(super) fn dump_of(path: &RelPath) -> Option<RelPath> {
    let mut parts = path.parts();
    let (top, name) = (parts.next()?, parts.next()?);
    parts.next()?;
    (top == b"databases").then(|| RelPath::new([top, b"/", name].concat()).ok())?
}

/// Says which tables of a dump differ; how many do.
pub(super) async fn tell(
    context: &Context,
    before: &dyn SnapshotReader,
    after: &dyn SnapshotReader,
    dump: &RelPath,
) -> Result<usize, Failure> {
    let diff =
        DatabaseDiff::between(before, after, dump).await.map_err(|error| Failure::because(&error).within(dump))?;
    let Some(diff) = diff else { return Ok(0) };
    let database = Escaped(dump.name()).to_string();
    for table in &diff.tables {
        context.output.event(&json!({
            "event": "table",
            "database": database,
            "table": table.name,
            "change": word(table),
            "redefined": table.is_redefined,
            "rows_before": table.rows_before,
            "rows_after": table.rows_after,
            "rows_added": table.added,
            "rows_removed": table.removed,
            "rows_changed": table.changed,
            "by_key": table.identity == RowIdentity::Key,
        }));
        let (style, sign) = match word(table) {
            "added" => (GOOD, '+'),
            "removed" => (BAD, '-'),
            _ => (NOTE, 'T'),
        };
        let name = Escaped(table.name.as_bytes());
        context.output.line(format_args!("{style}{sign}{style:#} {database}.{name}: {}", rows(table)));
    }
    Ok(diff.tables.len())
}

const fn word(table: &TableDiff) -> &'static str {
    match (table.rows_before, table.rows_after) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    }
}

fn rows(table: &TableDiff) -> String {
    let counts = [(table.added, "added"), (table.removed, "removed"), (table.changed, "changed")];
    let mut said: Vec<_> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", show::counted(count, "row")))
        .collect();
    if table.is_redefined {
        said.push("another definition".to_owned());
    }
    if said.is_empty() {
        said.push("the same rows".to_owned());
    }
    said.join(", ")
}
