//! Ranges of rows that are as they were are not read, and nothing else is taken for it.

use super::{
    Dumped,
    dumped::root,
    random::{Random, table, value},
    zoo::create,
};
use clonepanel_core::{
    entry::{Entry, Freshness},
    job::BackupJob,
    path::RelPath,
    problem::{Problem, ProblemKind},
    snapshot_id::SourceName,
    store::{SnapshotInfo, SnapshotReader, SnapshotStore},
    time::SystemClock,
    tree::{EntryStream, FileStream, Listed, TreeError, TreeSource},
};
use clonepanel_store::{
    HardLinkStore,
    mysql::{DatabaseSource, RangeSums},
};
use clonepanel_tests::{MariaDb, MySql, SqlServer};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A database and a store that its dumps go to.
struct Site<'a> {
    server: &'a SqlServer,
    database: String,
    folder: TempDir,
    store: Arc<HardLinkStore>,
    runtime: Runtime,
    sums: RangeSums,
}

impl<'a> Site<'a> {
    fn new(server: &'a SqlServer, database: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(HardLinkStore::init(folder.path()).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { server, database: database.to_owned(), folder, store, runtime, sums: RangeSums::new() }
    }

    fn prefix() -> RelPath {
        RelPath::try_from("databases/a").unwrap()
    }

    fn run(&self, statements: &str) {
        self.server.run(&self.database, statements);
    }

    fn newest(&self) -> Option<Arc<dyn SnapshotReader>> {
        let list = self.runtime.block_on(self.store.list(&SourceName::new("site").unwrap())).unwrap();
        let newest = list.into_iter().max_by(|a, b| a.id.cmp(&b.id))?;
        Some(self.runtime.block_on(self.store.open(&newest.id)).unwrap())
    }

    /// The database, as compared with the newest snapshot.
    fn source(&self) -> DatabaseSource {
        let sums = match self.newest() {
            Some(newest) => self.sums.clone().compare(newest, Self::prefix()),
            None => self.sums.clone(),
        };
        DatabaseSource::new(root(self.server, &self.database)).range_sums(sums)
    }

    fn backup_of(&self, tree: Arc<dyn TreeSource>) -> SnapshotInfo {
        let job = BackupJob::new(Arc::clone(&self.store) as Arc<dyn SnapshotStore>, SourceName::new("site").unwrap());
        self.runtime.block_on(job.tree(Self::prefix(), tree).run(&SystemClock, &())).unwrap().info
    }

    fn backup(&self) -> SnapshotInfo {
        let info = self.backup_of(Arc::new(self.source()));
        assert!(info.problems.is_empty(), "{info:?}");
        info
    }

    /// Which files of rows are not read, and which are.
    fn listed(&self) -> (Vec<String>, Vec<String>) {
        let source = self.source();
        let entries = self.runtime.block_on(async {
            let (mut stream, mut entries) = (source.entries().await.unwrap(), Vec::<Entry>::new());
            while let Some(listed) = stream.next().await.unwrap() {
                match listed {
                    Listed::Entry(entry) => entries.push(entry),
                    Listed::Problem(problem) => panic!("{problem}"),
                }
            }
            entries
        });
        let rows = entries.iter().filter(|entry| entry.has_content() && entry.path.to_string().starts_with("10-data/"));
        let (kept, read): (Vec<_>, Vec<_>) = rows.partition(|entry| entry.meta.freshness == Freshness::Settled);
        let names = |entries: Vec<&Entry>| entries.iter().map(|entry| entry.path.to_string()).collect();
        (names(kept), names(read))
    }

    /// What a dump with sums holds, and what one without does.
    fn both(&self) -> (Dumped, Dumped) {
        let with = self.runtime.block_on(Dumped::take(&self.source()));
        (with, Dumped::of(root(self.server, &self.database)))
    }

    /// What the newest snapshot has.
    fn stored(&self) -> Dumped {
        let tree = self.newest().unwrap();
        self.runtime.block_on(async {
            let (mut files, mut entries) = (BTreeMap::new(), tree.entries().await.unwrap());
            while let Some(listed) = entries.next().await.unwrap() {
                let Listed::Entry(entry) = listed else { panic!("{listed:?}") };
                if let Some(path) = entry.path.strip_prefix(&Self::prefix()).filter(|_| entry.has_content()) {
                    files.insert(path.to_string(), read(tree.open(&entry.path).await.unwrap()).await);
                }
            }
            Dumped { files, problems: Vec::new() }
        })
    }

