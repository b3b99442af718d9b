//! T4, T5, T6, T8: what happens when something goes wrong on the way.

use super::{
    super::store::hold,
    fixture::{Incident, TransportFixture, Watched, leave_out, pull, suitable, tree_of},
};
use crate::{
    entry::Entry,
    memory::{MemoryStore, MemoryTree},
    path::RelPath,
    problem::ProblemKind,
    snapshot_id::SourceName,
    store::{NewSnapshot, Seal, SnapshotStore, SnapshotWriter},
    testkit::{Call, Fault, Gate, Gated, Yields, differences, path, read_tree, run_for},
    time::Timestamp,
    transport::{PullRequest, TransferReport, TransportError},
    tree::TreeError,
};
use async_trait::async_trait;

/// T4: dropping a pull at any point leaves the sink committable and abortable, and the next pull works.
pub async fn t4_a_dropped_pull_harms_nothing(fixture: &dyn TransportFixture) {
    fixture.place(&suitable(fixture, "T4", 4)).await;
    let far = fixture.far().await;
    let now = Timestamp::from_secs(1_700_000_000);
    let source = SourceName::new("contract.example").expect("a valid name");
    // Every point at first, then ever fewer: a real connection has thousands.
    let mut polls = 0;
    loop {
        let store = MemoryStore::new();
        let new = NewSnapshot::new(source.clone(), now);
        let writer = store.begin(new.clone()).await.expect("begin a snapshot");
        let done = dropped_pull(fixture, &*writer, polls).await;
        let committed = writer.commit(Seal::new(now)).await;
        hold!("T4", committed.is_ok(), "after {polls} polls, the sink cannot be committed: {:?}", committed.err());
        if let Ok(info) = committed {
            let reader = store.open(&info.id).await.expect("open a snapshot");
            let whole = read_tree(&reader).await.expect("read a snapshot");
            for entry in whole.list().iter().filter(|entry| entry.len().is_some()) {
                let (left, right) = (whole.content(&entry.path), far.content(&entry.path));
                hold!("T4", left == right, "after {polls} polls, {} is there with another content", entry.path);
            }
        }
        let writer = store.begin(new).await.expect("begin a snapshot");
        dropped_pull(fixture, &*writer, polls).await;
        let aborted = writer.abort().await;
        hold!("T4", aborted.is_ok(), "after {polls} polls, the sink cannot be aborted: {:?}", aborted.err());
        if done {
            break;
        }
        polls += 1 + polls / 8;
    }
    let here = MemoryTree::new();
    let report = pull(fixture, &here).await;
    hold!("T4", report.is_ok(), "after dropped pulls, the next one fails: {report:?}");
    let differences = differences(&far, &here);
    hold!("T4", differences.is_empty(), "after dropped pulls, the next one differs: {differences:?}");
}

async fn dropped_pull(fixture: &dyn TransportFixture, writer: &dyn SnapshotWriter, polls: usize) -> bool {
    let transport = fixture.transport().await;
    let sink = Gated::new(writer, Yields);
    run_for(polls, transport.pull(&PullRequest::new(), &sink, &())).await.is_some()
}

/// T5: a file that vanishes or cannot be read on the way is a problem in the report, not an error.
pub async fn t5_vanished_files_are_problems(fixture: &dyn TransportFixture) {
    let far = tree_of(&[("a", b"arrives"), ("d/gone", b"vanishes"), ("d/stays", b"arrives"), ("z", b"arrives")]);
    fixture.place(&far).await;
    far.remove(&path("d/gone"));
    let here = MemoryTree::new();
    let vanishing = Vanishing { fixture, path: path("d/gone") };
    let report = pull(fixture, &Watched::new(&here, &vanishing)).await;
    check_problem(&report, "d/gone", ProblemKind::Vanished, "vanishes", &far, &here);

    fixture.place(&far).await;
    if !fixture.forbid_reading(&path("d/stays")).await {
        return leave_out("T5", "no file can be made unreadable here");
    }
    far.remove(&path("d/stays"));
    let here = MemoryTree::new();
    let report = pull(fixture, &here).await;
    check_problem(&report, "d/stays", ProblemKind::Unreadable, "cannot be read", &far, &here);
}

