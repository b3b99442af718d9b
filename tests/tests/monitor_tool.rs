//! `clonepanel monitor` against real servers.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use clonepanel_tests::{MariaDb, Nginx, Ran, Sshd, Tool};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// What the tool is started with, and where its lines come from.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn configuration(folder: &Path, sshd: &Sshd, nginx: &Nginx, more: &str) -> PathBuf {
    let login = sshd.login();
    let text = format!(
        r#"
[store]
path = "store"
[server.alpha]
addresses = ["127.0.0.1"]
ssh = {{ host = "{}", port = {} }}
[site."example.org"]
primary = "alpha"
[site."example.org".account.alpha]
user = "alice"
[site."example.org".monitor]
url = "http://example.org:{}/?token=sesame"
interval = "5s"
timeout = "2s"
body = "Welcome"
fall = 2
{more}
"#,
        login.host,
        login.port,
        nginx.port(),
    );
    let path = folder.join("clonepanel.toml");
    fs::write(&path, text).unwrap();
    path
}

fn command(config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(Tool::program());
    command.arg("--config").arg(config).args(arguments);
    command.env_remove("CLONEPANEL_CONFIG").env("NO_COLOR", "1");
    command
}

const PAGE: &str = r#"location / { return 200 "<h1>Welcome!</h1>"; }"#;

#[test]
fn one_look_says_what_is_seen() {
    let (sshd, nginx) = (Sshd::start(), Nginx::start(PAGE));
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path(), &sshd, &nginx, "");
    let once = ["monitor", "--once"];
    Ran::of(&mut command(&config, &["report"])).assert(0, &["nothing was watched yet"]);
    assert!(!folder.path().join("state").exists(), "asking leaves nothing behind");
    let good = Ran::of(&mut command(&config, &once));
    good.assert(
        0,
        &["good              example.org page at alpha", "good              ssh at alpha", "SSH-2.0-OpenSSH"],
    );
    let json = Ran::of(&mut command(&config, &["monitor", "--once", "example.org", "--json"]));
    json.assert(
        0,
        &[
            r#""event":"look","target":"example.org page at alpha","vantage":"here""#,
            r#""class":"good""#,
            r#""looks":2,"bad":0"#,
        ],
    );
    assert!(!format!("{good:?}{json:?}").contains("sesame"));

    nginx.signal("STOP");
    let bad = Ran::of(&mut command(&config, &once));
    bad.assert(
        3,
        &["no answer         example.org page at alpha", "no answer within 2 s", "good              ssh at alpha"],
    );
    nginx.signal("CONT");
    drop(sshd);
    Ran::of(&mut command(&config, &once))
        .assert(3, &["refused           ssh at alpha", "good              example.org page"]);
    Ran::of(&mut command(&config, &["monitor", "--once", "example.com"])).assert(2, &["did you mean `example.org`?"]);
}

