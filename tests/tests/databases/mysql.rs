//! MySQL of Oracle's line: dumps of it, and dumps that go to and fro between the two lines.

use super::{
    Dumped,
    dumped::root,
    import::{import, run, tables},
    zoo::{assert_loads, checksums},
};
use clonepanel_store::mysql::{AdaptedObject, DatabaseSource, ImportReport, Placement};
use clonepanel_tests::{MariaDb, MySql, SqlServer};

pub(super) const ZOO: &str =
    concat!(include_str!("zoo_tables.sql"), include_str!("zoo_mysql.sql"), include_str!("zoo_objects.sql"));

/// With the defaults of MySQL: for a column with another collation than its table, the server tells the character set too once it
/// was told that itself.
fn create(server: &SqlServer, name: &str) {
    server.run("", &format!("CREATE DATABASE `{name}`"));
}

#[test]
fn a_dump_of_mysql_is_loaded_by_a_client_and_by_an_import() {
    let Some(server) = MySql::start() else { return };
    create(&server, "zoo");
    server.run("zoo", ZOO);
    let dumped = Dumped::of(root(&server, "zoo"));
    assert_eq!((&*dumped.problems, &*dumped.description().missing), (&[][..], &[][..]));

    create(&server, "again");
    assert_loads(&server, &dumped);
    assert_eq!(checksums(&server, "zoo", &dumped).len(), 20);

    create(&server, "imported");
    let report =
        run(import(&DatabaseSource::new(root(&server, "zoo")), &server, "imported", Placement::IntoEmpty)).unwrap();
    assert_eq!((report.refused, report.missing, report.redefined), (vec![], vec![], vec![]));
    dumped.assert_same(&Dumped::of(root(&server, "imported")));
    let report =
        run(import(&DatabaseSource::new(root(&server, "zoo")), &server, "imported", Placement::Replace)).unwrap();
    assert_eq!((report.refused, report.untouched), (vec![], vec![]));
    dumped.assert_same(&Dumped::of(root(&server, "imported")));
}

/// What a report says is different, as one line each.
fn told(report: &ImportReport) -> Vec<String> {
    let lines = |adapted: &AdaptedObject| {
        let (kind, name) = (adapted.kind.word(), adapted.name.clone());
        adapted.changes.iter().map(move |change| format!("{kind} {name}: {change}")).collect::<Vec<_>>()
    };
    report.adapted.iter().flat_map(lines).collect()
}

#[test]
fn a_dump_of_mysql_goes_to_mariadb() {
    let Some(mysql) = MySql::start() else { return };
    let mariadb = MariaDb::start();
    create(&mysql, "zoo");
    mysql.run("zoo", ZOO);
    create(&mariadb, "zoo");
    let source = DatabaseSource::new(root(&mysql, "zoo"));
    // A type that nothing stands for: said, and nothing is there.
    let failed = run(import(&source, &mariadb, "zoo", Placement::IntoEmpty)).unwrap_err();
    assert!(
        failed.to_string().contains("only_mysql.sql cannot be imported: making a table failed: Unknown"),
        "{failed}"
    );
    assert_eq!(tables(&mariadb, "zoo"), "");
    mysql.run("zoo", "DROP TABLE only_mysql");
    // Neither does it keep a zero below zero, and says so.
    let failed = run(import(&source, &mariadb, "zoo", Placement::IntoEmpty)).unwrap_err();
    assert!(
        failed
            .to_string()
            .contains("numbers is not what the dump says: its rows have another checksum; it is of MySQL"),
        "{failed}"
    );
    mysql.run("zoo", "UPDATE numbers SET f = 0, g = 0 WHERE id = 0");
    let report = run(import(&DatabaseSource::new(root(&mysql, "zoo")), &mariadb, "zoo", Placement::IntoEmpty)).unwrap();
    assert_eq!((&*report.refused, report.tables.len(), report.objects), (&[][..], 21, 12));
    let told = told(&report);
    for line in [
        "table archived: the engine ARCHIVE became InnoDB",
        "table bytes: p: it is not bound to a reference system any more",
        "table computed: functional: an index over an expression is left out",
        "table computed: j: JSON is a text that is checked",
        "table computed: lax: a condition that was not enforced is left out",
        "table tagged: multi: an index over an expression is left out",
        "table texts: the collation utf8mb4_0900_as_cs became utf8mb4_uca1400_nopad_as_cs",
        "trigger t_second: the collation of its literals, utf8mb4_0900_ai_ci, became utf8mb4_uca1400_nopad_ai_ci",
    ] {
        assert!(told.iter().any(|told| told == line), "{line} is not in {told:#?}");
    }
    // They work, and not only exist.
    assert_eq!(mariadb.ask("zoo", "SELECT t FROM with_function; CALL `odd ``name`(@x); SELECT ansi()"), "2\n4\na2\n");
    mariadb.run("zoo", "INSERT INTO computed (a) VALUES (3)");
    assert_eq!(mariadb.ask("zoo", "SELECT hidden FROM computed WHERE a = 3"), "12\n");
    let refused =
        mariadb.client("zoo", &["--force"], b"INSERT INTO tagged VALUES (9, 'no json'); SELECT count(*) FROM tagged");
    assert_eq!(refused, "2\n");
}

