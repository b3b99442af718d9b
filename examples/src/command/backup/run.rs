//! [`Runner`]: the jobs of one backup, as many at a time as each server bears.

use crate::{
    context::Told,
    database::SiteDatabase,
    failure::{Exit, Failure, Outcome},
    output::{Output, json, progress::Progress, show},
    zone::SiteZone,
};
use clonepanel_core::{
    job::{BackupJob, PartOutcome},
    problem::ProblemKind,
    snapshot_id::SourceName,
    store::{SnapshotInfo, SnapshotReader, SnapshotState, SnapshotStore},
    suspicion::SuspicionRules,
    time::SystemClock,
    transport::{PullRequest, TransferReport, Transport},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

/// How many problems a person is shown; a program gets them all.
const SHOWN_PROBLEMS: usize = 20;
/// The share of files that a run compares by content: each is looked at every so many days.
const AUDIT_DAYS: u32 = 30;

/// One snapshot to be made.
pub(super) struct Plan {
    pub(super) site: SourceName,
    pub(super) server: String,
    /// How many jobs the server bears at a time.
    pub(super) at_a_time: u32,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) request: PullRequest,
    /// Dumped behind the files.
    pub(super) databases: Vec<SiteDatabase>,
    /// Where the server's WHM is known.
    pub(super) zone: Option<Arc<SiteZone>>,
}

/// Makes the snapshots.
pub(super) struct Runner {
    store: Arc<dyn SnapshotStore>,
    output: Arc<Output>,
    rules: SuspicionRules,
    told: Told,
    plans: Vec<Plan>,
}

/// What travelled, over all parts of a snapshot.
#[derive(Default)]
struct Traffic {
    literal_bytes: u64,
    matched_bytes: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

struct Made {
    site: SourceName,
    seconds: f64,
    result: Result<(SnapshotInfo, Traffic), Failure>,
}

impl Runner {
    pub(super) fn new(store: Arc<dyn SnapshotStore>, output: Arc<Output>, rules: SuspicionRules, told: Told) -> Self {
        Self { store, output, rules, told, plans: Vec::new() }
    }

    pub(super) fn add(&mut self, plan: Plan) {
        self.plans.push(plan);
    }

    /// Runs all of it. The set owns the jobs: dropping this future ends them.
    pub(super) async fn run(self) -> Result<Outcome, Failure> {
        let Self { store, output, rules, told, plans } = self;
        let alone = plans.len() == 1;
        let mut turns: HashMap<String, Arc<Semaphore>> = HashMap::new();
        let (mut jobs, mut sites) = (JoinSet::new(), HashMap::new());
        for plan in plans {
            let turn = turns
                .entry(plan.server.clone())
                .or_insert_with(|| Arc::new(Semaphore::new(usize::try_from(plan.at_a_time).unwrap_or(1))));
            let site = plan.site.clone();
            let job = one(plan, Arc::clone(&store), Arc::clone(&output), rules.clone(), Arc::clone(turn));
            sites.insert(jobs.spawn(job).id(), site);
        }
        let mut total = Total::default();
        while let Some(joined) = jobs.join_next_with_id().await {
            let made = match joined {
                Ok((_, made)) => made,
                // A defect that one site meets holds up no other.
                Err(error) => {
                    let Some(site) = sites.remove(&error.id()) else { continue };
                    let failure = Failure::failed(format!("{site}: the job broke: {error}"));
                    Made { site, seconds: 0.0, result: Err(failure) }
                }
            };
            match made.result {
                Ok((info, traffic)) => {
                    told.lock().unwrap_or_else(PoisonError::into_inner).insert(info.id.clone());
                    tell_snapshot(&output, &info, &traffic, made.seconds);
                    total.add(&info, &traffic);
                }
                // The only job's failure is the command's own.
                Err(failure) if alone => return Err(failure),
                Err(failure) => {
                    tell_failure(&output, &made.site, &failure);
                    total.failed += 1;
                }
            }
        }
        Ok(Outcome::new(total.exit(), total.result()))
    }
}

impl Traffic {
    fn of(report: &TransferReport) -> Self {
        let TransferReport { literal_bytes, matched_bytes, received_bytes, sent_bytes, .. } = *report;
        Self { literal_bytes, matched_bytes, received_bytes, sent_bytes }
    }
}

impl std::iter::Sum for Traffic {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            literal_bytes: sum.literal_bytes + part.literal_bytes,
            matched_bytes: sum.matched_bytes + part.matched_bytes,
            received_bytes: sum.received_bytes + part.received_bytes,
            sent_bytes: sum.sent_bytes + part.sent_bytes,
        })
    }
}

