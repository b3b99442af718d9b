//! [`DomainName`]: an absolute name, as the wire has it, compared without regard to case.

use bytes::{BufMut, Bytes, BytesMut};
use std::{cmp::Ordering, fmt, str::FromStr};

/// The longest name in octets of the wire, the root's among them (RFC 1035, section 2.3.4).
pub const MAX_NAME_OCTETS: usize = 255;
/// The longest label in octets.
pub const MAX_LABEL_OCTETS: usize = 63;
/// A name of 255 octets has at most this many labels.
const MAX_LABELS: usize = 127;

/// An absolute domain name: labels of any bytes, in lower case (ASCII), cheap to clone.
///
/// `Display` is the master-file form with the trailing dot; whatever could be misread or could harm a terminal is escaped as
/// `\c` or `\DDD` (RFC 1035, section 5.1). The order is the canonical one of RFC 4034, section 6.1: by labels from the right,
/// so that a name stands before everything below it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DomainName(Bytes);

/// Why something is not a [`DomainName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Two dots in a row, a dot at the start, or nothing at all.
    #[error("name has an empty label")]
    EmptyLabel,
    /// A backslash that no digit triple below 256 and no character follows.
    #[error("name has a malformed escape")]
    Escape,
    /// A label has more than 63 octets.
    #[error("label is longer than 63 octets")]
    LabelTooLong,
    /// Text that is not ASCII: international names travel as `xn--…`.
    #[error("name is not ASCII: write international names as xn--…")]
    NotAscii,
    /// The name has more than 255 octets.
    #[error("name is longer than 255 octets")]
    TooLong,
}

impl DomainName {
    /// The root of all names.
    #[must_use]
    pub const fn root() -> Self {
        Self(Bytes::new())
    }

    /// A name from its labels, the leftmost first.
    ///
    /// # Errors
    /// [`NameError`] says which rule is broken.
    pub fn from_labels<L: AsRef<[u8]>>(labels: impl IntoIterator<Item = L>) -> Result<Self, NameError> {
        let mut wire = BytesMut::new();
        for label in labels {
            push_label(&mut wire, label.as_ref())?;
        }
        Self::of_wire(wire)
    }

    /// Reads the master-file form: with a trailing dot the name is absolute, without one it is below `origin`, and `@` is
    /// `origin` itself.
    ///
    /// # Errors
    /// [`NameError`] says which rule is broken.
    pub fn parse_in(text: &str, origin: &Self) -> Result<Self, NameError> {
        if text == "@" {
            return Ok(origin.clone());
        }
        let (mut wire, dotted) = parse(text)?;
        if !dotted {
            wire.extend_from_slice(&origin.0);
        }
        Self::of_wire(wire)
    }

    fn of_wire(wire: BytesMut) -> Result<Self, NameError> {
        if wire.len() >= MAX_NAME_OCTETS {
            return Err(NameError::TooLong);
        }
        Ok(Self(wire.freeze()))
    }

