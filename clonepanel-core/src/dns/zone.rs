//! [`Zone`]: all record sets below one name, as they were at one revision.

use super::{
    data::{RecordData, Soa},
    name::DomainName,
    record_type::RecordType,
    set::{RecordKey, RecordSet},
};
use crate::escape::Escaped;
use std::{collections::BTreeMap, fmt};

/// Which version of a zone a provider has, in the provider's own terms: only equality means anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revision(String);

impl Revision {
    /// A provider's name for a version.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.0.as_bytes()).fmt(f)
    }
}

/// All record sets of one zone at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: DomainName,
    revision: Revision,
    sets: BTreeMap<RecordKey, RecordSet>,
}

/// A record set that cannot be in a zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is not within {zone}")]
#[non_exhaustive]
pub struct Outside {
    /// What is outside.
    pub key: RecordKey,
    /// Of which zone.
    pub zone: DomainName,
}

impl Zone {
    /// An empty zone.
    #[must_use]
    pub const fn new(name: DomainName, revision: Revision) -> Self {
        Self { name, revision, sets: BTreeMap::new() }
    }

    /// The name at the top.
    #[must_use]
    pub const fn name(&self) -> &DomainName {
        &self.name
    }

    /// The version that this is.
    #[must_use]
    pub const fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The same records as another version.
    #[must_use]
    pub fn at(self, revision: Revision) -> Self {
        Self { revision, ..self }
    }

    /// Puts a set in the place of one of the same name and type, which is returned.
    ///
    /// # Errors
    /// [`Outside`] when the name is not within the zone.
    pub fn insert(&mut self, set: RecordSet) -> Result<Option<RecordSet>, Outside> {
        if !set.name().is_within(&self.name) {
            return Err(Outside { key: set.key().clone(), zone: self.name.clone() });
        }
        Ok(self.sets.insert(set.key().clone(), set))
    }

    /// Takes a set out.
    pub fn remove(&mut self, key: &RecordKey) -> Option<RecordSet> {
        self.sets.remove(key)
    }

    /// One set.
    #[must_use]
    pub fn find(&self, name: &DomainName, record_type: RecordType) -> Option<&RecordSet> {
        self.get(&RecordKey { name: name.clone(), record_type })
    }

    /// One set by its key.
    #[must_use]
    pub fn get(&self, key: &RecordKey) -> Option<&RecordSet> {
        self.sets.get(key)
    }

    /// All sets, sorted by their keys.
    pub fn sets(&self) -> impl ExactSizeIterator<Item = &RecordSet> {
        self.sets.values()
    }

    /// The sets of one name.
    pub fn sets_at<'a>(&'a self, name: &DomainName) -> impl Iterator<Item = &'a RecordSet> + use<'a> {
        let key = |number| RecordKey { name: name.clone(), record_type: RecordType::new(number) };
        self.sets.range(key(0)..=key(u16::MAX)).map(|(_, set)| set)
    }

    /// The start of authority.
    #[must_use]
    pub fn soa(&self) -> Option<&Soa> {
        match self.find(&self.name, RecordType::SOA)?.data() {
            [RecordData::Soa(soa)] => Some(soa),
            _ => None,
        }
    }

    /// Whether both have the same records, whatever their revisions and serials: what copies of a zone are compared by. The
    /// SOA is left out, since each server has its own.
    #[must_use]
    pub fn has_content_of(&self, other: &Self) -> bool {
        let content = |zone: &'_ Self| zone.sets.values().filter(|set| set.record_type() != RecordType::SOA).count();
        let same = |set: &&RecordSet| set.record_type() == RecordType::SOA || other.get(set.key()) == Some(*set);
        self.name == other.name && content(self) == content(other) && self.sets.values().all(|set| same(&set))
    }
}

impl fmt::Display for Zone {
    /// A master file (RFC 1035, section 5) that [`Zone::parse`] reads: the SOA first, names absolute, a line for each record.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_soa = |set: &&RecordSet| set.record_type() == RecordType::SOA;
        for set in self.sets().filter(is_soa) {
            writeln!(f, "{set}")?;
        }
        for set in self.sets().filter(|set| !is_soa(set)) {
            writeln!(f, "{set}")?;
        }
        Ok(())
    }
}
