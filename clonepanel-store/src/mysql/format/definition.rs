//! What `SHOW CREATE` says about an object, turned into a file that anybody can load, and back.
//!
//! Nothing is done by searching text: a definition is taken apart into tokens, seen to be what it claims to be, and changed
//! token by token. What is anything else is refused.

use super::{
    name::quote,
    row_file::SESSION,
    sql::{Dialect, Kind, Statement},
};

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::exhaustive_enums)]
pub enum ObjectKind {
    /// A sequence (MariaDB).
    Sequence,
    /// A table.
    Table,
    /// A stored function.
    Function,
    /// A stored procedure.
    Procedure,
    /// A package specification (MariaDB).
    Package,
    /// The body of a package (MariaDB).
    PackageBody,
    /// A view.
    View,
    /// A trigger.
    Trigger,
    /// An event.
    Event,
}

/// A definition is not what it claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its definition is not that of a {}", .0.word())]
pub(crate) struct BadDefinition(pub(crate) ObjectKind);

impl ObjectKind {
    /// The word for it, as in `a table`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Table => "table",
            Self::Function => "function",
            Self::Procedure => "procedure",
            Self::Package => "package",
            Self::PackageBody => "package body",
            Self::View => "view",
            Self::Trigger => "trigger",
            Self::Event => "event",
        }
    }

    /// The words behind `CREATE`.
    const fn keywords(self) -> &'static [&'static str] {
        match self {
            Self::Sequence => &["SEQUENCE"],
            Self::Table => &["TABLE"],
            Self::Function => &["FUNCTION"],
            Self::Procedure => &["PROCEDURE"],
            Self::Package => &["PACKAGE"],
            Self::PackageBody => &["PACKAGE", "BODY"],
            Self::View => &["VIEW"],
            Self::Trigger => &["TRIGGER"],
            Self::Event => &["EVENT"],
        }
    }
}

/// Engines whose rows are the server's own.
const CONTAINED: [&str; 10] =
    ["ARCHIVE", "ARIA", "BLACKHOLE", "CSV", "INNODB", "MEMORY", "MRG_MYISAM", "MYISAM", "ROCKSDB", "TOKUDB"];

/// The definition of a table, without what changes with its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableDefinition {
    pub(crate) text: String,
    pub(crate) auto_increment: Option<u64>,
}

impl TableDefinition {
    /// Takes the answer of `SHOW CREATE TABLE` for the table `name`.
    pub(crate) fn read(name: &str, text: &str) -> Result<Self, BadDefinition> {
        let bad = BadDefinition(ObjectKind::Table);
        let statement = Statement::read(text, Dialect::default()).ok_or(bad)?;
        let options = check_table(&statement, name).ok_or(bad)?;
        let counter = (options..statement.tokens.len())
            .find(|&at| statement.is_word(at, "AUTO_INCREMENT") && statement.is_symbol(at + 1, b'='));
        let Some(at) = counter else { return Ok(Self { text: text.to_owned(), auto_increment: None }) };
        let value = statement.part(at + 2).parse().map_err(|_| bad)?;
        let (from, to) = (statement.tokens[at].at.start, statement.tokens[at + 2].at.end);
        let (before, behind) = (text[..from].trim_end(), &text[to..]);
        Ok(Self { text: format!("{before}{behind}"), auto_increment: Some(value) })
    }

    /// The names of its columns.
    pub(crate) fn columns(&self) -> Vec<String> {
        let Some(statement) = Statement::read(&self.text, Dialect::default()) else { return Vec::new() };
        let mut columns = Vec::new();
        let mut depth = 0u32;
        for at in 3..statement.behind_brackets(3).unwrap_or(0) {
            let begins = match statement.tokens[at].kind {
                Kind::Symbol(b'(') => {
                    depth += 1;
                    depth == 1
                }
                Kind::Symbol(b')') => {
                    depth = depth.saturating_sub(1);
                    false
                }
                Kind::Symbol(b',') => depth == 1,
                _ => false,
            };
            // Everything else that stands there begins with a word.
            if begins && statement.tokens.get(at + 1).is_some_and(|token| token.kind == Kind::Name) {
                columns.extend(statement.name(at + 1));
            }
        }
        columns
    }

