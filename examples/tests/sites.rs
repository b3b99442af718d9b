//! Sites of a configuration, as far as that can be seen without a server.

#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails it")]

mod tool;

use std::{
    fs,
    io::Read,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};
use tool::{Bench, Ran};

/// Two sites on a server that nobody answers for.
fn configured(port: u16) -> Bench {
    let bench = Bench::new();
    bench.write(
        "clonepanel.toml",
        format!(
            r#"
[store]
path = "snapshots"
[retention]
daily = 7
[server.alpha]
ssh = {{ host = "127.0.0.1", port = {port}, known_hosts_file = "known_hosts", identity_file = "key" }}
whm = {{ url = "https://alpha.example.net:2087", user = "reseller", token_file = "token" }}
limits = {{ transfers = 2 }}
[site.one]
primary = "alpha"
[site.one.account.alpha]
user = "alice"
[[site.one.account.alpha.database]]
name = "alice_wp"
[site.two]
primary = "alpha"
[site.two.account.alpha]
user = "bob"
transport = "agent"
"#
        ),
    );
    bench.write("known_hosts", "");
    bench.write("token", "sesame");
    bench
}

#[test]
fn each_site_that_fails_is_listed() {
    let bench = configured(1);
    let ran = bench.run(["backup", "--json"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let events = ran.events();
    let failed: Vec<_> = events.iter().filter(|event| event["event"] == "failure").collect();
    assert_eq!(failed.len(), 2, "{events:?}");
    for failure in failed {
        let (word, hint) = match failure["site"].as_str().unwrap() {
            "one" | "two" => ("cannot be reached", "network"),
            other => panic!("{other}"),
        };
        assert!(failure["error"].as_str().unwrap().contains(word), "{failure}");
        assert!(failure["hint"].as_str().unwrap().contains(hint), "{failure}");
    }
    assert_eq!((&events.last().unwrap()["failed"], &events.last().unwrap()["complete"]), (&2.into(), &0.into()));

    bench.run(["backup", "two"]).refused(1, "cannot be reached", "network");
    assert_eq!(bench.ok(["snapshots"]), "no snapshots yet; `clonepanel backup` makes one\n");
}

#[test]
fn check_tries_everything_and_says_what_to_do() {
    let bench = configured(1);
    fs::set_permissions(bench.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = bench.run(["check", "one", "--json"]);
    assert_eq!(ran.code, 1);
    let events = ran.events();
    let has = |verdict: &str, detail: &str, hint: &str| {
        events.iter().any(|event| {
            event["verdict"] == verdict
                && event["detail"].as_str().unwrap().contains(detail)
                && event["hint"].as_str().unwrap_or_default().contains(hint)
        })
    };
    assert!(has("good", "is understood", ""), "{events:?}");
    assert!(has("good", "is not there yet", ""), "{events:?}");
    assert!(has("bad", "cannot be read", "ssh-keygen"), "{events:?}");
    assert!(has("bad", "is open to others (mode 0644)", "chmod 600"), "{events:?}");
    assert!(has("not checked", "WHM at", ""), "{events:?}");
    assert!(has("bad", "cannot be reached", "network"), "{events:?}");
    assert!(!ran.text().contains("sesame") && !ran.stderr.contains("sesame"));
    // Looking leaves nothing behind.
    assert!(!bench.path("snapshots").exists());
}

#[test]
fn a_run_that_is_told_to_stop_stops_and_leaves_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let bench = configured(listener.local_addr().unwrap().port());
    let child =
        bench.command(["backup", "one", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The far end takes the call and says nothing: ssh waits.
    let (mut connection, _) = listener.accept().unwrap();
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.result()["error"].as_str().unwrap().contains("stopped by SIGTERM"), "{}", ran.text());
    // ssh does not outlive it: the connection ends.
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).unwrap();
    assert_eq!(bench.ok(["snapshots"]), "no snapshots yet; `clonepanel backup` makes one\n");
}

#[test]
fn prune_takes_the_configured_retention() {
    let bench = configured(1);
    bench.write("site/index.html", "x");
    for _ in 0..3 {
        bench.ok(["backup", "--store", "snapshots", "./site", "--source", "one"]);
    }
    let events = bench.run(["prune", "one", "--json"]).events();
    let result = events.last().unwrap();
    assert_eq!((&result["kept"], &result["deleted"]), (&1.into(), &2.into()), "{events:?}");
    let verdicts: Vec<_> = events.iter().filter(|event| event["event"] == "decision").collect();
    assert_eq!(verdicts.len(), 3);
    assert_eq!(verdicts[2]["verdict"], "keep");
    assert!(verdicts[2]["reasons"].as_array().unwrap().contains(&"newest good".into()), "{}", verdicts[2]);
}
