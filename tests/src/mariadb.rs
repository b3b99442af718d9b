//! [`MariaDb`]: a real MariaDB server on this machine, with data of its own.

use crate::sql_server::{SqlServer, template, user};
use std::{env, ops::Deref, path::PathBuf, process::Command};

/// A MariaDB.
#[derive(Debug)]
pub struct MariaDb(SqlServer);

impl MariaDb {
    /// An empty server.
    ///
    /// # Panics
    /// When it cannot be started; the message has its log.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// An empty server with options of its own.
    ///
    /// # Panics
    /// When it cannot be started; the message has its log.
    #[must_use]
    pub fn start_with(options: &[&str]) -> Self {
        let template = template("mariadb", |place| {
            let mut command = Command::new(program("mariadb-install-db"));
            command.arg("--no-defaults").args(user()).arg(format!("--datadir={}", place.display()));
            command.args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]);
            command.args(["--innodb-log-file-size=4M", "--innodb-flush-method=nosync"]);
            command
        });
        let server = || {
            let mut command = Command::new(program("mariadbd"));
            command.arg("--no-defaults").args(user()).arg("--innodb-log-file-size=32M");
            command
        };
        Self(SqlServer::start(&template, server, options))
    }
}

impl Deref for MariaDb {
    type Target = SqlServer;

    fn deref(&self) -> &SqlServer {
        &self.0
    }
}

/// Debian has the server where only root looks.
fn program(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<_> = env::split_paths(&path).collect();
    places.push("/usr/sbin".into());
    places.into_iter().map(|place| place.join(name)).find(|path| path.exists()).unwrap_or_else(|| name.into())
}
