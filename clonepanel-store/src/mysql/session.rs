//! [`Session`]: a connection in a known state, on which nothing waits for ever.

use super::{DatabaseAddress, DatabaseError, bridge::Bridge, format::name::quote};
use mysql_async::{Conn, QueryResult, Row, TextProtocol, Value, prelude::Queryable as _};
use std::time::{Duration, Instant};

/// How long an answer, or the next row of one, is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// The longest packet that is taken from a server: what the protocol itself allows for a row.
pub(crate) const MAX_PACKET: usize = 1 << 30;
/// The most rows that are taken in answer to a question about the catalogue.
const MAX_ANSWER: usize = 1_000_000;
/// The longest version of a server, in bytes.
const MAX_VERSION: usize = 100;
/// How long a lock is waited for, in seconds: those behind us wait as long.
const LOCK_WAIT: u32 = 1;
/// How long who holds locks may have nothing to do, in seconds, while others are waited for.
const LOCKED_IDLE: u32 = 3;
/// How long tables are held still, and how long a statement may take meanwhile: a second together, with something to spare.
const HOLD: Duration = Duration::from_millis(600);
const STATEMENT: Duration = Duration::from_millis(300);
/// How long a connection may have nothing to do, in seconds: shared hosts end them after a minute, and some of ours hold locks.
const IDLE: u32 = 28_800;

/// A statement is a good one, but not one that can be prepared.
const UNPREPARABLE: u16 = 1295;
/// A text is no statement.
const SYNTAX: u16 = 1064;

/// A connection in a known state.
#[derive(Debug)]
pub(crate) struct Session {
    conn: Conn,
    flavour: Flavour,
    version: String,
    holds: Holds,
    /// How long an answer is waited for.
    patience: Duration,
    /// Nothing more is read after this.
    until: Option<Instant>,
    _bridge: Option<Bridge>,
}

/// What a session keeps from others once it has read a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Nothing that it could let go of.
    Nothing,
    /// Its definition, until the transaction goes back to its savepoint: after each page.
    Page,
    /// Its definition, until it is told to let go of it.
    Table,
}

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    MariaDb,
    MySql,
}

impl Flavour {
    /// The setting of how long a statement may take; zero for any time. MySQL keeps it for questions only.
    fn limit(self, limit: Duration) -> String {
        match self {
            Self::MariaDb => format!("max_statement_time={}", limit.as_secs_f32()),
            Self::MySql => format!("max_execution_time={}", limit.as_millis()),
        }
    }
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Texts of the catalogue, as UTF-8; and writing.
    Catalogue,
    /// Rows, each column in its own character set.
    Rows,
}

