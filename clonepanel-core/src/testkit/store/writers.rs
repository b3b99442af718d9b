//! S4, S11, S13: several writers, one after the other and at once.

use super::{
    fixture::{StoreFixture, back_up, begin, day, everything, files, fill, ids, sample, source, tree_of},
    hold,
};
use crate::{
    snapshot_id::SourceName,
    store::{NewSnapshot, Seal, StoreError},
    testkit::differences,
    tree::{TreeSink, Under},
};
use bytes::Bytes;

/// S4: a dropped writer costs nothing and blocks nobody.
pub async fn s4_a_dropped_writer_costs_nothing(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let tree = sample();
    let first = back_up(&*store, &tree, day(0)).await.id;
    let before = everything(&*store, &first).await;
    tree.write(&crate::testkit::path("a/one"), "written anew", super::fixture::old(50)).expect("the file is there");
    let entry = tree.entry(&crate::testkit::path("a/one")).expect("the file is there");

    // Dropped empty, with all that it takes, and with a file half written.
    for fraction in 0..3 {
        let writer = begin(&*store, day(1)).await;
        match fraction {
            0 => drop(writer),
            1 => {
                fill(&*writer, &tree).await;
                drop(writer);
            }
            _ => {
                let sink = Under::new(files(), &*writer);
                for entry in tree.list().iter().filter(|entry| entry.is_dir()) {
                    sink.offer(entry).await.expect("offer a directory");
                }
                sink.offer(&entry).await.expect("offer a file");
                let mut file = sink.file(&entry).await.expect("open a file");
                file.write(Bytes::from_static(b"writ")).await.expect("write a file");
                drop(sink);
                drop(writer);
                drop(file);
            }
        }
        let listed = ids(&*store).await;
        hold!("S4", listed == [first.clone()], "after a dropped writer, listed are {listed:?}");
        hold!("S4", everything(&*store, &first).await == before, "a dropped writer changed an older snapshot");
        let next = store.begin(NewSnapshot::new(source(), day(1))).await;
        hold!("S4", next.is_ok(), "a dropped writer blocks the next: {:?}", next.err());
    }

    let second = back_up(&*fixture.open().await, &tree, day(1)).await;
    let differences = differences(&tree, &tree_of(&*store, &second.id).await);
    hold!("S4", differences.is_empty(), "after dropped writers, a snapshot differs: {differences:?}");
    hold!("S4", second.base == Some(first), "a dropped writer became a base");
}

/// S11: a second writer for the same source is `Busy`; after the first ended, however it ended, the next one begins.
pub async fn s11_a_second_writer_is_busy(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let other = SourceName::new("other.example").expect("a valid name");
    for ending in 0..3 {
        let writer = begin(&*store, day(ending)).await;
        for store in [&store, &fixture.open().await] {
            let second = store.begin(NewSnapshot::new(source(), day(ending))).await.map(drop);
            let busy = matches!(&second, Err(StoreError::Busy { source_name }) if *source_name == source());
            hold!("S11", busy, "a second writer gets {second:?}");
        }
        let free = store.begin(NewSnapshot::new(other.clone(), day(ending))).await;
        hold!("S11", free.is_ok(), "a writer of one source blocks another source: {:?}", free.err());
        match ending {
            0 => drop(writer),
            1 => writer.abort().await.expect("abort a snapshot"),
            _ => drop(writer.commit(Seal::new(day(ending))).await.expect("commit a snapshot")),
        }
        for store in [&store, &fixture.open().await] {
            let next = store.begin(NewSnapshot::new(source(), day(ending))).await;
            hold!("S11", next.is_ok(), "after a writer's end, the next gets {:?}", next.err());
        }
    }
}

/// S13: ids grow, also when the clock goes back, and the base is always the newest.
pub async fn s13_ids_grow(fixture: &dyn StoreFixture) {
    let mut newest = None;
    for now in [100, 100, 50, 101, 0] {
        let store = fixture.open().await;
        let made = back_up(&*store, &sample(), day(now)).await;
        hold!("S13", Some(&made.id) > newest.as_ref(), "{} is made after {newest:?}", made.id);
        hold!("S13", made.base == newest, "{} is built on {:?}, not on the newest", made.id, made.base);
        let last = ids(&*store).await.pop();
        hold!("S13", last.as_ref() == Some(&made.id), "{} is made, and {last:?} is listed last", made.id);
        newest = Some(made.id);
    }
}
