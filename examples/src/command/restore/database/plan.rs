//! [`Plan`]: what an import would do to a database.

use super::dump::Dump;
use crate::{context::Context, output::show};
use clonepanel_core::{escape::Escaped, snapshot_id::SnapshotId};
use serde_json::json;
use std::collections::BTreeSet;

/// What an import would do to a database.
pub(super) struct Plan {
    /// In the order of names: the table, its rows in the dump, and whether one of that name is there.
    tables: Vec<(String, u64, bool)>,
    pub(super) added: usize,
    pub(super) replaced: usize,
    /// Tables that are there and stay.
    pub(super) untouched: usize,
    /// Rows in all tables.
    pub(super) rows: u64,
}

impl Plan {
    pub(super) fn new(dump: &Dump, existing: &BTreeSet<String>) -> Self {
        let row = |table: &clonepanel_store::mysql::DumpedTable| {
            (table.name.clone(), table.rows, existing.contains(&table.name))
        };
        let tables: Vec<_> = dump.tables.iter().map(row).collect();
        let replaced = tables.iter().filter(|(.., is_there)| *is_there).count();
        Self {
            added: tables.len() - replaced,
            replaced,
            untouched: existing.len() - replaced,
            rows: tables.iter().map(|(_, rows, _)| rows).sum(),
            tables,
        }
    }

    pub(super) fn tell(&self, context: &Context, id: &SnapshotId) {
        let output = &context.output;
        for (name, rows, is_there) in &self.tables {
            let change = if *is_there { "replaced" } else { "new" };
            output.event(&json!({ "event": "change", "change": change, "table": name, "rows": rows }));
            output.line(format_args!("{change} {} ({})", Escaped(name.as_bytes()), show::counted(*rows, "row")));
        }
        output.line(format_args!(
            "{} new, {} replaced, {} left alone, {} from {id}",
            show::counted(self.added as u64, "table"),
            show::count(self.replaced as u64),
            show::count(self.untouched as u64),
            show::counted(self.rows, "row"),
        ));
    }
}
