//! [`Catalogue`]: what a database has, as its server lists it.

use super::{
    super::{
        DatabaseError, ObjectKind,
        format::name::{MAX_NAME_LEN, quote},
        session::{Flavour, Session, bytes, string, text},
    },
    column::{Column, ColumnFacts},
};
use mysql_async::Value;
use std::collections::{BTreeMap, BTreeSet};

const ACTION: &str = "reading the catalogue";

/// Engines that keep rows elsewhere, or none.
const WITHOUT_ROWS: [&str; 7] = ["BLACKHOLE", "CONNECT", "FEDERATED", "MRG_MYISAM", "S3", "SEQUENCE", "SPIDER"];

const IS_TABLE: &str = "TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')";

/// What a database has. Listed one after the other: what changes meanwhile is found out when it is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalogue {
    pub(crate) charset: String,
    pub(crate) collation: String,
    /// In the order of names.
    pub(crate) tables: Vec<Table>,
    /// Views, routines, triggers, events and sequences.
    pub(crate) objects: Vec<Object>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// The columns of a key that tells all rows apart, as indices, and its name.
    pub(crate) key: Option<Key>,
    pub(crate) storage: Storage,
    /// Whether older versions of rows are kept, which a dump does not hold.
    pub(crate) is_versioned: bool,
    /// The length of its rows as the server estimates it, in bytes.
    pub(crate) size: u64,
    /// When it was made or, at some servers, last altered or renamed.
    pub(crate) created: String,
    /// All columns, with those that are computed.
    pub(crate) all_columns: Vec<String>,
    /// When it was last written to and how long it was then, where the server knows.
    pub(crate) written: Option<String>,
}

/// A key whose order the rows can be read in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) columns: Vec<usize>,
}

/// What the engine of a table means for a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Rows are elsewhere or nowhere.
    Elsewhere,
    /// Rows are read as they are at that moment.
    Plain,
    /// Rows are read as of the beginning of a transaction.
    Transactional,
}

/// An object that is no table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    pub(crate) kind: ObjectKind,
    /// The place of a trigger among those for the same moment.
    pub(crate) order: u32,
    pub(crate) name: String,
}

impl Catalogue {
    pub(crate) async fn read(session: &mut Session, database: &str) -> Result<Self, DatabaseError> {
        let schema = string(database);
        let question = format!(
            "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE \
             SCHEMA_NAME={schema}"
        );
        let defaults = session.one(ACTION, &question).await?;
        let mut catalogue = Self::default();
        if let [charset, collation] = defaults.as_slice() {
            (catalogue.charset, catalogue.collation) = (text(charset)?, text(collation)?);
        }
        catalogue.tables = tables(session, &schema, None).await?;
        catalogue.tables.sort_by(|a, b| a.name.cmp(&b.name));
        catalogue.objects = objects(session, &schema).await?;
        catalogue.objects.sort();
        Ok(catalogue)
    }

    /// One table as it is now, but for when it was written to, which may be this very moment; `None` when it is gone.
    pub(crate) async fn table(
        session: &mut Session,
        database: &str,
        name: &str,
    ) -> Result<Option<Table>, DatabaseError> {
        let table = tables(session, &string(database), Some(name)).await?.pop();
        Ok(table.map(|table| Table { written: None, ..table }))
    }
}

/// The names of the tables there are.
pub(crate) async fn table_names(session: &mut Session, database: &str) -> Result<BTreeSet<String>, DatabaseError> {
    let schema = string(database);
    let question =
        format!("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA={schema} AND {IS_TABLE}");
    let rows = session.rows(ACTION, &question).await?;
    rows.iter().map(|row| fields(row).and_then(|[name]| object_name(name))).collect()
}

async fn tables(session: &mut Session, schema: &str, only: Option<&str>) -> Result<Vec<Table>, DatabaseError> {
    let only = only.map(|name| format!(" AND TABLE_NAME={}", string(name))).unwrap_or_default();
    let engines =
        session.rows(ACTION, "SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS='YES'").await?;
    let transactional: BTreeSet<_> = engines.iter().filter_map(|row| bytes(row.first()?)).collect();
    let question = format!(
        "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, DATA_LENGTH, CAST(CREATE_TIME AS CHAR), {WRITTEN} FROM information_schema.TABLES WHERE TABLE_SCHEMA={schema} AND {IS_TABLE}{only}"
    );
    let is_told = tells_of_writes(session).await?;
    let mut found = BTreeMap::new();
    for row in session.rows(ACTION, &question).await? {
        let [name, kind, engine, size, created, written] = fields(&row)?;
        let engine_name = text(engine)?;
        let storage = if WITHOUT_ROWS.iter().any(|other| engine_name.eq_ignore_ascii_case(other)) {
            Storage::Elsewhere
        } else if bytes(engine).is_some_and(|engine| transactional.contains(engine)) {
            Storage::Transactional
        } else {
            Storage::Plain
        };
        let name = object_name(name)?;
        let table = Table {
            name: name.clone(),
            columns: Vec::new(),
            key: None,
            storage,
            is_versioned: bytes(kind) == Some(b"SYSTEM VERSIONED"),
            size: text(size)?.parse().unwrap_or(0),
            created: text(created)?,
            all_columns: Vec::new(),
            written: Some(text(written)?).filter(|written| is_told && !written.is_empty()),
        };
        found.insert(name, table);
    }
    columns(session, schema, &only, &mut found).await?;
    keys(session, schema, &only, &mut found).await?;
    Ok(found.into_values().collect())
}

