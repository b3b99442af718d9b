//! [`UpdateDns`]: the zones of a name server that takes dynamic updates (RFC 2136), signed with TSIG (RFC 8945).

mod exchange;
mod rdata;

use crate::settle::{self, Attempt, Sent};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clonepanel_core::{
    dns::{Capabilities, Change, DnsError, DnsProvider, DomainName, RecordSet, RecordType, Revision, Zone, ZonePlan},
    secret::Secret,
};
use exchange::{Failure, Server};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Record, TSigner, rdata::tsig::TsigAlgorithm},
};
use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

/// Seconds by which the clocks of both ends may differ (RFC 8945, section 10).
const FUDGE_SECS: u16 = 300;
/// The largest update in bytes: what fits into one message.
const MAX_UPDATE_LEN: usize = 65_000;

/// Where a name server is, and the key that it knows.
#[derive(Debug, Clone)]
pub struct UpdateOptions {
    server: SocketAddr,
    key: DomainName,
    algorithm: KeyAlgorithm,
    secret: Secret,
    deadline: Duration,
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// HMAC with SHA-256.
    #[default]
    Sha256,
    /// HMAC with SHA-384.
    Sha384,
    /// HMAC with SHA-512.
    Sha512,
}

impl UpdateOptions {
    /// A server, and the name and the secret of a key, in base64 as in the server's own configuration.
    #[must_use]
    pub const fn new(server: SocketAddr, key: DomainName, secret: Secret) -> Self {
        Self { server, key, algorithm: KeyAlgorithm::Sha256, secret, deadline: Duration::from_secs(20) }
    }

    /// How the key signs. SHA-256 by default.
    #[must_use]
    pub const fn algorithm(mut self, algorithm: KeyAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// How long one exchange may take. 20 s by default.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// The secret of a key is not base64, or cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret of the key is not base64")]
#[non_exhaustive]
pub struct KeyError;

/// The zones of one name server. They are read by transfer (AXFR) and changed by updates; both are signed, and answers that are not
/// are not believed.
///
/// An update asks for the SOA that the plan was made for, so that it is done for one serial only, and the server does it as a whole.
#[derive(Clone)]
pub struct UpdateDns {
    server: Server,
}

impl fmt::Debug for UpdateDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UpdateDns").field(&self.server.endpoint).finish()
    }
}

impl UpdateDns {
    /// Prepares exchanges; nothing is sent yet.
    ///
    /// # Errors
    /// [`KeyError`] when the secret is not base64.
    pub fn new(options: &UpdateOptions) -> Result<Self, KeyError> {
        let secret = STANDARD.decode(options.secret.expose().trim()).map_err(|_| KeyError)?;
        let algorithm = match options.algorithm {
            KeyAlgorithm::Sha256 => TsigAlgorithm::HmacSha256,
            KeyAlgorithm::Sha384 => TsigAlgorithm::HmacSha384,
            KeyAlgorithm::Sha512 => TsigAlgorithm::HmacSha512,
        };
        let key = rdata::name(&options.key).map_err(|_| KeyError)?;
        let signer = TSigner::new(secret, algorithm, key, FUDGE_SECS).map_err(|_| KeyError)?;
        let endpoint = format!("{}@{}", options.key.to_string().trim_end_matches('.'), options.server);
        Ok(Self { server: Server { address: options.server, endpoint, signer, deadline: options.deadline } })
    }

