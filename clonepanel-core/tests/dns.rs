//! Zones, plans and guards: laws for all zones, and the cases that have gone wrong elsewhere.
#![allow(clippy::unwrap_used, reason = "test code: it fails by panicking")]

use bytes::Bytes;
use clonepanel_core::dns::{
    Caa, Change, DomainName, MAX_TTL_SECS, Opaque, OpaqueForm, PlanGuard, RecordData, RecordSet, RecordType, Revision,
    Risk, Soa, Srv, Strings, Zone, ZonePlan,
};
use proptest::{collection::vec, prelude::*};

fn zone_name() -> DomainName {
    "example.org".parse().unwrap()
}

fn parse(text: &str) -> Zone {
    Zone::parse(&zone_name(), text.as_bytes()).unwrap()
}

fn plan(now: &str, desired: &str) -> ZonePlan {
    ZonePlan::between(&parse(now), &parse(desired)).unwrap()
}

fn octets(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=max).prop_map(Bytes::from)
}

fn any_name() -> impl Strategy<Value = DomainName> {
    vec(vec(any::<u8>(), 1..12), 0..4).prop_map(|labels| DomainName::from_labels(labels).unwrap())
}

fn opaque_type() -> impl Strategy<Value = RecordType> {
    prop_oneof![Just(RecordType::TLSA), Just(RecordType::NAPTR), (65280u16..65535).prop_map(RecordType::new)]
}

fn any_data() -> impl Strategy<Value = RecordData> {
    let srv = (any::<[u16; 3]>(), any_name());
    prop_oneof![
        any::<[u8; 4]>().prop_map(|address| RecordData::A(address.into())),
        any::<[u8; 16]>().prop_map(|address| RecordData::Aaaa(address.into())),
        (any::<u8>(), "[a-z0-9]{1,20}", octets(300))
            .prop_map(|(flags, tag, value)| RecordData::Caa(Caa::new(flags, &tag, value).unwrap())),
        any_name().prop_map(RecordData::Cname),
        (any::<u16>(), any_name()).prop_map(|(preference, name)| RecordData::Mx(preference, name)),
        any_name().prop_map(RecordData::Ns),
        any_name().prop_map(RecordData::Ptr),
        srv.prop_map(|([priority, weight, port], target)| RecordData::Srv(Srv { priority, weight, port, target })),
        vec(octets(255), 1..4).prop_map(|strings| RecordData::Txt(Strings::from_strings(strings).unwrap())),
        octets(900).prop_map(|text| RecordData::Txt(Strings::new(text).unwrap())),
        (opaque_type(), octets(40)).prop_map(|(record_type, wire)| {
            RecordData::Opaque(Opaque { record_type, form: OpaqueForm::Wire(wire) })
        }),
        (any_name(), any_name(), any::<[u32; 5]>()).prop_map(|(primary, responsible, n)| {
            let [serial, refresh, retry, expire, minimum] = n;
            RecordData::Soa(Soa { primary, responsible, serial, refresh, retry, expire, minimum })
        }),
    ]
}

/// Sets at few names, so that two zones meet at some.
fn any_zone() -> impl Strategy<Value = Zone> {
    let owner = prop_oneof!["[a-c]", Just("*".to_owned()), Just("_x.a+b".to_owned()), Just("@".to_owned())];
    vec((owner, 0..=MAX_TTL_SECS, vec(any_data(), 1..4)), 0..12).prop_map(|sets| {
        let mut zone = Zone::new(zone_name(), Revision::new("7"));
        for (owner, ttl, data) in sets {
            let owner = DomainName::parse_in(&owner, &zone_name()).unwrap();
            let first = data[0].record_type();
            let several = data.into_iter().filter(|data| data.record_type() == first);
            let data: Vec<_> = several.take(if first == RecordType::CNAME { 1 } else { 4 }).collect();
            if first == RecordType::SOA && data.len() > 1 {
                continue;
            }
            zone.insert(RecordSet::new(owner, ttl, data).unwrap()).unwrap();
        }
        zone
    })
}

