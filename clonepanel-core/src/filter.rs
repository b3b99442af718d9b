//! [`Filter`]: which paths are left out, by rsync's pattern rules.

use crate::path::RelPath;

/// An ordered list of rules; the first one that matches decides, and what no rule matches is included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {}

impl Filter {
    /// The rules, first to last.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether the path itself is excluded; its parents are not looked at.
    #[must_use]
    pub fn excludes(&self, _path: &RelPath, _is_dir: bool) -> bool {
        false
    }

    /// Whether the path or a directory that leads to it is excluded.
    #[must_use]
    pub fn excludes_with_parents(&self, path: &RelPath, is_dir: bool) -> bool {
        self.excludes(path, is_dir)
    }
}
