//! [`Destination`]: the account that a restore writes to.

use super::{Restore, account::AccountOptions};
use crate::{
    config::{Account, Config, Server, Site, Ssh, Way},
    connect,
    context::Catalogue,
    failure::Failure,
    location::Location,
    selector::{Selector, files, shown},
};
use clonepanel_core::{
    filter::Filter,
    path::RelPath,
    snapshot_id::SourceName,
    transport::{PushRequest, Transport},
};
use std::{ffi::OsStr, sync::Arc};

/// What is behind the name of a site in the name that its undo snapshots are filed under.
const UNDO: &str = "-undo";

/// The account that a restore writes to.
pub(super) struct Destination {
    pub(super) transport: Arc<dyn Transport>,
    /// What of the snapshot is the root of the far end.
    pub(super) root: RelPath,
    pub(super) request: PushRequest,
    /// What the undo snapshots are filed under.
    pub(super) undo: SourceName,
    /// How a later command names it.
    pub(super) option: String,
}

impl Destination {
    pub(super) fn of(restore: &Restore, catalogue: &Catalogue) -> Result<Self, Failure> {
        let (selector, options) = (&restore.selector, &restore.account);
        match restore.target.to_account.as_deref() {
            None => Self::in_site(selector, catalogue, options, "primary", "--in-place"),
            Some(word) if word == "primary" || word == "spare" => {
                let word = if word == "spare" { "spare" } else { "primary" };
                Self::in_site(selector, catalogue, options, word, &format!("--to-account {word}"))
            }
            Some(place) => Self::at_place(selector, place, options),
        }
    }

    /// The account of a site: what is restored goes to where it is there.
    fn in_site(
        selector: &Selector,
        catalogue: &Catalogue,
        options: &AccountOptions,
        word: &str,
        option: &str,
    ) -> Result<Self, Failure> {
        if let Some(given) = options.first_of_login() {
            return Err(Failure::usage(format!("{given} is for places without a configuration"))
                .hint("write it into the configuration, or say --to-account USER@HOST:DIR"));
        }
        let Some(config) = &catalogue.config else {
            return Err(Failure::usage(format!("{option} needs a configuration that names the site's accounts"))
                .hint("say --to-account USER@HOST:DIR"));
        };
        let (site, account, server) = find(config, &selector.site, word)?;
        let below = match &selector.path {
            None => RelPath::root(),
            Some(path) => path.strip_prefix(&files()).ok_or_else(|| {
                Failure::usage(format!("{} is no file of the account", shown(path)))
                    .hint("restore it to a folder with --to")
            })?,
        };
        let paths = if below.is_root() { account.paths.clone() } else { vec![below] };
        Ok(Self {
            transport: connect::account(server, account, Vec::new()).transport(),
            root: files(),
            request: PushRequest::new().paths(paths).filter(account.filter.clone()),
            undo: undo_of(site.name.as_str())?,
            option: option.to_owned(),
        })
    }

    /// Any folder: what is restored becomes its content.
    fn at_place(selector: &Selector, place: &OsStr, options: &AccountOptions) -> Result<Self, Failure> {
        let location = Location::parse(&place.to_owned())?;
        let Location::Remote { user, host, path } = &location else {
            let shown = clonepanel_core::escape::Escaped(place.as_encoded_bytes());
            return Err(Failure::usage(format!("{shown} is a folder of this machine, not an account"))
                .hint("say --to DIR for a folder; an account is primary, spare or USER@HOST:DIR"));
        };
        let ssh = Ssh {
            host: host.clone(),
            port: options.port,
            identity_file: options.identity.clone(),
            known_hosts_file: options.known_hosts.clone(),
            options: options.ssh_option.clone(),
        };
        let transport = connect::remote(&ssh, user.as_deref(), path.clone(), options.bandwidth, &Way::Rsync);
        Ok(Self {
            transport: transport.transport(),
            root: selector.path.clone().unwrap_or_else(files),
            request: PushRequest::new().filter(Filter::default()),
            undo: undo_of(location.source_name()?.as_str())?,
            option: format!("--to-account {}", clonepanel_core::escape::Escaped(place.as_encoded_bytes())),
        })
    }
}

pub(super) fn undo_of(name: &str) -> Result<SourceName, Failure> {
    SourceName::new(format!("{}{UNDO}", name.trim_end_matches(UNDO)))
        .map_err(|error| Failure::failed(format!("no name for the undo snapshot: {error}")).hint("say --no-undo"))
}

/// The site, also by the name of its undo snapshots, and one of its accounts.
pub(super) fn find<'a>(
    config: &'a Config,
    name: &str,
    word: &str,
) -> Result<(&'a Site, &'a Account, &'a Server), Failure> {
    let by_name = |name: &str| config.sites.iter().find(|site| site.name.as_str() == name);
    let site = by_name(name).or_else(|| by_name(name.trim_end_matches(UNDO)));
    let site = site.ok_or_else(|| {
        Failure::usage(format!("{} has no site `{name}`", config.path.display()))
            .hint("say --to-account USER@HOST:DIR, or add the site to the configuration")
    })?;
    let account = if word == "spare" { site.spare.as_ref() } else { Some(&site.primary) };
    let account = account.ok_or_else(|| {
        Failure::usage(format!("{} has no spare", site.name)).hint("add spare = \"SERVER\" to the site")
    })?;
    let server = config.servers.get(&account.server);
    let server = server.ok_or_else(|| Failure::usage(format!("there is no server {}", account.server)))?;
    Ok((site, account, server))
}
