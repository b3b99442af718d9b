//! [`SqliteHealthLog`]: what a monitor saw, in SQLite files that anybody can read.
//!
//! `health.sqlite` has the names of targets and vantages, and the states of each target. Each month has a file of its own, `looks-2026-11.sqlite`, with
//! every look and, by hour, counts and a sketch of the latencies: to forget a month, remove its file. `docs/health-log.md` has the layout.

use crate::blocking;
use async_trait::async_trait;
use clonepanel_core::{
    health::{Class, HealthLog, HealthLogError, HealthRecord, HealthSummary, LatencySketch, State},
    time::Timestamp,
};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, params};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// `ClPH`: so that no other program's file is taken for ours.
const APPLICATION: i32 = 0x436c_5048;
const VERSION: i32 = 1;
/// How long after its last look a target's state is still what it was.
const KNOWN_FOR: i64 = 180;
/// How long somebody else may keep a file.
const BUSY: Duration = Duration::from_secs(10);

const STATES: &str = "
CREATE TABLE target (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, seen INTEGER NOT NULL) STRICT;
CREATE TABLE vantage (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE state (target INTEGER NOT NULL, at_ms INTEGER NOT NULL, state INTEGER NOT NULL, cause TEXT NOT NULL,
  PRIMARY KEY (target, at_ms)) STRICT, WITHOUT ROWID;";
const LOOKS: &str = "
CREATE TABLE look (target INTEGER NOT NULL, at INTEGER NOT NULL, vantage INTEGER NOT NULL, class INTEGER, micros INTEGER NOT NULL,
  PRIMARY KEY (target, at, vantage)) STRICT, WITHOUT ROWID;
CREATE TABLE hour (target INTEGER NOT NULL, hour INTEGER NOT NULL, looks INTEGER NOT NULL, failures INTEGER NOT NULL, sketch BLOB NOT NULL,
  PRIMARY KEY (target, hour)) STRICT, WITHOUT ROWID;";

/// A log in a folder of its own. Several programs can use it at the same time; one of them should write.
#[derive(Debug, Clone)]
pub struct SqliteHealthLog {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    states: Connection,
    /// By year and month.
    months: BTreeMap<(i64, u32), Connection>,
    targets: HashMap<String, i64>,
    vantages: HashMap<String, i64>,
}

type Result<T> = std::result::Result<T, HealthLogError>;

impl SqliteHealthLog {
    /// Opens the log in `folder`, and begins one if there is none.
    ///
    /// # Errors
    /// [`HealthLogError::Damaged`] when there is something else under its names: that is left as it is.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|error| unavailable(&folder, error))?;
        let states = open(&folder.join("health.sqlite"), STATES, "FULL")?;
        let (months, targets, vantages) = (BTreeMap::new(), HashMap::new(), HashMap::new());
        Ok(Self { inner: Arc::new(Mutex::new(Inner { folder, states, months, targets, vantages })) })
    }

    async fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Inner) -> Result<T> + Send + 'static) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        let lost = |error| unavailable(Path::new("the log"), error);
        blocking::run(move || work(&mut inner.lock().unwrap_or_else(PoisonError::into_inner)), lost).await
    }
}

#[async_trait]
impl HealthLog for SqliteHealthLog {
    async fn append(&self, records: &[HealthRecord]) -> Result<()> {
        let records = records.to_vec();
        self.with(move |inner| inner.append(&records)).await
    }

    async fn targets(&self) -> Result<Vec<String>> {
        self.with(Inner::names).await
    }

    async fn summary(&self, target: &str, from: Timestamp, to: Timestamp) -> Result<HealthSummary> {
        let target = target.to_owned();
        self.with(move |inner| inner.summary(&target, from, to)).await
    }
}

impl Inner {
    fn place(&self) -> PathBuf {
        self.folder.join("health.sqlite")
    }

    fn append(&mut self, records: &[HealthRecord]) -> Result<()> {
        self.name(records)?;
        // Looks first: told again, those that are there already count nothing.
        let mut months: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in records {
            if let HealthRecord::Look { at, .. } = record {
                months.entry(month(*at)).or_default().push(record);
            }
        }
        for (month, looks) in months {
            self.looks(month, &looks)?;
        }
        let place = self.place();
        let changed = self.states.transaction().and_then(|states| {
            for record in records {
                keep_state(&states, &self.targets, record)?;
            }
            states.commit()
        });
        changed.map_err(|error| failed(&place, error))
    }

