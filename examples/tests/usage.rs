//! What people meet first: help, misspelt names, mistakes in the configuration.

mod tool;

use tool::Bench;

const COMMANDS: [&str; 14] = [
    "agent",
    "backup",
    "cat",
    "check",
    "diff",
    "dns",
    "history",
    "init",
    "ls",
    "prune",
    "replicate",
    "restore",
    "snapshots",
    "verify",
];

#[test]
fn every_command_has_help_with_examples() {
    let bench = Bench::new();
    let overview = bench.ok(["--help"]);
    for command in COMMANDS {
        assert!(overview.contains(&format!("\n  {command}")), "{overview}");
        let help = bench.ok([command, "--help"]);
        assert!(help.contains(&format!("Examples:\n  clonepanel {command}")), "{help}");
        assert!(help.contains("--json"), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}

#[test]
fn a_misspelt_command_is_told_with_the_nearest() {
    let ran = Bench::new().run(["snapshot"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("'snapshots'"), "{}", ran.stderr);
    assert!(ran.stdout.is_empty());
}

#[test]
fn wrong_usage_ends_with_a_result_for_programs() {
    let bench = Bench::new();
    let ran = bench.run(["ls", "--json"]);
    assert_eq!(ran.code, 2);
    assert!(ran.result()["error"].as_str().unwrap().contains("required"), "{}", ran.text());
    let ran = bench.run(["--json"]);
    assert_eq!((ran.code, &ran.result()["error"]), (2, &"a command is missing".into()));
    let ran = bench.run(["snapshots", "--json", "--store", "nowhere"]);
    assert_eq!(ran.code, 1);
    assert!(ran.result()["hint"].is_string());
}

#[test]
fn without_a_configuration_there_is_a_hint() {
    let bench = Bench::new();
    bench.run(["backup"]).refused(2, "there is no configuration", "clonepanel init");
    bench.run(["snapshots", "--config", "none.toml"]).refused(2, "there is no such configuration", "clonepanel init");
    bench.run(["snapshots", "--config", "a", "--store", "b"]).refused(2, "exclude each other", "--store");
}

#[test]
fn init_never_overwrites() {
    let bench = Bench::new();
    assert!(bench.ok(["init", "new/folder"]).contains("clonepanel.toml"));
    bench.run(["init", "new/folder"]).refused(4, "is there already", "clonepanel init DIR");
    bench.write("clonepanel.toml", "mine");
    assert_eq!(bench.run(["init"]).code, 4);
    assert_eq!(std::fs::read_to_string(bench.path("clonepanel.toml")).unwrap(), "mine");
}

#[test]
fn the_configuration_is_found_where_it_should_be() {
    let bench = Bench::new();
    bench.write(".config/clonepanel/clonepanel.toml", "[store]\npath = \"user\"\n");
    bench.run(["snapshots"]).refused(1, ".config/clonepanel/user", "backup");
    bench.write("clonepanel.toml", "[store]\npath = \"here\"\n");
    bench.run(["snapshots"]).refused(1, "there is no store at here yet", "backup");
    bench.write("by-env.toml", "[store]\npath = \"env\"\n");
    let output = bench.command(["snapshots"]).env("CLONEPANEL_CONFIG", "by-env.toml").output().unwrap();
    tool::Ran::from(output).refused(1, "there is no store at env yet", "backup");
    bench.write("given.toml", "[store]\npath = \"/given\"\n");
    bench.run(["snapshots", "--config", "given.toml"]).refused(1, "there is no store at /given yet", "backup");
}

#[test]
fn a_mistake_in_the_configuration_is_told_with_its_line() {
    let bench = Bench::new();
    let sample = include_str!("../src/command/init/sample.toml");
    bench.write("clonepanel.toml", sample.replace("exclude =", "exlude ="));
    let line = 1 + sample.lines().position(|line| line.starts_with("exclude =")).unwrap();
    bench.run(["backup"]).refused(
        2,
        &format!("clonepanel.toml:{line}: unknown key `exlude`"),
        "did you mean `exclude`?",
    );

    bench.write("clonepanel.toml", sample.replace("primary = \"alpha\"", "primary = \"\\u001b[31malhpa\""));
    let ran = bench.run(["backup"]);
    assert_eq!(ran.code, 2);
    assert!(!ran.stderr.contains('\x1b'), "{:?}", ran.stderr);
}

#[test]
fn a_misspelt_site_is_told_with_the_nearest() {
    let bench = Bench::new();
    bench.ok(["init"]);
    bench.run(["backup", "exmaple.org"]).refused(2, "there is no site `exmaple.org`", "did you mean `example.org`?");
    bench.run(["backup", "alice@alpha:x"]).refused(2, "is a place, not a site", "--store DIR");
    bench.run(["backup", "--port", "22"]).refused(2, "--port is for places", "--store DIR");
}
