//! The WHM servers of the configuration, as copies of a zone.

use crate::{
    config::{Config, Server},
    failure::Failure,
    nearest::nearest,
};
use clonepanel_core::{
    dns::{DnsProvider, PlanGuard},
    job::{DnsCluster, Nameservers},
};
use clonepanel_whm::{Trust, WhmClient, WhmDns, WhmOptions};
use std::{fs, sync::Arc};

/// The zones of a server; `None` when the configuration names no WHM there.
pub(crate) fn zones_of(server: &Server) -> Option<Result<WhmDns, Failure>> {
    let whm = server.whm.as_ref()?;
    let open = || {
        let missing = || {
            Failure::usage(format!("[server.{}]: whm has no token", server.name))
                .hint("name an environment variable with token_env or a file with token_file")
        };
        let token = whm.token.as_ref().ok_or_else(missing)?.fetch();
        let token = token.map_err(|error| Failure::usage(error.to_string()).hint(error.hint()))?;
        let trust = match &whm.ca_file {
            None => Trust::System,
            Some(file) => Trust::Pem(
                fs::read(file)
                    .map_err(|error| Failure::usage(format!("ca_file {} cannot be read: {error}", file.display())))?,
            ),
        };
        let options = WhmOptions::new(whm.url.as_str(), whm.user.as_str(), token).trust(trust);
        WhmClient::new(&options).map(WhmDns::new).map_err(|error| Failure::because(&error))
    };
    Some(open().map_err(|failure| failure.within(&server.name)))
}

/// The servers with a WHM, or those of them that are named.
pub(super) fn cluster(config: &Config, only: &[String], nameservers: Nameservers) -> Result<DnsCluster, Failure> {
    let with_whm: Vec<_> = config.servers.values().filter(|server| server.whm.is_some()).collect();
    let names = || with_whm.iter().map(|server| server.name.as_str());
    if let Some(unknown) = only.iter().find(|name| names().all(|known| known != name.as_str())) {
        let failure = Failure::usage(format!("there is no server `{unknown}` with a WHM in the configuration"));
        return Err(match nearest(unknown, names()) {
            Some(near) => failure.hint(format!("did you mean {near}?")),
            None => failure.hint("add whm = { url = ..., user = ..., token_env = ... } to the server"),
        });
    }
    if with_whm.is_empty() {
        return Err(Failure::usage("no server of the configuration has a WHM")
            .hint("add whm = { url = \"https://HOST:2087\", user = ..., token_env = ... } to a server"));
    }
    let mut cluster = DnsCluster::new(PlanGuard::new());
    for server in with_whm.into_iter().filter(|server| only.is_empty() || only.contains(&server.name)) {
        let Some(zones) = zones_of(server) else { continue };
        let provider: Arc<dyn DnsProvider> = Arc::new(zones?);
        cluster = cluster.copy(server.name.as_str(), provider, nameservers);
    }
    Ok(cluster)
}