    async fn transfer(&self, zone: &DomainName) -> Result<Zone, DnsError> {
        let mut message = Message::new(exchange::id(), MessageType::Query, OpCode::Query);
        let name = rdata::name(zone).map_err(|error| self.server.protocol(error.to_string()))?;
        message.add_query(Query::query(name, hickory_proto::rr::RecordType::AXFR));
        let answers = self.server.exchange(message).await.map_err(|failure| self.error(failure, zone))?;
        let mut sets: BTreeMap<_, (u32, Vec<_>)> = BTreeMap::new();
        for record in answers.iter().flat_map(|answer| &answer.answers) {
            let (name, data) = rdata::read(record).map_err(|detail| self.server.protocol(detail))?;
            let ttl = record.ttl.min(clonepanel_core::dns::MAX_TTL_SECS);
            let (shortest, set) = sets.entry((name, data.record_type())).or_insert_with(|| (ttl, Vec::new()));
            *shortest = ttl.min(*shortest);
            set.push(data);
        }
        let mut read = Zone::new(zone.clone(), Revision::new("-"));
        for ((name, _), (ttl, data)) in sets {
            let set = RecordSet::new(name, ttl, data).map_err(|error| self.server.protocol(error.to_string()))?;
            read.insert(set).map_err(|error| self.server.protocol(error.to_string()))?;
        }
        let serial = read.soa().map(|soa| soa.serial.to_string());
        serial.map(|serial| read.at(Revision::new(serial))).ok_or_else(|| self.server.protocol("no SOA".to_owned()))
    }

    fn error(&self, failure: Failure, zone: &DomainName) -> DnsError {
        let endpoint = self.server.endpoint.clone();
        match failure {
            Failure::Denied(detail) => DnsError::Denied { endpoint, detail },
            // The server's own word: signed, but for the absence of a zone.
            Failure::Code(ResponseCode::NotAuth | ResponseCode::NotZone) => {
                DnsError::NotFound { endpoint, zone: zone.clone() }
            }
            Failure::Code(ResponseCode::Refused) => {
                DnsError::Denied { endpoint, detail: format!("the key has no right to this in {zone}") }
            }
            Failure::Code(ResponseCode::ServFail) => DnsError::Remote { endpoint, detail: "SERVFAIL".to_owned() },
            Failure::Code(code) => DnsError::Refused { endpoint, detail: format!("it answers {code}") },
            Failure::Unreachable(detail) | Failure::Lost(detail) => DnsError::Unreachable { endpoint, detail },
            Failure::Protocol(detail) => self.server.protocol(detail),
        }
    }
}

#[async_trait]
impl DnsProvider for UpdateDns {
    fn endpoint(&self) -> &str {
        &self.server.endpoint
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }

    async fn zones(&self) -> Result<Vec<DomainName>, DnsError> {
        Err(DnsError::Unsupported {
            endpoint: self.server.endpoint.clone(),
            detail: "a name server does not tell which zones it has: name them".to_owned(),
        })
    }

    async fn read(&self, zone: &DomainName) -> Result<Zone, DnsError> {
        self.transfer(zone).await
    }

    async fn apply(&self, plan: &ZonePlan) -> Result<Revision, DnsError> {
        let endpoint = || self.server.endpoint.clone();
        if let Some(detail) = self.capabilities().obstacle(plan) {
            return Err(DnsError::Unsupported { endpoint: endpoint(), detail });
        }
        let now = self.transfer(plan.zone()).await?;
        if now.revision() != plan.base() {
            return Err(DnsError::Conflict { endpoint: endpoint(), zone: plan.zone().clone() });
        }
        if plan.is_empty() {
            return Ok(plan.base().clone());
        }
        let update = update(plan, &now).map_err(|error| self.server.protocol(error.to_string()))?;
        let len = update.to_vec().map_or(usize::MAX, |octets| octets.len());
        if len > MAX_UPDATE_LEN {
            let detail = "the change does not fit into one message: make it in parts".to_owned();
            return Err(DnsError::Unsupported { endpoint: endpoint(), detail });
        }
        settle::apply(&Update { dns: self, plan, update }).await
    }
}

