//! The end of an import: check everything, put it in its place, make the rest.

use super::{
    super::{
        DatabaseError, DumpDescription, DumpedObject, DumpedTable, ObjectKind, TableInstant,
        dump::read_sum,
        format::{
            definition::ForeignKey,
            name::{file_stem, quote},
        },
        session::text,
    },
    report::{AdaptedObject, DanglingRows, ImportError, ImportReport, ImportedTable, RefusedObject},
    rows::RowLoader,
    shadow,
    sink::{ArrivedTable, DatabaseImport, EventState, Inner, Try, line},
    target::SETTINGS,
};
use clonepanel_core::{escape::Escaped, path::RelPath};
use std::collections::BTreeMap;

/// How often the tables are tried to be put in their places, each time for as long as a session waits for a lock.
const ATTEMPTS: u32 = 10;
/// Rows that came early are read in pieces of this length.
const PIECE: usize = 1 << 20;

impl DatabaseImport {
    /// Checks all tables and puts them in their places, then makes the views, routines, triggers and events.
    ///
    /// # Errors
    /// [`ImportError`]: the tables of the database are as they were before.
    ///
    /// # Cancel safety
    /// When dropped, the tables are all as before or all new; what is left over is removed by the next import.
    pub async fn finish(self) -> Result<ImportReport, ImportError> {
        let done = self.check_and_place().await;
        if done.is_err() {
            // The next import removes what cannot be removed now.
            let _ = self.remove().await;
        }
        let Self { inner, .. } = self;
        let mut report = done?;
        make_objects(&inner, self.events, &mut report).await?;
        if let Some(inner) = std::sync::Arc::into_inner(inner) {
            inner.target.close().await;
        }
        Ok(report)
    }

    async fn check_and_place(&self) -> Result<ImportReport, ImportError> {
        let inner = &self.inner;
        let unusable = |path: &RelPath, why: String| ImportError::Unusable { path: path.clone(), why };
        if let Some((path, why)) = inner.state().failed.clone() {
            return Err(unusable(&path, why));
        }
        let mut description = inner.state().description.clone().ok_or(ImportError::NoDescription)?;
        let mut sequences: Vec<_> = inner.state().sequences.clone().into_iter().collect();
        let lost = if inner.target.adaptation.has_sequences() { Vec::new() } else { std::mem::take(&mut sequences) };
        for (path, (name, statements)) in &sequences {
            self.sequence(name, statements).await.map_err(|error| unusable(path, error.line()))?;
        }
        let deferred = std::mem::take(&mut inner.state().deferred);
        for (stem, name, definition) in deferred {
            let path = super::super::layout::path(&format!("{}/{stem}.sql", super::super::layout::TABLES));
            let made = inner.make(&stem, name, definition, Try::Last).await;
            made.map_err(|error| unusable(&path, line(&error)))?;
        }
        let early = std::mem::take(&mut inner.state().early);
        for (path, held) in early {
            let table = path.parent().and_then(|parent| {
                let stem = String::from_utf8(parent.name().to_vec()).ok()?;
                inner.state().tables.get(&stem).map(|table| table.name.clone())
            });
            let Some(table) = table else {
                return Err(unusable(&path, "it is of a table without a definition".to_owned()));
            };
            let mut loader = RowLoader::new(&table);
            let mut at = 0;
            while at < held.len() {
                let piece = held.read(at, PIECE).await.map_err(|error| unusable(&path, error.to_string()))?;
                at += piece.len() as u64;
                loader.feed(&piece, &inner.target).await.map_err(|error| unusable(&path, line(&error)))?;
            }
            loader.finish(&inner.target).await.map_err(|error| unusable(&path, line(&error)))?;
        }
        let tables: BTreeMap<_, _> =
            inner.state().tables.values().map(|table| (table.name.clone(), table.clone())).collect();
        if let Some(wanted) = &self.wanted {
            choose(inner, wanted, &mut description);
        }
        let mut report = check(inner, self.wanted.as_ref(), &tables, &description).await?;
        self.check_references(&tables).await?;
        report.objects = sequences.len() as u64;
        let lost = lost.into_iter().map(|(_, (name, _))| name);
        report.refused.extend(lost.map(|name| RefusedObject {
            kind: ObjectKind::Sequence,
            name,
            why: "this server has no sequences".to_owned(),
        }));
        report.adapted =
            tables.values().filter_map(|table| adapted(ObjectKind::Table, &table.name, &table.changes)).collect();
        report.untouched = self.existing.iter().filter(|name| !tables.contains_key(*name)).cloned().collect();
        self.place(&tables).await?;
        tie(inner, &tables, &mut report).await?;
        report.missing = description.missing;
        let of = |object: &DumpedObject| Some((object.name.clone(), object.definer.clone()?));
        report.redefined = description.objects.iter().filter_map(of).collect();
        Ok(report)
    }

