//! [`Messages`]: what the far end says in words, and which paths it means.
//!
//! rsync reports trouble with single files only as text for a person, on its standard error or in message frames, and the
//! wording is stable over all versions. What cannot be understood is never taken as harmless.

use clonepanel_core::{
    path::RelPath,
    problem::{Problem, ProblemKind},
};
use std::collections::{HashMap, HashSet};

/// Lines that are kept; further ones make the listing incomplete.
const MAX_LINES: usize = 20_000;
const MAX_LINE: usize = 9 * 1024;
/// What the kept lines of one stream may take together.
const MAX_KEPT: usize = 8 << 20;
/// The longest text that is shown of a line.
const MAX_SHOWN: usize = 300;

/// How serious a text is, as its frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The far end counts it as an error of the transfer.
    Error,
    /// It does not, or does not say.
    Other,
}

/// Collects the lines of one stream of text.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    partial: Vec<u8>,
    lines: Vec<(Severity, Vec<u8>)>,
    kept: usize,
    is_overfull: bool,
}

impl Messages {
    /// Takes text, cut anywhere; gives the lines that became complete.
    pub(crate) fn feed(&mut self, text: &[u8]) -> Vec<Vec<u8>> {
        let mut complete = Vec::new();
        for part in text.split_inclusive(|&byte| byte == b'\n') {
            let room = MAX_LINE.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                complete.extend(self.end_line(Severity::Other));
            }
        }
        complete
    }

    /// Takes the text of a message frame, which may hold line ends of a name; gives the message that became complete.
    pub(crate) fn feed_frame(&mut self, severity: Severity, text: &[u8]) -> Option<Vec<u8>> {
        let room = MAX_LINE.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&text[..text.len().min(room)]);
        if text.ends_with(b"\n") { self.end_line(severity) } else { None }
    }

    /// The stream ended. Gives the last line, if it is one that is kept.
    pub(crate) fn end_line(&mut self, severity: Severity) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.partial);
        let line = line.trim_ascii();
        if line.is_empty() {
            return None;
        }
        if self.lines.len() >= MAX_LINES || self.kept + line.len() > MAX_KEPT {
            self.is_overfull = true;
            return None;
        }
        self.kept += line.len();
        self.lines.push((severity, line.to_vec()));
        Some(line.to_vec())
    }

    /// The lines, raw.
    pub(crate) fn lines(&self) -> &[(Severity, Vec<u8>)] {
        &self.lines
    }

    /// Whether there were more than are kept.
    pub(crate) const fn is_overfull(&self) -> bool {
        self.is_overfull
    }

    /// Everything that was said, escaped, one line each.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.iter().map(|(_, line)| shown(line));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The line that says best why it ended: the last one that is not a summary.
    pub(crate) fn reason(&self) -> Option<String> {
        let mut lines = self.lines.iter().rev().map(|(_, line)| line);
        let is_summary = |line: &&Vec<u8>| line.starts_with(b"rsync error:") || line.starts_with(b"rsync warning:");
        lines.clone().find(|line| !is_summary(line)).or_else(|| lines.next()).map(|line| shown(line))
    }
}

fn shown(line: &[u8]) -> String {
    let mut text = clonepanel_core::escape::Escaped(line).to_string();
    text.truncate(text.floor_char_boundary(MAX_SHOWN));
    text
}

