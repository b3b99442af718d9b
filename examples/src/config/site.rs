//! `[site."NAME"]`: a web site, its accounts and what is kept of them.

use super::{
    ConfigError, Monitor, Server, Vantage, retention,
    secret::SecretSource,
    section::{Document, Located, Section},
};
use crate::nearest::nearest;
use clonepanel_core::{
    filter::{Filter, Rule},
    path::RelPath,
    retention::RetentionPolicy,
    snapshot_id::SourceName,
};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// A web site.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: SourceName,
    /// The account that is backed up.
    pub(crate) primary: Account,
    /// The account of the hot spare.
    pub(crate) spare: Option<Account>,
    /// The common policy, with what the site has of its own.
    pub(crate) retention: Option<RetentionPolicy>,
    /// How it is watched, if it is.
    pub(crate) monitor: Option<Monitor>,
    /// What this version does not have.
    pub(crate) unused: Vec<&'static str>,
}

/// An account on a server.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) server: String,
    pub(crate) user: String,
    pub(crate) paths: Vec<RelPath>,
    pub(crate) filter: Filter,
    pub(crate) way: Way,
    pub(crate) databases: Vec<Database>,
}

/// How an account is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// Our own far end, and what its program is called there if not `clonepanel`.
    Agent { program: Option<String> },
    /// The stock rsync at the far end.
    Rsync,
}

/// A database of an account.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) user: String,
    /// Where its server listens, as seen from the hosting server, or from here if `direct`.
    pub(crate) server: String,
    pub(crate) direct: bool,
    /// Of a direct connection: whether it is encrypted, unless that is decided by where the server is; and whose certificates count.
    pub(crate) tls: Option<bool>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) password: Option<SecretSource>,
    /// The share of the time in which the server may be asked for checksums of rows; `None` when all rows are read each time.
    pub(crate) checksum_load: Option<f64>,
    /// Of a spare: the database of the primary that it stands in for. By their order when it is not said.
    pub(crate) pair: Option<String>,
}

impl Site {
    pub(super) fn read(
        name: Located<String>,
        mut section: Section<'_>,
        servers: &BTreeMap<String, Server>,
        common: Option<&RetentionPolicy>,
    ) -> Result<Self, ConfigError> {
        let document = section.document();
        let source = SourceName::new(name.value).map_err(|error| {
            document
                .error(name.at, error.to_string())
                .hint("names of sites are ASCII letters, digits, `.`, `_` and `-`")
        })?;
        let primary = section.required::<String>("primary")?;
        let spare = section.located::<String>("spare")?;
        let account_sections = section.named_sections("account")?;
        let retention = section.section("retention")?;
        let (monitor, failover) = (section.section("monitor")?, section.section("failover")?);
        section.finish()?;

        let mut accounts = BTreeMap::new();
        for (server, account) in account_sections {
            known_server(document, &server, servers)?;
            accounts.insert(server.value.clone(), Account::read(server.value, account)?);
        }
        let mut account_of = |server: &Located<String>| {
            known_server(document, server, servers)?;
            accounts.remove(&server.value).ok_or_else(|| {
                let header = format!("[site.\"{source}\".account.{}]", server.value);
                document
                    .error(server.at, format!("{source} has no account on {}", server.value))
                    .hint(format!("add {header}"))
            })
        };
        let primary_account = account_of(&primary)?;
        let spare_account = match &spare {
            Some(spare) if spare.value == primary.value => {
                return Err(document.error(spare.at, "the spare must be on another server than the primary"));
            }
            Some(spare) => Some(account_of(spare)?),
            None => None,
        };
        let own = retention.map(|section| retention::read(section, common)).transpose()?;
        let retention = own.or_else(|| common.cloned());
        let mut unused = Vec::new();
        let monitor = monitor.map(|section| Monitor::read(source.as_str(), section)).transpose()?;
        let is_ours = |name: &str| {
            primary_account.server == name || spare_account.as_ref().is_some_and(|account| account.server == name)
        };
        for vantage in monitor.iter().flat_map(|monitor| &monitor.vantages) {
            if let Vantage::Ssh(server) = vantage
                && !is_ours(server)
            {
                let message = format!("{source} has no account in use on {server}, to look from");
                return Err(document.error(primary.at, message));
            }
        }
        if let Some(failover) = failover {
            check_failover(failover)?;
            unused.push("failover");
        }
        Ok(Self { name: source, primary: primary_account, spare: spare_account, retention, monitor, unused })
    }
}

