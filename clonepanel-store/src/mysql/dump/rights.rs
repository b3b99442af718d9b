//! [`Rights`]: what a user may see of a database, and so what a dump by this user would miss.

use super::{
    super::{
        DatabaseError, MissingObject, ObjectKind,
        format::{
            name::quote,
            sql::{Dialect, Kind, Statement},
        },
        session::{Flavour, Session, text},
    },
    catalogue::Catalogue,
};
use std::collections::{BTreeMap, BTreeSet};

const ACTION: &str = "reading the rights";

/// The rights of the user of a session on one database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// On everything in it.
    whole: BTreeSet<String>,
    /// On single tables.
    tables: BTreeMap<String, BTreeSet<String>>,
    /// On everything of the server.
    global: BTreeSet<String>,
    user: String,
}

impl Rights {
    pub(crate) async fn read(session: &mut Session, database: &str) -> Result<Self, DatabaseError> {
        let user = session.one(ACTION, "SELECT CURRENT_USER()").await?;
        let user = account(&user.first().map(text).transpose()?.unwrap_or_default());
        let mut rights = Self { user, ..Self::default() };
        for row in session.rows(ACTION, "SHOW GRANTS").await? {
            rights.add(&row.first().map(text).transpose()?.unwrap_or_default(), database);
        }
        if session.flavour() == Flavour::MariaDb {
            let role = session.one(ACTION, "SELECT CURRENT_ROLE()").await?;
            if role.first().map(text).transpose()?.is_some_and(|role| !role.is_empty() && role != "NONE") {
                for row in session.rows(ACTION, "SHOW GRANTS FOR CURRENT_ROLE").await? {
                    rights.add(&row.first().map(text).transpose()?.unwrap_or_default(), database);
                }
            }
        }
        Ok(rights)
    }

    /// Adds what a line of `SHOW GRANTS` says about `database`.
    fn add(&mut self, line: &str, database: &str) {
        let Some(statement) = Statement::read(line, Dialect::default()) else { return };
        let Some(on) = (0..statement.tokens.len()).find(|&at| statement.is_word(at, "ON")) else { return };
        if !statement.is_word(0, "GRANT") {
            return;
        }
        let mut granted = BTreeSet::new();
        let mut words = Vec::new();
        let mut at = 1;
        while at <= on {
            if at == on || statement.is_symbol(at, b',') {
                granted.insert(std::mem::take(&mut words).join(" "));
            } else if statement.is_symbol(at, b'(') {
                // On some columns only: not on the table.
                words.push("SOME".to_owned());
                at = statement.behind_brackets(at).unwrap_or(on).saturating_sub(1);
            } else {
                words.push(statement.part(at).to_ascii_uppercase());
            }
            at += 1;
        }
        let object =
            if statement.is_word(on + 1, "TABLE") && !statement.is_symbol(on + 2, b'.') { on + 2 } else { on + 1 };
        if !statement.is_symbol(object + 1, b'.') {
            return;
        }
        let all_tables = statement.is_symbol(object + 2, b'*');
        if statement.is_symbol(object, b'*') {
            self.global.append(&mut granted.clone());
            self.whole.append(&mut granted);
        } else if let Some(pattern) = statement.name(object) {
            if all_tables && matches(&pattern, database) {
                self.whole.append(&mut granted);
            } else if !all_tables
                && pattern == database
                && let Some(table) = statement.name(object + 2)
                && statement.tokens.get(object + 2).is_some_and(|token| token.kind != Kind::Value)
            {
                self.tables.entry(table).or_default().append(&mut granted);
            }
        }
    }

    fn has(&self, right: &str) -> bool {
        has(&self.whole, right)
    }

    fn has_on_all(&self, right: &str, catalogue: &Catalogue) -> bool {
        let on = |name: &str| self.tables.get(name).is_some_and(|rights| has(rights, right));
        self.has(right) || (!catalogue.tables.is_empty() && catalogue.tables.iter().all(|table| on(&table.name)))
    }

    /// The statement that gives a right.
    pub(crate) fn mend(&self, right: &str, database: &str) -> String {
        // These exist for whole servers only.
        let on = if right == "SHOW_ROUTINE" { "*.*".to_owned() } else { format!("{}.*", quote(&pattern(database))) };
        format!("GRANT {right} ON {on} TO {}", self.user)
    }

    /// What cannot even be listed.
    pub(crate) fn unseen(&self, catalogue: &Catalogue, flavour: Flavour, database: &str) -> Vec<MissingObject> {
        let mut missing = Vec::new();
        let mut miss = |kind: ObjectKind, right: &str| {
            let why = format!("{}s cannot be seen without the right {right}", kind.word());
            missing.push(MissingObject { kind, name: None, why, mend: Some(self.mend(right, database)) });
        };
        if !TABLE_RIGHTS.iter().any(|right| self.has(right)) {
            miss(ObjectKind::Table, "SELECT");
        }
        let routines = ["EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE", "SHOW CREATE ROUTINE"];
        if !routines.iter().any(|right| self.has(right))
            && !has(&self.global, "SELECT")
            && !has(&self.global, "SHOW_ROUTINE")
        {
            let right = if flavour == Flavour::MariaDb { "EXECUTE" } else { "SHOW_ROUTINE" };
            miss(ObjectKind::Procedure, right);
        }
        if !self.has_on_all("TRIGGER", catalogue) && !catalogue.tables.is_empty() {
            miss(ObjectKind::Trigger, "TRIGGER");
        }
        if !self.has("EVENT") {
            miss(ObjectKind::Event, "EVENT");
        }
        missing
    }
}

