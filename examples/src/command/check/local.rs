//! What can be tried on this machine.

use super::report::Report;
use crate::{
    command::dns::zones_of,
    config::{Config, SecretSource, Server},
    failure::Failure,
    output::show,
};
use clonepanel_core::dns::DnsProvider as _;
use clonepanel_store::HardLinkStore;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// The store: there and usable, or to be made by the first backup.
pub(super) fn check_store(config: &Config, report: &mut Report<'_>) {
    let root = &config.store;
    let shown = root.display();
    if root.exists() {
        match HardLinkStore::open(root) {
            Ok(_) => report.good("store", format!("{shown} is usable")),
            Err(error) => {
                let failure = Failure::from(error);
                report.bad("store", format!("{shown}: {}", failure.message), failure.hint);
            }
        }
        return;
    }
    match root.ancestors().skip(1).find(|folder| folder.as_os_str().is_empty() || folder.exists()) {
        Some(folder) if folder.as_os_str().is_empty() || folder.is_dir() => {
            report.good("store", format!("{shown} is not there yet; the first backup creates it"));
        }
        _ => report.bad("store", format!("{shown} cannot be created"), Some("name another path in [store]".to_owned())),
    }
}

/// The files that a server's section names, and what is not tried yet.
pub(super) fn check_server(server: &Server, report: &mut Report<'_>) {
    let name = server.name.as_str();
    if let Some(key) = &server.ssh.identity_file {
        check_key(name, key, report);
    }
    if let Some(file) = &server.ssh.known_hosts_file {
        match fs::File::open(file) {
            Ok(_) => report.good(name, format!("host keys are in {}", file.display())),
            Err(error) => {
                let hint = format!(
                    "ssh-keyscan {} >> {}, and compare it with what the host publishes",
                    server.ssh.host,
                    file.display()
                );
                report.bad(name, format!("{} cannot be read: {error}", file.display()), Some(hint));
            }
        }
    }
    if let Some(whm) = &server.whm {
        check_secret(name, "WHM token", whm.token.as_ref(), report);
    }
    if !server.nameservers.is_empty() {
        let count = show::counted(server.nameservers.len() as u64, "name server");
        report.unchecked(name, format!("{count}: `clonepanel dns verify ZONE` asks them"));
    }
}

/// Whether the WHM of a server lets us in, and which zones it shows.
pub(super) async fn check_whm(server: &Server, report: &mut Report<'_>) {
    let token = server.whm.as_ref().and_then(|whm| whm.token.as_ref());
    if token.is_some_and(|token| token.fetch().is_err()) {
        // What is wrong with it was told already.
        let url = server.whm.as_ref().map(|whm| whm.url.as_bytes()).unwrap_or_default();
        report.unchecked(&server.name, format!("WHM at {}", clonepanel_core::escape::Escaped(url)));
        return;
    }
    let Some(zones) = zones_of(server) else { return };
    let listed = match zones {
        Ok(zones) => zones.zones().await.map_err(|error| Failure::because(&error)),
        Err(failure) => Err(failure),
    };
    match listed {
        Ok(zones) => {
            let count = show::counted(zones.len() as u64, "zone");
            report.good(&server.name, format!("WHM lets us in and shows {count}"));
        }
        Err(failure) => report.bad(&server.name, format!("WHM: {}", failure.message), failure.hint),
    }
}

/// Whether a secret can be had; it is not used here.
pub(super) fn check_secret(what: &str, secret: &str, source: Option<&SecretSource>, report: &mut Report<'_>) {
    match source.map(|source| (source, source.fetch())) {
        Some((source, Ok(_))) => report.good(what, format!("{secret}: {source} is set")),
        Some((_, Err(error))) => report.bad(what, format!("{secret}: {error}"), Some(error.hint())),
        None => {}
    }
}

/// A private key that others can read is refused by ssh; better said before.
fn check_key(server: &str, key: &Path, report: &mut Report<'_>) {
    let shown = key.display();
    match fs::File::open(key).and_then(|file| file.metadata()) {
        Err(error) => {
            let hint =
                format!("ssh-keygen -t ed25519 -f {shown}, and put the public half into ~/.ssh/authorized_keys there");
            report.bad(server, format!("the key {shown} cannot be read: {error}"), Some(hint));
        }
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            report.bad(server, format!("the key {shown} is open to others"), Some(format!("chmod 600 {shown}")));
        }
        Ok(_) => report.good(server, format!("the key {shown} is private")),
    }
}
