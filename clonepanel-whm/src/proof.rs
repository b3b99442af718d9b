//! [`Proof`]: what the authoritative servers of a zone answer, each asked directly.

mod ask;
mod rdata;

use ask::{Answer, ask};
use clonepanel_core::dns::{RecordData, RecordKey, RecordType, Zone};
use futures_util::future::join_all;
use std::{collections::BTreeSet, fmt, net::SocketAddr, time::Duration};
use tokio::time::{Instant, sleep};

/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// A question over UDP is asked so often: datagrams get lost.
const TRIES: u32 = 2;
/// Between two looks at a server that does not answer as it should yet.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks every authoritative server of a zone directly, without recursion, over UDP and over TCP, until all of them answer as a zone
/// says or a deadline passes.
///
/// A server answers as it should when it is authoritative (AA) and gives for every set the same records with the same time to live. Sets
/// that a server does not answer for itself are not asked for: those below a delegation, and those that are not read here. The serial is
/// told and not compared: it is each server's own.
#[derive(Debug, Clone)]
pub struct Proof {
    servers: Vec<SocketAddr>,
    deadline: Duration,
}

/// What one server answered, the last time it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct ServerProof {
    /// The server.
    pub server: SocketAddr,
    /// The serial of its SOA, where it told one.
    pub serial: Option<u32>,
    /// How many sets it was asked for, over each transport.
    pub asked: usize,
    /// Where its answers are not as they should be; nothing when all is well.
    pub findings: Vec<Finding>,
    /// How long it took from the beginning until it answered as it should, or was given up.
    pub took: Duration,
}

/// An answer that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Finding {
    /// How it was asked.
    pub transport: DnsTransport,
    /// For what; `None` when the server answers nothing at all over this transport.
    pub key: Option<RecordKey>,
    /// What is wrong, in one line, safe on a terminal.
    pub what: String,
}

/// How a server was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums)]
pub enum DnsTransport {
    /// Datagrams. An answer that does not fit is asked for over TCP.
    Udp,
    /// A connection, as for long answers.
    Tcp,
}

impl fmt::Display for DnsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        })
    }
}

impl ServerProof {
    /// Whether it answers as it should.
    #[must_use]
    pub const fn is_right(&self) -> bool {
        self.findings.is_empty()
    }
}

impl Proof {
    /// These servers, which have 30 s unless told otherwise.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { servers: servers.into_iter().collect(), deadline: Duration::from_secs(30) }
    }

    /// How long the servers have to answer as they should. What was not asked for until then is a finding.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Asks for these sets of `zone`, those that it lacks too: a server must not have them either. The SOA is always asked for.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn run(&self, zone: &Zone, keys: &BTreeSet<RecordKey>) -> Vec<ServerProof> {
        let begun = Instant::now();
        let keys: Vec<_> = keys.iter().filter(|key| is_answered(zone, key)).collect();
        let servers = self.servers.iter().map(async |&server| {
            loop {
                let (serial, findings) = look(server, zone, &keys, begun + self.deadline).await;
                let took = begun.elapsed();
                if findings.is_empty() || took + PAUSE >= self.deadline {
                    return ServerProof { server, serial, asked: keys.len(), findings, took };
                }
                sleep(PAUSE).await;
            }
        });
        join_all(servers).await
    }
}

/// Whether an authoritative server answers for a set itself.
fn is_answered(zone: &Zone, key: &RecordKey) -> bool {
    if key.record_type == RecordType::SOA || !key.name.is_within(zone.name()) {
        return false;
    }
    if zone.get(key).is_some_and(|set| !set.is_managed()) {
        return false;
    }
    // At a delegation and below it, others are the authority.
    let mut at = Some(key.name.clone());
    while let Some(name) = at.filter(|name| name != zone.name()) {
        if zone.find(&name, RecordType::NS).is_some() {
            return false;
        }
        at = name.parent();
    }
    true
}

async fn look(server: SocketAddr, zone: &Zone, keys: &[&RecordKey], until: Instant) -> (Option<u32>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut serial = None;
    for transport in [DnsTransport::Udp, DnsTransport::Tcp] {
        let soa = RecordKey { name: zone.name().clone(), record_type: RecordType::SOA };
        match ask(server, transport, &soa).await {
            Ok(Answer { data, .. }) => match &data[..] {
                [(RecordData::Soa(soa), _)] => serial = Some(soa.serial),
                _ => findings.push(Finding { transport, key: Some(soa), what: "it has no such zone".to_owned() }),
            },
            // A server that is silent or lame is so for all of them.
            Err(what) => {
                findings.push(Finding { transport, key: None, what });
                continue;
            }
        }
        for &key in keys {
            if Instant::now() >= until {
                let what = "the deadline passed before it was asked for everything".to_owned();
                findings.push(Finding { transport, key: None, what });
                break;
            }
            match ask(server, transport, key).await {
                Ok(answer) => {
                    let what = difference(zone, key, &answer);
                    findings.extend(what.map(|what| Finding { transport, key: Some(key.clone()), what }));
                }
                // Whoever does not answer this will not answer the rest, each for as long.
                Err(what) => {
                    findings.push(Finding { transport, key: Some(key.clone()), what });
                    break;
                }
            }
        }
    }
    (serial, findings)
}

/// What is different from the zone.
fn difference(zone: &Zone, key: &RecordKey, answer: &Answer) -> Option<String> {
    let mut found: Vec<_> = answer.data.iter().map(|(data, _)| data).collect();
    found.sort();
    found.dedup();
    let Some(expected) = zone.get(key) else {
        return (!found.is_empty()).then(|| format!("it still has {}", shown(&found)));
    };
    let wanted: Vec<_> = expected.data().iter().collect();
    if found != wanted {
        return Some(if found.is_empty() { "it has none".to_owned() } else { format!("it has {}", shown(&found)) });
    }
    let other = answer.data.iter().map(|(_, ttl)| *ttl).find(|ttl| *ttl != expected.ttl_secs())?;
    Some(format!("its time to live is {other} s and not {} s", expected.ttl_secs()))
}

fn shown(found: &[&RecordData]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The names and types of all sets of a zone.
#[must_use]
pub fn all_keys(zone: &Zone) -> BTreeSet<RecordKey> {
    zone.sets().map(|set| set.key().clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clonepanel_core::dns::DomainName;

    #[test]
    fn nobody_is_asked_for_what_others_answer() {
        let name: DomainName = "example.org".parse().unwrap();
        let text = b"@ 60 SOA a. b. 1 2 3 4 5\n@ 60 NS a.\nwww 60 A 192.0.2.1\nsub 60 NS ns.sub\nns.sub 60 A 192.0.2.2\nodd 60 TYPE65280 \\# 0\n";
        let zone = Zone::parse(&name, text).unwrap();
        let asked: Vec<_> =
            all_keys(&zone).iter().filter(|key| is_answered(&zone, key)).map(ToString::to_string).collect();
        assert_eq!(asked, ["example.org. NS", "www.example.org. A"]);
    }
}
