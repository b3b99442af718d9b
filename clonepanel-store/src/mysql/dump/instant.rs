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
    let mut lock = Session::open(address, Purpose::Rows).await?;
    let is_plain = table.storage != Storage::Transactional;
    let reader = if is_plain { None } else { Some(Session::open(address, Purpose::Rows).await?) };
    match lock.lock(std::slice::from_ref(&table.name)).await {
        Ok(()) => {}
        Err(DatabaseError::Denied { .. }) => return Ok(None),
        Err(error) => return Err(error),
    }
    let Some(mut reader) = reader else {
        lock.hold_briefly().await?;
        return Ok(Some((lock, TableInstant::Later)));
    };
    reader.begin_snapshot(Holds::Table).await?;
    // From here on it holds the definition itself.
    reader.run("locking tables", &format!("SELECT 1 FROM {} LIMIT 1", quote(&table.name))).await?;
    lock.unlock().await.map_err(lost)?;
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
        session.lock(transactional).await.map_err(lost)?;
        short = Some(session);
    }
    lock.lock(plain).await.map_err(lost)?;
    lock.hold_briefly().await.map_err(lost)?;
    let begun = reader.begin_snapshot(Holds::Page).await;
    // Writers wait for this: nothing may come in between.
    if let Some(short) = short {
        short.unlock().await.map_err(lost)?;
    }
    begun.map(|()| lock)
}

/// Who holds locks is not waited for: a connection that was ended by that is one that came too late.
fn lost(error: DatabaseError) -> DatabaseError {
    match error {
        DatabaseError::Unreachable { action, .. } => DatabaseError::Busy { action },
        error => error,
    }
}
