//! The tool, with a database that listens where only the hosting server can reach it.

use clonepanel_tests::{MariaDb, Ran, Sshd, SshdOptions, Tool};
use std::{
    fs,
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
