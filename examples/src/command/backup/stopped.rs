//! What a backup that was told to stop had made by then.

use super::{Backup, site_name};
use crate::{
    context::Context,
    failure::{Exit, Failure, Outcome},
    location::Location,
    output::{json, show},
};
use clonepanel_core::{
    snapshot_id::SourceName,
    store::{SnapshotInfo, SnapshotState},
    time::Timestamp,
};
use clonepanel_store::HardLinkStore;
use serde_json::json;
use std::path::PathBuf;

impl Backup {
    /// The end of a run that was stopped: a snapshot that came into being before is there, and is told. With all of them
    /// there is nothing that failed.
    pub(crate) async fn end_stopped(
        &self,
        context: &Context,
        since: Timestamp,
        stopped: Failure,
    ) -> Result<Outcome, Failure> {
        let Ok((root, sources)) = self.targets(context) else { return Err(stopped) };
        let made = made_since(&root, &sources, since).await;
        if made.is_empty() {
            return Err(stopped);
        }
        for info in made.iter().filter(|info| !context.is_told(&info.id)) {
            context.output.line(format_args!("{} {}", info.id, show::state(info.state())));
            context.output.event(&json::snapshot(info));
        }
        let complete = made.iter().filter(|info| info.state() == SnapshotState::Complete).count();
        let mut result = json!({ "made": made.len(), "complete": complete, "not_made": sources.len() - made.len() });
        if made.len() == sources.len() {
            context.output.note("it was told to stop when all was done");
            let exit = if complete == made.len() { Exit::Done } else { Exit::Partial };
            return Ok(Outcome::new(exit, result));
        }
        context.output.failure(&stopped);
        result["error"] = stopped.message.into();
        result["hint"] = stopped.hint.into();
        Ok(Outcome::new(Exit::Partial, result))
    }

    /// The store, and what was to be backed up.
    fn targets(&self, context: &Context) -> Result<(PathBuf, Vec<SourceName>), Failure> {
        if let Some(root) = context.given_store() {
            let source = match (&self.place.source, self.places.as_slice()) {
                (Some(source), _) => source.clone(),
                (None, [place]) => Location::parse(place)?.source_name()?,
                _ => return Ok((root.clone(), Vec::new())),
            };
            return Ok((root.clone(), vec![source]));
        }
        let config = context.config()?;
        let names = self.places.iter().map(site_name).collect::<Result<Vec<_>, _>>()?;
        let sites = config.select(&names)?.into_iter().map(|site| site.name.clone()).collect();
        Ok((config.store, sites))
    }
}

/// The newest snapshot of each source that was begun since then.
async fn made_since(root: &std::path::Path, sources: &[SourceName], since: Timestamp) -> Vec<SnapshotInfo> {
    let Ok(store) = HardLinkStore::open(root) else { return Vec::new() };
    let mut made = Vec::new();
    for source in sources {
        // What cannot be listed is not known to be there.
        let (snapshots, _) = store.list_sound(source).await.unwrap_or_default();
        made.extend(snapshots.into_iter().next_back().filter(|info| info.begun >= since));
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{Cli, Command},
        context::now,
        output::{Audience, Output},
    };
    use clap::Parser;
    use std::sync::Arc;

    #[tokio::test]
    async fn what_was_made_before_the_stop_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let (site, store) = (folder.path().join("site"), folder.path().join("store"));
        std::fs::create_dir(&site).unwrap();
        std::fs::write(site.join("index.html"), "x").unwrap();
        let arguments = ["clonepanel", "backup", "--store", store.to_str().unwrap(), site.to_str().unwrap()];
        let cli = Cli::parse_from(arguments);
        let Command::Backup(backup) = &cli.command else { panic!("not a backup") };
        let context = Context::new(&cli.common, Arc::new(Output::new(Audience::Person, true))).unwrap();
        let stopped = || Failure::failed("stopped by a test");

        let start = now();
        assert_eq!(backup.end_stopped(&context, start, stopped()).await.unwrap_err().message, "stopped by a test");
        backup.run(&context).await.unwrap();
        let outcome = backup.end_stopped(&context, start, stopped()).await.unwrap();
        assert_eq!((outcome.exit, &outcome.result["made"]), (Exit::Done, &1.into()));
        // An older one says nothing about this run.
        assert!(backup.end_stopped(&context, now(), stopped()).await.is_err());
    }
}
