//! Dumps on their way into a database.

use super::{
    Dumped,
    dumped::root,
    zoo::{ZOO, checksums, create},
};
use clonepanel_core::{
    memory::MemoryTree,
    path::RelPath,
    time::Timestamp,
    tree::{self, TreeSource},
};
use clonepanel_store::mysql::{
    DanglingRows, DatabaseAddress, DatabaseError, DatabaseImport, DatabaseSource, EventState, ImportError,
    ImportReport, Placement,
};
use clonepanel_tests::{MariaDb, SqlServer};
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

pub(super) async fn import(
    source: &dyn TreeSource,
    server: &SqlServer,
    database: &str,
    placement: Placement,
) -> Result<ImportReport, ImportError> {
    let import = DatabaseImport::begin(root(server, database), placement).await?.events(EventState::AsDumped);
    // What goes wrong on the way comes out at the end, at the latest.
    let copied = tree::copy(source, &import, &()).await;
    let report = import.finish().await?;
    assert!(copied.unwrap().problems.is_empty());
    Ok(report)
}

/// A dump as a tree, as somebody may have changed it.
fn tree_of(files: &[(String, Vec<u8>)]) -> MemoryTree {
    let tree = MemoryTree::new();
    for (path, content) in files {
        let path = RelPath::try_from(path.as_str()).unwrap();
        let mut parents: Vec<_> = std::iter::successors(path.parent(), RelPath::parent).collect();
        parents.reverse();
        parents.into_iter().filter(|parent| !parent.is_root()).for_each(|parent| tree.put_dir(parent).unwrap());
        tree.put_file(path, content.clone(), Timestamp::default()).unwrap();
    }
    tree
}

fn files(dumped: &Dumped) -> Vec<(String, Vec<u8>)> {
    dumped.files.clone().into_iter().collect()
}

/// Without those that an import was about to make when it was broken off: the next one removes them.
pub(super) fn tables(server: &SqlServer, database: &str) -> String {
    let tables = server.ask(database, "SHOW TABLES");
    tables.lines().filter(|name| !name.starts_with("_clonepanel_new_")).map(|name| format!("{name}\n")).collect()
}

#[test]
fn an_import_makes_the_same_database() {
    let server = MariaDb::start();
    create(&server, "zoo");
    create(&server, "again");
    server.run("zoo", ZOO);
    let report =
        run(import(&DatabaseSource::new(root(&server, "zoo")), &server, "again", Placement::IntoEmpty)).unwrap();
    assert_eq!((report.refused, report.untouched, report.missing, report.redefined), (vec![], vec![], vec![], vec![]));

    let (before, after) = (Dumped::of(root(&server, "zoo")), Dumped::of(root(&server, "again")));
    before.assert_same(&after);
    assert_eq!(report.tables.len(), before.description().tables.len());
    assert_eq!(report.objects as usize, before.description().objects.len());
    assert_eq!(checksums(&server, "zoo", &before), checksums(&server, "again", &after));

    // Once more over what is there now: everything is replaced, and nothing is doubled.
    let report = run(import(&DatabaseSource::new(root(&server, "zoo")), &server, "again", Placement::Replace)).unwrap();
    assert_eq!((report.refused, report.untouched), (vec![], vec![]));
    before.assert_same(&Dumped::of(root(&server, "again")));
    // And never over it unasked.
    let refused = run(import(&DatabaseSource::new(root(&server, "zoo")), &server, "again", Placement::IntoEmpty));
    assert!(matches!(refused, Err(ImportError::NotEmpty(24))), "{refused:?}");
}

#[test]
fn rows_may_come_before_their_tables() {
    let server = MariaDb::start();
    create(&server, "zoo");
    create(&server, "again");
    server.run("zoo", ZOO);
    let dumped = Dumped::of(root(&server, "zoo"));
    run(async {
        let import = DatabaseImport::begin(root(&server, "again"), Placement::IntoEmpty).await.unwrap();
        let import = import.events(EventState::AsDumped);
        let tree = tree_of(&files(&dumped));
        let mut entries = Vec::new();
        let mut listing = tree.entries().await.unwrap();
        while let Some(tree::Listed::Entry(entry)) = listing.next().await.unwrap() {
            entries.push(entry);
        }
        for entry in entries.iter().rev().filter(|entry| entry.has_content()) {
            use clonepanel_core::tree::TreeSink as _;
            import.offer(entry).await.unwrap();
            let mut sink = import.file(entry).await.unwrap();
            for piece in dumped.files[&entry.path.to_string()].chunks(100) {
                sink.write(piece.to_vec().into()).await.unwrap();
            }
            sink.finish().await.unwrap();
        }
        assert_eq!(import.finish().await.unwrap().refused, []);
    });
    dumped.assert_same(&Dumped::of(root(&server, "again")));
}