    /// The columns that tell its rows apart: those of the primary key, or of the first unique one without `NULL`.
    pub(crate) fn key(&self) -> Option<Vec<String>> {
        let statement = Statement::read(&self.text, Dialect::default())?;
        let (mut primary, mut unique, mut not_null) = (None, Vec::new(), Vec::new());
        for (begin, end) in clauses(&statement)? {
            let columns = || names_in_brackets(&statement, begin, end);
            if statement.are_words(begin, &["PRIMARY", "KEY"]) {
                primary = Some(columns());
            } else if statement.are_words(begin, &["UNIQUE", "KEY"]) {
                unique.push(columns());
            } else if (begin..end).any(|at| statement.are_words(at, &["NOT", "NULL"])) {
                not_null.extend(statement.name(begin));
            }
        }
        let is_told = |key: &Vec<String>| !key.is_empty() && key.iter().all(|column| not_null.contains(column));
        primary.or_else(|| unique.into_iter().find(is_told)).filter(|key| !key.is_empty())
    }

    /// Whether its rows are the server's own, in the place where those of all tables are. Other engines read files and other servers.
    pub(crate) fn is_contained(&self) -> bool {
        let Some(statement) = Statement::read(&self.text, Dialect::default()) else { return false };
        let Some(options) = statement.behind_brackets(3) else { return false };
        let words = || options..statement.tokens.len();
        let leads_out = words().any(|at| ["DIRECTORY", "CONNECTION"].iter().any(|word| statement.is_word(at, word)));
        let engine = words().find(|&at| statement.is_word(at, "ENGINE") && statement.is_symbol(at + 1, b'='));
        let is_known = |at: usize| CONTAINED.iter().any(|engine| statement.part(at + 2).eq_ignore_ascii_case(engine));
        !leads_out && engine.is_none_or(is_known)
    }

    /// The file of this table.
    pub(crate) fn file(&self) -> String {
        format!("{SESSION}{};\n", self.text)
    }

    /// Reads what [`Self::file`] writes, for a table of any name, which is given back.
    pub(crate) fn parse_file(file: &str) -> Result<(String, Self), BadDefinition> {
        let bad = BadDefinition(ObjectKind::Table);
        let text = file.strip_prefix(SESSION).and_then(|rest| rest.strip_suffix(";\n")).ok_or(bad)?;
        let name = Statement::read(text, Dialect::default()).and_then(|statement| statement.name(2)).ok_or(bad)?;
        let definition = Self::read(&name, text)?;
        Ok((name, definition))
    }

    /// The statement under another name and without the clauses that tie it to other tables, and these clauses; named conditions are
    /// among them where their names are those of a whole database.
    pub(crate) fn detached(&self, name: &str, shares_names_of_checks: bool) -> Option<(String, Vec<String>)> {
        let statement = Statement::read(&self.text, Dialect::default())?;
        let behind = statement.behind_brackets(3)?;
        let (mut kept, mut ties) = (Vec::new(), Vec::new());
        for (begin, end) in clauses(&statement)? {
            let clause = self.text[statement.tokens[begin].at.start..statement.tokens[end].at.start].trim_end();
            let has = |words: &[&str]| (begin..end).any(|at| statement.are_words(at, words));
            let is_named = statement.is_word(begin, "CONSTRAINT");
            let foreign = (is_named || statement.is_word(begin, "FOREIGN")) && has(&["FOREIGN", "KEY"]);
            if foreign || is_named && shares_names_of_checks && has(&["CHECK"]) {
                ties.push(clause.to_owned());
            } else {
                kept.push(clause);
            }
        }
        let options = &self.text[statement.tokens[behind - 1].at.end..];
        Some((format!("CREATE TABLE {} (\n  {}\n){options}", quote(name), kept.join(",\n  ")), ties))
    }
}

