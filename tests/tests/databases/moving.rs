//! Databases that are written to, and altered, while they are dumped.

use super::{Dumped, dumped::root};
use clonepanel_core::tree::{Listed, TreeSource as _};
use clonepanel_store::mysql::{DatabaseAddress, DatabaseSource, DumpDescription, TableInstant};
use clonepanel_tests::{MariaDb, MySql, Proxy, SqlServer};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
    thread,
    time::{Duration, Instant},
};

/// How many dumps: `tests/campaign` asks for more.
fn rounds(usual: usize) -> usize {
    std::env::var("CLONEPANEL_DUMPS").map_or(usual, |count| count.parse().expect("a number"))
}

/// The values of the rows of a table, as far as they are numbers.
fn numbers(dumped: &Dumped, table: &str) -> Vec<Vec<i64>> {
    let files = dumped.files.iter().filter(|(path, _)| path.starts_with(&format!("10-data/{table}/")));
    let lines = files.flat_map(|(_, content)| std::str::from_utf8(content).unwrap().lines().skip(2));
    let row = |line: &str| {
        let values = line.trim_start_matches('(').trim_end_matches([';', ',']).trim_end_matches(')');
        values.split(',').filter_map(|value| value.parse().ok()).collect()
    };
    lines.map(row).collect()
}

/// Ends the writers also when the test fails.
struct Stop<'a>(&'a SqlServer, &'a str);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.run("", self.1);
    }
}

const BANK: &str = "
CREATE DATABASE bank; CREATE DATABASE control; CREATE TABLE control.running (yes int); INSERT INTO control.running VALUES (1);
USE bank;
CREATE TABLE accounts (id int NOT NULL PRIMARY KEY, amount int NOT NULL) ENGINE=InnoDB;
INSERT INTO accounts SELECT seq, 1000 FROM seq_1_to_50;
CREATE TABLE more_accounts LIKE accounts; INSERT INTO more_accounts SELECT * FROM accounts;
CREATE TABLE orders (id int NOT NULL PRIMARY KEY) ENGINE=InnoDB;
CREATE TABLE invoices (id int NOT NULL PRIMARY KEY) ENGINE=MyISAM;
CREATE TABLE receipts (id int NOT NULL PRIMARY KEY) ENGINE=Aria;
DELIMITER ;;
CREATE PROCEDURE control.transfer() BEGIN
  DECLARE CONTINUE HANDLER FOR 1213, 1205 ROLLBACK;
  WHILE (SELECT yes FROM control.running) DO
    START TRANSACTION;
    SET @sum = FLOOR(RAND() * 100), @from = 1 + FLOOR(RAND() * 50), @to = 1 + FLOOR(RAND() * 50);
    UPDATE bank.accounts SET amount = amount - @sum WHERE id = @from;
    UPDATE bank.more_accounts SET amount = amount + @sum WHERE id = @to;
    COMMIT;
  END WHILE;
END;;
CREATE PROCEDURE control.trade() BEGIN
  DECLARE n int DEFAULT 0;
  WHILE (SELECT yes FROM control.running) DO
    SET n = n + 1;
    INSERT INTO bank.orders VALUES (n); INSERT INTO bank.invoices VALUES (n); INSERT INTO bank.receipts VALUES (n);
    DO SLEEP(0.001);
  END WHILE;
END;;
";

#[test]
fn every_dump_is_of_one_moment_whatever_the_engine() {
    dump_a_bank_at_work(&MariaDb::start(), BANK);
}

#[test]
fn every_dump_of_mysql_is_of_one_moment() {
    let Some(server) = MySql::start() else { return };
    // It makes up no numbers by itself.
    let fifty: Vec<_> = (1..=50).map(|id| format!("({id}, 1000)")).collect();
    let bank = BANK.replace("SELECT seq, 1000 FROM seq_1_to_50", &format!("VALUES {}", fifty.join(",")));
    dump_a_bank_at_work(&server, &bank.replace("ENGINE=Aria", "ENGINE=MEMORY"));
}

