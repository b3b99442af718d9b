//! `clonepanel ls`: what a snapshot holds.

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    nearest::nearest,
    output::{json, show},
    selector::{Selector, SelectorParser, files, shown},
};
use clap::Args;
use clonepanel_core::{entry::EntryKind, escape::Escaped, manifest::Record, path::RelPath, store::SnapshotReader};
use serde_json::json;

/// List a folder of a snapshot
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel ls example.org
  clonepanel ls example.org:public_html/wp-content
  clonepanel ls example.org@3w:public_html            as it was three weeks ago
  clonepanel ls example.org@2026-11-02:databases -R   the dumps of that day

PATH is the account's own; `databases/...` and `dns/...` name the dumps and the zone, and
`files/databases` an account folder of that name. Names that are not plain text are shown with
\\xNN and can be typed that way.")]
pub(crate) struct Ls {
    /// What to list; without @WHEN the newest snapshot
    #[arg(value_name = "SITE[@WHEN][:PATH]", value_parser = SelectorParser)]
    selector: Selector,
    /// Everything below it too
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Content hashes (BLAKE3) too
    #[arg(long)]
    hashes: bool,
}

impl Ls {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let catalogue = context.catalogue()?;
        let reader = catalogue.open(&self.selector).await?;
        let top = self.selector.path.clone().unwrap_or_else(files);
        let Some(found) = reader.record(&top).await? else { return Err(missing(&*reader, &top).await) };

        let (mut entries, mut bytes) = (0_u64, 0_u64);
        let mut records = reader.records().await?;
        while let Some(record) = records.next().await? {
            let path = &record.entry.path;
            let listed = match (found.entry.is_dir(), self.recursive) {
                (true, true) => path != &top && path.is_within(&top),
                (true, false) => path.parent().is_some_and(|parent| parent == top),
                (false, _) => path == &top,
            };
            if listed {
                entries += 1;
                bytes += record.content.map_or(0, |content| content.len);
                self.show(context, &record, &top);
            }
            // The order keeps a subtree together: behind it there is nothing more to list.
            if context.output.is_gone() || path > &top && !path.is_within(&top) {
                break;
            }
        }
        Ok(Outcome::done(json!({
            "site": reader.info().id.source().as_str(),
            "id": reader.info().id.stem(),
            "entries": entries,
            "bytes": bytes,
        })))
    }

    fn show(&self, context: &Context, record: &Record, top: &RelPath) {
        if context.output.is_json() {
            let mut object = json::entry("entry", &record.entry, json::Paths::Snapshot);
            if let Some(content) = record.content {
                object.insert("hash".to_owned(), content.hash.to_string().into());
                object.insert("size".to_owned(), content.len.into());
            }
            object.insert("carried".to_owned(), record.marks.carried.into());
            object.insert("torn".to_owned(), record.marks.torn.into());
            context.output.event(&object.into());
            return;
        }
        let entry = &record.entry;
        let name = match entry.path.strip_prefix(top) {
            Some(below) if !below.is_root() => below.to_string(),
            _ => Escaped(entry.path.name()).to_string(),
        };
        let slash = if entry.is_dir() { "/" } else { "" };
        let arrow = match &entry.kind {
            EntryKind::Symlink(target) => format!(" -> {target}"),
            EntryKind::File { hardlink_to: Some(leader), .. } => format!(" == {}", shown(leader)),
            _ => String::new(),
        };
        let marks = match (record.marks.carried, record.marks.torn) {
            (true, _) => "  (from an older snapshot)",
            (_, true) => "  (changed while it was read)",
            _ => "",
        };
        let hash = match (self.hashes, record.content) {
            (true, Some(content)) => format!("{}  ", content.hash),
            (true, None) => " ".repeat(66),
            (false, _) => String::new(),
        };
        let owner = |name: &Option<bytes::Bytes>, id: u32| {
            name.as_ref().map_or_else(|| id.to_string(), |name| Escaped(name).to_string())
        };
        context.output.line(format_args!(
            "{} {:>8} {:>8} {:>12} {} {hash}{name}{slash}{arrow}{marks}",
            show::permissions(entry),
            owner(&entry.meta.user, entry.meta.uid),
            owner(&entry.meta.group, entry.meta.gid),
            record.content.map_or(0, |content| content.len),
            show::moment(entry.meta.mtime),
        ));
    }
}

/// Says that a snapshot has no such path, and which path is near it.
pub(crate) async fn missing(reader: &dyn SnapshotReader, path: &RelPath) -> Failure {
    let id = &reader.info().id;
    let failure = Failure::failed(format!("{id} has no {}", shown(path)));
    match nearest_path(reader, path).await {
        Ok(Some(near)) => failure.hint(format!("did you mean {}@{}:{}?", id.source(), id.stem(), shown(&near))),
        _ => failure.hint(format!(
            "`clonepanel history {}:{}` tells which snapshots have it, `clonepanel ls` what is there",
            id.source(),
            shown(path)
        )),
    }
}

/// The path in the same folder whose name is most like the one that was asked for.
pub(crate) async fn nearest_path(reader: &dyn SnapshotReader, path: &RelPath) -> Result<Option<RelPath>, Failure> {
    let siblings = siblings(reader, path).await?;
    let names: Vec<_> = siblings.iter().map(|path| Escaped(path.name()).to_string()).collect();
    let typed = Escaped(path.name()).to_string();
    let near = nearest(&typed, names.iter().map(String::as_str));
    Ok(names.iter().zip(&siblings).find(|(name, _)| Some(name.as_str()) == near).map(|(_, path)| path.clone()))
}

/// What stands in the folder that a path would stand in.
async fn siblings(reader: &dyn SnapshotReader, path: &RelPath) -> Result<Vec<RelPath>, Failure> {
    let Some(parent) = path.parent() else { return Ok(Vec::new()) };
    let mut siblings = Vec::new();
    let mut records = reader.records().await?;
    while let Some(record) = records.next().await? {
        if record.entry.path.parent().as_ref() == Some(&parent) {
            siblings.push(record.entry.path);
        }
    }
    Ok(siblings)
}
