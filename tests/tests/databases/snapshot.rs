//! Databases in snapshots.

use super::{Dumped, dumped::root};
use clonepanel_core::{
    job::{BackupJob, RestoreJob},
    path::RelPath,
    snapshot_id::SourceName,
    store::SnapshotStore,
    time::SystemClock,
};
use clonepanel_store::{
    HardLinkStore,
    mysql::{DatabaseImport, DatabaseSource, Placement},
};
use clonepanel_tests::MariaDb;
use std::sync::Arc;

const SITE: &str = "
CREATE DATABASE wp; CREATE DATABASE copy; USE wp;
CREATE TABLE posts (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, body text NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO posts (body) SELECT repeat(concat(seq, ' lorem ipsum '), 40) FROM seq_1_to_20000;
CREATE VIEW newest AS SELECT max(id) AS id FROM posts;
";

#[test]
fn a_day_of_edits_costs_what_was_edited() {
    let server = MariaDb::start();
    server.run("", SITE);
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(HardLinkStore::init(folder.path()).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let prefix = RelPath::try_from("databases/wp").unwrap();
    let backup = || {
        let tree = Arc::new(DatabaseSource::new(root(&server, "wp")));
        let job = BackupJob::new(Arc::clone(&store) as Arc<dyn SnapshotStore>, SourceName::new("site").unwrap());
        runtime.block_on(job.tree(prefix.clone(), tree).run(&SystemClock, &())).unwrap().info
    };
    let first = backup();
    assert!(first.problems.is_empty() && first.tally.new_bytes > 10_000_000, "{first:?}");
    let unchanged = backup();
    assert_eq!(unchanged.tally.new_bytes, 0, "what is the same is linked");
    server.run("wp", "UPDATE posts SET body = 'edited' WHERE id = 9000; INSERT INTO posts (body) VALUES ('new')");
    let third = backup();
    assert!(third.tally.new_bytes > 0 && third.tally.new_bytes < first.tally.new_bytes / 3, "{:?}", third.tally);

    // And back from the store, into another database.
    let report = runtime.block_on(async {
        let import = DatabaseImport::begin(root(&server, "copy"), Placement::IntoEmpty).await.unwrap();
        let reader = store.open(&third.id).await.unwrap();
        RestoreJob::new(reader, prefix.clone()).run(&import, &()).await.unwrap();
        import.finish().await.unwrap()
    });
    assert_eq!((report.tables[0].rows, report.refused.len()), (20_001, 0));
    Dumped::of(root(&server, "wp")).assert_same(&Dumped::of(root(&server, "copy")));
}
