//! S16: what becomes of a stored copy that was found to be damaged.

use super::{
    fixture::{Asked, StoreFixture, back_up, begin, day, everything, fill, in_files, sample},
    hold,
};
use crate::{
    path::RelPath,
    snapshot_id::SnapshotId,
    store::{Seal, SnapshotStore, StoredCopy},
};

/// S16: a copy that is distrusted is in no new snapshot, and what it held is asked for again, once.
pub async fn s16_what_is_distrusted_is_asked_for_again(fixture: &dyn StoreFixture) {
    let store = &*fixture.open().await;
    let tree = sample();
    let first = back_up(store, &tree, day(0)).await;
    let victim = in_files("a/large");
    let copies = copies_of(store, &first.id, &[victim.clone(), in_files("a"), in_files("absent")]).await;
    hold!(
        "S16",
        matches!(copies[..], [Some(_), None, None]),
        "of a file, a directory and nothing, copies are {copies:?}"
    );
    let before = everything(store, &first.id).await;
    let reader = store.open(&first.id).await.expect("open a snapshot");
    reader.distrust(&victim).await.expect("distrust a copy");
    drop(reader);
    hold!("S16", everything(store, &first.id).await == before, "to distrust a copy changes its snapshot");

    // As after a restart.
    let store = &*fixture.open().await;
    let writer = begin(store, day(1)).await;
    let asked = fill(&*writer, &tree).await;
    let second = writer.commit(Seal::new(day(1))).await.expect("commit a snapshot");
    for (path, asked) in &asked {
        let path = in_files(&path.to_string());
        let expected = if path == victim { Asked::Yes } else { Asked::No };
        hold!("S16", *asked == expected, "{victim} is distrusted: is {path} asked for? {asked:?}");
    }
    let now = copies_of(store, &second.id, std::slice::from_ref(&victim)).await;
    hold!("S16", now.first() != copies.first(), "the new snapshot has the distrusted copy");

    let writer = begin(store, day(2)).await;
    let asked = fill(&*writer, &tree).await;
    writer.commit(Seal::new(day(2))).await.expect("commit a snapshot");
    let again: Vec<_> = asked.iter().filter(|(_, asked)| **asked == Asked::Yes).collect();
    hold!("S16", again.is_empty(), "the new copy is good, and asked for again are {again:?}");
}

async fn copies_of(store: &dyn SnapshotStore, id: &SnapshotId, paths: &[RelPath]) -> Vec<Option<StoredCopy>> {
    let reader = store.open(id).await.expect("open a snapshot");
    reader.stored_copies(paths).await.expect("look at the stored copies")
}