/// The name of a constraint, as its clause has it.
pub(crate) fn constraint_name(clause: &str) -> String {
    let statement = Statement::read(clause, Dialect::default());
    let statement = statement.filter(|statement| statement.is_word(0, "CONSTRAINT"));
    statement.and_then(|statement| statement.name(1)).unwrap_or_default()
}

/// A foreign key, as its clause has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForeignKey {
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    /// The database of the table that it refers to, if it is another one.
    pub(crate) database: Option<String>,
    pub(crate) table: String,
    pub(crate) referenced: Vec<String>,
}

impl ForeignKey {
    /// Takes a clause of [`TableDefinition::detached`]; `None` when it is another one.
    pub(crate) fn read(clause: &str) -> Option<Self> {
        let statement = Statement::read(clause, Dialect::default())?;
        let end = statement.tokens.len();
        let foreign = (0..end).find(|&at| statement.are_words(at, &["FOREIGN", "KEY"]))?;
        let to = (foreign..end).find(|&at| statement.is_word(at, "REFERENCES"))?;
        let (database, table) = match statement.is_symbol(to + 2, b'.') {
            true => (Some(statement.name(to + 1)?), to + 3),
            false => (None, to + 1),
        };
        let key = Self {
            name: constraint_name(clause),
            columns: names_in_brackets(&statement, foreign, to),
            database,
            table: statement.name(table)?,
            referenced: names_in_brackets(&statement, table, end),
        };
        (!key.columns.is_empty() && key.columns.len() == key.referenced.len()).then_some(key)
    }
}

/// The clauses between the outer brackets of a table's definition: each from its first token to the comma or bracket behind it.
pub(crate) fn clauses(statement: &Statement<'_>) -> Option<Vec<(usize, usize)>> {
    let (mut clauses, mut depth, mut begin) = (Vec::new(), 0u32, 4);
    for at in 4..statement.behind_brackets(3)? {
        match statement.tokens[at].kind {
            Kind::Symbol(b'(') => depth += 1,
            Kind::Symbol(b')') if depth > 0 => depth -= 1,
            Kind::Symbol(b',' | b')') if depth == 0 => {
                clauses.push((begin, at));
                begin = at + 1;
            }
            _ => {}
        }
    }
    Some(clauses)
}

/// The names that stand in the first brackets of a clause, as the columns of a key do.
fn names_in_brackets(statement: &Statement<'_>, begin: usize, end: usize) -> Vec<String> {
    let Some(open) = (begin..end).find(|&at| statement.is_symbol(at, b'(')) else { return Vec::new() };
    let (mut names, mut depth) = (Vec::new(), 0u32);
    for at in open..end {
        match statement.tokens[at].kind {
            Kind::Symbol(b'(') => depth += 1,
            Kind::Symbol(b')') => depth = depth.saturating_sub(1),
            Kind::Name if depth == 1 => names.extend(statement.name(at)),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// Where the options behind the columns begin; `None` when it is not a plain definition of the table `name`.
fn check_table(statement: &Statement<'_>, name: &str) -> Option<usize> {
    let is_plain = statement.are_words(0, &["CREATE", "TABLE"])
        && statement.name(2).as_deref() == Some(name)
        && statement.is_symbol(3, b'(')
        && !statement.is_word(4, "LIKE")
        && !statement.has_semicolon();
    let options = statement.behind_brackets(3).filter(|_| is_plain)?;
    // Rows from elsewhere, in any of the ways there are.
    let from_elsewhere = (3..statement.tokens.len())
        .any(|at| ["SELECT", "TABLE"].iter().any(|word| statement.is_word(at, word)))
        || (options..statement.tokens.len()).any(|at| statement.is_word(at, "LIKE") || statement.is_word(at, "AS"));
    (!from_elsewhere).then_some(options)
}

/// The definition of a view, routine, trigger or event, without its definer, and the session that it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectDefinition {
    pub(crate) kind: ObjectKind,
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) session: ObjectSession,
}

/// The settings under which an object was defined and which are part of what it means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ObjectSession {
    /// `sql_mode`.
    pub(crate) sql_mode: String,
    /// `collation_connection`, which literals in it have.
    pub(crate) collation: String,
    /// Of an event.
    pub(crate) time_zone: Option<String>,
}

