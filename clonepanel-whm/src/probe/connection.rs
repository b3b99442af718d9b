//! [`Place`] and [`Connection`]: how a probe gets to a server, phase by phase, and what it means when it does not.

use crate::{options::Trust, tls};
use clonepanel_core::{
    health::{Class, Observation, Phases, ProbeError},
    time::Timestamp,
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

/// What came of a look.
pub(crate) type Look<T> = Result<T, Ended>;

/// Why a look is over.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It showed something bad.
    Bad(Class, String),
    /// It could not be done.
    Local(ProbeError),
}

/// Where a server is, and who it says it is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Its address; `None` to ask for it.
    pub(crate) address: Option<IpAddr>,
}

/// How long each phase of a look took, as far as it got. Read by the deadline as well, which drops the look.
#[derive(Debug)]
pub(crate) struct Clock {
    begun: Instant,
    phases: Mutex<Phases>,
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) enum Connection {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Clock {
    /// Looks until a deadline; what is not there by then has not answered.
    pub(crate) async fn look(
        deadline: Duration,
        look: impl AsyncFnOnce(&Self) -> Look<(Class, String)>,
    ) -> Result<Observation, ProbeError> {
        let clock = Self { begun: Instant::now(), phases: Mutex::default() };
        let done = timeout_at(clock.begun + deadline, look(&clock)).await;
        let (took, phases) = (clock.elapsed(), *clock.lock());
        let (class, detail) = match done {
            Ok(Ok(seen)) => seen,
            Ok(Err(Ended::Bad(class, detail))) => (class, detail),
            Ok(Err(Ended::Local(error))) => return Err(error),
            Err(_) => {
                let detail = format!("{} within {} s", phases.missing(), deadline.as_secs_f32());
                (Class::TimedOut, detail)
            }
        };
        Ok(Observation::new(class, took, detail).phases(phases))
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// A phase ends now: the time since the beginning.
    pub(crate) fn mark(&self, set: impl FnOnce(&mut Phases, Duration)) {
        let elapsed = self.elapsed();
        set(&mut self.lock(), elapsed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Phases> {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What it is called in messages.
    pub(crate) fn shown(&self) -> String {
        match self.address {
            Some(address) => format!("{} at {}", self.host, SocketAddr::new(address, self.port)),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    pub(crate) async fn connect(&self, clock: &Clock) -> Look<TcpStream> {
        let address = match self.address {
            Some(address) => SocketAddr::new(address, self.port),
            None => self.resolve().await?,
        };
        clock.mark(|phases, now| phases.resolved = Some(now));
        let stream = TcpStream::connect(address).await.map_err(|error| not_connected(error, address))?;
        clock.mark(|phases, now| phases.connected = Some(now));
        Ok(stream)
    }

    async fn resolve(&self) -> Look<SocketAddr> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        match found.map(|mut addresses| addresses.next()) {
            Ok(Some(address)) => Ok(address),
            Ok(None) => Err(Ended::Bad(Class::Name, format!("{} has no address", self.host))),
            // The resolver of this machine does not answer: nobody knows whether there is such a name.
            Err(error) if error.to_string().contains("Temporary failure") => Err(local(error)),
            Err(error) => Err(Ended::Bad(Class::Name, error.to_string())),
        }
    }

    /// A connection on which the server has shown a certificate for its name that is valid now.
    pub(crate) async fn encrypt(
        &self,
        stream: TcpStream,
        config: &Arc<ClientConfig>,
        clock: &Clock,
    ) -> Look<TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.host.clone()).map_err(|_| {
            Ended::Local(ProbeError::Unusable { detail: format!("{} is no name of a server", self.host) })
        })?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map_err(not_encrypted)?;
        clock.mark(|phases, now| phases.encrypted = Some(now));
        Ok(stream)
    }
}

/// How servers are recognised.
pub(crate) fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, ProbeError> {
    let config = tls::config(trust).map_err(|error| ProbeError::Unusable { detail: error.to_string() })?;
    Ok(Arc::new(config))
}

/// Until when the certificate of a connection is valid.
pub(crate) fn valid_until(stream: &TlsStream<TcpStream>) -> Option<Timestamp> {
    let chain = stream.get_ref().1.peer_certificates()?;
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    Some(Timestamp::from_secs(certificate.validity().not_after.timestamp()))
}

fn local(error: io::Error) -> Ended {
    Ended::Local(ProbeError::Local { source: error.into() })
}

fn not_connected(error: io::Error, address: SocketAddr) -> Ended {
    let bad = |class| Ended::Bad(class, format!("{address}: {error}"));
    match error.kind() {
        io::ErrorKind::ConnectionRefused => bad(Class::Refused),
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable => bad(Class::TimedOut),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => bad(Class::Reset),
        // No network, no descriptors, no ports left: that is about this machine.
        _ => local(error),
    }
}

fn not_encrypted(error: io::Error) -> Ended {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => Ended::Bad(Class::Certificate, why.to_string()),
        Some(other) => Ended::Bad(Class::WrongContent, format!("no TLS: {other}")),
        None => broken(&error),
    }
}

/// A connection that broke.
pub(crate) fn broken(error: &io::Error) -> Ended {
    Ended::Bad(Class::Reset, error.to_string())
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_this_machine_is_not_blamed_on_the_server() {
        let address = SocketAddr::from(([192, 0, 2, 1], 80));
        let class = |code| match not_connected(io::Error::from_raw_os_error(code), address) {
            Ended::Bad(class, _) => Some(class),
            Ended::Local(_) => None,
        };
        // As Linux numbers them: descriptors, memory, addresses, networks.
        for (code, what) in [(24, None), (12, None), (99, None), (101, None), (13, None)] {
            assert_eq!(class(code), what, "{code}");
        }
        for (code, what) in [(111, Class::Refused), (110, Class::TimedOut), (113, Class::TimedOut), (104, Class::Reset)]
        {
            assert_eq!(class(code), Some(what), "{code}");
        }
    }
}
