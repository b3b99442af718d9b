//! [`DnsCluster`]: one desired zone on several servers.

use crate::dns::{
    DnsError, DnsProvider, DomainName, PlanGuard, PlanRefused, RecordData, RecordKey, RecordSet, RecordType, Revision,
    Risk, Zone, ZonePlan,
};
use futures_util::future::join_all;
use std::{collections::BTreeSet, fmt, sync::Arc};

/// The length of the label by which some authorities find a name, behind its underscore: an MD5 in hexadecimal digits.
const HASH_LABEL: usize = 32;

/// Keeps a zone the same on several servers, each of which has a copy of its own.
///
/// Copies are compared by content, never by serials, which are each server's own. Records that prove a name to a certificate
/// authority ([`is_validation`]) are never taken away, and every copy gets those of all others, so that the authority may ask any
/// of them. A copy that cannot be read is told as such and left out; the next run reads it again before anything is done to it.
pub struct DnsCluster {
    copies: Vec<Copy>,
    guard: PlanGuard,
}

struct Copy {
    name: String,
    provider: Arc<dyn DnsProvider>,
    nameservers: Nameservers,
}

/// Which name servers a copy has at its top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_enums)]
pub enum Nameservers {
    /// Those of the desired zone.
    #[default]
    AsDesired,
    /// Those that it has: some servers have names of their own there.
    AsThere,
}

/// A copy as it is.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct ZoneCopy {
    /// The name of the copy.
    pub name: String,
    /// What was read.
    pub zone: Result<Zone, DnsError>,
}

/// What would change, copy by copy.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct ClusterPlan {
    /// Every copy, in the order in which they were added: its name, and its plan or why there is none.
    pub copies: Vec<(String, Result<ZonePlan, DnsError>)>,
}

/// What became of a copy.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct CopyOutcome {
    /// The name of the copy.
    pub name: String,
    /// The zone's revision when the copy is as desired; [`DnsError`] when it is not, or not known to be.
    pub result: Result<Revision, DnsError>,
    /// Whether something was changed there.
    pub change: CopyChange,
}

/// Whether a copy was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum CopyChange {
    /// Nothing was, or the server says that nothing was.
    No,
    /// It was, as the server says.
    Yes,
    /// It may have been: the answer was lost.
    Unknown,
}

/// A plan that no copy was changed by: at least one of them would be endangered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {refused}")]
#[allow(clippy::exhaustive_structs)]
pub struct ClusterRefused {
    /// The first copy whose plan did not pass.
    pub name: String,
    /// Why.
    pub refused: PlanRefused,
}

impl fmt::Debug for DnsCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.copies.iter().map(|copy| &copy.name).collect();
        f.debug_struct("DnsCluster").field("copies", &names).finish_non_exhaustive()
    }
}

impl DnsCluster {
    /// A cluster without copies, so far.
    #[must_use]
    pub const fn new(guard: PlanGuard) -> Self {
        Self { copies: Vec::new(), guard }
    }

    /// Adds a server, in the place of one of the same name.
    #[must_use]
    pub fn copy(mut self, name: impl Into<String>, provider: Arc<dyn DnsProvider>, nameservers: Nameservers) -> Self {
        let name = name.into();
        self.copies.retain(|copy| copy.name != name);
        self.copies.push(Copy { name, provider, nameservers });
        self
    }

