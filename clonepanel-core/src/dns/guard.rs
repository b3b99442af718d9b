//! [`PlanGuard`]: which plans are too dangerous to be applied without a person's word.

use super::{
    name::DomainName,
    plan::{Change, ZonePlan},
    record_type::RecordType,
    zone::Zone,
};
use crate::escape::Escaped;
use std::{collections::BTreeSet, fmt};

/// Which plans pass by themselves.
///
/// Always refused: to change the name servers at the top, to take the last address from a name that others may remember, to
/// empty the zone, to put anything beside a CNAME. In zones of some size also: to remove or change too large a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanGuard {
    most_changed_percent: u8,
    most_removed_percent: u8,
    min_sets: usize,
}

impl Default for PlanGuard {
    /// At most 50 of a hundred sets changed or removed, at most 30 removed, in zones of 10 sets or more.
    fn default() -> Self {
        Self { most_changed_percent: 50, most_removed_percent: 30, min_sets: 10 }
    }
}

/// What is dangerous about a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Risk {
    /// The name servers at the top change: they must be those of the delegation.
    ApexNameServers,
    /// A name would have a CNAME and something else: servers refuse that, or lose one of both. Cannot be overridden.
    BesideCname {
        /// The name.
        name: DomainName,
    },
    /// Nothing would be left that plans manage. Cannot be overridden: an empty source of what is desired is an error.
    Emptied,
    /// A name that has an address would have none, and no CNAME either.
    LastAddress {
        /// The name.
        name: DomainName,
    },
    /// Too many sets change or go.
    ManyChanged {
        /// How many.
        changed: usize,
        /// Of how many.
        of: usize,
    },
    /// Too many sets go.
    ManyRemoved {
        /// How many.
        removed: usize,
        /// Of how many.
        of: usize,
    },
}

/// A plan that passed, or that somebody answers for. Only such plans are applied by the jobs.
#[derive(Debug, Clone, Copy)]
pub struct Guarded<'a> {
    plan: &'a ZonePlan,
    reason: Option<&'a str>,
}

/// A plan that did not pass. Its `Display` is one line with every risk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct PlanRefused {
    /// The zone.
    pub zone: DomainName,
    /// Why; at least one.
    pub risks: Vec<Risk>,
}

impl PlanGuard {
    /// As [`Self::default`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// At most so many of a hundred sets may change or go.
    #[must_use]
    pub const fn most_changed_percent(mut self, percent: u8) -> Self {
        self.most_changed_percent = percent;
        self
    }

    /// At most so many of a hundred sets may go.
    #[must_use]
    pub const fn most_removed_percent(mut self, percent: u8) -> Self {
        self.most_removed_percent = percent;
        self
    }

    /// Shares are not looked at in zones of fewer sets.
    #[must_use]
    pub const fn min_sets(mut self, sets: usize) -> Self {
        self.min_sets = sets;
        self
    }

    /// What is dangerous about a plan; nothing for an empty one.
    #[must_use]
    pub fn risks(&self, plan: &ZonePlan) -> Vec<Risk> {
        let mut risks = Vec::new();
        if plan.is_empty() {
            return risks;
        }
        let is_apex_ns = |change: &Change| {
            change.key().record_type == RecordType::NS && change.key().name == *plan.zone() && change.from().is_some()
        };
        if plan.changes().iter().any(is_apex_ns) {
            risks.push(Risk::ApexNameServers);
        }
        let left = managed(plan.after());
        if left == 0 {
            risks.push(Risk::Emptied);
        }
        let names: BTreeSet<_> = plan.changes().iter().map(|change| &change.key().name).collect();
        for name in names {
            let before = Held::by(plan.before(), name);
            let after = Held::by(plan.after(), name);
            if before.addresses && !after.addresses && !after.alias {
                risks.push(Risk::LastAddress { name: name.clone() });
            }
            if after.alias && after.others {
                risks.push(Risk::BesideCname { name: name.clone() });
            }
        }
        self.push_shares(plan, &mut risks);
        risks
    }