impl ObjectSession {
    fn is_good(&self) -> bool {
        let all = |text: &str, also: &[u8]| text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b));
        all(&self.sql_mode, b"_,")
            && all(&self.collation, b"_")
            && !self.collation.is_empty()
            && self.time_zone.as_deref().is_none_or(|zone| all(zone, b"_/+-:") && !zone.is_empty())
    }

    /// The statement that brings a session into this state, with the character set UTF-8.
    pub(crate) fn statement(&self) -> String {
        let zone = self.time_zone.as_deref().map(|zone| format!(", TIME_ZONE='{zone}'")).unwrap_or_default();
        format!("SET SQL_MODE='{}', COLLATION_CONNECTION='{}'{zone}", self.sql_mode, self.collation)
    }

    fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("SET SQL_MODE='")?.strip_suffix('\'')?;
        let (sql_mode, rest) = rest.split_once("', COLLATION_CONNECTION='")?;
        let (collation, time_zone) = match rest.split_once("', TIME_ZONE='") {
            Some((collation, zone)) => (collation, Some(zone.to_owned())),
            None => (rest, None),
        };
        let session = Self { sql_mode: sql_mode.to_owned(), collation: collation.to_owned(), time_zone };
        session.is_good().then_some(session)
    }
}

/// Where a person's own client is told that a statement with semicolons ends: the first of these that the text does not have.
const DELIMITERS: [&str; 3] = [";;", "$$", "//"];

impl ObjectDefinition {
    /// Takes the answer of `SHOW CREATE` for an object of `database`, and its definer out of it. Where it says whose it is, and on
    /// which table, the name of the database is left out, so that it can be made in another one.
    pub(crate) fn read(
        kind: ObjectKind,
        name: &str,
        database: &str,
        text: &str,
        session: ObjectSession,
    ) -> Result<(Self, Option<String>), BadDefinition> {
        let bad = BadDefinition(kind);
        let text = text.trim_end().trim_end_matches(';').trim_end();
        let statement = Statement::read(text, Dialect::of_mode(&session.sql_mode)).ok_or(bad)?;
        let definer = definer(&statement);
        let without = definer.clone().map_or_else(
            || text.to_owned(),
            |(range, _)| format!("{}{}", &text[..range.start], text[range.end..].trim_start()),
        );
        let text = unqualified(&without, kind, database, Dialect::of_mode(&session.sql_mode)).ok_or(bad)?;
        let read = Self { kind, name: name.to_owned(), text, session };
        if read.session.is_good() && read.check().is_some() {
            Ok((read, definer.map(|(_, who)| who)))
        } else {
            Err(bad)
        }
    }

    /// The file of this object.
    pub(crate) fn file(&self) -> String {
        let session = self.session.statement();
        let head = format!("SET NAMES utf8mb4; {session};\n");
        if !self.text.contains(';') {
            return format!("{head}{};\n", self.text);
        }
        let tildes = (4..).map(|count| "~".repeat(count));
        let mut delimiters = DELIMITERS.into_iter().map(str::to_owned).chain(tildes);
        let delimiter = delimiters.find(|delimiter| !self.text.contains(delimiter)).unwrap_or_default();
        format!("{head}DELIMITER {delimiter}\n{}\n{delimiter}\nDELIMITER ;\n", self.text)
    }