/// What all that was said means for single paths. `unsent` are the files that the far end refused to send; `dirs` the
/// directories that were listed.
pub(crate) fn problems(said: &[&Messages], unsent: &[RelPath], dirs: &HashSet<RelPath>) -> Vec<Problem> {
    let asked: HashSet<&RelPath> = unsent.iter().collect();
    let mut problems = Vec::new();
    let mut explained = HashMap::new();
    let mut unknown = None;
    for messages in said {
        if messages.is_overfull {
            unknown = Some(b"it reported too much to keep".to_vec());
        }
        for (severity, line) in &messages.lines {
            match Meaning::of(line) {
                Meaning::Nothing if *severity == Severity::Other => {}
                Meaning::Nothing | Meaning::Trouble => unknown = Some(line.clone()),
                Meaning::Content { path, kind } => {
                    if let Some(path) = suffixes(&path).find(|path| asked.contains(path)) {
                        explained.insert(path, (kind, line));
                    }
                }
                Meaning::Listing { path, is_itself } => {
                    let is_place = |path: &RelPath| {
                        let place = if is_itself { Some(path.clone()) } else { path.parent() };
                        place.is_some_and(|place| !place.is_root() && dirs.contains(&place))
                    };
                    // The far end names whole paths and we do not know what its root is called: all that it may mean.
                    let mut places: Vec<_> = suffixes(&path).filter(is_place).collect();
                    if places.is_empty() {
                        // A path that cannot be placed may be anywhere: nothing that is missing counts as deleted.
                        places.push(RelPath::root());
                    }
                    problems.extend(places.into_iter().map(|at| Problem::new(at, ProblemKind::Unlisted, line)));
                }
            }
        }
    }
    for path in unsent {
        problems.push(match explained.get(path) {
            Some((kind, line)) => Problem::new(path.clone(), *kind, line),
            None => Problem::new(path.clone(), ProblemKind::Unreadable, "it was not sent"),
        });
    }
    if let Some(line) = unknown {
        problems.push(Problem::new(RelPath::root(), ProblemKind::Unlisted, line));
    }
    problems
}

/// What a line is about.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// The content of a file.
    Content { path: Vec<u8>, kind: ProblemKind },
    /// A directory that could not be listed, or (not itself) an entry that could not be looked at.
    Listing { path: Vec<u8>, is_itself: bool },
    /// Nothing that has consequences.
    Nothing,
    /// Trouble of a kind that is not known here.
    Trouble,
}

impl Meaning {
    /// Only how a line begins counts: what comes later may be a name.
    fn of(line: &[u8]) -> Self {
        let path = || quoted_path(line);
        if line.starts_with(b"file has vanished: ") {
            return path().map_or(Self::Nothing, |path| Self::Content { path, kind: ProblemKind::Vanished });
        }
        let Some(rest) = line.strip_prefix(b"rsync: ") else { return Self::Nothing };
        let rest = rest.strip_prefix(b"[sender] ").unwrap_or(rest);
        let begins = |words: &[&[u8]]| words.iter().any(|word| rest.starts_with(word));
        let meaning = if begins(&[b"opendir ", b"readdir(", b"change_dir "]) {
            path().map(|path| Self::Listing { path, is_itself: true })
        } else if begins(&[b"send_files failed to open ", b"read errors mapping "]) {
            path().map(|path| Self::Content { path, kind: ProblemKind::Unreadable })
        } else if begins(&[b"link_stat ", b"readlink_stat(", b"readlink "]) {
            path().map(|path| Self::Listing { path, is_itself: false })
        } else {
            None
        };
        meaning.unwrap_or(Self::Trouble)
    }
}

/// The path in quotes or in brackets, with rsync's `\#ooo` escapes undone.
pub(crate) fn quoted_path(line: &[u8]) -> Option<Vec<u8>> {
    let (open, close) = match line.iter().position(|&byte| byte == b'"') {
        Some(at) => (at, line.iter().rposition(|&byte| byte == b'"')?),
        None => (line.iter().position(|&byte| byte == b'(')?, line.iter().position(|&byte| byte == b')')?),
    };
    let mut rest = line.get(open + 1..close)?;
    let mut path = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        if let Some(value) = rest.get(..5).and_then(octal_escape) {
            path.push(value);
            rest = &rest[5..];
        } else {
            path.push(byte);
            rest = after;
        }
    }
    Some(path)
}

/// The byte that `\#ooo` stands for.
fn octal_escape(escape: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(escape.strip_prefix(b"\\#")?).ok()?;
    u8::from_str_radix(digits, 8).ok()
}

