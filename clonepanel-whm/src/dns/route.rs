//! [`Route`]: by whose functions a zone is read and written.

use super::WhmDns;
use crate::{client::parameter, error::WhmError, loose};
use clonepanel_core::dns::DomainName;
use serde_json::Value;

/// By whose functions a zone is read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// The reseller's own, for any zone that they control.
    Reseller,
    /// Those of the account that owns the zone.
    Account(String),
}

impl WhmDns {
    /// The way to a zone; `None` when only an account could lead there, and none owns the zone.
    pub(super) async fn route(&self, zone: &DomainName) -> Result<Option<Route>, WhmError> {
        if self.client.may(&["parse_dns_zone", "mass_edit_dns_zone"]).await? {
            return Ok(Some(Route::Reseller));
        }
        if !self.client.may(&["uapi_cpanel", "get_domain_info"]).await? {
            return Err(WhmError::Unsupported { function: "parse_dns_zone and mass_edit_dns_zone".to_owned() });
        }
        Ok(self.owner(zone).await?.map(Route::Account))
    }

    /// The account that owns a domain.
    pub(super) async fn owner(&self, zone: &DomainName) -> Result<Option<String>, WhmError> {
        let answer = self.client.read("get_domain_info", &[]).await?;
        let named = |item: &&Value| {
            let domain = item.get("domain").and_then(loose::text).and_then(|name| name.parse::<DomainName>().ok());
            domain.as_ref() == Some(zone)
        };
        let found = loose::list(answer.data.get("domains")).iter().find(named);
        Ok(found.and_then(|item| item.get("user")).and_then(loose::text))
    }

    pub(super) async fn items(&self, route: &Route, zone: &DomainName) -> Result<Vec<Value>, WhmError> {
        let parameters = [parameter("zone", text(zone))];
        let list = match route {
            Route::Reseller => {
                let mut answer = self.client.read("parse_dns_zone", &parameters).await?;
                answer.data.get_mut("payload").map(Value::take).unwrap_or_default()
            }
            Route::Account(user) => self.client.read_account(user, ("DNS", "parse_zone"), &parameters).await?.data,
        };
        match list {
            Value::Array(items) => Ok(items),
            _ => Err(WhmError::Protocol { detail: format!("the zone {zone} has no lines") }),
        }
    }
}

/// A zone's name as the server's functions take it: without the trailing dot.
pub(super) fn text(zone: &DomainName) -> String {
    zone.to_string().trim_end_matches('.').to_owned()
}