fn dump_a_bank_at_work(server: &SqlServer, bank: &str) {
    server.run("", bank);
    thread::scope(|scope| {
        let stop = Stop(server, "UPDATE control.running SET yes = 0");
        scope.spawn(|| server.run("bank", "CALL control.transfer()"));
        scope.spawn(|| server.run("bank", "CALL control.transfer()"));
        scope.spawn(|| server.run("bank", "CALL control.trade()"));
        let mut traded = 0;
        for round in 0..rounds(20) {
            let dumped = Dumped::of(root(server, "bank"));
            assert_eq!(dumped.problems, []);
            assert!(dumped.description().tables.iter().all(|table| table.instant == TableInstant::Common), "{round}");
            let sum = |table| numbers(&dumped, table).iter().map(|row| row[1]).sum::<i64>();
            assert_eq!(sum("accounts") + sum("more_accounts"), 100_000, "round {round}");
            let count = |table| numbers(&dumped, table).len();
            let (orders, invoices, receipts) = (count("orders"), count("invoices"), count("receipts"));
            assert!(invoices <= orders && orders <= invoices + 1, "round {round}: {orders} {invoices}");
            assert!(receipts <= invoices && invoices <= receipts + 1, "round {round}: {invoices} {receipts}");
            traded = orders;
        }
        assert!(traded > 0, "somebody wrote meanwhile");
        drop(stop);
    });
}

const STORM: &str = "
CREATE DATABASE storm; USE storm;
CREATE TABLE swapped (id int NOT NULL PRIMARY KEY, generation int NOT NULL) ENGINE=InnoDB;
INSERT INTO swapped SELECT seq, 0 FROM seq_1_to_2000;
CREATE TABLE emptied LIKE swapped; INSERT INTO emptied SELECT * FROM swapped;
CREATE TABLE altered (id int NOT NULL PRIMARY KEY, pad varchar(300) NOT NULL) ENGINE=InnoDB;
INSERT INTO altered SELECT seq, repeat('x', 300) FROM seq_1_to_5000;
CREATE TABLE rebuilt LIKE altered; INSERT INTO rebuilt SELECT * FROM altered;
";

/// A table that is read is of one generation, or it is told to be missing.
#[test]
fn a_storm_of_alterations_makes_no_quiet_wrong_table() {
    let server = MariaDb::start();
    server.run("", STORM);
    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        struct Calm<'a>(&'a AtomicBool);
        impl Drop for Calm<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Relaxed);
            }
        }
        let calm = Calm(&running);
        let again = |make: fn(u32) -> String| {
            let (server, running) = (&server, &running);
            scope.spawn(move || {
                let mut generation = 0;
                while running.load(Ordering::Relaxed) {
                    generation += 1;
                    // What cannot be done at this moment is not what is tested.
                    let _ = server.client("storm", &["--force"], make(generation).as_bytes());
                    thread::sleep(Duration::from_millis(300));
                }
            });
        };
        again(|n| {
            format!(
                "SET lock_wait_timeout=5; CREATE TABLE next LIKE swapped; INSERT INTO next SELECT seq, {n} FROM seq_1_to_2000; \
                 RENAME TABLE swapped TO old, next TO swapped; DROP TABLE old;"
            )
        });
        again(|n| {
            format!(
                "SET lock_wait_timeout=5; ALTER TABLE altered ADD c{n} int DEFAULT {n}, ALGORITHM=INSTANT; \
                 ALTER TABLE altered DROP c{n};"
            )
        });
        again(|n| {
            format!(
                "SET lock_wait_timeout=5; ALTER TABLE rebuilt ENGINE=InnoDB; TRUNCATE emptied; \
                 INSERT INTO emptied SELECT seq, {n} FROM seq_1_to_2000;"
            )
        });
        let mut complete = 0;
        for round in 0..rounds(6) {
            let dumped = Dumped::of(root(&server, "storm"));
            let description = dumped.description();
            for table in &description.tables {
                let rows = numbers(&dumped, &table.name);
                assert_eq!(rows.len() as u64, table.rows);
                let counts: &[usize] = match table.name.as_str() {
                    "swapped" => &[2000],
                    "next" | "emptied" | "old" => &[0, 2000],
                    _ => &[5000],
                };
                assert!(counts.contains(&rows.len()), "round {round}: {} has {} rows", table.name, rows.len());
                if counts.contains(&2000) {
                    assert!(
                        rows.windows(2).all(|pair| pair[0][1] == pair[1][1]),
                        "{} is of two generations",
                        table.name
                    );
                }
            }
            // What is not there is told to be.
            for table in ["swapped", "emptied", "altered", "rebuilt"] {
                let there = description.tables.iter().any(|known| known.name == table);
                let told =
                    dumped.problems.iter().any(|problem| problem.path.to_string().ends_with(&format!("/{table}.sql")));
                assert!(there || told, "round {round}: {table} is neither here nor told to be missing");
                complete += usize::from(there);
            }
            // And what is there can be loaded.
            server.run("", "CREATE OR REPLACE DATABASE loaded");
            let _ = server.client("loaded", &[], &dumped.sql());
        }
        assert!(complete >= rounds(6) * 3, "most tables are read in spite of it: {complete}");
        drop(calm);
    });
}

