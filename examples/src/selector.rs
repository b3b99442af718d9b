//! [`Selector`]: `SITE[@WHEN][:PATH]`, and which snapshot it means.

use crate::{failure::Failure, nearest::nearest};
use bytes::Bytes;
use clonepanel_core::{
    escape::{Escaped, unescape},
    path::RelPath,
    store::SnapshotInfo,
    time::Timestamp,
};
use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::{OsStrExt, OsStringExt},
    time::Duration,
};

/// What of which snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) site: String,
    /// The newest when none was given.
    pub(crate) when: Option<When>,
    /// As a path of the snapshot; `None` when none was given.
    pub(crate) path: Option<RelPath>,
}

/// Which snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum When {
    /// The newest one that was begun at least so long ago.
    Ago(Duration),
    /// The newest one that was begun before this moment.
    Before(Timestamp),
    /// The one with this id, or the beginning of one.
    Id(String),
    /// The newest one.
    Latest,
}

impl Selector {
    /// Reads an argument, which may hold any bytes; `\xNN` is understood as it is shown in listings.
    pub(crate) fn parse(argument: OsString) -> Result<Self, String> {
        let bytes = argument.into_vec();
        let (head, path) = match bytes.iter().position(|&b| b == b':') {
            Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..)),
            None => (bytes.as_slice(), None),
        };
        let head = std::str::from_utf8(head).map_err(|_| "the name of a site is plain text".to_owned())?;
        // `example.org/20260823T021500Z`, as snapshots are shown, is the same as with an `@`.
        let (site, when) = match head.split_once(['@', '/']) {
            Some((site, when)) => (site, Some(When::parse(when)?)),
            None => (head, None),
        };
        if site.is_empty() {
            return Err("it must begin with the name of a site: SITE[@WHEN][:PATH]".to_owned());
        }
        let path = path.map(snapshot_path).transpose()?;
        Ok(Self { site: site.to_owned(), when, path })
    }
}

impl When {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("after the @ there must be an id, a date, an age or `latest`".to_owned());
        }
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if let Some(moment) = Timestamp::parse_rfc3339(text) {
            // A date alone means the whole day.
            let end = if text.len() == 10 { Duration::from_hours(24) } else { Duration::from_secs(1) };
            return Ok(Self::Before(moment.after(end)));
        }
        let is_id = |b: u8| b.is_ascii_digit() || matches!(b, b'T' | b'Z' | b'.');
        if text.bytes().all(is_id) {
            return Ok(Self::Id(text.to_owned()));
        }
        match humantime::parse_duration(text) {
            Ok(age) => Ok(Self::Ago(age)),
            Err(_) => Err(format!("`{}` is no snapshot id, date, age or `latest`", Escaped(text.as_bytes()))),
        }
    }

    /// The snapshot that is meant, among those of one site, oldest first.
    pub(crate) fn choose<'a>(
        &self,
        site: &str,
        snapshots: &'a [SnapshotInfo],
        now: Timestamp,
    ) -> Result<&'a SnapshotInfo, Failure> {
        let none = || Failure::failed(format!("there is no snapshot of {site}")).hint("`clonepanel backup` makes one");
        let (oldest, newest) = snapshots.first().zip(snapshots.last()).ok_or_else(none)?;
        let before = |moment: Timestamp| {
            snapshots.iter().rfind(|info| info.begun < moment).ok_or_else(|| {
                Failure::failed(format!("there is no snapshot of {site} that old"))
                    .hint(format!("the oldest is {site}@{}", oldest.id.stem()))
            })
        };
        match self {
            Self::Latest => Ok(newest),
            Self::Ago(age) => before(now.before(*age).after(Duration::from_nanos(1))),
            Self::Before(moment) => before(*moment),
            Self::Id(id) => by_id(site, id, snapshots),
        }
    }
}

fn by_id<'a>(site: &str, id: &str, snapshots: &'a [SnapshotInfo]) -> Result<&'a SnapshotInfo, Failure> {
    let stems: Vec<_> = snapshots.iter().map(|info| info.id.stem()).collect();
    if let Some(exact) = snapshots.iter().zip(&stems).find(|(_, stem)| *stem == id) {
        return Ok(exact.0);
    }
    let begins: Vec<_> = snapshots.iter().zip(&stems).filter(|(_, stem)| stem.starts_with(id)).collect();
    match begins.as_slice() {
        [(only, _)] => Ok(only),
        [] => {
            let failure = Failure::failed(format!("there is no snapshot {site}@{id}"));
            Err(match nearest(id, stems.iter().map(String::as_str)) {
                Some(near) => failure.hint(format!("did you mean {site}@{near}?")),
                None => failure.hint(format!("`clonepanel snapshots {site}` lists them")),
            })
        }
        [(_, first), .., (_, last)] => Err(Failure::usage(format!("{site}@{id} could be {} snapshots", begins.len()))
            .hint(format!("write more of the id: {first} to {last}"))),
    }
}

