//! What a dump says that it lacks, by what its user may do.

use super::{Dumped, dumped::root};
use clonepanel_core::{problem::ProblemKind, secret::Secret};
use clonepanel_store::mysql::{
    DatabaseAddress, DatabaseError, DatabaseSource, MissingObject, ObjectKind, TableInstant,
};
use clonepanel_tests::{MariaDb, MySql};

const SETUP: &str = "
CREATE DATABASE alice_wp; USE alice_wp;
CREATE TABLE posts (id int NOT NULL PRIMARY KEY) ENGINE=InnoDB; INSERT INTO posts VALUES (1);
CREATE TABLE log (id int NOT NULL PRIMARY KEY) ENGINE=MEMORY; INSERT INTO log VALUES (1);
CREATE VIEW recent AS SELECT id FROM posts;
CREATE TRIGGER noted AFTER INSERT ON posts FOR EACH ROW INSERT INTO log VALUES (NEW.id);
CREATE FUNCTION one() RETURNS int DETERMINISTIC RETURN 1;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM log;
CREATE USER 'al\\'ice'@'%' IDENTIFIED BY 'sesame';
";

/// What is missing, as one line each: kind, name, and the right that mends it.
fn told(missing: &[MissingObject]) -> Vec<String> {
    let line = |missing: &MissingObject| {
        let mend = missing.mend.as_deref().unwrap_or("nothing");
        let right =
            mend.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON `alice\\_wp`.* TO 'al\\'ice'@'%'"));
        format!(
            "{} {}: {}",
            missing.kind.word(),
            missing.name.as_deref().unwrap_or("*"),
            right.map_or(mend, |(right, _)| right)
        )
    };
    missing.iter().map(line).collect()
}

