use super::*;

const TABLE: &str = "CREATE TABLE `a``;b` (\n  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,\n  `AUTO_INCREMENT=7` \
                     varchar(20) DEFAULT ' AUTO_INCREMENT=5',\n  `p` bigint(20) DEFAULT NULL,\n  PRIMARY KEY (`id`),\n  CONSTRAINT \
                     `up` FOREIGN KEY (`p`) REFERENCES `other` (`id`) ON DELETE SET NULL,\n  CONSTRAINT `c` CHECK (`p` > 1)\n) \
                     ENGINE=InnoDB AUTO_INCREMENT=43 DEFAULT CHARSET=utf8mb4 COMMENT='AUTO_INCREMENT=6'";

fn session() -> ObjectSession {
    ObjectSession { sql_mode: String::new(), collation: "utf8mb4_general_ci".to_owned(), time_zone: None }
}

fn read(kind: ObjectKind, name: &str, text: &str) -> Result<(ObjectDefinition, Option<String>), BadDefinition> {
    ObjectDefinition::read(kind, name, "home", text, session())
}

#[test]
fn a_table_loses_its_counter_and_nothing_else() {
    let definition = TableDefinition::read("a`;b", TABLE).unwrap();
    assert_eq!(definition.auto_increment, Some(43));
    assert_eq!(definition.text, TABLE.replace(" AUTO_INCREMENT=43", ""));
    assert!(definition.is_contained());
    assert_eq!(definition.columns(), ["id", "AUTO_INCREMENT=7", "p"]);
    let file = definition.file();
    assert!(file.starts_with(SESSION) && file.ends_with("';\n"));
    let (name, parsed) = TableDefinition::parse_file(&file).unwrap();
    assert_eq!((name.as_str(), &parsed.text), ("a`;b", &definition.text));
}

#[test]
fn foreign_keys_are_read() {
    let clause =
        "CONSTRAINT `of``x` FOREIGN KEY (`a`,`b`) REFERENCES `other`.`REFERENCES` (`c`, `d`) ON DELETE CASCADE";
    let key = ForeignKey::read(clause).unwrap();
    assert_eq!((&*key.name, key.database.as_deref(), &*key.table), ("of`x", Some("other"), "REFERENCES"));
    assert_eq!((key.columns.join(","), key.referenced.join(",")), ("a,b".to_owned(), "c,d".to_owned()));
    assert_eq!(ForeignKey::read("FOREIGN KEY (`a`) REFERENCES `t` (`b`)").unwrap().name, "");
    for other in ["CONSTRAINT `c` CHECK (`a` > 0)", "FOREIGN KEY (`a`) REFERENCES `t` (`b`,`c`)", "KEY `a` (`b`)"] {
        assert_eq!(ForeignKey::read(other), None, "{other}");
    }
}

#[test]
fn a_table_is_detached_from_others() {
    let definition = TableDefinition::read("a`;b", TABLE).unwrap();
    let (text, ties) = definition.detached("new", false).unwrap();
    assert_eq!(ties, ["CONSTRAINT `up` FOREIGN KEY (`p`) REFERENCES `other` (`id`) ON DELETE SET NULL"]);
    assert!(text.starts_with("CREATE TABLE `new` (\n  `id` bigint(20)"), "{text}");
    assert!(text.contains("PRIMARY KEY (`id`),\n  CONSTRAINT `c` CHECK (`p` > 1)\n) ENGINE=InnoDB"), "{text}");
}

#[test]
fn a_table_that_is_something_else_is_refused() {
    for text in [
        "CREATE TABLE `t` (`a` int); DROP TABLE x",
        "CREATE TABLE `t` (`a` int) SELECT 1",
        "CREATE TABLE `t` (`a` int) AS TABLE x",
        "CREATE TABLE `t` LIKE `u`",
        "CREATE TABLE `t` (LIKE `u`)",
        "CREATE TABLE `u` (`a` int)",
        "CREATE TABLE `x`.`t` (`a` int)",
        "CREATE TEMPORARY TABLE `t` (`a` int)",
        "DROP TABLE `t`",
        "CREATE TABLE `t` (`a` int) /*! ; DROP TABLE x */",
        "CREATE TABLE `t` (`a` int) /*! SELECT 1 */",
        "CREATE TABLE `t` (`a` int) \\! id",
        "CREATE TABLE `t` (`a` int",
    ] {
        assert_eq!(TableDefinition::read("t", text), Err(BadDefinition(ObjectKind::Table)), "{text}");
    }
}

