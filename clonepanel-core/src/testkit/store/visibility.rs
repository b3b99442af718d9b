//! S1, S2, S3, S7, S9: what is visible, and when.

use super::{
    fixture::{StoreFixture, back_up, begin, day, fill, ids, sample, source, tree_of},
    hold,
};
use crate::{
    snapshot_id::SnapshotId,
    snapshot_id::SourceName,
    store::{Seal, SnapshotStore, StoreError},
    testkit::{differences, run_for},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

/// S1: nothing of a snapshot is visible before the commit, also after the store was opened anew.
pub async fn s1_uncommitted_is_invisible(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let writer = begin(&*store, day(0)).await;
    fill(&*writer, &sample()).await;
    for store in [&store, &fixture.open().await] {
        hold!("S1", ids(&**store).await.is_empty(), "an uncommitted snapshot is listed");
        hold!("S1", store.sources().await.expect("list the sources").is_empty(), "its source is listed");
        let opened = store.open(writer.id()).await;
        hold!("S1", matches!(opened, Err(StoreError::NotFound { .. })), "an uncommitted snapshot can be opened");
    }
    writer.abort().await.expect("abort a snapshot");

    let first = back_up(&*store, &sample(), day(1)).await;
    let writer = begin(&*store, day(2)).await;
    fill(&*writer, &sample()).await;
    let second = writer.id().clone();
    for store in [&store, &fixture.open().await] {
        hold!("S1", ids(&**store).await == [first.id.clone()], "an uncommitted snapshot is listed beside its base");
    }
    writer.abort().await.expect("abort a snapshot");
    for store in [store, fixture.open().await] {
        hold!("S1", ids(&*store).await == [first.id.clone()], "an aborted snapshot is listed");
        let opened = store.open(&second).await;
        hold!("S1", matches!(opened, Err(StoreError::NotFound { .. })), "an aborted snapshot can be opened");
    }
}

/// S2: a commit makes the snapshot visible exactly once, as it said.
pub async fn s2_commit_publishes_exactly_once(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let writer = begin(&*store, day(0)).await;
    let id = writer.id().clone();
    fill(&*writer, &sample()).await;
    let info = writer.commit(Seal::new(day(1))).await.expect("commit a snapshot");
    hold!("S2", info.id == id, "the snapshot has another id than its writer said");
    hold!("S2", (info.begun, info.committed) == (day(0), day(1)), "its times are not those that were given");
    for store in [store, fixture.open().await] {
        let list = store.list(&source()).await.expect("list the snapshots");
        hold!("S2", list == [info.clone()], "listed is {list:?}, not once {info:?}");
        hold!("S2", store.sources().await.expect("list the sources") == [source()], "its source is not listed");
        let reader = store.open(&id).await;
        hold!("S2", reader.is_ok_and(|reader| *reader.info() == info), "it opens as another one");
    }
}

/// S3: every observer sees nothing of a snapshot or all of it, also when the commit is dropped on the way.
pub async fn s3_commit_is_atomic(fixture: &dyn StoreFixture) {
    let tree = sample();
    let done = Arc::new(AtomicBool::new(false));
    let observer = tokio::spawn({
        let (store, tree, done) = (fixture.open().await, tree.clone(), Arc::clone(&done));
        async move {
            while !done.load(SeqCst) {
                all_are_whole(&*store, &tree).await;
                tokio::task::yield_now().await;
            }
        }
    });
    for polls in 0.. {
        let store = fixture.open().await;
        let writer = begin_when_free(&*store).await;
        let id = writer.id().clone();
        fill(&*writer, &tree).await;
        let outcome = run_for(polls, writer.commit(Seal::new(day(0)))).await;
        all_are_whole(&*store, &tree).await;
        if let Some(outcome) = outcome {
            outcome.expect("commit a snapshot");
            hold!("S3", ids(&*store).await.contains(&id), "a committed snapshot is not visible");
            break;
        }
    }
    done.store(true, SeqCst);
    if let Err(error) = observer.await {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// A commit that was dropped may still be on its way to all or nothing.
async fn begin_when_free(store: &dyn SnapshotStore) -> Box<dyn crate::store::SnapshotWriter> {
    loop {
        match store.begin(crate::store::NewSnapshot::new(source(), day(0))).await {
            Err(StoreError::Busy { .. }) => tokio::task::yield_now().await,
            begun => return begun.expect("begin a snapshot"),
        }
    }
}

async fn all_are_whole(store: &dyn SnapshotStore, tree: &crate::memory::MemoryTree) {
    for id in ids(store).await {
        match store.open(&id).await {
            Err(error) => hold!("S3", false, "a listed snapshot does not open: {error}"),
            Ok(_) => {
                let differences = differences(tree, &tree_of(store, &id).await);
                hold!("S3", differences.is_empty(), "a visible snapshot is not whole: {differences:?}");
            }
        }
    }
}

/// S7: lists are oldest first, also for more than ten snapshots of one second.
pub async fn s7_lists_are_oldest_first(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    hold!("S7", ids(&*store).await.is_empty(), "an unknown source has snapshots");
    let mut made: Vec<SnapshotId> = Vec::new();
    for now in [0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3] {
        made.push(back_up(&*store, &crate::memory::MemoryTree::new(), day(now)).await.id);
    }
    for store in [store, fixture.open().await] {
        let listed = ids(&*store).await;
        hold!("S7", listed == made, "listed are {listed:?}, made were {made:?}");
    }
}

/// S9: what does not exist is `NotFound`, to open and to delete.
pub async fn s9_absent_ids_are_not_found(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let first = back_up(&*store, &sample(), day(0)).await.id;
    let second = back_up(&*store, &sample(), day(1)).await.id;
    store.delete(&first).await.expect("delete a snapshot");
    let stranger = SourceName::new("stranger.example").expect("a valid name");
    let never = SnapshotId::next(source(), day(9), None);
    for absent in [first, never, SnapshotId::next(stranger, day(0), None)] {
        for store in [&store, &fixture.open().await] {
            let opened = store.open(&absent).await.map(drop);
            hold!("S9", matches!(&opened, Err(StoreError::NotFound { id }) if *id == absent), "open says {opened:?}");
            let deleted = store.delete(&absent).await;
            hold!(
                "S9",
                matches!(&deleted, Err(StoreError::NotFound { id }) if *id == absent),
                "delete says {deleted:?}"
            );
        }
    }
    hold!("S9", ids(&*store).await == [second], "another snapshot went");
}