    fn push_shares(&self, plan: &ZonePlan, risks: &mut Vec<Risk>) {
        let of = managed(plan.before());
        if of < self.min_sets {
            return;
        }
        let changed = plan.changes().iter().filter(|change| change.from().is_some()).count();
        let removed = plan.changes().iter().filter(|change| change.to().is_none()).count();
        if removed * 100 > of * usize::from(self.most_removed_percent) {
            risks.push(Risk::ManyRemoved { removed, of });
        }
        if changed * 100 > of * usize::from(self.most_changed_percent) {
            risks.push(Risk::ManyChanged { changed, of });
        }
    }

    /// Lets a plan pass that is not dangerous.
    ///
    /// # Errors
    /// [`PlanRefused`] with every risk.
    pub fn check<'a>(&self, plan: &'a ZonePlan) -> Result<Guarded<'a>, PlanRefused> {
        let risks = self.risks(plan);
        if risks.is_empty() {
            return Ok(Guarded { plan, reason: None });
        }
        Err(PlanRefused { zone: plan.zone().clone(), risks })
    }

    /// Lets a plan pass that is dangerous, for a reason that somebody gives after having seen its risks.
    ///
    /// # Errors
    /// [`PlanRefused`] when the reason is blank, or with those risks that nobody can answer for.
    pub fn check_with_reason<'a>(&self, plan: &'a ZonePlan, reason: &'a str) -> Result<Guarded<'a>, PlanRefused> {
        let mut risks = self.risks(plan);
        if !reason.trim().is_empty() {
            risks.retain(|risk| !risk.can_be_overridden());
        }
        if risks.is_empty() {
            return Ok(Guarded { plan, reason: Some(reason) });
        }
        Err(PlanRefused { zone: plan.zone().clone(), risks })
    }
}

fn managed(zone: &Zone) -> usize {
    zone.sets().filter(|set| set.is_managed()).count()
}

/// What a name has.
#[derive(Default)]
struct Held {
    addresses: bool,
    alias: bool,
    others: bool,
}

impl Held {
    fn by(zone: &Zone, name: &DomainName) -> Self {
        let mut held = Self::default();
        for set in zone.sets_at(name) {
            match set.record_type() {
                RecordType::CNAME => held.alias = true,
                record_type => {
                    held.others = true;
                    held.addresses |= [RecordType::A, RecordType::AAAA, RecordType::ALIAS].contains(&record_type);
                }
            }
        }
        held
    }
}

impl<'a> Guarded<'a> {
    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &'a ZonePlan {
        self.plan
    }

    /// The reason that somebody gave.
    #[must_use]
    pub const fn reason(&self) -> Option<&'a str> {
        self.reason
    }
}

impl Risk {
    /// Whether a reason is enough.
    #[must_use]
    pub const fn can_be_overridden(&self) -> bool {
        !matches!(self, Self::BesideCname { .. } | Self::Emptied)
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApexNameServers => f.write_str("the name servers at the top change"),
            Self::BesideCname { name } => write!(f, "{name} would have a CNAME and other records"),
            Self::Emptied => f.write_str("nothing would be left in the zone"),
            Self::LastAddress { name } => write!(f, "{name} loses its last address"),
            Self::ManyChanged { changed, of } => write!(f, "{changed} of {of} record sets change or go"),
            Self::ManyRemoved { removed, of } => write!(f, "{removed} of {of} record sets go"),
        }
    }
}

impl fmt::Display for PlanRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the plan for {} is dangerous: ", self.zone)?;
        for (index, risk) in self.risks.iter().enumerate() {
            write!(f, "{}{risk}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// Keeps a reason harmless wherever it is shown.
impl fmt::Display for Guarded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = self.plan.changes().len();
        write!(f, "{changes} changes to {}", self.plan.zone())?;
        match self.reason {
            Some(reason) => write!(f, ", because: {}", Escaped(reason.as_bytes())),
            None => Ok(()),
        }
    }
}