    /// A foreign key follows the table that it refers to, under whatever name, and is left over when that is dropped.
    async fn check_references(&self, tables: &BTreeMap<String, ArrivedTable>) -> Result<(), ImportError> {
        let target = &self.inner.target;
        for (database, by, table) in target.references().await? {
            let is_ours = database == target.database();
            if self.existing.contains(&table)
                && tables.contains_key(&table)
                && !(is_ours && (tables.contains_key(&by) || shadow::is_leftover(&by)))
            {
                let by = if is_ours { by } else { format!("{database}.{by}") };
                let [table, by] = [table, by].map(|name| Escaped(name.as_bytes()).to_string());
                return Err(ImportError::Referred { table, by });
            }
        }
        Ok(())
    }

    /// A sequence that is there is put where the dump has it.
    async fn sequence(&self, name: &str, [create, place]: &[String; 2]) -> Result<(), DatabaseError> {
        let action = "making a sequence";
        let drop = format!("DROP SEQUENCE IF EXISTS {}", quote(name));
        self.inner.target.run_single(action, SETTINGS, Some(&drop), create).await?;
        self.inner.target.run_single(action, SETTINGS, None, place).await
    }

    /// All tables at once.
    async fn place(&self, tables: &BTreeMap<String, ArrivedTable>) -> Result<(), ImportError> {
        if tables.is_empty() {
            return Ok(());
        }
        let there = self.inner.target.table_names().await?;
        let mut moves = Vec::new();
        for name in tables.keys() {
            if there.contains(name) {
                moves.push(format!("{} TO {}", quote(name), quote(&shadow::old(name))));
            }
            moves.push(format!("{} TO {}", quote(&shadow::new(name)), quote(name)));
        }
        let statement = format!("RENAME TABLE {}", moves.join(", "));
        let mut attempt = 1;
        loop {
            match self.inner.target.run("putting the tables in their places", &[&statement]).await {
                Err(DatabaseError::Busy { .. }) if attempt < ATTEMPTS => attempt += 1,
                done => break done?,
            }
        }
        Ok(self.remove().await?)
    }

    /// Removes tables that wait or have waited under other names.
    async fn remove(&self) -> Result<(), DatabaseError> {
        let there = self.inner.target.table_names().await?;
        let there: Vec<_> = there.iter().filter(|name| shadow::is_leftover(name)).map(|name| quote(name)).collect();
        if there.is_empty() {
            return Ok(());
        }
        self.inner.target.run("removing tables", &[&format!("DROP TABLE IF EXISTS {}", there.join(", "))]).await
    }
}

fn adapted(kind: ObjectKind, name: &str, changes: &[String]) -> Option<AdaptedObject> {
    (!changes.is_empty()).then(|| AdaptedObject { kind, name: name.to_owned(), changes: changes.to_vec() })
}

/// Leaves out what is not about the wanted tables.
fn choose(inner: &Inner, wanted: &BTreeMap<String, String>, description: &mut DumpDescription) {
    let is_wanted = |name: &String| wanted.values().any(|wanted| wanted == name);
    description.tables.retain(|table| is_wanted(&table.name));
    let mut state = inner.state();
    state.objects.retain(|_, object| object.table().is_some_and(|table| is_wanted(&table)));
    let made =
        |object: &DumpedObject| state.objects.values().any(|made| made.kind == object.kind && made.name == object.name);
    description.objects.retain(made);
    // Whose trigger it is that is missing, nobody knows.
    description.missing.retain(|missing| {
        missing.kind == ObjectKind::Trigger
            || missing.kind == ObjectKind::Table && missing.name.as_ref().is_none_or(is_wanted)
    });
}

/// Reads every table again and compares it with what the dump says.
async fn check(
    inner: &Inner,
    wanted: Option<&BTreeMap<String, String>>,
    tables: &BTreeMap<String, ArrivedTable>,
    description: &DumpDescription,
) -> Result<ImportReport, ImportError> {
    let unlike = |table: &str, why: String| ImportError::Unlike { table: Escaped(table.as_bytes()).to_string(), why };
    let refused = inner.state().refused.clone();
    let described = description.tables.iter().filter(|table| !refused.contains(&table.name));
    let described: BTreeMap<_, _> = described.map(|table| (table.name.as_str(), table)).collect();
    if let Some(name) = described.keys().find(|name| !tables.contains_key(**name)) {
        return Err(unlike(name, "it did not arrive".to_owned()));
    }
    let is_known = |name: &&String| described.contains_key(name.as_str()) || refused.contains(*name);
    if let Some(name) = wanted.and_then(|wanted| wanted.values().find(|name| !is_known(name))) {
        return Err(unlike(name, "the dump has no such table".to_owned()));
    }
    let mut report = ImportReport::default();
    let led_out = |name| RefusedObject { kind: ObjectKind::Table, name, why: "its rows are elsewhere".to_owned() };
    report.refused = refused.into_iter().map(led_out).collect();
    for name in tables.keys() {
        let expected: &&DumpedTable =
            described.get(name.as_str()).ok_or_else(|| unlike(name, "dump.json does not know it".to_owned()))?;
        if file_stem(name.as_bytes()) != expected.file {
            return Err(unlike(name, "dump.json has it under another name".to_owned()));
        }
        if let Some(next) = expected.auto_increment {
            let statement = format!("ALTER TABLE {} AUTO_INCREMENT={next}", quote(&shadow::new(name)));
            inner.target.run("setting a counter", &[&statement]).await?;
        }
        if expected.instant != TableInstant::Nowhere {
            let sum = expected.sum().ok_or_else(|| unlike(name, "dump.json has no checksum".to_owned()))?;
            let found = read_sum(inner.target.address(), &shadow::new(name)).await?;
            if found.rows != sum.rows {
                return Err(unlike(name, format!("it has {} rows instead of {}", found.rows, sum.rows)));
            }
            if found != sum {
                let other = inner.target.adaptation.other(&description.server);
                let why =
                    other.map(|other| format!("; it is of {other}, which keeps some values that this server does not"));
                return Err(unlike(name, format!("its rows have another checksum{}", why.unwrap_or_default())));
            }
        }
        report.tables.push(ImportedTable { name: name.clone(), rows: expected.rows });
    }
    Ok(report)
}