async fn one(
    plan: Plan,
    store: Arc<dyn SnapshotStore>,
    output: Arc<Output>,
    rules: SuspicionRules,
    turn: Arc<Semaphore>,
) -> Made {
    let site = plan.site.clone();
    let progress = Progress::new(&output, site.as_str(), "new");
    progress.phase("waiting for its turn");
    let Ok(_permit) = turn.acquire().await else {
        return Made { site, seconds: 0.0, result: Err(Failure::failed("the run was given up")) };
    };
    progress.phase("");
    let start = Instant::now();
    let older = if plan.databases.is_empty() { None } else { newest(&*store, &site).await };
    let mut job = BackupJob::new(store, plan.site)
        .part(crate::selector::files(), plan.transport, plan.request)
        .audit(AUDIT_DAYS)
        .suspicion(rules);
    for database in plan.databases {
        let Some(prefix) = database.prefix() else {
            let failure = Failure::failed(format!("{site}: the name of a database cannot be that of a folder"));
            return Made { site, seconds: 0.0, result: Err(failure) };
        };
        let database = match &older {
            Some(older) => database.compare(Arc::clone(older)).await,
            None => database,
        };
        job = job.tree(prefix, Arc::new(database));
    }
    if let Some(zone) = plan.zone {
        job = job.tree(SiteZone::prefix(), zone);
    }
    let result = match job.run(&SystemClock, &progress).await {
        Ok(outcome) => {
            tell_wide(&output, &site, &outcome.parts);
            let traffic = outcome.parts.iter().map(|part| Traffic::of(&part.report)).sum();
            Ok((outcome.info, traffic))
        }
        Err(error) => Err(Failure::because(&error)),
    };
    progress.finish(result.as_ref().err());
    Made { site, seconds: start.elapsed().as_secs_f64(), result }
}

/// The newest snapshot that can be opened. It only saves work: without it, all is read.
async fn newest(store: &dyn SnapshotStore, site: &SourceName) -> Option<Arc<dyn SnapshotReader>> {
    let newest = store.list(site).await.ok()?.into_iter().max_by(|a, b| a.id.cmp(&b.id))?;
    store.open(&newest.id).await.ok()
}

fn tell_wide(output: &Output, site: &SourceName, parts: &[PartOutcome]) {
    for (path, entries) in parts.iter().flat_map(|part| &part.wide_dirs) {
        let mut event = json::path_event("wide", path);
        event.insert("site".to_owned(), site.as_str().into());
        event.insert("entries".to_owned(), (*entries).into());
        output.event(&event.into());
        if !output.is_json() {
            output.warn(format_args!(
                "{site}: {path} has {} entries; if they are sessions or a cache, leave them out: exclude \"/{path}/*\"",
                show::count(*entries)
            ));
        }
    }
}

fn tell_failure(output: &Output, site: &SourceName, failure: &Failure) {
    output.failure(failure);
    let Failure { message, hint, .. } = failure;
    output.event(&json!({ "event": "failure", "site": site.as_str(), "error": message, "hint": hint }));
}

fn tell_snapshot(output: &Output, info: &SnapshotInfo, traffic: &Traffic, seconds: f64) {
    let site = info.id.source();
    let tally = &info.tally;
    // Files of the turn's slice, and those too young for their times to prove anything.
    let confirmed = match tally.confirmed_files {
        0 => String::new(),
        files => format!(", {} read again", show::count(files)),
    };
    output.line(format_args!(
        "{} {} in {seconds:.1} s: {} ({} added, {} changed, {} removed{confirmed}), {}, {} new, {} received",
        info.id,
        show::state(info.state()),
        show::counted(tally.files, "file"),
        show::count(tally.added_files),
        show::count(tally.changed_files - tally.confirmed_files),
        show::count(tally.removed_files),
        show::bytes(tally.bytes),
        show::bytes(tally.new_bytes),
        show::bytes(traffic.received_bytes),
    ));
    for suspicion in &info.suspicions {
        output.warn(format_args!("{}: suspect: {suspicion}", info.id));
    }
    if !info.suspicions.is_empty() {
        output.note(format_args!("{site}: the same command with --accept takes it for what it should be, once"));
    }
    for (at, problem) in info.problems.listed().iter().enumerate() {
        output.event(&json::problem(&info.id, problem, json::Paths::Snapshot));
        if at < SHOWN_PROBLEMS && !output.is_json() {
            let path = crate::selector::shown(&problem.path);
            let detail = if problem.detail().is_empty() { String::new() } else { format!(": {}", problem.detail()) };
            output.warn(format_args!("{site}: {path}: {}{detail}", problem.kind.word()));
        }
    }
    if info.problems.total() > SHOWN_PROBLEMS as u64 && !output.is_json() {
        output.warn(format_args!(
            "{site}: and {} more; `clonepanel snapshots {site}@{} --problems` lists them",
            show::count(info.problems.total() - SHOWN_PROBLEMS as u64),
            info.id.stem()
        ));
    }
    let mut event = json::snapshot(info);
    if let Value::Object(fields) = &mut event {
        fields.insert("seconds".to_owned(), seconds.into());
        fields.insert("literal_bytes".to_owned(), traffic.literal_bytes.into());
        fields.insert("matched_bytes".to_owned(), traffic.matched_bytes.into());
        fields.insert("received_bytes".to_owned(), traffic.received_bytes.into());
        fields.insert("sent_bytes".to_owned(), traffic.sent_bytes.into());
    }
    output.event(&event);
}

