//! Rules of the house that no compiler checks.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use std::{
    fs,
    path::{Path, PathBuf},
};
use toml::Table;
use walkdir::WalkDir;

const LIBRARIES: [&str; 4] = ["clonepanel-core", "clonepanel-store", "clonepanel-rsync", "clonepanel-whm"];
/// What core may stand on: each of these is a promise to everybody who implements its traits.
const CORE_MAY_USE: [&str; 5] = ["async-trait", "blake3", "bytes", "futures-util", "thiserror"];
/// Only with its feature `testkit`.
const TESTKIT_MAY_USE: [&str; 4] = ["filetime", "rustix", "tempfile", "tokio"];
const LONGEST_FILE: usize = 700;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn manifest(package: &str) -> Table {
    fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap().parse().unwrap()
}

fn dependencies(package: &str) -> Vec<(String, bool)> {
    let manifest = manifest(package);
    let Some(table) = manifest.get("dependencies") else { return Vec::new() };
    let optional = |value: &toml::Value| value.get("optional").and_then(toml::Value::as_bool).unwrap_or(false);
    table.as_table().unwrap().iter().map(|(name, value)| (name.clone(), optional(value))).collect()
}

/// Files of the project of one kind, without what is built.
fn files(extension: &str) -> Vec<PathBuf> {
    let walk = WalkDir::new(root()).into_iter().filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        !(entry.file_type().is_dir() && entry.depth() > 0 && (name == "target" || name.starts_with('.')))
    });
    let paths = walk.map(|entry| entry.unwrap().into_path());
    paths.filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
}

#[test]
fn core_stands_alone() {
    for (name, optional) in dependencies("clonepanel-core") {
        let allowed = CORE_MAY_USE.contains(&&*name) || (optional && TESTKIT_MAY_USE.contains(&&*name));
        assert!(allowed, "clonepanel-core depends on {name}");
    }
}

#[test]
fn back_ends_do_not_know_each_other() {
    for package in LIBRARIES {
        for (name, _) in dependencies(package) {
            assert!(!name.starts_with("clonepanel-") || name == "clonepanel-core", "{package} depends on {name}");
        }
    }
}

#[test]
fn core_does_no_input_or_output() {
    for path in files("rs") {
        let inside = path.strip_prefix(root()).unwrap();
        if !inside.starts_with("clonepanel-core/src") || inside.starts_with("clonepanel-core/src/testkit") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for forbidden in ["std::fs", "std::net", "std::process", "std::thread", "tokio::spawn"] {
            // What a file's own tests do is not what the library does.
            let library = text.split("#[cfg(test)]").next().unwrap();
            assert!(!library.contains(forbidden), "{} uses {forbidden}", inside.display());
        }
    }
}

#[test]
fn nothing_is_detached() {
    for path in files("rs") {
        let inside = path.strip_prefix(root()).unwrap();
        let in_library = LIBRARIES.iter().any(|library| inside.starts_with(format!("{library}/src")));
        if in_library && !inside.starts_with("clonepanel-core/src/testkit") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains("tokio::spawn("), "{} starts a task that nobody owns", inside.display());
        }
    }
}

#[test]
fn files_stay_readable() {
    let sources = files("rs");
    assert!(sources.len() > 40, "the walk finds the sources");
    for path in sources {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", path.display());
    }
}

#[test]
fn every_crate_obeys_the_shared_lints() {
    for package in LIBRARIES.iter().chain(&["examples", "benches", "tests"]) {
        let manifest = manifest(package);
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{package}");
        let published = manifest["package"].get("publish").and_then(toml::Value::as_bool) != Some(false);
        assert_eq!(published, LIBRARIES.contains(package), "{package}");
    }
}

/// A document that names what is no longer there misleads more than none.
#[test]
fn documents_name_what_exists() {
    let mut named = 0;
    for document in files("md") {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            named += 1;
            let path = document.parent().unwrap().join(target);
            assert!(path.exists(), "{} links to {target}", document.display());
        }
    }
    assert!(named > 5, "links are found");
}
