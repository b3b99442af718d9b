//! Random schemas and rows: dumped, imported and dumped again.

use super::{
    Dumped,
    dumped::root,
    zoo::{checksums, create},
};
use clonepanel_core::tree;
use clonepanel_store::mysql::{DatabaseImport, DatabaseSource, Placement};
use clonepanel_tests::MariaDb;
use std::fmt::Write as _;

/// Numbers from a seed: the failing one is in the message.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

pub(super) const TYPES: [&str; 22] = [
    "int",
    "bigint unsigned",
    "tinyint",
    "decimal(12,4)",
    "float",
    "double",
    "double(12,3)",
    "date",
    "datetime(6)",
    "timestamp(3) NULL",
    "time(2)",
    "varchar(40) CHARACTER SET utf8mb4",
    "varchar(40) CHARACTER SET latin1",
    "varchar(40) CHARACTER SET ucs2",
    "text CHARACTER SET utf8mb3",
    "char(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "varbinary(20)",
    "blob",
    "bit(13)",
    "enum('a','B','','ä') CHARACTER SET utf8mb4",
    "set('x','y','z')",
    "json",
];

/// A random value of a type, as the literal that a site could have written.
pub(super) fn value(random: &mut Random, kind: &str) -> String {
    let word = |random: &mut Random| {
        let mut word = String::new();
        for _ in 0..random.below(9) {
            word.push_str(random.pick(&[
                "a", "Z", "ß", "é", "ö", " ", "%", "_", "\\'", "\\\\", "\\n", "\\0", "\\Z", "`", ";", "--", "0",
            ]));
        }
        word
    };
    if random.below(8) == 0 {
        return "NULL".to_owned();
    }
    let n = random.below(u64::MAX);
    match kind.split(['(', ' ']).next().unwrap() {
        "int" => (n as i32).to_string(),
        "tinyint" => (n as i8).to_string(),
        "bigint" => n.to_string(),
        "decimal" => format!("{}.{}", n as i32 % 10_000_000, n % 10_000),
        "float" => format!("{:e}", Some(f32::from_bits(n as u32)).filter(|f| f.is_finite()).unwrap_or(0.1)),
        "double" if kind.contains('(') => format!("{}.{:03}e0", n as i32, n % 1000),
        "double" => format!("{:e}", Some(f64::from_bits(n)).filter(|f| f.is_finite()).unwrap_or(0.1)),
        "date" => format!("'{:04}-{:02}-{:02}'", n % 10_000, n % 13, n % 32),
        "datetime" => format!(
            "'{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}'",
            n % 10_000,
            n % 13,
            n % 32,
            n % 24,
            n % 60,
            n % 60,
            n % 1_000_000
        ),
        "timestamp" => format!("FROM_UNIXTIME({}.{})", n % 2_147_483_647, n % 1000),
        "time" => {
            format!("'{}{}:{:02}:{:02}.{:02}'", if n & 1 == 0 { "-" } else { "" }, n % 838, n % 60, n % 60, n % 100)
        }
        "varbinary" | "blob" => format!("0x{:0width$x}", n, width = 2 * (8 + (n % 5) as usize)),
        "bit" => (n % 8192).to_string(),
        "enum" => random.pick(&["'a'", "'B'", "''", "'ä'", "0"]).to_string(),
        "set" => (n % 8).to_string(),
        "json" => format!("'{{\"k\": [{}, \"é\\\\n\"]}}'", n as i16),
        _ => format!("'{}'", word(random)),
    }
}

pub(super) fn table(random: &mut Random, name: &str, sql: &mut String) {
    let columns: Vec<_> = (0..1 + random.below(6)).map(|_| random.pick(&TYPES)).collect();
    let key = random.pick(&[
        "PRIMARY KEY (a)",
        "PRIMARY KEY (s, a)",
        "PRIMARY KEY (a, d, s)",
        "UNIQUE KEY k (b, a)",
        "UNIQUE KEY k (s(3), a)",
        "UNIQUE KEY k (n, a)",
        "KEY k (a)",
    ]);
    let engine = random.pick(&["InnoDB", "InnoDB", "MyISAM", "Aria"]);
    let collation =
        random.pick(&["utf8mb4_general_ci", "utf8mb4_bin", "utf8mb4_german2_ci", "utf8mb4_unicode_nopad_ci"]);
    write!(
        sql,
        "CREATE TABLE {name} (a int NOT NULL, s varchar(30) CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL, d decimal(6,2) NOT NULL, \
         b binary(3) NOT NULL, n int"
    )
    .unwrap();
    for (index, kind) in columns.iter().enumerate() {
        write!(sql, ", c{index} {kind}").unwrap();
    }
    writeln!(sql, ", {key}) ENGINE={engine};").unwrap();
    let rows = random.pick(&[0, 1, 20, 300]);
    for row in 0..rows {
        // Keys that a collation takes for equal are not what is tested.
        let string = random.pick(&["", "a", "B", "é", "ß", "x y", "\\'"]).to_string();
        let kind = |kind| TYPES.iter().find(|known| known.starts_with(kind)).unwrap();
        let (date, binary) = (row as f64 / 4.0, format!("0x{row:06x}"));
        write!(
            sql,
            "INSERT IGNORE INTO {name} VALUES ({}, '{string}', {date}, {binary}, {}",
            row * 3 - 5,
            value(random, kind("int"))
        )
        .unwrap();
        for kind in &columns {
            write!(sql, ", {}", value(random, kind)).unwrap();
        }
        sql.push_str(");\n");
    }
    // Rows that are longer than a file.
    if rows == 300 && random.below(2) == 0 {
        writeln!(sql, "ALTER TABLE {name} ADD pad longblob; UPDATE {name} SET pad = repeat(a, 2000 + a % 1000);")
            .unwrap();
        writeln!(sql, "UPDATE {name} SET pad = repeat('z', 3000000) WHERE a = 10;").unwrap();
    }
}

#[test]
fn random_databases_survive() {
    let server = MariaDb::start_with(&["--max-allowed-packet=64M"]);
    let seeds: u64 = std::env::var("CLONEPANEL_SEEDS").map_or(3, |count| count.parse().expect("a number"));
    let first: u64 = std::env::var("CLONEPANEL_FIRST_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for seed in first..first + seeds {
        let random = &mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut sql = "SET SQL_MODE='ALLOW_INVALID_DATES', TIME_ZONE='+00:00';\nSET autocommit=0;\n".to_owned();
        for index in 0..4 {
            table(random, &format!("t{index}"), &mut sql);
        }
        sql.push_str("COMMIT;\n");
        let (from, to) = (format!("from{seed}"), format!("to{seed}"));
        create(&server, &from);
        create(&server, &to);
        let _ = server.client(&from, &["--max-allowed-packet=64M"], sql.as_bytes());
        let before = Dumped::of(root(&server, &from));
        assert_eq!(before.problems, [], "seed {seed}");
        let report = runtime.block_on(async {
            let import = DatabaseImport::begin(root(&server, &to), Placement::IntoEmpty).await.unwrap();
            let copied = tree::copy(&DatabaseSource::new(root(&server, &from)), &import, &()).await;
            let report = import.finish().await.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
            assert!(copied.unwrap().problems.is_empty(), "seed {seed}");
            report
        });
        assert_eq!(report.refused, [], "seed {seed}");
        let after = Dumped::of(root(&server, &to));
        before.assert_same(&after);
        assert_eq!(checksums(&server, &from, &before), checksums(&server, &to, &after), "seed {seed}");
        server.run("", &format!("DROP DATABASE {from}; DROP DATABASE {to}"));
    }
}
