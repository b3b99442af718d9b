//! A database like that of a busy blog, and what a day does to it, as SQL.
//!
//! The data set of the measurements that the dump format rests on: four tables, 40,000 posts and 300,000 pieces of metadata, some
//! 111 MB as a dump; a day edits 3 posts, adds 20, adds 200 and deletes 51 pieces of metadata and changes 4 options. Everything
//! depends on the seed alone.

use crate::{hosting::WORDS, random::Random};
use std::fmt::Write as _;

/// How large the database is.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_structs)]
pub struct Blog {
    /// Posts; everything else grows with them.
    pub posts: usize,
}

const META_PER_POST: f64 = 7.5;
const ROWS_PER_STATEMENT: usize = 500;

impl Default for Blog {
    fn default() -> Self {
        Self { posts: 40_000 }
    }
}

impl Blog {
    /// The whole database, in statements of a megabyte or so.
    #[must_use]
    pub fn statements(self) -> Vec<String> {
        let mut random = Random::new(1);
        let mut all = vec![TABLES.to_owned()];
        let mut insert = |table: &str, count: usize, row: &mut dyn FnMut(usize) -> String| {
            for first in (1..=count).step_by(ROWS_PER_STATEMENT) {
                let rows: Vec<_> = (first..=count.min(first + ROWS_PER_STATEMENT - 1)).map(&mut *row).collect();
                all.push(format!("INSERT INTO {table} VALUES {};", rows.join(",")));
            }
        };
        insert("wp_posts", self.posts, &mut |id| post(&mut random, id));
        insert("wp_postmeta", self.meta(), &mut |id| self.metadata(&mut random, id));
        insert("wp_comments", self.posts / 4, &mut |id| {
            format!("({id},{},'{}')", 1 + random.below(self.posts), words(&mut random, 20, 60))
        });
        insert("wp_options", 400, &mut |id| format!("({id},'option_{id}','{}','yes')", words(&mut random, 3, 80)));
        all
    }

    /// What one day does.
    #[must_use]
    pub fn day(self, seed: u64) -> String {
        let mut random = Random::new(1000 + seed);
        let mut sql = String::new();
        for _ in 0..3 {
            let (id, more) = (1 + random.below(self.posts), words(&mut random, 3, 9));
            writeln!(sql, "UPDATE wp_posts SET post_content = concat(post_content, ' {more}') WHERE ID = {id};")
                .unwrap();
        }
        for _ in 0..20 {
            writeln!(sql, "INSERT INTO wp_posts VALUES {};", post(&mut random, 0)).unwrap();
        }
        for _ in 0..200 {
            writeln!(sql, "INSERT INTO wp_postmeta VALUES {};", self.metadata(&mut random, 0)).unwrap();
        }
        // Somebody deletes some posts, with their metadata side by side, and some here and there.
        let first = 1 + random.below(self.meta() - 40);
        writeln!(sql, "DELETE FROM wp_postmeta WHERE meta_id BETWEEN {first} AND {};", first + 39).unwrap();
        for _ in 0..11 {
            writeln!(sql, "DELETE FROM wp_postmeta WHERE meta_id = {};", 1 + random.below(self.meta())).unwrap();
        }
        for _ in 0..4 {
            let (id, value) = (1 + random.below(400), words(&mut random, 3, 80));
            writeln!(sql, "UPDATE wp_options SET option_value = '{value}' WHERE option_id = {id};").unwrap();
        }
        sql
    }

    fn meta(self) -> usize {
        (self.posts as f64 * META_PER_POST) as usize
    }

    fn metadata(self, random: &mut Random, id: usize) -> String {
        format!("({id},{},'_key_{}','{}')", 1 + random.below(self.posts), random.below(40), words(random, 4, 18))
    }
}

fn post(random: &mut Random, id: usize) -> String {
    let content = words(random, 150, 480);
    let (author, title) = (random.between(1, 9), words(random, 3, 9));
    let name = title.replace(' ', "-");
    format!(
        "({id},{author},'2026-01-01 10:00:00','{content}','{title}','publish','{name}','2026-02-01 11:00:00',\
         'https://blog.example.org/?p={id}')"
    )
}

fn words(random: &mut Random, low: usize, high: usize) -> String {
    let all: Vec<_> = WORDS.split_whitespace().collect();
    (0..random.between(low, high)).map(|_| *random.pick(&all)).collect::<Vec<_>>().join(" ")
}

const TABLES: &str = "
CREATE TABLE wp_posts (ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, post_author bigint unsigned NOT NULL,
    post_date datetime NOT NULL, post_content longtext NOT NULL, post_title text NOT NULL, post_status varchar(20) NOT NULL,
    post_name varchar(200) NOT NULL, post_modified datetime NOT NULL, guid varchar(255) NOT NULL,
    KEY post_name (post_name(191)), KEY post_author (post_author)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE wp_postmeta (meta_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, post_id bigint unsigned NOT NULL,
    meta_key varchar(255), meta_value longtext, KEY post_id (post_id), KEY meta_key (meta_key(191)))
    ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE wp_comments (comment_ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, comment_post_ID bigint unsigned NOT NULL,
    comment_content text NOT NULL, KEY comment_post_ID (comment_post_ID)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE wp_options (option_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, option_name varchar(191) NOT NULL,
    option_value longtext NOT NULL, autoload varchar(20) NOT NULL, UNIQUE KEY option_name (option_name))
    ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_large_as_it_says_and_always_the_same() {
        let blog = Blog { posts: 400 };
        let all = blog.statements();
        let bytes: usize = all.iter().map(String::len).sum();
        // 111 MB at 40,000 posts.
        assert!((900_000..1_300_000).contains(&bytes), "{bytes}");
        assert_eq!(all, blog.statements());
        assert_eq!(blog.day(1), blog.day(1));
        assert_ne!(blog.day(1), blog.day(2));
        assert_eq!(blog.day(1).matches("INSERT INTO wp_postmeta").count(), 200);
    }
}