/// The path itself and what is left of it when parts are taken from the front, longest first.
pub(crate) fn suffixes(path: &[u8]) -> impl Iterator<Item = RelPath> {
    let starts =
        std::iter::once(0).chain(path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1));
    starts.filter_map(|at| RelPath::try_from(path.get(at..)?).ok()).filter(|path| !path.is_root())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::try_from(text).unwrap()
    }

    fn problems(text: &str, unsent: &[&str], dirs: &[&str]) -> Vec<(String, ProblemKind)> {
        let (mut stderr, frames) = (Messages::default(), Messages::default());
        stderr.feed(text.as_bytes());
        stderr.end_line(Severity::Other);
        let unsent: Vec<_> = unsent.iter().map(|p| path(p)).collect();
        let dirs = dirs.iter().map(|p| path(p)).collect();
        let found = super::problems(&[&stderr, &frames], &unsent, &dirs);
        found.into_iter().map(|problem| (problem.path.to_string(), problem.kind)).collect()
    }

    #[test]
    fn lines_of_all_versions() {
        let at = |path: &str, kind| vec![(path.to_owned(), kind)];
        for (text, expected) in [
            (
                "rsync: [sender] opendir \"/home/a/s/secret\" failed: Permission denied (13)",
                at("s/secret", ProblemKind::Unlisted),
            ),
            (
                "rsync: opendir \"/home/a/s/secret\" failed: Permission denied (13)\nrsync error: x",
                at("s/secret", ProblemKind::Unlisted),
            ),
            ("rsync: opendir \"/elsewhere\" failed: Permission denied (13)", at(".", ProblemKind::Unlisted)),
            (
                "rsync: [sender] readlink_stat(\"/home/a/s/x\") failed: Permission denied (13)",
                at("s/x", ProblemKind::Unlisted),
            ),
            ("rsync: [sender] what is this failed", at(".", ProblemKind::Unlisted)),
            ("some banner\nsent 1 bytes", vec![]),
            ("rsync warning: some files vanished before they could be transferred (code 24)", vec![]),
        ] {
            assert_eq!(problems(text, &[], &["s", "s/secret"]), expected, "{text}");
        }
        let unsent = &["s/f\n1"];
        let text = "file has vanished: \"/home/a/s/f\\#0121\"";
        assert_eq!(problems(text, unsent, &["s"]), at("s/f\\x0a1", ProblemKind::Vanished));
        let text = "rsync: [sender] send_files failed to open \"/home/a/s/f\\#0121\": Permission denied (13)";
        assert_eq!(problems(text, unsent, &["s"]), at("s/f\\x0a1", ProblemKind::Unreadable));
        assert_eq!(problems("", unsent, &["s"]), at("s/f\\x0a1", ProblemKind::Unreadable));
    }

    #[test]
    fn names_are_not_words() {
        let secret = "file has vanished: x";
        let text = format!("rsync: [sender] opendir \"/home/a/s/{secret}\" failed: Permission denied (13)");
        let expected = vec![(format!("s/{secret}"), ProblemKind::Unlisted)];
        assert_eq!(problems(&text, &[], &["s", &format!("s/{secret}")]), expected);
    }

    #[test]
    fn a_path_that_fits_twice_means_both() {
        let text = "rsync: [sender] opendir \"/home/al/private\" failed: Permission denied (13)";
        let found = problems(text, &[], &["private", "home/al/private", "al"]);
        assert_eq!(found.iter().map(|(path, _)| &path[..]).collect::<Vec<_>>(), ["home/al/private", "private"]);
    }

    #[test]
    fn an_error_that_is_not_understood_is_not_harmless() {
        let mut frames = Messages::default();
        frames.feed_frame(Severity::Error, b"cannot send long-named file x\n");
        assert_eq!(super::problems(&[&frames], &[], &HashSet::new()).len(), 1);
        let mut frames = Messages::default();
        frames.feed_frame(Severity::Other, b"sending incremental file list\n");
        assert_eq!(super::problems(&[&frames], &[], &HashSet::new()).len(), 0);
        let mut frames = Messages::default();
        frames.feed_frame(Severity::Other, b"file has vanished: \"/home/a/s/f\"\n");
        let found = super::problems(&[&Messages::default(), &frames], &[path("s/f")], &HashSet::from([path("s")]));
        assert_eq!(found[0].kind, ProblemKind::Vanished);
    }

    #[test]
    fn a_flood_is_bounded_and_not_harmless() {
        let mut messages = Messages::default();
        for _ in 0..=MAX_LINES {
            messages.feed(b"x\n");
        }
        messages.feed(&vec![b'y'; 10 * MAX_LINE]);
        assert!(messages.partial.len() <= MAX_LINE);
        assert_eq!(super::problems(&[&messages], &[], &HashSet::new()).len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn noise_never_panics(text: Vec<u8>, step in 1_usize..50) {
            let mut messages = Messages::default();
            text.chunks(step).for_each(|part| drop(messages.feed(part)));
            messages.end_line(Severity::Error);
            super::problems(&[&messages], &[path("a")], &HashSet::from([path("a"), path("b")]));
            let _ = (messages.text(), messages.reason());
        }
    }
}