#[test]
fn the_ladder_of_rights() {
    let server = MariaDb::start();
    server.run("", SETUP);
    let address =
        || DatabaseAddress::tcp("127.0.0.1", server.port(), "alice_wp", "al'ice").password(Secret::new("sesame"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (grant, missing, fuzzy) in [
        (
            "SELECT",
            vec!["procedure *: EXECUTE", "trigger *: TRIGGER", "event *: EVENT", "view recent: SHOW VIEW"],
            true,
        ),
        ("SHOW VIEW", vec!["procedure *: EXECUTE", "trigger *: TRIGGER", "event *: EVENT"], true),
        ("TRIGGER", vec!["procedure *: EXECUTE", "event *: EVENT"], true),
        ("EVENT", vec!["procedure *: EXECUTE"], true),
        ("EXECUTE", vec!["function one: SHOW CREATE ROUTINE"], true),
        ("LOCK TABLES", vec!["function one: SHOW CREATE ROUTINE"], false),
        // What an account of a hosting company has: everything but what somebody else defined.
        ("ALL", vec!["function one: SHOW CREATE ROUTINE"], false),
    ] {
        server.run("", &format!("GRANT {grant} ON `alice\\_wp`.* TO 'al\\'ice'@'%'"));
        let audited = runtime.block_on(DatabaseSource::new(address()).audit()).unwrap();
        assert_eq!(told(&audited), missing, "{grant}");
        let dumped = Dumped::of(address());
        let description = dumped.description();
        assert_eq!(told(&description.missing), missing, "{grant}");
        let losses = dumped.problems.iter().filter(|problem| problem.kind.is_loss()).count();
        assert_eq!(losses, missing.len(), "each is a loss that the snapshot knows: {:?}", dumped.problems);
        let instants: Vec<_> = description.tables.iter().map(|table| (table.name.as_str(), table.instant)).collect();
        let log = if fuzzy { TableInstant::Fuzzy } else { TableInstant::Common };
        assert_eq!(instants, [("log", log), ("posts", TableInstant::Common)], "{grant}");
        // What can be had is there all the same.
        assert!(dumped.text("10-data/posts/0.sql").ends_with("(1);\n"));
    }
    // With the right that the report names, nothing is missing any more; that of MariaDB 11.3 is the older one here.
    server.run("", "GRANT SELECT ON mysql.proc TO 'al\\'ice'@'%'");
    let complete = Dumped::of(address());
    assert_eq!((complete.description().missing, complete.problems.as_slice()), (vec![], &[][..]));
    complete.assert_same(&Dumped::of(root(&server, "alice_wp")));
}

#[test]
fn the_ladder_of_rights_of_mysql() {
    let Some(server) = MySql::start() else { return };
    server.run("", SETUP);
    let address = || DatabaseAddress::socket(server.socket(), "alice_wp", "al'ice").password(Secret::new("sesame"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let unseen = "procedure *: GRANT SHOW_ROUTINE ON *.* TO 'al\\'ice'@'%'";
    for (grant, missing, fuzzy) in [
        ("SELECT", vec![unseen, "trigger *: TRIGGER", "event *: EVENT", "view recent: SHOW VIEW"], true),
        ("SHOW VIEW", vec![unseen, "trigger *: TRIGGER", "event *: EVENT"], true),
        ("TRIGGER", vec![unseen, "event *: EVENT"], true),
        ("EVENT", vec![unseen], true),
        ("EXECUTE", vec!["function one: GRANT SHOW_ROUTINE ON *.* TO 'al\\'ice'@'%'"], true),
        ("ALL", vec!["function one: GRANT SHOW_ROUTINE ON *.* TO 'al\\'ice'@'%'"], false),
    ] {
        server.run("", &format!("GRANT {grant} ON `alice\\_wp`.* TO 'al\\'ice'@'%'"));
        let audited = runtime.block_on(DatabaseSource::new(address()).audit()).unwrap();
        assert_eq!(told(&audited), missing, "{grant}");
        let dumped = Dumped::of(address());
        assert_eq!(told(&dumped.description().missing), missing, "{grant}");
        let instant = dumped.description().tables[0].instant;
        assert_eq!(instant, if fuzzy { TableInstant::Fuzzy } else { TableInstant::Common }, "{grant}");
    }
    server.run("", "GRANT SHOW_ROUTINE ON *.* TO 'al\\'ice'@'%'");
    let complete = Dumped::of(address());
    assert_eq!((complete.description().missing, complete.problems.as_slice()), (vec![], &[][..]));
    complete.assert_same(&Dumped::of(root(&server, "alice_wp")));

    // Rights by way of a role.
    server.run(
        "",
        "CREATE USER bob; CREATE ROLE keeper; GRANT ALL ON alice_wp.* TO keeper; GRANT SHOW_ROUTINE ON *.* TO keeper",
    );
    server.run("", "GRANT keeper TO bob; SET DEFAULT ROLE keeper TO bob");
    let by_role = Dumped::of(DatabaseAddress::socket(server.socket(), "alice_wp", "bob"));
    assert_eq!((by_role.description().missing, by_role.problems.as_slice()), (vec![], &[][..]));
}

#[test]
fn a_table_that_may_not_be_read_does_not_hide_the_others() {
    let server = MariaDb::start();
    server.run("", SETUP);
    server.run("", "GRANT SELECT (id), TRIGGER ON alice_wp.log TO 'al\\'ice'@'%'; GRANT TRIGGER, EVENT ON alice_wp.* TO 'al\\'ice'@'%'");
    server.run("", "GRANT SELECT ON alice_wp.posts TO 'al\\'ice'@'%'; ALTER TABLE alice_wp.log ADD secret int");
    let dumped = Dumped::of(
        DatabaseAddress::tcp("127.0.0.1", server.port(), "alice_wp", "al'ice").password(Secret::new("sesame")),
    );
    let missing = dumped.description().missing;
    let log = missing.iter().find(|missing| missing.kind == ObjectKind::Table).unwrap();
    assert_eq!(
        (log.name.as_deref(), &*told(std::slice::from_ref(log))),
        (Some("log"), &["table log: SELECT".to_owned()][..])
    );
    // An older dump stands in for it, definition and rows alike.
    let problems: Vec<_> = dumped.problems.iter().map(|problem| (problem.path.to_string(), problem.kind)).collect();
    assert!(problems.contains(&("00-schema/20-tables/log.sql".to_owned(), ProblemKind::Unreadable)), "{problems:?}");
    assert!(problems.contains(&("10-data/log".to_owned(), ProblemKind::Unlisted)), "{problems:?}");
    assert!(dumped.text("10-data/posts/0.sql").ends_with("(1);\n"));
}

/// Not even their names are listed.
#[test]
fn tables_that_nobody_may_see_are_told_of() {
    let server = MariaDb::start();
    server.run("", SETUP);
    server.run("", "GRANT SELECT, TRIGGER ON alice_wp.posts TO 'al\\'ice'@'%'");
    let address = DatabaseAddress::socket(server.socket(), "alice_wp", "al'ice").password(Secret::new("sesame"));
    let dumped = Dumped::of(address);
    let missing = dumped.description().missing;
    assert_eq!(told(&missing)[0], "table *: SELECT");
    let lost: Vec<_> = dumped.problems.iter().map(|problem| (problem.path.to_string(), problem.kind)).collect();
    assert!(lost.contains(&("00-schema/20-tables".to_owned(), ProblemKind::Unlisted)), "{lost:?}");
    assert!(dumped.text("10-data/posts/0.sql").ends_with("(1);\n"));
}

#[test]
fn logins_that_fail_say_why() {
    let server = MariaDb::start();
    server.run("", SETUP);
    server.run("", "GRANT ALL ON alice_wp.* TO 'al\\'ice'@'%'");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = |name| DatabaseAddress::tcp("127.0.0.1", server.port(), name, "al'ice");
    let audit = |address| runtime.block_on(DatabaseSource::new(address).audit());

    let wrong = audit(address("alice_wp").password(Secret::new("wrong"))).unwrap_err();
    assert!(matches!(&wrong, DatabaseError::Denied { source, .. } if source.code == 1045), "{wrong:?}");
    assert!(!format!("{wrong:?}").contains("wrong"));
    let other = audit(address("mysql").password(Secret::new("sesame"))).unwrap_err();
    assert!(matches!(&other, DatabaseError::Denied { source, .. } if source.code == 1044), "{other:?}");
    let nobody = audit(DatabaseAddress::socket("/nonexistent", "a", "b")).unwrap_err();
    assert!(matches!(nobody, DatabaseError::Unreachable { .. }), "{nobody:?}");
}
