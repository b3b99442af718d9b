//! What goes wrong with calls to WHM: the zone is old or new, the answer is the truth, and the next run converges.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: it fails by panicking")]

use clonepanel_core::{
    dns::{DnsError, DnsProvider, DomainName, RecordData, RecordSet, RecordType, Revision, Strings, Zone, ZonePlan},
    retry::Retry,
    testkit::block_on,
};
use clonepanel_tests::{Fault, WhmServer};
use clonepanel_whm::{Trust, WhmClient, WhmDns, WhmOptions};
use std::time::{Duration, Instant};

const ZONE: &str = "$TTL 3600\n\
    @ SOA ns1.host.test. hostmaster.host.test. 2026091500 3600 1800 1209600 86400\n\
    @ NS ns1.host.test.\n@ NS ns2.host.test.\n@ A 192.0.2.1\nwww A 192.0.2.1\nmail A 192.0.2.3\n@ MX 0 mail\n\
    default._domainkey TXT \"v=DKIM1; p=MIIB+gQ/AB+==\"\nodd TYPE65280 \\# 4 0a000001\n";

fn name() -> DomainName {
    "example.org".parse().unwrap()
}

fn zone() -> Zone {
    Zone::parse(&name(), ZONE.as_bytes()).unwrap()
}

fn moved(now: &Zone) -> Zone {
    let mut desired = now.clone();
    for line in ["@ 60 A 192.0.2.2\n", "www 60 A 192.0.2.2\n", "new 60 TXT \"a+b\"\n"] {
        for set in Zone::parse(&name(), line.as_bytes()).unwrap().sets() {
            desired.insert(set.clone()).unwrap();
        }
    }
    desired
}

fn plan(now: &Zone) -> ZonePlan {
    ZonePlan::between(now, &moved(now)).unwrap()
}

struct Case {
    server: WhmServer,
    dns: WhmDns,
}

impl Case {
    fn new() -> Self {
        Self::with(|options| options)
    }

    /// A case whose calls take a second and a half at most.
    fn impatient() -> Self {
        Self::with(|options| options.deadline(Duration::from_millis(1500)))
    }

    fn with(change: impl Fn(WhmOptions) -> WhmOptions) -> Self {
        let server = WhmServer::start();
        server.place(&zone());
        let dns = WhmDns::new(WhmClient::new(&change(server.options())).unwrap());
        Self { server, dns }
    }

    async fn read(&self) -> Zone {
        self.dns.read(&name()).await.unwrap()
    }

    fn served(&self) -> Zone {
        self.server.bind().transfer(&name()).unwrap()
    }

    /// Applies a plan whose first call to write goes wrong.
    async fn apply_with(&self, fault: Fault) -> Result<Revision, DnsError> {
        let plan = plan(&self.read().await);
        self.server.fault("mass_edit_dns_zone", fault);
        self.dns.apply(&plan).await
    }

    async fn assert_converges(&self) {
        let plan = plan(&self.read().await);
        self.dns.apply(&plan).await.unwrap();
        let served = self.served();
        assert!(moved(&served).has_content_of(&served), "{served}");
    }
}

/// It was done in the end, once, and everybody says so.
fn is_done(fault: Fault) {
    block_on(async {
        let case = Case::impatient();
        let before = case.read().await;
        let told = case.apply_with(fault).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        let served = case.served();
        assert!(moved(&before).has_content_of(&served), "{fault:?}: {served}");
        assert_eq!(served.soa().unwrap().serial.to_string(), told.as_str(), "{fault:?}");
        assert_eq!(told.as_str(), "2026091501", "{fault:?}: it was done more than once");
        case.assert_converges().await;
    });
}

/// Nothing was done, and the error is this.
fn is_refused(fault: Fault, expected: impl Fn(&DnsError) -> bool) {
    block_on(async {
        let case = Case::impatient();
        let before = case.served();
        let error = case.apply_with(fault).await.unwrap_err();
        assert!(expected(&error), "{fault:?}: {error:?}");
        assert_eq!(case.served(), before, "{fault:?}");
        case.assert_converges().await;
    });
}

#[test]
fn a_lost_answer_to_what_was_done() {
    is_done(Fault::LostAfter);
    is_done(Fault::Truncated);
    is_done(Fault::ErrorPageAfter);
    is_done(Fault::ExceptionAfter);
}