fn managed(zone: &Zone) -> Vec<&RecordSet> {
    zone.sets().filter(|set| set.is_managed()).collect()
}

proptest! {
    #[test]
    fn a_plan_leads_to_what_is_desired(now in any_zone(), desired in any_zone()) {
        let plan = ZonePlan::between(&now, &desired).unwrap();
        prop_assert_eq!(plan.before(), &now);
        let after = plan.after();
        for set in managed(&desired) {
            let blocked = now.get(set.key()).is_some_and(|set| !set.is_managed());
            prop_assert!(blocked || after.get(set.key()) == Some(set));
            prop_assert_eq!(blocked, plan.left_alone().contains(set.key()));
        }
        for set in managed(after) {
            prop_assert_eq!(desired.get(set.key()), Some(set));
        }
        for set in now.sets().filter(|set| !set.is_managed()) {
            prop_assert_eq!(after.get(set.key()), Some(set), "what is not read here has changed");
        }
        prop_assert!(ZonePlan::between(after, &desired).unwrap().is_empty(), "a second plan finds something");
        // The changes alone say as much as the result.
        let mut changed = now.clone();
        for change in plan.changes() {
            match change {
                Change::Remove(set) => prop_assert_eq!(changed.remove(set.key()), Some(set.clone())),
                Change::Add(set) => prop_assert_eq!(changed.insert(set.clone()).unwrap(), None),
                Change::Replace { from, to } => {
                    prop_assert_eq!(changed.insert(to.clone()).unwrap(), Some(from.clone()));
                }
            }
        }
        prop_assert_eq!(&changed, after);
        prop_assert!(ZonePlan::between(&now, &now).unwrap().is_empty());
    }

    #[test]
    fn a_zone_that_is_shown_is_read_back(zone in any_zone()) {
        let text = zone.to_string();
        let read = Zone::parse(&zone_name(), text.as_bytes()).unwrap();
        prop_assert_eq!(read.at(zone.revision().clone()), zone);
        prop_assert!(text.bytes().all(|byte| byte == b'\n' || (0x20..0x7f).contains(&byte)));
    }

    #[test]
    fn words_are_read_back(data in any_data()) {
        let read = RecordData::from_words(data.record_type(), &data.to_words(), &zone_name());
        prop_assert_eq!(read, Ok(data));
    }

    #[test]
    fn any_text_is_read_or_refused(text: Vec<u8>, words in "[a-zA-Z0-9@ \\n\\t()\";$.\\\\#-]{0,80}") {
        for text in [&text[..], words.as_bytes()] {
            if let Ok(zone) = Zone::parse(&zone_name(), text) {
                let again = Zone::parse(&zone_name(), zone.to_string().as_bytes()).unwrap();
                prop_assert_eq!(again, zone);
            }
        }
    }
}

#[test]
fn a_master_file_as_people_write_it() {
    let zone = parse(
        "; a comment\n$TTL 4h\n$ORIGIN org.\nexample 1D IN SOA ns1.host.test. hostmaster.host.test. (\n\t2026091502 ; serial\n\
         \t1h 30m\n\t2w 1d )\n\tIN NS ns1.host.test.\n\tNS ns2.host.test.\n$ORIGIN example.org.\nwww 300 IN CNAME @\n\
         big IN 60 TXT ( \"one ; not a comment\"\n  two\\032words \"th\\\"ree\" )\n@ 900 A 192.0.2.1\n@ 60 A 192.0.2.2\n\
         _443._tcp TLSA 3 1 1 abcd\nodd TYPE65280 \\# 2 0A 0b\nn NAPTR 100 10 \"u\" \"sip+E2U\" \"!^.*$!x!\" .\n",
    );
    assert_eq!(zone.revision().as_str(), "2026091502");
    let shown = "example.org. 86400 IN SOA ns1.host.test. hostmaster.host.test. 2026091502 3600 1800 1209600 86400\n\
                 example.org. 60 IN A 192.0.2.1\nexample.org. 60 IN A 192.0.2.2\n\
                 example.org. 14400 IN NS ns1.host.test.\nexample.org. 14400 IN NS ns2.host.test.\n\
                 _443._tcp.example.org. 14400 IN TLSA 3 1 1 abcd\n\
                 big.example.org. 60 IN TXT \"one ; not a comment\" \"two words\" \"th\\\"ree\"\n\
                 n.example.org. 14400 IN NAPTR 100 10 \"u\" \"sip+E2U\" \"!^.*$!x!\" .\n\
                 odd.example.org. 14400 IN TYPE65280 \\# 2 0a0b\nwww.example.org. 300 IN CNAME example.org.\n";
    assert_eq!(zone.to_string(), shown);
}