const SHOP: &str = "
CREATE DATABASE shop; CREATE DATABASE live; USE shop;
CREATE TABLE goods (id int NOT NULL PRIMARY KEY, version int NOT NULL) ENGINE=InnoDB;
INSERT INTO goods SELECT seq, 2 FROM seq_1_to_3000;
CREATE TABLE orders (id int NOT NULL PRIMARY KEY, good int, CONSTRAINT of_good FOREIGN KEY (good) REFERENCES goods (id)) ENGINE=InnoDB;
INSERT INTO orders VALUES (1, 5);
CREATE TRIGGER counted AFTER INSERT ON orders FOR EACH ROW SET @counted = 2;
CREATE VIEW newest AS SELECT max(id) AS id FROM orders;
USE live;
CREATE TABLE goods (id int NOT NULL PRIMARY KEY, version int NOT NULL) ENGINE=InnoDB;
INSERT INTO goods SELECT seq, 1 FROM seq_1_to_1000;
CREATE TABLE orders (id int NOT NULL PRIMARY KEY, good int, CONSTRAINT of_good FOREIGN KEY (good) REFERENCES goods (id)) ENGINE=InnoDB;
CREATE TRIGGER counted AFTER INSERT ON orders FOR EACH ROW SET @counted = 1;
CREATE TABLE own (id int);
";

/// A foreign key would follow the table that is replaced, and be left over when that is removed.
#[test]
fn no_table_is_replaced_under_one_that_stays_and_refers_to_it() {
    let server = MariaDb::start();
    server.run("", SHOP);
    server.run("live", "CREATE TABLE notes (id int, good int, FOREIGN KEY (good) REFERENCES goods (id)) ENGINE=InnoDB");
    let before =
        tables(&server, "live") + &server.ask("live", "SHOW CREATE TABLE notes; SELECT sum(version) FROM goods");
    let source = DatabaseSource::new(root(&server, "shop"));
    let refused = run(import(&source, &server, "live", Placement::Replace)).unwrap_err();
    assert_eq!(refused.to_string(), "notes refers to goods, which would be replaced, and is not replaced with it");
    let after =
        tables(&server, "live") + &server.ask("live", "SHOW CREATE TABLE notes; SELECT sum(version) FROM goods");
    assert_eq!(after, before);
    // The same from another database.
    server.run("live", "DROP TABLE notes");
    server.run(
        "shop",
        "CREATE TABLE links (id int, good int, FOREIGN KEY (good) REFERENCES live.goods (id)) ENGINE=InnoDB",
    );
    let refused = run(import(&source, &server, "live", Placement::Replace)).unwrap_err();
    assert!(matches!(&refused, ImportError::Referred { by, .. } if by == "shop.links"), "{refused}");
}

#[test]
fn only_the_wanted_tables_are_made() {
    let server = MariaDb::start();
    server.run("", SHOP);
    server.run(
        "shop",
        "INSERT INTO orders VALUES (2, 6), (3, 7); CREATE TABLE `a/b` (id int); INSERT INTO `a/b` VALUES (1)",
    );
    let source = DatabaseSource::new(root(&server, "shop"));
    let only = |names: &'static [&'static str]| async {
        let import = DatabaseImport::begin(root(&server, "live"), Placement::Replace).await.unwrap();
        assert_eq!(import.existing().iter().map(String::as_str).collect::<Vec<_>>(), ["goods", "orders", "own"]);
        let import = import.tables(names.iter().map(|name| (*name).to_owned()));
        let copied = tree::copy(&source, &import, &()).await;
        assert!(copied.unwrap().problems.is_empty());
        import.finish().await
    };
    let unknown = run(only(&["orders", "nothing"])).unwrap_err();
    assert_eq!(unknown.to_string(), "nothing is not what the dump says: the dump has no such table");
    assert_eq!(server.ask("live", "SELECT count(*) FROM orders").trim(), "0");

    let report = run(only(&["orders", "a/b"])).unwrap();
    let made: Vec<_> = report.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect();
    assert_eq!((made, report.objects), (vec![("a/b", 1), ("orders", 3)], 1));
    assert_eq!((report.refused, report.redefined), (vec![], vec![]));
    assert_eq!(report.untouched, ["goods", "own"]);
    assert_eq!(server.ask("live", "SELECT max(version) FROM goods").trim(), "1");
    assert_eq!(report.dangling, []);
    // With its trigger, its tie to another table, and without the view.
    assert!(server.ask("live", "SHOW CREATE TRIGGER counted").contains("SET @counted = 2"));
    assert!(server.ask("live", "SHOW CREATE TABLE orders").contains("of_good"));
    assert!(!tables(&server, "live").contains("newest"));
}

