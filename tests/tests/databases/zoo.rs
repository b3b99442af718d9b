//! Every type, and every object that has ever troubled a dump.

use super::{Dumped, dumped::root};
use clonepanel_store::mysql::TableInstant;
use clonepanel_tests::{MariaDb, SqlServer};

pub(crate) const ZOO: &str =
    concat!(include_str!("zoo_tables.sql"), include_str!("zoo_mariadb.sql"), include_str!("zoo_objects.sql"));

pub(crate) fn create(server: &SqlServer, name: &str) {
    server.run("", &format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"));
}

pub(crate) fn checksums(server: &SqlServer, database: &str, dumped: &Dumped) -> Vec<String> {
    let tables = dumped.description().tables;
    // Of a versioned table the moments of its versions are part of it. MySQL gives another answer each time for an index of several
    // values a row.
    let is_compared = |name: &str| !name.starts_with("versioned") && name != "tagged";
    let tables = tables.iter().filter(|table| table.instant != TableInstant::Nowhere && is_compared(&table.name));
    let tables: Vec<_> = tables.collect();
    let names: Vec<_> = tables.iter().map(|table| format!("`{}`", table.name.replace('`', "``"))).collect();
    let answer = server.ask(database, &format!("CHECKSUM TABLE {} EXTENDED", names.join(",")));
    answer.lines().map(|line| line.rsplit('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn a_stock_client_loads_a_dump_and_nothing_is_different() {
    let server = MariaDb::start();
    create(&server, "zoo");
    server.run("zoo", ZOO);
    let dumped = Dumped::of(root(&server, "zoo"));
    assert_eq!(dumped.problems, []);
    assert_eq!(dumped.description().missing, []);

    // What cannot be in a dump is said in it.
    let remarks = |name: &str| {
        let tables = dumped.description().tables;
        tables.into_iter().find(|table| table.name == name).unwrap().remarks
    };
    assert_eq!(remarks("versioned"), ["older versions of its rows are not here"]);
    assert_eq!(remarks("merged"), ["its rows live elsewhere and are not here"]);
    assert_eq!(remarks("numbers"), Vec::<String>::new());

    create(&server, "again");
    assert_loads(&server, &dumped);
    assert_eq!(checksums(&server, "zoo", &dumped).len(), 21);
}

/// A stock client loads a dump of `zoo` into `again`, which is there and empty, and all is the same.
pub(crate) fn assert_loads(server: &SqlServer, dumped: &Dumped) {
    // It may be any client with any settings: what the files need they say.
    let _ = server.client(
        "again",
        &["--init-command=SET SESSION sql_mode='TRADITIONAL,ANSI', time_zone='+05:00'"],
        &dumped.sql(),
    );
    let again = Dumped::of(root(server, "again"));
    dumped.assert_same(&again);
    assert_eq!(again.problems, []);
    assert_eq!(checksums(server, "zoo", dumped), checksums(server, "again", &again));
    // And a dump of what did not change is the same to the last byte, description and all.
    assert_eq!(Dumped::of(root(server, "zoo")), *dumped);
}