    /// The newest snapshot holds what a dump of everything does.
    fn assert_newest_is_right(&self, why: &str) {
        assert_same_rows(&self.stored(), &Dumped::of(root(self.server, &self.database)), why);
    }
}

async fn read(mut stream: Box<dyn FileStream>) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(piece) = stream.read().await.unwrap() {
        content.extend_from_slice(&piece);
    }
    content
}

/// The rows of each table, in their order: where files end may differ from a dump that read everything.
fn rows(dumped: &Dumped) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut tables: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for (path, content) in &dumped.files {
        let Some((table, _)) = path.strip_prefix("10-data/").and_then(|rest| rest.split_once('/')) else { continue };
        let lines = content.split(|&b| b == b'\n').skip(2).filter(|line| !line.is_empty());
        let rows = tables.entry(table.to_owned()).or_default();
        rows.extend(lines.map(|line| line[..line.len() - 1].to_vec()));
    }
    // Names are not in the order of all keys.
    tables.values_mut().for_each(|rows| rows.sort());
    tables
}

fn assert_same_rows(with: &Dumped, without: &Dumped, why: &str) {
    let (left, right) = (rows(with), rows(without));
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>(), "{why}");
    for (table, rows) in &left {
        assert!(*rows == right[table], "{why}: the rows of {table} differ");
    }
    assert_eq!(with.description().tables, without.description().tables, "{why}");
}

/// Tables of several ranges: with a number, a text and both for a key, and without one.
const POSTS: &str = "
CREATE TABLE posts (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, body text NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO posts (body) SELECT repeat(concat(seq, ' lorem ipsum '), 40) FROM seq_1_to_20000;
CREATE TABLE words (word varchar(60) COLLATE utf8mb4_german2_ci NOT NULL, n int, PRIMARY KEY (word)) ENGINE=InnoDB;
INSERT INTO words SELECT concat(elt(1 + seq % 5, 'ä', 'ae', 'Z', 'x y', '\\\\'), ' ', seq, repeat('.', 20)), seq FROM seq_1_to_20000;
CREATE TABLE pairs (a int NOT NULL, b char(4) NOT NULL, n int, PRIMARY KEY (a, b)) ENGINE=MyISAM;
INSERT INTO pairs SELECT seq DIV 50, concat('k', seq % 50), seq FROM seq_1_to_60000;
CREATE TABLE bag (a int, b int) ENGINE=InnoDB;
INSERT INTO bag VALUES (1, 2), (1, 2), (NULL, 3);
";

#[test]
fn only_what_changed_is_read() {
    let server = MariaDb::start();
    create(&server, "a");
    let site = Site::new(&server, "a");
    site.run(POSTS);
    let first = site.backup();
    let (kept, read) = site.listed();
    assert!(kept.len() > 10, "{kept:?}");
    assert_eq!(read, ["10-data/bag/0.sql"], "a table without a key is read each time");
    let second = site.backup();
    assert_eq!(second.tally.new_bytes, 0, "{second:?}");
    assert_eq!(second.tally.unchanged_files as usize, kept.len());
    site.assert_newest_is_right("nothing changed");
    let (with, without) = site.both();
    assert_same_rows(&with, &without, "whoever asks for what was not read gets it");

    // One row of each table, in the middle: one range of each.
    site.run("UPDATE posts SET body = 'edited' WHERE id = 9000; UPDATE words SET n = -1 WHERE n = 4711; DELETE FROM pairs WHERE a = 500 AND b = 'k7'");
    let (still, read) = site.listed();
    assert_eq!((still.len(), read.len()), (kept.len() - 3, 4), "{read:?}");
    let third = site.backup();
    assert!(third.tally.new_bytes > 0 && third.tally.new_bytes < first.tally.new_bytes / 4, "{:?}", third.tally);
    site.assert_newest_is_right("one row of each");

    // Of these ranges only what is around the edits travels.
    site.run("UPDATE posts SET body = 'edited' WHERE id IN (3000, 17000); INSERT INTO words VALUES ('middle', 1)");
    let sent = || {
        let answer = server.ask("", "SHOW GLOBAL STATUS LIKE 'Bytes_sent'");
        answer.trim().rsplit('\t').next().unwrap().parse::<u64>().unwrap()
    };
    let before = sent();
    site.backup();
    let bytes = sent() - before;
    assert!(bytes < 150_000, "{bytes}");
    site.assert_newest_is_right("around the edits");

    // Two rows that change places have the same values as before, at other keys.
    site.run("UPDATE pairs SET n = CASE b WHEN 'k1' THEN (SELECT 42) ELSE n END WHERE a = 3");
    site.backup();
    site.run("UPDATE words SET n = n + 1 WHERE n IN (100, 101); UPDATE words SET n = 100 WHERE n = 102");
    site.backup();
    site.assert_newest_is_right("values change places");

    // The first range, the last one, a border, all of a range, all of a table.
    site.run("DELETE FROM posts WHERE id < 3; INSERT INTO posts (body) VALUES ('last'); INSERT INTO posts (id, body) VALUES (-5, 'first')");
    site.backup();
    site.assert_newest_is_right("at both ends");
    site.run("DELETE FROM posts WHERE id < 5000");
    site.backup();
    site.assert_newest_is_right("ranges are empty, the first one among them");
    site.run("INSERT INTO posts (id, body) SELECT seq, 'again' FROM seq_1_to_4000; DELETE FROM pairs");
    site.backup();
    site.assert_newest_is_right("rows before the first range there was");
    site.run("DELETE FROM posts; INSERT INTO pairs SELECT seq, 'x', 1 FROM seq_1_to_9000");
    site.backup();
    site.assert_newest_is_right("empty and not empty");
    drop(site.folder);
}

#[test]
fn sums_of_another_time_prove_nothing() {
    let server = MariaDb::start();
    create(&server, "a");
    let mut site = Site::new(&server, "a");
    site.run(POSTS);
    site.backup();
    let all_but = |site: &Site<'_>, table: &str| {
        let (kept, read) = site.listed();
        assert!(
            !kept.is_empty() && kept.iter().all(|path| !path.starts_with(&format!("10-data/{table}/"))),
            "{kept:?}"
        );
        assert!(read.iter().any(|path| path.starts_with(&format!("10-data/{table}/"))));
    };
    // The same bytes, and now they mean something else.
    site.run("ALTER TABLE posts MODIFY body text CHARACTER SET latin1 NOT NULL");
    all_but(&site, "posts");
    site.backup();
    site.assert_newest_is_right("another character set");
    site.run("ALTER TABLE words ADD more int");
    all_but(&site, "words");
    site.backup();
    site.assert_newest_is_right("another column");
    assert!(site.listed().0.len() > 10);

    // Once in a while everything is read.
    site.sums = RangeSums::new().whole_after(Duration::ZERO);
    assert_eq!(site.listed().0, Vec::<String>::new());
    site.sums = RangeSums::new();

    // Without sums nothing is recorded, and a dump behind it has nothing to compare with.
    site.backup_of(Arc::new(DatabaseSource::new(root(&server, "a"))));
    assert_eq!(site.listed().0, Vec::<String>::new());
}

