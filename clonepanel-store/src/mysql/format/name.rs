//! Names of tables and other objects, as they stand in SQL and as they stand in a file name.

use std::fmt::Write as _;

/// The longest name that a server gives to anything: 64 characters of four bytes.
pub(crate) const MAX_NAME_LEN: usize = 256;

/// The longest readable part of a file name, in bytes.
const MAX_STEM: usize = 150;

/// A name between backticks.
pub(crate) fn quote(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('`');
    for c in name.chars() {
        if c == '`' {
            quoted.push('`');
        }
        quoted.push(c);
    }
    quoted.push('`');
    quoted
}

/// The name of a file or directory that stands for an object: `%`, `/`, a leading dot and whatever does not show become
/// `%XX`. What is too long is cut and ends in a hash of the whole.
pub(crate) fn file_stem(name: &[u8]) -> String {
    let mut stem = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if matches!(c, '%' | '/' | '\\') || c.is_control() || (c == '.' && stem.is_empty()) {
                let mut bytes = [0; 4];
                escape(&mut stem, c.encode_utf8(&mut bytes).as_bytes());
            } else {
                stem.push(c);
            }
        }
        escape(&mut stem, chunk.invalid());
    }
    if stem.is_empty() {
        stem.push_str("%00");
    }
    if stem.len() > MAX_STEM {
        let hash = blake3::hash(name).to_hex();
        stem.truncate(stem.floor_char_boundary(MAX_STEM));
        // No half of an escape is left behind.
        if let Some(at) = stem.rfind('%').filter(|at| stem.len() - at < 3) {
            stem.truncate(at);
        }
        stem.push('~');
        stem.push_str(hash.get(..16).unwrap_or_default());
    }
    stem
}

fn escape(stem: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(stem, "%{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(quote("a`b"), "`a``b`");
        assert_eq!(quote("\\! rm\n"), "`\\! rm\n`");
    }

    #[test]
    fn file_names_are_paths_of_one_part() {
        for (name, stem) in [
            ("wp_posts", "wp_posts"),
            ("a/b", "a%2Fb"),
            ("..", "%2E."),
            ("50%\n", "50%25%0A"),
            ("é\u{301}", "é\u{301}"),
            ("", "%00"),
        ] {
            assert_eq!(file_stem(name.as_bytes()), stem);
        }
        let long = "/".repeat(64);
        let other = format!("{}x", "/".repeat(63));
        assert!(file_stem(long.as_bytes()).len() < 200 && file_stem(long.as_bytes()) != file_stem(other.as_bytes()));
    }

    proptest::proptest! {
        #[test]
        fn every_name_is_a_path(name: Vec<u8>) {
            let stem = file_stem(&name);
            let path = clonepanel_core::path::RelPath::try_from(format!("{stem}.sql").as_str()).unwrap();
            proptest::prop_assert_eq!(path.parts().count(), 1);
        }
    }
}
