//! `clonepanel restore` to an account over a real sshd and the stock rsync: the plan, the undo snapshot, deletion, and `kill -9` at
//! random moments.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use clonepanel_tests::{Ran, Sshd, SshdOptions, Tool};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A configured site with an account whose home is a folder of this machine.
struct Site {
    dir: TempDir,
    _sshd: Sshd,
    tool: Tool,
}

impl Site {
    fn new(server: &str) -> Self {
        Self::with(server, "")
    }

    /// With further lines for the server and for the account.
    fn with(server: &str, account: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        for (name, content) in [
            ("public_html/index.php", "the good page".repeat(1000)),
            ("public_html/wp/config.php", "the good configuration".to_owned()),
            ("public_html/cache/x", "excluded".to_owned()),
            ("mail/cur/1", "a letter".to_owned()),
            (".ssh/authorized_keys", "not backed up".to_owned()),
        ] {
            write(&home.join(name), &content);
        }
        let sshd = SshdOptions::new().home(&home).start();
        let login = sshd.login();
        let user = Ran::of(Command::new("id").arg("-un")).stdout.trim().to_owned();
        let config = format!(
            r#"
[store]
path = "store"
[server.alpha]
ssh = {{ host = "{}", port = {}, identity_file = "{}", known_hosts_file = "{}" }}
{server}
[site."example.org"]
primary = "alpha"
[site."example.org".account.alpha]
user = "{user}"
paths = ["public_html", "mail"]
exclude = ["public_html/cache/"]
{account}
"#,
            login.host,
            login.port,
            login.identity_file.display(),
            login.known_hosts_file.display()
        );
        write(&dir.path().join("clonepanel.toml"), &config);
        let tool = Tool::with_store(&dir.path().join("store"));
        let site = Self { dir, _sshd: sshd, tool };
        site.run(&["backup"]).assert(0, &[]);
        site
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.tool.bare();
        command.args(arguments).arg("--config").arg(self.dir.path().join("clonepanel.toml"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.home().join(name)).ok()
    }

    /// Somebody breaks in.
    fn spoil(&self) {
        write(&self.home().join("public_html/index.php"), "hacked");
        write(&self.home().join("public_html/evil.php"), "evil");
        fs::remove_dir_all(self.home().join("public_html/wp")).unwrap();
    }
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn a_site_is_put_back_and_the_undo_brings_back_what_was() {
    let site = Site::new("");
    site.spoil();
    let before = tree(&site.home());

    // Nothing happens without a yes, and a dry run tells everything.
    let refused = site.run(&["restore", "example.org", "--in-place", "--delete"]);
    refused.assert(4, &["deleted public_html/evil.php", "overwritten public_html/index.php", "--yes"]);
    let dry = site.run(&["restore", "example.org", "--in-place", "--delete", "--dry-run", "--json"]);
    dry.assert(0, &[r#""change":"deleted""#, "evil.php", r#""dry_run":true"#]);
    assert_eq!(tree(&site.home()), before, "something was written");

    let ran = site.run(&["restore", "example.org", "--in-place", "--delete", "--yes"]);
    ran.assert(0, &["example.org-undo", "restored 2 files"]);
    assert_eq!(site.read("public_html/index.php"), Some("the good page".repeat(1000)));
    assert_eq!(site.read("public_html/wp/config.php").as_deref(), Some("the good configuration"));
    assert_eq!(site.read("public_html/evil.php"), None);
    // Neither what is excluded nor what is beside the paths was touched.
    assert_eq!(site.read("public_html/cache/x").as_deref(), Some("excluded"));
    assert_eq!(site.read(".ssh/authorized_keys").as_deref(), Some("not backed up"));

    // A second time there is nothing to do.
    site.run(&["restore", "example.org", "--in-place", "--delete", "--yes"]).assert(0, &["nothing to do"]);

    // The undo is a snapshot like any other, and goes back the same way.
    site.run(&["verify", "example.org-undo"]).assert(0, &[]);
    site.run(&["restore", "example.org-undo", "--in-place", "--delete", "--no-undo", "--yes"]).assert(0, &[]);
    assert_eq!(tree(&site.home()), before);
}

/// Whoever breaks in sets the times back.
#[test]
fn with_checksum_what_looks_the_same_is_put_back_as_well() {
    let agent = format!("transport = \"agent\"\nagent_program = \"{}\"\n", Tool::program().display());
    for settings in ["", &agent] {
        let site = Site::with("", settings);
        let index = site.home().join("public_html/index.php");
        let good = fs::read_to_string(&index).unwrap();
        let time = fs::metadata(&index).unwrap().modified().unwrap();
        let evil = good.replacen("good", "evil", 1);
        fs::write(&index, &evil).unwrap();
        File::options().write(true).open(&index).unwrap().set_modified(time).unwrap();

        let site_and_place = ["restore", "example.org", "--in-place"];
        site.run(&site_and_place).assert(0, &["nothing to do"]);
        let dry = site.run(&[&site_and_place[..], &["--checksum", "--dry-run", "--json"]].concat());
        dry.assert(0, &[r#""to_compare":3"#, r#""overwritten":0"#]);
        let ran = site.run(&[&site_and_place[..], &["--checksum", "--yes"]].concat());
        ran.assert(0, &["3 to compare", "example.org-undo", "--in-place --checksum"]);
        assert_eq!(fs::read_to_string(&index).unwrap(), good, "{settings}");

        // What was there was kept as it was, and not as it looked.
        let undo = ["restore", "example.org-undo", "--in-place", "--no-undo", "--checksum", "--yes"];
        site.run(&undo).assert(0, &[]);
        assert_eq!(fs::read_to_string(&index).unwrap(), evil, "{settings}");
    }
}

#[test]
fn a_part_is_put_back_and_nothing_else() {
    let site = Site::new("");
    site.spoil();
    write(&site.home().join("mail/cur/1"), "a changed letter");
    site.run(&["restore", "example.org:public_html/wp", "--in-place", "--delete", "--yes"]).assert(0, &["1 file"]);
    assert_eq!(site.read("public_html/wp/config.php").as_deref(), Some("the good configuration"));
    assert_eq!(site.read("public_html/index.php").as_deref(), Some("hacked"));
    assert_eq!(site.read("public_html/evil.php").as_deref(), Some("evil"));
    site.run(&["restore", "example.org:public_html/index.php", "--in-place", "--yes"]).assert(0, &["1 file"]);
    assert_eq!(site.read("public_html/index.php"), Some("the good page".repeat(1000)));
    assert_eq!(site.read("mail/cur/1").as_deref(), Some("a changed letter"));
}

#[test]
fn too_much_deletion_is_refused_before_anything_is_written() {
    let site = Site::new("");
    for number in 0..50 {
        write(&site.home().join(format!("public_html/new/{number}")), "new since");
    }
    write(&site.home().join("public_html/index.php"), "changed");
    let restore = |more: &[&str]| {
        let words = ["restore", "example.org", "--in-place", "--yes", "--no-undo", "--delete"];
        site.run(&[&words[..], more].concat())
    };
    restore(&[]).assert(4, &["51 of", "at most 50 %", "hint"]);
    restore(&["--max-delete", "50"]).assert(4, &["51 entries would be deleted and at most 50"]);
    assert_eq!(site.read("public_html/index.php").as_deref(), Some("changed"));
    assert!(site.home().join("public_html/new/49").exists());
    restore(&["--max-delete", "51"]).assert(0, &["deleted 51 entries"]);
    assert!(!site.home().join("public_html/new").exists());
}

#[test]
fn another_account_gets_the_content_of_a_path() {
    let site = Site::new("");
    let login = site._sshd.login();
    let port = login.port.to_string();
    let user = Ran::of(Command::new("id").arg("-un")).stdout.trim().to_owned();
    let place = format!("{user}@{}:copies/of the/site", login.host);
    let ran = site.run(&[
        "restore",
        "example.org:public_html",
        "--to-account",
        &place,
        "--port",
        &port,
        "--identity",
        login.identity_file.to_str().unwrap(),
        "--known-hosts",
        login.known_hosts_file.to_str().unwrap(),
        "--yes",
        "--json",
    ]);
    ran.assert(0, &[r#""ok":true"#, r#""undo":null"#]);
    assert_eq!(site.read("copies/of the/site/wp/config.php").as_deref(), Some("the good configuration"));
}

/// `kill -9` of the tool at random moments: each file of the account is old or new, and the next run does the rest.
#[test]
fn a_killed_restore_leaves_each_file_old_or_new() {
    let rounds: u64 = std::env::var("CLONEPANEL_KILLS").map_or(8, |text| text.parse().unwrap());
    let site = Site::new(r#"limits = { bandwidth = "8MiB/s" }"#);
    let (mut good, mut bad) = (BTreeMap::new(), BTreeMap::new());
    for number in 0..60_u8 {
        let name = format!("public_html/file{number}");
        good.insert(name.clone(), noise(u64::from(number), if number % 20 == 0 { 2_000_000 } else { 100_000 }));
        bad.insert(name.clone(), format!("bad {number} ").repeat(1_500));
        write(&site.home().join(&name), &good[&name]);
    }
    site.run(&["backup"]).assert(0, &[]);
    let (mut killed, mut in_the_middle, mut random) = (0, 0, 0x5eed_u64);
    let mut whole = Duration::from_secs(2);
    for round in 0..rounds {
        for (name, content) in &bad {
            write(&site.home().join(name), content);
        }
        let mut command = site.command(&["restore", "example.org", "--in-place", "--yes", "--no-undo"]);
        let started = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if round > 0 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            std::thread::sleep(whole.mul_f64((random >> 33) as f64 / f64::from(u32::MAX >> 1)));
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        if round == 0 {
            assert!(status.success());
            whole = started.elapsed();
        }
        killed += u64::from(!status.success());
        // The far end notices that nobody is there any more.
        std::thread::sleep(Duration::from_millis(300));
        let mut new = 0;
        for (name, good) in &good {
            let there = site.read(name).unwrap_or_else(|| panic!("round {round}: {name} is gone"));
            assert!(there == *good || there == bad[name], "round {round}: {name} is mixed");
            new += usize::from(there == *good);
        }
        in_the_middle += usize::from(new > 0 && new < good.len());
    }
    println!("{killed} of {rounds} killed on the way, {in_the_middle} in the middle of writing");
    assert!(killed > 0 && in_the_middle > 0, "no kill came in the middle: {killed} came at all");
    site.run(&["restore", "example.org", "--in-place", "--yes", "--no-undo", "--delete"]).assert(0, &[]);
    for (name, good) in &good {
        assert!(site.read(name).as_ref() == Some(good), "{name}");
    }
    let root = site.home().join("public_html");
    let left = tree(&root).into_keys().map(|path| path.strip_prefix(&root).unwrap().to_owned());
    let left: Vec<_> = left.filter(|path| path.to_string_lossy().starts_with('.')).collect();
    assert!(left.is_empty(), "something is left: {left:?}");
}

/// Text that hardly compresses.
fn noise(seed: u64, len: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + (state >> 57) as u8 % 95)
    };
    (0..len).map(|_| next()).collect()
}

/// What is below a folder, with contents and modes.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let walk = walkdir::WalkDir::new(root).into_iter().map(|entry| entry.unwrap().into_path());
    let look = |path: PathBuf| {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        (path, (meta.mode(), content))
    };
    walk.map(look).collect()
}
