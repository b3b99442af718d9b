//! [`DatabaseAddress`]: which database, and how it is reached.

use clonepanel_core::{escape::Escaped, secret::Secret};
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
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    Socket(PathBuf),
    Tcp { host: String, port: u16 },
}

impl DatabaseAddress {
    /// The database `name` of the server that listens on a Unix socket, an ssh forward for one.
    #[must_use]
    pub fn socket(path: impl Into<PathBuf>, name: impl Into<String>, user: impl Into<String>) -> Self {
        Self::new(ServerAddress::Socket(path.into()), name.into(), user.into())
    }

    /// The database `name` of the server that listens on a TCP port. What is sent and received is not encrypted: for a server
    /// on this machine, or behind a tunnel.
    #[must_use]
    pub fn tcp(host: impl Into<String>, port: u16, name: impl Into<String>, user: impl Into<String>) -> Self {
        Self::new(ServerAddress::Tcp { host: host.into(), port }, name.into(), user.into())
    }

    const fn new(server: ServerAddress, name: String, user: String) -> Self {
        Self { server, name, user, password: None }
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
            ServerAddress::Socket(path) => builder.socket(Some(path_text(path))),
            ServerAddress::Tcp { host, port } => builder.ip_or_hostname(host.clone()).tcp_port(*port),
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
            ServerAddress::Socket(path) => write!(f, "{}", Escaped(path.as_os_str().as_encoded_bytes()))?,
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
