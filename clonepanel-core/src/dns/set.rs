//! [`RecordSet`]: all records of one name and type, the unit of every change.

use super::{data::RecordData, name::DomainName, record_type::RecordType};
use std::fmt;

/// The longest time to live in seconds (RFC 2181, section 8).
pub const MAX_TTL_SECS: u32 = 0x7fff_ffff;

/// A name and a type. Sorted by names from the right, then by type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs)]
pub struct RecordKey {
    /// The name.
    pub name: DomainName,
    /// The type.
    pub record_type: RecordType,
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.record_type)
    }
}

/// All records of one name and type: at least one, sorted, none twice, with one time to live (RFC 2181, section 5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordSet {
    key: RecordKey,
    ttl_secs: u32,
    data: Vec<RecordData>,
}

/// Why records are not a [`RecordSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordSetError {
    /// There is none.
    #[error("a record set has at least one record")]
    Empty,
    /// They are of different types.
    #[error("a record set has records of one type")]
    Mixed,
    /// A CNAME or SOA has more than one.
    #[error("a name has only one record of this type")]
    Several,
    /// The time to live is longer than 2,147,483,647 seconds.
    #[error("the time to live is too long")]
    TtlTooLong,
}

impl RecordSet {
    /// The records of `name`, which all have the type of the first; equal ones are kept once.
    ///
    /// # Errors
    /// [`RecordSetError`] says which rule is broken.
    pub fn new(
        name: DomainName,
        ttl_secs: u32,
        data: impl IntoIterator<Item = RecordData>,
    ) -> Result<Self, RecordSetError> {
        let mut data: Vec<_> = data.into_iter().collect();
        data.sort();
        data.dedup();
        let record_type = data.first().ok_or(RecordSetError::Empty)?.record_type();
        if data.iter().any(|data| data.record_type() != record_type) {
            return Err(RecordSetError::Mixed);
        }
        // What is not read here is kept as it is, however wrong.
        let single = |data: &RecordData| matches!(data, RecordData::Cname(_) | RecordData::Soa(_));
        if data.len() > 1 && data.iter().any(single) {
            return Err(RecordSetError::Several);
        }
        if ttl_secs > MAX_TTL_SECS {
            return Err(RecordSetError::TtlTooLong);
        }
        Ok(Self { key: RecordKey { name, record_type }, ttl_secs, data })
    }

    /// The name and the type.
    #[must_use]
    pub const fn key(&self) -> &RecordKey {
        &self.key
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &DomainName {
        &self.key.name
    }

    /// The type.
    #[must_use]
    pub const fn record_type(&self) -> RecordType {
        self.key.record_type
    }

    /// How long others may remember it, in seconds.
    #[must_use]
    pub const fn ttl_secs(&self) -> u32 {
        self.ttl_secs
    }

    /// The records, sorted.
    #[must_use]
    pub fn data(&self) -> &[RecordData] {
        &self.data
    }

    /// Whether plans change it: all of it is read here, and it is no SOA.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        !self.data.iter().any(|data| matches!(data, RecordData::Opaque(_) | RecordData::Soa(_)))
    }
}

impl fmt::Display for RecordSet {
    /// A line of a master file for each record, without a newline after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, data) in self.data.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "\n" })?;
            write!(f, "{} {} IN {} {data}", self.key.name, self.ttl_secs, self.key.record_type)?;
        }
        Ok(())
    }
}
