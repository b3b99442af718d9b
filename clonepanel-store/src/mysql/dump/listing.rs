//! [`Listing`]: a dump in progress, told entry by entry.

use super::{
    super::{
        DatabaseAddress, DatabaseError, DumpDescription, DumpedObject, DumpedTable, MissingObject, ObjectKind,
        TableInstant,
        format::{
            name::{file_stem, quote},
            range_record::{Range, RangeRecord},
        },
        layout,
        session::{Holds, Purpose, Session, text},
    },
    catalogue::{Catalogue, Object, Storage, Table, table_names},
    content::Content,
    instant::{Instant, alone, settled},
    known_ranges::{KnownRanges, RangeSums},
    objects,
    rights::Rights,
    row_files::block_len,
    source::Contents,
    spool::Spool,
    table::{Reading, TableRead},
};
use async_trait::async_trait;
use clonepanel_core::{
    entry::{Entry, EntryKind, EntryMeta, Freshness},
    path::RelPath,
    problem::{Problem, ProblemKind},
    time::Timestamp,
    tree::{EntryStream, Listed, TreeError},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    time::Duration,
};

/// How often a table whose definition changes is read again, each time as of a new moment.
const ATTEMPTS: u32 = 3;

/// How long it takes until a table is no longer young.
const YOUNG: Duration = Duration::from_millis(2100);

/// A dump in progress.
pub(crate) struct Listing {
    address: DatabaseAddress,
    directory: PathBuf,
    contents: Contents,
    spool: Spool,
    rights: Rights,
    catalogue: Session,
    /// Reads as of one moment for all tables.
    common: Session,
    /// What that moment is: a later one than the dump's once the connection was lost.
    common_instant: TableInstant,
    settled: String,
    /// Reads what it holds still.
    lock: Option<Session>,
    fuzzy: Option<String>,
    now: Timestamp,
    ready: VecDeque<Listed>,
    tables: VecDeque<Table>,
    known: BTreeSet<String>,
    objects: Option<Vec<Object>>,
    counters: BTreeMap<String, u64>,
    description: DumpDescription,
    block: usize,
    sums: Option<RangeSums>,
    /// What an older dump has, if it is to be relied on.
    known_ranges: Option<KnownRanges>,
    ranges: RangeRecord,
}

/// How a table is read.
enum By<'s> {
    /// As of the common moment.
    Common,
    /// By who holds it still.
    Lock,
    /// While nobody writes to it.
    Rest,
    /// By another session; what is older than a moment is what it sees.
    Other(&'s mut Session, Option<&'s str>),
}

impl Listing {
    /// Takes the moment, and reads what cannot be read as of it later on.
    pub(crate) async fn begin(
        address: DatabaseAddress,
        directory: PathBuf,
        sums: Option<RangeSums>,
        contents: Contents,
    ) -> Result<Self, DatabaseError> {
        let known_ranges = match &sums {
            Some(sums) => sums.known().await,
            None => None,
        };
        let name = address.name().to_owned();
        let mut session = Session::open(&address, Purpose::Catalogue).await?;
        let rights = Rights::read(&mut session, &name).await?;
        let mut catalogue = settled_catalogue(&mut session, &name).await?;
        let unseen = rights.unseen(&catalogue, session.flavour(), &name);
        let transactional = catalogue.tables.iter().filter(|table| table.storage == Storage::Transactional);
        let transactional: Vec<_> = transactional.map(|table| table.name.clone()).collect();
        // What nobody has written to lately is seen to be so afterwards, and others are not kept waiting.
        let (mut held, mut rest): (Vec<_>, Vec<_>) = std::mem::take(&mut catalogue.tables)
            .into_iter()
            .partition(|table| is_plain(table) && table.written.is_none());
        held.sort_by_key(|table| table.size);
        let plain: Vec<_> = held.iter().map(|table| table.name.clone()).collect();
        let instant = Instant::take(&address, &plain, &transactional).await?;
        let mut description = DumpDescription::new(&name);
        (description.charset, description.collation) = (catalogue.charset.clone(), catalogue.collation.clone());
        description.server = session.version().to_owned();
        let now = now(&mut session).await?;
        let mut listing = Self {
            spool: Spool::new(&directory),
            common: instant.reader,
            common_instant: TableInstant::Common,
            settled: instant.settled,
            lock: instant.lock,
            fuzzy: instant.fuzzy,
            ready: VecDeque::new(),
            tables: VecDeque::new(),
            known: BTreeSet::new(),
            objects: None,
            counters: BTreeMap::new(),
            catalogue: session,
            address,
            directory,
            contents,
            rights,
            now,
            description,
            block: block_len(held.iter().chain(&rest).map(|table| table.size).fold(0, u64::saturating_add)),
            sums,
            known_ranges,
            ranges: RangeRecord::new(),
        };
        listing.root();
        listing.unseen(unseen);
        for table in held {
            listing.table(table).await?;
        }
        if let Some(lock) = listing.lock.take() {
            lock.close().await;
        }
        // First those that somebody may write to at any moment, then small ones: the longer a table waits for its turn, the likelier it is
        // altered before.
        rest.sort_by_cached_key(|table| (!is_plain(table), table.size, table.name.clone()));
        listing.tables = rest.into();
        listing.objects = Some(catalogue.objects);
        Ok(listing)
    }

