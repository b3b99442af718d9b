//! [`WhmDns`]: the zones of a WHM server.

mod edit;
mod lifecycle;
mod line;
mod route;

use crate::{
    client::{WhmClient, parameter},
    error::WhmError,
    loose,
    settle::{self, Attempt, Sent},
};
use async_trait::async_trait;
use clonepanel_core::dns::{Capabilities, DnsError, DnsProvider, DomainName, Revision, Zone, ZonePlan};
use edit::{Batch, MAX_BATCH_ITEMS, MAX_BATCH_LEN};
use line::Lines;
use route::Route;
use std::time::Duration;

/// The zones that a reseller controls on one WHM server.
///
/// A zone is read with `parse_dns_zone` and changed by one `mass_edit_dns_zone`, which the server does as a whole and for one
/// serial only; where the login lacks these, the functions of the account that owns the zone take their place. A server that has
/// neither is only refused: its older functions change a line each, with nothing to tell whether it is still the same line.
#[derive(Debug, Clone)]
pub struct WhmDns {
    client: WhmClient,
}

impl WhmDns {
    /// The zones of this server.
    #[must_use]
    pub const fn new(client: WhmClient) -> Self {
        Self { client }
    }

    /// The server.
    #[must_use]
    pub const fn client(&self) -> &WhmClient {
        &self.client
    }

    fn error(&self, error: WhmError, zone: &DomainName) -> DnsError {
        error.into_dns(self.client.endpoint(), Some(zone))
    }

    fn conflict(&self, zone: &DomainName) -> DnsError {
        DnsError::Conflict { endpoint: self.client.endpoint().to_owned(), zone: zone.clone() }
    }

    async fn lines(&self, zone: &DomainName) -> Result<(Route, Lines), DnsError> {
        let route = match self.route(zone).await {
            Ok(Some(route)) => route,
            Ok(None) => return Err(self.not_found(zone)),
            Err(error) => return Err(self.error(error, zone)),
        };
        Ok((route.clone(), self.lines_by(&route, zone).await?))
    }

    async fn lines_by(&self, route: &Route, zone: &DomainName) -> Result<Lines, DnsError> {
        let items = match self.items(route, zone).await {
            Ok(items) => items,
            Err(error) if is_no_zone(&error) => {
                // The server says the same of zones that it does not have and of those that are not ours.
                return Err(match self.listed().await {
                    Ok(listed) if !listed.contains(zone) => self.not_found(zone),
                    Ok(_) => DnsError::Denied {
                        endpoint: self.client.endpoint().to_owned(),
                        detail: format!("it lists {zone}, and says: {error}"),
                    },
                    Err(error) => self.error(error, zone),
                });
            }
            Err(error) => return Err(self.error(error, zone)),
        };
        Lines::read(zone, &items).map_err(|error| self.error(error, zone))
    }

    fn not_found(&self, zone: &DomainName) -> DnsError {
        DnsError::NotFound { endpoint: self.client.endpoint().to_owned(), zone: zone.clone() }
    }

    /// The zones that the server lists for us, sorted.
    async fn listed(&self) -> Result<Vec<DomainName>, WhmError> {
        let answer = self.client.read("listzones", &[]).await?;
        let items = loose::list(answer.data.get("zone")).iter();
        let names = items
            .filter_map(|item| item.get("domain").and_then(loose::text))
            .map(|name| name.parse().map_err(|error| WhmError::Protocol { detail: format!("listzones: {error}") }));
        let mut names = names.collect::<Result<Vec<DomainName>, _>>()?;
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn unsettled(&self, zone: &DomainName, detail: &str) -> DnsError {
        DnsError::Unsettled {
            endpoint: self.client.endpoint().to_owned(),
            zone: zone.clone(),
            detail: detail.to_owned(),
        }
    }
}

fn is_stale(error: &WhmError) -> bool {
    matches!(error, WhmError::Refused { reason, .. } if reason.contains("serial") && reason.contains("does not match"))
}

fn is_no_zone(error: &WhmError) -> bool {
    let says = |reason: &str| ["do not control", "does not exist"].iter().any(|words| reason.contains(words));
    matches!(error, WhmError::Refused { reason, .. } if says(reason))
}

#[async_trait]
impl DnsProvider for WhmDns {
    fn endpoint(&self) -> &str {
        self.client.endpoint()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }

