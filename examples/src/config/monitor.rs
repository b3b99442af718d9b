//! `[site."NAME".monitor]`: how a site is watched.

use super::{
    ConfigError,
    section::{Located, Section},
};
use std::time::Duration;

/// How a site is watched.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Monitor {
    pub(crate) url: String,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) status: u16,
    /// A text that must be in the page.
    pub(crate) body: Option<String>,
    pub(crate) slow: Duration,
    pub(crate) certificate_days: u32,
    /// Good results in a row until it is up again, after having been down.
    pub(crate) rise: u32,
    /// Bad results in a row until it is down.
    pub(crate) fall: u32,
    /// From where it is looked at; never from nowhere.
    pub(crate) vantages: Vec<Vantage>,
    pub(crate) canaries: Vec<String>,
    /// From which load a processor on the server is slow, and from which it is overloaded; `None` when nobody looks.
    pub(crate) load: Option<(f64, f64)>,
}

/// From where a site is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Vantage {
    Here,
    /// The site's account on a server.
    Ssh(String),
}

impl Monitor {
    pub(super) fn read(site: &str, mut section: Section<'_>) -> Result<Self, ConfigError> {
        let document = section.document();
        let url = section.located::<String>("url")?;
        let url = match url {
            Some(url) if !url.value.starts_with("http://") && !url.value.starts_with("https://") => {
                let error = document.error(url.at, format!("{:?} is no page", url.value));
                return Err(error.hint("url = \"https://example.org/\""));
            }
            Some(url) => url.value,
            None => format!("https://{site}/"),
        };
        let seconds = |located: Option<Located<Duration>>, usual: u64, least: u64| match located {
            Some(found) if found.value < Duration::from_secs(least) => {
                Err(document.error(found.at, format!("less than {least} s is no use to anybody")))
            }
            found => Ok(found.map_or_else(|| Duration::from_secs(usual), |found| found.value)),
        };
        let interval = seconds(section.located("interval")?, 30, 5)?;
        let timeout = seconds(section.located("timeout")?, 10, 1)?;
        let slow = seconds(section.located("slow")?, 3, 0)?;
        let status = section.located::<u32>("status")?;
        let status = match status {
            Some(status) => match u16::try_from(status.value) {
                Ok(code @ 100..=599) => code,
                _ => return Err(document.error(status.at, format!("there is no status {}", status.value))),
            },
            None => 200,
        };
        let mut vantages = Vec::new();
        let words = section.located::<Vec<String>>("vantages")?;
        for word in words.iter().flat_map(|words| &words.value) {
            vantages.push(match (word.as_str(), word.strip_prefix("ssh:")) {
                ("here", _) => Vantage::Here,
                (_, Some(server)) if !server.is_empty() => Vantage::Ssh(server.to_owned()),
                _ => {
                    let at = words.as_ref().map_or(0, |words| words.at);
                    let error = document.error(at, format!("there is no vantage {word:?}"));
                    return Err(
                        error.hint("use \"here\", or \"ssh:SERVER\" for an account of the site on another server")
                    );
                }
            });
        }
        if vantages.is_empty() {
            vantages.push(Vantage::Here);
        }
        let load = match section.section("load")? {
            Some(mut load) => {
                let limits = (load.optional("failing")?.unwrap_or(2.0), load.optional("down")?.unwrap_or(20.0));
                load.finish()?;
                Some(limits)
            }
            None => None,
        };
        let monitor = Self {
            url,
            interval,
            timeout,
            status,
            body: section.optional("body")?,
            slow,
            certificate_days: section.optional("certificate_days")?.unwrap_or(14),
            rise: section.optional("rise")?.unwrap_or(2),
            fall: section.optional("fall")?.unwrap_or(3),
            vantages,
            canaries: section.optional("canaries")?.unwrap_or_default(),
            load,
        };
        section.finish()?;
        Ok(monitor)
    }
}
