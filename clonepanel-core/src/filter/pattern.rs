//! [`Pattern`]: rsync's wildcard patterns, compiled so that matching takes time in proportion to the text.
//!
//! A pattern is a row of byte sets, between which `*` and `**` loop. All its positions are followed at once, one bit each, so
//! that no text and no pattern makes it go back and try again.

/// What a path is compared with.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    dirs_only: bool,
    form: Form,
}

#[derive(Clone, PartialEq, Eq)]
enum Form {
    /// Without wildcards, from the root: the whole path.
    Anchored(Vec<u8>),
    /// Without wildcards: the whole last parts of the path.
    Suffix(Vec<u8>),
    Wild(Box<Wild>),
}

#[derive(Clone, PartialEq, Eq)]
struct Wild {
    start: Start,
    /// A `/` is put before the path, so that a leading `**/` matches at the root as well.
    slash_before: bool,
    /// A `/` is put behind a directory, so that a trailing `/***` matches the directory itself.
    slash_behind_dir: bool,
    positions: Positions,
}

/// Where in the path a match can begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// At the beginning and behind every `/`.
    AnyPart,
    /// So many parts before the end.
    LastParts(usize),
    /// At the beginning.
    Path,
}

/// A set of bytes, a bit each.
type Bytes256 = [u64; 4];

impl Pattern {
    pub(super) fn compile(text: &[u8]) -> Result<Self, &'static str> {
        let is_wild = text.iter().any(|b| b"*?[".contains(b));
        let double_star = text.windows(2).position(|pair| pair == b"**");
        let (text, dirs_only) = match text {
            [text @ .., b'/'] if !text.is_empty() => (text, true),
            _ => (text, false),
        };
        let (anchored, parts) = match text {
            [b'/', parts @ ..] => (true, parts),
            _ => (false, text),
        };
        if parts.is_empty() {
            return Err("it is empty");
        }
        let slashes = text.iter().filter(|&&b| b == b'/').count();
        let form = if is_wild {
            let slash_before = double_star == Some(0);
            let slash_behind_dir = text.ends_with(b"***");
            let start = match double_star {
                _ if anchored || slash_before => Start::Path,
                Some(_) => Start::AnyPart,
                None => Start::LastParts(slashes + 1),
            };
            let positions = Positions::compile(parts)?;
            Form::Wild(Box::new(Wild { start, slash_before, slash_behind_dir, positions }))
        } else if anchored {
            Form::Anchored(parts.to_vec())
        } else {
            Form::Suffix(parts.to_vec())
        };
        Ok(Self { dirs_only, form })
    }

    pub(super) fn matches(&self, path: &[u8], is_dir: bool) -> bool {
        if path.is_empty() || (self.dirs_only && !is_dir) {
            return false;
        }
        match &self.form {
            Form::Anchored(whole) => path == whole,
            Form::Suffix(parts) => path.strip_suffix(&parts[..]).is_some_and(|rest| matches!(rest, [] | [.., b'/'])),
            Form::Wild(wild) => wild.matches(path, is_dir),
        }
    }
}

impl Wild {
    fn matches(&self, path: &[u8], is_dir: bool) -> bool {
        let (text, restart) = match self.start {
            Start::Path => (path, false),
            Start::AnyPart => (path, true),
            Start::LastParts(parts) => {
                let mut slashes = path.iter().enumerate().rev().filter(|&(_, &b)| b == b'/');
                match slashes.nth(parts - 1) {
                    Some((at, _)) => (&path[at + 1..], false),
                    None if path.iter().filter(|&&b| b == b'/').count() + 1 == parts => (path, false),
                    None => return false,
                }
            }
        };
        let before: &[u8] = if self.slash_before { b"/" } else { b"" };
        let behind: &[u8] = if self.slash_behind_dir && is_dir { b"/" } else { b"" };
        self.positions.matches(before.iter().chain(text).chain(behind).copied(), restart)
    }
}