/// A dump in which a table was lost.
struct Lossy(DatabaseSource);

#[async_trait::async_trait]
impl TreeSource for Lossy {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(LossyEntries(self.0.entries().await?, false)))
    }
    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        self.0.open(path).await
    }
}

struct LossyEntries(Box<dyn EntryStream>, bool);

#[async_trait::async_trait]
impl EntryStream for LossyEntries {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        loop {
            match self.0.next().await? {
                Some(Listed::Entry(entry)) if entry.path.to_string().starts_with("10-data/posts/") => {
                    if !std::mem::replace(&mut self.1, true) {
                        return Ok(Some(Listed::Problem(Problem::new(
                            RelPath::try_from("10-data/posts").unwrap(),
                            ProblemKind::Unlisted,
                            "lost",
                        ))));
                    }
                }
                listed => return Ok(listed),
            }
        }
    }
}

#[test]
fn what_stands_in_for_lost_rows_is_read_again() {
    let server = MariaDb::start();
    create(&server, "a");
    let site = Site::new(&server, "a");
    site.run(POSTS);
    site.backup();
    // This one says what it read, and the snapshot has the older rows instead.
    site.run("UPDATE posts SET body = 'edited'");
    let partial = site.backup_of(Arc::new(Lossy(site.source())));
    assert!(!partial.problems.is_empty());
    assert_eq!(site.listed().0, Vec::<String>::new());
    site.backup();
    site.assert_newest_is_right("after a loss");
}

#[test]
fn every_type_can_be_summed_up_and_no_change_goes_unseen() {
    every_type_can_be_summed_up(&MariaDb::start(), super::zoo::ZOO);
}

#[test]
fn every_type_of_mysql_can_be_summed_up() {
    let Some(server) = MySql::start() else { return };
    // In an expression MySQL prints a double of more than 22 characters with one digit less. Then the range is read.
    let zoo = super::mysql::ZOO.replace("2.2250738585072014e-308", "2.225073858507201e-308");
    every_type_can_be_summed_up(&server, &zoo);
}

