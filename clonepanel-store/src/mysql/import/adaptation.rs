//! [`Adaptation`]: what a definition of one server has to look like for another one.
//!
//! MySQL and MariaDB have grown apart, and older versions lack what newer ones have by default. What has a close equivalent is
//! replaced by it, what the data do not depend on is left out, and each change is told. A definition that a server takes as it is, is not
//! changed.

use super::super::{
    DatabaseError,
    format::{
        definition::{BadDefinition, ObjectDefinition, ObjectKind, TableDefinition, clauses},
        name::quote,
        sql::{Dialect, Kind, Statement},
    },
    session::{Flavour, Session, text},
};
use std::{collections::BTreeSet, ops::Range};

/// Names of languages: MySQL's, and MariaDB's, which are those of both in older collations.
const LANGUAGES: [(&str, &str); 20] = [
    ("cs", "czech"),
    ("da", "danish"),
    ("de_pb", "german2"),
    ("eo", "esperanto"),
    ("es", "spanish"),
    ("es_trad", "spanish2"),
    ("et", "estonian"),
    ("hr", "croatian"),
    ("hu", "hungarian"),
    ("is", "icelandic"),
    ("la", "roman"),
    ("lt", "lithuanian"),
    ("lv", "latvian"),
    ("pl", "polish"),
    ("ro", "romanian"),
    ("sk", "slovak"),
    ("sl", "slovenian"),
    ("sv", "swedish"),
    ("tr", "turkish"),
    ("vi", "vietnamese"),
];

