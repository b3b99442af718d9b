//! [`WhmDns`]: the zones of a WHM server.

mod edit;
mod lifecycle;
mod line;
mod route;

use crate::{
    client::{WhmClient, parameter},
    error::WhmError,
    loose,
};
use async_trait::async_trait;
use clonepanel_core::dns::{Capabilities, Change, DnsError, DnsProvider, DomainName, Revision, Zone, ZonePlan};
use edit::{Batch, MAX_BATCH_ITEMS, MAX_BATCH_LEN};
use line::Lines;
use route::Route;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// After a lost answer the zone is looked at again after these pauses: the change may still be under way.
const LOOKS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];
/// How long all that looking may take, apart from the calls.
const LOOKING: Duration = Duration::from_secs(10);

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

    /// Finds out what became of a change whose answer says nothing, or not enough. While the zone is seen at the old serial, the
    /// change is sent once more, which the serial makes safe: the server does it at most once.
    async fn settle(&self, plan: &ZonePlan, route: &Route, batch: &[(String, Vec<u8>)], why: &str) -> Settled {
        let zone = plan.zone();
        let mut why = why.to_owned();
        for may_resend in [true, false] {
            let mut is_old = false;
            for pause in LOOKS {
                sleep(pause).await;
                match self.lines_by(route, zone).await {
                    Ok(lines) if is_applied(plan, &lines.zone) => return Ok(lines.zone.revision().clone()),
                    // Somebody else's change came first, so ours cannot come any more.
                    Ok(lines) if lines.zone.revision() != plan.base() => return Err(self.conflict(zone)),
                    Ok(_) => is_old = true,
                    Err(error) => (why, is_old) = (format!("{why}; then {error}"), false),
                }
            }
            if !(is_old && may_resend) {
                break;
            }
            match self.write(route, zone, plan.base(), batch).await {
                Err(WhmError::Lost { detail }) => why = detail,
                Err(error) if !is_stale(&error) => return Err(self.error(error, zone)),
                _ => {}
            }
        }
        Err(self.unsettled(zone, &why))
    }

    async fn settle_in_time(&self, plan: &ZonePlan, route: &Route, batch: &[(String, Vec<u8>)], why: &str) -> Settled {
        match timeout(self.client.deadline() * 2 + LOOKING, self.settle(plan, route, batch, why)).await {
            Ok(settled) => settled,
            Err(_) => Err(self.unsettled(plan.zone(), &format!("{why}; and it was not read back in time"))),
        }
    }

    /// Reads back what a change that was reported as done has led to.
    async fn confirm(&self, plan: &ZonePlan, route: &Route, told: Revision) -> Settled {
        let zone = plan.zone();
        let lines = match self.lines_by(route, zone).await {
            Ok(lines) => lines,
            Err(error) => {
                return Err(self.unsettled(zone, &format!("it reports success; reading it back failed: {error}")));
            }
        };
        let now = lines.zone.revision();
        match plan.changes().iter().find(|change| !change_is_applied(change, &lines.zone)) {
            None => Ok(now.clone()),
            // Somebody else has written since.
            Some(_) if *now != told && now != plan.base() => Ok(told),
            Some(change) => Err(DnsError::Protocol {
                endpoint: self.client.endpoint().to_owned(),
                detail: format!("it reports success, and {} is not what was sent", change.key()),
                source: None,
            }),
        }
    }

    fn unsettled(&self, zone: &DomainName, detail: &str) -> DnsError {
        DnsError::Unsettled {
            endpoint: self.client.endpoint().to_owned(),
            zone: zone.clone(),
            detail: detail.to_owned(),
        }
    }
}

/// What became of a change.
type Settled = Result<Revision, DnsError>;

fn change_is_applied(change: &Change, zone: &Zone) -> bool {
    zone.get(change.key()) == change.to()
}

fn is_applied(plan: &ZonePlan, zone: &Zone) -> bool {
    plan.changes().iter().all(|change| change_is_applied(change, zone))
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
        match self.write(&route, zone, plan.base(), &batch).await {
            Ok(told) => self.confirm(plan, &route, told).await,
            Err(error) if is_stale(&error) => Err(self.conflict(zone)),
            Err(WhmError::Lost { detail }) => self.settle_in_time(plan, &route, &batch, &detail).await,
            // An exception inside of the server says nothing about what was done before it.
            Err(error @ WhmError::Refused { .. }) => match self.lines_by(&route, zone).await {
                Ok(lines) if lines.zone.revision() == plan.base() => Err(self.error(error, zone)),
                _ => self.settle_in_time(plan, &route, &batch, &error.to_string()).await,
            },
            Err(error) => Err(self.error(error, zone)),
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
