SET NAMES utf8mb4;
SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';
SET FOREIGN_KEY_CHECKS=0;

CREATE TABLE numbers (
  id int NOT NULL AUTO_INCREMENT PRIMARY KEY,
  t tinyint, u bigint unsigned, s bigint, z int(8) zerofill, d decimal(65,30), y year,
  f float, g double, fd float(7,2), dd double(20,5), b1 bit(1), b9 bit(9), b64 bit(64), bo bool
) ENGINE=InnoDB AUTO_INCREMENT=77 DEFAULT CHARSET=utf8mb4;
INSERT INTO numbers VALUES
 (0, -128, 18446744073709551615, -9223372036854775808, 42, -99999999999999999999999999999999999.999999999999999999999999999999, 0, -0e0, -0e0, 1.1, 1.1, 0, 0, 0, true),
 (1, 127, 0, 9223372036854775807, 0, 0.000000000000000000000000000001, 1901, 1.1, 1.1, -99999.99, 123456789012345.12345, 1, 511, 18446744073709551615, false),
 (2, 0, 1, 1, 1, 1, 2155, 3.40282e38, 1.7976931348623157e308, 0, 0, 1, 256, 9223372036854775808, 2),
 (3, 0, 1, 1, 1, 1, 2026, 1.17549e-38, 2.2250738585072014e-308, 0, 0, 1, 256, 1, 2),
 (4, 0, 1, 1, 1, 1, 2026, 16777216, 123456789012345678, 0, 0, 1, 256, 1, 2),
 (5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (-7, 0, 1, 1, 1, 1, 2026, 0.1, 0.1, 0, 0, 1, 256, 1, 2);

CREATE TABLE moments (
  id int NOT NULL PRIMARY KEY, d date, dt datetime, dt6 datetime(6), t time, t3 time(3),
  ts timestamp NULL, ts6 timestamp(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6)
) ENGINE=InnoDB;
SET TIME_ZONE='+00:00';
INSERT INTO moments VALUES
 (1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '-838:59:59', '838:59:59', '0000-00-00 00:00:00', '1970-01-01 00:00:01.000001'),
 (2, '2024-02-31', '2023-04-31 10:00:00', '1000-01-01 00:00:00.000001', '00:00:00', '-00:00:00.001', '2038-01-19 03:14:07', '2026-03-29 01:30:00'),
 (3, '9999-12-31', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999999', NULL, NULL, NULL, '2026-10-25 01:30:00'),
 (4, '2024-00-15', '2024-12-00 00:00:00', NULL, '10:00', '10:00:00.5', '2026-10-25 00:30:00', '2026-10-25 00:30:00');

CREATE TABLE texts (
  id int NOT NULL PRIMARY KEY,
  u4 varchar(50) CHARACTER SET utf8mb4, u3 varchar(50) CHARACTER SET utf8mb3, l1 varchar(50) CHARACTER SET latin1,
  lt longtext CHARACTER SET utf8mb4, u16 varchar(50) CHARACTER SET utf16, gb varchar(50) CHARACTER SET gbk,
  sj varchar(50) CHARACTER SET sjis, asc1 varchar(50) CHARACTER SET ascii, k8 varchar(50) CHARACTER SET koi8r,
  c char(10) CHARACTER SET utf8mb4, j json, cs varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO texts VALUES
 (1, 'plain', 'plain', 'plain', 'plain', 'plain', 'plain', 'plain', 'plain', 'plain', 'plain', '{"a":1}', 'x'),
 (2, 'é😀漢', 'é漢', _latin1 0xC3A9, 'quote '' " \\ \n \r \Z \t % _ `', _utf16 0xD83DDE00, _gbk 0xB0A1, _sjis 0x955C, '', _koi8r 0xC1, ' a ', '{"é": "\\u0000 \\n 😀", "b": [1.0, 1e3, null, true, -0]}', 'é'),
 (3, _utf8mb4 0x610062, _utf8mb3 0x00, _latin1 0x00, '', '', '', '', '', '', '', '[]', ''),
 (4, '--; DROP TABLE x; /*', '#', '\\! id', 'DELIMITER ;;\nsource /etc/passwd\n', '\\', _gbk 0x815C, _sjis 0x835C, '~', '~', 'x', '"\\\\"', '\\'),
 (5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (6, 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', ' ', ' ', ' ', ' ', ' ', '   ', '1', repeat('é', 3));

CREATE TABLE bytes (
  id int NOT NULL PRIMARY KEY, b binary(4), vb varchar(50) CHARACTER SET binary, bl longblob, g geometry, p point SRID 4326,
  e enum('a','','ü','it''s') CHARACTER SET utf8mb4, e2 enum('x','y') CHARACTER SET latin1, s set('a','b','c')
) ENGINE=InnoDB;
INSERT INTO bytes VALUES
 (1, 'a', '', '', ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 0))', 0), ST_GeomFromText('POINT(1 2)', 4326), 'a', 'x', 'a,c'),
 (2, 0x00FF0000, 0x00FF27225C0A0D1A, 0xDEADBEEF, NULL, NULL, '', 'y', ''),
 (3, NULL, NULL, NULL, NULL, NULL, 0, 0, 7),
 (4, NULL, NULL, NULL, NULL, NULL, 'it''s', NULL, NULL),
 (5, NULL, NULL, NULL, NULL, NULL, 'ü', NULL, NULL);
CREATE TABLE only_mysql (id int NOT NULL PRIMARY KEY, v vector(3), g varchar(20) CHARACTER SET gb18030) ENGINE=InnoDB;
INSERT INTO only_mysql VALUES (1, TO_VECTOR('[1,2.5,-3]'), '漢'), (2, NULL, '\\');

CREATE TABLE computed (
  a int NOT NULL PRIMARY KEY, v int GENERATED ALWAYS AS (a * 2) VIRTUAL, s int GENERATED ALWAYS AS (a * 3) STORED,
  hidden int DEFAULT 5 INVISIBLE, nowish datetime DEFAULT (current_timestamp() - interval 1 day), u varchar(36) DEFAULT (uuid()),
  j json DEFAULT (json_array()), KEY (s), KEY down_first (hidden DESC), KEY unseen (nowish) INVISIBLE, KEY functional ((a + hidden)),
  CONSTRAINT positive CHECK (a > 0), CONSTRAINT lax CHECK (hidden < 3) /*!80016 NOT ENFORCED */
) ENGINE=InnoDB;
INSERT INTO computed (a, hidden, nowish, u, j) VALUES (1, 6, '2020-01-01', 'x', '{"tags": [3, 1]}'), (2, 7, NULL, 'y', '{}');

CREATE TABLE tagged (id int NOT NULL PRIMARY KEY, j json, KEY multi ((CAST(j->'$.tags' AS unsigned ARRAY)))) ENGINE=InnoDB;
INSERT INTO tagged VALUES (1, '{"tags": [3, 1]}'), (2, '{}');

CREATE TABLE keyless (a int, b varchar(20)) ENGINE=InnoDB;
INSERT INTO keyless VALUES (2, 'x'), (1, 'x'), (1, 'x'), (NULL, NULL), (10, NULL);
SET SESSION sql_generate_invisible_primary_key=ON;
CREATE TABLE hidden_key (a int, b varchar(20)) ENGINE=InnoDB;
SET SESSION sql_generate_invisible_primary_key=OFF;
INSERT INTO hidden_key (a, b) VALUES (2, 'x'), (1, 'x');

CREATE TABLE string_keys (
  k varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci NOT NULL, n int NOT NULL, l varchar(9) CHARACTER SET latin1 NOT NULL,
  v int, PRIMARY KEY (k, l, n)
) ENGINE=InnoDB;
INSERT INTO string_keys VALUES ('ß', 1, _latin1 0xE9, 1), ('a''\\\n', 2, '', 2), ('Z', 3, 'x', 3), ('é', 4, _latin1 0xC3A9, 4), ('', 5, '', 5), ('z', -6, 'x', 6);
CREATE TABLE prefix_key (t text CHARACTER SET utf8mb4 NOT NULL, PRIMARY KEY (t(20))) ENGINE=InnoDB;
INSERT INTO prefix_key VALUES ('b'), ('a');
CREATE TABLE enum_key (e enum('z','a','m') NOT NULL PRIMARY KEY, v int) ENGINE=InnoDB;
INSERT INTO enum_key VALUES ('a', 1), ('z', 2), ('m', 3);
CREATE TABLE bin_key (b varbinary(9) NOT NULL, f double NOT NULL, d datetime(3) NOT NULL, PRIMARY KEY (d, b), UNIQUE KEY (f)) ENGINE=InnoDB;
INSERT INTO bin_key VALUES (0x00, 1.5, '2020-01-01'), (0xFF, -0.25, '2020-01-01'), ('', 3, '2019-01-01 00:00:00.125');

CREATE TABLE parent (id int NOT NULL PRIMARY KEY, child int, KEY (child), CONSTRAINT up FOREIGN KEY (child) REFERENCES child (id)) ENGINE=InnoDB;
CREATE TABLE child (id int NOT NULL PRIMARY KEY, parent int, KEY (parent), CONSTRAINT down FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE) ENGINE=InnoDB;
INSERT INTO parent VALUES (1, 1), (2, NULL);
INSERT INTO child VALUES (1, 1), (2, 2);

CREATE TABLE parts (id int NOT NULL, y int NOT NULL, v varchar(9), PRIMARY KEY (id, y)) ENGINE=InnoDB
  PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO parts VALUES (1, 1999, 'a'), (1, 2001, 'b'), (2, 1998, 'c');

CREATE TABLE old_engine (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, t text, FULLTEXT KEY (t)) ENGINE=MyISAM AUTO_INCREMENT=9;
INSERT INTO old_engine VALUES (1, 'one'), (2, 'two');
CREATE TABLE mem (id int NOT NULL PRIMARY KEY) ENGINE=MEMORY;
INSERT INTO mem VALUES (6);
CREATE TABLE archived (id int NOT NULL, t text) ENGINE=ARCHIVE;
INSERT INTO archived VALUES (1, 'old');
CREATE TABLE merged (id int NOT NULL AUTO_INCREMENT, t text, KEY (id)) ENGINE=MRG_MyISAM UNION=(old_engine);
CREATE TABLE blank (id int NOT NULL PRIMARY KEY) ENGINE=InnoDB;

CREATE TABLE `we``ird /\\!;
name` (`a``b` int NOT NULL PRIMARY KEY, `AUTO_INCREMENT=5` int COMMENT 'AUTO_INCREMENT=6', `\\! id
x` int, CHECK (`a``b` > 0)) ENGINE=InnoDB COMMENT='it''s ; \\! `';
INSERT INTO `we``ird /\\!;
name` VALUES (1, 2, 3);

SET SQL_MODE='';
CREATE OR REPLACE VIEW z_base AS SELECT a, v FROM computed;
CREATE OR REPLACE VIEW a_top AS SELECT z_base.a AS a, 'DEFINER=`x`@`y`' AS `z_base` FROM z_base JOIN numbers ON numbers.id = z_base.a;
DELIMITER ;;
CREATE FUNCTION twice(n int) RETURNS int DETERMINISTIC COMMENT 'it''s; fine' BEGIN /* ;; $$ */ DECLARE r int; SET r = n * 2; RETURN r; END;;
CREATE PROCEDURE `odd ``name`(INOUT x int) SQL SECURITY INVOKER
BEGIN
  -- a comment; with a semicolon
  DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN SET x = -1; END;
  IF x > 1 THEN SET x = CASE x WHEN 2 THEN 'é' ELSE 4 END; END IF;
END;;
SET SQL_MODE='ANSI_QUOTES,PIPES_AS_CONCAT';;
CREATE FUNCTION ansi() RETURNS varchar(20) READS SQL DATA RETURN 'a' || (SELECT max("a") FROM "computed");;
SET SQL_MODE='NO_BACKSLASH_ESCAPES';;
CREATE PROCEDURE backslash() SELECT '\';;
SET SQL_MODE='';;
CREATE VIEW with_function AS SELECT twice(a) AS t FROM a_top;;
CREATE TRIGGER t_second BEFORE INSERT ON computed FOR EACH ROW BEGIN SET NEW.hidden = NEW.hidden + 1; END;;
CREATE TRIGGER a_third BEFORE INSERT ON computed FOR EACH ROW FOLLOWS t_second SET NEW.hidden = NEW.hidden * 2;;
CREATE TRIGGER zoo.after_parent AFTER DELETE ON `zoo` . parent FOR EACH ROW BEGIN INSERT INTO blank VALUES (OLD.id); END;;
SET TIME_ZONE='+02:00';;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00' ON COMPLETION PRESERVE ENABLE COMMENT 'it''s' DO BEGIN DELETE FROM blank; END;;
CREATE EVENT sleeping ON SCHEDULE EVERY 1 HOUR STARTS '2030-01-01 03:00:00' DISABLE DO DELETE FROM blank;;
DELIMITER ;
