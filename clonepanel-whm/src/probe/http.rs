//! [`HttpProbe`]: a page as a visitor gets it, at an address of our choice.

use super::{
    connection::{Clock, Connection, Ended, Look, Place, broken, client_config, valid_until},
    page::PageExpectation,
};
use crate::options::Trust;
use async_trait::async_trait;
use clonepanel_core::{
    health::{Class, HealthProbe, Observation, ProbeError},
    time::{Clock as _, SystemClock, Timestamp},
};
use futures_util::{FutureExt as _, future::FusedFuture as _};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONNECTION, HOST, LOCATION, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use rustls::ClientConfig;
use std::{net::IpAddr, pin::pin, sync::Arc, time::Duration};

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// Gets a page with a connection of its own: the name is resolved, or the address given; the certificate checked, if it is `https`; a status and
/// a text expected. Pages that lead to others of the same host are followed at the same address; a page that leads elsewhere is
/// judged by its own status.
#[derive(Debug)]
pub struct HttpProbe {
    name: String,
    url: Url,
    address: Option<IpAddr>,
    expected: PageExpectation,
    timeout: Duration,
    certificate_days: u32,
    config: Arc<ClientConfig>,
}

impl HttpProbe {
    /// The page at `url` answers with status 200 within 10 s, and with a certificate that leads to an authority of this machine.
    ///
    /// # Errors
    /// [`ProbeError::Unusable`] when it is no URL of `http` or `https`, or has a login in it.
    pub fn new(url: &str) -> Result<Self, ProbeError> {
        let unusable = |why: &str| ProbeError::Unusable { detail: format!("the URL {why}") };
        // Not in the message: it may hold a secret.
        let url = Url::parse(url).map_err(|_| unusable("is none: https://example.org/"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(unusable("must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(unusable("must not hold a login"));
        }
        let mut shown = url.clone();
        shown.set_query(None);
        shown.set_fragment(None);
        Ok(Self {
            name: shown.to_string(),
            url,
            address: None,
            expected: PageExpectation::new(),
            timeout: Duration::from_secs(10),
            certificate_days: 0,
            config: client_config(&Trust::System)?,
        })
    }

    /// Asks the server at this address, whatever the name resolves to.
    #[must_use]
    pub fn at(mut self, address: IpAddr) -> Self {
        self.name = format!("{} at {address}", self.name);
        self.address = Some(address);
        self
    }

    /// Expects this page, instead of any with status 200.
    #[must_use]
    pub fn expect(mut self, page: PageExpectation) -> Self {
        self.expected = page;
        self
    }

    /// How long everything together may take.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Says in the detail of a good answer when the certificate ends within so many days.
    #[must_use]
    pub const fn certificate_days(mut self, days: u32) -> Self {
        self.certificate_days = days;
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
        let mut url = self.url.clone();
        for _ in 0..=PageExpectation::REDIRECTS {
            let (answer, valid_until) = self.get(&url, clock).await?;
            let location = answer.location.as_deref();
            let next = location.and_then(|location| self.expected.next(url.as_str(), answer.status, location));
            match next.and_then(|next| Url::parse(&next).ok()) {
                Some(next) => url = next,
                None => return Ok(self.judge(&answer, valid_until, clock.elapsed())),
            }
        }
        Ok(PageExpectation::endless())
    }

    async fn get(&self, url: &Url, clock: &Clock) -> Look<(Answer, Option<Timestamp>)> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let place = Place { host, port: url.port_or_known_default().unwrap_or(443), address: self.address };
        let stream = place.connect(clock).await?;
        let (connection, valid_until) = if url.scheme() == "https" {
            let stream = place.encrypt(stream, &self.config, clock).await?;
            let until = valid_until(&stream);
            (Connection::Encrypted(Box::new(stream)), until)
        } else {
            (Connection::Plain(stream), None)
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD);
        let (mut sender, driver) = builder.handshake(TokioIo::new(connection)).await.map_err(|error| bad(&error))?;
        let exchange = async {
            let request = request(url)?;
            let response = sender.send_request(request).await.map_err(|error| bad(&error))?;
            clock.mark(|phases, now| phases.answered = Some(now));
            read(response).await
        };
        let (mut exchange, mut driver) = (pin!(exchange), pin!(driver.fuse()));
        loop {
            tokio::select! {
                biased;
                answer = &mut exchange => return Ok((answer?, valid_until)),
                // Whatever ends the connection shows in the exchange.
                _ = &mut driver, if !driver.is_terminated() => {}
            }
        }
    }

    fn judge(&self, answer: &Answer, valid_until: Option<Timestamp>, took: Duration) -> (Class, String) {
        let (class, mut detail) = self.expected.judge(answer.status, &answer.body, took);
        let warned = Duration::from_hours(24).saturating_mul(self.certificate_days);
        if let Some(until) = valid_until.filter(|until| !class.is_failure() && remaining(*until) < warned) {
            detail.push_str(&format!("; the certificate ends {until}"));
        }
        (class, detail)
    }
}

/// How long it is until then.
pub(super) fn remaining(until: Timestamp) -> Duration {
    until.since(SystemClock.now())
}

#[async_trait]
impl HealthProbe for HttpProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Observation, ProbeError> {
        Clock::look(self.timeout, async |clock| self.look(clock).await).await
    }
}

/// What a server answers.
struct Answer {
    status: u16,
    location: Option<String>,
    body: Vec<u8>,
}

fn request(url: &Url) -> Look<Request<Empty<Bytes>>> {
    let unusable = |_| Ended::Local(ProbeError::Unusable { detail: "the URL cannot be asked for".to_owned() });
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("clonepanel/", env!("CARGO_PKG_VERSION"), " (monitor)"))
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(unusable)
}

async fn read(response: Response<Incoming>) -> Look<Answer> {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (status, mut body, mut read) = (response.status().as_u16(), response.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| bad(&error))?.into_data() {
            read.extend_from_slice(&data[..data.len().min(PageExpectation::MAX_BODY - read.len())]);
            if read.len() == PageExpectation::MAX_BODY {
                break;
            }
        }
    }
    Ok(Answer { status, location, body: read })
}

/// An exchange that failed.
fn bad(error: &hyper::Error) -> Ended {
    if error.is_parse() {
        return Ended::Bad(Class::WrongContent, format!("no HTTP: {error}"));
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(source) = cause {
        if let Some(source) = source.downcast_ref() {
            return broken(source);
        }
        cause = source.source();
    }
    Ended::Bad(Class::Reset, error.to_string())
}