#[test]
fn a_master_file_that_cannot_be_read_names_the_line() {
    for (text, said) in [
        ("$INCLUDE /etc/passwd\n", "line 1: $INCLUDE is not supported here"),
        ("$TTL 60\n\n@ A 192.0.2.256\n", "line 3: A: not an address"),
        ("$TTL 60\n@ TXT \"open\n", "line 2: a quote is not closed"),
        ("$TTL 60\n@ TXT (a\nb", "line 2: a parenthesis is not closed"),
        ("$TTL 60\nwww CNAME a\nwww CNAME b\n", "line 4: www.example.org.: a name has only one record of this type"),
        ("$TTL 60\nexample.net. A 192.0.2.1\n", "line 3: example.net. A is not within example.org."),
        ("@ A 192.0.2.1\n", "line 1: no time to live, and no $TTL before"),
        ("$TTL 60\n A 192.0.2.1\n", "line 2: the first record has no name"),
        ("$TTL 60\n@ CH TXT a\n", "line 2: class CH is not IN"),
        ("$TTL 60\n@ MX mail\n", "line 2: MX: wrong number of fields"),
        ("$TTL 60\n@ MX 70000 mail\n", "line 2: MX: not a number that fits"),
        ("$TTL 9w999999d\n", "line 1: 9w999999d: not a number that fits"),
        ("$TTL 60\n@ \x1b[2J A\n", "line 2: \\x1b[2J: no such record type"),
    ] {
        assert_eq!(Zone::parse(&zone_name(), text.as_bytes()).unwrap_err().to_string(), said);
    }
}

#[test]
fn a_plan_shows_what_it_does() {
    let now = "$TTL 60\n@ NS ns1.a.\n@ A 192.0.2.1\n@ A 192.0.2.2\nold TXT \"x\"\nt TLSA 3 1 1 ab\n";
    let desired = "$TTL 60\n@ NS ns1.a.\n@ A 192.0.2.1\n@ A 192.0.2.3\nnew 5 AAAA ::1\nt TLSA 3 1 1 cd\n";
    let shown = "  example.org. 60 A 192.0.2.1\n- example.org. 60 A 192.0.2.2\n+ example.org. 60 A 192.0.2.3\n\
                 + new.example.org. 5 AAAA ::1\n- old.example.org. 60 TXT \"x\"\n\
                 ! t.example.org. TLSA differs and is left alone\n";
    assert_eq!(plan(now, desired).to_string(), shown);
    let other = Zone::new("example.net".parse().unwrap(), Revision::new("1"));
    assert!(ZonePlan::between(&parse(now), &other).is_err());
}

const BASE: &str = "$TTL 60\n@ NS ns1.a.\n@ NS ns2.a.\n@ A 192.0.2.1\nwww A 192.0.2.1\nwww AAAA ::1\n@ MX 0 www\n";