#[test]
fn rows_that_refer_to_nothing_are_told() {
    let server = MariaDb::start();
    server.run("", SHOP);
    server.run("shop", "INSERT INTO orders VALUES (2, 2500), (3, NULL)");
    let report = run(async {
        let import = DatabaseImport::begin(root(&server, "live"), Placement::Replace).await.unwrap();
        let import = import.tables(["orders".to_owned()]);
        tree::copy(&DatabaseSource::new(root(&server, "shop")), &import, &()).await.unwrap();
        import.finish().await.unwrap()
    });
    let (table, key, to) = ("orders".to_owned(), "of_good".to_owned(), "goods".to_owned());
    assert_eq!(report.dangling, [DanglingRows { table, key, to, rows: Some(1) }]);
    assert_eq!(server.ask("live", "SELECT count(*) FROM orders"), "3\n");
}

/// Shared hosts keep a log of changes, and then only who has every right may make triggers.
#[test]
fn a_host_that_takes_no_triggers_is_told_of() {
    let server = MariaDb::start_with(&["--log-bin", "--server-id=1"]);
    server.run("", SHOP);
    server.run("", "CREATE USER alice; GRANT ALL ON live.* TO alice");
    server.run("shop", "CREATE FUNCTION one() RETURNS int DETERMINISTIC RETURN 1");
    let address = DatabaseAddress::socket(server.socket(), "live", "alice");
    let report = run(async {
        let import = DatabaseImport::begin(address, Placement::Replace).await.unwrap();
        tree::copy(&DatabaseSource::new(root(&server, "shop")), &import, &()).await.unwrap();
        import.finish().await.unwrap()
    });
    let refused: Vec<_> = report.refused.iter().map(|refused| refused.name.as_str()).collect();
    assert_eq!(refused, ["one", "counted"]);
    assert!(report.refused.iter().all(|refused| refused.why.contains("1419")), "{:?}", report.refused);
    assert_eq!((report.tables.len(), report.objects), (2, 1), "the tables and the view are there");
}

#[test]
fn visitors_see_the_old_tables_or_the_new_ones() {
    let server = MariaDb::start();
    server.run("", SHOP);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) {
                // Fails when the table is not there.
                seen.push(server.ask("live", "SELECT version, count(*) FROM goods GROUP BY version"));
            }
            seen.dedup();
            seen
        });
        let report = run(import(&DatabaseSource::new(root(&server, "shop")), &server, "live", Placement::Replace));
        done.store(true, Ordering::Relaxed);
        let report = report.unwrap();
        assert_eq!((report.refused, report.untouched), (vec![], vec!["own".to_owned()]));
        let seen = visitor.join().unwrap();
        assert!(seen.iter().all(|seen| seen == "1\t1000\n" || seen == "2\t3000\n"), "{seen:?}");
    });
    assert_eq!(tables(&server, "live"), "goods\nnewest\norders\nown\n");
    assert_eq!(server.ask("live", "INSERT INTO orders VALUES (2, 6); SELECT @counted, id FROM newest"), "2\t2\n");
    // The ties lead to the tables that are there now.
    assert!(
        server
            .ask("live", "SHOW CREATE TABLE orders")
            .contains("CONSTRAINT `of_good` FOREIGN KEY (`good`) REFERENCES `goods` (`id`)")
    );
    let failing =
        server.client("live", &["--force"], b"INSERT INTO orders VALUES (3, 9999); SELECT count(*) FROM orders");
    assert_eq!(failing, "2\n");
}

