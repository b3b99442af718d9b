//! A restore to an account, as far as that can be seen without a server.

#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails it")]

mod tool;

use tool::Bench;

fn backed_up() -> Bench {
    let bench = Bench::new();
    bench.write("site/index.html", "hello");
    bench.ok(["backup", "--store", "store", "--source", "site", "site"]);
    bench
}

#[test]
fn a_destination_must_be_one() {
    let bench = backed_up();
    let run = |arguments: &[&str]| bench.run(["restore", "--store", "store", "site"].iter().chain(arguments));
    assert_eq!(run(&[]).code, 2);
    assert_eq!(run(&["--to", "x", "--in-place"]).code, 2);
    assert_eq!(run(&["--in-place", "--overwrite"]).code, 2);
    run(&["--in-place"]).refused(2, "--in-place needs a configuration", "USER@HOST:DIR");
    run(&["--to-account", "spare"]).refused(2, "--to-account spare needs a configuration", "USER@HOST:DIR");
    run(&["--to-account", "./folder"]).refused(2, "a folder of this machine", "--to DIR");
    run(&["--to", "x", "--delete"]).refused(2, "--delete is for accounts", "--to-account");
    run(&["--to", "x", "--port", "22"]).refused(2, "--port is for accounts", "--to-account");
}

#[test]
fn only_files_go_to_a_site() {
    let bench = backed_up();
    bench.write(
        "clonepanel.toml",
        "[store]\npath = \"store\"\n[server.alpha]\nssh = { host = \"127.0.0.1\", port = 1 }\n[site.site]\nprimary = \"alpha\"\n\
         [site.site.account.alpha]\nuser = \"alice\"\n",
    );
    bench.run(["restore", "site:databases/x", "--in-place"]).refused(2, "no file of the account", "--to");
    bench.run(["restore", "site", "--to-account", "spare"]).refused(2, "site has no spare", "spare =");
    bench.run(["restore", "other", "--in-place"]).refused(2, "no site `other`", "");
    let ran = bench.run(["restore", "site", "--in-place", "--port", "22"]);
    ran.refused(2, "--port is for places", "configuration");
}
