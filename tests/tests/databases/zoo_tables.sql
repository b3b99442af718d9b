SET NAMES utf8mb4;
SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';
SET FOREIGN_KEY_CHECKS=0;

CREATE TABLE keyless (a int, b varchar(20)) ENGINE=InnoDB;
INSERT INTO keyless VALUES (2, 'x'), (1, 'x'), (1, 'x'), (NULL, NULL), (10, NULL);
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
CREATE TABLE merged (id int NOT NULL AUTO_INCREMENT, t text, KEY (id)) ENGINE=MRG_MyISAM UNION=(old_engine);
CREATE TABLE `we``ird /\\!;
name` (`a``b` int NOT NULL PRIMARY KEY, `AUTO_INCREMENT=5` int COMMENT 'AUTO_INCREMENT=6', `\\! id
x` int, CHECK (`a``b` > 0)) ENGINE=InnoDB COMMENT='it''s ; \\! `';
INSERT INTO `we``ird /\\!;
name` VALUES (1, 2, 3);
CREATE TABLE blank (id int NOT NULL PRIMARY KEY) ENGINE=InnoDB;
