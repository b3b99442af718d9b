//! The tool, with a database that listens where only the hosting server can reach it.

use clonepanel_tests::{MariaDb, MySql, Ran, Sshd, SshdOptions, Tool};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

const SITE: &str = "
CREATE DATABASE alice_wp; USE alice_wp;
CREATE TABLE posts (id int NOT NULL PRIMARY KEY, title text) ENGINE=InnoDB;
INSERT INTO posts VALUES (1, 'Hello world!');
CREATE USER 'alice_wp'@'%' IDENTIFIED BY 'sesame';
GRANT ALL ON alice_wp.* TO 'alice_wp'@'%';
";

fn configuration(folder: &Path, sshd: &Sshd, database: &str) -> PathBuf {
    let login = sshd.login();
    let user = Command::new("id").arg("-un").output().unwrap();
    let text = format!(
        r#"
[store]
path = "store"
[server.alpha]
ssh = {{ host = "{}", port = {}, identity_file = "{}", known_hosts_file = "{}" }}
[site."example.org"]
primary = "alpha"
[site."example.org".account.alpha]
user = "{}"
paths = ["public_html"]
[[site."example.org".account.alpha.database]]
name = "alice_wp"
password_env = "WP_PASSWORD"
{database}
"#,
        login.host,
        login.port,
        login.identity_file.display(),
        login.known_hosts_file.display(),
        String::from_utf8(user.stdout).unwrap().trim(),
    );
    let path = folder.join("clonepanel.toml");
    fs::write(&path, text).unwrap();
    path
}

fn tool(config: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(Tool::program());
    command.arg("--config").arg(config).args(arguments);
    command.env_remove("CLONEPANEL_CONFIG").env("NO_COLOR", "1").env("WP_PASSWORD", "sesame");
    Ran::of(&mut command)
}

#[test]
fn a_site_is_backed_up_with_its_database() {
    let server = MariaDb::start();
    server.run("", SITE);
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir_all(home.join("public_html")).unwrap();
    fs::write(home.join("public_html/index.php"), "<?php").unwrap();
    let sshd = SshdOptions::new().home(&home).start();

    let config = configuration(folder.path(), &sshd, &format!("server = \"127.0.0.1:{}\"", server.port()));
    let checked = tool(&config, &["check"]);
    assert!(checked.stdout.contains("database alice_wp: a dump misses nothing"), "{checked:?}");
    let backed_up = tool(&config, &["backup"]);
    backed_up.assert(0, &[]);
    let rows = tool(&config, &["cat", "example.org:databases/alice_wp/10-data/posts/0.sql"]);
    assert!(rows.stdout.ends_with("(1,'Hello world!');\n"), "{rows:?}");
    tool(&config, &["cat", "example.org:public_html/index.php"]).assert(0, &[]);

    // A database that cannot be reached costs no file, and the older dump stands in for it.
    server.run("", "SET PASSWORD FOR 'alice_wp'@'%' = PASSWORD('changed')");
    fs::write(home.join("public_html/new.php"), "<?php").unwrap();
    let partial = tool(&config, &["backup"]);
    assert_eq!(partial.code, Some(3), "{partial:?}");
    assert!(
        partial.stderr.contains("databases/alice_wp") && partial.stderr.contains("does not allow logging in"),
        "{partial:?}"
    );
    assert!(!format!("{partial:?}").contains("sesame"));
    tool(&config, &["cat", "example.org:public_html/new.php"]).assert(0, &[]);
    let rows = tool(&config, &["cat", "example.org:databases/alice_wp/10-data/posts/0.sql"]);
    assert!(rows.stdout.ends_with("(1,'Hello world!');\n"), "{rows:?}");

    // Nothing is left of the way there.
    let direct =
        configuration(folder.path(), &sshd, &format!("server = \"127.0.0.1:{}\"\ndirect = true", server.port()));
    server.run("", "SET PASSWORD FOR 'alice_wp'@'%' = PASSWORD('sesame')");
    tool(&direct, &["backup"]).assert(0, &[]);
}