impl Session {
    pub(crate) async fn open(address: &DatabaseAddress, purpose: Purpose) -> Result<Self, DatabaseError> {
        let action = "logging in";
        let (conn, bridge) = connect(action, address).await?;
        let (flavour, version) = (Flavour::MySql, String::new());
        let (holds, patience) = (Holds::Nothing, PATIENCE);
        let mut session = Self { conn, flavour, version, holds, patience, until: None, _bridge: bridge };
        let version = session.one(action, "SELECT VERSION()").await?;
        session.version = version.first().and_then(|value| text(value).ok()).unwrap_or_default();
        session.version.truncate(session.version.floor_char_boundary(MAX_VERSION));
        if session.version.contains("MariaDB") {
            session.flavour = Flavour::MariaDb;
        }
        let unlimited = session.flavour.limit(Duration::ZERO);
        session
            .run(
                action,
                &format!(
                    "SET sql_mode='', time_zone='+00:00', lock_wait_timeout={LOCK_WAIT}, sql_quote_show_create=1, \
                     sql_select_limit=18446744073709551615, sql_big_selects=1, net_write_timeout=600, \
                     wait_timeout={IDLE}, {unlimited}"
                ),
            )
            .await?;
        if session.flavour == Flavour::MySql {
            // The catalogue tells how things are now. Older servers know no other way, and not this variable.
            match session.run(action, "SET information_schema_stats_expiry=0").await {
                Err(error) if error.ends_the_session() => return Err(error),
                _ => {}
            }
        }
        session.run(action, "SET NAMES utf8mb4").await?;
        if purpose == Purpose::Rows {
            session.run(action, "SET character_set_results=NULL").await?;
            session.run(action, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        }
        Ok(session)
    }

    /// Waits for each answer as long as this from now on, or as usual.
    pub(crate) fn wait(&mut self, patience: Option<Duration>) {
        self.patience = patience.unwrap_or(PATIENCE);
    }

    pub(crate) const fn flavour(&self) -> Flavour {
        self.flavour
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Runs a statement whose result, if any, does not matter.
    pub(crate) async fn run(&mut self, action: &'static str, statement: &str) -> Result<(), DatabaseError> {
        within(self.patience, action, self.conn.query_drop(statement)).await
    }

    /// As [`Self::run`], for a statement that is no text: rows are bytes.
    pub(crate) async fn run_bytes(&mut self, action: &'static str, statement: Vec<u8>) -> Result<(), DatabaseError> {
        within(self.patience, action, self.conn.query_drop(statement)).await
    }

    /// Runs a statement as the single one that it is: a server that finds a second one behind it refuses both.
    pub(crate) async fn run_single(&mut self, action: &'static str, statement: &str) -> Result<(), DatabaseError> {
        let prepared = match within(self.patience, action, self.conn.prep(statement)).await {
            // MySQL says so of bodies of several statements, older servers of most kinds.
            Err(error) if is(&error, UNPREPARABLE) => {
                if !statement.contains(';') || self.reads_all_first().await? {
                    return self.run(action, statement).await;
                }
                return Err(error);
            }
            prepared => prepared?,
        };
        let done = within(self.patience, action, self.conn.exec_drop(&prepared, ())).await;
        if done.as_ref().is_err_and(DatabaseError::ends_the_session) {
            return done;
        }
        within(self.patience, action, self.conn.close(prepared)).await.and(done)
    }

    /// Whether the server takes a text apart as a whole, and finds a second statement there, before it says that the first one
    /// cannot be prepared. It is asked without a mode: what is written in another one would be no statement at all.
    async fn reads_all_first(&mut self) -> Result<bool, DatabaseError> {
        let action = "preparing a statement";
        let mode = self.one(action, "SELECT @@sql_mode").await?;
        let mode = mode.first().map(text).transpose()?.unwrap_or_default();
        self.run(action, "SET sql_mode=''").await?;
        let one = "CREATE PROCEDURE clonepanel() BEGIN SELECT 1; END";
        let is_one = self.refuses(one, UNPREPARABLE).await?;
        let is_two = self.refuses(&format!("{one}; SELECT 2"), SYNTAX).await?;
        self.run(action, &format!("SET sql_mode={}", string(&mode))).await?;
        Ok(is_one && is_two)
    }

    /// Whether a statement cannot be prepared, for this reason.
    async fn refuses(&mut self, statement: &str, code: u16) -> Result<bool, DatabaseError> {
        match within(self.patience, "preparing a statement", self.conn.prep(statement)).await {
            Ok(prepared) => {
                within(self.patience, "preparing a statement", self.conn.close(prepared)).await?;
                Ok(false)
            }
            Err(error) if error.ends_the_session() => Err(error),
            Err(error) => Ok(is(&error, code)),
        }
    }

    /// All rows of an answer about the catalogue.
    pub(crate) async fn rows(
        &mut self,
        action: &'static str,
        question: &str,
    ) -> Result<Vec<Vec<Value>>, DatabaseError> {
        let mut answer = self.ask(action, question).await?;
        let mut rows = Vec::new();
        while let Some(row) = answer.next().await? {
            rows.push(row);
            if rows.len() > MAX_ANSWER {
                return Err(DatabaseError::nonsense(action, "it has too many rows"));
            }
        }
        Ok(rows)
    }

    /// The first row of an answer; empty when there is none.
    pub(crate) async fn one(&mut self, action: &'static str, question: &str) -> Result<Vec<Value>, DatabaseError> {
        let row: Option<Row> = within(self.patience, action, self.conn.query_first(question)).await?;
        Ok(row.map(Row::unwrap).unwrap_or_default())
    }

    /// The rows of an answer one by one, as they come.
    pub(crate) async fn ask(&mut self, action: &'static str, question: &str) -> Result<Answer<'_>, DatabaseError> {
        let (patience, until) = (self.patience, self.until);
        in_time(until)?;
        let result = within(self.patience, action, self.conn.query_iter(question.to_owned())).await?;
        Ok(Answer { action, patience, until, result })
    }

    /// Begins a transaction that sees one moment, in a session for rows.
    pub(crate) async fn begin_snapshot(&mut self, holds: Holds) -> Result<(), DatabaseError> {
        let action = "taking a snapshot";
        self.run(action, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
        self.run(action, "SAVEPOINT clonepanel").await?;
        self.holds = holds;
        Ok(())
    }

    /// Lets go of the definition of a table that was read. Otherwise whoever alters it waits, and everybody else for them.
    pub(crate) async fn let_go(&mut self) -> Result<(), DatabaseError> {
        match self.holds {
            Holds::Page => self.run("letting go of a table", "ROLLBACK TO SAVEPOINT clonepanel").await,
            Holds::Nothing | Holds::Table => Ok(()),
        }
    }

    /// Locks tables for a short while: whoever wants to write to them waits for this session, and readers of some behind them. The server ends
    /// it within seconds also when the network is cut or we are stopped.
    pub(crate) async fn lock(&mut self, tables: &[String]) -> Result<(), DatabaseError> {
        let action = "locking tables";
        let limit = self.flavour.limit(Duration::from_secs(LOCK_WAIT.into()));
        self.run(action, &format!("SET wait_timeout={LOCKED_IDLE}, net_write_timeout=1, {limit}")).await?;
        // Not `READ LOCAL`: there are engines whose inserts it lets in, and which show them to us.
        let tables: Vec<_> = tables.iter().map(|table| format!("{} READ", quote(table))).collect();
        self.run(action, &format!("LOCK TABLES {}", tables.join(", "))).await
    }

    /// Lets go of what [`Self::lock`] has locked. When this succeeds, it was locked until now.
    pub(crate) async fn unlock(mut self) -> Result<(), DatabaseError> {
        let unlocked = self.run("unlocking tables", "UNLOCK TABLES").await;
        self.close().await;
        unlocked
    }

    /// From now on what is locked is read, all of it within a second.
    pub(crate) async fn hold_briefly(&mut self) -> Result<(), DatabaseError> {
        self.until = Some(Instant::now() + HOLD);
        let limit = self.flavour.limit(STATEMENT);
        self.run("holding tables still", &format!("SET wait_timeout=1, {limit}")).await
    }

    /// Says goodbye. A session that is only dropped does so later.
    pub(crate) async fn close(self) {
        // Whatever it answers, it is over.
        let _ = within(PATIENCE, "logging out", self.conn.disconnect()).await;
    }
}

/// Rows that are coming.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    action: &'static str,
    patience: Duration,
    until: Option<Instant>,
    result: QueryResult<'a, 'static, TextProtocol>,
}

impl Answer<'_> {
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Value>>, DatabaseError> {
        in_time(self.until)?;
        let row = within(self.patience, self.action, self.result.next()).await?;
        Ok(row.map(Row::unwrap))
    }
}

fn in_time(until: Option<Instant>) -> Result<(), DatabaseError> {
    match until {
        Some(until) if Instant::now() > until => Err(DatabaseError::Busy { action: "holding tables still" }),
        _ => Ok(()),
    }
}

/// Logs in. A password that was sent over a forward is refused by a server that wants it encrypted, until somebody has logged in
/// otherwise; then it remembers.
async fn connect(action: &'static str, address: &DatabaseAddress) -> Result<(Conn, Option<Bridge>), DatabaseError> {
    match (within(PATIENCE, action, Conn::new(address.options())).await, address.forwarded()) {
        (Err(DatabaseError::Denied { .. }), Some(socket)) => {
            let bridge = Bridge::to(socket.to_owned()).await;
            let bridge = bridge.map_err(|error| DatabaseError::Unreachable { action, source: error.into() })?;
            let conn = within(PATIENCE, action, Conn::new(address.at_port(bridge.port()).options())).await?;
            Ok((conn, Some(bridge)))
        }
        (conn, _) => Ok((conn?, None)),
    }
}

async fn within<T>(
    patience: Duration,
    action: &'static str,
    work: impl Future<Output = Result<T, mysql_async::Error>>,
) -> Result<T, DatabaseError> {
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done.map_err(|error| DatabaseError::of(action, error)),
        Err(_) => Err(DatabaseError::Silent { action }),
    }
}

fn is(error: &DatabaseError, code: u16) -> bool {
    matches!(error, DatabaseError::Server { source, .. } if source.code == code)
}

/// The bytes of a value; `None` for `NULL`.
pub(crate) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// A value of the catalogue as text; `NULL` is empty.
pub(crate) fn text(value: &Value) -> Result<String, DatabaseError> {
    let bytes = bytes(value).unwrap_or_default().to_vec();
    String::from_utf8(bytes).map_err(|error| DatabaseError::nonsense("reading the catalogue", error))
}

/// A string literal.
pub(crate) fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('\'');
    quoted
}
