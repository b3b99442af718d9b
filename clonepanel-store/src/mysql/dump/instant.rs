//! [`Instant`]: one moment for tables of all engines, with the rights of an ordinary user.

use super::super::{
    DatabaseAddress, DatabaseError, TableInstant,
    format::name::quote,
    session::{Holds, Purpose, Session, text},
};
use super::catalogue::{Storage, Table};

/// How often locks are tried for, each time for as long as a session waits for one.
const ATTEMPTS: u32 = 3;

/// A moment at which rows are read.
///
/// The snapshot of a transaction covers the engines that have transactions. The others are held still by locks: one connection
/// locks them while it reads them, for less than a second; another one locks the rest just while the snapshot is taken, so that both are
/// of the same moment. In one connection it cannot work, as `LOCK TABLES` ends the transaction.
#[derive(Debug)]
pub(crate) struct Instant {
    /// In a transaction with a snapshot.
    pub(crate) reader: Session,
    /// A table that was made or renamed before this moment is the one that the snapshot has under its name.
    pub(crate) settled: String,
    /// Holds tables without transactions still, and is the one to read them: others would wait behind those who wait to write.
    pub(crate) lock: Option<Session>,
    /// Why the tables without transactions are not held still, if they are not.
    pub(crate) fuzzy: Option<String>,
}

impl Instant {
    pub(crate) async fn take(
        address: &DatabaseAddress,
        plain: &[String],
        transactional: &[String],
    ) -> Result<Self, DatabaseError> {
        let mut reader = Session::open(address, Purpose::Rows).await?;
        let settled = settled(&mut reader).await?;
        let mut why = None;
        for _ in 0..ATTEMPTS {
            if plain.is_empty() {
                break;
            }
            match locked(address, plain, transactional, &mut reader).await {
                Ok(lock) => return Ok(Self { reader, settled, lock: Some(lock), fuzzy: None }),
                Err(error) if error.ends_the_session() => return Err(error),
                Err(error) => {
                    why = Some(error.line());
                    if !matches!(error, DatabaseError::Busy { .. }) {
                        break;
                    }
                }
            }
        }
        reader.begin_snapshot(Holds::Page).await?;
        Ok(Self { reader, settled, lock: None, fuzzy: why })
    }
}

/// A moment for one table alone, at which nobody can put another one under its name: a session to read it by, and what the moment
/// is. When it may not be locked, `None`.
pub(crate) async fn alone(
    address: &DatabaseAddress,
    table: &Table,
) -> Result<Option<(Session, TableInstant)>, DatabaseError> {
    let action = "locking a table";
    let mut lock = Session::open(address, Purpose::Rows).await?;
    match lock.run(action, &lock_statement(std::slice::from_ref(&table.name), "READ")).await {
        Ok(()) => {}
        Err(DatabaseError::Denied { .. }) => return Ok(None),
        Err(error) => return Err(error),
    }
    if table.storage != Storage::Transactional {
        lock.hold_briefly().await?;
        return Ok(Some((lock, TableInstant::Later)));
    }
    let mut reader = Session::open(address, Purpose::Rows).await?;
    reader.begin_snapshot(Holds::Table).await?;
    // From here on it holds the definition itself.
    reader.run(action, &format!("SELECT 1 FROM {} LIMIT 1", quote(&table.name))).await?;
    lock.close().await;
    Ok(Some((reader, TableInstant::Later)))
}

/// A moment that is safely past, as the server writes it. A second is as exact as the times of tables are, and clocks of file systems
/// are a little behind.
pub(crate) async fn settled(session: &mut Session) -> Result<String, DatabaseError> {
    let action = "asking for the time";
    let answer = session.one(action, "SELECT CAST(NOW() - INTERVAL 1 SECOND AS CHAR)").await?;
    let answer = answer.first().map(text).transpose()?;
    answer.ok_or_else(|| DatabaseError::nonsense(action, "there is none"))
}

async fn locked(
    address: &DatabaseAddress,
    plain: &[String],
    transactional: &[String],
    reader: &mut Session,
) -> Result<Session, DatabaseError> {
    let mut lock = Session::open(address, Purpose::Rows).await?;
    let mut short = None;
    if !transactional.is_empty() {
        // First, as only writers wait for these.
        let mut session = Session::open(address, Purpose::Rows).await?;
        session.run("locking tables", &lock_statement(transactional, "READ")).await?;
        short = Some(session);
    }
    lock.run("locking tables", &lock_statement(plain, "READ")).await?;
    lock.hold_briefly().await?;
    let begun = reader.begin_snapshot(Holds::Page).await;
    // Writers wait for this: nothing may come in between.
    if let Some(mut short) = short {
        let unlocked = short.run("unlocking tables", "UNLOCK TABLES").await;
        short.close().await;
        unlocked?;
    }
    begun.map(|()| lock)
}

/// Not `READ LOCAL`: there are engines whose inserts it lets in, and which show them to us.
fn lock_statement(tables: &[String], how: &str) -> String {
    let tables: Vec<_> = tables.iter().map(|table| format!("{} {how}", quote(table))).collect();
    format!("LOCK TABLES {}", tables.join(", "))
}
