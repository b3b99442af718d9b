//! `clonepanel cat`: the content of one file.

use super::ls::missing;
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    output::json,
    selector::{Selector, SelectorParser, shown},
};
use clap::Args;
use serde_json::json;

/// Write a file of a snapshot to standard output
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel cat example.org:public_html/wp-config.php
  clonepanel cat example.org@3w:public_html/index.php > index.php
  clonepanel cat example.org@20261102T021500Z:databases/alice_wp/00-schema/20-tables/wp_posts.sql | less

With --json the content comes as {\"event\":\"data\",\"data_b64\":...} lines.")]
pub(crate) struct Cat {
    /// Which file; without @WHEN of the newest snapshot
    #[arg(value_name = "SITE[@WHEN]:PATH", value_parser = SelectorParser)]
    selector: Selector,
}

impl Cat {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let Some(path) = &self.selector.path else {
            return Err(Failure::usage("cat needs a path").hint(format!("clonepanel cat {}:PATH", self.selector.site)));
        };
        let catalogue = context.catalogue()?;
        let reader = catalogue.open(&self.selector).await?;
        let Some(record) = reader.record(path).await? else { return Err(missing(&*reader, path).await) };
        if record.content.is_none() {
            let kind = json::kind_word(&record.entry.kind);
            return Err(Failure::failed(format!("{} is no file but a {kind}", shown(path)))
                .hint("`clonepanel ls` shows it; `clonepanel restore` brings it back"));
        }
        let mut content = reader.open(path).await?;
        let mut bytes = 0;
        while let Some(piece) = content.read().await? {
            bytes += piece.len() as u64;
            if context.output.is_json() {
                context.output.event(&json!({ "event": "data", "data_b64": json::base64(&piece) }));
            } else {
                context.output.raw(&piece);
            }
            if context.output.is_gone() {
                break;
            }
        }
        let mut result = json::path_event("result", path);
        result.remove("event");
        result.insert("bytes".to_owned(), bytes.into());
        Ok(Outcome::done(result.into()))
    }
}