fn check_problem(
    report: &Result<TransferReport, TransportError>,
    name: &str,
    kind: ProblemKind,
    what: &str,
    far: &MemoryTree,
    here: &MemoryTree,
) {
    hold!("T5", report.is_ok(), "a file that {what} fails the pull: {report:?}");
    let problems: Vec<_> = report.iter().flat_map(|report| report.problems.listed()).collect();
    let said = matches!(problems[..], [problem] if problem.path == path(name) && problem.kind == kind);
    hold!("T5", said, "for a file that {what}, the problems are {problems:?}");
    // The times of the directories moved with what happened in them.
    let content = |tree: &MemoryTree| -> Vec<_> {
        tree.list().into_iter().map(|entry| (tree.content(&entry.path), entry.path)).collect()
    };
    hold!("T5", content(far) == content(here), "beside a file that {what}, there arrived {here:?}");
}

struct Vanishing<'a> {
    fixture: &'a dyn TransportFixture,
    path: RelPath,
}

#[async_trait]
impl Incident for Vanishing<'_> {
    async fn offered(&self, entry: &Entry) -> Result<(), TreeError> {
        if entry.path == self.path {
            self.fixture.remove(&self.path).await;
        }
        Ok(())
    }
}

/// T6: a path that leaves the root is refused, whatever the far end says.
pub async fn t6_paths_that_leave_are_refused(fixture: &dyn TransportFixture) {
    let Some(transport) = fixture.hostile().await else {
        return leave_out("T6", "the protocol of this transport cannot say such a path");
    };
    let here = MemoryTree::new();
    let watched = Watched::new(&here, &());
    let report = transport.pull(&PullRequest::new(), &watched, &()).await;
    let escaped: Vec<_> = here.list().into_iter().filter(|entry| entry.path.name() == b"escaped").collect();
    hold!("T6", escaped.is_empty(), "outside the root, there arrived {escaped:?}");
    match report {
        Err(error) => {
            let blamed = matches!(error, TransportError::Protocol { .. });
            hold!("T6", blamed, "a path outside the root is called {error:?}");
        }
        Ok(report) => {
            let refused = report.problems.listed().iter().any(|problem| problem.kind == ProblemKind::Refused);
            hold!("T6", refused, "a path outside the root is not reported: {:?}", report.problems);
            hold!("T6", here.content(&path("good")).is_some(), "beside it, a good file did not arrive");
        }
    }
}

/// T8: an error of the sink ends the pull with [`TransportError::Sink`], except `Refused`, which is a problem.
pub async fn t8_errors_of_the_sink_end_the_pull(fixture: &dyn TransportFixture) {
    let far = tree_of(&[("a", b"first"), ("d/middle", b"refused"), ("z", b"last")]);
    fixture.place(&far).await;
    for call in [Call::Offer, Call::File, Call::Write, Call::Finish] {
        for name in ["a", "d/middle", "z"] {
            let here = MemoryTree::new();
            let sink = Gated::new(here, Failing { call, path: path(name), fault: Fault::NoSpace });
            let report = pull(fixture, &sink).await;
            let said = matches!(&report, Err(TransportError::Sink(TreeError::NoSpace { .. })));
            hold!("T8", said, "a full disk at {call:?} of {name} is called {report:?}");
        }
    }
    let refused = path("d/middle");
    let left: Vec<_> = far.list().into_iter().map(|entry| entry.path).filter(|path| *path != refused).collect();
    for call in [Call::Offer, Call::File, Call::Write, Call::Finish] {
        let here = MemoryTree::new();
        let gate = Failing { call, path: refused.clone(), fault: Fault::Refused };
        let report = pull(fixture, &Gated::new(here.clone(), gate)).await;
        hold!("T8", report.is_ok(), "an entry that is refused at {call:?} fails the pull: {report:?}");
        let problems: Vec<_> = report.iter().flat_map(|report| report.problems.listed()).collect();
        let said = matches!(problems[..], [problem] if problem.path == refused && problem.kind == ProblemKind::Refused);
        hold!("T8", said, "for an entry that is refused at {call:?}, the problems are {problems:?}");
        let arrived: Vec<_> = here.list().into_iter().map(|entry| entry.path).collect();
        hold!("T8", arrived == left, "beside an entry that is refused at {call:?}, there arrived {arrived:?}");
    }
}

struct Failing {
    call: Call,
    path: RelPath,
    fault: Fault,
}

#[async_trait]
impl Gate for Failing {
    async fn pass(&self, call: Call, path: &RelPath) -> Result<(), Fault> {
        if (call, path) == (self.call, &self.path) { Err(self.fault) } else { Ok(()) }
    }
}
