use super::*;

fn mariadb(collations: &[&str]) -> Adaptation {
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Adaptation { flavour: Flavour::MariaDb, collations: set(collations), engines: set(&["INNODB", "MYISAM"]) }
}

fn mysql(collations: &[&str]) -> Adaptation {
    Adaptation { flavour: Flavour::MySql, ..mariadb(collations) }
}

fn table(to: &Adaptation, text: &str) -> (String, Vec<String>) {
    let (adapted, notes) = to.table("t", &TableDefinition::read("t", text).unwrap()).unwrap();
    // One space for what is left out.
    let words: Vec<_> = adapted.text.split(' ').filter(|word| !word.is_empty()).collect();
    (words.join(" "), notes)
}

#[test]
fn what_is_known_stays_as_it_is() {
    let text = "CREATE TABLE `t` (\n  `a` int NOT NULL /*!80023 INVISIBLE */,\n  KEY `k` (`a`) /*!80000 INVISIBLE */\n) \
                /*!50100 TABLESPACE `x` */ ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci\n\
                /*!50100 PARTITION BY HASH (`a`) */";
    assert_eq!(table(&mysql(&["utf8mb4_0900_ai_ci"]), text), (text.replace("\n  ", "\n "), vec![]));
}

#[test]
fn collations_have_stand_ins() {
    let old = [
        "utf8mb4_general_ci",
        "utf8mb4_unicode_ci",
        "utf8mb4_unicode_520_ci",
        "utf8mb4_bin",
        "utf8_bin",
        "utf8_unicode_ci",
    ];
    let ten = [&old[..], &["utf8mb4_unicode_520_nopad_ci", "utf8mb4_nopad_bin", "utf8mb4_german2_ci"]].concat();
    let uca = [
        &ten[..],
        &["utf8mb4_uca1400_nopad_ai_ci", "utf8mb4_uca1400_nopad_as_cs", "utf8mb4_uca1400_german2_nopad_ai_ci"],
    ]
    .concat();
    let oracle = [
        "utf8mb4_0900_ai_ci",
        "utf8mb4_0900_as_cs",
        "utf8mb4_0900_bin",
        "utf8mb4_de_pb_0900_ai_ci",
        "utf8mb4_bin",
        "utf8mb3_unicode_ci",
        "utf8mb4_general_ci",
        "utf8mb3_bin",
    ];
    for (known, name, stand_in) in [
        (&old[..], "utf8mb4_0900_ai_ci", Some("utf8mb4_unicode_520_ci")),
        (&old, "utf8mb4_0900_as_cs", Some("utf8mb4_bin")),
        (&old, "utf8mb4_0900_as_ci", Some("utf8mb4_bin")),
        (&old, "utf8mb3_unicode_ci", Some("utf8_unicode_ci")),
        (&old, "utf8mb4_bin", None),
        (&old, "sjis_japanese_ci", None),
        (&ten, "utf8mb4_0900_ai_ci", Some("utf8mb4_unicode_520_nopad_ci")),
        (&ten, "utf8mb4_0900_bin", Some("utf8mb4_nopad_bin")),
        (&ten, "utf8mb4_de_pb_0900_ai_ci", Some("utf8mb4_german2_ci")),
        (&uca, "utf8mb4_0900_ai_ci", Some("utf8mb4_uca1400_nopad_ai_ci")),
        (&uca, "utf8mb4_0900_as_cs", Some("utf8mb4_uca1400_nopad_as_cs")),
        (&uca, "utf8mb4_de_pb_0900_ai_ci", Some("utf8mb4_uca1400_german2_nopad_ai_ci")),
        (&oracle, "utf8mb4_uca1400_ai_ci", Some("utf8mb4_0900_ai_ci")),
        (&oracle, "utf8mb4_uca1400_german2_ai_ci", Some("utf8mb4_de_pb_0900_ai_ci")),
        (&oracle, "utf8mb4_uca1400_as_cs", Some("utf8mb4_0900_as_cs")),
        (&oracle, "utf8mb4_nopad_bin", Some("utf8mb4_0900_bin")),
        (&oracle, "utf8mb4_general_nopad_ci", Some("utf8mb4_general_ci")),
        (&oracle, "utf8_unicode_ci", Some("utf8mb3_unicode_ci")),
        (&oracle, "utf8mb3_uca1400_ai_ci", Some("utf8mb3_unicode_ci")),
        (&oracle, "utf8mb4", None),
    ] {
        assert_eq!(mysql(known).stand_in(name).as_deref(), stand_in, "{name}");
    }
}