#[test]
fn nobody_waits_while_a_dump_is_not_asked_to_go_on() {
    let server = MariaDb::start();
    server.run("", STORM);
    server.run("storm", "CREATE TABLE held (id int NOT NULL PRIMARY KEY) ENGINE=MyISAM; INSERT INTO held VALUES (1)");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let source = DatabaseSource::new(root(&server, "storm"));
        let mut entries = source.entries().await.unwrap();
        let mut listed = 0;
        while let Some(entry) = entries.next().await.unwrap() {
            listed += usize::from(matches!(entry, Listed::Entry(_)));
            // Fails after a second if anything is locked.
            server.run(
                "storm",
                "SET lock_wait_timeout=1; ALTER TABLE altered COMMENT 'x'; INSERT INTO swapped VALUES (5000, 0); DELETE FROM swapped \
                 WHERE id = 5000; ALTER TABLE rebuilt FORCE; INSERT INTO held VALUES (2); DELETE FROM held WHERE id = 2;",
            );
        }
        assert!(listed > 15);
    });
}

const SHOP: &str = "
CREATE DATABASE shop; USE shop;
CREATE TABLE goods (id int NOT NULL PRIMARY KEY, stock int NOT NULL, text varchar(1000) NOT NULL) ENGINE=MyISAM;
INSERT INTO goods SELECT seq, 0, repeat('x', 1000) FROM seq_1_to_150000;
CREATE TABLE small (id int NOT NULL PRIMARY KEY, stock int NOT NULL) ENGINE=MyISAM; INSERT INTO small VALUES (1, 0);
CREATE TABLE old (id int NOT NULL PRIMARY KEY, text varchar(1000) NOT NULL) ENGINE=MyISAM;
INSERT INTO old SELECT seq, repeat('z', 1000) FROM seq_1_to_50000;
CREATE TABLE orders (id int NOT NULL PRIMARY KEY) ENGINE=InnoDB; INSERT INTO orders VALUES (1);
";

/// Writes to tables without transactions, and looks how long a reader behind the writer waits at most.
fn trade(server: &SqlServer, tables: &[&str], running: &AtomicBool) -> Duration {
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while running.load(Ordering::Relaxed) {
                for table in tables {
                    server.run("shop", &format!("UPDATE {table} SET stock = stock + 1 LIMIT 1"));
                }
            }
        });
        let mut longest = Duration::ZERO;
        while running.load(Ordering::Relaxed) {
            for table in tables {
                let begun = Instant::now();
                let _ = server.ask("shop", &format!("SELECT stock FROM {table} LIMIT 1"));
                longest = longest.max(begun.elapsed());
            }
        }
        writer.join().unwrap();
        longest
    })
}

/// One who reads waits behind one who writes, who waits behind us.
#[test]
fn readers_wait_no_longer_than_a_second() {
    let server = MariaDb::start();
    server.run("", SHOP);
    let running = AtomicBool::new(true);
    let (longest, dumps) = thread::scope(|scope| {
        let trading = scope.spawn(|| trade(&server, &["goods", "small"], &running));
        thread::sleep(Duration::from_millis(1500));
        let dumps: Vec<_> = (0..2).map(|_| Dumped::of(root(&server, "shop"))).collect();
        running.store(false, Ordering::Relaxed);
        (trading.join().unwrap(), dumps)
    });
    for dumped in dumps {
        assert_eq!(dumped.problems, []);
        let instants: Vec<_> =
            dumped.description().tables.into_iter().map(|table| (table.name, table.instant, table.rows)).collect();
        let of = |name: &str, instant, rows| (name.to_owned(), instant, rows);
        assert_eq!(
            instants,
            [
                // More than can be read in a second, and written to: which is said.
                of("goods", TableInstant::Fuzzy, 150_000),
                of("old", TableInstant::Common, 50_000),
                of("orders", TableInstant::Common, 1),
                of("small", TableInstant::Common, 1),
            ]
        );
    }
    // On a machine that does nothing else it is less than one.
    assert!(longest < Duration::from_secs(3), "somebody has waited for {longest:?}");
}

