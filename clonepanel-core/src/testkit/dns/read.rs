//! D6, D8, D9, D11: what is read.

use super::{
    super::store::hold,
    fixture::{DnsFixture, apply, differences, far, name, parse, plan, read, with, zone},
};
use crate::dns::{Caa, Capabilities, DnsError, DomainName, RecordData, RecordSet, Strings, Zone};
use bytes::Bytes;

/// D6: an absent zone is `NotFound`, for reading and for writing.
pub async fn d6_absence_is_said_and_never_guessed(fixture: &dyn DnsFixture) {
    fixture.place(&zone()).await;
    let provider = fixture.provider().await;
    let absent: DomainName = "absent.example".parse().expect("a valid name");
    // A name below a zone is no zone.
    for absent in [absent.clone(), name("www")] {
        let answer = provider.read(&absent).await;
        hold!("D6", matches!(answer, Err(DnsError::NotFound { .. })), "reading {absent} is answered {answer:?}");
    }
    let now = read(fixture).await;
    let mut elsewhere = Zone::new(absent.clone(), now.revision().clone());
    let nothing = elsewhere.clone();
    let set = RecordSet::new(absent, 300, [RecordData::A([192, 0, 2, 1].into())]).expect("a set");
    elsewhere.insert(set).expect("a name within the zone");
    let answer = provider.apply(&plan(&nothing, &elsewhere)).await;
    hold!("D6", matches!(answer, Err(DnsError::NotFound { .. })), "writing an absent zone is answered {answer:?}");
}

/// D8: all zones are listed.
pub async fn d8_all_zones_are_listed(fixture: &dyn DnsFixture) {
    let mut names = Vec::new();
    for label in ["zeta", "alpha", "mid"] {
        let other: DomainName = format!("{label}-contract.example").parse().expect("a valid name");
        let text =
            "$TTL 3600\n@ SOA ns1.host.example. root.host.example. 1 3600 1800 1209600 300\n@ NS ns1.host.example.\n";
        fixture.place(&Zone::parse(&other, text.as_bytes()).expect("a valid zone")).await;
        names.push(other);
    }
    names.sort();
    let provider = fixture.provider().await;
    let listed = match provider.zones().await {
        Ok(listed) => listed,
        Err(DnsError::Unsupported { detail, .. }) => {
            eprintln!("D8: not applicable: {detail}");
            return;
        }
        Err(error) => panic!("D8: the zones are not listed: {error:?}"),
    };
    let ours: Vec<_> = listed.iter().filter(|zone| names.contains(zone)).cloned().collect();
    hold!("D8", ours == names, "the zones are listed as {listed:?}");
    hold!("D8", listed.is_sorted(), "the list is not sorted: {listed:?}");
    for zone in &listed {
        let answer = provider.read(zone).await;
        hold!("D8", answer.is_ok(), "{zone} is listed and cannot be read: {:?}", answer.err());
    }
}

/// D9: every record comes back as it is, placed by others or written by the provider.
pub async fn d9_every_record_round_trips(fixture: &dyn DnsFixture) {
    fixture.place(&zone()).await;
    let now = read(fixture).await;
    let found = differences(&zone(), &now);
    hold!("D9", found.is_empty(), "what was placed is read differently: {found:?}");
    let hard = writable(&hard(&now), &fixture.provider().await.capabilities());
    apply(fixture, &plan(&now, &hard)).await.expect("apply a plan");
    let found = differences(&hard, &read(fixture).await);
    hold!("D9", found.is_empty(), "what was written is read differently: {found:?}");
    let found = differences(&hard, &far(fixture).await);
    hold!("D9", found.is_empty(), "what was written is there differently: {found:?}");
}

