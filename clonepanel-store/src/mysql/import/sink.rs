//! [`DatabaseImport`]: a dump on its way into a database.

use super::{
    super::{
        DatabaseAddress, DatabaseError,
        dump::{Held, Spool},
        format::{
            definition::{BadDefinition, ObjectDefinition, ObjectKind, TableDefinition, parse_sequence_file},
            description::{DumpDescription, MAX_DESCRIPTION},
            name::{file_stem, quote},
            row_file::MAX_LINE,
        },
        layout,
    },
    report::ImportError,
    rows::{LoadError, RowLoader},
    shadow,
    target::{SETTINGS, Target},
};
use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    digest::{DigestBuilder, FileDigest},
    entry::Entry,
    path::RelPath,
    tree::{FileSink, TreeError, TreeSink, Want},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::OnceCell;

/// The longest definition of one object, in bytes.
const MAX_DEFINITION: usize = 16 << 20;

/// Whether an import may meet tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Placement {
    /// The database must have none.
    IntoEmpty,
    /// Tables of the same name are replaced, all at once; others stay.
    Replace,
}

/// Whether events run once they were imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum EventState {
    /// As they did where the dump was taken.
    AsDumped,
    /// Not until somebody enables them: for a copy beside the original.
    Disabled,
}

/// A dump on its way into a database: a tree is written into it, and [`Self::finish`] puts everything in its place.
///
/// Rows go into tables under other names. Only when all of them have arrived, and each table was read again and found to have
/// the rows that the dump says, they take their places, by one `RENAME TABLE`: visitors see the old tables or the new ones. Before
/// that nothing is changed, and afterwards nothing is left to fail but views, routines, triggers and events, which are
/// reported one by one.
///
/// Nothing of a dump is run that is not taken apart and recognised first, and only one statement at a time.
#[derive(Debug)]
pub struct DatabaseImport {
    pub(super) inner: Arc<Inner>,
    pub(super) events: EventState,
    pub(super) existing: BTreeSet<String>,
    /// The tables that are wanted, by the names of their files; all when there is none.
    pub(super) wanted: Option<BTreeMap<String, String>>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) target: Target,
    pub(super) state: Mutex<State>,
    spool: tokio::sync::Mutex<Spool>,
    /// Once what an import that did not end has left was removed.
    cleared: OnceCell<()>,
}

/// What has arrived.
#[derive(Debug, Default)]
pub(super) struct State {
    offered: BTreeSet<RelPath>,
    /// By the names of their files.
    pub(super) tables: BTreeMap<String, ArrivedTable>,
    /// By path, in the order in which they are made.
    pub(super) sequences: BTreeMap<RelPath, (String, [String; 2])>,
    pub(super) objects: BTreeMap<RelPath, ObjectDefinition>,
    /// Tables that cannot be made yet.
    pub(super) deferred: Vec<(String, String, TableDefinition)>,
    /// Tables that are not made.
    pub(super) refused: BTreeSet<String>,
    /// Files of rows that came before their table.
    pub(super) early: Vec<(RelPath, Held)>,
    pub(super) description: Option<DumpDescription>,
    /// The first thing that went wrong: nothing takes its place any more.
    pub(super) failed: Option<(RelPath, String)>,
}

/// Whether there will be another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Try {
    First,
    Last,
}

/// A table that has arrived without its rows.
#[derive(Debug, Clone)]
pub(super) struct ArrivedTable {
    pub(super) name: String,
    pub(super) definition: TableDefinition,
    /// Clauses that tie it to others, for later.
    pub(super) ties: Vec<String>,
    /// What is different here.
    pub(super) changes: Vec<String>,
}