#[test]
fn a_table_of_mysql_for_mariadb() {
    let text = "CREATE TABLE `t` (\n  `a` int NOT NULL,\n  `j` json DEFAULT NULL,\n  `h` int DEFAULT '5' /*!80023 INVISIBLE */,\n  \
                `p` point /*!80003 SRID 4326 */ DEFAULT NULL,\n  `s` varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs NOT NULL \
                DEFAULT 'COLLATE utf8mb4_0900_ai_ci',\n  PRIMARY KEY (`a`),\n  KEY `pre` (`s`(5)),\n  KEY `unseen` (`h`) /*!80000 INVISIBLE */,\n  \
                UNIQUE KEY `f` ((`a` + `h`)),\n  KEY `two` (`a`,(cast(json_extract(`j`,_utf8mb4'$.x') as unsigned array))),\n  \
                CONSTRAINT `good` CHECK ((`a` > 0)),\n  CONSTRAINT `lax` CHECK ((`h` < 3)) /*!80016 NOT ENFORCED */\n) \
                ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci /*!80016 ENCRYPTION='N' */\n\
                /*!50100 PARTITION BY HASH (`a`) */";
    let (adapted, notes) = table(&mariadb(&["utf8mb4_unicode_520_ci", "utf8mb4_bin"]), text);
    assert_eq!(
        adapted,
        "CREATE TABLE `t` (\n `a` int NOT NULL,\n `j` json DEFAULT NULL,\n `h` int DEFAULT '5' INVISIBLE,\n \
         `p` point DEFAULT NULL,\n `s` varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL \
        DEFAULT 'COLLATE utf8mb4_0900_ai_ci',\n PRIMARY KEY (`a`),\n KEY `pre` (`s`(5)),\n KEY `unseen` (`h`) IGNORED,\n \
         CONSTRAINT `good` CHECK ((`a` > 0))\n) \
         ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci \n\
         /*!50100 PARTITION BY HASH (`a`) */"
    );
    assert_eq!(
        notes,
        [
            "j: JSON is a text that is checked",
            "p: it is not bound to a reference system any more",
            "the collation utf8mb4_0900_as_cs became utf8mb4_bin",
            "f: an index over an expression is left out",
            "two: an index over an expression is left out",
            "lax: a condition that was not enforced is left out",
            "the collation utf8mb4_0900_ai_ci became utf8mb4_unicode_520_ci",
            "the option ENCRYPTION is left out",
        ]
    );
}

#[test]
fn a_table_of_mariadb_for_mysql() {
    let text = "CREATE TABLE `t` (\n `a` int(11) NOT NULL DEFAULT nextval(`db`.`seq`),\n `u` uuid NOT NULL DEFAULT uuid(),\n \
                `i` inet6 DEFAULT NULL,\n `n` datetime DEFAULT current_timestamp() ON UPDATE current_timestamp(),\n \
                `m` datetime DEFAULT (current_timestamp() - interval 1 day),\n `g` geometry REF_SYSTEM_ID=0 DEFAULT NULL,\n \
                `e` enum('uuid','DEFAULT x()') NOT NULL DEFAULT 'uuid',\n `s` timestamp(6) GENERATED ALWAYS AS ROW START,\n \
                `z` timestamp(6) GENERATED ALWAYS AS ROW END,\n PRIMARY KEY (`a`,`z`),\n KEY `k` (`i`) IGNORED,\n PERIOD FOR SYSTEM_TIME (`s`, `z`)\n) \
                ENGINE=Aria DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_uca1400_ai_ci PAGE_CHECKSUM=1 WITH SYSTEM VERSIONING COMMENT='x'";
    let (adapted, notes) = table(&mysql(&["utf8mb4_0900_ai_ci", "utf8mb4_bin"]), text);
    assert_eq!(
        adapted,
        "CREATE TABLE `t` (\n `a` int(11) NOT NULL,\n `u` char(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT (uuid()),\n \
         `i` varchar(39) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL,\n `n` datetime DEFAULT current_timestamp() ON UPDATE current_timestamp(),\n \
         `m` datetime DEFAULT (current_timestamp() - interval 1 day),\n `g` geometry DEFAULT NULL,\n \
         `e` enum('uuid','DEFAULT x()') NOT NULL DEFAULT 'uuid',\n PRIMARY KEY (`a`),\n KEY `k` (`i`) INVISIBLE\n) \
         ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='x'"
    );
    assert_eq!(
        notes,
        [
            "a: its default took values from a sequence, and is left out",
            "u: UUID became char(36)",
            "i: INET6 became varchar(39)",
            "s: when a row was current is not kept any more",
            "z: when a row was current is not kept any more",
            "the collation utf8mb4_uca1400_ai_ci became utf8mb4_0900_ai_ci",
            "the engine Aria became InnoDB",
            "the option PAGE_CHECKSUM is left out",
            "older versions of rows are not kept any more",
        ]
    );
}