#[test]
fn changes_are_told_as_they_come_and_a_stop_is_no_failure() {
    let (sshd, nginx) = (Sshd::start(), Nginx::start(PAGE));
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path(), &sshd, &nginx, "");
    let mut child = Running(command(&config, &["monitor", "--json"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let mut until = |wanted: &[&str]| {
        let mut seen = Vec::new();
        for line in lines.by_ref().map(Result::unwrap) {
            if wanted.iter().all(|part| line.contains(part)) {
                return line;
            }
            seen.push(line);
        }
        panic!("{wanted:?} is not in {seen:#?}");
    };
    let page = r#""target":"example.org page at alpha""#;
    until(&[r#""event":"change""#, page, r#""from":"unknown","to":"up""#]);
    nginx.signal("STOP");
    until(&[r#""event":"change""#, page, r#""from":"up","to":"failing""#, "no answer within 2 s"]);
    let down = until(&[r#""event":"change""#, page, r#""to":"down""#]);
    assert!(down.contains(r#""reason":"seen from too few places to act on it","may_act":false"#), "{down}");
    nginx.signal("CONT");
    until(&[r#""event":"change""#, page, r#""from":"down","to":"recovering""#]);
    until(&[r#""event":"change""#, page, r#""from":"recovering","to":"up""#]);
    let stopped = Command::new("kill").arg("-TERM").arg(child.0.id().to_string()).status().unwrap();
    assert!(stopped.success());
    until(&[r#""event":"result","ok":true"#, r#""stopped_by":"SIGTERM""#]);
    assert_eq!(child.0.wait().unwrap().code(), Some(0));

    // What was seen is kept, to the last second.
    let status = Ran::of(&mut command(&config, &["status", "example.org"]));
    status.assert(0, &["up         example.org page at alpha  since ", "backup     example.org  no good one yet"]);
    let report = Ran::of(&mut command(&config, &["report", "--since", "1h", "--promised", "99.9"]));
    report.assert(
        0,
        &[
            "example.org page at alpha",
            "ssh at alpha",
            "uptime     100 %",
            "promised   99.9 %: missed by",
            "down       ",
        ],
    );
    assert!(report.stdout.contains("no answer: no answer within 2 s"), "{report:?}");
    let json = Ran::of(&mut command(&config, &["report", "example.org", "--since", "1h", "--json"]));
    json.assert(
        0,
        &[
            r#""event":"target","target":"example.org page at alpha","availability":0."#,
            r#""is_over":true"#,
            r#""targets":1"#,
        ],
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(folder.path().join("state/health/health.sqlite")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    Ran::of(&mut command(&config, &["report", "--promised", "many"])).assert(2, &["no number of percent"]);
}

#[test]
fn a_monitor_that_is_killed_has_kept_what_it_said() {
    let (sshd, nginx) = (Sshd::start(), Nginx::start(PAGE));
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path(), &sshd, &nginx, "");
    let mut child = Running(command(&config, &["monitor", "--json"]).stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut looks = lines.filter(|line| line.contains(r#""event":"look""#));
    assert!(looks.nth(6).is_some());
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let json = Ran::of(&mut command(&config, &["status", "--json"]));
    json.assert(
        0,
        &[r#""target":"example.org page at alpha","state":"up""#, r#""target":"ssh at alpha","state":"up""#],
    );
}

#[test]
fn a_network_of_our_own_that_is_broken_is_said_to_be() {
    let (sshd, nginx) = (Sshd::start(), Nginx::start(PAGE));
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path(), &sshd, &nginx, "canaries = [\"http://127.0.0.1:1/\"]");
    nginx.signal("STOP");
    let mut child = Running(command(&config, &["monitor", "--json"]).stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut looks = 0;
    for line in lines {
        assert!(!line.contains(r#""to":"failing""#) && !line.contains(r#""to":"down""#), "{line}");
        looks += usize::from(line.contains(r#""class":"no answer""#));
        if looks == 3 {
            break;
        }
        if line.contains("own_trouble") {
            assert!(line.contains("no canary can be reached"), "{line}");
        }
    }
    assert_eq!(looks, 3);
}

/// What only an account on the server can see.
#[test]
fn databases_and_load_are_looked_at_through_the_login() {
    let (sshd, nginx, server) = (Sshd::start(), Nginx::start(PAGE), MariaDb::start());
    server.run(
        "",
        "CREATE DATABASE alice_wp; CREATE USER alice_wp IDENTIFIED BY 'sesame'; GRANT ALL ON alice_wp.* TO alice_wp",
    );
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path(), &sshd, &nginx, "load = { failing = 5000.0, down = 9000.0 }");
    let login = sshd.login();
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let keys = format!(
        r#", identity_file = "{}", known_hosts_file = "{}" }}"#,
        login.identity_file.display(),
        login.known_hosts_file.display()
    );
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace(&format!("port = {} }}", login.port), &format!("port = {}{keys}", login.port));
    let database = format!(
        "user = \"{}\"\n[[site.\"example.org\".account.alpha.database]]\nname = \"alice_wp\"\npassword_env = \"WP_PASSWORD\"\nserver = \"127.0.0.1:{}\"\n",
        user.trim(),
        server.port()
    );
    fs::write(&config, text.replace("user = \"alice\"\n", &database)).unwrap();
    let once = |words: &[&str]| {
        let ran = Ran::of(command(&config, &["monitor", "--once"]).env("WP_PASSWORD", "sesame"));
        words.iter().for_each(|word| assert!(ran.stdout.contains(word), "{word}: {ran:?}"));
        assert!(!format!("{ran:?}").contains("sesame"));
        ran.code
    };
    let good = [
        "good              example.org database alice_wp at alpha",
        "MariaDB",
        "good              example.org load at alpha",
        " processors",
    ];
    assert_eq!(once(&good), Some(0));
    server.signal("STOP");
    assert_eq!(once(&["no answer         example.org database alice_wp at alpha"]), Some(3));
    server.signal("CONT");
    drop(server);
    let code = once(&["example.org database alice_wp at alpha", "example.org page at alpha"]);
    assert_eq!(code, Some(3));
    fs::write(
        &config,
        fs::read_to_string(&config).unwrap().replace("failing = 5000.0, down = 9000.0", "failing = 0.0, down = 0.0"),
    )
    .unwrap();
    once(&["overloaded        example.org load at alpha"]);
    drop(sshd);
    once(&[
        "not looked at     example.org database alice_wp at alpha",
        "not looked at     example.org load at alpha",
        "refused           ssh at alpha",
    ]);
}

/// The site has an account on a second server, which can look as well.
#[test]
fn two_vantages_may_conclude_what_one_may_not() {
    let (alpha, beta, nginx) = (Sshd::start(), Sshd::start(), Nginx::start(PAGE));
    let folder = tempfile::tempdir().unwrap();
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let login = beta.login();
    let more = format!(
        r#"
vantages = ["here", "ssh:beta"]
[server.beta]
ssh = {{ host = "{}", port = {}, identity_file = "{}", known_hosts_file = "{}" }}
[site."example.org".account.beta]
user = "{}"
"#,
        login.host,
        login.port,
        login.identity_file.display(),
        login.known_hosts_file.display(),
        user.trim(),
    );
    let config = configuration(folder.path(), &alpha, &nginx, &more);
    let text =
        fs::read_to_string(&config).unwrap().replace("primary = \"alpha\"", "primary = \"alpha\"\nspare = \"beta\"");
    fs::write(&config, text).unwrap();
    let once = Ran::of(&mut command(&config, &["monitor", "--once", "--json"]));
    once.assert(
        0,
        &[
            r#""target":"example.org page at alpha","vantage":"here""#,
            r#""target":"example.org page at alpha","vantage":"ssh:beta""#,
        ],
    );
    assert!(!format!("{once:?}").contains("sesame"));

    let mut child = Running(command(&config, &["monitor", "--json"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let page = r#""event":"change","target":"example.org page at alpha""#;
    lines.by_ref().find(|line| line.contains(page) && line.contains(r#""to":"up""#)).unwrap();
    // The second one has to have seen it, too.
    for _ in 0..2 {
        lines
            .by_ref()
            .find(|line| line.contains(r#""vantage":"ssh:beta""#) && line.contains(r#""class":"good""#))
            .unwrap();
    }
    nginx.signal("STOP");
    let down = lines.by_ref().find(|line| line.contains(page) && line.contains(r#""to":"down""#)).unwrap();
    assert!(down.contains(r#""reason":"enough see it down","may_act":true"#), "{down}");

    // What cannot be looked at from there is no failure of the site.
    drop(child);
    nginx.signal("CONT");
    drop(beta);
    let blind = Ran::of(&mut command(&config, &["monitor", "--once"]));
    blind.assert(3, &["good              example.org page at alpha", "not looked at     example.org page at alpha"]);
}
