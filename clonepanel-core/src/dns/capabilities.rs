//! [`Capabilities`]: what a provider can write.

use super::{
    data::RecordData,
    plan::ZonePlan,
    record_type::RecordType,
    set::{MAX_TTL_SECS, RecordSet},
};
use std::collections::BTreeSet;

/// What a provider can write. What it cannot is refused before anything is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    types: BTreeSet<RecordType>,
    min_ttl_secs: u32,
    max_ttl_secs: u32,
}

/// Everything that plans change.
const MANAGED: [RecordType; 9] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CAA,
    RecordType::CNAME,
    RecordType::MX,
    RecordType::NS,
    RecordType::PTR,
    RecordType::SRV,
    RecordType::TXT,
];

impl Default for Capabilities {
    /// Every type that plans change, with any time to live.
    fn default() -> Self {
        Self { types: MANAGED.into(), min_ttl_secs: 0, max_ttl_secs: MAX_TTL_SECS }
    }
}

impl Capabilities {
    /// As [`Self::default`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves a type out.
    #[must_use]
    pub fn without(mut self, record_type: RecordType) -> Self {
        self.types.remove(&record_type);
        self
    }

    /// Times to live are at least so many seconds.
    #[must_use]
    pub const fn min_ttl_secs(mut self, secs: u32) -> Self {
        self.min_ttl_secs = secs;
        self
    }

    /// Times to live are at most so many seconds.
    #[must_use]
    pub const fn max_ttl_secs(mut self, secs: u32) -> Self {
        self.max_ttl_secs = secs;
        self
    }

    /// Whether sets of this type can be written.
    #[must_use]
    pub fn writes(&self, record_type: RecordType) -> bool {
        self.types.contains(&record_type)
    }

    /// The shortest time to live in seconds.
    #[must_use]
    pub const fn shortest_ttl_secs(&self) -> u32 {
        self.min_ttl_secs
    }

    /// The longest time to live in seconds.
    #[must_use]
    pub const fn longest_ttl_secs(&self) -> u32 {
        self.max_ttl_secs
    }

    /// What of a plan the provider cannot write, with the reason: the first such thing, or nothing.
    #[must_use]
    pub fn obstacle(&self, plan: &ZonePlan) -> Option<String> {
        plan.changes().iter().find_map(|change| {
            let key = change.key();
            if !self.writes(key.record_type) {
                return Some(format!("{key}: records of this type cannot be written"));
            }
            self.set_obstacle(change.to()?)
        })
    }

    fn set_obstacle(&self, to: &RecordSet) -> Option<String> {
        let (key, ttl) = (to.key(), to.ttl_secs());
        if ttl < self.min_ttl_secs || ttl > self.max_ttl_secs {
            let (min, max) = (self.min_ttl_secs, self.max_ttl_secs);
            return Some(format!("{key}: a time to live of {ttl} s is not between {min} s and {max} s"));
        }
        let opaque = to.data().iter().any(|data| matches!(data, RecordData::Opaque(_)));
        opaque.then(|| format!("{key}: its data is not understood"))
    }
}