    async fn zones(&self) -> Result<Vec<DomainName>, DnsError> {
        self.listed().await.map_err(|error| error.into_dns(self.client.endpoint(), None))
    }

    async fn read(&self, zone: &DomainName) -> Result<Zone, DnsError> {
        Ok(self.lines(zone).await?.1.zone)
    }

    async fn apply(&self, plan: &ZonePlan) -> Result<Revision, DnsError> {
        let zone = plan.zone();
        let unsupported = |detail| DnsError::Unsupported { endpoint: self.client.endpoint().to_owned(), detail };
        if let Some(detail) = self.capabilities().obstacle(plan) {
            return Err(unsupported(detail));
        }
        let (route, lines) = self.lines(zone).await?;
        if lines.zone.revision() != plan.base() {
            return Err(self.conflict(zone));
        }
        if plan.is_empty() {
            return Ok(plan.base().clone());
        }
        let batch = Batch::of(plan, &lines);
        if batch.len() > MAX_BATCH_ITEMS || batch.bytes() > MAX_BATCH_LEN {
            let (items, bytes) = (batch.len(), batch.bytes());
            return Err(unsupported(format!(
                "{items} lines ({bytes} bytes) are too much for one change: make it in parts"
            )));
        }
        let batch = batch.into_parameters();
        settle::apply(&MassEdit { dns: self, plan, route, batch }).await
    }
}

/// A plan on its way.
struct MassEdit<'a> {
    dns: &'a WhmDns,
    plan: &'a ZonePlan,
    route: Route,
    batch: Vec<(String, Vec<u8>)>,
}

#[async_trait]
impl Attempt for MassEdit<'_> {
    fn plan(&self) -> &ZonePlan {
        self.plan
    }

    fn endpoint(&self) -> &str {
        self.dns.client.endpoint()
    }

    fn deadline(&self) -> Duration {
        self.dns.client.deadline()
    }

    async fn look(&self) -> Result<Zone, DnsError> {
        Ok(self.dns.lines_by(&self.route, self.plan.zone()).await?.zone)
    }

    async fn send(&self) -> Sent {
        let zone = self.plan.zone();
        match self.dns.write(&self.route, zone, self.plan.base(), &self.batch).await {
            Ok(told) => Sent::Done(Some(told)),
            Err(error) if is_stale(&error) => Sent::Stale,
            Err(WhmError::Lost { detail }) => Sent::Lost(detail),
            // An exception inside of the server says nothing about what was done before it.
            Err(error @ WhmError::Refused { .. }) => match self.look().await {
                Ok(now) if now.revision() == self.plan.base() => Sent::Failed(self.dns.error(error, zone)),
                _ => Sent::Lost(error.to_string()),
            },
            Err(error) => Sent::Failed(self.dns.error(error, zone)),
        }
    }
}

impl WhmDns {
    async fn write(
        &self,
        route: &Route,
        zone: &DomainName,
        base: &Revision,
        batch: &[(String, Vec<u8>)],
    ) -> Result<Revision, WhmError> {
        let fixed = [parameter("zone", route::text(zone)), parameter("serial", base.as_str())];
        let batch = batch.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let parameters: Vec<_> = fixed.into_iter().chain(batch).collect();
        let answer = match route {
            Route::Reseller => self.client.write("mass_edit_dns_zone", &parameters).await?,
            Route::Account(user) => self.client.write_account(user, ("DNS", "mass_edit_zone"), &parameters).await?,
        };
        let serial = answer.data.get("new_serial").and_then(loose::text);
        serial.map(Revision::new).ok_or_else(|| WhmError::Lost { detail: "success without a new serial".to_owned() })
    }
}