/// Options of tables that only one of the two has, each with a value, and which the rows do not depend on.
const ONLY_MYSQL: [&str; 5] =
    ["AUTOEXTEND_SIZE", "ENCRYPTION", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE", "SECONDARY_ENGINE_ATTRIBUTE"];
const ONLY_MARIADB: [&str; 7] = [
    "ENCRYPTED",
    "ENCRYPTION_KEY_ID",
    "IETF_QUOTES",
    "PAGE_CHECKSUM",
    "PAGE_COMPRESSED",
    "PAGE_COMPRESSION_LEVEL",
    "TRANSACTIONAL",
];

/// Engines whose tables are the same in InnoDB, as far as their rows go.
const HAVE_ROWS: [&str; 5] = ["ARCHIVE", "ARIA", "MYISAM", "ROCKSDB", "TOKUDB"];

/// Words of `sql_mode` that only one of the two has, and which say how an object was checked when it was made, not what it means.
const MODES_ONLY_MYSQL: [&str; 1] = ["TIME_TRUNCATE_FRACTIONAL"];
const MODES_ONLY_MARIADB: [&str; 6] = [
    "IGNORE_BAD_TABLE_OPTIONS",
    "NO_AUTO_CREATE_USER",
    "NO_FIELD_OPTIONS",
    "NO_KEY_OPTIONS",
    "NO_TABLE_OPTIONS",
    "TIME_ROUND_FRACTIONAL",
];

/// What a server takes.
#[derive(Debug)]
pub(crate) struct Adaptation {
    flavour: Flavour,
    collations: BTreeSet<String>,
    /// In capitals.
    engines: BTreeSet<String>,
}

impl Adaptation {
    pub(crate) async fn to(session: &mut Session) -> Result<Self, DatabaseError> {
        let action = "asking for the collations";
        let named =
            |column: &str| format!("SELECT {column} FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY");
        // Newer MariaDBs have collations for several character sets, with one name there and other ones in definitions.
        let rows = match session.rows(action, &named("FULL_COLLATION_NAME")).await {
            Err(error) if !error.ends_the_session() => session.rows(action, &named("COLLATION_NAME")).await?,
            rows => rows?,
        };
        let collations = rows.iter().filter_map(|row| row.first()).map(text).collect::<Result<_, _>>()?;
        let question = "SELECT UPPER(ENGINE) FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT')";
        let rows = session.rows("asking for the engines", question).await?;
        let engines = rows.iter().filter_map(|row| row.first()).map(text).collect::<Result<_, _>>()?;
        Ok(Self { flavour: session.flavour(), collations, engines })
    }

    /// Whose server a dump is of, by its version, if that is not whose this one is.
    pub(crate) fn other(&self, version: &str) -> Option<&'static str> {
        let (flavour, name) = match version.contains("MariaDB") {
            true => (Flavour::MariaDb, "MariaDB"),
            false => (Flavour::MySql, "MySQL"),
        };
        (flavour != self.flavour).then_some(name)
    }

    /// Whether names of `CHECK` constraints are unique in a database, and not in a table only.
    pub(crate) fn shares_names_of_checks(&self) -> bool {
        self.flavour == Flavour::MySql
    }

    pub(crate) fn has_sequences(&self) -> bool {
        self.flavour == Flavour::MariaDb
    }

    /// The definition as this server takes it, and what is different.
    pub(crate) fn table(
        &self,
        name: &str,
        definition: &TableDefinition,
    ) -> Result<(TableDefinition, Vec<String>), BadDefinition> {
        let bad = BadDefinition(ObjectKind::Table);
        let plain = match self.flavour {
            Flavour::MariaDb => without_comments_of_mysql(&definition.text).ok_or(bad)?,
            Flavour::MySql => definition.text.clone(),
        };
        let statement = Statement::read(&plain, Dialect::default()).ok_or(bad)?;
        let options = statement.behind_brackets(3).ok_or(bad)?;
        let mut changes = Changes { statement: &statement, edits: Vec::new(), notes: Vec::new() };
        let (mut kept, mut gone) = (Vec::new(), BTreeSet::new());
        for (begin, end) in clauses(&statement).ok_or(bad)? {
            let is_kept = match self.flavour {
                Flavour::MariaDb => clause_for_mariadb(&mut changes, begin, end),
                Flavour::MySql => clause_for_mysql(&mut changes, begin, end, &mut gone),
            };
            self.collations(&mut changes, begin, end);
            if is_kept {
                kept.push(changes.text(begin..end));
            }
        }
        let end = statement.tokens.len();
        self.collations(&mut changes, options, end);
        self.options(&mut changes, options, end);
        let behind = changes.text(options - 1..end);
        let is_all_kept = kept.len() == clauses(&statement).ok_or(bad)?.len();
        if changes.edits.is_empty() && is_all_kept && plain == definition.text {
            return Ok((definition.clone(), changes.notes));
        }
        let text = format!("CREATE TABLE {} (\n  {}\n{behind}", quote(name), kept.join(",\n  "));
        let adapted = TableDefinition::read(name, &text)?;
        Ok((TableDefinition { auto_increment: definition.auto_increment, ..adapted }, changes.notes))
    }

    /// The same for what is no table.
    pub(crate) fn object(&self, object: &ObjectDefinition) -> Result<(ObjectDefinition, Vec<String>), BadDefinition> {
        let bad = BadDefinition(object.kind);
        let mut adapted = object.clone();
        let statement = Statement::read(&object.text, Dialect::of_mode(&object.session.sql_mode)).ok_or(bad)?;
        let mut changes = Changes { statement: &statement, edits: Vec::new(), notes: Vec::new() };
        self.collations(&mut changes, 0, statement.tokens.len());
        if !changes.edits.is_empty() {
            adapted.text = changes.text(0..statement.tokens.len());
        }
        let mut notes = changes.notes;
        if let Some(stand_in) = self.stand_in(&object.session.collation) {
            notes.push(format!("the collation of its literals, {}, became {stand_in}", object.session.collation));
            adapted.session.collation = stand_in;
        }
        let unknown: &[&str] = match self.flavour {
            Flavour::MariaDb => &MODES_ONLY_MYSQL,
            Flavour::MySql => &MODES_ONLY_MARIADB,
        };
        let (dropped, kept): (Vec<_>, Vec<_>) =
            object.session.sql_mode.split(',').partition(|mode| unknown.contains(mode));
        if !dropped.is_empty() {
            notes.push(format!("its sql_mode lost {}", dropped.join(",")));
            adapted.session.sql_mode = kept.join(",");
        }
        let again = ObjectDefinition::parse_file(object.kind, &adapted.file())?;
        if again.name != object.name {
            return Err(bad);
        }
        Ok((again, notes))
    }

    /// Replaces collations that this server does not know.
    fn collations(&self, changes: &mut Changes<'_, '_>, begin: usize, end: usize) {
        for at in begin..end {
            if !changes.statement.is_word(at, "COLLATE") {
                continue;
            }
            let at = at + 1 + usize::from(changes.statement.is_symbol(at + 1, b'='));
            let name = changes.statement.part(at).trim_matches(['\'', '`']);
            if at < end
                && let Some(stand_in) = self.stand_in(name)
            {
                let note = format!("the collation {name} became {stand_in}");
                if !is_the_same(name, &stand_in) && !changes.notes.contains(&note) {
                    changes.notes.push(note);
                }
                changes.edits.push((at..at + 1, stand_in));
            }
        }
    }

    /// What takes the place of a collation; `None` when it is known, or nothing is like it.
    fn stand_in(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        if self.collations.contains(&name) || self.collations.is_empty() {
            return None;
        }
        stand_ins(&name).into_iter().find(|candidate| self.collations.contains(candidate))
    }

    fn options(&self, changes: &mut Changes<'_, '_>, begin: usize, end: usize) {
        let unknown: &[&str] = match self.flavour {
            Flavour::MariaDb => &ONLY_MYSQL,
            Flavour::MySql => &ONLY_MARIADB,
        };
        let statement = changes.statement;
        for at in begin..end {
            let has_value = statement.is_symbol(at + 1, b'=');
            // MariaDB quotes those that its engines have added.
            let name = statement.name(at).unwrap_or_default();
            let is_unknown = unknown.iter().any(|option| name.eq_ignore_ascii_case(option))
                || self.flavour == Flavour::MySql
                    && statement.is_word(at, "ROW_FORMAT")
                    && statement.is_word(at + 2, "PAGE");
            if has_value && is_unknown {
                changes.notes.push(format!("the option {name} is left out"));
                changes.edits.push((at..at + 3, String::new()));
            }
            let engine = statement.part(at + 2);
            if has_value
                && statement.is_word(at, "ENGINE")
                && HAVE_ROWS.iter().any(|known| engine.eq_ignore_ascii_case(known))
                && !self.engines.contains(&engine.to_ascii_uppercase())
            {
                changes.notes.push(format!("the engine {engine} became InnoDB"));
                changes.edits.push((at + 2..at + 3, "InnoDB".to_owned()));
            }
            if self.flavour == Flavour::MySql && statement.are_words(at, &["WITH", "SYSTEM", "VERSIONING"]) {
                changes.notes.push("older versions of rows are not kept any more".to_owned());
                changes.edits.push((at..at + 3, String::new()));
            }
        }
    }
}

