//! [`CertificateProbe`]: whether a certificate is good, and for how long.

use super::{
    connection::{Clock, Ended, Look, Place, client_config, valid_until},
    http::remaining,
};
use crate::options::Trust;
use async_trait::async_trait;
use clonepanel_core::health::{Class, HealthProbe, Observation, ProbeError};
use rustls::ClientConfig;
use std::{net::IpAddr, sync::Arc, time::Duration};

/// Looks at the certificate that a server shows for a name: that it is for this name, leads to an authority, and is valid for some time to come.
#[derive(Debug)]
pub struct CertificateProbe {
    name: String,
    place: Place,
    days: u32,
    timeout: Duration,
    config: Arc<ClientConfig>,
}

impl CertificateProbe {
    /// The certificate for `host` on port 443 leads to an authority of this machine, and is valid for 14 days at least.
    ///
    /// # Errors
    /// [`ProbeError::Unusable`] when this machine has no authorities.
    pub fn new(host: impl Into<String>) -> Result<Self, ProbeError> {
        let place = Place { host: host.into(), port: 443, address: None };
        let config = client_config(&Trust::System)?;
        Ok(Self {
            name: format!("certificate of {}", place.shown()),
            place,
            days: 14,
            timeout: Duration::from_secs(10),
            config,
        })
    }

    /// On another port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.place.port = port;
        self.name = format!("certificate of {}", self.place.shown());
        self
    }

    /// Asks the server at this address, whatever the name resolves to.
    #[must_use]
    pub fn at(mut self, address: IpAddr) -> Self {
        self.place.address = Some(address);
        self.name = format!("certificate of {}", self.place.shown());
        self
    }

    /// For how many days it must be valid still.
    #[must_use]
    pub const fn days(mut self, days: u32) -> Self {
        self.days = days;
        self
    }

    /// How long everything together may take. 10 s by default.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How the server is recognised.
    ///
    /// # Errors
    /// [`ProbeError::Unusable`] when the certificates cannot be used.
    pub fn trust(mut self, trust: &Trust) -> Result<Self, ProbeError> {
        self.config = client_config(trust)?;
        Ok(self)
    }

    async fn look(&self, clock: &Clock) -> Look<(Class, String)> {
        let stream = self.place.connect(clock).await?;
        let stream = self.place.encrypt(stream, &self.config, clock).await?;
        clock.mark(|phases, now| phases.answered = Some(now));
        let until = valid_until(&stream);
        let until = until.ok_or_else(|| Ended::Bad(Class::Certificate, "it does not say until when".to_owned()))?;
        if remaining(until) < Duration::from_hours(24).saturating_mul(self.days) {
            return Err(Ended::Bad(Class::Certificate, format!("it ends {until}")));
        }
        Ok((Class::Good, format!("it is valid until {until}")))
    }
}

#[async_trait]
impl HealthProbe for CertificateProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Observation, ProbeError> {
        Clock::look(self.timeout, async |clock| self.look(clock).await).await
    }
}