#[test]
fn where_forwards_are_forbidden_a_relay_stands_in() {
    let server = MariaDb::start();
    server.run("", SITE);
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir_all(home.join("public_html")).unwrap();
    let sshd = SshdOptions::new().home(&home).forbids_forwards().start();
    for place in [format!("127.0.0.1:{}", server.port()), server.socket().display().to_string()] {
        let config = configuration(folder.path(), &sshd, &format!("server = \"{place}\""));
        tool(&config, &["check"]).assert(0, &["database alice_wp: a dump misses nothing"]);
        tool(&config, &["backup"]).assert(0, &[]);
        let rows = tool(&config, &["cat", "example.org:databases/alice_wp/10-data/posts/0.sql"]);
        assert!(rows.stdout.ends_with("(1,'Hello world!');\n"), "{rows:?}");
        server.run("alice_wp", "UPDATE posts SET title = 'hacked'");
        tool(&config, &["restore", "example.org", "--database", "alice_wp", "--in-place", "--yes"])
            .assert(0, &["posts  1 row, as in the dump"]);
        assert_eq!(server.ask("alice_wp", "SELECT title FROM posts"), "Hello world!\n");
    }

    // What is wrong beyond the login is told with the words of the login.
    let config = configuration(folder.path(), &sshd, "server = \"/nonexistent/mysqld.sock\"");
    let partial = tool(&config, &["backup"]);
    assert_eq!(partial.code, Some(3), "{partial:?}");
    assert!(partial.stderr.contains("at the server: /nonexistent/mysqld.sock: No such file"), "{partial:?}");
    let poor =
        SshdOptions::new().home(&home).forbids_forwards().only_programs(&["sh", "rsync", "find", "date"]).start();
    let config = configuration(folder.path(), &poor, &format!("server = \"127.0.0.1:{}\"", server.port()));
    let partial = tool(&config, &["backup"]);
    assert_eq!(partial.code, Some(3), "{partial:?}");
    assert!(partial.stderr.contains("there is no perl, python3 or php"), "{partial:?}");
    let open = SshdOptions::new().home(&home).start();
    let config = configuration(folder.path(), &open, "server = \"127.0.0.1:1\"");
    let partial = tool(&config, &["backup"]);
    assert!(partial.stderr.contains("open failed: connect failed: Connection refused"), "{partial:?}");
}