    /// The labels, the leftmost first; none for the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (&len, after) = rest.split_first()?;
            let (label, next) = after.split_at_checked(len.into())?;
            rest = next;
            Some(label)
        })
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the first label is `*`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(b"\x01*")
    }

    /// Whether this is `zone` or below it.
    #[must_use]
    pub fn is_within(&self, zone: &Self) -> bool {
        self.above(zone).is_some()
    }

    /// The name without its leftmost label; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let len = usize::from(*self.0.first()?);
        Some(Self(self.0.slice(1 + len..)))
    }

    /// This name with one more label on the left.
    ///
    /// # Errors
    /// [`NameError`] says which rule is broken.
    pub fn child(&self, label: impl AsRef<[u8]>) -> Result<Self, NameError> {
        let mut wire = BytesMut::new();
        push_label(&mut wire, label.as_ref())?;
        wire.extend_from_slice(&self.0);
        Self::of_wire(wire)
    }

    /// The master-file form relative to `zone`, without a trailing dot: `www`; `@` for the zone itself. `None` when the
    /// name is not within it.
    #[must_use]
    pub fn relative_to(&self, zone: &Self) -> Option<String> {
        let len = self.above(zone)?;
        if len == 0 {
            return Some("@".to_owned());
        }
        Some(Self(self.0.slice(..len)).to_string().trim_end_matches('.').to_owned())
    }

    /// The name in the wire's form, uncompressed, with the root's zero octet.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        [&self.0[..], &[0]].concat()
    }

    /// How many octets of this name stand before those of `zone`.
    fn above(&self, zone: &Self) -> Option<usize> {
        let above = self.0.len().checked_sub(zone.0.len())?;
        // The end of the bytes alone may begin in the middle of a label.
        (self.0.ends_with(&zone.0) && self.starts().any(|start| start == above)).then_some(above)
    }

    /// Where the labels start, and where the root's would.
    fn starts(&self) -> impl Iterator<Item = usize> {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let start = next?;
            next = self.0.get(start).map(|&len| start + 1 + usize::from(len));
            Some(start)
        })
    }
}

fn push_label(wire: &mut BytesMut, label: &[u8]) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    let len = u8::try_from(label.len()).ok().filter(|&len| usize::from(len) <= MAX_LABEL_OCTETS);
    wire.put_u8(len.ok_or(NameError::LabelTooLong)?);
    wire.extend(label.iter().map(u8::to_ascii_lowercase));
    if wire.len() > MAX_NAME_OCTETS { Err(NameError::TooLong) } else { Ok(()) }
}

/// The labels as the wire has them, and whether a dot ends the text.
fn parse(text: &str) -> Result<(BytesMut, bool), NameError> {
    let mut wire = BytesMut::new();
    if text == "." {
        return Ok((wire, true));
    }
    let mut label = Vec::new();
    let mut rest = text.as_bytes();
    let mut dotted = false;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        dotted = byte == b'.';
        match byte {
            b'.' => {
                push_label(&mut wire, &label)?;
                label.clear();
            }
            b'\\' => {
                let (byte, after) = unescape(rest).ok_or(NameError::Escape)?;
                rest = after;
                label.push(byte);
            }
            byte if !byte.is_ascii() => return Err(NameError::NotAscii),
            byte => label.push(byte),
        }
    }
    if !dotted {
        push_label(&mut wire, &label)?;
    }
    Ok((wire, dotted))
}

/// What follows a backslash in a master file: three digits or one character, and what comes after it.
pub(super) fn unescape(rest: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, after) = rest.split_first()?;
    if !first.is_ascii_digit() {
        return Some((first, after));
    }
    let (digits, after) = rest.split_at_checked(3)?;
    let value = digits.iter().try_fold(0u32, |value, &digit| Some(value * 10 + char::from(digit).to_digit(10)?))?;
    Some((u8::try_from(value).ok()?, after))
}

impl FromStr for DomainName {
    type Err = NameError;