/// The plan as one update (RFC 2136, section 2): what goes comes first, since a CNAME beside other records is ignored silently.
fn update(plan: &ZonePlan, now: &Zone) -> Result<Message, hickory_proto::ProtoError> {
    let mut message = Message::new(exchange::id(), MessageType::Query, OpCode::Update);
    let zone = rdata::name(plan.zone())?;
    message.add_query(Query::query(zone, hickory_proto::rr::RecordType::SOA));
    // The SOA as it is, to the serial: otherwise nothing is done (section 2.4.2).
    if let Some(soa) = now.find(plan.zone(), RecordType::SOA) {
        message.add_answers(records(soa, 0)?);
    }
    for change in plan.changes() {
        if let Some(record) = going(plan.zone(), change)? {
            message.add_authority(record);
        }
    }
    for set in plan.changes().iter().filter_map(Change::to) {
        message.add_authorities(records(set, set.ttl_secs())?);
    }
    // A server keeps at least one name server at the top, so these go after the new ones have come.
    for change in plan.changes().iter().filter(|change| is_apex_ns(plan.zone(), change)) {
        let (Some(from), Some(to)) = (change.from(), change.to()) else { continue };
        for mut record in records_of(from, 0, |data| !to.data().contains(data))? {
            record.dns_class = DNSClass::NONE;
            message.add_authority(record);
        }
    }
    Ok(message)
}

fn is_apex_ns(zone: &DomainName, change: &Change) -> bool {
    change.key().record_type == RecordType::NS && change.key().name == *zone
}

fn going(zone: &DomainName, change: &Change) -> Result<Option<Record>, hickory_proto::ProtoError> {
    let Some(from) = change.from().filter(|_| !is_apex_ns(zone, change)) else { return Ok(None) };
    let mut record = Record::update0(rdata::name(from.name())?, 0, from.record_type().number().into());
    record.dns_class = DNSClass::ANY;
    Ok(Some(record))
}

fn records(set: &RecordSet, ttl: u32) -> Result<Vec<Record>, hickory_proto::ProtoError> {
    records_of(set, ttl, |_| true)
}

fn records_of(
    set: &RecordSet,
    ttl: u32,
    which: impl Fn(&clonepanel_core::dns::RecordData) -> bool,
) -> Result<Vec<Record>, hickory_proto::ProtoError> {
    let wanted = set.data().iter().filter(|data| which(data));
    wanted.map(|data| Ok(Record::from_rdata(rdata::name(set.name())?, ttl, rdata::write(data)))).collect()
}

struct Update<'a> {
    dns: &'a UpdateDns,
    plan: &'a ZonePlan,
    update: Message,
}

#[async_trait]
impl Attempt for Update<'_> {
    fn plan(&self) -> &ZonePlan {
        self.plan
    }

    fn endpoint(&self) -> &str {
        &self.dns.server.endpoint
    }

    fn deadline(&self) -> Duration {
        self.dns.server.deadline
    }

    async fn look(&self) -> Result<Zone, DnsError> {
        self.dns.transfer(self.plan.zone()).await
    }

    async fn send(&self) -> Sent {
        let mut update = self.update.clone();
        update.metadata.id = exchange::id();
        match self.dns.server.exchange(update).await {
            Ok(_) => Sent::Done(None),
            Err(Failure::Code(ResponseCode::NXRRSet)) => Sent::Stale,
            // What the server was about when it failed, it does not say.
            Err(Failure::Code(ResponseCode::ServFail)) => Sent::Lost("it answers SERVFAIL".to_owned()),
            // The same code for rights and for content: BIND refuses an MX to a name of the zone that has no address.
            Err(Failure::Code(ResponseCode::Refused)) => Sent::Failed(DnsError::Refused {
                endpoint: self.dns.server.endpoint.clone(),
                detail: "it answers REFUSED: the key may not change this, or the records do not fit together"
                    .to_owned(),
            }),
            Err(Failure::Lost(detail) | Failure::Protocol(detail)) => Sent::Lost(detail),
            Err(failure) => Sent::Failed(self.dns.error(failure, self.plan.zone())),
        }
    }
}