#[test]
fn a_lost_answer_to_what_was_not_done() {
    is_done(Fault::LostBefore);
}

#[test]
fn a_page_in_place_of_an_answer() {
    is_done(Fault::Page);
}

#[test]
fn an_error_page_before_anything_was_done() {
    is_done(Fault::ErrorPage);
}

#[test]
fn an_answer_that_never_ends() {
    is_done(Fault::Endless);
}

#[test]
fn an_answer_that_drips() {
    is_done(Fault::Drip);
}

#[test]
fn an_answer_that_comes_too_late() {
    is_done(Fault::SlowAnswer(Duration::from_secs(4)));
}

#[test]
fn a_change_that_is_done_after_the_deadline() {
    is_done(Fault::Slow(Duration::from_secs(3)));
}

#[test]
fn a_change_that_is_slow() {
    is_done(Fault::Slow(Duration::from_millis(300)));
}

#[test]
fn json_that_is_too_deep() {
    is_done(Fault::Deep);
}

#[test]
fn what_the_server_refuses_is_not_done() {
    is_refused(Fault::Exception, |error| matches!(error, DnsError::Refused { .. }));
    is_refused(Fault::Redirect, |error| matches!(error, DnsError::Protocol { .. }));
    is_refused(Fault::TooMany, |error| matches!(error, DnsError::Busy { .. }));
    is_refused(Fault::LoginPage, |error| matches!(error, DnsError::Denied { .. }));
}

#[test]
fn a_server_that_lies_is_caught() {
    is_refused(
        Fault::Lie,
        |error| matches!(error, DnsError::Protocol { detail, .. } if detail.contains("not what was sent")),
    );
    block_on(async {
        let case = Case::new();
        let error = case.apply_with(Fault::Damage).await.unwrap_err();
        assert!(
            matches!(&error, DnsError::Protocol { detail, .. } if detail.contains("not what was sent")),
            "{error:?}"
        );
        case.assert_converges().await;
    });
}

#[test]
fn a_third_party_is_a_conflict_and_keeps_its_record() {
    block_on(async {
        let case = Case::new();
        let error = case.apply_with(Fault::SomebodyElse).await.unwrap_err();
        assert!(matches!(error, DnsError::Conflict { .. }), "{error:?}");
        case.assert_converges().await;
        let theirs = case.read().await.find(&"somebody-else.example.org".parse().unwrap(), RecordType::TXT).cloned();
        assert!(theirs.is_some());
    });
}

#[test]
fn two_lost_answers_in_a_row_are_told() {
    block_on(async {
        let case = Case::new();
        case.server.fault("mass_edit_dns_zone", Fault::LostBefore);
        let error = case.apply_with(Fault::LostBefore).await.unwrap_err();
        assert!(matches!(error, DnsError::Unsettled { .. }), "{error:?}");
        assert_eq!(error.retry(), Retry::Later);
        assert_eq!(case.server.calls().iter().filter(|call| *call == "mass_edit_dns_zone").count(), 2);
        case.assert_converges().await;
    });
}

#[test]
fn a_change_that_cannot_be_read_back_is_told() {
    block_on(async {
        for fault in [Fault::LostAfter, Fault::SlowAnswer(Duration::ZERO)] {
            let case = Case::impatient();
            let plan = plan(&case.read().await);
            // The plan's own look at the zone works, and nothing after it.
            case.server.fault("parse_dns_zone", Fault::Slow(Duration::ZERO));
            (0..20).for_each(|_| case.server.fault("parse_dns_zone", Fault::Page));
            case.server.fault("mass_edit_dns_zone", fault);
            let error = case.dns.apply(&plan).await.unwrap_err();
            assert!(matches!(error, DnsError::Unsettled { .. }), "{error:?}");
            assert_eq!(case.server.calls().iter().filter(|call| *call == "mass_edit_dns_zone").count(), 1);
        }
    });
}

#[test]
fn reads_are_tried_again_where_that_can_help() {
    block_on(async {
        let case = Case::new();
        for fault in [Fault::LostBefore, Fault::Truncated, Fault::ErrorPage, Fault::TooMany] {
            (0..2).for_each(|_| case.server.fault("parse_dns_zone", fault));
            case.read().await;
        }
        (0..3).for_each(|_| case.server.fault("parse_dns_zone", Fault::ErrorPage));
        let error = case.dns.read(&name()).await.unwrap_err();
        assert!(matches!(error, DnsError::Remote { .. }), "{error:?}");
    });
}

