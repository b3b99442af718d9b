//! Tokens of SQL text, as far as they are needed to see what a statement is without running it.

use std::ops::Range;

/// How quotes are read, which depends on the `sql_mode` that a statement was written under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Dialect {
    /// `ANSI_QUOTES`: double quotes are around names.
    pub(crate) ansi_quotes: bool,
    /// `NO_BACKSLASH_ESCAPES`: a backslash in a string is one.
    pub(crate) plain_backslashes: bool,
}

impl Dialect {
    /// What a `sql_mode` says about quotes.
    pub(crate) fn of_mode(sql_mode: &str) -> Self {
        let has = |mode| sql_mode.split(',').any(|word| word.eq_ignore_ascii_case(mode));
        Self { ansi_quotes: has("ANSI_QUOTES"), plain_backslashes: has("NO_BACKSLASH_ESCAPES") }
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name between quotes.
    Name,
    /// A string or a number.
    Value,
    /// Letters, digits, `_`, `$` and what is not ASCII, without quotes; also `@` in front.
    Word,
    /// A single other character.
    Symbol(u8),
}

/// A token and where it stands. Comments are none; what is in a comment that servers execute (`/*! … */`) are tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) at: Range<usize>,
}

/// A statement, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Statement<'a> {
    pub(crate) text: &'a str,
    pub(crate) tokens: Vec<Token>,
}

impl<'a> Statement<'a> {
    /// `None` when a quote or comment does not end, or there is a character that no statement has outside of quotes: a control
    /// character, or the backslash, with which the usual client begins commands of its own.
    pub(crate) fn read(text: &'a str, dialect: Dialect) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut tokens = Vec::new();
        let mut executed = false;
        let mut at = 0;
        while let Some(&first) = bytes.get(at) {
            let rest = &bytes[at..];
            let (kind, len) = match first {
                b' ' | b'\t' | b'\n' | b'\r' => (None, 1),
                b'#' => (None, line(rest)),
                b'-' if rest.starts_with(b"--") && rest.get(2).is_none_or(|b| b.is_ascii_whitespace()) => {
                    (None, line(rest))
                }
                b'*' if executed && rest.starts_with(b"*/") => {
                    executed = false;
                    (None, 2)
                }
                b'/' if rest.starts_with(b"/*!") || rest.starts_with(b"/*M!") => {
                    // One inside another is nothing that a server writes.
                    if std::mem::replace(&mut executed, true) {
                        return None;
                    }
                    let opener = if rest[2] == b'M' { 4 } else { 3 };
                    let version = rest[opener..].iter().take(6).take_while(|b| b.is_ascii_digit()).count();
                    (None, opener + version)
                }
                b'/' if rest.starts_with(b"/*") => (None, 4 + find(rest.get(2..)?, b"*/")?),
                b'\'' => (Some(Kind::Value), quoted(rest, !dialect.plain_backslashes)?),
                b'"' if dialect.ansi_quotes => (Some(Kind::Name), quoted(rest, false)?),
                b'"' => (Some(Kind::Value), quoted(rest, !dialect.plain_backslashes)?),
                b'`' => (Some(Kind::Name), quoted(rest, false)?),
                b'0'..=b'9' => (Some(Kind::Value), rest.iter().take_while(|&&b| is_word(b) || b == b'.').count()),
                b if is_word(b) || b == b'@' => {
                    (Some(Kind::Word), 1 + rest[1..].iter().take_while(|&&b| is_word(b)).count())
                }
                b'\\' => return None,
                b if b.is_ascii_control() => return None,
                b => (Some(Kind::Symbol(b)), 1),
            };
            tokens.extend(kind.map(|kind| Token { kind, at: at..at + len }));
            at += len;
        }
        (!executed && !tokens.is_empty()).then_some(Self { text, tokens })
    }