impl DatabaseImport {
    /// Connects and looks which tables there are. What an import that did not end has left is removed as soon as the first file
    /// arrives; before that nothing is changed.
    ///
    /// # Errors
    /// [`ImportError::Database`], and [`ImportError::NotEmpty`] when there are tables and may be none.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn begin(address: DatabaseAddress, placement: Placement) -> Result<Self, ImportError> {
        let target = Target::open(address).await?;
        let names = target.table_names().await?;
        let existing: BTreeSet<_> = names.into_iter().filter(|name| !shadow::is_leftover(name)).collect();
        if placement == Placement::IntoEmpty && !existing.is_empty() {
            return Err(ImportError::NotEmpty(existing.len()));
        }
        let spool = tokio::sync::Mutex::new(Spool::new(&std::env::temp_dir()));
        let inner = Arc::new(Inner { target, state: Mutex::default(), spool, cleared: OnceCell::new() });
        Ok(Self { inner, events: EventState::Disabled, existing, wanted: None })
    }

    /// The tables that were there at the beginning, in the order of names.
    #[must_use]
    pub const fn existing(&self) -> &BTreeSet<String> {
        &self.existing
    }

    /// Only these tables, with their triggers: of the rest of the dump nothing is made.
    #[must_use]
    pub fn tables(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.wanted = Some(names.into_iter().map(|name| (file_stem(name.as_bytes()), name)).collect());
        self
    }

    /// Whether events run afterwards. They do not unless told so.
    #[must_use]
    pub const fn events(mut self, state: EventState) -> Self {
        self.events = state;
        self
    }

    /// Another folder for rows that come before their table, if they do not fit into memory.
    #[must_use]
    pub fn spool_in(self, directory: impl Into<PathBuf>) -> Self {
        if let Ok(mut spool) = self.inner.spool.try_lock() {
            *spool = Spool::new(&directory.into());
        }
        self
    }
}

/// What a path of a dump is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Counters,
    Description,
    Object(ObjectKind),
    /// Of use to the next dump alone.
    Ranges,
    Rows {
        table: String,
    },
    Sequence,
    Table {
        stem: String,
    },
}

fn place(path: &RelPath) -> Option<Place> {
    let text = std::str::from_utf8(path.as_bytes()).ok()?;
    match text {
        layout::COUNTERS => return Some(Place::Counters),
        layout::DESCRIPTION => return Some(Place::Description),
        layout::RANGES => return Some(Place::Ranges),
        _ => {}
    }
    let (directory, name) = text.rsplit_once('/')?;
    let stem = name.strip_suffix(".sql")?;
    let routine = |prefix: &str, kind| stem.starts_with(prefix).then_some(Place::Object(kind));
    match directory {
        layout::SEQUENCES => Some(Place::Sequence),
        layout::TABLES => Some(Place::Table { stem: stem.to_owned() }),
        layout::ROUTINES => routine("1-function.", ObjectKind::Function)
            .or_else(|| routine("2-package.", ObjectKind::Package))
            .or_else(|| routine("3-package-body.", ObjectKind::PackageBody))
            .or_else(|| routine("4-procedure.", ObjectKind::Procedure)),
        layout::VIEWS => Some(Place::Object(ObjectKind::View)),
        layout::TRIGGERS => Some(Place::Object(ObjectKind::Trigger)),
        layout::EVENTS => Some(Place::Object(ObjectKind::Event)),
        _ => {
            let table = directory.strip_prefix(layout::ROWS)?.strip_prefix('/')?;
            (!table.contains('/')).then(|| Place::Rows { table: table.to_owned() })
        }
    }
}