    /// Reads what [`Self::file`] writes.
    pub(crate) fn parse_file(kind: ObjectKind, file: &str) -> Result<Self, BadDefinition> {
        let parse = || {
            let (head, rest) = file.split_once('\n')?;
            let session = head.strip_prefix("SET NAMES utf8mb4; ")?.strip_suffix(';')?;
            let session = ObjectSession::parse(session)?;
            let text = match rest.strip_prefix("DELIMITER ") {
                Some(rest) => {
                    let (delimiter, rest) = rest.split_once('\n')?;
                    rest.strip_suffix("\nDELIMITER ;\n")?.strip_suffix(delimiter)?.strip_suffix('\n')?
                }
                None => rest.strip_suffix(";\n")?,
            };
            let statement = Statement::read(text, Dialect::of_mode(&session.sql_mode))?;
            let name = statement.name(name_index(&statement, kind)?)?;
            let read = Self { kind, name, text: text.to_owned(), session };
            read.check().map(|()| read)
        };
        parse().ok_or(BadDefinition(kind))
    }

    /// An event that does not run until somebody enables it; anything else as it is.
    pub(crate) fn quiet(&self) -> Option<String> {
        if self.kind != ObjectKind::Event {
            return Some(self.text.clone());
        }
        let statement = Statement::read(&self.text, self.dialect())?;
        let body = (0..statement.tokens.len()).find(|&at| statement.is_word(at, "DO"))?;
        let preserve = (0..body).rfind(|&at| statement.is_word(at, "PRESERVE"))?;
        let (first, last) = match () {
            () if statement.is_word(preserve + 1, "ENABLE") => (preserve + 1, preserve + 1),
            () if statement.are_words(preserve + 1, &["DISABLE", "ON"]) => (preserve + 1, preserve + 3),
            () if statement.is_word(preserve + 1, "DISABLE") => return Some(self.text.clone()),
            () => return None,
        };
        let (from, to) = (statement.tokens.get(first)?.at.start, statement.tokens.get(last)?.at.end);
        Some(format!("{}DISABLE{}", &self.text[..from], &self.text[to..]))
    }

    /// The table that a trigger belongs to.
    pub(crate) fn table(&self) -> Option<String> {
        let statement = Statement::read(&self.text, self.dialect()).filter(|_| self.kind == ObjectKind::Trigger)?;
        let name = name_index(&statement, self.kind)?;
        let on = (name..statement.tokens.len()).find(|&at| statement.is_word(at, "ON"))?;
        statement.name(on + 1)
    }

    fn dialect(&self) -> Dialect {
        Dialect::of_mode(&self.session.sql_mode)
    }

    fn check(&self) -> Option<()> {
        let statement = Statement::read(&self.text, self.dialect())?;
        let at = name_index(&statement, self.kind)?;
        let named = statement.name(at)? == self.name && !statement.is_symbol(at + 1, b'.');
        let one = self.kind != ObjectKind::View && self.kind != ObjectKind::Sequence || !statement.has_semicolon();
        (named && one && definer(&statement).is_none()).then_some(())
    }
}

/// A definition without the database in front of the object's own name and of a trigger's table.
fn unqualified(text: &str, kind: ObjectKind, database: &str, dialect: Dialect) -> Option<String> {
    let statement = Statement::read(text, dialect)?;
    let name = name_index(&statement, kind)?;
    let is_qualified = |at: usize| statement.is_symbol(at + 1, b'.') && statement.name(at).as_deref() == Some(database);
    let mut places = vec![name];
    if kind == ObjectKind::Trigger {
        places.extend((name..statement.tokens.len()).find(|&at| statement.is_word(at, "ON")).map(|on| on + 1));
    }
    let mut shorter = text.to_owned();
    for at in places.into_iter().rev().filter(|&at| is_qualified(at)) {
        shorter.replace_range(statement.tokens.get(at)?.at.start..statement.tokens.get(at + 2)?.at.start, "");
    }
    Some(shorter)
}