    /// Reads an absolute name, with or without the trailing dot.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (wire, _) = parse(text)?;
        Self::of_wire(wire)
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        if self.is_root() {
            return f.write_char('.');
        }
        for label in self.labels() {
            for &byte in label {
                match byte {
                    b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => write!(f, "\\{}", char::from(byte))?,
                    0x21..=0x7e => f.write_char(byte.into())?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_char('.')?;
        }
        Ok(())
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for DomainName {
    fn cmp(&self, other: &Self) -> Ordering {
        let (left, right) = (Starts::of(self), Starts::of(other));
        left.rightmost_first(self).cmp(right.rightmost_first(other))
    }
}

impl PartialOrd for DomainName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Where the labels start, kept on the stack: names are compared often.
struct Starts {
    starts: [u8; MAX_LABELS],
    len: usize,
}

impl Starts {
    fn of(name: &DomainName) -> Self {
        let mut found = Self { starts: [0; MAX_LABELS], len: 0 };
        let ends = name.starts().filter(|&start| start < name.0.len());
        for (slot, start) in found.starts.iter_mut().zip(ends) {
            *slot = u8::try_from(start).unwrap_or(u8::MAX);
            found.len += 1;
        }
        found
    }

    fn rightmost_first<'a>(&'a self, name: &'a DomainName) -> impl Iterator<Item = &'a [u8]> {
        self.starts.iter().take(self.len).rev().filter_map(|&start| {
            let (&len, rest) = name.0.get(start.into()..)?.split_first()?;
            rest.get(..len.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_absolute_and_in_lower_case() {
        assert_eq!(name("WWW.Example.ORG").to_string(), "www.example.org.");
        assert_eq!(name("example.org."), name("EXAMPLE.org"));
        assert_eq!(name("."), DomainName::root());
        assert_eq!(DomainName::root().to_string(), ".");
        assert_eq!(DomainName::parse_in("www", &name("example.org")), Ok(name("www.example.org")));
        assert_eq!(DomainName::parse_in("www.example.net.", &name("example.org")), Ok(name("www.example.net")));
        assert_eq!(DomainName::parse_in("@", &name("example.org")), Ok(name("example.org")));
        assert_eq!(name("*._x+y.example.org").relative_to(&name("example.org")).as_deref(), Some("*._x+y"));
        assert_eq!(name("example.org").relative_to(&name("example.org")).as_deref(), Some("@"));
    }

    #[test]
    fn malformed_names_are_refused() {
        for (text, error) in [
            ("", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a\\", NameError::Escape),
            ("a\\25", NameError::Escape),
            ("a\\256", NameError::Escape),
            ("bücher.example", NameError::NotAscii),
        ] {
            assert_eq!(text.parse::<DomainName>(), Err(error), "{text}");
        }
        assert_eq!("a".repeat(64).parse::<DomainName>(), Err(NameError::LabelTooLong));
        assert_eq!("a".repeat(63).parse::<DomainName>().map(|name| name.to_wire().len()), Ok(65));
        // 127 labels of one octet are 255 octets with the root's.
        assert_eq!(name(&"a.".repeat(127)).to_wire().len(), MAX_NAME_OCTETS);
        assert_eq!("a.".repeat(128).parse::<DomainName>(), Err(NameError::TooLong));
    }

    #[test]
    fn being_within_is_about_labels() {
        let zone = name("example.org");
        assert!(name("example.org").is_within(&zone) && name("a.b.example.org").is_within(&zone));
        assert!(!name("myexample.org").is_within(&zone) && !name("org").is_within(&zone));
        // The octets of the zone's wire form stand at the end of this one label.
        let trap = DomainName::from_labels([b"a\x07example\x03org"]).unwrap();
        assert!(!trap.is_within(&zone), "{trap}");
        assert_eq!(trap.relative_to(&zone), None);
    }

    #[test]
    fn the_order_is_the_canonical_one() {
        // The example of RFC 4034, section 6.1.
        let sorted = ["example", "a.example", "yljkjljk.a.example", "z.a.example", "zabc.a.example", "z.example"];
        let mut names: Vec<_> = sorted.iter().rev().map(|text| name(text)).collect();
        let octets = [&b"\x01"[..], b"*", b"\xc8"].map(|label| DomainName::from_labels([label, b"z", b"example"]));
        names.extend(octets.clone().into_iter().rev().map(Result::unwrap));
        names.sort();
        let expected = sorted.iter().map(|text| name(text)).chain(octets.into_iter().map(Result::unwrap));
        assert_eq!(names, expected.collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..8)) {
            let name = DomainName::from_labels(&labels).unwrap();
            prop_assert_eq!(name.to_string().parse::<DomainName>(), Ok(name.clone()));
            prop_assert!(name.to_string().bytes().all(|byte| (0x21..0x7f).contains(&byte)));
            prop_assert_eq!(name.labels().count(), labels.len());
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            if let Ok(name) = text.parse::<DomainName>() {
                prop_assert_eq!(name.to_string().parse::<DomainName>(), Ok(name));
            }
        }
    }
}
