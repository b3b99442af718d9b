//! The contract of DNS providers, run against WHM's zones by both routes, with a real BIND behind.

use async_trait::async_trait;
use clonepanel_core::{
    dns::{DnsProvider, DomainName, Zone},
    dns_contract,
    testkit::dns::DnsFixture,
};
use clonepanel_tests::WhmServer;
use clonepanel_whm::WhmDns;
use std::sync::Arc;

/// By whose functions zones are read and written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Reseller,
    Account,
}

struct Fixture {
    server: WhmServer,
    route: Route,
}

impl Fixture {
    fn new(route: Route) -> Self {
        let server = WhmServer::start();
        if route == Route::Account {
            server.forbid("parse_dns_zone");
            server.forbid("mass_edit_dns_zone");
        }
        Self { server, route }
    }
}

#[async_trait]
impl DnsFixture for Fixture {
    async fn place(&self, zone: &Zone) {
        if self.route == Route::Account {
            self.server.own(zone.name(), "alice");
        }
        self.server.place(zone);
    }

    async fn provider(&self) -> Arc<dyn DnsProvider> {
        Arc::new(WhmDns::new(self.server.client()))
    }

    async fn far(&self, name: &DomainName) -> Option<Zone> {
        self.server.bind().transfer(name)
    }
}

dns_contract!(reseller, Fixture::new(Route::Reseller));
dns_contract!(account, Fixture::new(Route::Account));
