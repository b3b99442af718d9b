//! [`WhmOptions`]: where a server is, who logs in, and by what it is recognised.

use crate::error::WhmError;
use clonepanel_core::secret::Secret;
use reqwest::Url;
use std::time::Duration;

/// Where a WHM server is and how it is spoken to.
#[derive(Debug, Clone)]
pub struct WhmOptions {
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) token: Secret,
    pub(crate) trust: Trust,
    pub(crate) deadline: Duration,
    pub(crate) connect_deadline: Duration,
    pub(crate) calls: usize,
}

/// By what a server is recognised. There is no way to leave it out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Trust {
    /// The authorities that this machine trusts, and the server's name.
    #[default]
    System,
    /// PEM text: a server that presents exactly one of these certificates is trusted, whatever names it has; any other must
    /// have been issued, for its name, by one of them.
    Pem(Vec<u8>),
}

impl WhmOptions {
    /// A server at `https://host:2087`, a reseller and an API token of theirs.
    #[must_use]
    pub fn new(url: impl Into<String>, user: impl Into<String>, token: Secret) -> Self {
        Self {
            url: url.into(),
            user: user.into(),
            token,
            trust: Trust::System,
            deadline: Duration::from_secs(60),
            connect_deadline: Duration::from_secs(10),
            calls: 3,
        }
    }

    /// By what the server is recognised.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// How long one call may take, connecting and reading included. 60 s by default.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long connecting may take. 10 s by default.
    #[must_use]
    pub const fn connect_deadline(mut self, deadline: Duration) -> Self {
        self.connect_deadline = deadline;
        self
    }

    /// How many calls may be under way at a time; the firewalls of hosts react to bursts. 3 by default, at least 1, at most 8.
    #[must_use]
    pub const fn calls_at_a_time(mut self, calls: usize) -> Self {
        self.calls = calls;
        self
    }

    pub(crate) fn base(&self) -> Result<Url, WhmError> {
        let wrong = |what: &str| WhmError::Options { detail: format!("the URL of a WHM server {what}") };
        let url = Url::parse(&self.url).map_err(|_| wrong("is not a URL: https://alpha.example.net:2087"))?;
        if url.scheme() != "https" {
            return Err(wrong("must begin with https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("must not hold a login"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("ends with its port: https://alpha.example.net:2087"));
        }
        Ok(url)
    }
}
