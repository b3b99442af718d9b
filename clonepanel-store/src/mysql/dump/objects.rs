//! Reading views, routines, triggers, events and sequences: each by itself, so that one that cannot be read hinders no other.

use super::{
    super::{
        DatabaseError, ObjectKind,
        format::{
            definition::{ObjectDefinition, ObjectSession, sequence_file},
            name::{file_stem, quote},
            sql::{Dialect, Kind, Statement},
        },
        layout,
        session::{Session, bytes, text},
    },
    catalogue::{Object, fields},
};
use std::collections::{BTreeMap, BTreeSet};

const ACTION: &str = "reading a definition";

/// An object that was read.
#[derive(Debug)]
pub(crate) struct ObjectRead {
    pub(crate) object: Object,
    /// Its file, below the root of the dump.
    pub(crate) path: String,
    pub(crate) content: String,
    pub(crate) definer: Option<String>,
}

/// Reads all of them; what cannot be read comes with the reason.
pub(crate) async fn read(
    objects: &[Object],
    database: &str,
    session: &mut Session,
) -> Result<Vec<Result<ObjectRead, (Object, DatabaseError)>>, DatabaseError> {
    let mut read = Vec::new();
    let mut views = BTreeMap::new();
    for object in objects {
        match definition(object, database, session).await {
            Ok((content, definer, text)) => {
                if object.kind == ObjectKind::View {
                    views.insert(object.name.clone(), text);
                }
                read.push(Ok(ObjectRead { object: object.clone(), path: String::new(), content, definer }));
            }
            Err(error) if error.ends_the_session() && !matches!(error, DatabaseError::Nonsense { .. }) => {
                return Err(error);
            }
            Err(error) => read.push(Err((object.clone(), error))),
        }
    }
    let levels = levels(&views);
    for object in read.iter_mut().flatten() {
        let level = levels.get(&object.object.name).copied().unwrap_or(0);
        object.path = path(&object.object, level);
    }
    Ok(read)
}

/// Where an object stands in a dump. The order of names is one in which they can be made.
pub(crate) fn path(object: &Object, level: usize) -> String {
    let stem = file_stem(object.name.as_bytes());
    match object.kind {
        ObjectKind::Sequence | ObjectKind::Table => format!("{}/{stem}.sql", layout::SEQUENCES),
        ObjectKind::Function => format!("{}/1-function.{stem}.sql", layout::ROUTINES),
        ObjectKind::Package => format!("{}/2-package.{stem}.sql", layout::ROUTINES),
        ObjectKind::PackageBody => format!("{}/3-package-body.{stem}.sql", layout::ROUTINES),
        ObjectKind::Procedure => format!("{}/4-procedure.{stem}.sql", layout::ROUTINES),
        ObjectKind::View => format!("{}/{level:02}-{stem}.sql", layout::VIEWS),
        ObjectKind::Trigger => format!("{}/{:04}-{stem}.sql", layout::TRIGGERS, object.order),
        ObjectKind::Event => format!("{}/{stem}.sql", layout::EVENTS),
    }
}

/// The file of an object, its definer, and its definition.
async fn definition(
    object: &Object,
    database: &str,
    session: &mut Session,
) -> Result<(String, Option<String>, String), DatabaseError> {
    let (question, columns) = object.show();
    let answer = session.one(ACTION, &question).await?;
    let column = |index: usize| columns.get(index).copied().flatten().and_then(|at| answer.get(at));
    let Some(create) = column(0).and_then(bytes) else {
        // Of a routine of somebody else the server shows everything but the definition.
        let text = format!("the definition of the {} is hidden", object.kind.word());
        return Err(DatabaseError::Denied { action: ACTION, source: super::super::ServerMessage { code: 0, text } });
    };
    let create = String::from_utf8(create.to_vec()).map_err(|error| DatabaseError::nonsense(ACTION, error))?;
    let nonsense = |error| DatabaseError::nonsense(ACTION, error);
    if object.kind == ObjectKind::Sequence {
        let question = format!("SELECT next_not_cached_value, cycle_count FROM {}", quote(&object.name));
        let place = session.one(ACTION, &question).await?;
        let [next, round] = fields(&place)?;
        let (Ok(next), Ok(round)) = (text(next)?.parse(), text(round)?.parse()) else {
            return Err(DatabaseError::nonsense(ACTION, "a sequence stands at no number"));
        };
        let file = sequence_file(&create, &object.name, next, round).map_err(nonsense)?;
        return Ok((file, None, create));
    }
    let sql_mode = column(1).map(text).transpose()?.unwrap_or_default();
    let collation = column(2).map(text).transpose()?.unwrap_or_default();
    let time_zone = column(3).map(text).transpose()?;
    let context = ObjectSession { sql_mode, collation, time_zone };
    let (definition, definer) =
        ObjectDefinition::read(object.kind, &object.name, database, &create, context).map_err(nonsense)?;
    Ok((definition.file(), definer, definition.text))
}

/// How many views each view stands on, one above the other.
fn levels(views: &BTreeMap<String, String>) -> BTreeMap<String, usize> {
    let below: BTreeMap<&str, BTreeSet<String>> =
        views.iter().map(|(name, text)| (name.as_str(), named_in(text, name, views))).collect();
    let mut levels: BTreeMap<String, usize> = views.keys().map(|name| (name.clone(), 0)).collect();
    // Views cannot stand on themselves: as many rounds as there are views are enough, fewer mostly.
    for _ in 0..views.len().min(MAX_LEVEL) {
        let mut settled = true;
        for (name, below) in &below {
            let above = below.iter().filter_map(|view| levels.get(view)).max().map_or(0, |level| level + 1);
            if let Some(level) = levels.get_mut(*name).filter(|level| **level < above) {
                *level = above.min(MAX_LEVEL);
                settled = false;
            }
        }
        if settled {
            break;
        }
    }
    levels
}

const MAX_LEVEL: usize = 99;

/// Views that a definition reads from: names that are neither behind or before a dot nor another name for something.
fn named_in(text: &str, own: &str, views: &BTreeMap<String, String>) -> BTreeSet<String> {
    let Some(statement) = Statement::read(text, Dialect::default()) else { return BTreeSet::new() };
    let is_read = |at: usize| {
        let before = at.checked_sub(1);
        let is_alias = before.is_some_and(|before| {
            statement.is_word(before, "AS")
                || statement.tokens.get(before).is_some_and(|token| token.kind == Kind::Name)
        });
        let dotted =
            before.is_some_and(|before| statement.is_symbol(before, b'.')) || statement.is_symbol(at + 1, b'.');
        statement.tokens.get(at).is_some_and(|token| token.kind == Kind::Name) && !is_alias && !dotted
    };
    let names = (0..statement.tokens.len()).filter(|&at| is_read(at)).filter_map(|at| statement.name(at));
    names.filter(|name| name != own && views.contains_key(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_come_behind_those_they_read() {
        let view = |name: &str, text: &str| (name.to_owned(), format!("CREATE VIEW `{name}` AS {text}"));
        let views = BTreeMap::from([
            view("a", "select `b`.`x` AS `c` from (`b` join `t` `c` on(`b`.`x` = `c`.`x`))"),
            view("b", "select 'a' AS `a` from `c`"),
            view("c", "select 1 AS `a`"),
            view("d", "select `other`.`a`.`x` AS `x` from `other`.`a`"),
        ]);
        let levels = levels(&views);
        assert_eq!(levels.values().copied().collect::<Vec<_>>(), [2, 1, 0, 0]);
    }
}