/// When a table of MyISAM was last written to and how long it is; empty for others. It is the time of the file, which other engines write to
/// later on.
const WRITTEN: &str =
    "IF(ENGINE='MyISAM',CONCAT(CAST(UPDATE_TIME AS CHAR),' ',DATA_LENGTH,' ',INDEX_LENGTH,' ',TABLE_ROWS),'')";

/// Whether each write is seen in the time of the file: not when files are mapped into memory.
async fn tells_of_writes(session: &mut Session) -> Result<bool, DatabaseError> {
    match session.one(ACTION, "SELECT @@myisam_use_mmap").await {
        Ok(answer) => Ok(answer.first().map(text).transpose()?.as_deref() == Some("0")),
        Err(error) if error.ends_the_session() => Err(error),
        Err(_) => Ok(false),
    }
}

/// [`Table::written`] as it is now.
pub(crate) async fn written(session: &mut Session, database: &str, table: &str) -> Result<String, DatabaseError> {
    let (schema, name) = (string(database), string(table));
    let question =
        format!("SELECT {WRITTEN} FROM information_schema.TABLES WHERE TABLE_SCHEMA={schema} AND TABLE_NAME={name}");
    let answer = session.one(ACTION, &question).await?;
    Ok(answer.first().map(text).transpose()?.unwrap_or_default())
}

async fn columns(
    session: &mut Session,
    schema: &str,
    only: &str,
    tables: &mut BTreeMap<String, Table>,
) -> Result<(), DatabaseError> {
    let question = format!(
        "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME, EXTRA FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA={schema}{only} ORDER BY TABLE_NAME, ORDINAL_POSITION"
    );
    for row in session.rows(ACTION, &question).await? {
        let [table, name, data_type, column_type, charset, extra] = fields(&row)?;
        let Some(table) = tables.get_mut(&object_name(table)?) else { continue };
        let (name, data_type, column_type) = (object_name(name)?, text(data_type)?, text(column_type)?);
        let (charset, extra) = (text(charset)?, text(extra)?);
        let facts = ColumnFacts {
            name: &name,
            data_type: &data_type,
            column_type: &column_type,
            charset: &charset,
            extra: &extra,
        };
        table.all_columns.push(name.clone());
        if !facts.is_generated() {
            let column = facts.column();
            table.columns.push(column.ok_or_else(|| DatabaseError::nonsense(ACTION, "a character set has no name"))?);
        }
    }
    Ok(())
}

async fn keys(
    session: &mut Session,
    schema: &str,
    only: &str,
    tables: &mut BTreeMap<String, Table>,
) -> Result<(), DatabaseError> {
    // `PRIMARY` first, then by name: the choice is the same each day.
    let question = format!(
        "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART, NULLABLE FROM information_schema.STATISTICS WHERE \
         TABLE_SCHEMA={schema}{only} AND NON_UNIQUE=0 ORDER BY TABLE_NAME, INDEX_NAME<>'PRIMARY', INDEX_NAME, SEQ_IN_INDEX"
    );
    let mut unique: Vec<(String, String, Option<Vec<usize>>)> = Vec::new();
    for row in session.rows(ACTION, &question).await? {
        let [table, index, column, part, nullable] = fields(&row)?;
        let (table, index) = (object_name(table)?, object_name(index)?);
        let Some(described) = tables.get(&table) else { continue };
        let usable = bytes(part).is_none() && bytes(nullable) != Some(b"YES");
        let name = text(column)?;
        let position = described.columns.iter().position(|column| column.name.eq_ignore_ascii_case(&name));
        let position =
            position.filter(|&at| usable && described.columns.get(at).is_some_and(|column| column.is_comparable));
        match unique.last_mut().filter(|(t, i, _)| *t == table && *i == index) {
            Some((_, _, columns)) => {
                *columns = columns.take().zip(position).map(|(columns, at)| [columns, vec![at]].concat());
            }
            None => unique.push((table, index, position.map(|at| vec![at]))),
        }
    }
    for (table, name, columns) in unique {
        if let (Some(table), Some(columns)) = (tables.get_mut(&table), columns) {
            table.key.get_or_insert(Key { name, columns });
        }
    }
    Ok(())
}

