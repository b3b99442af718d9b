//! The filter rules, compared with the rsync of this machine.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may.

use clonepanel_core::{
    filter::{Filter, Rule},
    path::RelPath,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use std::{collections::BTreeSet, ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path, process::Command};

const NAMES: [&[u8]; 12] = [b"a", b"b", b"ab", b"a.b", b"c", b"[a]", b"a*", b"a\\b", b"-a", b" ", b"\xff", b"B1"];

/// Every name at the top, below every directory of the top, and below some of the next ones.
fn make_tree(at: &Path, depth: usize, paths: &mut BTreeSet<(Vec<u8>, bool)>, prefix: &[u8]) {
    for (number, name) in NAMES.iter().enumerate() {
        let path = at.join(OsStr::from_bytes(name));
        let shown = [prefix, name].concat();
        let is_dir = depth < 3 && number % (3 * depth + 1) == 0;
        if is_dir {
            fs::create_dir(&path).unwrap();
            make_tree(&path, depth + 1, paths, &[&shown, &b"/"[..]].concat());
        } else {
            fs::write(&path, b"").unwrap();
        }
        paths.insert((shown, is_dir));
    }
}

fn pattern() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b"ab",
        b".",
        b"*",
        b"**",
        b"***",
        b"?",
        b"/",
        b"/",
        b"[a]",
        b"[!a]",
        b"[^ab]",
        b"[a-c]",
        b"[[:alpha:]]",
        b"[[:upper:]1]",
        b"[]a]",
        b"[[:]",
        b"[a",
        b"\\",
        b"\\[",
        b"\\*",
        b" ",
        b"\xff",
        b"c",
        b"-",
        b"[b-]",
        b"[\\a-\\c]",
        b"[/]",
    ]);
    let sign = prop::sample::select(vec![&b""[..], b"", b"- ", b"+ "]);
    (sign, prop::collection::vec(piece, 1..6)).prop_map(|(sign, pieces)| [sign, &pieces.concat()].concat())
}

/// The paths that rsync transfers, `dir/` for directories.
fn by_rsync(source: &Path, target: &Path, rules: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    let mut rsync = Command::new("rsync");
    rsync.args(["-n", "-r", "-8", "--out-format=%n"]);
    for rule in rules {
        rsync.arg(OsStr::from_bytes(&[b"--exclude=", &rule[..]].concat()));
    }
    let output = rsync.arg(source.join("")).arg(target).output().expect("this test needs rsync");
    assert!(output.status.success(), "{rules:?}: {}", String::from_utf8_lossy(&output.stderr));
    let lines = output.stdout.split(|&b| b == b'\n').filter(|line| !matches!(*line, b"" | b"./"));
    lines.map(<[u8]>::to_vec).collect()
}

#[test]
fn the_same_paths_are_left_out_as_by_rsync() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&target).unwrap();
    let mut paths = BTreeSet::new();
    make_tree(&source, 0, &mut paths, b"");

    let mut runner = TestRunner::deterministic();
    let (mut decided, mut never_matching) = (0, 0);
    for _ in 0..400 {
        let rules = prop::collection::vec(pattern(), 1..5).new_tree(&mut runner).unwrap().current();
        // What is refused here is taken by rsync and never matches, except for what only directories in its list can tell.
        let parsed: Vec<Rule> = rules.iter().filter_map(|rule| Rule::parse(rule).ok()).collect();
        never_matching += rules.len() - parsed.len();
        let filter = Filter::new(parsed);
        let here: BTreeSet<Vec<u8>> = paths
            .iter()
            .filter(|(path, is_dir)| !filter.excludes_with_parents(&RelPath::try_from(&path[..]).unwrap(), *is_dir))
            .map(|(path, is_dir)| if *is_dir { [path, &b"/"[..]].concat() } else { path.clone() })
            .collect();
        let there = by_rsync(&source, &target, &rules);
        let show =
            |paths: BTreeSet<&Vec<u8>>| paths.iter().take(20).map(|p| p.escape_ascii().to_string()).collect::<Vec<_>>();
        let differ = here.symmetric_difference(&there).collect();
        assert!(here == there, "{filter:?} of {:?} differs at {:?}", show(rules.iter().collect()), show(differ));
        decided += usize::from(here.len() < paths.len());
    }
    // The patterns are such that the comparison means something.
    assert!(decided > 150 && never_matching > 50, "{decided} {never_matching}");
}
