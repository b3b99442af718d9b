//! [`Rule`]: one pattern and what it does.

use super::pattern::Pattern;
use crate::{
    escape::Escaped,
    path::{MAX_PATH_LEN, RelPath},
};
use std::fmt;

/// One rule: a pattern, and whether what it matches is left out or kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Rule {
    action: Action,
    text: Vec<u8>,
    pattern: Pattern,
}

/// What a rule does with a path that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Action {
    /// Leaves it out.
    Exclude,
    /// Keeps it, whatever later rules say.
    Include,
}

/// Why text is not a [`Rule`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a filter rule: {why}", Escaped(.text))]
pub struct FilterError {
    text: Vec<u8>,
    why: &'static str,
}

impl Rule {
    /// Reads `pattern` or `- pattern` (leave out) or `+ pattern` (keep).
    ///
    /// # Errors
    /// [`FilterError`] for an empty or overlong pattern, one with a NUL byte, and those that rsync takes but that can never
    /// match: an unfinished `[` or one with an unknown class, a `\` at the end, a lone `/`. A lone `!`, which empties rsync's
    /// list, is refused as well.
    pub fn parse(rule: impl AsRef<[u8]>) -> Result<Self, FilterError> {
        let text = rule.as_ref();
        let (action, pattern) = match text {
            [b'-', b' ', pattern @ ..] => (Action::Exclude, pattern),
            [b'+', b' ', pattern @ ..] => (Action::Include, pattern),
            pattern => (Action::Exclude, pattern),
        };
        let bad = |why| FilterError { text: text.to_vec(), why };
        if text == b"!" {
            return Err(bad("rules cannot be taken back"));
        }
        if pattern.contains(&0) {
            return Err(bad("it has a NUL byte"));
        }
        if pattern.len() > MAX_PATH_LEN {
            return Err(bad("it is longer than any path"));
        }
        Ok(Self { action, text: pattern.to_vec(), pattern: Pattern::compile(pattern).map_err(bad)? })
    }

    /// What it does with what it matches.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.action
    }

    /// The pattern, as it was written.
    #[must_use]
    pub fn pattern(&self) -> &[u8] {
        &self.text
    }

    /// The rule as rsync's filter list has it: `- pattern` or `+ pattern`.
    #[must_use]
    pub fn wire(&self) -> Vec<u8> {
        let sign: &[u8] = match self.action {
            Action::Exclude => b"- ",
            Action::Include => b"+ ",
        };
        [sign, &self.text].concat()
    }

    /// Whether the pattern matches a path. The root is never matched.
    #[must_use]
    pub fn matches(&self, path: &RelPath, is_dir: bool) -> bool {
        self.matches_bytes(path.as_bytes(), is_dir)
    }

    pub(super) fn matches_bytes(&self, path: &[u8], is_dir: bool) -> bool {
        self.pattern.matches(path, is_dir)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.wire()).fmt(f)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Escaped(&self.wire()), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_match_is_refused() {
        for bad in ["", "- ", "/", "!", "a[", "a[b", "[[:nonsense:]]", "*\\", "a\0", "[a\\", &"x".repeat(4096)] {
            assert!(Rule::parse(bad).is_err(), "{bad}");
        }
        let error = Rule::parse("a[\x1b").unwrap_err().to_string();
        assert_eq!(error, "a[\\x1b is not a filter rule: a [ is not closed");
    }

    #[test]
    fn rules_go_to_the_wire_with_their_sign() {
        for (rule, wire) in
            [("*.tmp", "- *.tmp"), ("- /a/", "- /a/"), ("+ ***", "+ ***"), ("-x", "- -x"), ("+  ", "+  ")]
        {
            assert_eq!(Rule::parse(rule).unwrap().wire(), wire.as_bytes());
        }
    }
}
