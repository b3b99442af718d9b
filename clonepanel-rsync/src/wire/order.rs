//! The order of a file list: file indexes count in it, so both ends must agree on it to the byte.

use std::cmp::Ordering;

/// Compares two names of a list; `true` beside a name means that it is a directory.
///
/// Names are compared part by part. At each depth a part that has nothing below it (a file, or the root `.`) comes before
/// one that has (a directory, also as the way to something deeper); parts of one kind compare as bytes, those of
/// directories with a `/` appended. What runs out first is first.
pub(crate) fn compare((a, a_is_dir): (&[u8], bool), (b, b_is_dir): (&[u8], bool)) -> Ordering {
    let (mut a, mut b) = (
        Parts { rest: root_as_empty(a), is_dir: a_is_dir && a != b".", done: false },
        Parts { rest: root_as_empty(b), is_dir: b_is_dir && b != b".", done: false },
    );
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((a, a_deep)), Some((b, b_deep))) => {
                let by_kind = a_deep.cmp(&b_deep);
                let by_name = if a_deep { with_slash(a, b) } else { a.cmp(b) };
                match by_kind.then(by_name) {
                    Ordering::Equal => {}
                    unequal => return unequal,
                }
            }
        }
    }
}

fn root_as_empty(name: &[u8]) -> &[u8] {
    if name == b"." { b"" } else { name }
}

/// Compares as if a `/` stood behind both.
fn with_slash(a: &[u8], b: &[u8]) -> Ordering {
    let shared = a.len().min(b.len());
    let tail = |name: &[u8]| name.get(shared).copied().unwrap_or(b'/');
    a[..shared].cmp(&b[..shared]).then_with(|| tail(a).cmp(&tail(b))).then_with(|| a.len().cmp(&b.len()))
}

struct Parts<'a> {
    rest: &'a [u8],
    is_dir: bool,
    done: bool,
}

impl<'a> Iterator for Parts<'a> {
    /// A part, and whether it has something below it or is a directory itself.
    type Item = (&'a [u8], bool);

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.rest.iter().position(|&byte| byte == b'/') {
            Some(at) => {
                let part = &self.rest[..at];
                self.rest = &self.rest[at + 1..];
                Some((part, true))
            }
            None => {
                self.done = true;
                Some((self.rest, self.is_dir))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_before_directories_and_slash_counts() {
        let expected = [
            (".", true),
            ("b", false),
            ("z", false),
            ("a-", true),
            ("a-/x", false),
            ("a", true),
            ("a/b", false),
            ("a/c", true),
            ("a/c/d", false),
            ("a0", true),
        ];
        let mut sorted = expected;
        sorted.reverse();
        sorted.sort_by(|(a, a_dir), (b, b_dir)| compare((a.as_bytes(), *a_dir), (b.as_bytes(), *b_dir)));
        assert_eq!(sorted, expected);
    }
}