#[test]
fn hostile_answers_end_within_the_deadline() {
    block_on(async {
        for (fault, said) in [
            (Fault::Page, "a page in place of JSON"),
            (Fault::Deep, "broken JSON"),
            (Fault::Endless, "longer than 8388608 bytes"),
            (Fault::Redirect, "not followed"),
            (Fault::Drip, "no answer within 1.5s"),
            (Fault::Slow(Duration::from_secs(30)), "no answer within 1.5s"),
        ] {
            let case = Case::impatient();
            case.dns.client().functions().await.unwrap();
            let started = Instant::now();
            case.server.fault("parse_dns_zone", fault);
            let error = case.dns.read(&name()).await.unwrap_err().to_string();
            assert!(error.contains(said), "{fault:?}: {error}");
            assert!(started.elapsed() < Duration::from_secs(6), "{fault:?} took {:?}", started.elapsed());
        }
    });
}

#[test]
fn only_the_right_certificate_is_trusted() {
    let other = WhmServer::start();
    let misnamed = WhmServer::start_named("alpha.example.net");
    let server = WhmServer::start();
    let pem = |server: &WhmServer| Trust::Pem(server.certificate_pem().as_bytes().to_vec());
    block_on(async {
        for (options, trusted) in [
            (server.options(), true),
            (server.options().trust(pem(&server)), true),
            (misnamed.options().trust(pem(&misnamed)), true),
            (misnamed.options(), false),
            (server.options().trust(Trust::System), false),
            (server.options().trust(pem(&other)), false),
        ] {
            let answer = WhmDns::new(WhmClient::new(&options).unwrap()).zones().await;
            match answer {
                Ok(_) => assert!(trusted),
                Err(DnsError::Untrusted { detail, .. }) => assert!(!trusted && detail.contains("ca_file"), "{detail}"),
                Err(error) => panic!("{error:?}"),
            }
        }
    });
    assert_eq!(
        (misnamed.calls().len(), other.calls().len()),
        (1, 0),
        "something was sent to a server that is not trusted"
    );
}

#[test]
fn a_refused_login_is_not_tried_again_and_nothing_shows_the_token() {
    let server = WhmServer::start();
    let pem = Trust::Pem(server.certificate_pem().as_bytes().to_vec());
    let dns = WhmDns::new(WhmClient::new(&server.options_with("WRONGTOKEN").trust(pem)).unwrap());
    block_on(async {
        for _ in 0..5 {
            let error = dns.zones().await.unwrap_err();
            assert!(matches!(error, DnsError::Denied { .. }), "{error:?}");
            for shown in [error.to_string(), format!("{error:?}"), format!("{dns:?}")] {
                assert!(!shown.contains("WRONGTOKEN"), "{shown}");
            }
        }
        assert_eq!(server.calls().len(), 2);
        let case = Case::new();
        case.apply_with(Fault::LostAfter).await.unwrap();
        let lines = case.server.request_lines();
        assert!(lines.len() > 3 && lines.iter().all(|line| !line.contains(case.server.token())), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains("192.0.2.2")), "records stand in a request line: {lines:?}");
    });
}

#[test]
fn missing_privileges_are_named() {
    block_on(async {
        let case = Case::new();
        for function in ["mass_edit_dns_zone", "get_domain_info"] {
            case.server.forbid(function);
        }
        let error = case.dns.read(&name()).await.unwrap_err();
        assert!(
            matches!(&error, DnsError::Unsupported { detail, .. } if detail.contains("mass_edit_dns_zone")),
            "{error:?}"
        );
        // Taken away after it was asked for.
        let case = Case::new();
        let plan = plan(&case.read().await);
        case.server.forbid("mass_edit_dns_zone");
        let error = case.dns.apply(&plan).await.unwrap_err();
        assert!(matches!(&error, DnsError::Denied { detail, .. } if detail.contains("Permission denied")), "{error:?}");
    });
}

#[test]
fn only_a_few_calls_are_under_way_at_a_time() {
    block_on(async {
        let case = Case::new();
        case.read().await;
        (0..12).for_each(|_| case.server.fault("parse_dns_zone", Fault::Slow(Duration::from_millis(100))));
        let mut reads = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let dns = case.dns.clone();
            reads.spawn(async move { dns.read(&name()).await.map(drop) });
        }
        reads.join_all().await.into_iter().for_each(|read| read.unwrap());
        assert_eq!(case.server.most_under_way(), 3);
    });
}