#[test]
fn a_dump_that_is_not_what_it_was_changes_nothing() {
    let server = MariaDb::start();
    server.run("", SHOP);
    let dumped = Dumped::of(root(&server, "shop"));
    let before = Dumped::of(root(&server, "live"));
    let rows = "10-data/goods/0.sql";
    let table = "00-schema/20-tables/goods.sql";
    let edit = |path: &str, from: &str, to: &str| {
        let text = dumped.text(path);
        assert!(text.contains(from), "{text}");
        let mut files = files(&dumped);
        files
            .iter_mut()
            .filter(|(other, _)| other == path)
            .for_each(|(_, content)| *content = text.replacen(from, to, 1).into_bytes());
        files
    };
    let without = |path: &str| files(&dumped).into_iter().filter(|(other, _)| other != path).collect::<Vec<_>>();
    for (files, why) in [
        (edit(rows, "(5,2),\n", ""), "it has 2999 rows instead of 3000"),
        (edit(rows, "(5,2)", "(5,3)"), "its rows have another checksum"),
        (edit(rows, "(5,2)", "(5,sleep(1))"), "a line that is not a row"),
        (edit(rows, "(5,2),\n", "(5,2);\nDROP TABLE own;\n"), "it goes on after its end"),
        (edit(rows, "INTO `goods`", "INTO `own`"), "it is of the table own"),
        (edit(table, "InnoDB", "InnoDB; DROP TABLE own"), "not that of a table"),
        (edit(table, "`version` int(11)", "`version` varchar(1)"), "another checksum"),
        (edit(table, "CREATE TABLE `goods`", "CREATE TABLE `own`"), "it is of another table"),
        (without(rows), "it has 0 rows instead of 3000"),
        (without(table), "it is of a table without a definition"),
        (without("dump.json"), "there is no dump.json"),
        (edit("dump.json", "\"rows\": 3000", "\"rows\": 1"), "it has 3000 rows instead of 1"),
        (edit("90-after/20-views/00-newest.sql", "select", "select 1; DROP TABLE own; select"), "not that of a view"),
    ] {
        let failed = run(import(&tree_of(&files), &server, "live", Placement::Replace)).unwrap_err();
        assert!(failed.to_string().contains(why), "{failed} is not {why:?}");
        assert_eq!(tables(&server, "live"), "goods\norders\nown\n", "{why}");
    }
    drop(run(DatabaseImport::begin(root(&server, "live"), Placement::Replace)).unwrap());
    before.assert_same(&Dumped::of(root(&server, "live")));

    // A second statement behind a body that looks like one is not run by the server, which prepares single ones only.
    let path = "90-after/30-triggers/0001-counted.sql";
    let file = "SET NAMES utf8mb4; SET SQL_MODE='', COLLATION_CONNECTION='utf8mb4_general_ci';\nDELIMITER $$\nCREATE TRIGGER `counted` \
                AFTER INSERT ON orders FOR EACH ROW BEGIN SELECT 1 AS begin INTO @a; END; DROP TABLE own; END\n$$\nDELIMITER ;\n";
    let mut files = without(path);
    files.push((path.to_owned(), file.as_bytes().to_vec()));
    let report = run(import(&tree_of(&files), &server, "live", Placement::Replace)).unwrap();
    assert_eq!(report.refused.len(), 1, "{report:?}");
    assert!(tables(&server, "live").contains("own\n"));
}

#[test]
fn an_import_that_ends_half_way_leaves_nothing_for_the_next() {
    let server = MariaDb::start();
    server.run("", SHOP);
    let dumped = Dumped::of(root(&server, "shop"));
    let (before, tree) = (Dumped::of(root(&server, "live")), tree_of(&files(&dumped)));
    run(async {
        for polls in [1, 3, 10, 30, 60, 100, 150, 300] {
            let import = DatabaseImport::begin(root(&server, "live"), Placement::Replace).await.unwrap();
            let copied = tree::copy(&tree, &import, &());
            let limited = async {
                let mut copied = std::pin::pin!(copied);
                let mut left = polls;
                std::future::poll_fn(|context| {
                    left -= 1;
                    if left == 0 { std::task::Poll::Ready(()) } else { copied.as_mut().poll(context).map(drop) }
                })
                .await;
            };
            limited.await;
            // Two at a time would take each other's tables away.
            let second = DatabaseImport::begin(root(&server, "live"), Placement::Replace).await;
            assert!(matches!(second, Err(ImportError::Database(DatabaseError::Busy { .. }))), "{second:?}");
            drop(import);
            assert_eq!(tables(&server, "live"), "goods\norders\nown\n");
        }
        let report = import(&tree, &server, "shop", Placement::Replace).await.unwrap();
        assert_eq!(report.refused, []);
    });
    drop(before);
    let report = run(import(&tree, &server, "live", Placement::Replace)).unwrap();
    assert_eq!(report.untouched, ["own"]);
    dumped.assert_same(&Dumped::of(root(&server, "shop")));
    assert_eq!(server.ask("live", "SHOW TABLES"), "goods\nnewest\norders\nown\n");
}
