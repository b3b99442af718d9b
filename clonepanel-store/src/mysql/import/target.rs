//! [`Target`]: the database that is written to, over a few connections.

use super::super::{
    DatabaseAddress, DatabaseError,
    dump::table_names,
    format::name::quote,
    session::{Purpose, Session, text},
};
use super::adaptation::Adaptation;
use mysql_async::Value;
use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// So many connections load rows at once: a shared host has few cores to give, and few connections.
const CONNECTIONS: usize = 3;
/// How long a table may be copied by the server.
const COPYING: std::time::Duration = std::time::Duration::from_hours(4);

/// The database that is written to.
#[derive(Debug)]
pub(crate) struct Target {
    address: DatabaseAddress,
    turns: Semaphore,
    idle: Mutex<Vec<Session>>,
    /// The longest statement that the server takes, in bytes.
    longest: usize,
    /// Which definitions it takes.
    pub(crate) adaptation: Adaptation,
    /// Keeps other imports away for as long as it is connected.
    lock: Session,
}

impl Target {
    pub(crate) async fn open(address: DatabaseAddress) -> Result<Self, DatabaseError> {
        let mut lock = Session::open(&address, Purpose::Catalogue).await?;
        let action = "keeping other imports away";
        // Names of such locks are the server's, and no longer than 64 characters.
        let hash = blake3::hash(address.name().as_bytes()).to_hex();
        let name = hash.get(..32).unwrap_or_default();
        let locked = lock.one(action, &format!("SELECT GET_LOCK('clonepanel import {name}', 1)")).await?;
        if locked.first().map(text).transpose()?.as_deref() != Some("1") {
            return Err(DatabaseError::Busy { action });
        }
        let mut session = open(&address).await?;
        let action = "asking for the longest statement";
        let answer = session.one(action, "SELECT @@max_allowed_packet").await?;
        let longest = answer.first().map(text).transpose()?.and_then(|len| len.parse().ok());
        let longest = longest.ok_or_else(|| DatabaseError::nonsense(action, "it is no number"))?;
        let adaptation = Adaptation::to(&mut session).await?;
        let (turns, idle) = (Semaphore::new(CONNECTIONS), Mutex::new(vec![session]));
        Ok(Self { address, turns, idle, longest, adaptation, lock })
    }

    pub(crate) fn database(&self) -> &str {
        self.address.name()
    }

    pub(crate) const fn longest(&self) -> usize {
        self.longest
    }

    pub(crate) fn address(&self) -> &DatabaseAddress {
        &self.address
    }

    /// A connection for a while. It is used again only if it is given back.
    async fn lease(&self) -> Result<(SemaphorePermit<'_>, Session), DatabaseError> {
        let closed = |_| DatabaseError::Silent { action: "waiting for a connection" };
        let turn = self.turns.acquire().await.map_err(closed)?;
        let idle = self.idle().pop();
        let session = match idle {
            Some(session) => session,
            None => open(&self.address).await?,
        };
        Ok((turn, session))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back<T>(&self, session: Session, done: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        if !done.as_ref().is_err_and(DatabaseError::ends_the_session) {
            self.idle().push(session);
        }
        done
    }

    /// Runs statements of our own, one after the other over the same connection.
    pub(crate) async fn run(&self, action: &'static str, statements: &[&str]) -> Result<(), DatabaseError> {
        let (_turn, mut session) = self.lease().await?;
        let mut done = Ok(());
        for statement in statements {
            done = done.and(session.run(action, statement).await);
            if done.is_err() {
                break;
            }
        }
        self.give_back(session, done)
    }

    /// Changes the definition of a table, which may copy all of its rows; the clauses are of somebody else's.
    pub(crate) async fn alter(&self, table: &str, clauses: &[&str]) -> Result<(), DatabaseError> {
        let action = "tying tables";
        let added: Vec<_> = clauses.iter().map(|clause| format!("ADD {clause}")).collect();
        let statement = format!("ALTER TABLE {} {}", quote(table), added.join(", "));
        let (_turn, mut session) = self.lease().await?;
        session.wait(Some(COPYING));
        let done = session.run_single(action, &statement).await;
        session.wait(None);
        self.give_back(session, done)
    }

    /// Sends rows.
    pub(crate) async fn write(&self, statement: Vec<u8>) -> Result<(), DatabaseError> {
        let (_turn, mut session) = self.lease().await?;
        let done = session.run_bytes("writing rows", statement).await;
        self.give_back(session, done)
    }

    /// Runs a statement that comes from elsewhere as the single one that it is, with settings of its own, and one of our own
    /// before it.
    pub(crate) async fn run_single(
        &self,
        action: &'static str,
        settings: &str,
        before: Option<&str>,
        statement: &str,
    ) -> Result<(), DatabaseError> {
        let (_turn, mut session) = self.lease().await?;
        let mut done = session.run(action, settings).await;
        if let Some(before) = before.filter(|_| done.is_ok()) {
            done = session.run(action, before).await;
        }
        if done.is_ok() {
            done = session.run_single(action, statement).await;
        }
        // What comes next finds the settings that it knows.
        let restored = session.run(action, SETTINGS).await;
        self.give_back(session, restored).and(done)
    }

    pub(crate) async fn one(&self, action: &'static str, question: &str) -> Result<Vec<Value>, DatabaseError> {
        let (_turn, mut session) = self.lease().await?;
        let done = session.one(action, question).await;
        self.give_back(session, done)
    }

    pub(crate) async fn table_names(&self) -> Result<BTreeSet<String>, DatabaseError> {
        let (_turn, mut session) = self.lease().await?;
        let done = table_names(&mut session, self.database()).await;
        self.give_back(session, done)
    }

    /// Which tables have foreign keys: their database, their name, and the table of ours that they refer to.
    pub(crate) async fn references(&self) -> Result<Vec<(String, String, String)>, DatabaseError> {
        let (_turn, mut session) = self.lease().await?;
        let action = "looking for foreign keys";
        let question = "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, REFERENCED_TABLE_NAME \
                        FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_SCHEMA = DATABASE()";
        let done = match session.rows(action, question).await {
            Ok(rows) => {
                rows.iter().map(|row| three(row).ok_or_else(|| DatabaseError::nonsense(action, "a row"))).collect()
            }
            Err(error) => Err(error),
        };
        self.give_back(session, done)
    }

    pub(crate) async fn close(self) {
        for session in self.idle.into_inner().unwrap_or_else(PoisonError::into_inner) {
            session.close().await;
        }
        self.lock.close().await;
    }
}

fn three(row: &[Value]) -> Option<(String, String, String)> {
    let [database, by, table] = row else { return None };
    Some((text(database).ok()?, text(by).ok()?, text(table).ok()?))
}

/// A connection on which rows are written as they were read.
async fn open(address: &DatabaseAddress) -> Result<Session, DatabaseError> {
    let mut session = Session::open(address, Purpose::Catalogue).await?;
    session.run("preparing to write", SETTINGS).await?;
    Ok(session)
}

/// What the first line of every file of a dump says, once for all.
pub(crate) const SETTINGS: &str = "SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION', \
                                   TIME_ZONE='+00:00', FOREIGN_KEY_CHECKS=0, UNIQUE_CHECKS=0";
