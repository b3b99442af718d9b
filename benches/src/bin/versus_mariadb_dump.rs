//! Dumping and loading a database beside the stock client programs: time, peak memory, bytes from the server, new disk.
//!
//! Both sides take turns in one run, on the same server, over the same loopback port. Ours is `clonepanel backup` of a site with that
//! database and one small file, which includes the ssh session for the file; theirs is `mariadb-dump --single-transaction`. The day
//! is read as a hosting account's database is: by way of the login, whose bytes are counted.
//! `--posts N`, `--rounds N`.
#![allow(missing_docs, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, reason = "a bench")]

use clonepanel_benches::{
    blog::Blog,
    measure::{self, Run},
};
use clonepanel_tests::{MariaDb, Proxy, Sshd, SshdOptions, Tool};
use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _, path::Path, process::Command};
use tempfile::TempDir;
use walkdir::WalkDir;

const PASSWORD: &str = "sesame";
/// Configurations: the database asked from here, and by way of the login.
const DIRECT: &str = "direct.toml";
const FORWARDED: &str = "forwarded.toml";
const COMPRESSED: &str = "compressed.toml";

fn main() {
    let (mut blog, mut rounds) = (Blog::default(), 3);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok()).expect("a number");
        match name.as_str() {
            "--posts" => blog.posts = value,
            "--rounds" => rounds = value,
            _ => panic!("unknown option {name}"),
        }
    }
    let bench = Bench::new(blog);
    println!("| step | stock | clonepanel | ratio |\n|---|---|---|---|");
    bench.first(rounds);
    bench.unchanged(rounds);
    bench.day(blog, 3, DIRECT, "a day, asked directly");
    bench.day(blog, 1, FORWARDED, "one day");
    bench.day(blog, 2, COMPRESSED, "another, `options = [\"Compression=yes\"]`");
    bench.load(rounds);
}

struct Bench {
    dir: TempDir,
    server: MariaDb,
    sshd: Sshd,
    proxy: Proxy,
}