#[derive(Default)]
struct Total {
    complete: u64,
    partial: u64,
    suspect: u64,
    /// Complete ones with files that were written to while they were read.
    torn: u64,
    failed: u64,
    problems: u64,
    new_bytes: u64,
    received_bytes: u64,
}

impl Total {
    fn add(&mut self, info: &SnapshotInfo, traffic: &Traffic) {
        match info.state() {
            SnapshotState::Complete => {
                self.complete += 1;
                let is_torn = info.problems.listed().iter().any(|problem| problem.kind == ProblemKind::Changed);
                self.torn += u64::from(is_torn);
            }
            SnapshotState::Partial => self.partial += 1,
            SnapshotState::Suspect => self.suspect += 1,
        }
        self.problems += info.problems.total();
        self.new_bytes += info.tally.new_bytes;
        self.received_bytes += traffic.received_bytes;
    }

    fn exit(&self) -> Exit {
        match (self.complete + self.partial + self.suspect, self.partial + self.suspect + self.torn + self.failed) {
            (_, 0) => Exit::Done,
            (0, _) => Exit::Failed,
            _ => Exit::Partial,
        }
    }

    fn result(&self) -> Value {
        json!({
            "complete": self.complete,
            "partial": self.partial,
            "suspect": self.suspect,
            "failed": self.failed,
            "problems": self.problems,
            "new_bytes": self.new_bytes,
            "received_bytes": self.received_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Audience;
    use async_trait::async_trait;
    use clonepanel_core::{
        memory::{MemoryStore, MemoryTransport, MemoryTree},
        observer::Observer,
        transport::{PushRequest, TransportError},
        tree::{TreeSink, TreeSource},
    };

    /// A transport with a defect.
    struct Broken;

    #[async_trait]
    impl Transport for Broken {
        fn endpoint(&self) -> &str {
            "broken"
        }
        async fn pull(
            &self,
            _: &PullRequest,
            _: &dyn TreeSink,
            _: &dyn Observer,
        ) -> Result<TransferReport, TransportError> {
            panic!("a defect")
        }
        async fn push(
            &self,
            _: &PushRequest,
            _: &dyn TreeSource,
            _: &dyn Observer,
        ) -> Result<TransferReport, TransportError> {
            panic!("a defect")
        }
    }

    #[tokio::test]
    async fn a_job_that_breaks_holds_up_no_other() {
        let store = Arc::new(MemoryStore::new());
        let output = Arc::new(Output::new(Audience::Person, true));
        let mut runner = Runner::new(store, output, SuspicionRules::new(), Told::default());
        let good = || Arc::new(MemoryTransport::new(MemoryTree::new())) as Arc<dyn Transport>;
        // One at a time: those behind the broken one still get their turn.
        for (name, transport) in [("a", Arc::new(Broken) as Arc<dyn Transport>), ("b", good()), ("c", good())] {
            let site = SourceName::new(name).unwrap();
            runner.add(Plan {
                site,
                server: "s".to_owned(),
                at_a_time: 1,
                transport,
                request: PullRequest::new(),
                databases: Vec::new(),
                zone: None,
            });
        }
        let outcome = runner.run().await.unwrap();
        assert_eq!(outcome.exit, Exit::Partial);
        assert_eq!((&outcome.result["complete"], &outcome.result["failed"]), (&2.into(), &1.into()));
    }
}