/// What the capabilities exclude is left out, and said; times to live are raised to what is possible.
fn writable(zone: &Zone, capabilities: &Capabilities) -> Zone {
    let mut writable = Zone::new(zone.name().clone(), zone.revision().clone());
    for set in zone.sets() {
        if set.is_managed() && !capabilities.writes(set.record_type()) {
            eprintln!("D9: not applicable in part: {}", set.record_type());
            continue;
        }
        let ttl = set.ttl_secs().max(capabilities.shortest_ttl_secs()).min(capabilities.longest_ttl_secs());
        let set = RecordSet::new(set.name().clone(), ttl, set.data().to_vec()).expect("a set");
        writable.insert(set).expect("a name within the zone");
    }
    writable
}

/// The zone with everything that is easily damaged on the way.
fn hard(now: &Zone) -> Zone {
    let mut zone = with(
        now,
        "* A 192.0.2.20\n*.sub A 192.0.2.21\n_dmarc 1 TXT \"v=DMARC1; p=none; pct=50%25\"\na+b TXT \"a+b\"\na=b&c TXT \"a=b&c\"\n\
         x2 2147483647 AAAA ::ffff:192.0.2.1\nx3 0 AAAA ::\nmx MX 65535 mx.contract.example.\n\
         mx MX 0 mx2.example.net.\n_x._udp SRV 0 0 0 .\n_y._udp SRV 65535 65535 65535 mail.contract.example.\n\
         under_score CNAME _target.example.net.\n_caa CAA 128 issuewild \"ca.example; account=\\\"1\\\"; x=a+b%20c\"",
    );
    let all: Vec<u8> = (0..=255).collect();
    let texts = [
        ("all", vec![all.clone()]),
        ("all", vec![b" leading and trailing ".to_vec(), b"\\\"quoted\\\";&=+%2B#?/'".to_vec()]),
        ("empty", vec![Vec::new()]),
        ("full", vec![vec![b'x'; 255]]),
        ("long", vec![vec![b'a'; 255], vec![b'+'; 255], vec![b'b'; 90]]),
        ("parts", vec![b"path=/".to_vec(), Vec::new(), "größe \u{202e}".as_bytes().to_vec()]),
    ];
    for (label, strings) in texts {
        let mut strings: Vec<Bytes> = strings.into_iter().map(Bytes::from).collect();
        if strings.iter().any(|string| string.len() > 255) {
            strings = Strings::new(strings.concat()).expect("a text").iter().cloned().collect();
        }
        let key = name(label);
        let old = zone.find(&key, crate::dns::RecordType::TXT).map(|set| set.data().to_vec()).unwrap_or_default();
        let data = RecordData::Txt(Strings::from_strings(strings).expect("strings"));
        let set = RecordSet::new(key, 600, old.into_iter().chain([data])).expect("a set");
        zone.insert(set).expect("a name within the zone");
    }
    let caa = Caa::new(0, "iodef", "mailto:a+b@example.org").expect("a property");
    zone.insert(RecordSet::new(name("iodef"), 600, [RecordData::Caa(caa)]).expect("a set")).expect("within");
    let longest = parse(&format!("{0}.{0}.{0}.{1} 300 A 192.0.2.24", "l".repeat(63), "m".repeat(44)));
    for set in longest.sets() {
        zone.insert(set.clone()).expect("within");
    }
    zone
}

/// D11: reading changes nothing, and a revision stands for one content.
pub async fn d11_reading_changes_nothing(fixture: &dyn DnsFixture) {
    fixture.place(&zone()).await;
    let before = fixture.far(&name("@")).await;
    let first = read(fixture).await;
    let second = read(fixture).await;
    hold!("D11", first == second, "two reads differ: {first:?} and {second:?}");
    hold!("D11", fixture.far(&name("@")).await == before, "reading has changed the zone");
    fixture.place(&with(&zone(), "theirs A 192.0.2.50")).await;
    let third = read(fixture).await;
    hold!("D11", third.revision() != first.revision(), "a changed zone has the same revision {}", third.revision());
    apply(fixture, &plan(&third, &with(&third, "ours A 192.0.2.51"))).await.expect("apply a plan");
    let revision = read(fixture).await.revision().clone();
    hold!("D11", revision != *third.revision(), "a plan was applied and the revision is still {revision}");
}