#[async_trait]
impl TreeSink for DatabaseImport {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        let refused = |why| TreeError::Refused { path: entry.path.clone(), why };
        if entry.is_dir() {
            return Ok(Want::Nothing);
        }
        if !entry.has_content() || place(&entry.path).is_none() {
            return Err(refused("it is no part of a dump"));
        }
        if !self.inner.state().offered.insert(entry.path.clone()) {
            return Err(refused("it was offered before"));
        }
        Ok(if self.wants(&entry.path) { Want::Data { basis: None } } else { Want::Nothing })
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        let refused = || TreeError::Refused { path: entry.path.clone(), why: "it is no part of a dump" };
        let place = place(&entry.path).ok_or_else(refused)?;
        self.inner.clear().await.map_err(|error| self.inner.failed(&entry.path, &error.line()))?;
        let table = match &place {
            Place::Rows { table } => self.inner.ready(table).await,
            _ => None,
        };
        let way = match table {
            Some(table) => Way::Load(RowLoader::new(&table)),
            None => Way::Keep(Vec::new()),
        };
        let (inner, path) = (Arc::clone(&self.inner), entry.path.clone());
        Ok(Box::new(Incoming { inner, path, place, way: Some(way), digest: DigestBuilder::new() }))
    }
}

impl DatabaseImport {
    fn wants(&self, path: &RelPath) -> bool {
        let place = place(path);
        let Some(wanted) = &self.wanted else { return place != Some(Place::Ranges) };
        match place {
            Some(Place::Description | Place::Object(ObjectKind::Trigger)) => true,
            Some(Place::Rows { table: stem } | Place::Table { stem }) => wanted.contains_key(&stem),
            _ => false,
        }
    }
}