    fn root(&mut self) {
        self.directory_entry(RelPath::root());
        for directory in layout::DIRECTORIES {
            self.directory_entry(layout::path(directory));
        }
    }

    fn unseen(&mut self, missing: Vec<MissingObject>) {
        for missing in &missing {
            let directory = match missing.kind {
                ObjectKind::Table => layout::TABLES,
                ObjectKind::Trigger => layout::TRIGGERS,
                ObjectKind::Event => layout::EVENTS,
                _ => layout::ROUTINES,
            };
            self.problem(layout::path(directory), ProblemKind::Unlisted, &missing.why);
        }
        self.description.missing = missing;
    }

    /// Reads a table as of the common moment or, when it was altered since, as of a later one.
    async fn table(&mut self, table: Table) -> Result<(), DatabaseError> {
        self.known.insert(table.name.clone());
        self.table_from(table, true).await
    }

    /// Tables that were not listed: made since, or passed over by a listing while they were renamed, as a listing is not of one
    /// moment.
    async fn newcomers(&mut self) -> Result<(), DatabaseError> {
        for name in table_names(&mut self.catalogue, self.address.name()).await? {
            if self.known.insert(name.clone())
                && let Some(table) = Catalogue::table(&mut self.catalogue, self.address.name(), &name).await?
            {
                self.table_from(table, false).await?;
            }
        }
        Ok(())
    }

    async fn table_from(&mut self, mut table: Table, mut is_common: bool) -> Result<(), DatabaseError> {
        let mut attempt = 0;
        loop {
            let outcome = if is_common { self.as_of_common(&table).await } else { self.as_of_now(&table).await };
            let error = match outcome {
                Ok((read, instant)) => return self.table_read(&table, read, instant).await,
                // What is locked is read before anything else. Without the lock it is read as well, and nothing else is lost.
                Err(DatabaseError::Busy { .. } | DatabaseError::Unreachable { .. })
                    if is_common && self.lock.is_some() =>
                {
                    self.release().await;
                    continue;
                }
                Err(error) => error,
            };
            attempt += 1;
            is_common = error.ends_the_session();
            if is_common {
                self.reconnect().await?;
            }
            let is_worth_it = error.ends_the_session()
                || matches!(
                    error,
                    DatabaseError::Busy { .. } | DatabaseError::Changed { .. } | DatabaseError::NotFound { .. }
                );
            if !is_worth_it || attempt > ATTEMPTS {
                self.table_lost(&table, &error);
                return Ok(());
            }
            match Catalogue::table(&mut self.catalogue, self.address.name(), &table.name).await? {
                Some(now) => table = now,
                None => {
                    let detail = "the table was dropped after the dump had begun";
                    self.problem(table_path(&table.name), ProblemKind::Vanished, detail);
                    return Ok(());
                }
            }
        }
    }