/// Ties the tables to each other, now that all of them have their names.
async fn tie(
    inner: &Inner,
    tables: &BTreeMap<String, ArrivedTable>,
    report: &mut ImportReport,
) -> Result<(), DatabaseError> {
    for table in tables.values().filter(|table| !table.ties.is_empty()) {
        let ties: Vec<_> = table.ties.iter().map(|tie| format!("ADD {tie}")).collect();
        let statement = format!("ALTER TABLE {} {}", quote(&table.name), ties.join(", "));
        if let Err(error) = inner.target.run_single("tying tables", SETTINGS, None, &statement).await {
            if error.ends_the_session() {
                return Err(error);
            }
            report.refused.push(RefusedObject {
                kind: ObjectKind::Table,
                name: table.name.clone(),
                why: format!("its foreign keys and conditions are not all there: {}", error.line()),
            });
            continue;
        }
        // They were made without a look at the rows.
        for key in table.ties.iter().filter_map(|tie| ForeignKey::read(tie)) {
            let rows = dangling(inner, &table.name, &key).await?;
            if rows > 0 {
                report.dangling.push(DanglingRows { table: table.name.clone(), key: key.name, to: key.table, rows });
            }
        }
    }
    Ok(())
}

/// How many rows refer to rows that are not there.
async fn dangling(inner: &Inner, table: &str, key: &ForeignKey) -> Result<u64, DatabaseError> {
    let columns: Vec<_> = key.columns.iter().map(|column| quote(column)).collect();
    let known = columns.iter().map(|column| format!("here.{column} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
    let pairs = columns.iter().zip(&key.referenced);
    let same = pairs.map(|(column, there)| format!("there.{}=here.{column}", quote(there))).collect::<Vec<_>>();
    let (database, to) = (key.database.as_deref().unwrap_or_else(|| inner.target.database()), &key.table);
    let question = format!(
        "SELECT COUNT(*) FROM {} here WHERE {known} AND NOT EXISTS (SELECT 1 FROM {}.{} there WHERE {})",
        quote(table),
        quote(database),
        quote(to),
        same.join(" AND ")
    );
    let action = "looking for rows that refer to nothing";
    match inner.target.one(action, &question).await {
        Ok(answer) => Ok(answer.first().map(text).transpose()?.and_then(|rows| rows.parse().ok()).unwrap_or(0)),
        // A remark is not worth a restore, whose tables are in their places by now. The other table may also be one that is not there,
        // or of another owner: then the server has said so before.
        Err(_) => Ok(0),
    }
}

/// Makes everything that is no table, in the order of paths. What the server does not take is told.
async fn make_objects(inner: &Inner, events: EventState, report: &mut ImportReport) -> Result<(), ImportError> {
    let user = inner.target.one("asking who we are", "SELECT CURRENT_USER()").await?;
    let user = user.first().map(text).transpose()?.unwrap_or_default();
    report.redefined.retain(|(_, definer)| *definer != user);
    let objects = std::mem::take(&mut inner.state().objects);
    for object in objects.values() {
        let (object, changes) = match inner.target.adaptation.object(object) {
            Ok(adapted) => adapted,
            // Then it is taken, or not, as it is.
            Err(_) => (object.clone(), Vec::new()),
        };
        let text = match events {
            EventState::AsDumped => Some(object.text.clone()),
            EventState::Disabled => object.quiet(),
        };
        let made = match text {
            None => Err("nobody can tell whether it would run".to_owned()),
            Some(text) => {
                let (action, kind) = ("making an object", object.kind.word().to_ascii_uppercase());
                let drop = format!("DROP {kind} IF EXISTS {}", quote(&object.name));
                match inner.target.run_single(action, &object.session.statement(), Some(&drop), &text).await {
                    Err(error) if error.ends_the_session() => return Err(error.into()),
                    made => made.map_err(|error| error.line()),
                }
            }
        };
        match made {
            Ok(()) => {
                report.objects += 1;
                report.adapted.extend(adapted(object.kind, &object.name, &changes));
            }
            Err(why) => {
                report.redefined.retain(|(name, _)| *name != object.name);
                report.refused.push(RefusedObject { kind: object.kind, name: object.name.clone(), why });
            }
        }
    }
    Ok(())
}
