//! Dynamic updates (RFC 2136) with TSIG, against a real BIND and a real Knot DNS.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: it fails by panicking")]

use async_trait::async_trait;
use clonepanel_core::{
    dns::{DnsError, DnsProvider, DomainName, RecordType, Zone, ZonePlan},
    dns_contract,
    secret::Secret,
    testkit::{block_on, dns::DnsFixture},
};
use clonepanel_tests::{Bind, Knot, UPDATE_KEY};
use clonepanel_whm::{KeyAlgorithm, UpdateDns, UpdateOptions};
use std::{net::SocketAddr, sync::Arc, time::Duration};

fn options(port: u16) -> UpdateOptions {
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    UpdateOptions::new(server, UPDATE_KEY.0.parse().unwrap(), Secret::new(UPDATE_KEY.1))
}

fn provider(port: u16) -> UpdateDns {
    UpdateDns::new(&options(port)).unwrap()
}

struct OverBind(Bind);

#[async_trait]
impl DnsFixture for OverBind {
    async fn place(&self, zone: &Zone) {
        self.0.place_dynamic(zone);
    }

    async fn provider(&self) -> Arc<dyn DnsProvider> {
        Arc::new(provider(self.0.port()))
    }

    async fn far(&self, name: &DomainName) -> Option<Zone> {
        self.0.transfer(name)
    }
}

dns_contract!(bind, OverBind(Bind::start()));

struct OverKnot(Knot);

/// The names of the contract's zones; Knot's are fixed when it starts.
const NAMES: [&str; 4] =
    ["contract.example", "alpha-contract.example", "mid-contract.example", "zeta-contract.example"];

#[async_trait]
impl DnsFixture for OverKnot {
    async fn place(&self, zone: &Zone) {
        self.0.place(zone);
    }

    async fn provider(&self) -> Arc<dyn DnsProvider> {
        Arc::new(provider(self.0.port()))
    }

    async fn far(&self, name: &DomainName) -> Option<Zone> {
        self.0.transfer(name)
    }
}

dns_contract!(knot, OverKnot(Knot::start(&NAMES)));

fn zone(extra: &str) -> Zone {
    let text = format!(
        "$TTL 3600\n@ SOA ns1.host.test. hostmaster.host.test. 7 3600 1800 1209600 86400\n@ NS ns1.host.test.\n\
         @ NS ns2.host.test.\n@ A 192.0.2.1\nwww CNAME example.org.\n{extra}"
    );
    Zone::parse(&"example.org".parse().unwrap(), text.as_bytes()).unwrap()
}

/// What updates are known to ignore silently, or to do in another way than they are written.
#[test]
fn name_servers_and_changes_of_type() {
    let (bind, knot) = (Bind::start(), Knot::start(&["example.org"]));
    bind.place_dynamic(&zone(""));
    knot.place(&zone(""));
    block_on(async {
        for dns in [provider(bind.port()), provider(knot.port())] {
            let name: DomainName = "example.org".parse().unwrap();
            let now = dns.read(&name).await.unwrap();
            let text = "$TTL 60\n@ NS ns2.host.test.\n@ NS ns3.host.test.\n@ A 192.0.2.2\nwww A 192.0.2.2\nwww TXT x\n";
            let mut desired = Zone::parse(&name, text.as_bytes()).unwrap();
            desired.insert(now.find(&name, RecordType::SOA).unwrap().clone()).unwrap();
            let revision = dns.apply(&ZonePlan::between(&now, &desired).unwrap()).await.unwrap();
            let read = dns.read(&name).await.unwrap();
            assert!(read.has_content_of(&desired), "{read}");
            assert_eq!(*read.revision(), revision);
            // And back.
            dns.apply(&ZonePlan::between(&read, &zone("")).unwrap()).await.unwrap();
            assert!(dns.read(&name).await.unwrap().has_content_of(&zone("")));
        }
    });
}

#[test]
fn a_large_zone_comes_over_in_many_messages() {
    let many: String = (0..5000).map(|n| format!("n{n} TXT \"{}\"\n", "x".repeat(200))).collect();
    let (bind, knot) = (Bind::start(), Knot::start(&["example.org"]));
    bind.place_dynamic(&zone(&many));
    knot.place(&zone(&many));
    block_on(async {
        for dns in [provider(bind.port()), provider(knot.port())] {
            assert!(dns.read(&"example.org".parse().unwrap()).await.unwrap().has_content_of(&zone(&many)));
        }
    });
}

#[test]
fn wrong_keys_are_told_from_absent_zones() {
    let bind = Bind::start();
    bind.place_dynamic(&zone(""));
    let name: DomainName = "example.org".parse().unwrap();
    let server = SocketAddr::from(([127, 0, 0, 1], bind.port()));
    let wrong_secret = UpdateOptions::new(server, UPDATE_KEY.0.parse().unwrap(), Secret::new("d3Jvbmc="));
    let wrong_name = UpdateOptions::new(server, "other".parse().unwrap(), Secret::new(UPDATE_KEY.1));
    block_on(async {
        for options in [wrong_secret, wrong_name, options(bind.port()).algorithm(KeyAlgorithm::Sha512)] {
            let dns = UpdateDns::new(&options).unwrap();
            let error = dns.read(&name).await.unwrap_err();
            assert!(matches!(error, DnsError::Denied { .. }), "{error:?}");
            assert!(!format!("{error:?} {dns:?} {options:?}").contains(UPDATE_KEY.1));
        }
        let absent = provider(bind.port()).read(&"absent.example".parse().unwrap()).await;
        assert!(matches!(absent, Err(DnsError::NotFound { .. })), "{absent:?}");
    });
    let not_base64 = UpdateOptions::new(server, name, Secret::new("?"));
    assert!(UpdateDns::new(&not_base64).is_err());
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    block_on(async {
        let dns = UpdateDns::new(&options(port).deadline(Duration::from_millis(300))).unwrap();
        let error = dns.read(&"example.org".parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, DnsError::Unreachable { .. }), "{error:?}");
    });
    drop(listener);
    block_on(async {
        let error = provider(port).read(&"example.org".parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, DnsError::Unreachable { .. }), "{error:?}");
    });
}
