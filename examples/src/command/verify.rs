//! `clonepanel verify`: whether what is kept is what was written.

use crate::{
    context::{Catalogue, Context},
    failure::{Exit, Failure, Outcome},
    output::{json, progress::Progress, show},
    selector::{Selector, SelectorParser, shown},
};
use clap::Args;
use clonepanel_core::{
    job::{KnownCopies, VerifyJob, VerifyOutcome},
    problem::{Problem, ProblemKind, Problems},
    snapshot_id::SnapshotId,
    store::{Slice, SnapshotInfo, StoreError},
};
use serde_json::json;
use std::sync::Arc;

/// Read what is kept and compare it with the hashes of the manifests
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clonepanel verify
  clonepanel verify example.org
  clonepanel verify example.org@latest
  clonepanel verify --slice 3/7           a seventh of all files: another one each night")]
pub(crate) struct Verify {
    /// Only this site, or only this snapshot of it
    #[arg(value_name = "SITE[@WHEN]", value_parser = SelectorParser)]
    selector: Option<Selector>,
    /// Only the n-th of m equal parts of all files
    #[arg(long, value_name = "n/m", value_parser = parse_slice)]
    slice: Option<Slice>,
}

#[derive(Default)]
struct Total {
    files: u64,
    bytes: u64,
    read_bytes: u64,
    damaged: u64,
    unreadable: u64,
    also_named: u64,
}

impl Verify {
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let catalogue = context.catalogue()?;
        let snapshots = self.list(&catalogue).await?;
        let mut total = Total { damaged: context.damaged() as u64, ..Total::default() };
        let known = Arc::new(KnownCopies::new());
        for id in &snapshots {
            let mut job = VerifyJob::new(catalogue.shared_store(), id.clone()).known(Arc::clone(&known));
            if let Some(slice) = self.slice {
                job = job.slice(slice);
            }
            let progress = Progress::new(&context.output, id.to_string(), "read");
            match job.run(&progress).await {
                Ok(outcome) => {
                    drop(progress);
                    if outcome.is_sound() {
                        context.output.line(format_args!(
                            "{id} is sound: {}, {}",
                            show::counted(outcome.files, "file"),
                            show::bytes(outcome.bytes)
                        ));
                    }
                    tell(context, id, &outcome.problems);
                    total.add(&outcome);
                }
                Err(error) if matches!(error.source, StoreError::NotFound { .. }) => {
                    drop(progress);
                    context.output.note(format_args!("{id} was deleted meanwhile"));
                }
                // A snapshot that cannot be read at all says nothing about the others.
                Err(error) => {
                    drop(progress);
                    let is_damaged = matches!(error.source, StoreError::Damaged { .. });
                    *(if is_damaged { &mut total.damaged } else { &mut total.unreadable }) += 1;
                    let (event, detail) =
                        (if is_damaged { "damaged" } else { "unreadable" }, Failure::because(&error).message);
                    let (site, stem) = (id.source().as_str(), id.stem());
                    context
                        .output
                        .event(&json!({ "event": event, "site": site, "id": stem, "path": null, "detail": &detail }));
                    context.output.warn(detail);
                }
            }
        }
        if known.has_damage() {
            total.also_named = self.tell_others(context, &catalogue, &snapshots, &known).await?;
        }
        context.output.line(format_args!(
            "{} of {} verified ({}, {} read), {} damaged",
            show::counted(total.files, "file"),
            show::counted(snapshots.len() as u64, "snapshot"),
            show::bytes(total.bytes),
            show::bytes(total.read_bytes),
            show::count(total.damaged),
        ));
        let mut result = json!({
            "snapshots": snapshots.len(),
            "files": total.files,
            "bytes": total.bytes,
            "read_bytes": total.read_bytes,
            "also_named": total.also_named,
            "damaged": total.damaged,
            "unreadable": total.unreadable,
        });
        if total.damaged + total.unreadable == 0 {
            return Ok(Outcome::done(result));
        }
        let failure = Failure::failed(format!(
            "{} damaged, {} unreadable",
            show::counted(total.damaged, "file"),
            show::counted(total.unreadable, "file")
        ))
        .hint(
            "the next backup stores what is damaged anew if the account still has it (and the one after, what is gone); the \
             older snapshots stay damaged: look for a failing disk, and at `clonepanel history` for other versions",
        );
        context.output.failure(&failure);
        result["error"] = failure.message.into();
        result["hint"] = failure.hint.into();
        Ok(Outcome::new(Exit::Failed, result))
    }

    /// Names the files of all other snapshots, of whatever site, that have a copy which was found to be damaged.
    async fn tell_others(
        &self,
        context: &Context,
        catalogue: &Catalogue,
        verified: &[SnapshotId],
        known: &KnownCopies,
    ) -> Result<u64, Failure> {
        let mut named = 0;
        for site in catalogue.sites(&[]).await? {
            for SnapshotInfo { id, .. } in catalogue.snapshots(&site).await? {
                if self.slice.is_none() && verified.contains(&id) {
                    continue;
                }
                match known.damaged_in(&*catalogue.store, &id).await {
                    Ok(problems) => {
                        let others = |problem: &&Problem| {
                            !verified.contains(&id) || self.slice.is_some_and(|slice| !slice.contains(&problem.path))
                        };
                        let mut told = Problems::new();
                        problems.listed().iter().filter(others).for_each(|problem| told.push(problem.clone()));
                        named += told.total();
                        tell(context, &id, &told);
                    }
                    Err(StoreError::NotFound { .. }) => {}
                    Err(error) => catalogue.leave_out(id, &error),
                }
            }
        }
        Ok(named)
    }

    async fn list(&self, catalogue: &Catalogue) -> Result<Vec<SnapshotId>, Failure> {
        match &self.selector {
            Some(selector) if selector.path.is_some() => {
                Err(Failure::usage("verify takes no path").hint("give a site, or SITE@ID"))
            }
            Some(selector) if selector.when.is_some() => Ok(vec![catalogue.select(selector).await?.id]),
            chosen => {
                let names: Vec<_> = chosen.iter().map(|selector| selector.site.clone()).collect();
                let mut ids = Vec::new();
                for site in catalogue.sites(&names).await? {
                    ids.extend(catalogue.snapshots(&site).await?.into_iter().map(|info| info.id));
                }
                Ok(ids)
            }
        }
    }
}

