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

SET SESSION sql_generate_invisible_primary_key=ON;
CREATE TABLE hidden_key (a int, b varchar(20)) ENGINE=InnoDB;
SET SESSION sql_generate_invisible_primary_key=OFF;
INSERT INTO hidden_key (a, b) VALUES (2, 'x'), (1, 'x');

CREATE TABLE string_keys (
  k varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci NOT NULL, n int NOT NULL, l varchar(9) CHARACTER SET latin1 NOT NULL,
  v int, PRIMARY KEY (k, l, n)
) ENGINE=InnoDB;
INSERT INTO string_keys VALUES ('ß', 1, _latin1 0xE9, 1), ('a''\\\n', 2, '', 2), ('Z', 3, 'x', 3), ('é', 4, _latin1 0xC3A9, 4), ('', 5, '', 5), ('z', -6, 'x', 6);

CREATE TABLE archived (id int NOT NULL, t text) ENGINE=ARCHIVE;
INSERT INTO archived VALUES (1, 'old');