    /// Gives numbers to names that have none.
    fn name(&mut self, records: &[HealthRecord]) -> Result<()> {
        let place = self.place();
        for record in records {
            let (target, vantage) = match record {
                HealthRecord::Look { target, vantage, .. } => (Some(target), Some(vantage)),
                HealthRecord::State { target, .. } => (Some(target), None),
                _ => (None, None),
            };
            let tables = [("target", target, &mut self.targets), ("vantage", vantage, &mut self.vantages)];
            for (table, name, known) in tables {
                let Some(name) = name.filter(|name| !known.contains_key(*name)) else { continue };
                let columns = if table == "target" { "(name, seen) VALUES (?1, 0)" } else { "(name) VALUES (?1)" };
                let number =
                    self.states.execute(&format!("INSERT OR IGNORE INTO {table} {columns}"), [name]).and_then(|_| {
                        let question = format!("SELECT id FROM {table} WHERE name = ?1");
                        self.states.query_row(&question, [name], |row| row.get(0))
                    });
                known.insert(name.clone(), number.map_err(|error| failed(&place, error))?);
            }
        }
        Ok(())
    }

    fn month(&mut self, month: (i64, u32)) -> Result<&mut Connection> {
        if !self.months.contains_key(&month) {
            // The last one is what is written to; older ones are asked for again when they are needed.
            self.months.clear();
            let connection = open(&self.month_place(month), LOOKS, "NORMAL")?;
            self.months.insert(month, connection);
        }
        self.months.get_mut(&month).ok_or_else(|| unavailable(&self.folder, "a month is gone"))
    }

    fn month_place(&self, (year, month): (i64, u32)) -> PathBuf {
        self.folder.join(format!("looks-{year:04}-{month:02}.sqlite"))
    }

    fn looks(&mut self, month: (i64, u32), looks: &[&HealthRecord]) -> Result<()> {
        let place = self.month_place(month);
        let (targets, vantages) = (self.targets.clone(), self.vantages.clone());
        let connection = self.month(month)?;
        let kept = connection.transaction().and_then(|transaction| {
            for look in looks {
                keep_look(&transaction, &targets, &vantages, look)?;
            }
            transaction.commit()
        });
        kept.map_err(|error| failed(&place, error))
    }

    fn names(&mut self) -> Result<Vec<String>> {
        let place = self.place();
        let names = self
            .states
            .prepare("SELECT name FROM target ORDER BY name")
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<_>>>());
        names.map_err(|error| failed(&place, error))
    }

    fn summary(&mut self, target: &str, from: Timestamp, to: Timestamp) -> Result<HealthSummary> {
        let place = self.place();
        let mut summary = HealthSummary::default();
        let question = "SELECT id, seen FROM target WHERE name = ?1";
        let known = self.states.query_row(question, [target], |row| Ok((row.get(0)?, row.get(1)?))).optional();
        let Some((number, seen)): Option<(i64, i64)> = known.map_err(|error| failed(&place, error))? else {
            summary.add(State::Unknown, from, to, "", false);
            return Ok(summary);
        };
        let states = states(&self.states, number, from, to).map_err(|error| failed(&place, error))?;
        // What was not looked at for a while is not known to be what it was.
        let known_until = Timestamp::from_secs(seen.saturating_add(KNOWN_FOR)).clamp(from, to);
        for (at, (begun, state, cause)) in states.iter().enumerate() {
            let next = states.get(at + 1).map(|(next, ..)| *next);
            let (begun, end) = ((*begun).max(from), next.unwrap_or(known_until).clamp(from, to));
            summary.add(*state, begun.min(end), end, cause, next.is_some());
        }
        if states.is_empty() || known_until < to {
            summary.add(State::Unknown, if states.is_empty() { from } else { known_until }, to, "", false);
        }
        self.hours(number, from, to, &mut summary)?;
        Ok(summary)
    }

    /// Counts and latencies, of whole hours.
    fn hours(&mut self, target: i64, from: Timestamp, to: Timestamp, summary: &mut HealthSummary) -> Result<()> {
        let hours = (from.secs().div_euclid(3600), to.secs().div_euclid(3600));
        for month in self.months_between(from, to)? {
            let place = self.month_place(month);
            let read = self.month(month)?.prepare_cached(
                "SELECT looks, failures, sketch FROM hour WHERE target = ?1 AND hour BETWEEN ?2 AND ?3",
            );
            let read = read.and_then(|mut statement| {
                let mut rows = statement.query(params![target, hours.0, hours.1])?;
                while let Some(row) = rows.next()? {
                    summary.looks += row.get::<_, i64>(0)?.unsigned_abs();
                    summary.failures += row.get::<_, i64>(1)?.unsigned_abs();
                    if let Some(sketch) = LatencySketch::from_bytes(row.get_ref(2)?.as_blob()?) {
                        summary.latencies.merge(&sketch);
                    }
                }
                Ok(())
            });
            read.map_err(|error| failed(&place, error))?;
        }
        Ok(())
    }

    /// The months that there are files of.
    fn months_between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<(i64, u32)>> {
        let (from, to) = (month(from), month(to));
        let files = fs::read_dir(&self.folder).map_err(|error| unavailable(&self.folder, error))?;
        let mut months = Vec::new();
        for file in files.flatten() {
            let name = file.file_name();
            let parts =
                name.to_str().and_then(|name| name.strip_prefix("looks-")?.strip_suffix(".sqlite")?.split_once('-'));
            let found = parts.and_then(|(year, month)| Some((year.parse().ok()?, month.parse().ok()?)));
            months.extend(found.filter(|month| (from..=to).contains(month)));
        }
        months.sort_unstable();
        Ok(months)
    }
}

