//! `clonepanel dns` and `check` with two WHM servers, each with a real BIND behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: it fails by panicking")]

use clonepanel_core::dns::{DomainName, Zone};
use clonepanel_tests::{Fault, Ran, SshdOptions, Tool, WhmServer};
use std::{fmt::Write as _, fs, process::Command};
use tempfile::TempDir;

const ZONE: &str = "$TTL 3600\n\
    @ SOA ns1.host.test. hostmaster.host.test. 2026091500 3600 1800 1209600 86400\n\
    @ NS ns1.host.test.\n@ A 192.0.2.1\nwww A 192.0.2.1\nmail A 192.0.2.3\n@ MX 0 mail\n\
    default._domainkey TXT \"v=DKIM1; p=MIIB+gQ/AB+==\"\nodd TYPE65280 \\# 4 0a000001\n";

fn name() -> DomainName {
    "example.org".parse().unwrap()
}

fn zone(text: &str) -> Zone {
    Zone::parse(&name(), text.as_bytes()).unwrap()
}

struct Cluster {
    folder: TempDir,
    servers: Vec<(&'static str, Option<WhmServer>)>,
}

impl Cluster {
    /// Two servers that have the same zone.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = "[store]\npath = \"store\"\n".to_owned();
        let mut servers = Vec::new();
        for server in ["alpha", "beta"] {
            let whm = WhmServer::start();
            whm.place(&zone(ZONE));
            fs::write(folder.path().join(format!("{server}.pem")), whm.certificate_pem()).unwrap();
            write!(
                config,
                "[server.{server}]\nssh = {{ host = \"127.0.0.1\" }}\nwhm = {{ url = \"{}\", user = \"{}\", \
                 token_env = \"WHM_TOKEN\", ca_file = \"{server}.pem\" }}\nnameservers = [\"127.0.0.1:{}\"]\n",
                whm.url(),
                whm.user(),
                whm.bind().port(),
            )
            .unwrap();
            servers.push((server, Some(whm)));
        }
        config.push_str(
            "[site.\"example.org\"]\nprimary = \"alpha\"\n[site.\"example.org\".account.alpha]\nuser = \"alice\"\n",
        );
        fs::write(folder.path().join("clonepanel.toml"), config).unwrap();
        Self { folder, servers }
    }

    fn server(&self, name: &str) -> &WhmServer {
        let (_, server) = self.servers.iter().find(|(known, _)| *known == name).unwrap();
        server.as_ref().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(Tool::program());
        command.current_dir(self.folder.path()).args(arguments).arg("--config").arg("clonepanel.toml");
        command.env_remove("CLONEPANEL_CONFIG").env("NO_COLOR", "1");
        command.env("WHM_TOKEN", self.servers.iter().find_map(|(_, server)| Some(server.as_ref()?.token())).unwrap());
        let ran = Ran::of(&mut command);
        assert!(!format!("{ran:?}").contains(self.server("alpha").token()), "{ran:?}");
        ran
    }

    fn desired(&self, text: &str) {
        fs::write(self.folder.path().join("desired.zone"), text).unwrap();
    }

    /// Whether the name servers answer as this zone says.
    fn assert_serves(&self, server: &str, text: &str) {
        let there = self.server(server).bind().transfer(&name()).unwrap();
        assert!(there.has_content_of(&zone(text)), "{server}: {there}");
    }
}

