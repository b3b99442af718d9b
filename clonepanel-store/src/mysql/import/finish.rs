//! The end of an import: check everything, put it in its place, make the rest.

use super::{
    super::{
        DatabaseError, DumpDescription, DumpedObject, DumpedTable, ObjectKind, TableInstant,
        dump::read_sum,
        format::{
            definition::{ForeignKey, constraint_name},
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
    /// [`ImportError`]: the tables of the database are as they were before. What fails once they are in their places is in the report.
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
        let (mut report, tables) = done?;
        // From here on the tables are the new ones, whatever happens.
        let keys = tie(&inner, &tables, &mut report).await;
        make_objects(&inner, self.events, &mut report).await;
        for (table, key) in keys {
            let rows = dangling(&inner, &table, &key).await;
            if rows != Some(0) {
                report.dangling.push(DanglingRows { table, key: key.name, to: key.table, rows });
            }
        }
        if let Some(inner) = std::sync::Arc::into_inner(inner) {
            inner.target.close().await;
        }
        Ok(report)
    }

    async fn check_and_place(&self) -> Result<(ImportReport, BTreeMap<String, ArrivedTable>), ImportError> {
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
        report.missing = description.missing;
        let of = |object: &DumpedObject| Some((object.name.clone(), object.definer.clone()?));
        report.redefined = description.objects.iter().filter_map(of).collect();
        Ok((report, tables))
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
                // The answer was lost, and not what it was about.
                Err(error) if error.ends_the_session() && self.are_placed(tables).await => break,
                done => break done?,
            }
        }
        // Old tables that cannot be removed now are removed by the next import.
        let _ = self.remove().await;
        Ok(())
    }

    async fn are_placed(&self, tables: &BTreeMap<String, ArrivedTable>) -> bool {
        let there = self.inner.target.table_names().await;
        there.is_ok_and(|there| tables.keys().all(|name| there.contains(name) && !there.contains(&shadow::new(name))))
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

/// Ties the tables to each other, now that all of them have their names, and gives them their conditions; the foreign keys that there are then,
/// with their tables. They are made without a look at the rows.
async fn tie(
    inner: &Inner,
    tables: &BTreeMap<String, ArrivedTable>,
    report: &mut ImportReport,
) -> Vec<(String, ForeignKey)> {
    let mut there = Vec::new();
    for table in tables.values() {
        let clauses = table.ties.iter().map(String::as_str);
        let (keys, conditions): (Vec<_>, Vec<_>) = clauses.partition(|clause| ForeignKey::read(clause).is_some());
        // Conditions may have the server copy the table, and keys do not.
        for clauses in [keys, conditions] {
            let refused = add(inner, &table.name, &clauses).await;
            let added = clauses.iter().filter(|clause| refused.iter().all(|(other, _)| other != *clause));
            there.extend(added.filter_map(|clause| Some((table.name.clone(), ForeignKey::read(clause)?))));
            report.refused.extend(refused.into_iter().map(|(clause, why)| RefusedObject {
                kind: ObjectKind::Table,
                name: table.name.clone(),
                why: format!("it is there without its {}: {why}", Escaped(constraint_name(clause).as_bytes())),
            }));
        }
    }
    there
}

/// Adds clauses to a table: all at once or, if one is refused, each by itself; those that are refused, and why.
async fn add<'c>(inner: &Inner, table: &str, clauses: &[&'c str]) -> Vec<(&'c str, String)> {
    if clauses.is_empty() {
        return Vec::new();
    }
    let mut refused = Vec::new();
    match inner.target.alter(table, clauses).await {
        Ok(()) => {}
        Err(DatabaseError::Server { .. } | DatabaseError::NotFound { .. } | DatabaseError::Denied { .. })
            if clauses.len() > 1 =>
        {
            for clause in clauses {
                let done = inner.target.alter(table, &[clause]).await;
                refused.extend(done.err().map(|error| (*clause, error.line())));
            }
        }
        Err(error) => refused.extend(clauses.iter().map(|clause| (*clause, error.line()))),
    }
    refused
}

/// How many rows refer to rows that are not there; `None` when that cannot be counted.
async fn dangling(inner: &Inner, table: &str, key: &ForeignKey) -> Option<u64> {
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
    let answer = inner.target.one(action, &question).await.ok()?;
    text(answer.first()?).ok()?.parse().ok()
}

/// Makes everything that is no table, in the order of paths. What the server does not take is told.
async fn make_objects(inner: &Inner, events: EventState, report: &mut ImportReport) {
    let user = inner.target.one("asking who we are", "SELECT CURRENT_USER()").await.unwrap_or_default();
    let user = user.first().and_then(|user| text(user).ok()).unwrap_or_default();
    report.redefined.retain(|(_, definer)| *definer != user);
    let mut silent = None;
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
            // Not once more for each of them.
            _ if silent.is_some() => Err(silent.clone().unwrap_or_default()),
            None => Err("nobody can tell whether it would run".to_owned()),
            Some(text) => {
                let (action, kind) = ("making an object", object.kind.word().to_ascii_uppercase());
                let drop = format!("DROP {kind} IF EXISTS {}", quote(&object.name));
                let made = inner.target.run_single(action, &object.session.statement(), Some(&drop), &text).await;
                if let Err(error @ DatabaseError::Silent { .. }) = &made {
                    silent = Some(error.line());
                }
                made.map_err(|error| error.line())
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
}