fn keep_look(
    transaction: &Transaction<'_>,
    targets: &HashMap<String, i64>,
    vantages: &HashMap<String, i64>,
    record: &HealthRecord,
) -> rusqlite::Result<()> {
    let HealthRecord::Look { target, vantage, at, class, latency } = record else { return Ok(()) };
    let target = targets.get(target);
    let micros = i64::try_from(latency.as_micros()).unwrap_or(i64::MAX);
    let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO look VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let is_new = insert.execute(params![target, at.secs(), vantages.get(vantage), class.map(number), micros])? > 0;
    let Some(class) = class.filter(|_| is_new) else { return Ok(()) };
    let hour = at.secs().div_euclid(3600);
    let question = "SELECT looks, failures, sketch FROM hour WHERE target = ?1 AND hour = ?2";
    let mut ask = transaction.prepare_cached(question)?;
    let known = ask.query_row(params![target, hour], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let (looks, failures, sketch): (i64, i64, Vec<u8>) = known.unwrap_or_default();
    let mut sketch = LatencySketch::from_bytes(&sketch).unwrap_or_default();
    if !class.is_failure() {
        sketch.add(*latency);
    }
    let failures = failures + i64::from(class.is_failure());
    let mut keep = transaction.prepare_cached("INSERT OR REPLACE INTO hour VALUES (?1, ?2, ?3, ?4, ?5)")?;
    keep.execute(params![target, hour, looks + 1, failures, sketch.to_bytes()])?;
    Ok(())
}

fn keep_state(states: &Transaction<'_>, targets: &HashMap<String, i64>, record: &HealthRecord) -> rusqlite::Result<()> {
    match record {
        HealthRecord::Look { target, at, .. } => {
            let mut seen = states.prepare_cached("UPDATE target SET seen = max(seen, ?2) WHERE id = ?1")?;
            seen.execute(params![targets.get(target), at.secs()])?;
        }
        HealthRecord::State { target, at, state, cause } => {
            let mut keep = states.prepare_cached("INSERT OR REPLACE INTO state VALUES (?1, ?2, ?3, ?4)")?;
            keep.execute(params![targets.get(target), millis(*at), state_number(*state), cause])?;
        }
        HealthRecord::Begun { at } => {
            // Until when each was known, unless it was known to be unknown.
            states.execute(
                "INSERT OR IGNORE INTO state SELECT id, min(?1, (seen + ?2) * 1000), 0, '' FROM target WHERE \
                 (SELECT state FROM state WHERE target = id ORDER BY at_ms DESC LIMIT 1) <> 0",
                params![millis(*at), KNOWN_FOR],
            )?;
        }
        _ => {}
    }
    Ok(())
}

type KnownState = (Timestamp, State, String);

/// The states of a span in the order of time, the one that it begins with first.
fn states(states: &Connection, target: i64, from: Timestamp, to: Timestamp) -> rusqlite::Result<Vec<KnownState>> {
    let mut statement = states.prepare_cached(
        "SELECT at_ms, state, cause FROM state WHERE target = ?1 AND at_ms < ?3 AND at_ms >= \
         coalesce((SELECT max(at_ms) FROM state WHERE target = ?1 AND at_ms <= ?2), ?2) ORDER BY at_ms",
    )?;
    let rows = statement.query_map(params![target, millis(from), millis(to)], |row| {
        let at: i64 = row.get(0)?;
        let nanos = u32::try_from(at.rem_euclid(1000)).unwrap_or(0) * 1_000_000;
        Ok((Timestamp::new(at.div_euclid(1000), nanos), state_of(row.get(1)?), row.get(2)?))
    })?;
    let mut found = rows.collect::<rusqlite::Result<Vec<KnownState>>>()?;
    if found.first().is_some_and(|(first, ..)| *first > from) {
        found.insert(0, (from, State::Unknown, String::new()));
    }
    Ok(found)
}

/// The file at a place, which is ours, or nobody's yet.
fn open(place: &Path, layout: &str, synchronous: &str) -> Result<Connection> {
    // Nobody else has to know how a site does. What is there keeps its mode.
    let made = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(place);
    made.map_err(|error| unavailable(place, error))?;
    let opened = Connection::open(place).and_then(|mut connection| {
        connection.busy_timeout(BUSY)?;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let (application, tables): (i32, i64) = (
            transaction.pragma_query_value(None, "application_id", |row| row.get(0))?,
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
        );
        let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let is_ours = application == APPLICATION && version == VERSION;
        if tables == 0 && application == 0 {
            transaction.execute_batch(layout)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        transaction.commit()?;
        if is_ours || tables == 0 {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", synchronous)?;
        }
        Ok((connection, is_ours || tables == 0))
    });
    match opened {
        Ok((connection, true)) => Ok(connection),
        Ok((_, false)) => Err(damaged(place, "another program has made it, or a newer version")),
        Err(error) => Err(failed(place, error)),
    }
}

fn month(at: Timestamp) -> (i64, u32) {
    let text = at.to_string();
    // RFC 3339: a year that has more digits than four, or a sign, is none that anybody looks in.
    let part = |from: usize, to: usize| text.get(from..to);
    match (part(0, 4).and_then(|year| year.parse().ok()), part(5, 7).and_then(|month| month.parse().ok())) {
        (Some(year), Some(month)) => (year, month),
        _ => (0, 1),
    }
}

fn millis(at: Timestamp) -> i64 {
    at.secs().saturating_mul(1000).saturating_add(i64::from(at.nanos() / 1_000_000))
}

/// Numbers that are in files: never another meaning for one.
fn number(class: Class) -> u8 {
    match class {
        Class::Good => 0,
        Class::Slow => 1,
        Class::Certificate => 2,
        Class::Denied => 3,
        Class::Name => 4,
        Class::Overload => 5,
        Class::Refused => 6,
        Class::Reset => 7,
        Class::TimedOut => 8,
        Class::WrongContent => 9,
        Class::WrongStatus => 10,
        _ => 255,
    }
}

const fn state_number(state: State) -> u8 {
    match state {
        State::Unknown => 0,
        State::Up => 1,
        State::Failing => 2,
        State::Down => 3,
        State::Recovering => 4,
    }
}

const fn state_of(number: u8) -> State {
    match number {
        1 => State::Up,
        2 => State::Failing,
        3 => State::Down,
        4 => State::Recovering,
        _ => State::Unknown,
    }
}

fn failed(place: &Path, error: rusqlite::Error) -> HealthLogError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(place, error),
        _ => unavailable(place, error),
    }
}

fn damaged(place: &Path, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HealthLogError {
    HealthLogError::Damaged { place: place.display().to_string(), source: why.into() }
}

fn unavailable(place: &Path, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HealthLogError {
    HealthLogError::Unavailable { place: place.display().to_string(), source: why.into() }
}
