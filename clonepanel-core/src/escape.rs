//! Showing bytes from outside: names, banners and peer messages never reach a terminal or a log unescaped.

use std::fmt;

/// Shows bytes as text that is safe on a terminal and can be turned back with [`unescape`].
///
/// Valid UTF-8 stands as it is, except for control characters (C0, DEL, C1), the characters that reorder or hide text
/// (bidirectional controls, zero-width characters, line separators) and the backslash itself; these, and every byte that
/// is not UTF-8, become `\xNN`.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if is_unsafe(c) {
                    let mut buffer = [0; 4];
                    write_hex(f, c.encode_utf8(&mut buffer).as_bytes())?;
                } else {
                    fmt::Write::write_char(f, c)?;
                }
            }
            write_hex(f, chunk.invalid())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Turns text made by [`Escaped`] back into bytes; `None` when an escape is malformed.
#[must_use]
pub fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&b| b == b'\\') {
        bytes.extend_from_slice(rest.get(..at)?);
        let [b'x', high, low] = *rest.get(at + 1..at + 4)? else { return None };
        bytes.push(u8::try_from(hex(high)? * 16 + hex(low)?).ok()?);
        rest = rest.get(at + 4..)?;
    }
    bytes.extend_from_slice(rest);
    Some(bytes)
}

/// Whether text is such as [`Escaped`] makes: nothing in it can harm a terminal.
pub(crate) fn is_harmless(text: &str) -> bool {
    text.chars().all(|c| c == '\\' || !is_unsafe(c))
}

fn is_unsafe(c: char) -> bool {
    c == '\\'
        || c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{061c}')
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

fn hex(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_harmless() {
        let shown = Escaped("a\x1b[2Jb\\c\u{202e}é\u{9b}".as_bytes()).to_string();
        assert_eq!(shown, "a\\x1b[2Jb\\x5cc\\xe2\\x80\\xaeé\\xc2\\x9b");
        assert_eq!(Escaped(b"\xff\xfe ok").to_string(), "\\xff\\xfe ok");
    }

    #[test]
    fn malformed_escapes_are_refused() {
        for text in ["\\", "\\x", "\\x4", "\\xzz", "\\n"] {
            assert_eq!(unescape(text.as_bytes()), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn escape_round_trips(bytes: Vec<u8>) {
            let shown = Escaped(&bytes).to_string();
            proptest::prop_assert_eq!(unescape(shown.as_bytes()), Some(bytes));
        }
    }
}