    /// The zone as every server has it, all asked at the same time.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn read(&self, zone: &DomainName) -> Vec<ZoneCopy> {
        let read = self
            .copies
            .iter()
            .map(async |copy| ZoneCopy { name: copy.name.clone(), zone: copy.provider.read(zone).await });
        join_all(read).await
    }

    /// What leads each copy that was read to the desired zone.
    #[must_use]
    pub fn plan(&self, desired: &Zone, read: Vec<ZoneCopy>) -> ClusterPlan {
        let validations = validations(desired, &read);
        let mut copies = Vec::new();
        for ZoneCopy { name, zone } in read {
            let nameservers = self
                .copies
                .iter()
                .find(|copy| copy.name == name)
                .map_or_else(Nameservers::default, |copy| copy.nameservers);
            let plan = zone.and_then(|zone| {
                let wanted = for_copy(desired, &zone, &validations, nameservers);
                ZonePlan::between(&zone, &wanted)
                    .map_err(|error| DnsError::Refused { endpoint: name.clone(), detail: error.to_string() })
            });
            copies.push((name, plan));
        }
        ClusterPlan { copies }
    }

    /// What is dangerous about a plan, copy by copy; only copies with a risk are named.
    #[must_use]
    pub fn risks(&self, plan: &ClusterPlan) -> Vec<(String, Vec<Risk>)> {
        let plans = plan.copies.iter().filter_map(|(name, plan)| Some((name, plan.as_ref().ok()?)));
        let risks = plans.map(|(name, plan)| (name.clone(), self.guard.risks(plan)));
        risks.filter(|(_, risks)| !risks.is_empty()).collect()
    }

    /// Applies a plan, to all copies at the same time and to each at the revision that it was made for, and reads each back.
    /// With a reason, plans pass that somebody may answer for.
    ///
    /// # Errors
    /// [`ClusterRefused`]; nothing was changed anywhere then. What goes wrong at one server is its own outcome.
    ///
    /// # Cancel safety
    /// When dropped, each copy is old or new; read them.
    pub async fn apply(&self, plan: ClusterPlan, reason: Option<&str>) -> Result<Vec<CopyOutcome>, ClusterRefused> {
        for (name, plan) in &plan.copies {
            let Ok(plan) = plan else { continue };
            let checked = match reason {
                Some(reason) => self.guard.check_with_reason(plan, reason),
                None => self.guard.check(plan),
            };
            checked.map_err(|refused| ClusterRefused { name: name.clone(), refused })?;
        }
        let applied = plan.copies.into_iter().map(async |(name, plan)| match plan {
            Ok(plan) => self.apply_one(name, &plan).await,
            Err(error) => CopyOutcome { name, result: Err(error), change: CopyChange::No },
        });
        Ok(join_all(applied).await)
    }

    async fn apply_one(&self, name: String, plan: &ZonePlan) -> CopyOutcome {
        if plan.is_empty() {
            return CopyOutcome { name, result: Ok(plan.base().clone()), change: CopyChange::No };
        }
        let Some(copy) = self.copies.iter().find(|copy| copy.name == name) else {
            let error = DnsError::Refused { endpoint: name.clone(), detail: "the cluster has no such copy".to_owned() };
            return CopyOutcome { name, result: Err(error), change: CopyChange::No };
        };
        if let Err(error) = copy.provider.apply(plan).await {
            let is_lost = matches!(error, DnsError::Unsettled { .. });
            let change = if is_lost { CopyChange::Unknown } else { CopyChange::No };
            return CopyOutcome { name, result: Err(error), change };
        }
        let result = copy.provider.read(plan.zone()).await.and_then(|now| {
            if now.has_content_of(plan.after()) {
                return Ok(now.revision().clone());
            }
            // Somebody else was there right after us, or the server is not what it says.
            Err(DnsError::Conflict { endpoint: copy.provider.endpoint().to_owned(), zone: plan.zone().clone() })
        });
        CopyOutcome { name, result, change: CopyChange::Yes }
    }
}

/// Whether records of this name and type prove the name to a certificate authority: `_acme-challenge` (RFC 8555, section 8.4),
/// cPanel's `_cpanel-dcv-test-record`, and the hashes that other authorities ask for.
#[must_use]
pub fn is_validation(key: &RecordKey) -> bool {
    if key.record_type != RecordType::TXT && key.record_type != RecordType::CNAME {
        return false;
    }
    let Some(first) = key.name.labels().next() else { return false };
    let is_hash =
        first.strip_prefix(b"_").is_some_and(|hash| hash.len() == HASH_LABEL && hash.iter().all(u8::is_ascii_hexdigit));
    is_hash || [&b"_acme-challenge"[..], b"_cpanel-dcv-test-record"].iter().any(|name| first.eq_ignore_ascii_case(name))
}

/// The texts for certificate authorities of all copies and the desired zone together.
fn validations(desired: &Zone, read: &[ZoneCopy]) -> Vec<RecordSet> {
    let zones = || read.iter().filter_map(|copy| copy.zone.as_ref().ok()).chain([desired]);
    let sets = || zones().flat_map(Zone::sets).filter(|set| is_validation(set.key()) && set.is_managed());
    let keys: BTreeSet<_> = sets().map(RecordSet::key).filter(|key| key.record_type == RecordType::TXT).collect();
    let together = |key: &RecordKey| {
        let of_key = || sets().filter(|set| set.key() == key);
        let ttl = of_key().map(RecordSet::ttl_secs).min().unwrap_or(0);
        let data: Vec<RecordData> = of_key().flat_map(RecordSet::data).cloned().collect();
        RecordSet::new(key.name.clone(), ttl, data).ok()
    };
    keys.into_iter().filter_map(together).collect()
}