impl Bench {
    fn new(blog: Blog) -> Self {
        let server = MariaDb::start();
        server.run(
            "",
            &format!(
                "CREATE DATABASE blog; CREATE DATABASE copy; CREATE DATABASE stock;
                 CREATE USER 'blog'@'%' IDENTIFIED BY '{PASSWORD}';
                 GRANT ALL ON blog.* TO 'blog'@'%'; GRANT ALL ON copy.* TO 'blog'@'%'; GRANT ALL ON stock.* TO 'blog'@'%';"
            ),
        );
        for statement in blog.statements() {
            server.run("blog", &statement);
        }
        let dir = tempfile::Builder::new().prefix("clonepanel-versus").tempdir().expect("temporary folder");
        let home = dir.path().join("home");
        fs::create_dir_all(home.join("public_html")).expect("folder");
        fs::write(home.join("public_html/index.php"), "<?php").expect("file");
        let sshd = SshdOptions::new().home(&home).start();
        let proxy = Proxy::to(sshd.port());
        let bench = Self { dir, server, sshd, proxy };
        bench.configure(DIRECT, true, "");
        bench.configure(FORWARDED, false, "");
        bench.configure(COMPRESSED, false, r#", options = ["Compression=yes"]"#);
        bench
    }

    fn configure(&self, name: &str, is_direct: bool, options: &str) {
        let login = self.sshd.login_at(self.proxy.port());
        let user = Command::new("id").arg("-un").output().expect("id").stdout;
        let text = format!(
            r#"
[store]
path = "store"
[server.alpha]
ssh = {{ host = "{}", port = {}, identity_file = "{}", known_hosts_file = "{}"{options} }}
[site.blog]
primary = "alpha"
[site.blog.account.alpha]
user = "{}"
paths = ["public_html"]
[[site.blog.account.alpha.database]]
name = "blog"
password_env = "BLOG_PASSWORD"
server = "127.0.0.1:{}"
direct = {is_direct}
"#,
            login.host,
            login.port,
            login.identity_file.display(),
            login.known_hosts_file.display(),
            String::from_utf8_lossy(&user).trim(),
            self.server.port(),
        );
        fs::write(self.dir.path().join(name), text).expect("configuration");
    }

    fn first(&self, rounds: usize) {
        let (mut stock, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            stock.push(self.dump());
            drop(fs::remove_dir_all(self.store()));
            ours.push(measure::run(&mut self.tool(DIRECT, "backup")));
        }
        let bytes = fs::metadata(self.dump_file()).expect("the dump").len();
        eprintln!("the dump of the stock program has {:.1} MB", bytes as f64 / 1e6);
        print("first dump", &stock, &ours);
        println!(
            "| first dump: disk | {:.1} MB | {:.1} MB | |",
            bytes as f64 / 1e6,
            disk(&self.store(), &HashSet::new()).0 as f64 / 1e6
        );
    }

    fn unchanged(&self, rounds: usize) {
        let (mut stock, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            stock.push(self.dump());
            ours.push(measure::run(&mut self.tool(DIRECT, "backup")));
        }
        print("nothing changed", &stock, &ours);
    }

    /// What the snapshot after a day takes, of the server's bytes and of the disk.
    fn day(&self, blog: Blog, seed: u64, configuration: &str, name: &str) {
        self.server.run("blog", &blog.day(seed));
        let known = disk(&self.store(), &HashSet::new()).1;
        let before = self.proxy.bytes();
        let run = measure::run(&mut self.tool(configuration, "backup"));
        let after = self.proxy.bytes();
        let wire = (after.0 - before.0) + (after.1 - before.1);
        let new = disk(&self.store(), &known).0;
        println!("| {name}: time | | {:.2} s | |", run.time.as_secs_f64());
        println!("| {name}: bytes over ssh | | {:.1} KB | |", wire as f64 / 1e3);
        println!("| {name}: new disk | | {:.1} MB | |", new as f64 / 1e6);
    }

    fn load(&self, rounds: usize) {
        let (mut stock, mut ours) = (Vec::new(), Vec::new());
        self.dump();
        for _ in 0..rounds {
            self.server.run("", "DROP DATABASE stock; CREATE DATABASE stock; DROP DATABASE copy; CREATE DATABASE copy");
            let mut client = self.stock("mariadb");
            client.arg("stock").arg("-e").arg(format!("source {}", self.dump_file().display()));
            stock.push(measure::run(&mut client));
            let mut restore = self.tool(DIRECT, "restore");
            let url = format!("mysql://blog@127.0.0.1:{}/copy", self.server.port());
            restore.args([
                "blog",
                "--database",
                "blog",
                "--to-database",
                &url,
                "--password-env",
                "BLOG_PASSWORD",
                "--yes",
            ]);
            ours.push(measure::run(&mut restore));
        }
        print("load into an empty database (ours compares rows and checksums afterwards)", &stock, &ours);
        let sums = |database: &str| {
            let tables = "wp_posts, wp_postmeta, wp_comments, wp_options";
            self.server.ask(database, &format!("CHECKSUM TABLE {tables}")).replace(&format!("{database}."), "")
        };
        assert_eq!(sums("copy"), sums("blog"), "what was loaded is something else");
    }

    fn store(&self) -> std::path::PathBuf {
        self.dir.path().join("store")
    }

    fn dump_file(&self) -> std::path::PathBuf {
        self.dir.path().join("dump.sql")
    }

    fn dump(&self) -> Run {
        let mut command = self.stock("mariadb-dump");
        command.args(["--single-transaction", "--skip-dump-date", "blog"]).arg("--result-file").arg(self.dump_file());
        measure::run(&mut command)
    }

    fn stock(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(["--no-defaults", "--host=127.0.0.1", "--user=blog"])
            .arg(format!("--port={}", self.server.port()));
        command.env("MYSQL_PWD", PASSWORD);
        command
    }

    fn tool(&self, configuration: &str, name: &str) -> Command {
        let mut command = Command::new(Tool::program());
        command.arg("--config").arg(self.dir.path().join(configuration)).arg(name);
        command.env_remove("CLONEPANEL_CONFIG").env("NO_COLOR", "1").env("BLOG_PASSWORD", PASSWORD);
        command
    }
}

/// The blocks of the inodes that are not among the known ones, in bytes, and all inodes.
fn disk(store: &Path, known: &HashSet<u64>) -> (u64, HashSet<u64>) {
    let mut all = known.clone();
    let mut bytes = 0;
    for entry in WalkDir::new(store) {
        let meta = entry.and_then(|entry| entry.metadata()).expect("walk");
        if all.insert(meta.ino()) {
            bytes += meta.blocks() * 512;
        }
    }
    (bytes, all)
}

fn print(name: &str, stock: &[Run], ours: &[Run]) {
    let seconds = |runs: &[Run]| measure::median(runs.iter().map(|run| run.time.as_secs_f64()).collect());
    let (theirs, own) = (seconds(stock), seconds(ours));
    println!("| {name}: time | {theirs:.2} s | {own:.2} s | **{:.2}** |", own / theirs);
    let peak = |runs: &[Run]| runs.iter().map(|run| run.peak_kib).max().unwrap_or(0) as f64 / 1024.0;
    println!("| {name}: peak memory | {:.1} MiB | {:.1} MiB | |", peak(stock), peak(ours));
}
