//! What a receiving far end says of single paths.
//!
//! It reports trouble only as text for a person. What cannot be understood is never taken as harmless.

use crate::messages::{Messages, Severity, quoted_path, suffixes};
use clonepanel_core::{
    path::RelPath,
    problem::{Problem, ProblemKind},
};
use std::collections::{BTreeMap, HashSet};

const LIMIT_REACHED: &[u8] = b"Deletions stopped ";
const NOT_DELETING: &[u8] = b"IO error encountered ";
/// Random letters at the end of a temporary name.
const RANDOM: usize = 6;

/// The problems that were told, one for each path.
pub(super) fn problems(said: &[&Messages], listed: &HashSet<&RelPath>) -> Vec<Problem> {
    let mut problems: BTreeMap<RelPath, Problem> = BTreeMap::new();
    for messages in said {
        if messages.is_overfull() {
            let detail = "the far end reported too much to keep";
            let problem = Problem::new(RelPath::root(), ProblemKind::Failed, detail);
            problems.entry(RelPath::root()).or_insert(problem);
        }
        for (severity, line) in messages.lines() {
            let Some(kind) = trouble(*severity, line) else { continue };
            let path = place(line, listed);
            problems.entry(path.clone()).or_insert_with(|| Problem::new(path, kind, line));
        }
    }
    problems.into_values().collect()
}

/// Whether the far end says that it would have had to delete more than it may, which its exit code tells only when nothing else
/// went wrong.
pub(super) fn reached_limit(said: &[&Messages]) -> bool {
    has_line(said, LIMIT_REACHED)
}

/// Whether the far end says that it deletes nothing since something failed.
pub(super) fn stopped_deletions(said: &[&Messages]) -> bool {
    has_line(said, NOT_DELETING)
}

fn has_line(said: &[&Messages], beginning: &[u8]) -> bool {
    said.iter().flat_map(|messages| messages.lines()).any(|(_, line)| line.starts_with(beginning))
}

/// What a line means, if it means trouble. Only how it begins counts: what comes later may be a name.
fn trouble(severity: Severity, line: &[u8]) -> Option<ProblemKind> {
    let begins = |words: &[&[u8]]| words.iter().any(|word| line.starts_with(word));
    if begins(&[b"skipping non-regular file ", b"skipping server-excluded "]) {
        return Some(ProblemKind::Refused);
    }
    if begins(&[b"rsync error: ", b"rsync warning: ", b"WARNING: ", b"*** Skipping ", LIMIT_REACHED]) {
        // Summaries, and a first try of two.
        return None;
    }
    if begins(&[b"rsync: ", b"ERROR: ", b"could not make way for ", b"symlink has no referent", b"file has vanished: "])
    {
        return Some(ProblemKind::Failed);
    }
    // A directory stays while it holds what is excluded, and that is as it should be.
    if begins(&[b"cannot delete non-empty directory: ", NOT_DELETING]) {
        return None;
    }
    (severity == Severity::Error).then_some(ProblemKind::Failed)
}

/// The entry that a line is about; the root when there is none that fits.
fn place(line: &[u8], listed: &HashSet<&RelPath>) -> RelPath {
    // Some put the path in quotes, some at the end, some before a colon.
    let whole = line.iter().position(|&byte| byte == b':').map(|at| line[at + 1..].trim_ascii());
    let before_words = line.strip_prefix(b"ERROR: ").and_then(|rest| {
        let words = rest.windows(2).rposition(|pair| pair == b" f")?;
        rest.get(..words)
    });
    let candidates = [quoted_path(line), before_words.map(<[u8]>::to_vec), whole.map(<[u8]>::to_vec)];
    let candidates = candidates.into_iter().flatten();
    let mut found = candidates.flat_map(|path| {
        let given = suffixes(&path).find(|path| listed.contains(path));
        given.or_else(|| suffixes(&path).filter_map(|path| final_name(&path)).find(|path| listed.contains(path)))
    });
    found.next().unwrap_or_default()
}

/// The name that a temporary file gets in the end: `.NAME.XXXXXX` becomes `NAME`.
fn final_name(path: &RelPath) -> Option<RelPath> {
    let name = path.name().strip_prefix(b".")?;
    let dot = name.len().checked_sub(RANDOM + 1)?;
    let last = RelPath::new(name.get(..dot).filter(|_| name[dot] == b'.')?.to_vec()).ok()?;
    path.parent()?.join(&last).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_about_deletions() {
        for (line, is_limit, is_stop) in [
            ("Deletions stopped due to --max-delete limit (2 skipped)\n", true, false),
            ("IO error encountered -- skipping file deletion\n", false, true),
            ("rsync: mkstemp \"/a/IO error encountered \" failed: Permission denied (13)\n", false, false),
        ] {
            let mut frames = Messages::default();
            frames.feed_frame(Severity::Other, line.as_bytes());
            let said = [&Messages::default(), &frames];
            assert_eq!((reached_limit(&said), stopped_deletions(&said)), (is_limit, is_stop), "{line}");
        }
    }
}
