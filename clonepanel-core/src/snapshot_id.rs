//! [`SourceName`] and [`SnapshotId`]: what snapshots are called.

use crate::time::Timestamp;
use std::fmt;

/// The name of what is backed up, usually a site: 1 to 200 ASCII letters, digits, `.`, `_`, `-`, not beginning with `.` or
/// `-`. It serves as a directory name on any file system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(String);

/// A name that cannot stand for a source or a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: {}", crate::escape::Escaped(.text.as_bytes()))]
pub struct NameError {
    what: &'static str,
    text: String,
}

impl SourceName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] when it breaks a rule above.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let good = (1..=200).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with(['.', '-']);
        if good { Ok(Self(name)) } else { Err(NameError { what: "source name", text: name }) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One snapshot: its source, the second in which it was begun, and a number that tells several of one second apart.
///
/// The order is the source's name, then age, oldest first. `Display` is `example.org/20260823T021500Z`, or with
/// `.1`, `.2`, … behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    source: SourceName,
    time: Timestamp,
    number: u32,
}

impl SnapshotId {
    /// The id for a snapshot begun at `now`, after `newest`: it is always greater, also when the clock went back.
    #[must_use]
    pub fn next(source: SourceName, now: Timestamp, newest: Option<&Self>) -> Self {
        let time = Timestamp::from_secs(now.secs());
        match newest {
            Some(newest) if newest.time >= time => Self { source, time: newest.time, number: newest.number + 1 },
            _ => Self { source, time, number: 0 },
        }
    }

    /// Reads the part behind the source's name: `20260823T021500Z` or `20260823T021500Z.1`.
    ///
    /// # Errors
    /// [`NameError`] for anything that [`Self::stem`] does not write.
    pub fn parse_stem(source: SourceName, stem: &str) -> Result<Self, NameError> {
        let (time, number) = stem.split_once('.').unwrap_or((stem, "0"));
        Timestamp::parse_compact(time)
            .zip(number.parse().ok())
            .map(|(time, number)| Self { source, time, number })
            .filter(|id| id.stem() == stem)
            .ok_or_else(|| NameError { what: "snapshot id", text: stem.to_owned() })
    }

    /// Whose snapshot it is.
    #[must_use]
    pub const fn source(&self) -> &SourceName {
        &self.source
    }

    /// When it was begun, in whole seconds.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// The part behind the source's name, which serves as a directory name and sorts by age up to ten in one second.
    #[must_use]
    pub fn stem(&self) -> String {
        match self.number {
            0 => self.time.compact(),
            number => format!("{}.{number}", self.time.compact()),
        }
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.stem())
    }
}

impl std::str::FromStr for SnapshotId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError { what: "snapshot id", text: text.to_owned() };
        let (source, stem) = text.split_once('/').ok_or_else(bad)?;
        Self::parse_stem(SourceName::new(source)?, stem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_whatever_the_clock_does() {
        let source = SourceName::new("example.org").unwrap();
        let mut newest = None;
        for secs in [1000, 1000, 999, 1001, 1001, 500] {
            let id = SnapshotId::next(source.clone(), Timestamp::from_secs(secs), newest.as_ref());
            assert!(newest.as_ref() < Some(&id));
            assert_eq!(id.to_string().parse(), Ok(id.clone()));
            newest = Some(id);
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for name in ["", ".x", "-x", "a/b", "a b", "é", &"a".repeat(201)] {
            assert!(SourceName::new(name).is_err(), "{name}");
        }
        for id in
            ["x", "x/1", "x/20260823T021500", "x/20260823T021500Z.0", "x/20260823T021500Z.01", "x/20260823T021500Z/y"]
        {
            assert!(id.parse::<SnapshotId>().is_err(), "{id}");
        }
    }
}
