//! [`Charset`]: how text of a column's character set is written into a file that is read as UTF-8.

/// The character set of a column, by what its bytes mean in a UTF-8 file.
///
/// Text is never transcoded: what stands in the file are the bytes that the server keeps, either readable or as digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Charset {
    /// `utf8mb4`, and `utf8mb3` under its names: bytes stand as they are.
    Utf8 {
        /// Its name for an introducer.
        name: String,
    },
    /// One byte a character with ASCII in its place. Sites keep UTF-8 in such columns: bytes that are UTF-8 stand as they are
    /// behind an introducer.
    SingleByte {
        /// Its name for an introducer.
        name: String,
    },
    /// Any other: digits behind an introducer.
    Other {
        /// Its name for an introducer.
        name: String,
    },
}

const SINGLE_BYTE: [&str; 22] = [
    "armscii8", "ascii", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8", "geostd8", "greek",
    "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5", "latin7", "tis620",
];

impl Charset {
    /// The character set of this name; `None` when it is not a name at all.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let good = (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let owned = good.then(|| name.to_owned())?;
        Some(match name {
            "utf8" | "utf8mb3" | "utf8mb4" => Self::Utf8 { name: owned },
            _ if SINGLE_BYTE.contains(&name) => Self::SingleByte { name: owned },
            _ => Self::Other { name: owned },
        })
    }

    /// Its name for an introducer.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Utf8 { name } | Self::SingleByte { name } | Self::Other { name } => name,
        }
    }
}
