//! [`ZonePlan`]: what has to change in a zone, before anything does.

use super::{
    name::DomainName,
    record_type::RecordType,
    set::{RecordKey, RecordSet},
    zone::{Revision, Zone},
};
use std::{collections::BTreeSet, fmt};

/// The changes that lead from a zone as it is to one that is desired. `Display` shows all of it, with `-` and `+` before each
/// record.
///
/// The SOA and sets that are not read here ([`RecordSet::is_managed`]) are never changed, whatever is desired: the first
/// belongs to the server, and what is not understood is left alone. Where the desired zone has others, the plan says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZonePlan {
    before: Zone,
    after: Zone,
    changes: Vec<Change>,
    left_alone: Vec<RecordKey>,
}

/// What becomes of one record set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Change {
    /// There was none.
    Add(RecordSet),
    /// There will be none.
    Remove(RecordSet),
    /// Another time to live, or other records.
    Replace {
        /// As it is.
        from: RecordSet,
        /// As it will be.
        to: RecordSet,
    },
}

/// The two zones of a plan have different names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{desired} cannot become of {now}")]
#[non_exhaustive]
pub struct DifferentZones {
    /// The name of the zone as it is.
    pub now: DomainName,
    /// The name of the desired one.
    pub desired: DomainName,
}

impl ZonePlan {
    /// What leads from `now` to `desired`; sets that `desired` lacks are removed.
    ///
    /// # Errors
    /// [`DifferentZones`] when they have different names.
    pub fn between(now: &Zone, desired: &Zone) -> Result<Self, DifferentZones> {
        if now.name() != desired.name() {
            return Err(DifferentZones { now: now.name().clone(), desired: desired.name().clone() });
        }
        let mut plan = Self { before: now.clone(), after: now.clone(), changes: Vec::new(), left_alone: Vec::new() };
        let keys: BTreeSet<_> = now.sets().chain(desired.sets()).map(RecordSet::key).collect();
        for key in keys {
            plan.compare(key, now.get(key), desired.get(key));
        }
        Ok(plan)
    }

    fn compare(&mut self, key: &RecordKey, now: Option<&RecordSet>, desired: Option<&RecordSet>) {
        if now == desired || key.record_type == RecordType::SOA {
            return;
        }
        if !now.into_iter().chain(desired).all(RecordSet::is_managed) {
            if desired.is_some() {
                self.left_alone.push(key.clone());
            }
            return;
        }
        let change = match (now.cloned(), desired.cloned()) {
            (Some(from), Some(to)) => Change::Replace { from, to },
            (Some(from), None) => Change::Remove(from),
            (None, Some(to)) => Change::Add(to),
            (None, None) => return,
        };
        match change.to() {
            // Both zones have one name, so whatever is in one can be in the other.
            Some(to) => drop(self.after.insert(to.clone())),
            None => drop(self.after.remove(key)),
        }
        self.changes.push(change);
    }

    /// The name of the zone.
    #[must_use]
    pub const fn zone(&self) -> &DomainName {
        self.before.name()
    }

    /// The revision that the plan is for; it must not be applied to any other.
    #[must_use]
    pub const fn base(&self) -> &Revision {
        self.before.revision()
    }

    /// The zone as it is.
    #[must_use]
    pub const fn before(&self) -> &Zone {
        &self.before
    }

    /// The zone as it will be, still named by the old revision and with the old SOA.
    #[must_use]
    pub const fn after(&self) -> &Zone {
        &self.after
    }

    /// The changes, sorted by their keys.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Sets that differ from what is desired and that no plan changes.
    #[must_use]
    pub fn left_alone(&self) -> &[RecordKey] {
        &self.left_alone
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl Change {
    /// The name and type.
    #[must_use]
    pub const fn key(&self) -> &RecordKey {
        match self {
            Self::Add(set) | Self::Remove(set) | Self::Replace { to: set, .. } => set.key(),
        }
    }

    /// The set as it is.
    #[must_use]
    pub const fn from(&self) -> Option<&RecordSet> {
        match self {
            Self::Add(_) => None,
            Self::Remove(from) | Self::Replace { from, .. } => Some(from),
        }
    }

    /// The set as it will be.
    #[must_use]
    pub const fn to(&self) -> Option<&RecordSet> {
        match self {
            Self::Remove(_) => None,
            Self::Add(to) | Self::Replace { to, .. } => Some(to),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from(), self.to());
        for (mark, set, other) in [('-', from, to), ('+', to, from)] {
            let Some(set) = set else { continue };
            for data in set.data() {
                let stays =
                    other.is_some_and(|other| other.ttl_secs() == set.ttl_secs() && other.data().contains(data));
                let mark = match (stays, mark) {
                    (false, mark) => mark,
                    (true, '-') => ' ',
                    // It was shown on the other side.
                    (true, _) => continue,
                };
                writeln!(f, "{mark} {} {} {} {data}", set.name(), set.ttl_secs(), set.record_type())?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for ZonePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| write!(f, "{change}"))?;
        self.left_alone.iter().try_for_each(|key| writeln!(f, "! {key} differs and is left alone"))
    }
}
