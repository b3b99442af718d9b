//! [`MySql`]: a real MySQL server on this machine, with data of its own.

use crate::{
    may_lack,
    sql_server::{SqlServer, template, user},
};
use std::{
    env, fs,
    ops::Deref,
    path::{Path, PathBuf},
    process::Command,
};

/// A MySQL of Oracle's line.
#[derive(Debug)]
pub struct MySql(SqlServer);

impl MySql {
    /// An empty server; `None` when this machine has none and [`may_lack`] it.
    ///
    /// Debian's stable releases have no MySQL. The set-up of the tests unpacks that of its unstable one, with all its libraries, into the
    /// folder that `CLONEPANEL_MYSQL` names, where nothing of it is installed.
    ///
    /// # Panics
    /// When it cannot be started; the message has its log.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(root) = env::var_os("CLONEPANEL_MYSQL").map(PathBuf::from) else {
            may_lack("mysql", "CLONEPANEL_MYSQL does not say where one is unpacked");
            return None;
        };
        let template = template("mysql", |place| {
            let mut command = program(&root);
            command
                .args(["--initialize-insecure", "--innodb-redo-log-capacity=8M"])
                .arg(format!("--datadir={}", place.display()));
            command
        });
        let server = || {
            let mut command = program(&root);
            command.args([
                "--mysqlx=OFF",
                "--secure-file-priv=NULL",
                "--performance-schema=OFF",
                "--disable-log-bin",
                "--innodb-redo-log-capacity=32M",
            ]);
            command
        };
        Some(Self(SqlServer::start(&template, server, &[])))
    }
}

impl Deref for MySql {
    type Target = SqlServer;

    fn deref(&self) -> &SqlServer {
        &self.0
    }
}

/// The server with its own loader and libraries: it wants newer ones than this machine has.
fn program(root: &Path) -> Command {
    let libraries = fs::read_dir(root.join("usr/lib")).expect("an unpacked MySQL").flatten().map(|entry| entry.path());
    let loader = |folder: &PathBuf| {
        let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        files
            .into_iter()
            .find(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"ld-linux")))
    };
    let (folder, loader) =
        libraries.filter_map(|folder| loader(&folder).map(|loader| (folder, loader))).next().expect("its loader");
    let mut command = Command::new(loader);
    command.arg("--library-path").arg(&folder).arg(root.join("usr/sbin/mysqld")).arg("--no-defaults").args(user());
    command.arg(format!("--basedir={}", root.join("usr").display()));
    command.arg(format!("--lc-messages-dir={}", root.join("usr/share/mysql").display()));
    command.arg(format!("--character-sets-dir={}", root.join("usr/share/mysql/charsets").display()));
    command.arg(format!("--plugin-dir={}", root.join("usr/lib/mysql/plugin").display()));
    command
}
