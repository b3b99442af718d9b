//! From the configuration or the command line to a transport.

use crate::config::{Account, Rate, Server, Ssh, Way};
use clonepanel_core::transport::Transport;
use clonepanel_rsync::{
    RsyncOptions, RsyncTransport, SshConnect,
    agent::{AgentOptions, AgentTransport},
};
use std::sync::Arc;

/// A folder at the far end of an ssh login, and what is spoken with it.
pub(crate) enum Remote {
    Agent(AgentTransport),
    Rsync(RsyncTransport),
}

impl Remote {
    /// As whatever it is that transfers.
    pub(crate) fn transport(self) -> Arc<dyn Transport> {
        match self {
            Self::Agent(transport) => Arc::new(transport),
            Self::Rsync(transport) => Arc::new(transport),
        }
    }
}

/// The way to a folder of an account; empty for its home.
pub(crate) fn account(server: &Server, account: &Account, folder: Vec<u8>) -> Remote {
    remote(&server.ssh, Some(&account.user), folder, server.bandwidth, &account.way)
}

/// A login.
pub(crate) fn login(ssh: &Ssh, user: Option<&str>) -> SshConnect {
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
    connect
}

/// The way to a path at the far end of an ssh login.
pub(crate) fn remote(ssh: &Ssh, user: Option<&str>, root: Vec<u8>, bandwidth: Option<Rate>, way: &Way) -> Remote {
    let connect = login(ssh, user);
    match way {
        Way::Agent { program } => {
            let mut options = AgentOptions::new();
            if let Some(program) = program {
                options = options.agent_program(program.as_str());
            }
            if let Some(Rate(bytes)) = bandwidth {
                options = options.bandwidth(bytes);
            }
            Remote::Agent(AgentTransport::new(connect, root).options(options))
        }
        Way::Rsync => {
            let mut options = RsyncOptions::new();
            if let Some(Rate(bytes)) = bandwidth {
                options = options.bandwidth(bytes);
            }
            Remote::Rsync(RsyncTransport::new(connect, root).options(options))
        }
    }
}
