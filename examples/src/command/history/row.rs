//! The versions of one row of a database.

use super::History;
use crate::{
    context::{Context, now},
    failure::{Failure, Outcome},
    output::{
        show,
        table::{Align, Table},
    },
};
use clonepanel_core::{
    escape::Escaped,
    path::RelPath,
    retry::Retry,
    snapshot_id::SnapshotId,
    store::{SnapshotInfo, SnapshotStore, StoreError},
};
use clonepanel_store::mysql::{ColumnChange, RowChange, RowHistory, RowVersion, VersionsError};
use serde_json::{Value, json};

/// How much of a value a person is shown, in characters.
const SHOWN: usize = 60;

/// Snapshots in which the table had another key than the one that was given.
struct Unlike {
    first: SnapshotId,
    error: VersionsError,
    snapshots: u64,
}

impl History {
    pub(super) async fn run_row(&self, context: &Context, table: &str, key: &[String]) -> Result<Outcome, Failure> {
        if self.selector.path.is_some() || self.selector.when.is_some() {
            return Err(Failure::usage("with --row, history takes a site alone, over all of its snapshots")
                .hint(format!("clonepanel history {} --row {table} ...", self.selector.site)));
        }
        let bad = || Failure::usage(format!("`{}` is no DATABASE.TABLE", Escaped(table.as_bytes())));
        let (database, name) = table.split_once('.').ok_or_else(bad)?;
        let dump = RelPath::try_from(format!("databases/{database}").as_str()).map_err(|_| bad())?;
        let catalogue = context.catalogue()?;
        let site = catalogue.site(&self.selector.site).await?;
        let snapshots = catalogue.snapshots(&site).await?;
        let mut history = RowHistory::new(dump, name, key.to_vec());
        let mut versions = Vec::new();
        let mut unlike: Option<Unlike> = None;
        for SnapshotInfo { id, .. } in &snapshots {
            let seen = match catalogue.store.open(id).await {
                Ok(reader) => history.see(&*reader).await,
                Err(error) => Err(error.into()),
            };
            match seen {
                Ok(version) => versions.extend(version),
                // It was deleted meanwhile.
                Err(VersionsError::Snapshot(StoreError::NotFound { .. })) => {}
                Err(VersionsError::Snapshot(error)) if error.retry() == Retry::Never => {
                    catalogue.leave_out(id.clone(), &error);
                }
                // The table had another key then, or none: that says nothing about the other snapshots.
                Err(error @ (VersionsError::NoKey { .. } | VersionsError::OtherKey { .. })) => match &mut unlike {
                    Some(unlike) => unlike.snapshots += 1,
                    None => unlike = Some(Unlike { first: id.clone(), error, snapshots: 1 }),
                },
                Err(error) => return Err(Failure::because(&error).within(id)),
            }
        }
        if let Some(Unlike { first, error, snapshots }) = unlike {
            if versions.is_empty() {
                return Err(Failure::because(&error).within(&first));
            }
            context.output.warn(format_args!("{first}: {error}; left out: {}", show::counted(snapshots, "snapshot")));
        }
        if versions.is_empty() {
            let key = key.iter().map(|value| Escaped(value.as_bytes()).to_string()).collect::<Vec<_>>().join(", ");
            return Err(Failure::failed(format!(
                "no snapshot of {site} has a row {key} in {}",
                Escaped(table.as_bytes())
            ))
            .hint(format!(
                "`clonepanel ls {site}:databases` shows the databases; the key is that of the table's key"
            )));
        }
        if !context.output.is_json() {
            for line in shown(&versions).lines() {
                context.output.line(line);
            }
        }
        for version in &versions {
            context.output.event(&event(version));
        }
        Ok(Outcome::done(json!({ "site": site.as_str(), "versions": versions.len(), "snapshots": snapshots.len() })))
    }
}

const fn word(change: &RowChange) -> &'static str {
    match change {
        RowChange::Appeared(_) => "appeared",
        RowChange::Changed(_) => "changed",
        RowChange::Gone => "gone",
    }
}

fn shown(versions: &[RowVersion]) -> Table {
    let mut table =
        Table::new(&[("ID", Align::Left), ("WHAT", Align::Left), ("AGE", Align::Left), ("VALUES", Align::Left)]);
    let now = now();
    for version in versions {
        let values: Vec<String> = match &version.change {
            RowChange::Appeared(values) => {
                values.iter().map(|(column, value)| format!("{}: {}", safe(column), short(value))).collect()
            }
            RowChange::Changed(changes) => changes.iter().map(changed).collect(),
            RowChange::Gone => vec![String::new()],
        };
        for (at, value) in values.iter().enumerate() {
            let (id, what, age) = match at {
                0 => (version.id.stem().to_owned(), word(&version.change), show::age(version.id.time(), now)),
                _ => (String::new(), "", String::new()),
            };
            table.row(&[&id, &what, &age, value]);
        }
    }
    table
}

fn changed(change: &ColumnChange) -> String {
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| "no such column".to_owned(), short);
    format!("{}: {} -> {}", safe(&change.column), value(&change.before), value(&change.after))
}

fn safe(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}

fn short(value: &str) -> String {
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", safe(value.get(..end).unwrap_or_default())),
        None => safe(value),
    }
}

fn event(version: &RowVersion) -> Value {
    let values = match &version.change {
        RowChange::Appeared(values) => {
            values.iter().map(|(column, value)| json!({ "column": column, "after": value })).collect()
        }
        RowChange::Changed(changes) => {
            let change = |change: &ColumnChange| json!({ "column": change.column, "before": change.before, "after": change.after });
            changes.iter().map(change).collect()
        }
        RowChange::Gone => Vec::new(),
    };
    json!({ "event": "version", "id": version.id.stem(), "change": word(&version.change), "values": values })
}
