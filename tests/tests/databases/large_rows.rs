//! A row of 40 MB.

use super::{
    Dumped,
    dumped::root,
    zoo::{checksums, create},
};
use clonepanel_core::tree;
use clonepanel_store::mysql::{DatabaseImport, DatabaseSource, Placement};
use clonepanel_tests::MariaDb;

const ROWS: &str = "
CREATE TABLE files (id int NOT NULL PRIMARY KEY, name varchar(50), content longblob, text longtext) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO files VALUES (1, 'small', 'x', 'x'), (3, 'small', 'y', 'y');
INSERT INTO files VALUES (2, 'text', NULL, repeat('forty million ', 3000000));
INSERT INTO files VALUES (4, 'bytes', repeat(unhex('00ff27'), 7000000), NULL);
";

#[test]
fn a_row_of_forty_megabytes_survives() {
    let server = MariaDb::start_with(&["--max-allowed-packet=64M", "--innodb-log-file-size=512M"]);
    create(&server, "from");
    create(&server, "to");
    server.run("from", ROWS);
    let before = Dumped::of(root(&server, "from"));
    assert_eq!(before.problems, []);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let import = DatabaseImport::begin(root(&server, "to"), Placement::IntoEmpty).await.unwrap();
        let copied = tree::copy(&DatabaseSource::new(root(&server, "from")), &import, &()).await;
        assert!(copied.unwrap().problems.is_empty());
        import.finish().await.unwrap();
    });
    let after = Dumped::of(root(&server, "to"));
    before.assert_same(&after);
    assert_eq!(checksums(&server, "from", &before), checksums(&server, "to", &after));
}

#[test]
fn a_row_that_the_target_does_not_take_is_told() {
    let server = MariaDb::start_with(&["--max-allowed-packet=64M", "--innodb-log-file-size=512M"]);
    let small = MariaDb::start();
    create(&server, "from");
    create(&small, "to");
    server.run("from", ROWS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (problems, finished) = runtime.block_on(async {
        let import = DatabaseImport::begin(root(&small, "to"), Placement::IntoEmpty).await.unwrap();
        let copied = tree::copy(&DatabaseSource::new(root(&server, "from")), &import, &()).await;
        (copied.map(|report| report.problems), import.finish().await)
    });
    let told = format!("{problems:?} {finished:?}");
    assert!(finished.is_err(), "{told}");
    assert!(told.contains("the server takes no statement of more than 16777216"), "{told}");
    assert_eq!(small.ask("to", "SHOW TABLES"), "", "nothing is left half done");
}