#[test]
fn a_zone_is_shown_planned_and_changed_on_every_server() {
    let cluster = Cluster::new();
    let shown = cluster.run(&["dns", "show", "example.org"]);
    shown.assert(0, &["example.org. as alpha has it", "; beta has the same"]);
    assert!(zone(&shown.stdout).has_content_of(&zone(ZONE)), "{shown:?}");
    cluster.run(&["dns", "show", "example.org", "--json"]).assert(0, &[r#""server":"beta""#, r#""data":"192.0.2.3""#]);

    let moved = ZONE.replace("www A 192.0.2.1", "www 60 A 198.51.100.7");
    cluster.desired(&moved);
    let plan = cluster.run(&["dns", "plan", "example.org", "desired.zone"]);
    plan.assert(
        0,
        &[
            "alpha: 1 record set to change",
            "- www.example.org. 3600 A 192.0.2.1",
            "+ www.example.org. 60 A 198.51.100.7",
        ],
    );
    cluster.run(&["dns", "apply", "example.org", "desired.zone"]).assert(4, &["nobody said yes", "--yes"]);
    cluster.assert_serves("alpha", ZONE);
    cluster
        .run(&["dns", "apply", "example.org", "desired.zone", "--yes"])
        .assert(0, &["alpha: changed, read back", "beta: changed"]);
    cluster.assert_serves("alpha", &moved);
    cluster.assert_serves("beta", &moved);
    cluster.run(&["dns", "apply", "example.org", "desired.zone", "--yes"]).assert(0, &["alpha: nothing to do"]);

    // One server alone, then the other like it.
    cluster.desired(ZONE);
    cluster
        .run(&["dns", "apply", "example.org", "desired.zone", "--server", "beta", "--yes"])
        .assert(0, &["beta: changed"]);
    cluster.assert_serves("alpha", &moved);
    cluster.run(&["dns", "show", "example.org"]).assert(0, &["; beta differs from alpha", "; - www.example.org. 60 A"]);
    cluster
        .run(&["dns", "apply", "example.org", "--from", "beta", "--yes"])
        .assert(0, &["alpha: changed", "beta: unchanged"]);
    cluster.assert_serves("alpha", ZONE);
}

#[test]
fn dangerous_plans_need_a_reason() {
    let cluster = Cluster::new();
    let without = ZONE.replace("www A 192.0.2.1\n", "");
    cluster.desired(&without);
    cluster
        .run(&["dns", "plan", "example.org", "desired.zone"])
        .assert(0, &["alpha: www.example.org. loses its last address"]);
    let apply = ["dns", "apply", "example.org", "desired.zone", "--yes"];
    cluster.run(&apply).assert(4, &["dangerous", "--reason"]);
    cluster.assert_serves("alpha", ZONE);
    cluster.run(&[&apply[..], &["--reason", "the name is given up"]].concat()).assert(0, &["beta: changed"]);
    cluster.assert_serves("beta", &without);
    // For nothing at all nobody can answer.
    cluster.desired("");
    cluster.run(&[&apply[..], &["--reason", "really"]].concat()).assert(4, &["nothing would be left"]);
    cluster.assert_serves("beta", &without);
}

#[test]
fn one_server_in_trouble_is_told_and_mended_the_next_time() {
    let mut cluster = Cluster::new();
    let moved = ZONE.replace("www A 192.0.2.1", "www A 198.51.100.7");
    cluster.desired(&moved);
    let apply = ["dns", "apply", "example.org", "desired.zone", "--yes"];
    cluster.server("beta").fault("mass_edit_dns_zone", Fault::LoginPage);
    let partial = cluster.run(&apply);
    partial.assert(3, &["alpha: changed", "beta: "]);
    cluster.assert_serves("alpha", &moved);
    cluster.assert_serves("beta", ZONE);
    cluster.run(&apply).assert(0, &["alpha: nothing to do", "beta: changed"]);
    cluster.assert_serves("beta", &moved);

    for (what, arguments) in [
        ("no zone other.test", &["dns", "show", "other.test"][..]),
        ("did you mean alpha?", &["dns", "show", "example.org", "--server", "alpa"]),
        ("desired.zone, line 1", &["dns", "plan", "example.org", "desired.zone"]),
    ] {
        if what.contains("line 1") {
            cluster.desired("@ A not-an-address\n");
        }
        let ran = cluster.run(arguments);
        assert!(ran.code != Some(0) && format!("{ran:?}").contains(what), "{what}: {ran:?}");
    }
    let (_, beta) = cluster.servers.iter_mut().find(|(name, _)| *name == "beta").unwrap();
    drop(beta.take());
    cluster.run(&["dns", "show", "example.org"]).assert(3, &["alpha has it", "beta: ", "cannot be reached"]);
}

#[test]
fn check_asks_the_panel() {
    let cluster = Cluster::new();
    let checked = cluster.run(&["check"]);
    assert!(checked.stdout.contains("good  alpha: WHM lets us in and shows 1 zone"), "{checked:?}");
    cluster.server("alpha").fault("version", Fault::LoginPage);
    cluster.server("alpha").fault("listzones", Fault::LoginPage);
    let refused = cluster.run(&["check"]);
    assert!(refused.stdout.contains("bad   alpha: WHM: "), "{refused:?}");
}

#[test]
fn the_zone_of_a_site_is_in_its_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir_all(home.join("public_html")).unwrap();
    fs::write(home.join("public_html/index.php"), "<?php").unwrap();
    let (sshd, whm) = (SshdOptions::new().home(&home).start(), WhmServer::start());
    whm.place(&zone(ZONE));
    fs::write(folder.path().join("alpha.pem"), whm.certificate_pem()).unwrap();
    let (login, user) = (sshd.login(), Ran::of(Command::new("id").arg("-un")).stdout);
    let config = format!(
        r#"
[store]
path = "store"
[server.alpha]
ssh = {{ host = "{}", port = {}, identity_file = "{}", known_hosts_file = "{}" }}
whm = {{ url = "{}", user = "{}", token_env = "WHM_TOKEN", ca_file = "alpha.pem" }}
[site."www.example.org"]
primary = "alpha"
[site."www.example.org".account.alpha]
user = "{}"
paths = ["public_html"]
"#,
        login.host,
        login.port,
        login.identity_file.display(),
        login.known_hosts_file.display(),
        whm.url(),
        whm.user(),
        user.trim(),
    );
    fs::write(folder.path().join("clonepanel.toml"), config).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(Tool::program());
        command.current_dir(folder.path()).args(arguments).env_remove("CLONEPANEL_CONFIG");
        Ran::of(command.env("NO_COLOR", "1").env("WHM_TOKEN", whm.token()))
    };
    let kept = || zone(&run(&["cat", "www.example.org@latest:dns/example.org.zone"]).stdout);
    run(&["backup"]).assert(0, &["complete"]);
    assert!(kept().has_content_of(&zone(ZONE)));

    // As long as before: only looking tells.
    let moved = ZONE.replace("www A 192.0.2.1", "www A 192.0.2.7");
    whm.place(&zone(&moved));
    run(&["backup"]).assert(0, &["complete"]);
    assert!(kept().has_content_of(&zone(&moved)));
    let history = run(&["history", "www.example.org:dns/example.org.zone"]);
    history.assert(0, &["appeared", "changed"]);

    // A panel in trouble costs no file, and the older zone stands in.
    for _ in 0..4 {
        whm.fault("listzones", Fault::LoginPage);
    }
    fs::write(home.join("public_html/new.php"), "<?php").unwrap();
    let partial = run(&["backup"]);
    partial.assert(3, &["dns", "unlisted"]);
    assert!(kept().has_content_of(&zone(&moved)));
    run(&["cat", "www.example.org@latest:public_html/new.php"]).assert(0, &["<?php"]);
}