fn every_type_can_be_summed_up(server: &SqlServer, zoo: &str) {
    create(server, "zoo");
    server.run("zoo", zoo);
    let site = Site::new(server, "zoo");
    let tables = server.ask(
        "zoo",
        "SELECT DISTINCT TABLE_NAME FROM information_schema.STATISTICS JOIN information_schema.TABLES USING (TABLE_SCHEMA, TABLE_NAME) \
         WHERE TABLE_SCHEMA='zoo' AND INDEX_NAME='PRIMARY' AND TABLE_TYPE='BASE TABLE' AND TABLE_NAME IN ('numbers', 'moments', 'texts', 'bytes')",
    );
    for table in tables.lines() {
        // Long enough to be asked about.
        site.run(&format!("SET SQL_MODE='ALLOW_INVALID_DATES'; ALTER TABLE {table} ADD pad text; UPDATE {table} SET pad = repeat('x', 3000)"));
    }
    site.backup();
    let kept = site.listed().0;
    for table in ["numbers", "moments", "texts", "bytes"] {
        assert!(kept.contains(&format!("10-data/{table}/0.sql")), "{table} is read again: {kept:?}");
    }
    let mut changes = 0;
    for table in tables.lines() {
        let columns = server.ask(
            "zoo",
            &format!("SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA='zoo' AND TABLE_NAME='{table}' AND IS_NULLABLE='YES'"),
        );
        for column in columns.lines() {
            let count = || server.ask("zoo", &format!("SELECT COUNT(*) FROM {table} WHERE {column} IS NULL"));
            let before = count();
            site.run(&format!("SET SQL_MODE='ALLOW_INVALID_DATES'; UPDATE {table} SET {column} = NULL WHERE {column} IS NOT NULL LIMIT 1"));
            if count() == before {
                continue;
            }
            changes += 1;
            let read = site.listed().1;
            assert!(read.contains(&format!("10-data/{table}/0.sql")), "a change of {table}.{column} goes unseen");
            site.backup();
        }
    }
    assert!(changes > 30, "{changes}");
    site.assert_newest_is_right("every column");
}

#[test]
fn random_edits_are_all_seen() {
    edit_at_random(&MariaDb::start_with(&["--max-allowed-packet=64M"]), str::to_owned);
}

#[test]
fn random_edits_of_mysql_are_all_seen() {
    let Some(server) = MySql::start() else { return };
    edit_at_random(&server, |sql| {
        let sql = sql.replace("ENGINE=Aria", "ENGINE=InnoDB");
        sql.replace("utf8mb4_unicode_nopad_ci", "utf8mb4_0900_as_cs")
            .replace("utf8mb4_german2_ci", "utf8mb4_de_pb_0900_ai_ci")
    });
}