#[test]
fn definers_are_taken_out_by_token() {
    for (kind, name, text, without, who) in [
        (
            ObjectKind::View,
            "v",
            "CREATE ALGORITHM=UNDEFINED DEFINER=`ro``ot`@`local host` SQL SECURITY DEFINER VIEW `v` AS select 'DEFINER=`x`@`y`'",
            "CREATE ALGORITHM=UNDEFINED SQL SECURITY DEFINER VIEW `v` AS select 'DEFINER=`x`@`y`'",
            Some("ro`ot@local host"),
        ),
        (
            ObjectKind::Procedure,
            "p",
            "CREATE DEFINER=`me`@`%` PROCEDURE `p`()\nbegin /* DEFINER=`a`@`b` */ select 1; end",
            "CREATE PROCEDURE `p`()\nbegin /* DEFINER=`a`@`b` */ select 1; end",
            Some("me@%"),
        ),
        (ObjectKind::Event, "e", "CREATE DEFINER=`role` EVENT `e` DO x", "CREATE EVENT `e` DO x", Some("role")),
        (
            ObjectKind::Function,
            "f",
            "CREATE FUNCTION `f`() RETURNS int return 1",
            "CREATE FUNCTION `f`() RETURNS int return 1",
            None,
        ),
    ] {
        let (definition, definer) = read(kind, name, text).unwrap();
        assert_eq!((definition.text.as_str(), definer.as_deref()), (without, who));
    }
}

#[test]
fn objects_come_back_from_their_files() {
    for (kind, name, text) in [
        (ObjectKind::View, "v", "CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW `v` AS select ';' AS `a`"),
        (
            ObjectKind::Trigger,
            "t`",
            "CREATE TRIGGER `t``` before insert on `x` for each row begin set @a = ';;'; set @b = '$$'; end",
        ),
        (ObjectKind::PackageBody, "k", "CREATE PACKAGE BODY `k` AS x; end"),
    ] {
        let mut session = session();
        session.time_zone = Some("Europe/Berlin".to_owned());
        let (definition, _) = ObjectDefinition::read(kind, name, "home", text, session).unwrap();
        assert_eq!(ObjectDefinition::parse_file(kind, &definition.file()), Ok(definition));
    }
    let (trigger, _) =
        read(ObjectKind::Trigger, "t", "CREATE TRIGGER `t` after delete on x for each row begin a; end").unwrap();
    assert_eq!(
        trigger.file(),
        "SET NAMES utf8mb4; SET SQL_MODE='', COLLATION_CONNECTION='utf8mb4_general_ci';\nDELIMITER ;;\nCREATE TRIGGER `t` after \
         delete on x for each row begin a; end\n;;\nDELIMITER ;\n"
    );
}

#[test]
fn objects_that_are_something_else_are_refused() {
    for (kind, text) in [
        (ObjectKind::View, "CREATE VIEW `x` AS select 1; DROP TABLE t"),
        (ObjectKind::View, "DROP VIEW `x`"),
        (ObjectKind::View, "CREATE TABLE `x` AS select 1"),
        (ObjectKind::View, "CREATE VIEW `other` AS select 1"),
        (ObjectKind::View, "CREATE VIEW `x`.`x` AS select 1"),
        (ObjectKind::Procedure, "CREATE FUNCTION `x`() RETURNS int RETURN 1"),
        (ObjectKind::Package, "CREATE PACKAGE BODY `x` AS end"),
        (ObjectKind::Trigger, "GRANT ALL ON *.* TO `x`"),
        (ObjectKind::Trigger, "CREATE TRIGGER `x` before insert on t for each row \\! id"),
        (ObjectKind::Event, "CREATE OR REPLACE EVENT `x` DO y"),
    ] {
        assert_eq!(read(kind, "x", text).map(|_| ()), Err(BadDefinition(kind)), "{text}");
    }
    for file in [
        "SET NAMES utf8mb4; SET SQL_MODE='', COLLATION_CONNECTION='x', FOO='1';\nCREATE VIEW `x` AS select 1;\n",
        "SET NAMES utf8mb4; SET SQL_MODE='', COLLATION_CONNECTION='utf8mb4_bin';\nCREATE VIEW `x` AS select 1;\nDROP TABLE t;\n",
        "SET NAMES utf8mb4; DROP TABLE t;\nCREATE VIEW `x` AS select 1;\n",
        "SET NAMES utf8mb4; SET SQL_MODE='', COLLATION_CONNECTION='utf8mb4_bin';\nCREATE DEFINER=`a`@`b` VIEW `x` AS select 1;\n",
    ] {
        assert_eq!(
            ObjectDefinition::parse_file(ObjectKind::View, file),
            Err(BadDefinition(ObjectKind::View)),
            "{file}"
        );
    }
}

