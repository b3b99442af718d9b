//! [`SiteDatabase`]: a database of an account, reached the way the configuration says, as a part of a snapshot.

use crate::{
    config::{Account, Database, Server},
    connect,
};
use async_trait::async_trait;
use clonepanel_core::{
    entry::Entry,
    health::{HealthProbe as _, Observation, ProbeError},
    path::RelPath,
    problem::{Problem, ProblemKind},
    store::SnapshotReader,
    tree::{EntryStream, FileStream, Listed, TreeError, TreeSource},
};
use clonepanel_rsync::{Forward, Relay, SshConnect};
use clonepanel_store::mysql::{DatabaseAddress, DatabaseProbe, DatabaseSource, DatabaseTls, RangeSums};
use std::{
    collections::VecDeque,
    error::Error,
    net::IpAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::sync::Mutex;

/// A database of an account as a tree. What keeps it from being dumped is a problem of the snapshot, in which an older dump then stands
/// in, and does not keep the files from being backed up.
#[derive(Debug)]
pub(crate) struct SiteDatabase {
    database: Database,
    /// `None` when the server is reached without a login.
    login: Option<SshConnect>,
    /// How rows that did not change are told from others; `None` when all are read.
    sums: Option<RangeSums>,
    /// The login forbids forwards.
    needs_relay: AtomicBool,
    open: Mutex<Option<Open>>,
}

/// A way to a server, and where it leads. It is there as long as this is.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) address: DatabaseAddress,
    way: Option<(Way, TempDir)>,
}

#[derive(Debug)]
enum Way {
    Forward(Forward),
    Relay(Relay),
}

impl Reached {
    /// Without a login.
    pub(crate) const fn direct(address: DatabaseAddress) -> Self {
        Self { address, way: None }
    }

    /// An error of the database on one line, and what the way there has to say about it.
    fn line(&self, error: &dyn Error) -> String {
        let words = match &self.way {
            Some((Way::Forward(forward), _)) => forward.last_words(),
            Some((Way::Relay(relay), _)) => relay.last_words(),
            None => None,
        };
        words.map_or_else(|| line(error), |words| format!("{}; at the server: {words}", line(error)))
    }
}

/// A dump, and the way it comes by.
#[derive(Debug)]
struct Open {
    source: DatabaseSource,
    _reached: Reached,
}

impl SiteDatabase {
    pub(crate) fn new(server: &Server, account: &Account, database: &Database) -> Self {
        let login = (!database.direct).then(|| connect::login(&server.ssh, Some(&account.user)));
        let sums = database.checksum_load.map(|load| RangeSums::new().load(load));
        Self { database: database.clone(), login, sums, needs_relay: AtomicBool::new(false), open: Mutex::new(None) }
    }

    /// Reads only the rows that are not as an older snapshot has them, if that may be found out.
    pub(crate) async fn compare(mut self, older: Arc<dyn SnapshotReader>) -> Self {
        let dump = self.prefix();
        let Some((sums, dump)) = self.sums.take().zip(dump) else { return self };
        let sums = sums.compare(older, dump);
        // Little travels then, and most of it are questions that are much alike. What the configuration says about it comes first.
        if sums.is_known().await {
            self.login = self.login.map(|login| login.option("Compression=yes"));
        }
        self.sums = Some(sums);
        self
    }

    /// Where its dump stands in a snapshot; `None` when its name cannot be that of a folder.
    pub(crate) fn prefix(&self) -> Option<RelPath> {
        let name = &self.database.name;
        let is_one_part = !name.contains('/');
        RelPath::try_from(format!("databases/{name}").as_str()).ok().filter(|_| is_one_part)
    }

    /// Logs in as the site does, and reads from a table if one is named.
    pub(crate) async fn look(&self, timeout: Duration) -> Result<Observation, ProbeError> {
        // What is bad may be so because forwards are forbidden.
        let looked = self.reach(async |address: DatabaseAddress| {
            match DatabaseProbe::new(address).timeout(timeout).check().await {
                Ok(seen) if !seen.class.is_failure() => Ok(seen),
                bad => Err(bad),
            }
        });
        let looked = tokio::time::timeout(timeout.saturating_mul(3), Box::pin(looked)).await;
        match looked {
            Ok(Ok((_, Ok(good)))) => Ok(good),
            Ok(Ok((_, Err(bad)))) => bad,
            // Who cannot log in at the server cannot look at its database.
            Ok(Err(why)) => Err(ProbeError::Unusable { detail: why }),
            Err(_) => Err(ProbeError::Unusable { detail: "the login does not answer".to_owned() }),
        }
    }

    /// What a dump would miss, one line each, with what mends it.
    pub(crate) async fn audit(&self) -> Result<Vec<(String, Option<String>)>, String> {
        let audited = self.reach(async |address: DatabaseAddress| DatabaseSource::new(address).audit().await);
        let (reached, missing) = Box::pin(audited).await?;
        let missing = missing.map_err(|error| reached.line(&error))?;
        let told = missing.into_iter().map(|missing| {
            let name = missing.name.map(|name| format!(" {name}")).unwrap_or_default();
            (format!("{}{name}: {}", missing.kind.word(), missing.why), missing.mend)
        });
        Ok(told.collect())
    }