impl Inner {
    /// Removes what an import that did not end has left.
    async fn clear(&self) -> Result<(), DatabaseError> {
        let clear = async || {
            let names = self.target.table_names().await?;
            for table in names.iter().filter(|name| shadow::is_leftover(name)) {
                let statement = format!("DROP TABLE IF EXISTS {}", quote(table));
                self.target.run("removing what was left", &[&statement]).await?;
            }
            Ok(())
        };
        self.cleared.get_or_try_init(clear).await.map(|_| ())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fail(&self, path: &RelPath, why: &str) {
        self.state().failed.get_or_insert_with(|| (path.clone(), why.to_owned()));
    }

    /// As [`Self::fail`], for whoever deals in trees.
    fn failed(&self, path: &RelPath, why: &str) -> TreeError {
        self.fail(path, why);
        let source: Box<dyn std::error::Error + Send + Sync> = why.to_owned().into();
        TreeError::Backend { action: "import", path: path.clone(), retry: clonepanel_core::retry::Retry::Never, source }
    }

    /// The name of a table whose rows can be loaded already.
    async fn ready(&self, stem: &str) -> Option<String> {
        let table = self.state().tables.get(stem)?.clone();
        Some(table.name)
    }

    /// Keeps what has arrived, and makes the table that it may be.
    async fn arrived(&self, path: &RelPath, place: &Place, content: Vec<u8>) -> Result<(), String> {
        let text = |content| String::from_utf8(content).map_err(|_| "it is not text".to_owned());
        match place {
            Place::Counters | Place::Ranges => {}
            Place::Description => {
                let description = DumpDescription::parse(&content).map_err(|error| error.to_string())?;
                self.state().description = Some(description);
            }
            Place::Object(kind) => {
                let object = ObjectDefinition::parse_file(*kind, &text(content)?).map_err(|error| error.to_string())?;
                self.state().objects.insert(path.clone(), object);
            }
            Place::Rows { .. } => {
                let held = self.spool.lock().await.keep(content).await.map_err(|error| error.to_string())?;
                self.state().early.push((path.clone(), held));
            }
            Place::Sequence => {
                let sequence = parse_sequence_file(&text(content)?).map_err(|error| error.to_string())?;
                self.state().sequences.insert(path.clone(), sequence);
            }
            Place::Table { stem } => {
                let (name, definition) =
                    TableDefinition::parse_file(&text(content)?).map_err(|error| error.to_string())?;
                if file_stem(name.as_bytes()) != *stem {
                    return Err("it is of another table".to_owned());
                }
                if !definition.is_contained() {
                    self.state().refused.insert(name);
                    return Ok(());
                }
                self.make(stem, name, definition, Try::First).await.map_err(|error| line(&error))?;
            }
        }
        Ok(())
    }

    pub(super) async fn make(
        &self,
        stem: &str,
        name: String,
        definition: TableDefinition,
        which: Try,
    ) -> Result<(), LoadError> {
        let adaptation = &self.target.adaptation;
        let (adapted, changes) = adaptation.table(&name, &definition)?;
        let detached = adapted.detached(&shadow::new(&name), adaptation.shares_names_of_checks());
        let (statement, ties) = detached.ok_or(BadDefinition(ObjectKind::Table))?;
        let table = ArrivedTable { name, definition, ties, changes };
        match self.target.run_single("making a table", SETTINGS, None, &statement).await {
            Ok(()) => {
                self.state().tables.insert(stem.to_owned(), table);
                Ok(())
            }
            // A default that takes its value from a sequence, which is made later on.
            Err(DatabaseError::NotFound { .. }) if which == Try::First => {
                self.state().deferred.push((stem.to_owned(), table.name, table.definition));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A file on its way.
struct Incoming {
    inner: Arc<Inner>,
    path: RelPath,
    place: Place,
    way: Option<Way>,
    digest: DigestBuilder,
}

enum Way {
    Keep(Vec<u8>),
    Load(RowLoader),
}

impl Incoming {
    fn failed(&self, why: &str) -> TreeError {
        self.inner.failed(&self.path, why)
    }
}

#[async_trait]
impl FileSink for Incoming {
    async fn write(&mut self, chunk: Bytes) -> Result<(), TreeError> {
        self.digest.update(&chunk);
        let limit = match self.place {
            Place::Description => MAX_DESCRIPTION,
            // Rows that come before their table are held whole, then put aside.
            Place::Rows { .. } => MAX_LINE,
            _ => MAX_DEFINITION,
        };
        let done = match &mut self.way {
            Some(Way::Keep(content)) if content.len() + chunk.len() > limit => Err("it is too long".to_owned()),
            Some(Way::Keep(content)) => {
                content.extend_from_slice(&chunk);
                Ok(())
            }
            Some(Way::Load(loader)) => loader.feed(&chunk, &self.inner.target).await.map_err(|error| line(&error)),
            None => Ok(()),
        };
        done.map_err(|why| self.failed(&why))
    }

    async fn finish(mut self: Box<Self>) -> Result<FileDigest, TreeError> {
        let done = match self.way.take() {
            Some(Way::Keep(content)) => self.inner.arrived(&self.path, &self.place, content).await,
            Some(Way::Load(loader)) => loader.finish(&self.inner.target).await.map_err(|error| line(&error)),
            None => Ok(()),
        };
        done.map_err(|why| self.failed(&why))?;
        Ok(self.digest.finish())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Some of its rows may be there already: the table is not what it should be any more.
        if self.way.is_some() && matches!(self.way, Some(Way::Load(_))) && !self.digest.is_empty() {
            self.inner.fail(&self.path, "it did not arrive as a whole");
        }
    }
}

/// An error and its causes on one line.
pub(super) fn line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        line.push_str(": ");
        line.push_str(&source.to_string());
        cause = source.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_place() {
        let at = |text: &str| place(&layout::path(text));
        assert_eq!(at("dump.json"), Some(Place::Description));
        assert_eq!(at("ranges.json"), Some(Place::Ranges));
        assert_eq!(at("00-schema/20-tables/a.b.sql"), Some(Place::Table { stem: "a.b".to_owned() }));
        assert_eq!(at("10-data/a/k1.sql"), Some(Place::Rows { table: "a".to_owned() }));
        assert_eq!(at("90-after/10-routines/3-package-body.x.sql"), Some(Place::Object(ObjectKind::PackageBody)));
        for other in [
            "x",
            "dump.json/x",
            "10-data/a.sql",
            "10-data/a/b/c.sql",
            "90-after/10-routines/x.sql",
            "00-schema/x.sql",
            "10-data/a/b",
        ] {
            assert_eq!(at(other), None, "{other}");
        }
    }
}