#[test]
fn events_are_quieted() {
    for (state, quiet) in [("ENABLE", "DISABLE"), ("DISABLE", "DISABLE"), ("DISABLE ON SLAVE", "DISABLE")] {
        let text = format!(
            "CREATE EVENT `x` ON SCHEDULE EVERY 1 DAY ON COMPLETION NOT PRESERVE {state} COMMENT 'ENABLE' DO select 1"
        );
        let (event, _) = read(ObjectKind::Event, "x", &text).unwrap();
        assert_eq!(event.quiet(), Some(text.replace(&format!("PRESERVE {state} "), &format!("PRESERVE {quiet} "))));
    }
}

#[test]
fn a_sequence_keeps_its_place() {
    let text = "CREATE SEQUENCE `s` start with 5 minvalue 1 maxvalue 9 increment by 2 cache 1000 nocycle ENGINE=InnoDB";
    let file = sequence_file(text, "s", -2005, 1).unwrap();
    assert_eq!(file, format!("{SESSION}{text};\nDO SETVAL(`s`, -2005, 0, 1);\n"));
    let (name, statements) = parse_sequence_file(&file).unwrap();
    assert_eq!((name.as_str(), statements), ("s", [text.to_owned(), "DO SETVAL(`s`, -2005, 0, 1)".to_owned()]));
    assert!(parse_sequence_file(&file.replace("-2005", "(SELECT 1)")).is_err());
    assert!(parse_sequence_file(&file.replace(" nocycle", "; DROP TABLE x")).is_err());
}

#[test]
fn the_database_is_not_part_of_a_name() {
    for (text, without) in [
        (
            "CREATE TRIGGER home.t before insert on `home` . x for each row set @a = home.f()",
            "CREATE TRIGGER t before insert on x for each row set @a = home.f()",
        ),
        (
            "CREATE TRIGGER t before insert on other.x for each row set @a = 1",
            "CREATE TRIGGER t before insert on other.x for each row set @a = 1",
        ),
    ] {
        assert_eq!(read(ObjectKind::Trigger, "t", text).unwrap().0.text, without);
    }
}

#[test]
fn tables_that_lead_out_of_the_server_are_known() {
    for options in [
        "ENGINE=CONNECT TABLE_TYPE=CSV FILE_NAME='/etc/passwd'",
        "ENGINE=FEDERATED CONNECTION='mysql://a@b/c/d'",
        "ENGINE=InnoDB DATA DIRECTORY='/tmp'",
        "ENGINE=InnoDB PARTITION BY HASH (`a`) (PARTITION p0 DATA DIRECTORY = '/tmp')",
    ] {
        let text = format!("CREATE TABLE `t` (`a` int) {options}");
        assert!(TableDefinition::read("t", &text).is_ok_and(|definition| !definition.is_contained()), "{options}");
    }
}

#[test]
fn rows_are_told_apart_by_a_key() {
    for (columns, key) in [
        ("`a` int(11) NOT NULL,\n  PRIMARY KEY (`a`)", Some(vec!["a"])),
        (
            "`a` int(11) NOT NULL,\n  `b` text DEFAULT 'PRIMARY KEY (`x`)',\n  PRIMARY KEY (`b`(10),`a`) USING BTREE",
            Some(vec!["b", "a"]),
        ),
        (
            "`a` int(11) DEFAULT NULL,\n  `b` int(11) NOT NULL,\n  UNIQUE KEY `u` (`a`),\n  UNIQUE KEY `v` (`b`)",
            Some(vec!["b"]),
        ),
        ("`a` int(11) DEFAULT NULL,\n  UNIQUE KEY `u` (`a`),\n  KEY `k` (`a`)", None),
        ("`a,``b(` int(11) NOT NULL,\n  PRIMARY KEY (`a,``b(`)", Some(vec!["a,`b("])),
    ] {
        let text = format!("CREATE TABLE `t` (\n  {columns}\n) ENGINE=InnoDB");
        let definition = TableDefinition::read("t", &text).unwrap();
        let key = key.map(|key| key.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(definition.key(), key, "{columns}");
    }
}