#[test]
fn other_lines_stay_to_the_byte() {
    block_on(async {
        let case = Case::new();
        let before = case.server.file(&name());
        case.apply_with(Fault::Slow(Duration::ZERO)).await.unwrap();
        let after = case.server.file(&name());
        let changed = |line: &&str| line.contains("192.0.2.1") || line.contains(";Serial");
        let untouched = |text: &str| text.lines().filter(|line| !changed(line)).map(str::to_owned).collect::<Vec<_>>();
        let (before, after) = (untouched(&before), untouched(&after));
        let ours = |line: &&String| line.contains("192.0.2.2") || line.contains("a+b");
        assert_eq!(before, after.iter().filter(|line| !ours(line)).cloned().collect::<Vec<_>>());
        assert_eq!(after.iter().filter(ours).count(), 3);
        assert!(before.iter().any(|line| line.starts_with("; cPanel first")), "{before:?}");
    });
}

/// Each writer adds records of its own, and plans anew after each conflict. `CLONEPANEL_RACES` says how many.
#[test]
fn racing_writers_lose_nothing() {
    let races: u32 = std::env::var("CLONEPANEL_RACES").map_or(20, |count| count.parse().unwrap());
    block_on(async {
        let case = Case::new();
        let write = async |side: &'static str| {
            let dns = WhmDns::new(case.server.client());
            let mut conflicts = 0;
            for round in 0..races {
                loop {
                    let now = dns.read(&name()).await.unwrap();
                    let mut desired = now.clone();
                    let text = RecordData::Txt(Strings::new(round.to_string()).unwrap());
                    let owner = format!("{side}{round}.example.org").parse().unwrap();
                    desired.insert(RecordSet::new(owner, 60, [text]).unwrap()).unwrap();
                    match dns.apply(&ZonePlan::between(&now, &desired).unwrap()).await {
                        Ok(_) => break,
                        Err(DnsError::Conflict { .. }) => conflicts += 1,
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
            conflicts
        };
        let (left, right) = futures_util::future::join(write("left"), write("right")).await;
        let served = case.served();
        let added =
            served.sets().filter(|set| ["left", "right"].iter().any(|side| set.name().to_string().starts_with(side)));
        assert_eq!(added.count(), 2 * races as usize, "after {left} and {right} conflicts");
    });
}

#[test]
fn zones_come_and_go() {
    block_on(async {
        let server = WhmServer::start();
        let dns = WhmDns::new(server.client());
        let other: DomainName = "new.example".parse().unwrap();
        assert_eq!(dns.zones().await.unwrap(), []);
        assert!(matches!(dns.remove_zone(&other).await, Err(DnsError::NotFound { .. })));
        server.fault("adddns", Fault::LostAfter);
        dns.create_zone(&other, [192, 0, 2, 7].into()).await.unwrap();
        assert_eq!(dns.zones().await.unwrap(), std::slice::from_ref(&other));
        let apex = dns.read(&other).await.unwrap().find(&other, RecordType::A).cloned().unwrap();
        assert_eq!(apex.data(), [RecordData::A([192, 0, 2, 7].into())]);
        let again = dns.create_zone(&other, [192, 0, 2, 7].into()).await.unwrap_err();
        assert!(matches!(&again, DnsError::Refused { detail, .. } if detail.contains("already exists")), "{again:?}");
        server.own(&other, "alice");
        let owned = dns.remove_zone(&other).await.unwrap_err();
        assert!(
            matches!(&owned, DnsError::Refused { detail, .. } if detail.contains("configured for HTTP use")),
            "{owned:?}"
        );
        assert!(server.bind().transfer(&other).is_some());
        let bare: DomainName = "bare.example".parse().unwrap();
        dns.create_zone(&bare, [192, 0, 2, 7].into()).await.unwrap();
        server.fault("killdns", Fault::LostAfter);
        dns.remove_zone(&bare).await.unwrap();
        assert_eq!(server.bind().transfer(&bare), None);
        server.fault("killdns", Fault::LostBefore);
        let lost = dns.remove_zone(&other).await;
        assert!(matches!(lost, Err(DnsError::Unsettled { .. })), "{lost:?}");
    });
}