impl Total {
    fn add(&mut self, outcome: &VerifyOutcome) {
        self.files += outcome.files;
        self.bytes += outcome.bytes;
        self.read_bytes += outcome.read_bytes;
        self.unreadable +=
            outcome.problems.listed().iter().filter(|problem| problem.kind == ProblemKind::Unreadable).count() as u64;
        self.damaged +=
            outcome.problems.listed().iter().filter(|problem| problem.kind != ProblemKind::Unreadable).count() as u64;
    }
}

fn tell(context: &Context, id: &SnapshotId, problems: &Problems) {
    for problem in problems.listed() {
        let event = if problem.kind == ProblemKind::Unreadable { "unreadable" } else { "damaged" };
        let mut object = json::path_event(event, &problem.path);
        object.insert("site".to_owned(), id.source().as_str().into());
        object.insert("id".to_owned(), id.stem().into());
        object.insert("detail".to_owned(), problem.detail().into());
        context.output.event(&object.into());
        if !context.output.is_json() {
            context.output.warn(format_args!("{id}: {}: {}", shown(&problem.path), problem.detail()));
        }
    }
    let unlisted = problems.total() - problems.listed().len() as u64;
    if unlisted > 0 {
        context.output.warn(format_args!("{id}: and {} more", show::count(unlisted)));
    }
}

fn parse_slice(text: &str) -> Result<Slice, String> {
    let bad = || "write it as n/m, with n from 1 to m: 3/7".to_owned();
    let (n, m) = text.split_once('/').ok_or_else(bad)?;
    let (n, m): (u32, u32) = n.parse().ok().zip(m.parse().ok()).ok_or_else(bad)?;
    n.checked_sub(1).and_then(|index| Slice::new(index, m)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_count_from_one() {
        assert_eq!(parse_slice("1/7"), Ok(Slice::new(0, 7).unwrap()));
        assert_eq!(parse_slice("7/7"), Ok(Slice::new(6, 7).unwrap()));
        for bad in ["0/7", "8/7", "1/0", "1", "a/b", "1/7/9", "-1/7"] {
            assert!(parse_slice(bad).is_err(), "{bad}");
        }
    }
}