fn has(rights: &BTreeSet<String>, right: &str) -> bool {
    rights.contains(right) || rights.contains("ALL PRIVILEGES") || rights.contains("ALL")
}

/// `user@host` as it stands in a grant.
fn account(user: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    match user.rsplit_once('@') {
        Some((user, host)) => format!("{}@{}", quoted(user), quoted(host)),
        None => quoted(user),
    }
}

/// The name of a database as a pattern that fits it alone.
fn pattern(database: &str) -> String {
    database.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%")
}

/// Whether a pattern of `GRANT` fits a name: `%` and `_` as in `LIKE`.
fn matches(pattern: &str, name: &str) -> bool {
    let chars = |text: &str| text.chars().take(MAX_PATTERN).collect::<Vec<_>>();
    let (pattern, name) = (chars(pattern), chars(name));
    // Which lengths of the name are fitted by the pattern so far.
    let mut fitted = vec![false; name.len() + 1];
    fitted[0] = true;
    let mut rest = pattern.iter();
    while let Some(&part) = rest.next() {
        if part == '%' {
            let shortest = fitted.iter().position(|&fits| fits).unwrap_or(fitted.len());
            fitted.iter_mut().skip(shortest).for_each(|fits| *fits = true);
            continue;
        }
        let literal = if part == '\\' { rest.next().copied() } else { (part != '_').then_some(part) };
        for len in (1..fitted.len()).rev() {
            fitted[len] = fitted[len - 1] && literal.is_none_or(|literal| literal == name[len - 1]);
        }
        fitted[0] = false;
    }
    fitted[name.len()]
}

/// Whoever has one of these on a database sees all of its tables.
const TABLE_RIGHTS: [&str; 12] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "ALTER",
    "INDEX",
    "REFERENCES",
    "TRIGGER",
    "SHOW VIEW",
    "CREATE VIEW",
];

/// The longest name or pattern, in characters.
const MAX_PATTERN: usize = 128;

#[cfg(test)]
mod tests {
    use super::{super::catalogue::Storage, *};

    fn rights(lines: &[&str]) -> Rights {
        let mut rights = Rights { user: account("o'x@%"), ..Rights::default() };
        lines.iter().for_each(|line| rights.add(line, "alice_wp"));
        rights
    }

    fn kinds(rights: &Rights) -> Vec<ObjectKind> {
        let table = |name: &str| super::super::catalogue::Table {
            name: name.to_owned(),
            columns: Vec::new(),
            key: None,
            storage: Storage::Transactional,
            is_versioned: false,
            size: 0,
            created: String::new(),
            all_columns: Vec::new(),
            written: None,
        };
        let catalogue = Catalogue { tables: vec![table("a"), table("b")], ..Catalogue::default() };
        rights.unseen(&catalogue, Flavour::MariaDb, "alice_wp").into_iter().map(|missing| missing.kind).collect()
    }

    #[test]
    fn the_ladder_of_rights() {
        use ObjectKind::{Event, Procedure, Table, Trigger};
        let usage = "GRANT USAGE ON *.* TO `alice`@`%` IDENTIFIED BY PASSWORD '*94BDCE'";
        for (grants, unseen) in [
            (vec![usage, "GRANT SELECT ON `alice\\_wp`.* TO `alice`@`%`"], vec![Procedure, Trigger, Event]),
            (vec![usage, "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `alice\\_%`.* TO `alice`@`%`"], vec![Procedure]),
            (vec![usage, "GRANT ALL PRIVILEGES ON `alice_wp`.* TO `alice`@`%` WITH GRANT OPTION"], vec![]),
            (vec![usage, "GRANT ALL PRIVILEGES ON `bob_wp`.* TO `alice`@`%`"], vec![Table, Procedure, Trigger, Event]),
            (vec!["GRANT SELECT ON *.* TO 'alice'@'%'"], vec![Trigger, Event]),
            (vec!["GRANT ALL PRIVILEGES ON *.* TO 'alice'@'%'"], vec![]),
            (
                vec![
                    "GRANT TRIGGER, EXECUTE ON `alice_wp`.`a` TO x",
                    "GRANT TRIGGER (`c`), SELECT ON `alice_wp`.`b` TO x",
                ],
                vec![Table, Procedure, Trigger, Event],
            ),
            (
                vec!["GRANT TRIGGER ON `alice_wp`.`a` TO x", "GRANT TRIGGER ON `alice_wp`.`b` TO x"],
                vec![Table, Procedure, Event],
            ),
            (
                vec!["GRANT PROXY ON ''@'%' TO 'root'@'localhost'", "GRANT `role` TO `alice`@`%`"],
                vec![Table, Procedure, Trigger, Event],
            ),
        ] {
            assert_eq!(kinds(&rights(&grants)), unseen, "{grants:?}");
        }
    }

    #[test]
    fn what_mends_names_the_user() {
        let mend = rights(&[]).mend("TRIGGER", "alice_wp");
        assert_eq!(mend, "GRANT TRIGGER ON `alice\\_wp`.* TO 'o\\'x'@'%'");
    }

    #[test]
    fn patterns_are_those_of_grant() {
        for (pattern, name, fits) in [
            ("alice\\_wp", "alice_wp", true),
            ("alice\\_wp", "aliceXwp", false),
            ("alice_wp", "aliceXwp", true),
            ("%", "", true),
            ("a%b%", "axxbyy", true),
            ("a%b", "axxbyy", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