/// Collations that are like one, the likest first. The order in which texts are sorted may differ a little; what is equal to what should
/// not.
fn stand_ins(name: &str) -> Vec<String> {
    let Some((charset, rest)) = name.split_once('_') else { return Vec::new() };
    let mut names = match charset {
        "utf8" => vec![format!("utf8mb3_{rest}")],
        "utf8mb3" => vec![format!("utf8_{rest}")],
        _ => Vec::new(),
    };
    let mut add = |rest: &str| names.push(format!("{charset}_{rest}"));
    let is = |word: &str| rest.split('_').any(|part| part == word);
    if is("bin") {
        ["0900_bin", "nopad_bin", "bin"].iter().for_each(|rest| add(rest));
        return names;
    }
    let case = if is("cs") {
        "as_cs"
    } else if is("as") {
        "as_ci"
    } else {
        "ai_ci"
    };
    let code = rest.split_once("_0900").map(|(language, _)| language);
    let language = LANGUAGES.iter().find(|(short, long)| code == Some(short) || is(long));
    if let Some((short, long)) = language {
        add(&format!("uca1400_{long}_nopad_{case}"));
        add(&format!("{short}_0900_{case}"));
        if case == "ai_ci" {
            add(&format!("{long}_ci"));
        }
    }
    if is("general") {
        add("general_ci");
    }
    add(&format!("uca1400_nopad_{case}"));
    add(&format!("0900_{case}"));
    if case == "ai_ci" {
        ["unicode_520_nopad_ci", "unicode_520_ci", "unicode_nopad_ci", "unicode_ci", "general_ci"]
            .iter()
            .for_each(|rest| add(rest));
    } else {
        // Rather too many differences than two keys that are one.
        add("bin");
    }
    names
}

