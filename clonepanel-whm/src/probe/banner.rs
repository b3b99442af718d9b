//! [`BannerProbe`]: a server that speaks first, as those of ssh, mail and FTP do.

use super::connection::{Clock, Ended, Look, Place, broken};
use async_trait::async_trait;
use clonepanel_core::health::{Class, HealthProbe, Observation, ProbeError};
use std::{net::IpAddr, time::Duration};
use tokio::io::AsyncReadExt as _;

/// So much of what a server says is read, in bytes.
const MAX_BANNER: usize = 512;

/// Connects to a port and, if something is expected there, waits for what the server says first.
#[derive(Debug)]
pub struct BannerProbe {
    name: String,
    place: Place,
    banner: Option<String>,
    timeout: Duration,
}

impl BannerProbe {
    /// Somebody takes connections to a port within 10 s.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        let place = Place { host: host.into(), port, address: None };
        Self { name: place.shown(), place, banner: None, timeout: Duration::from_secs(10) }
    }

    /// A server of ssh.
    #[must_use]
    pub fn ssh(host: impl Into<String>, port: u16) -> Self {
        Self::new(host, port).banner("SSH-")
    }

    /// What the server says begins with this.
    #[must_use]
    pub fn banner(mut self, text: impl Into<String>) -> Self {
        self.banner = Some(text.into());
        self
    }

    /// Asks the server at this address, whatever the name resolves to.
    #[must_use]
    pub fn at(mut self, address: IpAddr) -> Self {
        self.place.address = Some(address);
        self.name = self.place.shown();
        self
    }

    /// How long everything together may take.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn look(&self, clock: &Clock) -> Look<(Class, String)> {
        let mut stream = self.place.connect(clock).await?;
        let Some(expected) = &self.banner else { return Ok((Class::Good, "it takes connections".to_owned())) };
        let mut said = Vec::new();
        while said.len() < expected.len() || !said.contains(&b'\n') && said.len() < MAX_BANNER {
            let mut piece = [0; MAX_BANNER];
            let len = stream.read(&mut piece).await.map_err(|error| broken(&error))?;
            if len == 0 {
                break;
            }
            said.extend_from_slice(&piece[..len]);
        }
        clock.mark(|phases, now| phases.answered = Some(now));
        let line = String::from_utf8_lossy(said.split(|&b| b == b'\n').next().unwrap_or_default()).trim().to_owned();
        if said.starts_with(expected.as_bytes()) {
            return Ok((Class::Good, line));
        }
        Err(match said.is_empty() {
            true => Ended::Bad(Class::Reset, "it hung up without a word".to_owned()),
            false => Ended::Bad(Class::WrongContent, format!("it says {line:?}")),
        })
    }
}

#[async_trait]
impl HealthProbe for BannerProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Observation, ProbeError> {
        Clock::look(self.timeout, async |clock| self.look(clock).await).await
    }
}
