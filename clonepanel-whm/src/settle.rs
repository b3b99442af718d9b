//! What became of a change whose answer says nothing, or not enough.

use async_trait::async_trait;
use clonepanel_core::dns::{Change, DnsError, Revision, Zone, ZonePlan};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// After a lost answer the zone is looked at again after these pauses: the change may still be under way.
const LOOKS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];
/// How long all that looking may take, apart from the calls.
const LOOKING: Duration = Duration::from_secs(10);

/// A change that can be sent again, since it names the revision that it is for: the server does it at most once.
#[async_trait]
pub(crate) trait Attempt: Sync {
    /// What is to be changed.
    fn plan(&self) -> &ZonePlan;
    /// Who changes it.
    fn endpoint(&self) -> &str;
    /// How long one call may take.
    fn deadline(&self) -> Duration;
    /// The zone as it is now.
    async fn look(&self) -> Result<Zone, DnsError>;
    /// Sends the change.
    async fn send(&self) -> Sent;
}

/// What came back.
pub(crate) enum Sent {
    /// Success; the new revision, where the server tells it.
    Done(Option<Revision>),
    /// The server says no; nothing was changed.
    Failed(DnsError),
    /// Nothing usable, for this reason: it was done or not.
    Lost(String),
    /// The zone has moved on.
    Stale,
}

/// Sends a change, and tells the truth about what became of it.
pub(crate) async fn apply(attempt: &dyn Attempt) -> Result<Revision, DnsError> {
    match attempt.send().await {
        Sent::Done(told) => confirm(attempt, told).await,
        Sent::Failed(error) => Err(error),
        Sent::Lost(why) => settle_in_time(attempt, &why).await,
        Sent::Stale => Err(conflict(attempt)),
    }
}

async fn settle_in_time(attempt: &dyn Attempt, why: &str) -> Result<Revision, DnsError> {
    match timeout(attempt.deadline() * 2 + LOOKING, settle(attempt, why)).await {
        Ok(settled) => settled,
        Err(_) => Err(unsettled(attempt, &format!("{why}; and it was not read back in time"))),
    }
}

/// Looks until the zone is seen to be new, or to be somebody else's; while it is seen to be old, sends the change once more.
async fn settle(attempt: &dyn Attempt, why: &str) -> Result<Revision, DnsError> {
    let plan = attempt.plan();
    let mut why = why.to_owned();
    for may_resend in [true, false] {
        let mut is_old = false;
        for pause in LOOKS {
            sleep(pause).await;
            match attempt.look().await {
                Ok(zone) if plan.changes().iter().all(|change| is_done(change, &zone)) => {
                    return Ok(zone.revision().clone());
                }
                // Somebody else's change came first, so ours cannot come any more.
                Ok(zone) if zone.revision() != plan.base() => return Err(conflict(attempt)),
                Ok(_) => is_old = true,
                Err(error) => (why, is_old) = (format!("{why}; then {error}"), false),
            }
        }
        if !(is_old && may_resend) {
            break;
        }
        match attempt.send().await {
            Sent::Failed(error) => return Err(error),
            Sent::Lost(detail) => why = detail,
            Sent::Done(_) | Sent::Stale => {}
        }
    }
    Err(unsettled(attempt, &why))
}

/// Reads back what a change that was reported as done has led to.
async fn confirm(attempt: &dyn Attempt, told: Option<Revision>) -> Result<Revision, DnsError> {
    let plan = attempt.plan();
    let zone = attempt.look().await;
    let zone =
        zone.map_err(|error| unsettled(attempt, &format!("it reports success; reading it back failed: {error}")))?;
    let now = zone.revision();
    match (plan.changes().iter().find(|change| !is_done(change, &zone)), told) {
        (None, _) => Ok(now.clone()),
        // Somebody else has written since.
        (Some(_), Some(told)) if *now != told && now != plan.base() => Ok(told),
        (Some(change), _) => Err(DnsError::Protocol {
            endpoint: attempt.endpoint().to_owned(),
            detail: format!("it reports success, and {} is not what was sent", change.key()),
            source: None,
        }),
    }
}

fn is_done(change: &Change, zone: &Zone) -> bool {
    zone.get(change.key()) == change.to()
}

fn conflict(attempt: &dyn Attempt) -> DnsError {
    DnsError::Conflict { endpoint: attempt.endpoint().to_owned(), zone: attempt.plan().zone().clone() }
}

fn unsettled(attempt: &dyn Attempt, detail: &str) -> DnsError {
    DnsError::Unsettled {
        endpoint: attempt.endpoint().to_owned(),
        zone: attempt.plan().zone().clone(),
        detail: detail.to_owned(),
    }
}