/// Whether two names are of the same collation: the character set was renamed.
fn is_the_same(one: &str, other: &str) -> bool {
    let long =
        |name: &str| name.strip_prefix("utf8_").map_or_else(|| name.to_owned(), |rest| format!("utf8mb3_{rest}"));
    long(one) == long(other)
}

/// Changes of some tokens of a statement.
struct Changes<'s, 'a> {
    statement: &'s Statement<'a>,
    edits: Vec<(Range<usize>, String)>,
    notes: Vec<String>,
}

impl Changes<'_, '_> {
    /// The text of some tokens, changed.
    fn text(&self, tokens: Range<usize>) -> String {
        let mut edits: Vec<_> = self.edits.iter().filter(|(at, _)| tokens.contains(&at.start)).collect();
        edits.sort_by_key(|(at, _)| at.start);
        let (all, mut text) = (&self.statement.tokens, String::new());
        let start = |token: usize| all.get(token).map_or(self.statement.text.len(), |token| token.at.start);
        let mut from = start(tokens.start);
        for (at, with) in edits {
            text.push_str(self.statement.text.get(from..start(at.start)).unwrap_or_default());
            text.push_str(with);
            from = all.get(at.end - 1).map_or(from, |token| token.at.end);
        }
        // Up to the next token, with the end of a comment that the last one stands in.
        text.push_str(self.statement.text.get(from..start(tokens.end)).unwrap_or_default());
        text.trim_end().to_owned()
    }

    fn note(&mut self, begin: usize, what: &str) {
        let name =
            (begin..).take(4).find(|&at| self.statement.tokens.get(at).is_some_and(|token| token.kind == Kind::Name));
        let name = name.and_then(|at| self.statement.name(at)).unwrap_or_default();
        self.notes.push(format!("{name}: {what}"));
    }

    fn is_column(&self, begin: usize) -> bool {
        self.statement.tokens.get(begin).is_some_and(|token| token.kind == Kind::Name)
    }

    fn has(&self, begin: usize, end: usize, words: &[&str]) -> Option<usize> {
        (begin..end).find(|&at| self.statement.are_words(at, words))
    }
}

/// Changes a clause of a table; `false` when it is left out.
fn clause_for_mariadb(changes: &mut Changes<'_, '_>, begin: usize, end: usize) -> bool {
    let statement = changes.statement;
    if changes.is_column(begin) {
        if let Some(at) = changes.has(begin + 1, end, &["SRID"]) {
            changes.note(begin, "it is not bound to a reference system any more");
            changes.edits.push((at..at + 2, String::new()));
        }
        if statement.is_word(begin + 1, "JSON") {
            changes.note(begin, "JSON is a text that is checked");
        }
        return true;
    }
    if changes.has(begin, end, &["CHECK"]).is_some() && changes.has(begin, end, &["NOT", "ENFORCED"]).is_some() {
        changes.note(begin, "a condition that was not enforced is left out");
        return false;
    }
    let is_over_expression = (begin..end).any(|at| {
        statement.is_symbol(at, b'(') && (statement.is_symbol(at + 1, b'('))
            || statement.is_symbol(at, b',') && statement.is_symbol(at + 1, b'(')
    });
    if changes.has(begin, begin + 2, &["KEY"]).is_some() {
        if is_over_expression {
            changes.note(begin, "an index over an expression is left out");
            return false;
        }
        if let Some(at) = changes.has(begin, end, &["INVISIBLE"]) {
            changes.edits.push((at..at + 1, "IGNORED".to_owned()));
        }
    }
    true
}

/// Types that MySQL has not, and what holds their values.
const TYPES: [(&str, &str); 3] = [("UUID", "char(36)"), ("INET4", "varchar(15)"), ("INET6", "varchar(39)")];