/// The path of the snapshot for a path as people write it: the account's own, or below `databases/`, `dns/`, `files/`.
pub(crate) fn snapshot_path(typed: &[u8]) -> Result<RelPath, String> {
    let bytes = unescape(typed).unwrap_or_else(|| typed.to_vec());
    let mut trimmed = bytes.as_slice();
    while let Some(rest) = trimmed.strip_prefix(b"./").or_else(|| trimmed.strip_prefix(b"/")) {
        trimmed = rest;
    }
    while let Some(rest) = trimmed.strip_suffix(b"/") {
        trimmed = rest;
    }
    if trimmed == b"." {
        trimmed = b"";
    }
    let shown = || Escaped(typed).to_string();
    let path = RelPath::new(Bytes::copy_from_slice(trimmed)).map_err(|error| format!("{error}: {}", shown()))?;
    if is_top(path.parts().next()) {
        return Ok(path);
    }
    files().join(&path).map_err(|error| format!("{error}: {}", shown()))
}

/// The path as people write it, for a path of the snapshot: the inverse of [`snapshot_path`].
pub(crate) fn account_path(path: &RelPath) -> RelPath {
    match path.strip_prefix(&files()) {
        Some(below) if !is_top(below.parts().next()) => below,
        _ => path.clone(),
    }
}

/// A path of the snapshot, shown as people write it.
pub(crate) fn shown(path: &RelPath) -> impl fmt::Display {
    account_path(path)
}

/// Where the account's files are in a snapshot.
pub(crate) fn files() -> RelPath {
    RelPath::try_from("files").unwrap_or_default()
}

fn is_top(part: Option<&[u8]>) -> bool {
    matches!(part, Some(b"files" | b"databases" | b"dns"))
}

/// Reads a selector for clap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SelectorParser;

impl clap::builder::TypedValueParser for SelectorParser {
    type Value = Selector;
    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Selector, clap::Error> {
        Selector::parse(value.to_owned()).map_err(|why| {
            let name = argument.map(ToString::to_string).unwrap_or_default();
            let shown = Escaped(value.as_bytes());
            let text = format!("invalid value '{shown}' for '{name}': {why}\n\nFor more information, try '--help'.\n");
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, text).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Selector, String> {
        Selector::parse(text.into())
    }

    fn rel(text: &str) -> RelPath {
        RelPath::try_from(text).unwrap()
    }

    #[test]
    fn every_form_is_understood() {
        for (text, when, path) in [
            ("example.org", When::Latest, None),
            ("example.org@latest:a/b", When::Latest, Some("files/a/b")),
            ("example.org:/a/b/", When::Latest, Some("files/a/b")),
            ("example.org:", When::Latest, Some("files")),
            ("example.org:.", When::Latest, Some("files")),
            ("example.org:databases/x", When::Latest, Some("databases/x")),
            ("example.org:dns", When::Latest, Some("dns")),
            ("example.org:files/databases", When::Latest, Some("files/databases")),
            ("example.org:databases2", When::Latest, Some("files/databases2")),
            ("example.org@3w:a:b", When::Ago(Duration::from_secs(3 * 7 * 86_400)), Some("files/a:b")),
            ("example.org@20260823T021500Z", When::Id("20260823T021500Z".into()), None),
            ("example.org/20260823T021500Z.1:x", When::Id("20260823T021500Z.1".into()), Some("files/x")),
            ("example.org@1970-01-02", When::Before(Timestamp::from_secs(2 * 86_400)), None),
        ] {
            let selector = parsed(text).unwrap();
            assert_eq!((selector.when.unwrap_or(When::Latest), selector.path), (when, path.map(rel)), "{text}");
            assert_eq!(selector.site, "example.org");
        }
        for bad in ["", ":a", "@3w", "a@", "a@yesterday", "a:../b", "a:b//c"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shown_paths_can_be_typed_again() {
        for raw in [
            &b"files"[..],
            b"files/a",
            b"files/files/x",
            b"files/databases/x",
            b"databases/x",
            b"dns",
            b"files/\xff\x1b\\x41",
        ] {
            let path = RelPath::try_from(raw).unwrap();
            let typed = shown(&path).to_string();
            assert_eq!(snapshot_path(typed.as_bytes()), Ok(path), "{typed}");
        }
    }
}