async fn objects(session: &mut Session, schema: &str) -> Result<Vec<Object>, DatabaseError> {
    let mut objects = Vec::new();
    let mut add = |kind, name: &Value, order| {
        objects.push(Object { kind, order, name: object_name(name)? });
        Ok::<_, DatabaseError>(())
    };
    let question = format!(
        "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA={schema} AND TABLE_TYPE IN ('VIEW', \
         'SEQUENCE')"
    );
    for row in session.rows(ACTION, &question).await? {
        let [name, kind] = fields(&row)?;
        add(if bytes(kind) == Some(b"VIEW") { ObjectKind::View } else { ObjectKind::Sequence }, name, 0)?;
    }
    let question =
        format!("SELECT ROUTINE_NAME, ROUTINE_TYPE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA={schema}");
    for row in session.rows(ACTION, &question).await? {
        let [name, kind] = fields(&row)?;
        let kind = match bytes(kind) {
            Some(b"FUNCTION") => ObjectKind::Function,
            Some(b"PACKAGE") => ObjectKind::Package,
            Some(b"PACKAGE BODY") => ObjectKind::PackageBody,
            _ => ObjectKind::Procedure,
        };
        add(kind, name, 0)?;
    }
    let question =
        format!("SELECT TRIGGER_NAME, ACTION_ORDER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA={schema}");
    for row in session.rows(ACTION, &question).await? {
        let [name, order] = fields(&row)?;
        add(ObjectKind::Trigger, name, text(order)?.parse().unwrap_or(0))?;
    }
    let question = format!("SELECT EVENT_NAME, 1 FROM information_schema.EVENTS WHERE EVENT_SCHEMA={schema}");
    for row in session.rows(ACTION, &question).await? {
        let [name, _] = fields(&row)?;
        add(ObjectKind::Event, name, 0)?;
    }
    Ok(objects)
}

/// A row of as many columns as were asked for.
pub(crate) fn fields<const N: usize>(row: &[Value]) -> Result<[&Value; N], DatabaseError> {
    let fields: Vec<_> = row.iter().collect();
    fields.try_into().map_err(|_| DatabaseError::nonsense(ACTION, "it has other columns than were asked for"))
}

fn object_name(value: &Value) -> Result<String, DatabaseError> {
    let name = text(value)?;
    if name.is_empty() || name.len() > MAX_NAME_LEN || name.contains('\0') {
        return Err(DatabaseError::nonsense(ACTION, "a name cannot be one"));
    }
    Ok(name)
}

impl Object {
    /// The question that its definition answers, and which columns of the answer have the definition, the `sql_mode`, the
    /// collation and the time zone.
    pub(crate) fn show(&self) -> (String, [Option<usize>; 4]) {
        let name = quote(&self.name);
        let (what, columns) = match self.kind {
            ObjectKind::Sequence | ObjectKind::Table => ("SEQUENCE", [Some(1), None, None, None]),
            ObjectKind::View => ("VIEW", [Some(1), None, Some(3), None]),
            ObjectKind::Function => ("FUNCTION", [Some(2), Some(1), Some(4), None]),
            ObjectKind::Procedure => ("PROCEDURE", [Some(2), Some(1), Some(4), None]),
            ObjectKind::Package => ("PACKAGE", [Some(2), Some(1), Some(4), None]),
            ObjectKind::PackageBody => ("PACKAGE BODY", [Some(2), Some(1), Some(4), None]),
            ObjectKind::Trigger => ("TRIGGER", [Some(2), Some(1), Some(4), None]),
            ObjectKind::Event => ("EVENT", [Some(3), Some(1), Some(5), Some(2)]),
        };
        (format!("SHOW CREATE {what} {name}"), columns)
    }

    /// What a user needs to see its definition.
    pub(crate) fn right(&self, flavour: Flavour) -> &'static str {
        match (self.kind, flavour) {
            (ObjectKind::View, _) => "SHOW VIEW",
            (ObjectKind::Trigger, _) => "TRIGGER",
            (ObjectKind::Event, _) => "EVENT",
            (ObjectKind::Table | ObjectKind::Sequence, _) => "SELECT",
            (_, Flavour::MariaDb) => "SHOW CREATE ROUTINE",
            (_, Flavour::MySql) => "SHOW_ROUTINE",
        }
    }
}
