//! From the configuration or the command line to a transport.

use crate::{
    config::{Account, Rate, Server, Ssh, Way},
    failure::Failure,
};
use clonepanel_rsync::{RsyncOptions, RsyncTransport, SshConnect};

/// The way to a folder of an account; empty for its home.
pub(crate) fn account(server: &Server, account: &Account, folder: Vec<u8>) -> Result<RsyncTransport, Failure> {
    if account.way == Way::Agent {
        return Err(Failure::failed(format!(
            "the account {}@{} asks for the transport \"agent\"",
            account.user, server.name
        ))
        .hint("this version speaks to the stock rsync only: write transport = \"rsync\""));
    }
    Ok(remote(&server.ssh, Some(&account.user), folder, server.bandwidth))
}

/// The way to a path at the far end of an ssh login.
pub(crate) fn remote(ssh: &Ssh, user: Option<&str>, root: Vec<u8>, bandwidth: Option<Rate>) -> RsyncTransport {
    let mut connect = SshConnect::new(&ssh.host);
    if let Some(user) = user {
        connect = connect.user(user);
    }
    if let Some(port) = ssh.port {
        connect = connect.port(port);
    }
    if let Some(file) = &ssh.identity_file {
        connect = connect.identity_file(file);
    }
    if let Some(file) = &ssh.known_hosts_file {
        connect = connect.known_hosts_file(file);
    }
    for option in &ssh.options {
        connect = connect.option(option);
    }
    let mut options = RsyncOptions::new();
    if let Some(Rate(bytes)) = bandwidth {
        options = options.bandwidth(bytes);
    }
    RsyncTransport::new(connect, root).options(options)
}
