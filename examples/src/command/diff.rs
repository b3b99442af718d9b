//! `clonepanel diff`: how one snapshot differs from another.

mod databases;

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    output::{
        json, show,
        style::{BAD, GOOD, NOTE},
    },
    selector::{Selector, SelectorParser, shown},
};
use clap::Args;
use clonepanel_core::{
    diff::{Change, Diff as Comparison, Difference},
    path::RelPath,
};
use serde_json::{Value, json};

/// Compare two snapshots: added, removed, changed, metadata only
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel diff example.org@1w example.org@latest
  clonepanel diff example.org@2026-11-01 example.org@2026-11-02
  clonepanel diff example.org@1w:public_html example.org:public_html

Lines begin with + (added), - (removed), M (content changed) or m (only owner, mode or time). For a
database in both, T names each table that differs, and how many rows were added, removed, changed.")]
pub(crate) struct Diff {
    /// The older one; with :PATH only what is there
    #[arg(value_name = "SITE@A[:PATH]", value_parser = SelectorParser)]
    before: Selector,
    /// The newer one; without @B the newest
    #[arg(value_name = "SITE@B[:PATH]", value_parser = SelectorParser)]
    after: Selector,
}

impl Diff {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let within = match (&self.before.path, &self.after.path) {
            (Some(before), Some(after)) if before != after => {
                return Err(Failure::usage("the two paths differ").hint("the same path of two snapshots is compared"));
            }
            (before, after) => before.as_ref().or(after.as_ref()).cloned().unwrap_or_else(RelPath::root),
        };
        let catalogue = context.catalogue()?;
        let (before, after) = (catalogue.open(&self.before).await?, catalogue.open(&self.after).await?);
        let mut diff = Comparison::new(before.records().await?, after.records().await?).within(within);
        let mut dumps = std::collections::BTreeSet::new();
        while let Some(difference) = diff.next().await? {
            dumps.extend(databases::dump_of(&difference.path()));
            tell(context, &difference);
        }
        let mut tables = 0;
        for dump in &dumps {
            tables += databases::tell(context, &*before, &*after, dump).await?;
        }
        let counts = diff.counts();
        context.output.line(format_args!(
            "{} added ({}), {} removed ({}), {} changed ({}), {} metadata only, {} the same",
            show::count(counts.added),
            show::bytes(counts.added_bytes),
            show::count(counts.removed),
            show::bytes(counts.removed_bytes),
            show::count(counts.changed),
            show::bytes(counts.changed_bytes),
            show::count(counts.metadata_only),
            show::count(counts.unchanged),
        ));
        Ok(Outcome::done(json!({
            "before": { "site": before.info().id.source().as_str(), "id": before.info().id.stem() },
            "after": { "site": after.info().id.source().as_str(), "id": after.info().id.stem() },
            "added": counts.added,
            "added_bytes": counts.added_bytes,
            "removed": counts.removed,
            "removed_bytes": counts.removed_bytes,
            "changed": counts.changed,
            "changed_bytes": counts.changed_bytes,
            "metadata": counts.metadata_only,
            "unchanged": counts.unchanged,
            "tables": tables,
        })))
    }
}

fn tell(context: &Context, difference: &Difference) {
    let path = difference.path();
    if !context.output.is_json() {
        let (style, sign) = match difference.change {
            Change::Added => (GOOD, '+'),
            Change::Content => (NOTE, 'M'),
            Change::Metadata => (NOTE, 'm'),
            Change::Removed => (BAD, '-'),
        };
        let record = difference.after.as_ref().or(difference.before.as_ref());
        let slash = if record.is_some_and(|record| record.entry.is_dir()) { "/" } else { "" };
        context.output.line(format_args!("{style}{sign}{style:#} {}{slash}", shown(&path)));
        return;
    }
    let mut object = json::path_event("difference", &path);
    object.insert("change".to_owned(), difference.change.word().into());
    for (key, record) in [("before", &difference.before), ("after", &difference.after)] {
        let value = record.as_ref().map_or(Value::Null, |record| {
            let mut side = json::entry("", &record.entry, json::Paths::Snapshot);
            side.remove("event");
            side.remove("path");
            side.remove("path_b64");
            if let Some(content) = record.content {
                side.insert("hash".to_owned(), content.hash.to_string().into());
            }
            side.into()
        });
        object.insert(key.to_owned(), value);
    }
    context.output.event(&object.into());
}
