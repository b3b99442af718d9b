//! The fields of a line: numbers, times and text, each with exactly one way to be written.

use crate::{digest::ContentHash, escape, time::Timestamp};
use bytes::Bytes;

pub(super) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

pub(super) fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || (text.len() > 1 && text[0] == b'0') {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, &b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

pub(super) fn parse_decimal_u32(text: &[u8]) -> Option<u32> {
    parse_decimal(text)?.try_into().ok()
}

/// Permission bits: four octal digits.
pub(super) fn push_mode(out: &mut Vec<u8>, mode: u32) {
    for shift in [9, 6, 3, 0] {
        out.push(b'0' + u8::try_from(mode >> shift & 7).unwrap_or_default());
    }
}

pub(super) fn parse_mode(text: &[u8]) -> Option<u32> {
    if text.len() != 4 {
        return None;
    }
    text.iter().try_fold(0, |sum, &b| matches!(b, b'0'..=b'7').then(|| sum << 3 | u32::from(b - b'0')))
}

/// Seconds, rounded down, and nine digits of fraction unless they are zero.
pub(super) fn push_time(out: &mut Vec<u8>, time: Timestamp) {
    if time.secs() < 0 {
        out.push(b'-');
    }
    push_decimal(out, time.secs().unsigned_abs());
    if time.nanos() > 0 {
        out.push(b'.');
        let mut rest = time.nanos();
        let mut digits = [b'0'; 9];
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

pub(super) fn parse_time(text: &[u8]) -> Option<Timestamp> {
    let (secs, nanos) = match text.iter().position(|&b| b == b'.') {
        None => (text, 0),
        Some(dot) => {
            let fraction = text.get(dot + 1..).filter(|fraction| fraction.len() == 9)?;
            let nanos =
                fraction.iter().try_fold(0, |sum, &b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))?;
            (text.get(..dot)?, Some(nanos).filter(|&nanos| nanos > 0)?)
        }
    };
    let secs = match secs.strip_prefix(b"-") {
        None => parse_decimal(secs)?.try_into().ok()?,
        Some(secs) => 0_i64.checked_sub_unsigned(parse_decimal(secs).filter(|&secs| secs > 0)?)?,
    };
    Some(Timestamp::new(secs, nanos))
}

/// Text that stands as it is: printable ASCII without space and backslash.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|&b| b.is_ascii_graphic() && b != b'\\')
}

/// Bytes from outside, escaped so that they are one field.
pub(super) fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text) {
        out.extend_from_slice(text);
        return;
    }
    for &b in escape::Escaped(text).to_string().as_bytes() {
        if b == b' ' { out.extend_from_slice(b"\\x20") } else { out.push(b) }
    }
}

pub(super) fn parse_text(field: &[u8]) -> Option<Bytes> {
    if field.is_empty() {
        return None;
    }
    if is_plain(field) {
        return Some(Bytes::copy_from_slice(field));
    }
    let text = escape::unescape(field)?;
    let mut again = Vec::with_capacity(field.len());
    push_text(&mut again, &text);
    (again == field).then(|| text.into())
}

pub(super) fn push_hash(out: &mut Vec<u8>, hash: &ContentHash) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &b in hash.as_bytes() {
        out.extend_from_slice(&[DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]);
    }
}

pub(super) fn parse_hash(text: &[u8]) -> Option<ContentHash> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    if text.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(ContentHash::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_way_to_write_a_number() {
        for bad in ["", "00", "01", "+1", "-1", "1 ", "18446744073709551616", "1a"] {
            assert_eq!(parse_decimal(bad.as_bytes()), None, "{bad:?}");
        }
        for bad in ["-0", "1.", "1.5", "1.000000000", "1.1234567890", "--1", "9223372036854775808", ".123456789"] {
            assert_eq!(parse_time(bad.as_bytes()), None, "{bad:?}");
        }
        for bad in ["644", "00644", "0684", "-644"] {
            assert_eq!(parse_mode(bad.as_bytes()), None, "{bad:?}");
        }
        for bad in ["", "\\", "\\x41", "\\x2F", "a b", "\\x5C", "\u{1}", "\\xc3\\xa9"] {
            assert_eq!(parse_text(bad.as_bytes()), None, "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn fields_round_trip(number: u64, secs: i64, nanos in 0_u32..1_000_000_000, mode in 0_u32..0o10000, hash: [u8; 32],
                             text in proptest::collection::vec(proptest::num::u8::ANY, 1..50)) {
            let written = |push: &dyn Fn(&mut Vec<u8>)| { let mut out = Vec::new(); push(&mut out); out };
            proptest::prop_assert_eq!(parse_decimal(&written(&|out| push_decimal(out, number))), Some(number));
            let time = Timestamp::new(secs, nanos);
            proptest::prop_assert_eq!(parse_time(&written(&|out| push_time(out, time))), Some(time));
            proptest::prop_assert_eq!(parse_mode(&written(&|out| push_mode(out, mode))), Some(mode));
            let hash = ContentHash::new(hash);
            proptest::prop_assert_eq!(parse_hash(&written(&|out| push_hash(out, &hash))), Some(hash));
            let field = written(&|out| push_text(out, &text));
            proptest::prop_assert!(!field.contains(&b' ') && !field.contains(&b'\n'));
            proptest::prop_assert_eq!(parse_text(&field), Some(text.into()));
        }
    }
}