    /// The text of a token.
    pub(crate) fn part(&self, index: usize) -> &'a str {
        self.tokens.get(index).and_then(|token| self.text.get(token.at.clone())).unwrap_or_default()
    }

    /// Whether the token is this word, whatever its case.
    pub(crate) fn is_word(&self, index: usize, word: &str) -> bool {
        self.tokens.get(index).is_some_and(|token| token.kind == Kind::Word)
            && self.part(index).eq_ignore_ascii_case(word)
    }

    /// Whether the token is this character.
    pub(crate) fn is_symbol(&self, index: usize, symbol: u8) -> bool {
        self.tokens.get(index).is_some_and(|token| token.kind == Kind::Symbol(symbol))
    }

    /// Whether these words stand from `index` on.
    pub(crate) fn are_words(&self, index: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(offset, word)| self.is_word(index + offset, word))
    }

    /// The name that a token is: unquoted, or a bare word.
    pub(crate) fn name(&self, index: usize) -> Option<String> {
        let part = self.part(index);
        match self.tokens.get(index)?.kind {
            Kind::Word => Some(part.to_owned()),
            Kind::Name => {
                let quote = part.get(..1)?;
                Some(part.get(1..part.len() - 1)?.replace(&quote.repeat(2), quote))
            }
            _ => None,
        }
    }

    /// The index behind the bracket that closes the one at `index`.
    pub(crate) fn behind_brackets(&self, index: usize) -> Option<usize> {
        let mut depth = 0u32;
        for (at, token) in self.tokens.iter().enumerate().skip(index) {
            match token.kind {
                Kind::Symbol(b'(') => depth += 1,
                Kind::Symbol(b')') => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ if depth == 0 => return None,
                _ => {}
            }
        }
        None
    }

    /// Whether there is a semicolon outside of quotes.
    pub(crate) fn has_semicolon(&self) -> bool {
        self.tokens.iter().any(|token| token.kind == Kind::Symbol(b';'))
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80
}

fn line(text: &[u8]) -> usize {
    text.iter().position(|&b| b == b'\n').unwrap_or(text.len())
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// The length of what stands between quotes, with them; a doubled quote stands for itself.
fn quoted(text: &[u8], backslashes: bool) -> Option<usize> {
    let quote = *text.first()?;
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b'\\' if backslashes => at += 2,
            b if b == quote && text.get(at + 1) == Some(&quote) => at += 2,
            b if b == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<Vec<&str>> {
        let statement = Statement::read(text, Dialect::default())?;
        Some((0..statement.tokens.len()).map(|index| statement.part(index)).collect())
    }

    #[test]
    fn quotes_and_comments_hide() {
        assert_eq!(
            parts("select 'a;''\\'b' -- ; x\n, `c``;` /* ; */ from d.e # ;"),
            Some(vec!["select", "'a;''\\'b'", ",", "`c``;`", "from", "d", ".", "e"])
        );
        assert_eq!(parts("a--b"), Some(vec!["a", "-", "-", "b"]));
        assert_eq!(parts("x /*!50100 PARTITION BY */ y"), Some(vec!["x", "PARTITION", "BY", "y"]));
        assert_eq!(parts("x /*M!100301 a */"), Some(vec!["x", "a"]));
    }

    #[test]
    fn what_does_not_end_or_belong_is_refused() {
        for text in
            ["", "  ", "'a", "`a", "a /* b", "a /*! b", "a /*! /*! b */ */", "\\! id", "a \\q", "a\0b", "a\u{1b}[2J"]
        {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn modes_change_quotes() {
        let ansi = Dialect::of_mode("REAL_AS_FLOAT,ANSI_QUOTES,ANSI");
        let statement = Statement::read("create view \"a\"\"b\"", ansi).unwrap();
        assert_eq!(statement.name(2).as_deref(), Some("a\"b"));
        let plain = Dialect::of_mode("NO_BACKSLASH_ESCAPES");
        assert_eq!(Statement::read("'\\' ;", plain).map(|statement| statement.has_semicolon()), Some(true));
        assert!(Statement::read("'\\' ;", Dialect::default()).is_none());
    }

    #[test]
    fn brackets_are_matched() {
        let statement = Statement::read("f(a,(b),')')c", Dialect::default()).unwrap();
        assert_eq!(statement.behind_brackets(1).map(|at| statement.part(at)), Some("c"));
        assert_eq!(statement.behind_brackets(0), None);
    }
}