#[test]
fn name_servers_are_asked_directly() {
    let cluster = Cluster::new();
    let verify = |more: &[&str]| cluster.run(&[&["dns", "verify", "example.org", "--wait", "1s"], more].concat());
    let right = verify(&[]);
    right.assert(0, &["right  alpha 127.0.0.1:", "right  beta", "6 record sets over udp and tcp, serial 2026091500"]);
    verify(&["--json"]).assert(0, &[r#""right":true,"findings":[]"#, r#""asked":6"#]);

    // Another desired zone than the one that is served: other records, another time to live, more, and fewer.
    let other = ZONE
        .replace("www A 192.0.2.1", "www A 198.51.100.7")
        .replace("mail A", "mail 60 A")
        .replace("@ MX 0 mail\n", "new TXT \"x\"\n");
    cluster.desired(&other);
    let wrong = verify(&["desired.zone"]);
    wrong.assert(
        1,
        &[
            "wrong  alpha",
            "udp www.example.org. A: it has 192.0.2.1",
            "tcp www.example.org. A: it has 192.0.2.1",
            "mail.example.org. A: its time to live is 3600 s and not 60 s",
            "new.example.org. TXT: it has none",
        ],
    );
    // The panel says that it is done, and its name server was not told.
    cluster.server("beta").fault("mass_edit_dns_zone", Fault::NoReload);
    cluster.run(&["dns", "apply", "example.org", "desired.zone", "--yes"]);
    let stale = verify(&["desired.zone"]);
    stale.assert(1, &["right  alpha", "wrong  beta"]);

    // One that has no such zone any more, and one that is gone.
    cluster.server("beta").bind().remove("example.org");
    let lame = verify(&["--from", "alpha"]);
    lame.assert(1, &["right  alpha", "wrong  beta", "udp: it answers ", "tcp: it answers "]);
    let config = fs::read_to_string(cluster.folder.path().join("clonepanel.toml")).unwrap();
    let port = cluster.server("beta").bind().port();
    fs::write(
        cluster.folder.path().join("clonepanel.toml"),
        config.replace(&format!("127.0.0.1:{port}\"]"), "127.0.0.1:1\"]"),
    )
    .unwrap();
    let dead = verify(&["--from", "alpha"]);
    dead.assert(1, &["right  alpha", "wrong  beta 127.0.0.1:1: ", "tcp: Connection refused"]);
}
