//! Values as SQL literals: written from what the server sends, and recognised again in files from anywhere.

use super::charset::Charset;

/// How the values of a column are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// Bytes as digits: `BINARY`, `BLOB`, `BIT`, `GEOMETRY`, `VECTOR`.
    Binary,
    /// A word of a list, in the column's character set; the empty one is the invalid value, whose number is 0.
    Enumerated(Charset),
    /// A floating-point number, always with an exponent so that no server reads it as a decimal.
    Float,
    /// Digits as the server writes them: integers, decimals, years.
    Number,
    /// ASCII between quotes: dates and times, UUIDs, addresses.
    Plain,
    /// Text in a character set.
    Text(Charset),
}

/// A value is not what its column's type allows: the server is not what it claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadValue;

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

impl Form {
    /// Appends a value as a literal; `None` is `NULL`.
    pub(crate) fn write(&self, value: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), BadValue> {
        let Some(value) = value else {
            out.extend_from_slice(b"NULL");
            return Ok(());
        };
        match self {
            Self::Binary => binary(value, out),
            Self::Enumerated(_) if value.is_empty() => out.push(b'0'),
            Self::Enumerated(charset) | Self::Text(charset) => text(charset, value, out),
            Self::Float => {
                check(value, |b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E'))?;
                out.extend_from_slice(value);
                if !value.iter().any(|b| matches!(b, b'e' | b'E')) {
                    out.extend_from_slice(b"e0");
                }
            }
            Self::Number => {
                check(value, |b| b.is_ascii_digit() || matches!(b, b'-' | b'.'))?;
                out.extend_from_slice(value);
            }
            Self::Plain => {
                check(value, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.' | b':' | b' '))?;
                out.push(b'\'');
                out.extend_from_slice(value);
                out.push(b'\'');
            }
        }
        Ok(())
    }
}

fn check(value: &[u8], good: impl Fn(u8) -> bool) -> Result<(), BadValue> {
    // Two dashes would begin a comment.
    let fine = !value.is_empty() && value.iter().all(|&b| good(b)) && !value.windows(2).any(|pair| pair == b"--");
    if fine { Ok(()) } else { Err(BadValue) }
}

fn binary(value: &[u8], out: &mut Vec<u8>) {
    if value.is_empty() {
        out.extend_from_slice(b"''");
    } else {
        hex(value, out);
    }
}

fn hex(value: &[u8], out: &mut Vec<u8>) {
    out.reserve(2 + 2 * value.len());
    out.extend_from_slice(b"0x");
    for byte in value {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

fn text(charset: &Charset, value: &[u8], out: &mut Vec<u8>) {
    let ascii = value.is_ascii();
    let readable = match charset {
        _ if value.contains(&0) => false,
        Charset::Utf8 { .. } | Charset::SingleByte { .. } => ascii || std::str::from_utf8(value).is_ok(),
        Charset::Other { .. } => value.is_empty(),
    };
    let plain = readable && (ascii || matches!(charset, Charset::Utf8 { .. }));
    if !plain {
        out.push(b'_');
        out.extend_from_slice(charset.name().as_bytes());
        out.push(b' ');
    }
    if readable { quoted(value, out) } else { hex(value, out) }
}

fn quoted(value: &[u8], out: &mut Vec<u8>) {
    out.reserve(value.len() + 2);
    out.push(b'\'');
    let mut rest = value;
    while let Some(at) = first_special(rest) {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before);
        out.push(b'\\');
        out.push(match from[0] {
            b'\n' => b'n',
            b'\r' => b'r',
            0x1a => b'Z',
            other => other,
        });
        rest = &from[1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
}

/// Where the first byte stands that a string cannot have as it is. Most text has none for long: looked at in pieces of a fixed
/// length, without a decision at each byte, it is several times as fast.
fn first_special(text: &[u8]) -> Option<usize> {
    let is_special = |b: u8| (b == b'\\') | (b == b'\'') | (b == b'\n') | (b == b'\r') | (b == 0x1a);
    let (pieces, rest) = text.as_chunks::<32>();
    let clean = pieces.iter().take_while(|piece| !piece.iter().fold(false, |any, &b| any | is_special(b))).count();
    let from = clean * 32;
    let ahead = if clean < pieces.len() { &text[from..] } else { rest };
    ahead.iter().position(|&b| is_special(b)).map(|at| from + at)
}

/// The length of the literal that `text` begins with: `NULL`, a number, digits in hexadecimal, or a string, the last two with
/// or without an introducer. `None` when it begins with anything else or goes on past the end.
pub(crate) fn scan(text: &[u8]) -> Option<usize> {
    match *text.first()? {
        b'N' => text.starts_with(b"NULL").then_some(4),
        b'\'' => string(text),
        b'_' => {
            let name =
                text.iter().skip(1).take(33).take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit()).count();
            let rest = text.get(1 + name..)?.strip_prefix(b" ").filter(|_| name > 0)?;
            let value = if rest.starts_with(b"'") { string(rest) } else { hexadecimal(rest) };
            Some(name + 2 + value?)
        }
        b'0' if text.get(1) == Some(&b'x') => hexadecimal(text),
        _ => number(text),
    }
}

fn string(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text.get(at..)?.iter().position(|b| matches!(b, b'\\' | b'\'' | b'\n'))?;
        match text[at] {
            b'\'' => return Some(at + 1),
            // A line break inside would be a row of two lines.
            b'\n' => return None,
            _ => at += 2,
        }
    }
}

fn hexadecimal(text: &[u8]) -> Option<usize> {
    let digits = text.strip_prefix(b"0x")?.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    (digits > 0).then_some(digits + 2)
}

fn number(text: &[u8]) -> Option<usize> {
    let sign = usize::from(text.starts_with(b"-"));
    let digits = |from: usize| text.get(from..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(sign);
    let mut at = sign + whole;
    let mut fraction = 0;
    if text.get(at) == Some(&b'.') {
        fraction = digits(at + 1);
        at += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let signed = usize::from(matches!(text.get(at + 1), Some(b'-' | b'+')));
        let exponent = digits(at + 1 + signed);
        at += (exponent > 0).then_some(1 + signed + exponent)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(form: &Form, value: &[u8]) -> String {
        let mut out = Vec::new();
        form.write(Some(value), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn text_in(charset: &str) -> Form {
        Form::Text(Charset::named(charset).unwrap())
    }

    proptest! {
        #[test]
        fn what_needs_an_escape_is_found_anywhere(before in 0usize..100, special in 0usize..6, after in 0usize..100) {
            let mut text = vec![b'x'; before];
            text.extend(b"\\'\n\r\x1a".get(special));
            text.extend(vec![b'\''; after]);
            let expected = text.iter().position(|b| b"\\'\n\r\x1a".contains(b));
            prop_assert_eq!(first_special(&text), expected);
        }
    }

    #[test]
    fn every_form_has_its_literal() {
        let enumerated = Form::Enumerated(Charset::named("utf8mb4").unwrap());
        for (form, value, literal) in [
            (Form::Binary, &b"\x00\xff"[..], "0x00FF"),
            (Form::Binary, b"", "''"),
            (enumerated.clone(), b"", "0"),
            (enumerated, b"a'b", "'a\\'b'"),
            (Form::Float, b"-0", "-0e0"),
            (Form::Float, b"5e-324", "5e-324"),
            (Form::Float, b"1.25", "1.25e0"),
            (Form::Number, b"-12.50", "-12.50"),
            (Form::Plain, b"0000-00-00 00:00:00", "'0000-00-00 00:00:00'"),
            (text_in("utf8mb4"), "é😀\n\r\\\x1a".as_bytes(), "'é😀\\n\\r\\\\\\Z'"),
            (text_in("utf8mb4"), b"a\0", "_utf8mb4 0x6100"),
            (text_in("utf8mb3"), b"\xff", "_utf8mb3 0xFF"),
            (text_in("latin1"), b"plain", "'plain'"),
            (text_in("latin1"), "é".as_bytes(), "_latin1 'é'"),
            (text_in("latin1"), b"\xe9", "_latin1 0xE9"),
            (text_in("utf16"), b"\0a", "_utf16 0x0061"),
            (text_in("gbk"), b"abc", "_gbk 0x616263"),
            (text_in("gbk"), b"", "''"),
        ] {
            assert_eq!(written(&form, value), literal, "{form:?}");
        }
    }

    #[test]
    fn a_server_that_sends_something_else_is_found_out() {
        for (form, value) in [
            (Form::Number, &b"1;DROP TABLE t"[..]),
            (Form::Number, b""),
            (Form::Number, b"1--1"),
            (Form::Float, b"nan(1)"),
            (Form::Plain, b"2024-01-01'"),
            (Form::Plain, b"a\\"),
        ] {
            assert_eq!(form.write(Some(value), &mut Vec::new()), Err(BadValue));
        }
    }

    #[test]
    fn nothing_but_a_literal_is_one() {
        for text in [
            "",
            "N",
            "null",
            "'",
            "'a",
            "'a\\'",
            "'a\n'",
            "_latin1",
            "_latin1 ",
            "_latin1 5",
            "_ 'a'",
            "_latin1'a'",
            "0x",
            "x'41'",
            "-",
            ".",
            "-e5",
            "1e",
            "SELECT 1",
            "(1)",
            "@a",
            "b'1'",
            "`a`",
            "\"a\"",
            "sleep(1)",
        ] {
            assert!(scan(text.as_bytes()).is_none_or(|len| len < text.len()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_recognised(value: Vec<u8>, charset in prop::sample::select(vec!["utf8mb4", "latin1", "gbk", "utf16"])) {
            for form in [Form::Binary, text_in(charset), Form::Enumerated(Charset::named(charset).unwrap())] {
                let mut out = Vec::new();
                form.write(Some(&value), &mut out).unwrap();
                let len = out.len();
                prop_assert!(!out.contains(&b'\n'));
                prop_assert!(std::str::from_utf8(&out).is_ok(), "a file stays readable");
                out.extend_from_slice(b",'x')");
                prop_assert_eq!(scan(&out), Some(len));
            }
        }

        #[test]
        fn floats_are_recognised(value: f64) {
            prop_assume!(value.is_finite());
            let mut out = Vec::new();
            Form::Float.write(Some(format!("{value:?}").as_bytes()), &mut out).unwrap();
            prop_assert_eq!(scan(&out), Some(out.len()));
            prop_assert_eq!(std::str::from_utf8(&out).unwrap().parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }
}