impl Account {
    fn read(server: String, mut section: Section<'_>) -> Result<Self, ConfigError> {
        let user = section.required::<String>("user")?;
        if user.value.starts_with('-') || user.value.contains(|c: char| c.is_whitespace() || c == '@') {
            return Err(section.document().error(user.at, format!("{:?} cannot be the name of a user", user.value)));
        }
        let paths: Vec<RelPath> = section.optional("paths")?.unwrap_or_default();
        let rules: Vec<Rule> = section.optional("exclude")?.unwrap_or_default();
        let program = section.located::<String>("agent_program")?;
        let way = match section.located::<String>("transport")? {
            None => Way::Rsync,
            Some(word) => match word.value.as_str() {
                "agent" => Way::Agent { program: program.as_ref().map(|program| program.value.clone()) },
                "rsync" => Way::Rsync,
                other => {
                    let error = section.document().error(word.at, format!("there is no transport {other:?}"));
                    return Err(error.hint("use \"rsync\" or \"agent\""));
                }
            },
        };
        if let (Way::Rsync, Some(program)) = (&way, &program) {
            let error = section.document().error(program.at, "agent_program is for transport = \"agent\"");
            return Err(error.hint("add transport = \"agent\", or leave it out"));
        }
        let databases = section.list_of_sections("database")?;
        let databases = databases.into_iter().map(Database::read).collect::<Result<_, _>>()?;
        section.finish()?;
        // The root among the paths means the whole home.
        let paths = if paths.iter().any(RelPath::is_root) { Vec::new() } else { paths };
        Ok(Self { server, user: user.value, paths, filter: Filter::new(rules), way, databases })
    }
}

impl Database {
    fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let name = section.required::<String>("name")?.value;
        // Panels of hosting companies call the user of a database as the database, more often than not.
        let user = section.optional::<String>("user")?.unwrap_or_else(|| name.clone());
        let password = SecretSource::read_from(&mut section, "password", "password_env", "password_file")?;
        let server = section.optional::<String>("server")?.unwrap_or_else(|| "127.0.0.1:3306".to_owned());
        let direct = section.optional::<bool>("direct")?.unwrap_or(false);
        let pair = section.optional::<String>("pair")?;
        let checksums = section.optional::<bool>("checksums")?.unwrap_or(true);
        let load = section.located::<f64>("checksum_load")?;
        if let Some(load) = load.as_ref().filter(|load| !(0.01..=1.0).contains(&load.value)) {
            let error = section.document().error(load.at, "checksum_load is a share, from 0.01 to 1.0");
            return Err(error.hint("0.25 leaves the server three quarters of the time to others"));
        }
        let checksum_load = checksums.then(|| load.map_or(1.0, |load| load.value));
        let tls = section.located::<bool>("tls")?;
        let ca_file = section.located::<PathBuf>("ca_file")?;
        let misplaced = [tls.as_ref().map(|tls| (tls.at, "tls")), ca_file.as_ref().map(|file| (file.at, "ca_file"))];
        if let Some((at, key)) = misplaced.into_iter().flatten().next().filter(|_| !direct) {
            return Err(section
                .document()
                .error(at, format!("{key} is for direct = true"))
                .hint("through the login everything is encrypted already: leave it out"));
        }
        let ca_file = ca_file.map(|file| section.document().resolve(file.value));
        let tls = tls.map(|tls| tls.value);
        section.finish()?;
        Ok(Self { name, user, server, direct, tls, ca_file, password, checksum_load, pair })
    }
}

fn known_server(
    document: &Document,
    name: &Located<String>,
    servers: &BTreeMap<String, Server>,
) -> Result<(), ConfigError> {
    if servers.contains_key(&name.value) {
        return Ok(());
    }
    let error = document.error(name.at, format!("there is no server {:?}", name.value));
    Err(match nearest(&name.value, servers.keys().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean \"{near}\"?")),
        None => error.hint(format!("add [server.{}]", name.value)),
    })
}

fn check_failover(mut section: Section<'_>) -> Result<(), ConfigError> {
    for (key, words) in [("mode", ["automatic", "manual", "off"].as_slice()), ("failback", &["automatic", "manual"])] {
        let Some(word) = section.located::<String>(key)? else { continue };
        if !words.contains(&word.value.as_str()) {
            let error = section.document().error(word.at, format!("there is no {key} {:?}", word.value));
            return Err(error.hint(format!("use one of: {}", words.join(", "))));
        }
    }
    section.check::<Duration>("sustain")?;
    section.check::<Duration>("max_snapshot_age")?;
    section.check::<bool>("spare_writable")?;
    section.check::<Vec<String>>("names")?;
    section.check::<u32>("ttl")?;
    section.finish()
}