#[test]
fn a_network_that_falls_silent_holds_nobody_up() {
    let server = MariaDb::start();
    server.run("", SHOP);
    server.run("", "CREATE USER alice@'%' IDENTIFIED BY ''; GRANT ALL ON shop.* TO alice@'%'");
    for (after, rows) in [(1 << 20, 150_000), (20 << 20, 150_000)] {
        let proxy = Proxy::to(server.port());
        proxy.cut_after(after);
        proxy.stall_instead();
        server.run("shop", "UPDATE goods SET stock = stock + 1 WHERE id = 1");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let port = proxy.port();
        let dump = runtime.spawn(async move {
            Dumped::take(&DatabaseSource::new(DatabaseAddress::tcp("127.0.0.1", port, "shop", "alice"))).await
        });
        // Once it is in the middle of it.
        while proxy.bytes().0 < after.min(1 << 20) {
            thread::sleep(Duration::from_millis(10));
        }
        let begun = Instant::now();
        server.run("shop", "UPDATE goods SET stock = stock + 1 WHERE id = 1");
        assert_eq!(server.ask("shop", "SELECT count(*) FROM goods"), format!("{rows}\n"));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(!dump.is_finished());
        dump.abort();
        runtime.shutdown_background();
    }
}

/// Hosts end connections that they find too long.
#[test]
fn a_connection_that_is_ended_costs_the_common_moment() {
    let server = MariaDb::start();
    server.run("", STORM);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let source = DatabaseSource::new(root(&server, "storm"));
        let mut entries = source.entries().await.unwrap();
        let mut tables = 0;
        let mut described = None;
        while let Some(listed) = entries.next().await.unwrap() {
            let Listed::Entry(entry) = listed else { panic!("{listed:?}") };
            let path = entry.path.to_string();
            if path.starts_with("00-schema/20-tables/") {
                tables += 1;
            }
            if tables == 2 && path.starts_with("00-schema/20-tables/") {
                let ours = server.ask("", "SELECT id FROM information_schema.processlist WHERE db='storm'");
                assert!(ours.lines().count() >= 2, "{ours}");
                ours.lines().for_each(|id| server.run("", &format!("KILL {id}")));
            }
            if path == "dump.json" {
                let mut stream = source.open(&entry.path).await.unwrap();
                described = stream.read().await.unwrap();
            }
        }
        let description = DumpDescription::parse(&described.unwrap()).unwrap();
        let instants: Vec<_> = description.tables.iter().map(|table| (table.instant, table.rows)).collect();
        let later = instants.iter().filter(|(instant, _)| *instant == TableInstant::Later).count();
        assert_eq!((instants.len(), later, description.missing.len()), (4, 2, 0), "{instants:?}");
        assert_eq!(instants.iter().map(|(_, rows)| rows).sum::<u64>(), 14_000);
    });
}

/// Wherever in taking the moment the dump is stopped, also while everything is locked.
#[test]
fn a_dump_that_is_stopped_anywhere_holds_no_writer_up() {
    let server = MariaDb::start();
    server.run(
        "",
        "CREATE DATABASE shop; CREATE TABLE shop.goods (id int NOT NULL PRIMARY KEY, stock int) ENGINE=MEMORY;
         CREATE TABLE shop.orders (id int NOT NULL PRIMARY KEY, stock int) ENGINE=InnoDB;
         INSERT INTO shop.goods VALUES (1, 0); INSERT INTO shop.orders VALUES (1, 0);",
    );
    // So that it does not wait for its tables to be older.
    thread::sleep(Duration::from_millis(2500));
    let source = DatabaseSource::new(root(&server, "shop"));
    let (mut held, mut longest) = (0, Duration::ZERO);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for polls in 1.. {
        let mut begun = source.entries();
        let mut left = polls;
        let is_done = runtime.block_on(std::future::poll_fn(|context| {
            left -= 1;
            match begun.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if left == 0 => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        }));
        if is_done {
            break;
        }
        // As if the process were stopped: nobody goes on with it.
        let stopped = Instant::now();
        server.run("shop", "UPDATE goods SET stock = stock + 1; UPDATE orders SET stock = stock + 1");
        longest = longest.max(stopped.elapsed());
        held += usize::from(stopped.elapsed() > Duration::from_millis(700));
        drop(begun);
    }
    println!("{held} stops met a lock, the longest held others up for {longest:?}");
    assert!(held > 0, "no stop met a lock");
    assert!(longest < Duration::from_secs(20), "{longest:?}");
}
