//! [`Strings`]: the content of a TXT record.

use super::data::MAX_DATA_OCTETS;
use bytes::Bytes;

/// The longest single character-string in octets (RFC 1035, section 3.3).
pub const MAX_STRING_OCTETS: usize = 255;

/// The character-strings of a TXT record: at least one, each of at most 255 octets of any value.
///
/// Where one ends matters to some readers (RFC 6763) and not to others (RFC 7208, RFC 6376), so it is kept and compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Strings(Vec<Bytes>);

impl Strings {
    /// A text of any length up to what the wire holds, cut into strings of 255 octets. `None` when it is too long.
    #[must_use]
    pub fn new(text: impl Into<Bytes>) -> Option<Self> {
        let mut rest = text.into();
        let mut strings = Vec::with_capacity(rest.len() / MAX_STRING_OCTETS + 1);
        while rest.len() > MAX_STRING_OCTETS {
            strings.push(rest.split_to(MAX_STRING_OCTETS));
        }
        if !rest.is_empty() || strings.is_empty() {
            strings.push(rest);
        }
        Self::from_strings(strings)
    }

    /// Strings as they are. `None` when there is none, one is too long, or all are.
    #[must_use]
    pub fn from_strings<S: Into<Bytes>>(strings: impl IntoIterator<Item = S>) -> Option<Self> {
        let strings: Vec<Bytes> = strings.into_iter().map(Into::into).collect();
        let fit = strings.iter().all(|string| string.len() <= MAX_STRING_OCTETS);
        let octets: usize = strings.iter().map(|string| string.len() + 1).sum();
        (!strings.is_empty() && fit && octets <= MAX_DATA_OCTETS).then_some(Self(strings))
    }

    /// The strings.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.0.iter()
    }

    /// All strings one after the other, as SPF and DKIM are read.
    #[must_use]
    pub fn joined(&self) -> Vec<u8> {
        self.0.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_where_a_string_is_full() {
        for (len, strings) in [(0, 1), (1, 1), (255, 1), (256, 2), (510, 2), (511, 3), (65_279, 256)] {
            let text = Strings::new(vec![7; len]).unwrap();
            assert_eq!((text.iter().len(), text.joined().len()), (strings, len));
        }
        assert_eq!(Strings::new(vec![7; 65_280]), None);
        assert_eq!(Strings::from_strings([Bytes::from(vec![7; 256])]), None);
        assert_eq!(Strings::from_strings(Vec::<Bytes>::new()), None);
        assert_eq!(Strings::from_strings([Bytes::new()]), Strings::new(""));
    }
}
