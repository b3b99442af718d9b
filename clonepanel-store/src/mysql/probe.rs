//! [`DatabaseProbe`]: whether a database lets its user in and answers.

use super::{
    DatabaseAddress, DatabaseError,
    format::name::quote,
    session::{Purpose, Session},
};
use async_trait::async_trait;
use clonepanel_core::health::{Class, HealthProbe, Observation, Phases, ProbeError};
use std::{io, time::Duration};
use tokio::time::{Instant, timeout};

/// Logs in to a database as its site does, asks it something, and reads from a table if one is named.
#[derive(Debug, Clone)]
pub struct DatabaseProbe {
    name: String,
    address: DatabaseAddress,
    table: Option<String>,
    slow: Option<Duration>,
    timeout: Duration,
}

impl DatabaseProbe {
    /// The database answers within 10 s.
    #[must_use]
    pub fn new(address: DatabaseAddress) -> Self {
        Self { name: address.to_string(), address, table: None, slow: None, timeout: Duration::from_secs(10) }
    }

    /// Reads a row of this table, too.
    #[must_use]
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = Some(name.into());
        self
    }

    /// A good answer that takes longer is [`Class::Slow`].
    #[must_use]
    pub const fn slow(mut self, after: Duration) -> Self {
        self.slow = Some(after);
        self
    }

    /// How long everything together may take.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn look(&self) -> Result<String, DatabaseError> {
        let mut session = Session::open(&self.address, Purpose::Catalogue).await?;
        let version = session.version().to_owned();
        if let Some(table) = &self.table {
            session.one("reading a row", &format!("SELECT 1 FROM {} LIMIT 1", quote(table))).await?;
        }
        session.close().await;
        Ok(version)
    }
}

#[async_trait]
impl HealthProbe for DatabaseProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Observation, ProbeError> {
        let begun = Instant::now();
        let seen = timeout(self.timeout, self.look()).await;
        let took = begun.elapsed();
        let (class, detail) = match seen {
            Ok(Ok(version)) if self.slow.is_some_and(|slow| took > slow) => (Class::Slow, version),
            Ok(Ok(version)) => (Class::Good, version),
            Ok(Err(error)) => (class(&error)?, error.line()),
            Err(_) => (Class::TimedOut, format!("no answer within {} s", self.timeout.as_secs_f32())),
        };
        let answered = (!class.is_failure()).then_some(took);
        Ok(Observation::new(class, took, detail).phases(Phases { answered, ..Phases::default() }))
    }
}

/// What an error says about the server; an error of its own when it says nothing about it.
fn class(error: &DatabaseError) -> Result<Class, ProbeError> {
    Ok(match error {
        DatabaseError::Denied { .. } => Class::Denied,
        DatabaseError::Silent { .. } | DatabaseError::Busy { .. } => Class::TimedOut,
        // Too many connections, of all or of this user.
        DatabaseError::Server { source, .. } if matches!(source.code, 1040 | 1203 | 1226) => Class::Overload,
        DatabaseError::Unreachable { source, .. } => match io_kind(source.as_ref()) {
            Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Class::Refused,
            Some(io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable) => Class::TimedOut,
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            )
            | None => Class::Reset,
            // No network, no descriptors: that is about this machine.
            Some(_) => return Err(ProbeError::Local { source: error.line().into() }),
        },
        _ => Class::WrongContent,
    })
}

fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let causes = std::iter::successors(Some(error), |cause| (*cause).source());
    causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind).last()
}