    /// Holds tables still no longer.
    async fn release(&mut self) {
        if let Some(lock) = self.lock.take() {
            lock.close().await;
            self.fuzzy = Some("readers would have waited for longer than a second".to_owned());
        }
    }

    async fn as_of_common(&mut self, table: &Table) -> Result<(TableRead, TableInstant), DatabaseError> {
        let (by, instant) = match (table.storage, &self.lock) {
            (Storage::Elsewhere, _) => (By::Common, TableInstant::Nowhere),
            (Storage::Transactional, _) => (By::Common, self.common_instant),
            (Storage::Plain, _) if table.written.is_some() => (By::Rest, self.common_instant),
            (Storage::Plain, Some(_)) => (By::Lock, TableInstant::Common),
            // Without a key it is read at once.
            (Storage::Plain, None) if table.key.is_none() => (By::Common, TableInstant::Later),
            (Storage::Plain, None) => (By::Common, TableInstant::Fuzzy),
        };
        let is_by_common = !matches!(by, By::Lock);
        let read = self.read(table, by).await;
        if is_by_common && read.as_ref().is_err_and(|error| !error.ends_the_session()) {
            // What fails half way has not let go.
            self.common.let_go().await?;
        }
        Ok((read?, instant))
    }

    async fn as_of_now(&mut self, table: &Table) -> Result<(TableRead, TableInstant), DatabaseError> {
        let is_plain = is_plain(table);
        let alone = match alone(&self.address, table).await {
            // Not even for a moment, by those who write to it: then it is read while they do.
            Err(DatabaseError::Busy { .. }) if is_plain => None,
            alone => alone?,
        };
        if let Some((mut reader, instant)) = alone {
            let read = self.read(table, By::Other(&mut reader, None)).await;
            reader.close().await;
            match read {
                Err(DatabaseError::Busy { .. }) if is_plain => {}
                read => return Ok((read?, instant)),
            }
        }
        let mut reader = Session::open(&self.address, Purpose::Rows).await?;
        let settled = settled(&mut reader).await?;
        reader.begin_snapshot(Holds::Page).await?;
        let read = self.read(table, By::Other(&mut reader, Some(&settled))).await;
        reader.close().await;
        let is_fuzzy = is_plain && table.key.is_some();
        Ok((read?, if is_fuzzy { TableInstant::Fuzzy } else { TableInstant::Later }))
    }

    async fn read(&mut self, table: &Table, by: By<'_>) -> Result<TableRead, DatabaseError> {
        let at_rest = matches!(by, By::Rest);
        let (rows, settled) = match (by, &mut self.lock) {
            (By::Other(reader, settled), _) => (reader, settled),
            (By::Lock, Some(lock)) => (lock, None),
            (By::Common, _) if table.storage != Storage::Transactional => (&mut self.common, None),
            (By::Common | By::Lock | By::Rest, _) => (&mut self.common, Some(self.settled.as_str())),
        };
        let mut reading = Reading {
            database: self.address.name(),
            settled,
            at_rest,
            catalogue: &mut self.catalogue,
            rows,
            spool: &mut self.spool,
            directory: &self.directory,
            time: self.now,
            block: self.block,
            sums: self.sums.as_ref(),
            known: self.known_ranges.as_ref(),
        };
        reading.table(table).await
    }

    /// New connections, and a new moment for what is not read yet.
    async fn reconnect(&mut self) -> Result<(), DatabaseError> {
        if self.lock.take().is_some() {
            self.fuzzy = Some("the connection that locked it was lost".to_owned());
        }
        self.catalogue = Session::open(&self.address, Purpose::Catalogue).await?;
        self.common = Session::open(&self.address, Purpose::Rows).await?;
        self.settled = settled(&mut self.common).await?;
        self.common_instant = TableInstant::Later;
        self.common.begin_snapshot(Holds::Page).await
    }