/// Defaults that MySQL takes without brackets.
const PLAIN_DEFAULTS: [&str; 4] = ["CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "NOW"];

/// Changes a clause of a table; `false` when it is left out.
fn clause_for_mysql(changes: &mut Changes<'_, '_>, begin: usize, end: usize, gone: &mut BTreeSet<String>) -> bool {
    let statement = changes.statement;
    if statement.are_words(begin, &["PERIOD", "FOR"]) {
        if !statement.is_word(begin + 2, "SYSTEM_TIME") {
            changes.note(begin, "a period is left out");
        }
        return false;
    }
    if !changes.is_column(begin) {
        if let Some(at) = changes.has(begin, end, &["IGNORED"]) {
            changes.edits.push((at..at + 1, "INVISIBLE".to_owned()));
        }
        // Columns that are left out come last in keys.
        for at in begin..end {
            if statement.is_symbol(at, b',') && statement.name(at + 1).is_some_and(|name| gone.contains(&name)) {
                changes.edits.push((at..at + 2, String::new()));
            }
        }
        return true;
    }
    if changes.has(begin, end, &["AS", "ROW"]).is_some() {
        changes.note(begin, "when a row was current is not kept any more");
        gone.extend(statement.name(begin));
        return false;
    }
    if let Some((kind, with)) = TYPES.iter().find(|(kind, _)| statement.is_word(begin + 1, kind)) {
        changes.note(begin, &format!("{kind} became {with}"));
        changes.edits.push((begin + 1..begin + 2, format!("{with} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")));
    }
    if let Some(at) = changes.has(begin, end, &["WITHOUT", "SYSTEM", "VERSIONING"]) {
        changes.edits.push((at..at + 3, String::new()));
    }
    if let Some(at) = changes.has(begin, end, &["REF_SYSTEM_ID"]) {
        changes.edits.push((at..at + 3, String::new()));
    }
    if let Some(at) = changes.has(begin, end, &["DEFAULT"])
        && statement.tokens.get(at + 1).is_some_and(|token| token.kind == Kind::Word)
        && let Some(behind) = statement.behind_brackets(at + 2)
    {
        if statement.is_word(at + 1, "NEXTVAL") {
            changes.note(begin, "its default took values from a sequence, and is left out");
            changes.edits.push((at..behind, String::new()));
        } else if !PLAIN_DEFAULTS.iter().any(|word| statement.is_word(at + 1, word)) {
            // Each bracket with its neighbour, as what is in between may change as well.
            changes.edits.push((at + 1..at + 2, format!("({}", statement.part(at + 1))));
            changes.edits.push((behind - 1..behind, "))".to_owned()));
        }
    }
    true
}

/// What MySQL puts into comments that only servers of its newer versions execute, without the comments. MariaDB would pass over them.
fn without_comments_of_mysql(text: &str) -> Option<String> {
    let statement = Statement::read(text, Dialect::default())?;
    let (mut plain, mut from, mut inside) = (String::with_capacity(text.len()), 0, None::<bool>);
    let ends = statement.tokens.iter().map(|token| token.at.clone()).chain(std::iter::once(text.len()..text.len()));
    for at in ends {
        let mut gap = text.get(from..at.start)?;
        while let Some(place) = gap.find(if inside.is_some() { "*/" } else { "/*!" }) {
            let (before, rest) = gap.split_at(place);
            plain.push_str(before);
            let (mark, behind) = match inside.take() {
                Some(is_dropped) => (rest.get(..2).filter(|_| !is_dropped), rest.get(2..)?),
                None => {
                    let digits = rest.get(3..)?.bytes().take_while(u8::is_ascii_digit).count();
                    let version = rest.get(3..3 + digits)?.parse().unwrap_or(0);
                    let is_dropped = (50_700..100_000).contains(&version);
                    inside = Some(is_dropped);
                    (rest.get(..3 + digits).filter(|_| !is_dropped), rest.get(3 + digits..)?)
                }
            };
            plain.push_str(mark.unwrap_or(" "));
            gap = behind;
        }
        plain.push_str(gap);
        plain.push_str(text.get(at.clone())?);
        from = at.end;
    }
    Some(plain)
}

#[cfg(test)]
#[path = "adaptation_tests.rs"]
mod tests;