/// Where the name stands: behind `CREATE`, what may stand before the kind, and the kind.
fn name_index(statement: &Statement<'_>, kind: ObjectKind) -> Option<usize> {
    if !statement.is_word(0, "CREATE") {
        return None;
    }
    let keywords = kind.keywords();
    let mut at = 1;
    loop {
        if statement.are_words(at, keywords) {
            // `PACKAGE BODY x` is not a package called `BODY`.
            let other = kind == ObjectKind::Package && statement.is_word(at + 1, "BODY");
            return (!other).then_some(at + keywords.len());
        }
        let algorithm = statement.is_word(at, "ALGORITHM") && statement.is_symbol(at + 1, b'=');
        at = if algorithm || statement.are_words(at, &["SQL", "SECURITY"]) {
            at + 3
        } else if statement.is_word(at, "AGGREGATE") {
            at + 1
        } else if let Some((_, behind, _)) = definer_tokens(statement).filter(|(from, ..)| *from == at) {
            behind
        } else {
            return None;
        };
    }
}

/// The definer clause: the bytes it takes, and who it is.
fn definer(statement: &Statement<'_>) -> Option<(std::ops::Range<usize>, String)> {
    let (from, behind, who) = definer_tokens(statement)?;
    let end = statement.tokens.get(behind - 1)?.at.end;
    Some((statement.tokens.get(from)?.at.start..end, who))
}

/// `DEFINER = user@host` or `DEFINER = role` among the first tokens.
fn definer_tokens(statement: &Statement<'_>) -> Option<(usize, usize, String)> {
    let from = (1..8).find(|&at| statement.is_word(at, "DEFINER") && statement.is_symbol(at + 1, b'='))?;
    let part =
        |index: usize| statement.name(index).or_else(|| Some(statement.part(index).trim_matches('\'').to_owned()));
    let user = part(from + 2).filter(|user| !user.is_empty() || statement.part(from + 2).len() > 1)?;
    // `@` alone, or with a bare host behind it.
    let at_sign = statement.part(from + 3);
    if at_sign == "@" {
        return Some((from, from + 5, format!("{user}@{}", part(from + 4)?)));
    }
    if let Some(host) = at_sign.strip_prefix('@') {
        return Some((from, from + 4, format!("{user}@{host}")));
    }
    Some((from, from + 3, user))
}

/// The file of a sequence: its definition, and where it stands.
pub(crate) fn sequence_file(text: &str, name: &str, next: i64, round: u64) -> Result<String, BadDefinition> {
    let bad = BadDefinition(ObjectKind::Sequence);
    let statement = Statement::read(text, Dialect::default()).ok_or(bad)?;
    let good = statement.are_words(0, &["CREATE", "SEQUENCE"])
        && statement.name(2).as_deref() == Some(name)
        && !statement.has_semicolon();
    if !good {
        return Err(bad);
    }
    Ok(format!("{SESSION}{text};\nDO SETVAL({}, {next}, 0, {round});\n", quote(name)))
}

/// Reads what [`sequence_file`] writes: the name, and the two statements.
pub(crate) fn parse_sequence_file(file: &str) -> Result<(String, [String; 2]), BadDefinition> {
    let parse = || {
        let rest = file.strip_prefix(SESSION)?.strip_suffix(";\n")?;
        let (create, place) = rest.rsplit_once(";\nDO SETVAL(")?;
        let statement = Statement::read(create, Dialect::default())?;
        let name = statement.name(2)?;
        let numbers = place.strip_prefix(&format!("{}, ", quote(&name)))?.strip_suffix(')')?;
        let mut numbers = numbers.split(", ").map(str::parse::<i128>);
        let (Some(Ok(next)), Some(Ok(0)), Some(Ok(round)), None) =
            (numbers.next(), numbers.next(), numbers.next(), numbers.next())
        else {
            return None;
        };
        let again = sequence_file(create, &name, i64::try_from(next).ok()?, u64::try_from(round).ok()?).ok()?;
        (again == file).then(|| (name.clone(), [create.to_owned(), format!("DO SETVAL({place}")]))
    };
    parse().ok_or(BadDefinition(ObjectKind::Sequence))
}

#[cfg(test)]
#[path = "definition_tests.rs"]
mod tests;
