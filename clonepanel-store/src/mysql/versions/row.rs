//! [`Row`]: a line of a file of rows, taken apart.

use super::super::format::literal;

/// The literals of a row, in the order of columns.
pub(super) type Row = Vec<Box<[u8]>>;

/// Takes a row apart, as `(…)`.
pub(super) fn values(line: &[u8]) -> Row {
    let mut values = Vec::new();
    let mut rest = line.strip_prefix(b"(").unwrap_or_default();
    while let Some(len) = literal::scan(rest) {
        let (value, more) = rest.split_at(len);
        values.push(value.into());
        rest = more.strip_prefix(b",").unwrap_or_default();
    }
    values
}

/// Whether a literal is what a person has typed: the literal itself, or the text that it stands for.
pub(super) fn is_typed(value: &[u8], typed: &str) -> bool {
    let bare = match value.strip_prefix(b"_") {
        // Behind the name of a character set.
        Some(named) => named.splitn(2, |&b| b == b' ').nth(1).unwrap_or_default(),
        None => value,
    };
    if bare == typed.as_bytes() || (bare.starts_with(b"0x") && bare.eq_ignore_ascii_case(typed.as_bytes())) {
        return true;
    }
    bare.strip_prefix(b"'")
        .and_then(|rest| rest.strip_suffix(b"'"))
        .is_some_and(|text| unescaped(text) == typed.as_bytes())
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b'Z') => 0x1a,
                Some(&other) => other,
                None => b'\\',
            },
            byte => byte,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_taken_apart() {
        let row = values(b"(1,'a,b\\'c',NULL,0xFF,_latin1 'x',-1.5e0)");
        let row: Vec<_> = row.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        assert_eq!(row, ["1", "'a,b\\'c'", "NULL", "0xFF", "_latin1 'x'", "-1.5e0"]);
        assert_eq!(values(b"()"), Row::new());
    }

    #[test]
    fn keys_are_typed_as_people_read_them() {
        for (value, typed) in [
            ("1", "1"),
            ("'it\\'s'", "it's"),
            ("'it\\'s'", "'it\\'s'"),
            ("'a\\nb\\\\'", "a\nb\\"),
            ("_latin1 'x'", "x"),
            ("0xFF0A", "0xff0a"),
            ("_latin1 0xE9", "0xE9"),
            ("NULL", "NULL"),
        ] {
            assert!(is_typed(value.as_bytes(), typed), "{value} {typed}");
        }
        for (value, typed) in [("1", "01"), ("'NULL'", "null"), ("'x'", "'x"), ("NULL", "")] {
            assert!(!is_typed(value.as_bytes(), typed), "{value} {typed}");
        }
    }
}
