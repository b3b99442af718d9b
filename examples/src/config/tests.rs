use super::*;

const GOOD: &str = r#"
[store]
path = "snapshots"
[server.alpha]
ssh = { host = "alpha.example.net", port = 2222, identity_file = "keys/alpha" }
limits = { transfers = 2, bandwidth = "4MiB/s" }
whm = { url = "https://alpha.example.net:2087", user = "reseller", token_env = "TOKEN" }
[site."example.org"]
primary = "alpha"
[site."example.org".account.alpha]
user = "alice"
paths = ["public_html/", "mail"]
exclude = ["*.tmp"]
[[site."example.org".account.alpha.database]]
name = "alice_wp"
password_env = "ALICE_WP_PASSWORD"
"#;

fn load(text: &str) -> Result<Config, (String, Option<String>)> {
    Config::parse(Path::new("/etc/cp/clonepanel.toml"), text.to_owned()).map_err(ConfigError::into_parts)
}

#[test]
fn a_good_configuration_is_understood() {
    let config = load(GOOD).unwrap();
    assert_eq!(config.store, Path::new("/etc/cp/snapshots"));
    let server = &config.servers["alpha"];
    assert_eq!((server.transfers, server.bandwidth), (2, Some(Rate(4 << 20))));
    assert_eq!(server.ssh.identity_file.as_deref(), Some(Path::new("/etc/cp/keys/alpha")));
    let site = &config.sites[0];
    assert_eq!(site.name.as_str(), "example.org");
    assert_eq!(site.primary.paths.len(), 2);
    let database = &site.primary.databases[0];
    assert_eq!((database.name.as_str(), database.user.as_str()), ("alice_wp", "alice_wp"));
    assert_eq!((database.server.as_str(), database.direct), ("127.0.0.1:3306", false));
    assert!(config.retention.is_none() && site.retention.is_none());
}

/// Each mistake: what is replaced in the good configuration, by what, and what is told.
#[test]
fn mistakes_are_told_with_their_line_and_what_to_do() {
    for (from, to, message, hint) in [
        (
            "path = \"snapshots\"",
            "pth = \"snapshots\"",
            ":3: unknown key `pth` in [store]",
            Some("did you mean `path`?"),
        ),
        ("path = \"snapshots\"", "", ":2: [store] lacks `path`", None),
        (
            "user = \"alice\"",
            "user = \"alice\"\nexlude = []",
            ":12: unknown key `exlude`",
            Some("did you mean `exclude`?"),
        ),
        ("[server.alpha]", "[serer.alpha]", ":4: unknown key `serer` in the file", Some("did you mean `server`?")),
        ("port = 2222", "port = 0", ":5: server.alpha.ssh.port must be from 1 to 65535", None),
        ("port = 2222", "port = \"22\"", ":5: server.alpha.ssh.port must be a whole number, not a string", None),
        ("4MiB/s", "fast", ":6: server.alpha.limits.bandwidth is not a rate", None),
        ("transfers = 2", "transfers = 0", ":6: with transfers = 0", None),
        ("token_env = \"TOKEN\"", "token = \"sesame\"", ":7: a secret does not belong", Some("token_env")),
        (
            "primary = \"alpha\"",
            "primary = \"alhpa\"",
            ":9: there is no server \"alhpa\"",
            Some("did you mean \"alpha\"?"),
        ),
        ("primary = \"alpha\"", "primary = \"alpha\"\nspare = \"alpha\"", ":10: the spare must be on another", None),
        ("user = \"alice\"", "", ":10: [site.\"example.org\".account.alpha] lacks `user`", None),
        ("\"mail\"", "\"../mail\"", ":12: site.\"example.org\".account.alpha.paths is not usable", Some("relative")),
        ("\"*.tmp\"", "\"\"", ":13: site.\"example.org\".account.alpha.exclude must not be empty", None),
        ("[store]", "[store", ":2: ", None),
        (
            "[store]",
            "[retention]\nkeep_within = \"soon\"\n[store]",
            ":3: retention.keep_within is no duration",
            Some("48h"),
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let (told, advice) = load(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert!(told.contains(&format!("clonepanel.toml{message}")), "{to}: {told}");
        assert!(!told.contains('\n') && !told.contains("sesame"), "{told}");
        if let Some(hint) = hint {
            assert!(advice.as_deref().is_some_and(|advice| advice.contains(hint)), "{to}: {advice:?}");
        }
    }
}

#[test]
fn sites_that_are_not_there_are_told_with_the_nearest() {
    let config = load(GOOD).unwrap();
    assert_eq!(config.select(&[]).unwrap().len(), 1);
    assert_eq!(config.select(&["example.org".to_owned(), "example.org".to_owned()]).unwrap().len(), 1);
    let (told, hint) = config.select(&["exmaple.org".to_owned()]).unwrap_err().into_parts();
    assert!(told.contains("there is no site `exmaple.org`"), "{told}");
    assert_eq!(hint.as_deref(), Some("did you mean `example.org`?"));
}

#[test]
fn a_site_overrides_the_common_retention_key_by_key() {
    let text = format!("{GOOD}[site.\"example.org\".retention]\ndaily = 30\nhourly = 0\n");
    let common = text.replace("[store]", "[retention]\nkeep_within = \"48h\"\nhourly = 24\nweekly = 8\n[store]");
    let kept = |text: &str| load(text).unwrap().sites[0].retention.clone().unwrap();
    let base = RetentionPolicy::newest_only();
    assert_eq!(kept(&text), base.clone().daily(30));
    assert_eq!(kept(&common), base.keep_within(std::time::Duration::from_hours(48)).daily(30).weekly(8));
    // What would delete all but one is a mistake.
    let nothing = common.replace("daily = 30", "daily = 0\nweekly = 0\nkeep_within = \"0s\"");
    for text in [&nothing, &text.replace("= 30", "= 0")] {
        let (told, hint) = load(text).unwrap_err();
        assert!(told.contains("keep nothing but the newest"), "{told}");
        assert!(hint.unwrap().contains("daily = 14"));
    }
}