    /// Makes the way to the server, which lasts as long as what is returned, and does the first thing there: whether a login forwards
    /// connections is known only then. Where it does not, a relay does.
    pub(crate) async fn reach<T, E, F>(
        &self,
        first: impl Fn(DatabaseAddress) -> F,
    ) -> Result<(Reached, Result<T, E>), String>
    where
        F: Future<Output = Result<T, E>>,
    {
        loop {
            let reached = self.way().await?;
            let done = first(reached.address.clone()).await;
            match &reached.way {
                Some((Way::Forward(forward), _)) if done.is_err() && forward.is_refused().await => {
                    self.needs_relay.store(true, Ordering::Relaxed);
                }
                _ => return Ok((reached, done)),
            }
        }
    }

    async fn way(&self) -> Result<Reached, String> {
        let Database { name, user, server, password, tls, ca_file, .. } = &self.database;
        let way = match &self.login {
            Some(login) => {
                let folder = TempDir::with_prefix("clonepanel-").map_err(|error| line(&error))?;
                let socket = folder.path().join("mysql");
                let way = if self.needs_relay.load(Ordering::Relaxed) {
                    Relay::open(Arc::new(login.clone()), socket, server).map(Way::Relay)
                } else {
                    Box::pin(login.forward(socket, server)).await.map(Way::Forward)
                };
                Some((way.map_err(|error| line(&error))?, folder))
            }
            None => None,
        };
        let socket = way.as_ref().map(|(way, _)| match way {
            Way::Forward(forward) => forward.socket(),
            Way::Relay(relay) => relay.socket(),
        });
        let mut address = match (socket, server.rsplit_once(':')) {
            (Some(socket), _) if server.starts_with('/') => DatabaseAddress::socket(socket, name, user),
            (Some(socket), _) => DatabaseAddress::forward(socket, name, user),
            (None, _) if server.starts_with('/') => DatabaseAddress::socket(Path::new(server), name, user),
            (None, Some((host, port))) => {
                let port = port.parse().map_err(|_| format!("{server} has no port"))?;
                let host = host.trim_matches(['[', ']']);
                encrypted(DatabaseAddress::tcp(host, port, name, user), host, *tls, ca_file.as_deref())
            }
            (None, None) => encrypted(DatabaseAddress::tcp(server, 3306, name, user), server, *tls, ca_file.as_deref()),
        };
        if let Some(password) = password {
            address = address.password(password.fetch().map_err(|error| format!("{error}; {}", error.hint()))?);
        }
        Ok(Reached { address, way })
    }
}

/// With TLS if that is wanted; when nothing is said, unless the server is on this machine.
pub(crate) fn encrypted(
    address: DatabaseAddress,
    host: &str,
    tls: Option<bool>,
    ca_file: Option<&Path>,
) -> DatabaseAddress {
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let is_wanted = !is_here || ca_file.is_some();
    if !tls.unwrap_or(is_wanted) {
        return address;
    }
    let tls = DatabaseTls::new();
    address.tls(match ca_file {
        Some(file) => tls.ca_file(file),
        None => tls,
    })
}

#[async_trait]
impl TreeSource for SiteDatabase {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        let mut open = self.open.lock().await;
        let begun = self.reach(|address| {
            let source = DatabaseSource::new(address);
            let source = match &self.sums {
                Some(sums) => source.range_sums(sums.clone()),
                None => source,
            };
            async {
                let dump = source.entries().await?;
                Ok::<_, TreeError>((source, dump))
            }
        });
        let begun = begun.await.and_then(|(reached, begun)| match begun {
            Ok((source, dump)) => {
                *open = Some(Open { source, _reached: reached });
                Ok(dump)
            }
            Err(error) => Err(reached.line(&error)),
        });
        Ok(Box::new(match begun {
            Ok(dump) => Listing { dump: Some(dump), ready: VecDeque::new() },
            Err(why) => Listing {
                dump: None,
                ready: VecDeque::from([Listed::Entry(Entry::dir(RelPath::root())), Listed::Problem(lost(&why))]),
            },
        }))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        match &*self.open.lock().await {
            Some(open) => open.source.open(path).await,
            None => Err(TreeError::NotFound { path: path.clone() }),
        }
    }
}

/// What a dump lists. When it breaks off, that is the last thing.
struct Listing {
    dump: Option<Box<dyn EntryStream>>,
    ready: VecDeque<Listed>,
}

#[async_trait]
impl EntryStream for Listing {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        if let Some(listed) = self.ready.pop_front() {
            return Ok(Some(listed));
        }
        let Some(dump) = &mut self.dump else { return Ok(None) };
        match dump.next().await {
            Ok(Some(listed)) => Ok(Some(listed)),
            Ok(None) => Ok(None),
            Err(error) => {
                self.dump = None;
                Ok(Some(Listed::Problem(lost(&line(&error)))))
            }
        }
    }
}

/// Nothing is known about what is in the dump.
fn lost(why: &str) -> Problem {
    Problem::new(RelPath::root(), ProblemKind::Unlisted, why)
}

/// An error and its causes on one line.
fn line(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