/// The positions of a pattern between its single bytes: bit `i` stands for "`i` of them were matched".
#[derive(Clone, PartialEq, Eq)]
struct Positions {
    count: usize,
    /// For each byte value, the positions from which it leads to the next one; `words` words each.
    steps: Vec<u64>,
    /// Positions at which any byte may pass.
    any: Vec<u64>,
    /// Positions at which any byte but `/` may pass.
    within_part: Vec<u64>,
}

impl Positions {
    fn compile(text: &[u8]) -> Result<Self, &'static str> {
        let words = text.len() / 64 + 1;
        let mut made = Self { count: 0, steps: vec![0; 256 * words], any: vec![0; words], within_part: vec![0; words] };
        let mut rest = text;
        while let [first, tail @ ..] = rest {
            rest = tail;
            let set = match first {
                b'*' => {
                    let more = rest.iter().take_while(|&&b| b == b'*').count();
                    rest = &rest[more..];
                    let looping = if more > 0 { &mut made.any } else { &mut made.within_part };
                    looping[made.count / 64] |= 1 << (made.count % 64);
                    continue;
                }
                b'?' => inverted(only(b'/')),
                b'[' => {
                    let (set, after) = class(rest)?;
                    rest = after;
                    set
                }
                b'\\' => {
                    let [literal, after @ ..] = rest else { return Err("nothing follows its last \\") };
                    rest = after;
                    only(*literal)
                }
                literal => only(*literal),
            };
            for byte in 0..=255_u8 {
                if contains(&set, byte) {
                    made.steps[usize::from(byte) * words + made.count / 64] |= 1 << (made.count % 64);
                }
            }
            made.count += 1;
        }
        Ok(made)
    }

    /// Whether all positions are passed when the text ends. With `restart`, a match may also begin behind any `/`.
    fn matches(&self, text: impl Iterator<Item = u8>, restart: bool) -> bool {
        let words = self.any.len();
        let mut at = vec![0_u64; words];
        at[0] = 1;
        for byte in text {
            let steps = &self.steps[usize::from(byte) * words..][..words];
            let mut carry = 0;
            let mut alive = 0;
            for word in 0..words {
                let now = at[word];
                let stepped = now & steps[word];
                let mut looping = self.any[word];
                if byte != b'/' {
                    looping |= self.within_part[word];
                }
                at[word] = stepped << 1 | carry | (now & looping);
                carry = stepped >> 63;
                alive |= at[word];
            }
            if restart && byte == b'/' {
                at[0] |= 1;
            } else if alive == 0 && !restart {
                return false;
            }
        }
        at[self.count / 64] >> (self.count % 64) & 1 == 1
    }
}

