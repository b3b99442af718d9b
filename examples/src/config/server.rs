//! `[server.NAME]`: a hosting server on which there are accounts.

use super::{ConfigError, Rate, secret::SecretSource, section::Section, value::NameserverAddress};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// A hosting server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    /// Where its sites answer.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) ssh: Ssh,
    /// How many transfers it bears at a time.
    pub(crate) transfers: u32,
    /// Bytes in a second.
    pub(crate) bandwidth: Option<Rate>,
    pub(crate) whm: Option<Whm>,
    /// Authoritative name servers that this server's WHM feeds.
    pub(crate) nameservers: Vec<SocketAddr>,
}

/// How to log in.
#[derive(Debug, Clone)]
pub(crate) struct Ssh {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) identity_file: Option<PathBuf>,
    pub(crate) known_hosts_file: Option<PathBuf>,
    /// Further settings of ssh, such as `Ciphers=aes128-gcm@openssh.com`.
    pub(crate) options: Vec<String>,
}

/// The WHM of a server.
#[derive(Debug)]
pub(crate) struct Whm {
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) token: Option<SecretSource>,
    /// PEM text: who is trusted, or the server's own certificate.
    pub(crate) ca_file: Option<PathBuf>,
}

impl Server {
    pub(super) fn read(name: String, mut section: Section<'_>) -> Result<Self, ConfigError> {
        let addresses = section.optional::<Vec<IpAddr>>("addresses")?.unwrap_or_default();
        let ssh = match section.section("ssh")? {
            Some(ssh) => Ssh::read(ssh)?,
            None => return Err(section.missing("ssh").hint("ssh = { host = \"alpha.example.net\" }")),
        };
        let whm = section.section("whm")?.map(Whm::read).transpose()?;
        let nameservers = section.optional::<Vec<NameserverAddress>>("nameservers")?.unwrap_or_default();
        let nameservers = nameservers.into_iter().map(|NameserverAddress(address)| address).collect();
        let (transfers, bandwidth) = match section.section("limits")? {
            Some(limits) => read_limits(limits)?,
            None => (1, None),
        };
        section.finish()?;
        Ok(Self { name, addresses, ssh, transfers, bandwidth, whm, nameservers })
    }
}

impl Ssh {
    fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let host = section.required::<String>("host")?;
        if host.value.starts_with('-') || host.value.contains(char::is_whitespace) {
            return Err(section.document().error(host.at, format!("{:?} cannot be the name of a host", host.value)));
        }
        let port = section.optional("port")?;
        let identity_file = section.optional::<PathBuf>("identity_file")?.map(|path| section.document().resolve(path));
        let known_hosts_file =
            section.optional::<PathBuf>("known_hosts_file")?.map(|path| section.document().resolve(path));
        let options = section.optional("options")?.unwrap_or_default();
        section.finish()?;
        Ok(Self { host: host.value, port, identity_file, known_hosts_file, options })
    }
}

impl Whm {
    fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let url = section.required::<String>("url")?.value;
        let user = section.required::<String>("user")?.value;
        let token = SecretSource::read_from(&mut section, "token", "token_env", "token_file")?;
        let ca_file = section.optional::<PathBuf>("ca_file")?.map(|file| section.document().resolve(file));
        section.finish()?;
        Ok(Self { url, user, token, ca_file })
    }
}

fn read_limits(mut section: Section<'_>) -> Result<(u32, Option<Rate>), ConfigError> {
    let transfers = section.located::<u32>("transfers")?;
    if let Some(none) = transfers.as_ref().filter(|transfers| transfers.value == 0) {
        return Err(section.document().error(none.at, "with transfers = 0 nothing would ever move"));
    }
    let bandwidth = section.optional("bandwidth")?;
    section.finish()?;
    Ok((transfers.map_or(1, |transfers| transfers.value), bandwidth))
}