#[test]
fn dangerous_plans_are_refused_with_every_risk() {
    let risks = |desired: &str| PlanGuard::new().risks(&plan(BASE, desired));
    let name = |text: &str| -> DomainName { text.parse().unwrap() };
    assert_eq!(risks(BASE), []);
    assert_eq!(risks(&BASE.replace("192.0.2.1", "192.0.2.9")), [], "moving addresses is what this is for");
    assert_eq!(risks(&BASE.replace("www AAAA ::1\n", "")), [], "an address is left");
    assert_eq!(risks(&BASE.replace("ns2.a.", "ns3.a.")), [Risk::ApexNameServers]);
    assert_eq!(risks(&BASE.replace("@ A 192.0.2.1\n", "")), [Risk::LastAddress { name: name("example.org") }]);
    let without = BASE.replace("www A 192.0.2.1\nwww AAAA ::1\n", "");
    assert_eq!(risks(&without), [Risk::LastAddress { name: name("www.example.org") }]);
    assert_eq!(risks(&format!("{without}www CNAME other.example.\n")), [], "the CNAME leads to addresses");
    let beside = Risk::BesideCname { name: name("www.example.org") };
    assert_eq!(risks(&format!("{BASE}www CNAME other.example.\n")), [beside]);
    // An empty source of what is desired (external-dns, issues 414 and 1238).
    let all = [Risk::ApexNameServers, Risk::Emptied].into_iter();
    let all = all.chain(["example.org", "www.example.org"].map(|text| Risk::LastAddress { name: name(text) }));
    assert_eq!(risks(""), all.collect::<Vec<_>>());
}

#[test]
fn large_shares_are_refused_in_zones_of_some_size() {
    let lines =
        |range: std::ops::Range<u8>, text: &str| range.map(|n| format!("n{n} TXT {text}\n")).collect::<String>();
    let base = format!("$TTL 60\n@ NS a.\n{}", lines(0..19, "x"));
    let risks = |guard: &PlanGuard, desired: String| guard.risks(&plan(&base, &format!("$TTL 60\n@ NS a.\n{desired}")));
    let guard = PlanGuard::new();
    assert_eq!(risks(&guard, lines(6..19, "x")), [], "6 of 20 are 30 of a hundred");
    assert_eq!(risks(&guard, lines(7..19, "x")), [Risk::ManyRemoved { removed: 7, of: 20 }]);
    assert_eq!(risks(&guard, lines(0..10, "y") + &lines(10..19, "x")), []);
    let many = lines(0..11, "y") + &lines(11..19, "x");
    assert_eq!(risks(&guard, many.clone()), [Risk::ManyChanged { changed: 11, of: 20 }]);
    assert_eq!(risks(&guard.clone().most_changed_percent(60), many.clone()), []);
    assert_eq!(risks(&guard.clone().min_sets(21), many), []);
    assert_eq!(risks(&guard.most_removed_percent(40), lines(7..19, "x")), []);
}

#[test]
fn a_reason_lets_dangerous_plans_pass_but_not_senseless_ones() {
    let dangerous = plan(BASE, &BASE.replace("ns2.a.", "ns3.a."));
    let guard = PlanGuard::new();
    let refused = guard.check(&dangerous).unwrap_err();
    assert_eq!(refused.to_string(), "the plan for example.org. is dangerous: the name servers at the top change");
    assert!(guard.check_with_reason(&dangerous, " \t").is_err(), "a blank reason is none");
    let guarded = guard.check_with_reason(&dangerous, "moved to \x1b new servers").unwrap();
    assert_eq!(guarded.to_string(), "1 changes to example.org., because: moved to \\x1b new servers");
    assert_eq!(guarded.plan(), &dangerous);
    for desired in [String::new(), format!("{BASE}www CNAME other.example.\n")] {
        let senseless = plan(BASE, &desired);
        assert!(guard.check_with_reason(&senseless, "because I say so").is_err(), "{senseless}");
    }
    let harmless = plan(BASE, &format!("{BASE}new A 192.0.2.5\n"));
    assert_eq!(guard.check(&harmless).unwrap().reason(), None);
}

#[test]
fn copies_are_compared_by_content() {
    let soa = |serial: u32| format!("$TTL 60\n@ SOA a. b. {serial} 1 1 1 1\nwww A 192.0.2.1\n");
    let (left, right) = (parse(&soa(1)), parse(&soa(2)));
    assert!(left.has_content_of(&right) && left != right);
    assert!(!left.has_content_of(&parse(&(soa(1) + "x A 192.0.2.1\n"))));
    assert!(!parse(&(soa(1) + "x A 192.0.2.1\n")).has_content_of(&left));
    assert!(!left.has_content_of(&parse(&soa(1).replace("$TTL 60", "$TTL 61"))));
}
