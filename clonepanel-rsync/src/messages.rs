//! [`Messages`]: what the far end says in words, and which paths it means.
//!
//! rsync reports trouble with single files only as text for a person, on its standard error or in message frames, and the
//! wording is stable over all versions. What cannot be understood is never taken as harmless.

use clonepanel_core::{
    path::RelPath,
    problem::{Problem, ProblemKind},
};

/// Lines that are kept; further ones make the listing incomplete.
const MAX_LINES: usize = 20_000;
const MAX_LINE: usize = 9 * 1024;

/// Collects the lines of one stream of text.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    partial: Vec<u8>,
    lines: Vec<Vec<u8>>,
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
                complete.extend(self.end_line());
            }
        }
        complete
    }

    /// Takes the text of a message frame, which may hold line ends of a name; gives the message that became complete.
    pub(crate) fn feed_frame(&mut self, text: &[u8]) -> Vec<Vec<u8>> {
        let room = MAX_LINE.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&text[..text.len().min(room)]);
        if text.ends_with(b"\n") { self.end_line().into_iter().collect() } else { Vec::new() }
    }

    /// The stream ended.
    pub(crate) fn end_line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.partial);
        let line = line.trim_ascii();
        if line.is_empty() {
            return None;
        }
        if self.lines.len() < MAX_LINES {
            self.lines.push(line.to_vec());
        } else {
            self.is_overfull = true;
        }
        Some(line.to_vec())
    }

    /// Everything that was said, escaped, one line each.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.iter().map(|line| clonepanel_core::escape::Escaped(line).to_string());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The line that says best why it ended: the last one that is not a summary.
    pub(crate) fn reason(&self) -> Option<String> {
        let is_summary = |line: &&Vec<u8>| line.starts_with(b"rsync error:") || line.starts_with(b"rsync warning:");
        let line = self.lines.iter().rfind(|line| !is_summary(line)).or_else(|| self.lines.last())?;
        let mut text = clonepanel_core::escape::Escaped(line).to_string();
        text.truncate(text.floor_char_boundary(300));
        Some(text)
    }

    /// What the lines say about single paths. `unsent` are the files that the far end refused to send; `is_dir` tells which
    /// directories were listed.
    pub(crate) fn problems(&self, unsent: &[RelPath], is_dir: impl Fn(&RelPath) -> bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut explained = std::collections::HashMap::new();
        let mut unknown = self.is_overfull.then(|| b"it reported too much to keep".to_vec());
        for line in &self.lines {
            match Meaning::of(line) {
                Meaning::Nothing => {}
                Meaning::Trouble => unknown = Some(line.clone()),
                Meaning::Content { path, kind } => {
                    if let Some(path) = suffixes(&path).find(|path| unsent.contains(path)) {
                        explained.insert(path, (kind, line));
                    }
                }
                Meaning::Listing { path, is_itself } => {
                    let at = suffixes(&path).find(|path| {
                        let place = if is_itself { Some(path.clone()) } else { path.parent() };
                        place.is_some_and(|place| !place.is_root() && is_dir(&place))
                    });
                    // A path that cannot be placed may be anywhere: nothing that is missing counts as deleted.
                    problems.push(Problem::new(at.unwrap_or_default(), ProblemKind::Unlisted, line));
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
    fn of(line: &[u8]) -> Self {
        let has = |words: &[u8]| line.windows(words.len()).any(|window| window == words);
        let path = || quoted_path(line);
        if has(b"file has vanished: ") {
            return path().map_or(Self::Nothing, |path| Self::Content { path, kind: ProblemKind::Vanished });
        }
        if !line.starts_with(b"rsync: ") {
            return Self::Nothing;
        }
        let meaning = if has(b"opendir ") || has(b"readdir(") || has(b"change_dir ") {
            path().map(|path| Self::Listing { path, is_itself: true })
        } else if has(b"send_files failed to open ") || has(b"read errors mapping ") {
            path().map(|path| Self::Content { path, kind: ProblemKind::Unreadable })
        } else if has(b"link_stat ") || has(b"readlink_stat(") || has(b"readlink ") {
            path().map(|path| Self::Listing { path, is_itself: false })
        } else {
            None
        };
        meaning.unwrap_or(Self::Trouble)
    }
}

/// The path in quotes or in brackets, with rsync's `\#ooo` escapes undone.
fn quoted_path(line: &[u8]) -> Option<Vec<u8>> {
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
fn suffixes(path: &[u8]) -> impl Iterator<Item = RelPath> {
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
        let mut messages = Messages::default();
        messages.feed(text.as_bytes());
        messages.end_line();
        let unsent: Vec<_> = unsent.iter().map(|p| path(p)).collect();
        let found = messages.problems(&unsent, |dir| dirs.iter().any(|d| *dir == path(d)));
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
    fn a_flood_is_bounded_and_not_harmless() {
        let mut messages = Messages::default();
        for _ in 0..=MAX_LINES {
            messages.feed(b"x\n");
        }
        messages.feed(&vec![b'y'; 10 * MAX_LINE]);
        assert!(messages.partial.len() <= MAX_LINE);
        assert_eq!(messages.problems(&[], |_| true).len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn noise_never_panics(text: Vec<u8>, step in 1_usize..50) {
            let mut messages = Messages::default();
            text.chunks(step).for_each(|part| drop(messages.feed(part)));
            messages.end_line();
            messages.problems(&[path("a")], |_| true);
            let _ = (messages.text(), messages.reason());
        }
    }
}
