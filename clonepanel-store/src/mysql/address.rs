//! [`DatabaseAddress`]: which database, and how it is reached; [`DatabaseTls`]: and how that is kept from others.

use clonepanel_core::{escape::Escaped, secret::Secret};
use mysql_async::SslOpts;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A database, where its server listens, and who asks.
///
/// `Display` is `user@server/database`, safe on a terminal and without the password.
#[derive(Debug, Clone)]
pub struct DatabaseAddress {
    server: ServerAddress,
    name: String,
    user: String,
    password: Option<Secret>,
    tls: Option<DatabaseTls>,
}

/// How a connection over TCP is encrypted (TLS 1.2 or 1.3), and whose certificates are believed: those that lead to one of the
/// authorities that browsers know, for the name or address that was connected to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatabaseTls {
    ca_file: Option<PathBuf>,
}

impl DatabaseTls {
    /// With the authorities that browsers know.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Believes no certificates but those that lead to one in this file (PEM).
    #[must_use]
    pub fn ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(file.into());
        self
    }

    fn options(&self) -> SslOpts {
        // The driver takes what the process uses; with more than one built in, somebody has to say which.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let options = SslOpts::default();
        match &self.ca_file {
            Some(file) => options.with_disable_built_in_roots(true).with_root_certs(vec![file.clone().into()]),
            None => options,
        }
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    Socket(PathBuf),
    Forward(PathBuf),
    Tcp { host: String, port: u16 },
}

impl DatabaseAddress {
    /// The database `name` of the server that listens on a Unix socket, or one that leads to it.
    #[must_use]
    pub fn socket(path: impl Into<PathBuf>, name: impl Into<String>, user: impl Into<String>) -> Self {
        Self::new(ServerAddress::Socket(path.into()), name.into(), user.into())
    }

    /// The database `name` of the server whose TCP port a Unix socket leads to, an ssh forward for one: how a password is kept from others
    /// depends on what the server sees. Where it listens on a socket itself, [`Self::socket`] is right.
    #[must_use]
    pub fn forward(path: impl Into<PathBuf>, name: impl Into<String>, user: impl Into<String>) -> Self {
        Self::new(ServerAddress::Forward(path.into()), name.into(), user.into())
    }

    /// The database `name` of the server that listens on a TCP port. What is sent and received is not encrypted unless
    /// [`Self::tls`] says so: for a server on this machine, or behind a tunnel.
    #[must_use]
    pub fn tcp(host: impl Into<String>, port: u16, name: impl Into<String>, user: impl Into<String>) -> Self {
        Self::new(ServerAddress::Tcp { host: host.into(), port }, name.into(), user.into())
    }

    const fn new(server: ServerAddress, name: String, user: String) -> Self {
        Self { server, name, user, password: None, tls: None }
    }

    /// Encrypts a connection over TCP. A server that cannot do that, or whose certificate is not believed, is not talked to.
    #[must_use]
    pub fn tls(mut self, tls: DatabaseTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The password of the user.
    #[must_use]
    pub fn password(mut self, password: Secret) -> Self {
        self.password = Some(password);
        self
    }

    /// The name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The socket, if it leads to a port.
    pub(crate) fn forwarded(&self) -> Option<&Path> {
        match &self.server {
            ServerAddress::Forward(path) => Some(path),
            ServerAddress::Socket(_) | ServerAddress::Tcp { .. } => None,
        }
    }

    /// The same by way of a port of this machine.
    pub(crate) fn at_port(&self, port: u16) -> Self {
        Self { server: ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port }, ..self.clone() }
    }

    pub(crate) fn options(&self) -> mysql_async::Opts {
        let builder = mysql_async::OptsBuilder::default()
            .user(Some(self.user.clone()))
            .pass(self.password.as_ref().map(Secret::expose))
            .db_name(Some(self.name.clone()))
            // We say ourselves which way it goes.
            .prefer_socket(false)
            // Nothing is asked twice.
            .stmt_cache_size(0)
            .max_allowed_packet(Some(super::session::MAX_PACKET))
            // Asked for on connecting otherwise; only pools use it.
            .wait_timeout(Some(28_800));
        match &self.server {
            ServerAddress::Socket(path) | ServerAddress::Forward(path) => builder.socket(Some(path_text(path))),
            ServerAddress::Tcp { host, port } => {
                let tls = self.tls.as_ref().map(DatabaseTls::options);
                builder.ip_or_hostname(host.clone()).tcp_port(*port).ssl_opts(tls)
            }
        }
        .into()
    }
}

/// The driver takes text only; a path that is none leads nowhere, which the error then says.
fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl fmt::Display for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", Escaped(self.user.as_bytes()))?;
        match &self.server {
            ServerAddress::Socket(path) | ServerAddress::Forward(path) => {
                write!(f, "{}", Escaped(path.as_os_str().as_encoded_bytes()))?;
            }
            ServerAddress::Tcp { host, port } => write!(f, "{}:{port}", Escaped(host.as_bytes()))?,
        }
        write!(f, "/{}", Escaped(self.name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_do_not_show() {
        let address = DatabaseAddress::tcp("127.0.0.1", 3306, "wp", "alice").password(Secret::new("sesame"));
        assert_eq!(address.to_string(), "alice@127.0.0.1:3306/wp");
        assert!(!format!("{address:?}").contains("sesame"));
        assert_eq!(DatabaseAddress::socket("/run/s", "a\x1b", "b").to_string(), "b@/run/s/a\\x1b");
    }
}