/// The desired zone as this copy is to have it.
fn for_copy(desired: &Zone, there: &Zone, validations: &[RecordSet], nameservers: Nameservers) -> Zone {
    let mut wanted = desired.clone();
    let texts = |name: &DomainName| RecordKey { name: name.clone(), record_type: RecordType::TXT };
    let alias = |name: &DomainName| RecordKey { name: name.clone(), record_type: RecordType::CNAME };
    // Both zones have one name, so whatever is in one can be in the other.
    for set in validations {
        let name = set.name();
        if there.get(&alias(name)).is_none()
            && (desired.get(&alias(name)).is_none() || there.get(&texts(name)).is_some())
        {
            // A name has texts or an alias; what the copy has is kept.
            wanted.remove(&alias(name));
            drop(wanted.insert(set.clone()));
        }
    }
    let aliases = there.sets().filter(|set| is_validation(set.key()) && set.record_type() == RecordType::CNAME);
    for set in aliases {
        wanted.remove(&texts(set.name()));
        drop(wanted.insert(set.clone()));
    }
    let own = RecordKey { name: there.name().clone(), record_type: RecordType::NS };
    if let Some(own) = there.get(&own).filter(|_| nameservers == Nameservers::AsThere) {
        drop(wanted.insert(own.clone()));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{memory::MemoryDns, testkit::block_on};

    const ZONE: &str = "$TTL 3600\n@ SOA ns1.a. root.a. 1 2 3 4 5\n@ NS ns1.a.\n@ A 192.0.2.1\nwww A 192.0.2.1\n";

    fn zone(text: &str) -> Zone {
        Zone::parse(&"example.org".parse().unwrap(), text.as_bytes()).unwrap()
    }

    fn cluster(copies: &[(&str, &MemoryDns)], nameservers: Nameservers) -> DnsCluster {
        let empty = DnsCluster::new(PlanGuard::new());
        copies.iter().fold(empty, |cluster, (name, copy)| cluster.copy(*name, Arc::new((*copy).clone()), nameservers))
    }

    fn with(text: &str) -> MemoryDns {
        let dns = MemoryDns::new();
        dns.place(&zone(text));
        dns
    }

    fn run(cluster: &DnsCluster, desired: &Zone, reason: Option<&str>) -> Result<Vec<CopyOutcome>, ClusterRefused> {
        block_on(async {
            let read = cluster.read(desired.name()).await;
            cluster.apply(cluster.plan(desired, read), reason).await
        })
    }

    #[test]
    fn all_copies_become_the_same() {
        let older = ZONE.replace("www A 192.0.2.1", "www A 192.0.2.9\nold A 192.0.2.9");
        let (a, b) = (with(ZONE), with(&older));
        let desired = zone(&ZONE.replace("www A 192.0.2.1", "www 60 A 192.0.2.2\nnew TXT \"x\""));
        let outcomes = run(&cluster(&[("a", &a), ("b", &b)], Nameservers::AsDesired), &desired, Some("test")).unwrap();
        assert!(
            outcomes.iter().all(|outcome| outcome.result.is_ok() && outcome.change == CopyChange::Yes),
            "{outcomes:?}"
        );
        for copy in [&a, &b] {
            assert!(copy.zone(desired.name()).unwrap().has_content_of(&desired));
        }
        // A second time there is nothing to do.
        let again = run(&cluster(&[("a", &a), ("b", &b)], Nameservers::AsDesired), &desired, None).unwrap();
        assert!(again.iter().all(|outcome| outcome.result.is_ok() && outcome.change == CopyChange::No), "{again:?}");
    }

    #[test]
    fn one_dangerous_copy_stops_all() {
        let (a, b) = (with(ZONE), with(&ZONE.replace("ns1.a.\n@ A", "ns9.b.\n@ A")));
        let desired = zone(&ZONE.replace("192.0.2.1", "192.0.2.2"));
        let both = [("a", &a), ("b", &b)];
        let refused = run(&cluster(&both, Nameservers::AsDesired), &desired, None).unwrap_err();
        assert_eq!((refused.name.as_str(), &refused.refused.risks[..]), ("b", &[Risk::ApexNameServers][..]));
        assert!(a.zone(desired.name()).unwrap().has_content_of(&zone(ZONE)), "a copy was changed");
        // Each keeps its own, or somebody answers for it.
        run(&cluster(&both, Nameservers::AsThere), &desired, None).unwrap();
        let own = RecordKey { name: desired.name().clone(), record_type: RecordType::NS };
        assert_ne!(b.zone(desired.name()).unwrap().get(&own), desired.get(&own));
        run(&cluster(&both, Nameservers::AsDesired), &desired, Some("the delegation was moved")).unwrap();
        assert_eq!(b.zone(desired.name()).unwrap().get(&own), desired.get(&own));
    }

    #[test]
    fn a_copy_that_is_away_is_told_and_the_others_go_on() {
        let (a, away) = (with(ZONE), MemoryDns::new());
        let desired = zone(&ZONE.replace("www A", "www 60 A"));
        let outcomes = run(&cluster(&[("away", &away), ("a", &a)], Nameservers::AsDesired), &desired, None).unwrap();
        assert!(matches!(outcomes[0].result, Err(DnsError::NotFound { .. })) && outcomes[1].result.is_ok());
        assert!(away.zone(desired.name()).is_none(), "an error was taken for an empty zone");
    }

    #[test]
    fn what_certificates_need_is_everywhere_and_never_removed() {
        let hash = "_0123456789abcdef0123456789abcdef";
        let a = with(&format!("{ZONE}_acme-challenge TXT \"one\"\n{hash} CNAME a.authority.test.\n"));
        let b = with(&format!("{ZONE}_acme-challenge 60 TXT \"two\"\n_cpanel-dcv-test-record.www TXT \"x\"\n"));
        let desired = zone(&ZONE.replace("www A", "www 60 A"));
        run(&cluster(&[("a", &a), ("b", &b)], Nameservers::AsDesired), &desired, None).unwrap();
        let texts =
            "_acme-challenge 60 TXT \"one\"\n_acme-challenge 60 TXT \"two\"\n_cpanel-dcv-test-record.www TXT \"x\"\n";
        let common = format!("{}{texts}", ZONE.replace("www A", "www 60 A"));
        assert!(b.zone(desired.name()).unwrap().has_content_of(&zone(&common)));
        let alias = format!("{common}{hash} CNAME a.authority.test.\n");
        assert!(a.zone(desired.name()).unwrap().has_content_of(&zone(&alias)));
        let key =
            |text: &str, record_type| RecordKey { name: format!("{text}.example.org").parse().unwrap(), record_type };
        for other in
            [key("www", RecordType::TXT), key("_dmarc", RecordType::TXT), key("_acme-challenge", RecordType::A)]
        {
            assert!(!is_validation(&other), "{other}");
        }
    }

    /// A name has an alias or texts, and each copy keeps what it has: nothing of it may stand in the way of another change.
    #[test]
    fn an_alias_for_one_copy_hinders_no_other() {
        let (alias, text) = ("_acme-challenge CNAME a.authority.test.\n", "_acme-challenge TXT \"one\"\n");
        let moved = ZONE.replace("www A", "www 60 A");
        for (a_has, b_has, desired_has) in
            [(alias, text, ""), (alias, text, text), (text, "", alias), ("", text, alias)]
        {
            let (a, b) = (with(&format!("{ZONE}{a_has}")), with(&format!("{ZONE}{b_has}")));
            let desired = zone(&format!("{moved}{desired_has}"));
            let outcomes = run(&cluster(&[("a", &a), ("b", &b)], Nameservers::AsDesired), &desired, None).unwrap();
            assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
            for (copy, had, other) in [(&a, a_has, b_has), (&b, b_has, a_has)] {
                let has = if had.is_empty() && desired_has.is_empty() { other } else { had };
                let has = if has.is_empty() { desired_has } else { has };
                assert!(
                    copy.zone(desired.name()).unwrap().has_content_of(&zone(&format!("{moved}{has}"))),
                    "{had:?} {other:?}"
                );
            }
        }
    }

    /// A plan that somebody made up.
    #[test]
    fn what_is_no_copy_is_not_said_to_be_changed() {
        let a = with(ZONE);
        let cluster = cluster(&[("a", &a)], Nameservers::AsDesired);
        let plan = ZonePlan::between(&zone(ZONE), &zone(&ZONE.replace("www A", "www 60 A"))).unwrap();
        let made_up = ClusterPlan { copies: vec![("b".to_owned(), Ok(plan))] };
        let outcomes = block_on(cluster.apply(made_up, None)).unwrap();
        assert!(outcomes[0].result.is_err() && outcomes[0].change == CopyChange::No);
    }
}