/// The set of a class, of which the `[` is already read, and what follows it. `/` is in no set.
fn class(text: &[u8]) -> Result<(Bytes256, &[u8]), &'static str> {
    const OPEN: &str = "a [ is not closed";
    let (negated, mut rest) = match text {
        [b'!' | b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut set = [0; 4];
    // The byte before, from which a range can begin.
    let mut previous = None;
    let mut first = true;
    loop {
        let [byte, tail @ ..] = rest else { return Err(OPEN) };
        rest = tail;
        match (byte, rest) {
            (b']', _) if !first => break,
            (b'\\', [literal, tail @ ..]) => {
                insert(&mut set, *literal..=*literal);
                (previous, rest) = (Some(*literal), tail);
            }
            (b'\\', []) => return Err(OPEN),
            (b'-', [end, tail @ ..]) if *end != b']' && previous.is_some() => {
                let (end, tail) = match (end, tail) {
                    (b'\\', [literal, tail @ ..]) => (*literal, tail),
                    (b'\\', []) => return Err(OPEN),
                    _ => (*end, tail),
                };
                insert(&mut set, previous.unwrap_or(end)..=end);
                (previous, rest) = (None, tail);
            }
            (b'[', [b':', tail @ ..]) => {
                let close = tail.iter().position(|&b| b == b']').ok_or(OPEN)?;
                match tail[..close].strip_suffix(b":") {
                    Some(name) => {
                        let holds = named(name).ok_or("it has an unknown [:class:]")?;
                        (0..=255).filter(holds).for_each(|byte| insert(&mut set, byte..=byte));
                        (previous, rest) = (None, &tail[close + 1..]);
                    }
                    None => {
                        insert(&mut set, b'['..=b'[');
                        previous = Some(b'[');
                    }
                }
            }
            (literal, _) => {
                insert(&mut set, *literal..=*literal);
                previous = Some(*literal);
            }
        }
        first = false;
    }
    let mut set = if negated { inverted(set) } else { set };
    set[0] &= !(1 << b'/');
    Ok((set, rest))
}

fn named(class: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match class {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |b| matches!(b, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |b| matches!(b, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |b| matches!(b, b' ' | b'\t'..=b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

fn only(byte: u8) -> Bytes256 {
    let mut set = [0; 4];
    insert(&mut set, byte..=byte);
    set
}

fn insert(set: &mut Bytes256, bytes: std::ops::RangeInclusive<u8>) {
    bytes.for_each(|byte| set[usize::from(byte / 64)] |= 1 << (byte % 64));
}

fn inverted(set: Bytes256) -> Bytes256 {
    set.map(|word| !word)
}

fn contains(set: &Bytes256, byte: u8) -> bool {
    set[usize::from(byte / 64)] >> (byte % 64) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str, is_dir: bool) -> bool {
        Pattern::compile(pattern.as_bytes()).unwrap().matches(path.as_bytes(), is_dir)
    }

    #[test]
    fn examples_of_the_manual() {
        for (pattern, yes, no) in [
            ("*.o", &["a.o", "b/c.o"][..], &["a.o/b", "o"][..]),
            ("/foo", &["foo"], &["a/foo", "foo/a"]),
            ("foo/bar", &["foo/bar", "a/foo/bar"], &["foo/bar/a", "xfoo/bar"]),
            ("/foo/*", &["foo/a"], &["foo", "foo/a/b", "a/foo/b"]),
            ("foo/*", &["foo/a", "x/foo/b"], &["foo", "foo/a/b"]),
            ("/foo/**", &["foo/a", "foo/a/b"], &["foo", "a/foo/b"]),
            ("**/foo", &["foo", "a/b/foo"], &["foo/a", "afoo"]),
            ("foo/**/bar", &["foo/a/bar", "foo/a/b/bar", "x/foo/a/bar"], &["foo/bar", "xfoo/a/bar"]),
            ("a?c", &["abc", "x/a-c"], &["ac", "a/c"]),
            ("[!a-c]x", &["dx"], &["ax", "/x"]),
            ("[[:digit:]_]", &["1", "_"], &["a"]),
            ("[]x]", &["]", "x"], &["a"]),
            ("a\\*", &["a*"], &["ab", "a\\*"]),
            ("a\\b", &["a\\b"], &["ab"]),
        ] {
            for path in yes {
                assert!(matches(pattern, path, false), "{pattern} {path}");
            }
            for path in no {
                assert!(!matches(pattern, path, false), "{pattern} {path}");
            }
        }
        assert!(matches("foo/***", "foo", true) && matches("foo/***", "x/foo/a/b", false));
        assert!(!matches("foo/***", "foo", false));
        assert!(matches("foo/", "a/foo", true) && !matches("foo/", "a/foo", false));
    }

    #[test]
    fn hostile_names_cost_no_more_than_others() {
        // Patterns of this kind take exponential time where they are matched by trying.
        let pattern = Pattern::compile("**a*".repeat(1000).as_bytes()).unwrap();
        let path = ["a".repeat(200).as_str(); 20].join("/");
        assert!(pattern.matches(format!("{path}{path}").as_bytes(), false));
        assert!(!pattern.matches(path.replace('a', "b").as_bytes(), false));
    }
}
