//! [`DnsFixture`], and the zone that the rules are about.

use crate::dns::{DnsError, DnsProvider, DomainName, RecordSet, RecordType, Revision, Zone, ZonePlan};
use async_trait::async_trait;
use std::sync::Arc;

/// A provider to be tested, and what it has.
#[async_trait]
pub trait DnsFixture: Send + Sync {
    /// Makes the provider hold this zone, in the place of one of that name, as somebody else would: the revision becomes
    /// another. The serial need not be the zone's.
    async fn place(&self, zone: &Zone);

    /// The provider; each call may give another client of the same.
    async fn provider(&self) -> Arc<dyn DnsProvider>;

    /// A zone as it is, not seen through the provider; `None` when there is none. The form of what is not read here, and the
    /// revision, may be others than the provider's.
    async fn far(&self, name: &DomainName) -> Option<Zone>;
}

pub(super) const ZONE: &str = "contract.example";

pub(super) fn name(text: &str) -> DomainName {
    DomainName::parse_in(text, &ZONE.parse().expect("a valid name")).expect("a valid name")
}

/// The contents that a hosting zone has, with records of a type that nobody knows.
pub(super) fn zone() -> Zone {
    parse(
        "$TTL 3600\n\
         @ SOA ns1.host.example. hostmaster.host.example. 2026091500 3600 1800 1209600 86400\n\
         @ 86400 NS ns1.host.example.\n\
         @ 86400 NS ns2.host.example.\n\
         @ A 192.0.2.1\n\
         @ AAAA 2001:db8::1\n\
         @ MX 0 mail.contract.example.\n\
         @ TXT \"v=spf1 ip4:192.0.2.1 -all\"\n\
         mail A 192.0.2.1\n\
         www CNAME contract.example.\n\
         ftp CNAME contract.example.\n\
         _sip._tcp 300 SRV 10 20 5060 mail.contract.example.\n\
         default._domainkey TXT \"v=DKIM1; k=rsa; p=MIIB+gQAAQ/x+==\"\n\
         @ CAA 0 issue \"ca.example\"\n\
         odd TYPE65280 \\# 4 0a000001\n\
         odd TXT \"beside it\"\n",
    )
}

pub(super) fn parse(text: &str) -> Zone {
    let name = ZONE.parse().expect("a valid name");
    Zone::parse(&name, text.as_bytes()).expect("a valid zone")
}

/// The zone with more or other sets, each given as lines of a master file.
pub(super) fn with(zone: &Zone, lines: &str) -> Zone {
    let mut changed = zone.clone();
    for set in parse(&format!("$TTL 300\n{lines}\n")).sets() {
        changed.insert(set.clone()).expect("a name within the zone");
    }
    changed
}

pub(super) fn without(zone: &Zone, at: &str, record_type: RecordType) -> Zone {
    let mut changed = zone.clone();
    let key = changed.find(&name(at), record_type).expect("the set is there").key().clone();
    changed.remove(&key);
    changed
}

pub(super) fn plan(now: &Zone, desired: &Zone) -> ZonePlan {
    ZonePlan::between(now, desired).expect("one zone")
}

/// Changes of every kind: added, removed, replaced in part and in whole, other times to live, several types at one name.
pub(super) fn desired(now: &Zone) -> Zone {
    let changed = with(
        now,
        "@ A 192.0.2.7\n@ MX 10 mx1.example.net.\n@ MX 20 mx2.example.net.\nmail 60 A 192.0.2.1\nmail 60 A 192.0.2.9\n\
         www CNAME spare.example.net.\nnew A 192.0.2.8\nnew AAAA 2001:db8::8\n_epoch TXT \"v=1;epoch=42\"",
    );
    without(&without(&changed, "ftp", RecordType::CNAME), "_sip._tcp", RecordType::SRV)
}

/// The sets by which two states of one zone differ, apart from those that no plan changes.
pub(super) fn differences(left: &Zone, right: &Zone) -> Vec<String> {
    let different = |zone: &Zone, other: &Zone, mark: char| {
        let sets = zone.sets().filter(|set| set.is_managed());
        let lacking = sets.filter(|set| other.get(set.key()) != Some(*set));
        lacking.map(|set: &RecordSet| format!("{mark} {set}")).collect::<Vec<_>>()
    };
    [different(left, right, '-'), different(right, left, '+')].concat()
}

/// The zone as the fixture has it now.
pub(super) async fn far(fixture: &dyn DnsFixture) -> Zone {
    fixture.far(&name("@")).await.expect("the zone is there")
}

pub(super) async fn read(fixture: &dyn DnsFixture) -> Zone {
    fixture.provider().await.read(&name("@")).await.expect("read the zone")
}

pub(super) async fn apply(fixture: &dyn DnsFixture, plan: &ZonePlan) -> Result<Revision, DnsError> {
    fixture.provider().await.apply(plan).await
}
