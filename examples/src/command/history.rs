//! `clonepanel history`: every version of one path, or of one row of a database.

mod row;

use super::ls::nearest_path;
use crate::{
    context::{Catalogue, Context, now},
    failure::{Failure, Outcome},
    output::{
        json, show,
        table::{Align, Table},
    },
    selector::{Selector, SelectorParser, shown},
};
use clap::Args;
use clonepanel_core::{
    diff::Change,
    history::{History as Followed, Version},
    path::RelPath,
    retry::Retry,
    store::{SnapshotInfo, SnapshotStore, StoreError},
};
use serde_json::json;

/// Show every version of a file or of a database row: in which snapshot it appeared, changed, was gone
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel history example.org:public_html/index.php
  clonepanel history example.org:databases/alice_wp/00-schema/20-tables/wp_posts.sql
  clonepanel history --store /srv/backup example.org:public_html/wp-config.php --json
  clonepanel history example.org --row alice_wp.wp_options 1
  clonepanel history example.org --row alice_wp.wp_term_relationships 5 2

KEY is the value of the table's key, one for each of its columns: as text, or as it stands in the
dump (`0xFF` for bytes). The id in the list is what `clonepanel cat SITE@ID:PATH` and `clonepanel restore` take.")]
pub(crate) struct History {
    /// Which file or folder
    #[arg(value_name = "SITE:PATH", value_parser = SelectorParser)]
    selector: Selector,
    /// Instead of a path: one row
    #[arg(long, num_args = 2.., value_names = ["DATABASE.TABLE", "KEY"], allow_negative_numbers = true)]
    row: Vec<String>,
}

impl History {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let selector = &self.selector;
        if let [table, key @ ..] = &self.row[..] {
            return self.run_row(context, table, key).await;
        }
        let Some(path) = selector.path.as_ref().filter(|_| selector.when.is_none()) else {
            return Err(Failure::usage("history takes a site and a path, over all of its snapshots").hint(format!(
                "clonepanel history {0}:PATH, or clonepanel history {0} --row DATABASE.TABLE KEY",
                selector.site
            )));
        };
        let catalogue = context.catalogue()?;
        let site = catalogue.site(&selector.site).await?;
        let snapshots = catalogue.snapshots(&site).await?;
        let versions = versions(&catalogue, &snapshots, path).await?;
        if versions.is_empty() {
            let failure = Failure::failed(format!("no snapshot of {site} has {}", shown(path)));
            let newest = snapshots.last().ok_or_else(|| Failure::failed(format!("there is no snapshot of {site}")))?;
            let reader = catalogue.store.open(&newest.id).await?;
            return Err(match nearest_path(&*reader, path).await? {
                Some(near) => failure.hint(format!("did you mean {site}:{}?", shown(&near))),
                None => failure.hint(format!("`clonepanel ls {site}` shows what there is")),
            });
        }
        if !context.output.is_json() {
            for line in table(&versions).lines() {
                context.output.line(line);
            }
        }
        for version in &versions {
            context.output.event(&event(version, path));
        }
        Ok(Outcome::done(json!({ "site": site.as_str(), "versions": versions.len(), "snapshots": snapshots.len() })))
    }
}

/// All versions of a path, oldest first, as far as snapshots can be read.
async fn versions(catalogue: &Catalogue, snapshots: &[SnapshotInfo], path: &RelPath) -> Result<Vec<Version>, Failure> {
    let mut followed = Followed::new();
    let mut versions = Vec::new();
    for SnapshotInfo { id, .. } in snapshots {
        let record = match catalogue.store.open(id).await {
            Ok(reader) => reader.record(path).await,
            Err(error) => Err(error),
        };
        match record {
            Ok(record) => versions.extend(followed.see(id, record)),
            // It was deleted meanwhile.
            Err(StoreError::NotFound { .. }) => {}
            Err(error) if error.retry() == Retry::Never => catalogue.leave_out(id.clone(), &error),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(versions)
}

/// What happened to a path, as somebody says who follows it.
fn word(change: Change) -> &'static str {
    match change {
        Change::Added => "appeared",
        Change::Content => "changed",
        Change::Metadata => "metadata",
        Change::Removed => "gone",
    }
}

fn table(versions: &[Version]) -> Table {
    use Align::{Left, Right};
    let columns = [("ID", Left), ("WHAT", Left), ("AGE", Left), ("SIZE", Right), ("MODIFIED", Left), ("HASH", Left)];
    let mut table = Table::new(&columns);
    let now = now();
    for version in versions {
        let record = version.record.as_ref();
        let content = record.and_then(|record| record.content);
        let hash = content.map(|content| content.hash.to_string()).unwrap_or_default();
        table.row(&[
            &version.id.stem(),
            &word(version.change),
            &show::age(version.id.time(), now),
            &content.map(|content| show::bytes(content.len).to_string()).unwrap_or_default(),
            &record.map(|record| show::moment(record.entry.meta.mtime)).unwrap_or_default(),
            &hash.get(..16).unwrap_or_default(),
        ]);
    }
    table
}

fn event(version: &Version, path: &RelPath) -> serde_json::Value {
    let mut object = match &version.record {
        Some(record) => json::entry("version", &record.entry, json::Paths::Snapshot),
        None => json::path_event("version", path),
    };
    object.insert("id".to_owned(), version.id.stem().into());
    object.insert("change".to_owned(), word(version.change).into());
    if let Some(content) = version.record.as_ref().and_then(|record| record.content) {
        object.insert("size".to_owned(), content.len.into());
        object.insert("hash".to_owned(), content.hash.to_string().into());
    }
    object.into()
}
