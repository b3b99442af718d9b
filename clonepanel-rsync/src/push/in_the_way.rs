//! What stands in the way: directories of a far end that would have to make way for something else although not all that is in
//! them may go.
//!
//! rsync empties such a directory, whatever its rules keep. So what would take its place is not sent, and the place is kept.

use super::Collected;
use clonepanel_core::{
    path::RelPath,
    problem::{Problem, ProblemKind},
    transport::PushRequest,
};
use std::collections::{BTreeSet, HashMap};

/// The places where the source lists another kind of thing than the far end has, and where the filter keeps something there.
/// `far` has every entry there, and whether it is a directory.
pub(crate) fn places(request: &PushRequest, collected: &Collected, far: &HashMap<RelPath, bool>) -> BTreeSet<RelPath> {
    let mut places = BTreeSet::new();
    for (path, &is_dir) in far {
        if !request.wanted_filter().excludes_with_parents(path, is_dir) {
            continue;
        }
        if collected.lists_other_kind(path, is_dir) {
            places.insert(path.clone());
        }
        let above = std::iter::successors(path.parent(), RelPath::parent);
        places.extend(above.filter(|dir| collected.lists_other_kind(dir, true)));
    }
    places
}

/// Whether a path is one of these places or below one.
pub(crate) fn is_within(path: &RelPath, places: &BTreeSet<RelPath>) -> bool {
    std::iter::successors(Some(path.clone()), RelPath::parent).any(|path| places.contains(&path))
}

/// What is told of such a place.
pub(crate) fn problem(place: &RelPath) -> Problem {
    let detail = "something excluded is in its place there, which would have had to go: nothing was changed";
    Problem::new(place.clone(), ProblemKind::Refused, detail)
}

/// The rule that keeps a place as it is.
pub(crate) fn rule(place: &RelPath) -> Vec<u8> {
    let path = place.as_bytes();
    let mut rule = b"- /".to_vec();
    // Without a wildcard, a backslash is an ordinary byte.
    let is_pattern = path.iter().any(|byte| b"*?[".contains(byte));
    for &byte in path {
        if is_pattern && b"*?[\\".contains(&byte) {
            rule.push(b'\\');
        }
        rule.push(byte);
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_means_one_path() {
        for (text, expected) in [("a/b", "- /a/b"), ("a\\b", "- /a\\b"), ("a\\[*?", "- /a\\\\\\[\\*\\?")] {
            let place = RelPath::try_from(text).unwrap();
            let text = rule(&place);
            assert_eq!(text, expected.as_bytes());
            let parsed = clonepanel_core::filter::Rule::parse(text).unwrap();
            assert!(parsed.matches(&place, false) && !parsed.matches(&RelPath::try_from("a/a\\bb").unwrap(), false));
        }
    }
}