    async fn table_read(&mut self, table: &Table, read: TableRead, instant: TableInstant) -> Result<(), DatabaseError> {
        let stem = file_stem(table.name.as_bytes());
        self.content(table_path(&table.name), read.definition.file().into_bytes()).await?;
        self.directory_entry(layout::path(&layout::rows(&stem)));
        for file in read.files {
            let path = layout::path(&format!("{}/{}.sql", layout::rows(&stem), file.range.file));
            let mut entry = self.file_entry(path.clone(), file.range.len);
            if matches!(file.content, Content::Kept(_)) {
                // The server says that it is what that dump has: it was compared just now.
                (entry.meta.mtime, entry.meta.freshness) = (file.range.time(), Freshness::Settled);
            }
            self.contents.put(path, file.content);
            self.ready.push_back(Listed::Entry(entry));
        }
        self.ranges.tables.extend(read.ranges);
        if let Some(next) = read.definition.auto_increment {
            self.counters.insert(table.name.clone(), next);
        }
        let mut remarks = Vec::new();
        match (instant, &self.fuzzy) {
            (TableInstant::Fuzzy, why) => {
                let why = why.as_deref().unwrap_or("the table changed while it was read");
                remarks.push(format!("read while it was written to: its engine has no snapshots, and {why}"));
            }
            (TableInstant::Later, _) => {
                remarks.push("read as of a later moment than the others".to_owned());
            }
            (TableInstant::Nowhere, _) => remarks.push("its rows live elsewhere and are not here".to_owned()),
            (TableInstant::Common, _) => {}
        }
        if table.is_versioned {
            remarks.push("older versions of its rows are not here".to_owned());
        }
        self.description.tables.push(DumpedTable {
            name: table.name.clone(),
            file: stem,
            rows: read.sum.rows,
            checksum: DumpedTable::checksum_of(read.sum),
            auto_increment: read.definition.auto_increment,
            instant,
            remarks,
        });
        Ok(())
    }

    /// A table that cannot be had: what an older dump has of it stands in, all of it.
    fn table_lost(&mut self, table: &Table, error: &DatabaseError) {
        let denied = matches!(error, DatabaseError::Denied { .. });
        let kind = if denied { ProblemKind::Unreadable } else { ProblemKind::Failed };
        let rows = layout::path(&layout::rows(&file_stem(table.name.as_bytes())));
        self.directory_entry(rows.clone());
        self.problem(table_path(&table.name), kind, &error.line());
        self.problem(rows, ProblemKind::Unlisted, &error.line());
        self.description.missing.push(MissingObject {
            kind: ObjectKind::Table,
            name: Some(table.name.clone()),
            why: error.line(),
            mend: denied.then(|| self.rights.mend("SELECT", self.address.name())),
        });
    }

    /// Everything that comes behind the tables.
    async fn rest(&mut self, listed: Vec<Object>) -> Result<(), DatabaseError> {
        let read = match objects::read(&listed, self.address.name(), &mut self.catalogue).await {
            Err(error) if error.ends_the_session() => {
                self.reconnect().await?;
                objects::read(&listed, self.address.name(), &mut self.catalogue).await?
            }
            read => read?,
        };
        for read in read {
            match read {
                Ok(read) => {
                    self.content(layout::path(&read.path), read.content.into_bytes()).await?;
                    self.description.objects.push(DumpedObject {
                        kind: read.object.kind,
                        name: read.object.name,
                        file: read.path,
                        definer: read.definer,
                    });
                }
                Err((object, error)) => self.object_lost(object, &error),
            }
        }
        if !self.counters.is_empty() {
            let line =
                |(table, next): (&String, &u64)| format!("ALTER TABLE {} AUTO_INCREMENT={next};\n", quote(table));
            let text: String = self.counters.iter().map(line).collect();
            self.content(layout::path(layout::COUNTERS), text.into_bytes()).await?;
        }
        self.description.tables.sort_by(|a, b| a.name.cmp(&b.name));
        let text = self.description.file();
        self.content(layout::path(layout::DESCRIPTION), text).await?;
        if self.sums.is_some() {
            self.ranges.tables.sort_by(|a, b| a.name.cmp(&b.name));
            let text = self.ranges.file();
            self.content(layout::path(layout::RANGES), text).await?;
        }
        Ok(())
    }

