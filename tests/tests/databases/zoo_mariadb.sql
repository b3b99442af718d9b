CREATE TABLE numbers (
  id int NOT NULL AUTO_INCREMENT PRIMARY KEY,
  t tinyint, u bigint unsigned, s bigint, z int(8) zerofill, d decimal(65,30), y year,
  f float, g double, fd float(7,2), dd double(20,5), b1 bit(1), b9 bit(9), b64 bit(64), bo bool
) ENGINE=InnoDB AUTO_INCREMENT=77 DEFAULT CHARSET=utf8mb4;
INSERT INTO numbers VALUES
 (0, -128, 18446744073709551615, -9223372036854775808, 42, -99999999999999999999999999999999999.999999999999999999999999999999, 0, -0e0, -0e0, 1.1, 1.1, 0, 0, 0, true),
 (1, 127, 0, 9223372036854775807, 0, 0.000000000000000000000000000001, 1901, 1.1, 1.1, -99999.99, 123456789012345.12345, 1, 511, 18446744073709551615, false),
 (2, 0, 1, 1, 1, 1, 2155, 3.40282e38, 1.7976931348623157e308, 0, 0, 1, 256, 9223372036854775808, 2),
 (3, 0, 1, 1, 1, 1, 2026, 1.17549e-38, 5e-324, 0, 0, 1, 256, 1, 2),
 (4, 0, 1, 1, 1, 1, 2026, 16777216, 123456789012345678, 0, 0, 1, 256, 1, 2),
 (5, 0, 1, 1, 1, 1, 2026, 0.1, 2.2250738585072014e-308, 0, 0, 1, 256, 1, 2),
 (6, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (-7, 0, 1, 1, 1, 1, 2026, 1e-45, 0.1, 0, 0, 1, 256, 1, 2);

CREATE TABLE moments (
  id int NOT NULL PRIMARY KEY, d date, dt datetime, dt6 datetime(6), t time, t3 time(3),
  ts timestamp NULL, ts6 timestamp(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6)
) ENGINE=InnoDB;
SET TIME_ZONE='+00:00';
INSERT INTO moments VALUES
 (1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '-838:59:59', '838:59:59.999', '0000-00-00 00:00:00', '1970-01-01 00:00:01.000001'),
 (2, '2024-02-31', '2023-04-31 10:00:00', '1000-01-01 00:00:00.000001', '00:00:00', '-00:00:00.001', '2038-01-19 03:14:07', '2026-03-29 01:30:00'),
 (3, '9999-12-31', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999999', NULL, NULL, NULL, '2026-10-25 01:30:00'),
 (4, '2024-00-15', '2024-12-00 00:00:00', NULL, '10:00', '10:00:00.5', '2026-10-25 00:30:00', '2026-10-25 00:30:00');

CREATE TABLE texts (
  id int NOT NULL PRIMARY KEY,
  u4 varchar(50) CHARACTER SET utf8mb4, u3 varchar(50) CHARACTER SET utf8mb3, l1 varchar(50) CHARACTER SET latin1,
  lt longtext CHARACTER SET utf8mb4, u16 varchar(50) CHARACTER SET utf16, gb varchar(50) CHARACTER SET gbk,
  sj varchar(50) CHARACTER SET sjis, asc1 varchar(50) CHARACTER SET ascii, k8 varchar(50) CHARACTER SET koi8r,
  c char(10) CHARACTER SET utf8mb4, j json, ja longtext CHARACTER SET latin1
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO texts VALUES
 (1, 'plain', 'plain', 'plain', 'plain', 'plain', 'plain', 'plain', 'plain', 'plain', 'plain', '{"a":1}', 'x'),
 (2, 'é😀漢', 'é漢', _latin1 0xC3A9, 'quote '' " \\ \n \r \Z \t % _ `', _utf16 0xD83DDE00, _gbk 0xB0A1, _sjis 0x955C, '', _koi8r 0xC1, ' a ', '{"é": "\\u0000 \\n 😀"}', _latin1 0xE9),
 (3, _utf8mb4 0x610062, _utf8mb3 0x00, _latin1 0x00, '', '', '', '', '', '', '', '[]', ''),
 (4, '--; DROP TABLE x; /*', '#', '\\! id', 'DELIMITER ;;\nsource /etc/passwd\n', '\\', _gbk 0x815C, _sjis 0x835C, '~', '~', 'x', '"\\\\"', '\\'),
 (5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (6, 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', ' ', ' ', ' ', ' ', ' ', '   ', '1', repeat('é', 3));

CREATE TABLE bytes (
  id int NOT NULL PRIMARY KEY, b binary(4), vb varchar(50) CHARACTER SET binary, bl longblob, g geometry, p point,
  e enum('a','','ü','it''s') CHARACTER SET utf8mb4, e2 enum('x','y') CHARACTER SET latin1, s set('a','b','c'), un uuid, i4 inet4, i6 inet6
) ENGINE=InnoDB;
INSERT INTO bytes VALUES
 (1, 'a', '', '', ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 0))', 4326), ST_GeomFromText('POINT(1 2)'), 'a', 'x', 'a,c', '123e4567-e89b-12d3-a456-426655440000', '1.2.3.4', '::1'),
 (2, 0x00FF0000, 0x00FF27225C0A0D1A, 0xDEADBEEF, NULL, NULL, '', 'y', '', NULL, NULL, NULL),
 (3, NULL, NULL, NULL, NULL, NULL, 0, 0, 7, NULL, NULL, NULL),
 (4, NULL, NULL, NULL, NULL, NULL, 'it''s', NULL, NULL, NULL, NULL, NULL),
 (5, NULL, NULL, NULL, NULL, NULL, 'ü', NULL, NULL, NULL, NULL, NULL);

CREATE TABLE computed (
  a int NOT NULL PRIMARY KEY, v int GENERATED ALWAYS AS (a * 2) VIRTUAL, s int GENERATED ALWAYS AS (a * 3) STORED,
  hidden int INVISIBLE DEFAULT 5, nowish datetime DEFAULT (current_timestamp() - interval 1 day), KEY (s)
) ENGINE=InnoDB;
INSERT INTO computed (a, hidden, nowish) VALUES (1, 6, '2020-01-01'), (2, 7, NULL);

CREATE TABLE half_unique (a int, b int NOT NULL, c int NOT NULL, UNIQUE KEY ab (a, b), UNIQUE KEY cb (c, b)) ENGINE=InnoDB;
INSERT INTO half_unique VALUES (NULL, 1, 2), (NULL, 1, 1), (3, 2, 1);

CREATE TABLE string_keys (
  k varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL, n int NOT NULL, l varchar(9) CHARACTER SET latin1 NOT NULL,
  v int, PRIMARY KEY (k, l, n)
) ENGINE=InnoDB;
INSERT INTO string_keys VALUES ('ß', 1, _latin1 0xE9, 1), ('a''\\\n', 2, '', 2), ('Z', 3, 'x', 3), ('é', 4, _latin1 0xC3A9, 4), ('', 5, '', 5), ('z', -6, 'x', 6);

CREATE TABLE aria (id int NOT NULL PRIMARY KEY) ENGINE=Aria;
INSERT INTO aria VALUES (5);
CREATE TABLE empty (id int NOT NULL PRIMARY KEY) ENGINE=InnoDB;

CREATE TABLE versioned (id int NOT NULL PRIMARY KEY, v int) ENGINE=InnoDB WITH SYSTEM VERSIONING;
INSERT INTO versioned VALUES (1, 1);
UPDATE versioned SET v = 2;
CREATE TABLE versioned_columns (id int NOT NULL PRIMARY KEY,
  s timestamp(6) GENERATED ALWAYS AS ROW START, e timestamp(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) ENGINE=InnoDB WITH SYSTEM VERSIONING;
INSERT INTO versioned_columns (id) VALUES (1);

CREATE SEQUENCE aseq START WITH 5 INCREMENT BY 2;
SELECT NEXTVAL(aseq) INTO @ignored;
CREATE SEQUENCE down_seq START WITH -1 INCREMENT BY -1 MINVALUE -10 MAXVALUE -1 CYCLE NOCACHE;
DO SETVAL(down_seq, -4);
CREATE TABLE uses_seq (id bigint NOT NULL DEFAULT NEXTVAL(aseq) PRIMARY KEY) ENGINE=InnoDB;
INSERT INTO uses_seq VALUES (1);

DELIMITER ;;
SET SQL_MODE='ORACLE';;
CREATE PACKAGE pack AS FUNCTION f RETURN int; END;;
CREATE PACKAGE BODY pack AS FUNCTION f RETURN int AS BEGIN RETURN 5; END; END;;
SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';;
-- MySQL has this word for itself.
CREATE TRIGGER uses_word BEFORE INSERT ON parent FOR EACH ROW DELETE FROM empty WHERE id = NEW.id;;
DELIMITER ;
