//! [`Filter`]: which paths are left out, by rsync's pattern rules.
//!
//! A rule is a pattern, with `- ` (leave out) or `+ ` (keep) before it; a pattern alone leaves out. The rules are those of
//! rsync's manual:
//!
//! - without a `/` (but for one at its end) a pattern is compared with the last part of a path; with one, with as many last parts
//!   as it has itself; with a `/` at its beginning, with the whole path from the root of the transfer;
//! - `*` is any run of bytes but `/`, `**` any run at all, `?` one byte but `/`, `[a-z]` or `[[:digit:]]` one of a set (`[!…]`
//!   and `[^…]` none of it), `\` takes what follows literally in a pattern that has any of these;
//! - with a `**` inside, it may begin behind any `/`; `dir/***` is the directory and all that is in it;
//! - with a `/` at its end it is for directories only.
//!
//! The first rule that matches decides; nothing below a directory that is left out is looked at.

mod pattern;
mod rule;

pub use rule::{Action, FilterError, Rule};

use crate::path::RelPath;

/// An ordered list of rules; the first one that matches decides, and what no rule matches is included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    rules: Vec<Rule>,
}

impl Filter {
    /// The rules, first to last.
    #[must_use]
    pub const fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// Reads rules, first to last.
    ///
    /// # Errors
    /// [`FilterError`] of the first rule that is not one.
    pub fn parse<T: AsRef<[u8]>>(rules: impl IntoIterator<Item = T>) -> Result<Self, FilterError> {
        rules.into_iter().map(Rule::parse).collect::<Result<_, _>>().map(Self::new)
    }

    /// The rules, first to last.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether the path itself is excluded; its parents are not looked at. The root never is.
    #[must_use]
    pub fn excludes(&self, path: &RelPath, is_dir: bool) -> bool {
        self.excludes_bytes(path.as_bytes(), is_dir)
    }

    /// Whether the path or a directory that leads to it is excluded.
    #[must_use]
    pub fn excludes_with_parents(&self, path: &RelPath, is_dir: bool) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let bytes = path.as_bytes();
        let mut slashes = bytes.iter().enumerate().filter(|&(_, &b)| b == b'/');
        slashes.any(|(at, _)| self.excludes_bytes(&bytes[..at], true)) || self.excludes_bytes(bytes, is_dir)
    }

    fn excludes_bytes(&self, path: &[u8], is_dir: bool) -> bool {
        let decides = self.rules.iter().find(|rule| rule.matches_bytes(path, is_dir));
        decides.is_some_and(|rule| rule.action() == Action::Exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::try_from(text).unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let filter = Filter::parse(["+ keep.tmp", "*.tmp", "- /cache/"]).unwrap();
        for (at, is_dir, excluded) in [
            ("a/b.tmp", false, true),
            ("a/keep.tmp", false, false),
            ("cache", true, true),
            ("cache", false, false),
            ("a/cache", true, false),
            ("", true, false),
        ] {
            assert_eq!(filter.excludes(&path(at), is_dir), excluded, "{at}");
        }
    }

    #[test]
    fn what_is_below_an_excluded_directory_is_excluded() {
        let filter = Filter::parse(["+ *.html", "cache/"]).unwrap();
        assert!(!filter.excludes(&path("cache/x"), false));
        assert!(filter.excludes_with_parents(&path("a/cache/b/x.html"), false));
        assert!(!filter.excludes_with_parents(&path("a/cache"), false));
    }
}