    fn object_lost(&mut self, object: Object, error: &DatabaseError) {
        let (kind, mend) = match error {
            DatabaseError::Denied { .. } => {
                let right = object.right(self.catalogue.flavour());
                (ProblemKind::Unreadable, Some(self.rights.mend(right, self.address.name())))
            }
            DatabaseError::NotFound { .. } => (ProblemKind::Vanished, None),
            _ => (ProblemKind::Failed, None),
        };
        self.problem(layout::path(&objects::path(&object, 0)), kind, &error.line());
        if kind.is_loss() {
            let missing = MissingObject { kind: object.kind, name: Some(object.name), why: error.line(), mend };
            self.description.missing.push(missing);
        }
    }

    async fn content(&mut self, path: RelPath, content: Vec<u8>) -> Result<(), DatabaseError> {
        let entry = self.file_entry(path.clone(), content.len() as u64);
        let held = self.spool.keep(content).await.map_err(|source| DatabaseError::Spool { source })?;
        self.contents.put(path, Content::Held(held));
        self.ready.push_back(Listed::Entry(entry));
        Ok(())
    }

    /// Others than its owner have no business with what is in a database. That length and time are as before says nothing.
    fn file_entry(&self, path: RelPath, len: u64) -> Entry {
        let meta = EntryMeta { mode: 0o600, mtime: self.now, freshness: Freshness::Touched, ..EntryMeta::default() };
        Entry { path, kind: EntryKind::File { len, hardlink_to: None }, meta }
    }

    fn directory_entry(&mut self, path: RelPath) {
        let meta = EntryMeta { mode: 0o700, mtime: self.now, ..EntryMeta::default() };
        self.ready.push_back(Listed::Entry(Entry { path, kind: EntryKind::Dir, meta }));
    }

    fn problem(&mut self, path: RelPath, kind: ProblemKind, detail: &str) {
        self.ready.push_back(Listed::Problem(Problem::new(path, kind, detail)));
    }

    async fn go_on(&mut self) -> Result<(), DatabaseError> {
        if let Some(table) = self.tables.pop_front() {
            self.table(table).await
        } else if let Some(objects) = self.objects.take() {
            self.newcomers().await?;
            self.rest(objects).await
        } else {
            Ok(())
        }
    }
}

/// Whether nothing but a lock, or nobody writing to it, holds it still.
fn is_plain(table: &Table) -> bool {
    table.storage == Storage::Plain
}

fn table_path(name: &str) -> RelPath {
    layout::path(&format!("{}/{}.sql", layout::TABLES, file_stem(name.as_bytes())))
}

/// The catalogue, once no table in it is so young that nobody can tell whether it came under its name before the snapshot. Only of a
/// table that was not written to lately it is known when that was: what comes later shows then.
async fn settled_catalogue(session: &mut Session, database: &str) -> Result<Catalogue, DatabaseError> {
    let mut attempt = 0;
    loop {
        let settled = settled(session).await?;
        let mut catalogue = Catalogue::read(session, database).await?;
        attempt += 1;
        if attempt > 2 || catalogue.tables.iter().all(|table| table.created < settled) {
            for table in &mut catalogue.tables {
                table.written.take_if(|written| written.as_str() >= settled.as_str());
            }
            return Ok(catalogue);
        }
        tokio::time::sleep(YOUNG).await;
    }
}

/// The server's own clock, exact to the microsecond: no two dumps of a database are of the same time.
async fn now(session: &mut Session) -> Result<Timestamp, DatabaseError> {
    let action = "asking for the time";
    let answer = session.one(action, "SELECT CAST(UNIX_TIMESTAMP(NOW(6))*1000000 AS UNSIGNED)").await?;
    let micros = answer.first().map(text).transpose()?.and_then(|micros| micros.parse().ok());
    micros.map(Range::time_of).ok_or_else(|| DatabaseError::nonsense(action, "it is no number"))
}

#[async_trait]
impl EntryStream for Listing {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        while self.ready.is_empty() && (!self.tables.is_empty() || self.objects.is_some()) {
            self.go_on().await.map_err(|error| error.at(&RelPath::root()))?;
        }
        Ok(self.ready.pop_front())
    }
}