#[test]
fn a_dump_of_mariadb_goes_to_mysql() {
    let Some(mysql) = MySql::start() else { return };
    let mariadb = MariaDb::start();
    create(&mariadb, "zoo");
    mariadb.run("zoo", super::zoo::ZOO);
    create(&mysql, "zoo");
    let source = DatabaseSource::new(root(&mariadb, "zoo"));
    // MySQL takes this value and keeps another one: that is noticed.
    let failed = run(import(&source, &mysql, "zoo", Placement::IntoEmpty)).unwrap_err();
    assert!(
        failed
            .to_string()
            .contains("moments is not what the dump says: its rows have another checksum; it is of MariaDB"),
        "{failed}"
    );
    mariadb.run("zoo", "UPDATE moments SET t3 = '838:59:59' WHERE t3 = '838:59:59.999'");
    let report = run(import(&DatabaseSource::new(root(&mariadb, "zoo")), &mysql, "zoo", Placement::IntoEmpty)).unwrap();
    let refused: Vec<_> = report.refused.iter().map(|refused| refused.name.as_str()).collect();
    // No sequences, no packages, and `empty` is a word of its language.
    assert_eq!(refused, ["aseq", "down_seq", "pack", "pack", "uses_word"]);
    assert!(report.refused.iter().all(|refused| !refused.why.is_empty()));
    assert_eq!(
        told(&report),
        [
            "table aria: the engine Aria became InnoDB",
            "table aria: the option PAGE_CHECKSUM is left out",
            "table bytes: un: UUID became char(36)",
            "table bytes: i4: INET4 became varchar(15)",
            "table bytes: i6: INET6 became varchar(39)",
            "table uses_seq: id: its default took values from a sequence, and is left out",
            "table versioned: older versions of rows are not kept any more",
            "table versioned_columns: s: when a row was current is not kept any more",
            "table versioned_columns: e: when a row was current is not kept any more",
            "table versioned_columns: older versions of rows are not kept any more",
        ]
    );
    assert_eq!(mysql.ask("zoo", "SELECT t FROM with_function; SELECT ansi()"), "2\n4\na2\n");
    mysql.run("zoo", "INSERT INTO computed (a) VALUES (3)");
    assert_eq!(mysql.ask("zoo", "SELECT hidden FROM computed WHERE a = 3"), "12\n");
}

/// One condition that a server does not know costs neither the others nor the foreign keys.
#[test]
fn a_refused_condition_is_alone() {
    let Some(mysql) = MySql::start() else { return };
    let mariadb = MariaDb::start();
    create(&mariadb, "shop");
    create(&mysql, "shop");
    mariadb.run(
        "shop",
        "CREATE TABLE goods (id int NOT NULL PRIMARY KEY) ENGINE=InnoDB; INSERT INTO goods VALUES (1);
         CREATE TABLE orders (id int NOT NULL PRIMARY KEY, good int, more longtext,
           CONSTRAINT of_good FOREIGN KEY (good) REFERENCES goods (id), CONSTRAINT positive CHECK (id > 0),
           CONSTRAINT odd CHECK (json_exists(more, '$.a'))) ENGINE=InnoDB;
         INSERT INTO orders VALUES (1, 1, '{\"a\": 1}');
         CREATE VIEW newest AS SELECT max(id) AS id FROM orders;",
    );
    let source = DatabaseSource::new(root(&mariadb, "shop"));
    let report = run(import(&source, &mysql, "shop", Placement::IntoEmpty)).unwrap();
    let refused: Vec<_> = report.refused.iter().map(|refused| (&*refused.name, &*refused.why)).collect();
    assert!(
        matches!(&refused[..], [("orders", why)] if why.starts_with("it is there without its odd: ")),
        "{refused:?}"
    );
    assert_eq!((report.objects, report.dangling), (1, vec![]));
    let made = mysql.ask("shop", "SHOW CREATE TABLE orders");
    assert!(made.contains("of_good") && made.contains("positive") && !made.contains("odd"), "{made}");
}
