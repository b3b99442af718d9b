//! Zones that come and go.

use super::{WhmDns, route::text};
use crate::{client::parameter, error::WhmError};
use clonepanel_core::dns::{DnsError, DomainName};
use std::net::Ipv4Addr;

impl WhmDns {
    /// Makes a zone from the server's template, with `address` in it. Its content is the server's idea: read it, and plan.
    ///
    /// # Errors
    /// [`DnsError::Refused`] when there is such a zone already, in the server's words; others by what to do next.
    ///
    /// # Cancel safety
    /// When dropped, the zone is there or not.
    pub async fn create_zone(&self, zone: &DomainName, address: Ipv4Addr) -> Result<(), DnsError> {
        let parameters = [parameter("domain", text(zone)), parameter("ip", address)];
        match self.client.write("adddns", &parameters).await {
            Ok(_) => self.expect(zone, Presence::There, "it reports success").await,
            Err(WhmError::Lost { detail }) => self.expect(zone, Presence::There, &detail).await,
            Err(error) => Err(self.error(error, zone)),
        }
    }

    /// Removes a zone that belongs to no account.
    ///
    /// # Errors
    /// [`DnsError::NotFound`] when there is none; [`DnsError::Refused`] when an account lives by it; others by what to do next.
    ///
    /// # Cancel safety
    /// When dropped, the zone is there or not.
    pub async fn remove_zone(&self, zone: &DomainName) -> Result<(), DnsError> {
        match self.client.write("killdns", &[parameter("domain", text(zone))]).await {
            Ok(_) => self.expect(zone, Presence::Gone, "it reports success").await,
            Err(WhmError::Lost { detail }) => self.expect(zone, Presence::Gone, &detail).await,
            Err(WhmError::Refused { reason, .. }) if reason.contains("does not exist") => Err(self.not_found(zone)),
            Err(error) => Err(self.error(error, zone)),
        }
    }

    /// Reads back whether a zone is there.
    async fn expect(&self, zone: &DomainName, presence: Presence, why: &str) -> Result<(), DnsError> {
        let found = match self.lines(zone).await {
            Ok(_) => Presence::There,
            Err(DnsError::NotFound { .. }) => Presence::Gone,
            Err(error) => return Err(self.unsettled(zone, &format!("{why}; then {error}"))),
        };
        if found == presence { Ok(()) } else { Err(self.unsettled(zone, why)) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    There,
    Gone,
}