#[test]
fn objects_mean_the_same() {
    use super::super::super::format::definition::ObjectSession;
    let session = ObjectSession {
        sql_mode: "ANSI_QUOTES,TIME_TRUNCATE_FRACTIONAL".to_owned(),
        collation: "utf8mb4_0900_ai_ci".to_owned(),
        time_zone: None,
    };
    let text = "CREATE VIEW \"v\" AS select 'COLLATE utf8mb4_0900_ai_ci' collate utf8mb4_0900_ai_ci AS \"collate\"";
    let (object, _) = ObjectDefinition::read(ObjectKind::View, "v", "db", text, session).unwrap();
    let (adapted, notes) = mariadb(&["utf8mb4_unicode_ci"]).object(&object).unwrap();
    assert_eq!(
        adapted.text,
        "CREATE VIEW \"v\" AS select 'COLLATE utf8mb4_0900_ai_ci' collate utf8mb4_unicode_ci AS \"collate\""
    );
    assert_eq!((&*adapted.session.sql_mode, &*adapted.session.collation), ("ANSI_QUOTES", "utf8mb4_unicode_ci"));
    assert_eq!(notes.len(), 3, "{notes:?}");
    let (same, notes) = mysql(&["utf8mb4_0900_ai_ci"]).object(&object).unwrap();
    assert_eq!((same, notes), (object, vec![]));
}

/// Found by reading: each was wrong once.
#[test]
fn what_is_written_in_another_way() {
    // Quoted options, a bracket around a changed collation, spellings of one's own.
    let text = "CREATE TABLE `t` (\n  `a` varchar(9) DEFAULT concat('x' COLLATE utf8mb4_uca1400_ai_ci,'y'),\n  \
                `b` int WITHOUT SYSTEM VERSIONING\n) ENGINE=Aria ROW_FORMAT=PAGE `PAGE_COMPRESSED`=1 `ENCRYPTION_KEY_ID`=100 COLLATE=UTF8MB4_0900_AI_CI";
    let (adapted, notes) = table(&mysql(&["utf8mb4_0900_ai_ci"]), text);
    assert_eq!(
        adapted,
        "CREATE TABLE `t` (\n `a` varchar(9) DEFAULT (concat('x' COLLATE utf8mb4_0900_ai_ci,'y')),\n `b` int\n) \
         ENGINE=InnoDB COLLATE=UTF8MB4_0900_AI_CI"
    );
    assert_eq!(notes.len(), 5, "{notes:?}");
    // What is hidden stays hidden, also when nothing else changes.
    let text = "CREATE TABLE `t` (\n  `a` int NOT NULL,\n  `b` int DEFAULT '5' /*!80023 INVISIBLE */\n) ENGINE=InnoDB";
    let (adapted, notes) = table(&mariadb(&["utf8mb4_bin"]), text);
    assert_eq!(
        (&*adapted, notes.len()),
        ("CREATE TABLE `t` (\n `a` int NOT NULL,\n `b` int DEFAULT '5' INVISIBLE\n) ENGINE=InnoDB", 0)
    );
}