/// The statements are those of MariaDB: `translate` gives those of the server.
fn edit_at_random(server: &SqlServer, translate: fn(&str) -> String) {
    let seeds: u64 = std::env::var("CLONEPANEL_SEEDS").map_or(3, |count| count.parse().expect("a number"));
    let first: u64 = std::env::var("CLONEPANEL_FIRST_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut kept = 0;
    for seed in first..first + seeds {
        let random = &mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let database = format!("a{seed}");
        create(server, &database);
        let site = Site::new(server, &database);
        let mode = "SET SQL_MODE='ALLOW_INVALID_DATES', TIME_ZONE='+00:00';\n";
        let mut sql = mode.to_owned();
        for index in 0..4 {
            table(random, &format!("t{index}"), &mut sql);
        }
        let load =
            |sql: &str| server.client(&database, &["--max-allowed-packet=64M", "--force"], translate(sql).as_bytes());
        let _ = load(&sql);
        site.backup();
        for round in 0..4 {
            let mut sql = mode.to_owned();
            for _ in 0..random.below(6) {
                let (table, at) = (random.below(4), random.below(900));
                let columns = server.ask(
                    &database,
                    &format!(
                        "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA='{database}' AND \
                         TABLE_NAME='t{table}' AND COLUMN_NAME LIKE 'c%'"
                    ),
                );
                let columns: Vec<_> = columns.lines().filter_map(|line| line.split_once('\t')).collect();
                let (column, kind) = random.pick(&columns);
                let kind = super::random::TYPES.iter().find(|known| kind.starts_with(*known)).copied().unwrap_or("int");
                sql += &match random.below(4) {
                    0 => format!("DELETE FROM t{table} WHERE a = {at};\n"),
                    1 => format!("INSERT IGNORE INTO t{table} (a, s, d, b) VALUES ({at}, 's{at}', 1, 0x{at:06x});\n"),
                    2 => format!("UPDATE t{table} SET {column} = NULL WHERE a > {at} LIMIT 1;\n"),
                    _ => format!("UPDATE t{table} SET {column} = {} WHERE a > {at} LIMIT 1;\n", value(random, kind)),
                };
            }
            // What a type or key does not take is left out.
            let _ = load(&sql);
            kept += site.listed().0.len();
            site.backup();
            site.assert_newest_is_right(&format!("seed {seed}, round {round}: {sql}"));
        }
        server.run("", &format!("DROP DATABASE {database}"));
    }
    assert!(kept > 0, "nothing was ever passed over");
}

#[test]
fn sums_are_of_the_one_moment_too() {
    let server = MariaDb::start();
    create(&server, "a");
    let site = Site::new(&server, "a");
    // Two tables, and files of some thousand rows each.
    site.run(
        "CREATE TABLE left_side (id int NOT NULL PRIMARY KEY, amount int NOT NULL, note text) ENGINE=InnoDB;
         INSERT INTO left_side SELECT seq, 1000, repeat('note ', 40) FROM seq_1_to_9000;
         CREATE TABLE right_side LIKE left_side; INSERT INTO right_side SELECT * FROM left_side;",
    );
    let total = |dumped: &Dumped| {
        let rows = rows(dumped).into_values().flatten();
        let amount = |row: Vec<u8>| String::from_utf8(row).unwrap().split(',').nth(1).unwrap().parse::<i64>().unwrap();
        rows.map(amount).sum::<i64>()
    };
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(7);
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                let (from, to, sum) = (1 + random.below(9000), 1 + random.below(9000), random.below(100));
                site.run(&format!(
                    "START TRANSACTION; UPDATE left_side SET amount = amount - {sum} WHERE id = {from};
                     UPDATE right_side SET amount = amount + {sum} WHERE id = {to}; COMMIT"
                ));
            }
        });
        for round in 0..6 {
            site.backup();
            let dumped = site.stored();
            assert_eq!(total(&dumped), 18_000_000, "round {round}");
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert!(!site.listed().0.is_empty());
}

#[test]
fn what_is_too_long_for_a_sum_is_read() {
    let server = MariaDb::start_with(&["--max-allowed-packet=1M"]);
    create(&server, "a");
    let site = Site::new(&server, "a");
    site.run(
        "CREATE TABLE files (id int NOT NULL PRIMARY KEY, content longblob, pad text) ENGINE=InnoDB;
         INSERT INTO files SELECT seq, NULL, repeat('pad ', 50) FROM seq_1_to_100;",
    );
    site.backup();
    assert_eq!(site.listed().0, ["10-data/files/0.sql"]);
    // The server that joins this for a sum has a shorter limit than it had when this was written.
    site.run("SET GLOBAL max_allowed_packet = 16777216");
    site.run("UPDATE files SET content = repeat('x', 2000000) WHERE id = 50");
    site.run("SET GLOBAL max_allowed_packet = 1048576");
    assert_eq!(site.listed().0, Vec::<String>::new());
    site.backup();
    site.assert_newest_is_right("a long value where there was none");
    assert!(!site.listed().1.is_empty(), "it has no sum, so it is read each time");
}

#[test]
fn a_damaged_file_is_told_and_made_up_for() {
    let server = MariaDb::start();
    create(&server, "a");
    let site = Site::new(&server, "a");
    site.run(POSTS);
    site.backup();
    let path = RelPath::try_from(format!("databases/a/{}", site.listed().0[0]).as_str()).unwrap();
    let newest = site.newest().unwrap();
    let stored = site.folder.path().join("site").join(newest.info().id.stem()).join(path.to_string());
    let mut content = std::fs::read(&stored).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::remove_file(&stored).unwrap();
    std::fs::write(&stored, content).unwrap();
    site.runtime.block_on(newest.distrust(&path)).unwrap();
    // It was not read, so it cannot be made up for at once; and it is not linked on either.
    let partial = site.backup_of(Arc::new(site.source()));
    assert_eq!(partial.problems.total(), 1, "{partial:?}");
    assert_eq!(partial.problems.listed()[0].path, path);
    site.backup();
    site.assert_newest_is_right("after the damage");
}
