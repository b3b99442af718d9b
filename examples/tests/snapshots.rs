//! A folder of this machine through all commands: the way of somebody who tries the tool for the first time.

#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails it")]

mod tool;

use serde_json::Value;
use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Stdio,
};
use tool::{Bench, Ran};

/// A small site and a store beside it.
fn site() -> Bench {
    let bench = Bench::new();
    bench.write("site/index.html", "<h1>Welcome</h1>");
    bench.write("site/about.html", "<h1>About us</h1>");
    bench.write("site/img/logo.svg", "<svg/>");
    bench.write("site/cache/page", "cached");
    bench
}

fn backup(bench: &Bench) -> Ran {
    bench.run(["backup", "--store", "store", "./site", "--exclude", "cache/", "--json"])
}

/// Runs a command on the store, as a program would.
fn json<A: AsRef<OsStr>>(bench: &Bench, arguments: impl IntoIterator<Item = A>) -> Vec<Value> {
    let all = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
    let ran = bench.run(all.chain(["--store", "store", "--json"].map(OsString::from)));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.events()
}

fn paths(events: &[Value], event: &str) -> Vec<String> {
    let found = events.iter().filter(|value| value["event"] == event);
    found.map(|value| value["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_first_backup_shows_something() {
    let bench = site();
    let said = bench.ok(["backup", "--store", "store", "./site"]);
    assert!(said.starts_with("site/") && said.contains(" complete in ") && said.contains("4 files"), "{said}");
    let said = bench.ok(["snapshots", "--store", "store"]);
    assert!(said.lines().count() == 2 && said.contains("complete"), "{said}");
    let said = bench.ok(["ls", "--store", "store", "site"]);
    assert!(said.contains("index.html") && said.contains("img/") && !said.contains("logo.svg"), "{said}");
    assert_eq!(bench.ok(["cat", "--store", "store", "site:img/logo.svg"]), "<svg/>");
}

#[test]
fn programs_get_every_number() {
    let bench = site();
    let first = backup(&bench).events();
    assert_eq!(first[0]["event"], "snapshot");
    assert_eq!(first[0]["site"], "site");
    assert_eq!(first[0]["state"], "complete");
    assert_eq!(first[0]["files"], 3);
    assert_eq!(first[0]["added_files"], 3);
    assert_eq!(first[0]["bytes"], 16 + 17 + 6);
    assert!(first[0]["begun"].as_str().unwrap().ends_with('Z'));
    bench.write("site/index.html", "<h1>Welcome back</h1>");
    let second = backup(&bench).events();
    // Files that are too young to be trusted are looked at again, too.
    assert!((1..=3).contains(&second[0]["changed_files"].as_u64().unwrap()), "{}", second[0]);
    assert_eq!((&second[0]["added_files"], &second[0]["removed_files"]), (&0.into(), &0.into()));
    assert_eq!(second[0]["base"], first[0]["id"]);

    let listed = json(&bench, ["snapshots"]);
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[0]["id"], first[0]["id"]);
    assert_eq!(listed[2]["snapshots"], 2);
}

#[test]
fn ls_goes_as_deep_as_it_is_asked_to() {
    let bench = site();
    backup(&bench);
    assert_eq!(paths(&json(&bench, ["ls", "site"]), "entry"), ["about.html", "img", "index.html"]);
    assert_eq!(
        paths(&json(&bench, ["ls", "-R", "site"]), "entry"),
        ["about.html", "img", "img/logo.svg", "index.html"]
    );
    assert_eq!(paths(&json(&bench, ["ls", "site:img"]), "entry"), ["img/logo.svg"]);
    assert_eq!(paths(&json(&bench, ["ls", "site:index.html"]), "entry"), ["index.html"]);
    let entry = &json(&bench, ["ls", "site:img"])[0];
    assert_eq!((entry["type"].as_str(), entry["size"].as_u64()), (Some("file"), Some(6)));
    assert_eq!(entry["hash"].as_str().unwrap().len(), 64);
}

#[test]
fn what_is_not_there_is_told_with_what_is_near() {
    let bench = site();
    backup(&bench);
    let run = |arguments: &[&str]| bench.run([arguments, &["--store", "store"]].concat());
    run(&["ls", "site:imgs"]).refused(1, "has no imgs", "did you mean site@");
    run(&["cat", "site:indx.html"]).refused(1, "has no indx.html", "index.html");
    run(&["cat", "site:img"]).refused(1, "img is no file but a dir", "clonepanel ls");
    run(&["ls", "siet"]).refused(2, "there is no site `siet`", "did you mean `site`?");
    run(&["ls", "site@1999-01-01"]).refused(1, "no snapshot of site that old", "the oldest is site@");
    run(&["ls", "site@3w"]).refused(1, "no snapshot of site that old", "the oldest is site@");
    run(&["ls", "site@19990101T000000Z"]).refused(1, "no snapshot site@19990101T000000Z", "clonepanel snapshots site");
}

#[test]
fn snapshots_are_chosen_by_id_by_age_and_by_date() {
    let bench = site();
    let first = backup(&bench).events()[0]["id"].as_str().unwrap().to_owned();
    fs::remove_file(bench.path("site/about.html")).unwrap();
    let second = backup(&bench).events()[0]["id"].as_str().unwrap().to_owned();
    let cat = |when: &str| bench.run(["cat", "--store", "store", &format!("site{when}:about.html")]).code;
    let day = |id: &str| format!("{}-{}-{}", &id[..4], &id[4..6], &id[6..8]);
    for (when, code) in [
        (format!("@{first}"), 0),
        (format!("/{first}"), 0),
        (format!("@{second}"), 1),
        ("@latest".to_owned(), 1),
        (String::new(), 1),
        (format!("@{}", day(&second)), 1),
        ("@0s".to_owned(), 1),
    ] {
        assert_eq!(cat(&when), code, "{when}");
    }
    let ran = bench.run(["ls", "--store", "store", &format!("site@{}", &first[..4])]);
    ran.refused(2, "could be 2 snapshots", "write more of the id");
}

#[test]
fn a_file_is_followed_and_two_snapshots_compared() {
    let bench = site();
    let first = backup(&bench).events()[0]["id"].as_str().unwrap().to_owned();
    bench.write("site/index.html", "<h1>Welcome back</h1>");
    bench.write("site/new.html", "new");
    fs::remove_file(bench.path("site/about.html")).unwrap();
    let second = backup(&bench).events()[0]["id"].as_str().unwrap().to_owned();

    let changes = |path: &str| -> Vec<(String, String)> {
        let events = json(&bench, ["history", &format!("site:{path}")]);
        let versions = events.iter().filter(|event| event["event"] == "version");
        versions.map(|v| (v["change"].as_str().unwrap().to_owned(), v["id"].as_str().unwrap().to_owned())).collect()
    };
    let pair = |change: &str, id: &String| (change.to_owned(), id.clone());
    assert_eq!(changes("index.html"), [pair("appeared", &first), pair("changed", &second)]);
    assert_eq!(changes("about.html"), [pair("appeared", &first), pair("gone", &second)]);
    assert_eq!(changes("img/logo.svg"), [pair("appeared", &first)]);

    let events = json(&bench, ["diff", &format!("site@{first}"), "site@latest"]);
    let of = |kind: &str| -> Vec<&str> {
        events.iter().filter(|event| event["change"] == kind).filter_map(|event| event["path"].as_str()).collect()
    };
    assert_eq!((of("added"), of("removed")), (vec!["new.html"], vec!["about.html"]));
    assert_eq!(of("changed"), ["index.html"]);
    let result = events.last().unwrap();
    assert_eq!(
        (&result["added"], &result["removed"], &result["changed"]),
        (&1.into(), &1.into(), &1.into()),
        "{result}"
    );
}

#[test]
fn a_restore_brings_back_what_was() {
    let bench = site();
    backup(&bench);
    fs::remove_dir_all(bench.path("site")).unwrap();
    let run = |arguments: &[&str]| bench.run([arguments, &["--store", "store"]].concat());

    let plan = run(&["restore", "site", "--to", "back", "--dry-run"]);
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    assert!(plan.text().contains("img/logo.svg"), "{}", plan.text());
    assert!(!bench.path("back").exists());

    assert_eq!(run(&["restore", "site", "--to", "back"]).code, 0);
    assert_eq!(fs::read(bench.path("back/index.html")).unwrap(), b"<h1>Welcome</h1>");
    assert_eq!(fs::read(bench.path("back/img/logo.svg")).unwrap(), b"<svg/>");

    run(&["restore", "site", "--to", "back"]).refused(4, "is not empty", "--overwrite");
    bench.write("back/index.html", "spoilt");
    assert_eq!(run(&["restore", "site", "--to", "back", "--overwrite"]).code, 0);
    assert_eq!(fs::read(bench.path("back/index.html")).unwrap(), b"<h1>Welcome</h1>");

    assert_eq!(run(&["restore", "site:img", "--to", "part"]).code, 0);
    assert_eq!(fs::read(bench.path("part/logo.svg")).unwrap(), b"<svg/>");
    assert_eq!(run(&["restore", "site:img/logo.svg", "--to", "one"]).code, 0);
    assert_eq!(fs::read(bench.path("one/logo.svg")).unwrap(), b"<svg/>");
    run(&["restore", "site:none", "--to", "x"]).refused(1, "has no none", "clonepanel");
    assert!(!bench.path("x").exists());
}

#[test]
fn damage_is_found() {
    let bench = site();
    let id = backup(&bench).events()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(bench.run(["verify", "--store", "store"]).code, 0);
    let victim = bench.path(format!("store/site/{id}/files/index.html"));
    fs::remove_file(&victim).unwrap();
    fs::write(&victim, "<h1>Wellcom</h1>").unwrap();
    let ran = bench.run(["verify", "--store", "store", "site", "--json"]);
    assert_eq!(ran.code, 1);
    assert_eq!(paths(&ran.events(), "damaged"), ["index.html"]);
    // Some slice has it, and the others do not.
    let slices = (1..=3).map(|n| bench.run(["verify", "--store", "store", "--slice", &format!("{n}/3")]).code);
    assert_eq!(slices.filter(|code| *code == 1).count(), 1);
    let ran = bench.run(["verify", "--store", "store", "--slice", "4/3"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}

/// Flips a bit of a stored file where it lies, as a failing disk does: length and time stay.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    let time = fs::metadata(path).unwrap().modified().unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(&bytes).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn damage_is_remembered_and_healed_by_the_next_backup() {
    let bench = site();
    // Long enough to be shared: two sites and two folders have it.
    let content = "what many sites have\n".repeat(200);
    bench.write("site/shared.js", &content);
    bench.write("site/sub/shared.js", &content);
    bench.write("other/lib/shared.js", &content);
    // Until its change time is old enough, a file is looked at anyhow.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let other = || bench.run(["backup", "--store", "store", "--source", "other", "other", "--json"]);
    let id = |ran: &Ran| ran.events()[0]["id"].as_str().unwrap().to_owned();
    let (first, second) = (id(&backup(&bench)), id(&backup(&bench)));
    let of_other = id(&other());
    let at = |site: &str, id: &str, name: &str| bench.path(format!("store/{site}/{id}/files/{name}"));
    let inode = |path: PathBuf| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let sick = inode(at("site", &first, "shared.js"));
    assert_eq!(sick, inode(at("other", &of_other, "lib/shared.js")), "it is stored once");
    let sound = bench.run(["verify", "--store", "store", "--json"]);
    let (bytes, read) = (&sound.result()["bytes"], &sound.result()["read_bytes"]);
    assert!(read.as_u64().unwrap() * 2 < bytes.as_u64().unwrap(), "{read} of {bytes} read: each copy once");

    flip(&at("site", &second, "shared.js"));
    // Looked for in one snapshot, it is named in each that has it.
    let ran = bench.run(["verify", "--store", "store", "site@latest", "--json"]);
    assert_eq!(ran.code, 1);
    let mut named: Vec<_> = ran
        .events()
        .iter()
        .filter(|event| event["event"] == "damaged")
        .map(|event| format!("{}@{}:{}", event["site"], event["id"], event["path"]).replace('"', ""))
        .collect();
    named.sort();
    let mut expected = vec![format!("other@{of_other}:lib/shared.js")];
    for id in [&first, &second] {
        expected.extend([format!("site@{id}:shared.js"), format!("site@{id}:sub/shared.js")]);
    }
    expected.sort();
    assert_eq!(named, expected);
    assert_eq!((&ran.result()["damaged"], &ran.result()["also_named"]), (&2.into(), &3.into()));

    // Nothing changed at the source; but the next backups store it anew, once for all.
    let third = id(&backup(&bench));
    let of_other_again = id(&other());
    let healed = inode(at("site", &third, "shared.js"));
    assert_ne!(healed, sick);
    assert_eq!(fs::read_to_string(at("site", &third, "shared.js")).unwrap(), content);
    assert_eq!(inode(at("site", &third, "sub/shared.js")), healed);
    assert_eq!(inode(at("other", &of_other_again, "lib/shared.js")), healed);
    for site in ["site", "other"] {
        let ran = bench.run(["verify", "--store", "store", &format!("{site}@latest")]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    assert_eq!(bench.run(["verify", "--store", "store"]).code, 1, "the older snapshots stay as they are");
    // Healed is healed: nothing is fetched again.
    let again = backup(&bench);
    assert_eq!(again.result()["new_bytes"], 0);
    assert_eq!(inode(at("site", &id(&again), "shared.js")), healed);

    // What is known of the damage goes with the last snapshot that has it.
    let known = || fs::read_dir(bench.path("store/.clonepanel/damaged")).unwrap().count();
    assert_eq!(known(), 1);
    let prune = |site: &str| bench.run(["prune", "--store", "store", site, "--daily", "1"]);
    assert_eq!(prune("site").code, 0);
    assert_eq!(known(), 1, "the other site still has it");
    assert_eq!(prune("other").code, 0);
    assert_eq!(known(), 0);
    assert_eq!(bench.run(["verify", "--store", "store"]).code, 0);
}

#[test]
fn prune_shows_its_plan_and_keeps_the_newest() {
    let bench = site();
    for _ in 0..3 {
        backup(&bench);
    }
    let count = || json(&bench, ["snapshots"]).len() - 1;
    bench.run(["prune", "--store", "store"]).refused(2, "no retention", "--daily");
    bench.run(["prune", "--store", "store", "--daily", "0"]).refused(2, "nothing but the newest", "--daily 14");
    assert_eq!(count(), 3);
    let plan = bench.ok(["prune", "--store", "store", "--daily", "1", "--dry-run"]);
    assert!(plan.contains("delete"), "{plan}");
    assert_eq!(count(), 3);
    let events = json(&bench, ["prune", "--daily", "1"]);
    assert_eq!(events.last().unwrap()["deleted"], 2, "{events:?}");
    assert_eq!(count(), 1);
    assert_eq!(json(&bench, ["prune", "--daily", "1"]).last().unwrap()["deleted"], 0);
}

#[test]
fn hostile_names_reach_no_terminal() {
    let bench = Bench::new();
    fs::create_dir(bench.path("site")).unwrap();
    for name in [&b"a\x1b[31mred"[..], b"new\nline", b"\xff\xfe", "\u{202e}txt.exe\u{9b}".as_bytes()] {
        fs::write(bench.path(Path::new("site").join(OsStr::from_bytes(name))), "x").unwrap();
    }
    bench.ok(["backup", "--store", "store", "./site"]);
    let said = bench.ok(["ls", "--store", "store", "site"]);
    assert_eq!(said.lines().count(), 4, "{said}");
    let harmful = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!said.contains(harmful), "{said:?}");
    // What is shown can be typed.
    for shown in ["a\\x1b[31mred", "new\\x0aline", "\\xff\\xfe"] {
        assert!(said.contains(shown), "{said}");
        assert_eq!(bench.ok(["cat", "--store", "store", &format!("site:{shown}")]), "x");
    }
    let ran = bench.run(["ls", "--store", "store", "site", "--json"]);
    assert!(!ran.text().contains(harmful), "{:?}", ran.text());
    let events = ran.events();
    let odd = events.iter().find(|event| event["path_b64"].is_string()).unwrap();
    assert_eq!(odd["path_b64"], "//4=");
    assert!(events.iter().any(|event| event["path"] == "\u{202e}txt.exe\u{9b}"));
}

#[test]
fn a_reader_that_goes_away_is_nobodys_mistake() {
    let bench = Bench::new();
    for n in 0..3000 {
        bench.write(format!("site/file {n}"), "");
    }
    bench.ok(["backup", "--store", "store", "./site"]);
    let mut child = bench
        .command(["ls", "--store", "store", "site"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn two_places_never_share_a_name_unasked() {
    let bench = Bench::new();
    bench.write("al/public_html/index.html", "of al");
    bench.write("bo/public_html/index.html", "of bo");
    let run = |arguments: &[&str]| bench.run([&["backup", "--store", "store"], arguments].concat());
    assert_eq!(run(&["al/public_html"]).code, 0);
    run(&["bo/public_html"]).refused(4, "al/public_html, not of", "--source NAME");
    assert_eq!(run(&["./al/../al/public_html/"]).code, 0);
    assert_eq!(run(&["bo/public_html", "--source", "bo"]).code, 0);
    assert_eq!(bench.ok(["cat", "--store", "store", "public_html:index.html"]), "of al");
    assert_eq!(bench.ok(["cat", "--store", "store", "bo:index.html"]), "of bo");
    // Nobody knows what a source of unknown origin holds.
    assert_eq!(run(&["al/public_html", "--source", "later"]).code, 0);
    fs::remove_file(bench.path("store/later/place")).unwrap();
    bench.write("later/index.html", "");
    run(&["later"]).refused(4, "of another place", "--source later");
    assert_eq!(run(&["later", "--source", "later"]).code, 0);
}

/// A site that lost most of its files, and the ids of the snapshots before and after.
fn shrunk() -> (Bench, String, String) {
    let bench = Bench::new();
    for n in 0..200 {
        bench.write(format!("site/{n}"), format!("content {n}"));
    }
    let id = |ran: &Ran| ran.events().iter().find(|event| event["event"] == "snapshot").unwrap()["id"].clone();
    let before = id(&backup(&bench));
    for n in 5..200 {
        fs::remove_file(bench.path(format!("site/{n}"))).unwrap();
    }
    let ran = backup(&bench);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("suspect") && ran.stderr.contains("--accept"), "{}", ran.stderr);
    let text = |id: Value| id.as_str().unwrap().to_owned();
    (bench, text(before), text(id(&ran)))
}

#[test]
fn what_looks_like_an_accident_can_be_accepted() {
    let (bench, ..) = shrunk();
    let run = |more: &[&str]| bench.run([&["backup", "--store", "store", "./site"], more].concat()).code;
    assert_eq!(run(&[]), 3);
    assert_eq!(run(&["--accept"]), 0);
    assert_eq!(run(&[]), 0);
}

#[test]
fn a_restore_takes_the_newest_that_is_complete() {
    let (bench, good, newer) = shrunk();
    let run = |arguments: &[&str]| bench.run([&["restore", "--store", "store"], arguments].concat());
    for (selector, to) in [("site", "a"), ("site@latest", "b")] {
        let ran = run(&[selector, "--to", to]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stderr.contains(&good) && ran.stderr.contains(&format!("site@{newer}")), "{}", ran.stderr);
        assert_eq!(fs::read(bench.path(to).join("150")).unwrap(), b"content 150");
    }
    assert_eq!(run(&[&format!("site@{newer}"), "--to", "c"]).code, 0);
    assert!(bench.path("c/4").exists() && !bench.path("c/150").exists());
}

#[test]
fn overwriting_looks_at_contents() {
    let bench = site();
    backup(&bench);
    let restore = || bench.run(["restore", "site", "--to", "back", "--overwrite", "--store", "store"]).code;
    assert_eq!(restore(), 0);
    let spoilt = bench.path("back/index.html");
    let time = fs::metadata(&spoilt).unwrap().modified().unwrap();
    fs::write(&spoilt, "<h1>Wellcom</h1>").unwrap();
    fs::File::options().write(true).open(&spoilt).unwrap().set_modified(time).unwrap();
    assert_eq!(restore(), 0);
    assert_eq!(fs::read(&spoilt).unwrap(), b"<h1>Welcome</h1>");
}

#[test]
fn nothing_is_restored_into_the_store() {
    let bench = site();
    backup(&bench);
    for to in ["store/back", "./store", "store/site/../new/deep", "site/../store/x"] {
        let ran = bench.run(["restore", "site", "--to", to, "--overwrite", "--store", "store"]);
        ran.refused(4, "lies in the store", "outside");
    }
    // Nor over it.
    for to in [".", "site/.."] {
        let ran = bench.run(["restore", "site", "--to", to, "--overwrite", "--store", "store"]);
        ran.refused(4, "has the store", "beside");
    }
    // Nor by way of what is not there yet, nor into another store.
    let ran = bench.run(["restore", "site", "--to", "new/../store/site/files", "--overwrite", "--store", "store"]);
    ran.refused(4, "below a folder that is not there", "..");
    assert!(!bench.path("new").exists());
    fs::create_dir_all(bench.path("other/.clonepanel")).unwrap();
    let ran = bench.run(["restore", "site", "--to", "other/site/back", "--overwrite", "--store", "store"]);
    ran.refused(4, "lies in another store", "outside");
    assert!(!bench.path("other/site").exists());
    assert!(!bench.path("index.html").exists());
    assert!(!bench.path("store/back").exists() && !bench.path("store/new").exists());
}

#[test]
fn events_of_a_restore_have_the_paths_of_its_destination() {
    let bench = site();
    bench.write("site/files/databases/x", "x");
    let id = backup(&bench).events()[0]["id"].clone();
    let events = json(&bench, ["restore", "site", "--to", "back", "--dry-run"]);
    let told = paths(&events, "entry");
    assert!(told.contains(&"files/databases/x".to_owned()) && told.contains(&"img/logo.svg".to_owned()), "{told:?}");
    // One shape of ids everywhere.
    let result = events.last().unwrap();
    assert_eq!((&result["site"], &result["id"]), (&"site".into(), &id));
    // At the top of the destination a folder of this name is just that: `files/databases` would not be there.
    let events = json(&bench, ["restore", "site:files/files", "--to", "back", "--dry-run"]);
    assert!(paths(&events, "entry").contains(&"databases/x".to_owned()), "{events:?}");
    let result = json(&bench, ["restore", "site", "--to", "back"]).pop().unwrap();
    assert_eq!((&result["site"], &result["id"]), (&"site".into(), &id));
    let result = json(&bench, ["diff", "site@latest", "site@latest"]).pop().unwrap();
    assert_eq!((&result["before"]["id"], &result["after"]["site"]), (&id, &"site".into()));
}

#[test]
fn one_damaged_manifest_hides_no_other_snapshot() {
    let bench = site();
    let ids: Vec<String> = (0..3).map(|_| backup(&bench).events()[0]["id"].as_str().unwrap().to_owned()).collect();
    fs::write(bench.path(format!("store/site/{}/manifest", ids[1])), "no manifest").unwrap();
    let run = |arguments: &[&str]| bench.run([arguments, &["--store", "store", "--json"]].concat());
    let damaged = |ran: &Ran| -> Vec<String> {
        let events = ran.events();
        let named = events.iter().filter(|event| event["event"] == "damaged");
        named.map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    for (arguments, code) in [
        (&["snapshots"][..], 3),
        (&["ls", "site"], 3),
        (&["history", "site:index.html"], 3),
        (&["restore", "site", "--to", "back"], 3),
        (&["verify"], 1),
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
        assert_eq!(damaged(&ran), [ids[1].clone()], "{arguments:?}");
        assert!(ran.stderr.contains(&ids[1]), "{arguments:?}: {}", ran.stderr);
    }
    assert_eq!(run(&["snapshots"]).result()["snapshots"], 2);
    assert_eq!(run(&["verify"]).result()["snapshots"], 2);
    assert_eq!(fs::read(bench.path("back/index.html")).unwrap(), b"<h1>Welcome</h1>");
    // What is named in full is opened, whatever the others are like.
    for id in [&ids[0], &ids[2]] {
        assert_eq!(run(&["ls", &format!("site@{id}")]).code, 0);
    }
    assert_eq!(run(&["ls", &format!("site@{}", ids[1])]).code, 1);

    // Damage that shows only when all of it is read: the one before it is taken.
    let manifest = bench.path(format!("store/site/{}/manifest", ids[2]));
    let spoilt = fs::read_to_string(&manifest).unwrap().replace("about.html", "abuot.html");
    fs::write(&manifest, spoilt).unwrap();
    for arguments in [&["ls", "site"][..], &["restore", "site", "--to", "again"]] {
        let ran = run(arguments);
        assert_eq!(
            (ran.code, &ran.result()["id"]),
            (3, &Value::from(ids[0].as_str())),
            "{arguments:?}: {}",
            ran.stderr
        );
        assert_eq!(damaged(&ran), [ids[1].clone(), ids[2].clone()], "{arguments:?}");
    }
    assert_eq!(run(&["history", "site:index.html"]).result()["versions"], 1);
}

#[test]
fn results_that_cannot_be_written_are_a_failure() {
    let bench = site();
    backup(&bench);
    let id = backup(&bench).events()[0]["id"].as_str().unwrap().to_owned();
    let exact = format!("site@{id}:index.html");
    for arguments in [
        &["ls", "site", "--store", "store"][..],
        &["ls", "site", "--store", "store", "--json"],
        &["cat", "site:index.html", "--store", "store"],
        &["cat", &exact, "--store", "store", "--json"],
        &["--help"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = bench.command(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ran = Ran::from(output.wait_with_output().unwrap());
        assert_eq!(ran.code, 1, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("standard output cannot be written"), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn places_that_cannot_be_backed_up_are_refused() {
    let bench = site();
    let run = |arguments: &[&str]| bench.run([&["backup", "--store"], arguments].concat());
    run(&["store", "./nowhere"]).refused(1, "nowhere", "user@host:path");
    run(&["store"]).refused(2, "exactly one place", "user@host:path");
    run(&["store", "rsync://host/module"]).refused(2, "is an rsync server", "user@host:path");
    run(&["store", "./site", "--port", "22"]).refused(2, "--port is for ssh", "user@host:path");
    run(&["site/store", "./site"]).refused(4, "lies in the folder", "somewhere else");
    assert!(!bench.path("site/store").exists());
}