/// Its way of logging in wants to know whether others can listen, and takes the two ends of a forward for different things.
#[test]
fn a_site_with_mysql_goes_through_a_login_and_to_mariadb() {
    let Some(server) = MySql::start() else { return };
    server.run("", SITE);
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir_all(home.join("public_html")).unwrap();
    let [port, socket] = [format!("127.0.0.1:{}", server.port()), server.socket().display().to_string()];
    for (sshd, places) in [
        (SshdOptions::new().home(&home).start(), vec![&port, &socket]),
        (SshdOptions::new().home(&home).forbids_forwards().start(), vec![&port]),
    ] {
        for place in places {
            // Nobody has logged in lately.
            server.run("", "FLUSH PRIVILEGES");
            let config = configuration(folder.path(), &sshd, &format!("server = \"{place}\""));
            tool(&config, &["check"]).assert(0, &["database alice_wp: a dump misses nothing"]);
            server.run("", "FLUSH PRIVILEGES");
            tool(&config, &["backup"]).assert(0, &[]);
            tool(&config, &["restore", "example.org", "--database", "alice_wp", "--in-place", "--yes"])
                .assert(0, &["posts  1 row, as in the dump"]);
        }
    }

    let other = MariaDb::start();
    other.run("", "CREATE DATABASE copy; CREATE USER me@localhost");
    other.run("", "GRANT ALL ON copy.* TO me@localhost");
    let url = format!("mysql://me@localhost/copy?socket={}", other.socket().display());
    let config = folder.path().join("clonepanel.toml");
    let restore = ["restore", "example.org", "--database", "alice_wp", "--to-database", &url, "--yes"];
    let restored = tool(&config, &restore);
    restored.assert(
        0,
        &["posts  1 row, as in the dump", "not as in the dump: table posts: the collation utf8mb4_0900_ai_ci became"],
    );
    let json = tool(&config, &[&restore[..], &["--json"]].concat());
    json.assert(0, &[r#""event":"adapted","kind":"table","name":"posts""#, r#""adapted":1"#]);
    assert_eq!(other.ask("copy", "SELECT * FROM posts"), "1\tHello world!\n");

    // A wrong password is one on any way.
    let sshd = SshdOptions::new().home(&home).start();
    let config = configuration(folder.path(), &sshd, &format!("server = \"127.0.0.1:{}\"", server.port()));
    server.run("", "ALTER USER 'alice_wp'@'%' IDENTIFIED BY 'changed'");
    let partial = tool(&config, &["backup"]);
    assert_eq!(partial.code, Some(3), "{partial:?}");
    assert!(partial.stderr.contains("does not allow logging in"), "{partial:?}");
}

/// A site with a database that was backed up.
struct Site {
    server: MariaDb,
    folder: tempfile::TempDir,
    _sshd: Sshd,
    config: PathBuf,
}

impl Site {
    fn new() -> Self {
        let server = MariaDb::start();
        server.run("", SITE);
        server.run("", "CREATE DATABASE scratch; GRANT ALL ON scratch.* TO 'alice_wp'@'%'");
        server.run(
            "alice_wp",
            "CREATE TABLE options (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, name text) ENGINE=InnoDB;
             INSERT INTO options VALUES (7, 'siteurl');
             CREATE DEFINER='alice_wp'@'%' TRIGGER t BEFORE INSERT ON posts FOR EACH ROW SET NEW.title = upper(NEW.title);
             CREATE DEFINER='alice_wp'@'%' VIEW newest AS SELECT max(id) AS id FROM posts;
             CREATE DEFINER='alice_wp'@'%' EVENT tidy ON SCHEDULE EVERY 1 DAY DO DELETE FROM options WHERE id = 0;",
        );
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        fs::create_dir_all(home.join("public_html")).unwrap();
        let sshd = SshdOptions::new().home(&home).start();
        let config = configuration(folder.path(), &sshd, &format!("server = \"127.0.0.1:{}\"", server.port()));
        tool(&config, &["backup"]).assert(0, &[]);
        Self { server, folder, _sshd: sshd, config }
    }

    fn restore(&self, arguments: &[&str]) -> Ran {
        tool(&self.config, &[&["restore"], arguments].concat())
    }

    /// Somebody does harm.
    fn spoil(&self) {
        self.server.run(
            "alice_wp",
            "UPDATE posts SET title = 'hacked'; DROP TABLE options; CREATE TABLE own (id int); INSERT INTO own VALUES (1)",
        );
    }

    fn all(&self, database: &str) -> String {
        let objects = "SELECT TRIGGER_NAME, DEFINER, ACTION_STATEMENT FROM information_schema.TRIGGERS
                           WHERE TRIGGER_SCHEMA = DATABASE();
                       SELECT TABLE_NAME, DEFINER, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()";
        self.server.ask(database, &format!("SHOW TABLES; SELECT * FROM posts; {objects}"))
    }
}

#[test]
fn a_database_is_put_back_and_the_undo_brings_back_what_was() {
    let site = Site::new();
    let good = site.all("alice_wp");
    site.spoil();
    let bad = site.all("alice_wp");
    let here = ["example.org", "--database", "alice_wp", "--in-place"];

    // Nothing happens without a yes, and a dry run tells everything.
    let refused = site.restore(&here);
    refused.assert(4, &["replaced posts (1 row)", "new options (1 row)", "1 left alone", "--yes"]);
    let dry = site.restore(&[&here[..], &["--dry-run", "--json"]].concat());
    dry.assert(0, &[r#""change":"replaced","table":"posts","rows":1"#, r#""untouched":1"#, r#""dry_run":true"#]);
    assert_eq!(site.all("alice_wp"), bad, "something was written");

    let done = site.restore(&[&here[..], &["--yes"]].concat());
    done.assert(0, &["posts  1 row, as in the dump", "2 tables", "example.org-undo", "--to-database primary"]);
    assert_eq!(site.all("alice_wp").replace("own\n", ""), good);
    assert_eq!(site.server.ask("alice_wp", "SELECT * FROM own"), "1\n");
    assert_eq!(
        site.server.ask("alice_wp", "INSERT INTO options (name) VALUES ('x'); SELECT max(id) FROM options"),
        "8\n"
    );

    let undo = ["example.org-undo", "--database", "alice_wp", "--to-database", "primary", "--no-undo", "--yes"];
    site.restore(&undo).assert(0, &["own  1 row"]);
    assert_eq!(site.server.ask("alice_wp", "SELECT title FROM posts"), "hacked\n");
    for ran in [refused, dry, done] {
        assert!(!format!("{ran:?}").contains("sesame"));
    }
}

#[test]
fn a_table_goes_to_another_database() {
    let site = Site::new();
    let url = format!("mysql://alice_wp@127.0.0.1:{}/scratch", site.server.port());
    let there = ["example.org@latest", "--database", "alice_wp", "--table", "posts", "--to-database", &url];
    let denied = site.restore(&[&there[..], &["--yes"]].concat());
    denied.assert(1, &["does not allow"]);
    let there = [&there[..], &["--password-env", "WP_PASSWORD", "--yes"]].concat();
    site.restore(&there).assert(0, &["new posts (1 row)", "1 table", "posts  1 row, as in the dump"]);
    assert_eq!(site.server.ask("scratch", "SHOW TABLES; SELECT * FROM posts"), "posts\n1\tHello world!\n");
    assert!(site.server.ask("scratch", "SHOW CREATE TRIGGER t").contains("upper"));
    // The whole dump over it; its events keep quiet in a copy.
    let all =
        ["example.org", "--database", "alice_wp", "--to-database", &url, "--password-env", "WP_PASSWORD", "--yes"];
    site.restore(&all).assert(0, &["replaced posts", "events are disabled", "example.org-undo"]);
    assert!(site.server.ask("scratch", "SHOW CREATE EVENT tidy").contains("DISABLE"));

    let unknown = site.restore(&["example.org", "--database", "alice_wp", "--table", "post", "--in-place", "--yes"]);
    unknown.assert(1, &["no table `post`", "did you mean `posts`?"]);
    site.restore(&["example.org", "--database", "alice", "--in-place"])
        .assert(1, &["did you mean", "databases/alice_wp"]);
    let told = site.restore(&["example.org", "--database", "alice_wp", "--to-database", "mysql://a:sesame@h/x"]);
    told.assert(2, &["a password does not belong on a command line"]);
    assert!(!format!("{told:?}").contains("sesame"), "{told:?}");
    let told = site.restore(&["example.org", "--database", "alice_wp", "--to-database", "mysql://a:sesame@h:port/x"]);
    told.assert(2, &["...@h:port/x is no address of a database"]);
    assert!(!format!("{told:?}").contains("sesame"), "{told:?}");
    for (bad, why) in
        [("http://a@h/x", "mysql://"), ("mysql://h/x", "no user"), ("mysql://a@h", "no name"), ("x", "no address")]
    {
        site.restore(&["example.org", "--database", "alice_wp", "--to-database", bad]).assert(2, &[why]);
    }
}

#[test]
fn a_dump_becomes_one_file_that_a_client_loads() {
    let site = Site::new();
    let file = site.folder.path().join("out.sql");
    let export = ["example.org", "--database", "alice_wp", "--export", file.to_str().unwrap()];
    site.restore(&export).assert(0, &["wrote 2 tables (2 rows)"]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    site.restore(&export).assert(4, &["is there already"]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.ends_with("-- end of alice_wp\n"), "{text}");
    site.server.run("scratch", &text);
    let loaded = site.all("scratch").replace("`scratch`", "`alice_wp`").replace("root@localhost", "alice_wp@%");
    assert_eq!(loaded, site.all("alice_wp"));

    let part = site.restore(&["example.org", "--database", "alice_wp", "--table", "options", "--export", "-"]);
    part.assert(0, &["(7,'siteurl');", "ALTER TABLE `options` AUTO_INCREMENT=8;"]);
    assert!(!part.stdout.contains("posts"), "{part:?}");
    let folder = site.folder.path().join("dump");
    site.restore(&["example.org", "--database", "alice_wp", "--to", folder.to_str().unwrap()]).assert(0, &[]);
    assert!(folder.join("dump.json").exists());
}

#[test]
fn rows_have_a_history() {
    let site = Site::new();
    site.server.run(
        "alice_wp",
        "CREATE TABLE tags (post int NOT NULL, tag varchar(20) NOT NULL, rank int, PRIMARY KEY (post, tag)) ENGINE=InnoDB;
         CREATE TABLE log (line text) ENGINE=InnoDB; INSERT INTO log VALUES ('a'), ('a'), ('b');
         CREATE TABLE seen (id int, what int) ENGINE=InnoDB; INSERT INTO seen VALUES (1, 5);
         INSERT INTO tags VALUES (1, 'it''s', 1), (2, 'x', 1);",
    );
    let backup = || {
        // Snapshots of one second have names of their own, and an order.
        tool(&site.config, &["backup"]).assert(0, &[]);
    };
    backup();
    site.server.run("alice_wp", "UPDATE tags SET rank = 5 WHERE post = 1; INSERT INTO log VALUES ('a')");
    backup();
    site.server.run("alice_wp", "INSERT INTO tags VALUES (3, 'y', 1); DELETE FROM log WHERE line = 'b'");
    site.server.run("alice_wp", "ALTER TABLE seen ADD PRIMARY KEY (id)");
    backup();
    site.server
        .run("alice_wp", "DELETE FROM tags WHERE post = 1; ALTER TABLE options ADD COLUMN note text; DROP TABLE log");
    backup();
    let history = |arguments: &[&str]| tool(&site.config, &[&["history", "example.org", "--row"], arguments].concat());
    let told = history(&["alice_wp.tags", "1", "it's"]);
    told.assert(0, &["appeared", "rank: 1", "changed", "rank: 1 -> 5", "gone"]);
    let lines: Vec<_> = told.stdout.lines().filter(|line| line.contains("T")).collect();
    assert_eq!(lines.len(), 4, "{told:?}");
    history(&["alice_wp.options", "7", "--json"])
        .assert(0, &[r#""column":"name","after":"'siteurl'""#, r#"{"column":"note","before":null,"after":"NULL"}"#]);
    history(&["alice_wp.tags", "9", "x"]).assert(1, &["no snapshot of example.org has a row 9, x"]);
    history(&["alice_wp.tags", "1"]).assert(1, &["a key of tags has this many values: 2, not 1"]);
    history(&["alice_wp.log", "1"]).assert(1, &["the table log has no key"]);
    // What had no key at first has a history from the key on.
    let told = history(&["alice_wp.seen", "1"]);
    told.assert(0, &["appeared", "what: 5", "the table seen has no key", "left out: 2 snapshots"]);
    history(&["tags", "1"]).assert(2, &["no DATABASE.TABLE"]);

    let list = tool(&site.config, &["snapshots", "example.org", "--json"]).stdout;
    let ids: Vec<_> =
        list.lines().filter_map(|line| Some(line.split_once(r#""id":""#)?.1.split_once('"')?.0)).collect();
    let diff = |a: usize, b: usize| {
        let site_at = |at: usize| format!("example.org@{}", ids[at]);
        tool(&site.config, &["diff", &site_at(a), &site_at(b)])
    };
    diff(0, 1).assert(0, &["+ alice_wp.tags: 2 rows added", "+ alice_wp.log: 3 rows added"]);
    diff(1, 2).assert(0, &["T alice_wp.tags: 1 row changed", "T alice_wp.log: 1 row added"]);
    diff(2, 3).assert(0, &["T alice_wp.tags: 1 row added", "T alice_wp.log: 1 row removed"]);
    diff(3, 4).assert(
        0,
        &[
            "- alice_wp.log: 3 rows removed",
            "T alice_wp.tags: 1 row removed",
            "T alice_wp.options: 1 row changed, another definition",
        ],
    );
    assert!(!diff(3, 3).stdout.contains("alice_wp"));
}
