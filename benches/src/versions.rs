//! Two versions of one file, of the kinds that hosting accounts hold. Everything depends on the seed alone.

use crate::random::Random;
use std::io::Write as _;

/// An older and a newer version.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_structs)]
pub struct Versions {
    /// What the receiver has.
    pub old: Vec<u8>,
    /// What the sender has.
    pub new: Vec<u8>,
}

impl Versions {
    /// The same content twice.
    #[must_use]
    pub fn identical(len: usize) -> Self {
        let old = Random::new(11).bytes(len);
        Self { new: old.clone(), old }
    }

    /// A thousand bytes inserted at the front.
    #[must_use]
    pub fn insert_front(len: usize) -> Self {
        let old = Random::new(12).bytes(len);
        Self { new: [Random::new(13).bytes(1000), old[..len - 1000].to_vec()].concat(), old }
    }

    /// One byte in a hundred rewritten, in runs of 512 bytes at random places.
    #[must_use]
    pub fn scattered_edits(len: usize) -> Self {
        let old = Random::new(14).bytes(len);
        let (mut new, mut random) = (old.clone(), Random::new(15));
        for _ in 0..len / 100 / 512 {
            let at = random.below(len - 512);
            let bytes = random.bytes(512);
            new[at..at + 512].copy_from_slice(&bytes);
        }
        Self { old, new }
    }

    /// Nothing in common, and no structure.
    #[must_use]
    pub fn foreign(len: usize) -> Self {
        Self { old: Random::new(16).bytes(len), new: Random::new(17).bytes(len) }
    }

    /// Both versions of an SQL dump, compressed with zstd: nothing in common but what the formats of zstd and SQL share.
    ///
    /// # Panics
    /// When zstd fails.
    #[must_use]
    pub fn packed(len: usize) -> Self {
        let plain = Self::sql_dump(len * 6);
        let pack = |data: &[u8]| {
            let mut packed = zstd::bulk::compress(data, 3).unwrap();
            packed.truncate(len);
            packed
        };
        Self { old: pack(&plain.old), new: pack(&plain.new) }
    }

    /// Zeros, and zeros again.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        Self { old: vec![0; len], new: vec![0; len] }
    }

    /// Zeros against 0x80: each has one block, repeated.
    #[must_use]
    pub fn constant(len: usize) -> Self {
        Self { old: vec![0; len], new: vec![0x80; len] }
    }

    /// A period of seven bytes, shifted by one.
    #[must_use]
    pub fn periodic(len: usize) -> Self {
        let at = |from: usize| (from..from + len).map(|i| b"seven--"[i % 7]).collect();
        Self { old: at(0), new: at(1) }
    }

    /// Crafted: nearly every place of the new version has the weak sum of a block, of another one in each region, and no block
    /// stands there. A region has two bytes in turn, so that sliding gives two weak sums again and again; +1, -2, +1 on
    /// neighbours, in each quarter of a block, keeps them and changes the content.
    #[must_use]
    pub fn colliding(len: usize, block_len: usize) -> Self {
        let (mut old, mut new) = (Vec::new(), Vec::with_capacity(len));
        for pair in 0.. {
            if new.len() >= len {
                break;
            }
            let turn =
                |len: usize| (0..len).map(move |at| 50 + (if at % 2 == 0 { pair % 128 } else { pair / 128 }) as u8);
            let region: Vec<u8> = turn(block_len + 1).collect();
            old.extend_from_slice(&region[..block_len]);
            old.extend_from_slice(&region[1..]);
            let start = new.len();
            new.extend(turn(block_len + 2048));
            for at in (start..new.len() - 2).step_by(block_len / 4) {
                (new[at], new[at + 1], new[at + 2]) = (new[at] + 1, new[at + 1] - 2, new[at + 2] + 1);
            }
        }
        new.truncate(len);
        Self { old, new }
    }

    /// A dump of one table, a row a line: of a thousand rows, two are edited, one is inserted and one removed, some of them close
    /// together as the work of one day is.
    ///
    /// # Panics
    /// Never: writing into memory does not fail.
    #[must_use]
    pub fn sql_dump(len: usize) -> Self {
        let (mut random, mut day) = (Random::new(21), Random::new(22));
        let (mut old, mut new) = (Vec::with_capacity(len + 1024), Vec::with_capacity(len + 1024));
        let mut id = 0;
        while old.len() < len {
            // A page of rows is either quiet or worked on.
            let is_busy = day.below(50) == 0;
            for _ in 0..50 {
                id += 1;
                let row = row(id, &mut random);
                old.extend_from_slice(&row);
                match if is_busy { day.below(20) } else { 20 } {
                    0 | 1 => {
                        let at = day.below(row.len());
                        new.extend_from_slice(&row[..at]);
                        write!(new, "{}", day.below(100_000)).unwrap();
                        new.extend_from_slice(&row[(at + 4).min(row.len())..]);
                    }
                    2 => {
                        new.extend_from_slice(&row);
                        new.extend_from_slice(&self::row(id + 1_000_000, &mut day));
                    }
                    3 => {}
                    _ => new.extend_from_slice(&row),
                }
            }
        }
        Self { old, new }
    }

    /// A table file of 16 KiB pages, of which one in a hundred changed: its header and sum, and some of its rows.
    #[must_use]
    pub fn table_pages(len: usize) -> Self {
        const PAGE: usize = 16 * 1024;
        let (mut random, mut day) = (Random::new(31), Random::new(32));
        let (mut old, mut new) = (Vec::with_capacity(len + PAGE), Vec::with_capacity(len + PAGE));
        while old.len() < len {
            let start = old.len();
            old.extend_from_slice(&random.bytes(38));
            while old.len() < start + PAGE * 3 / 4 {
                old.extend_from_slice(&row(random.below(1 << 30), &mut random));
            }
            old.resize(start + PAGE - 8, 0);
            old.extend_from_slice(&random.bytes(8));
            new.extend_from_slice(&old[start..]);
            if day.below(100) == 0 {
                let page = &mut new[start..];
                page[..38].copy_from_slice(&day.bytes(38));
                page[PAGE - 8..].copy_from_slice(&day.bytes(8));
                for _ in 0..day.between(1, 3) {
                    let at = 38 + day.below(PAGE / 2);
                    page[at..at + 60].copy_from_slice(&day.bytes(60));
                }
            }
        }
        Self { old, new }
    }

    /// A database of 4 KiB pages with two indexes: a change of a row touches its own page and two pages anywhere.
    #[must_use]
    pub fn indexed_pages(len: usize) -> Self {
        const PAGE: usize = 4096;
        let (mut random, mut day) = (Random::new(41), Random::new(42));
        let mut old = Vec::with_capacity(len + PAGE);
        while old.len() < len {
            let start = old.len();
            while old.len() < start + PAGE - 300 {
                old.extend_from_slice(&row(random.below(1 << 30), &mut random));
            }
            old.resize(start + PAGE, 0);
        }
        let mut new = old.clone();
        let pages = new.len() / PAGE;
        for _ in 0..pages / 30 {
            for (len, free) in [(80, 300), (24, 300), (24, 300)] {
                let page = day.below(pages) * PAGE;
                // A cell moves the ones behind it and the count of the header.
                let at = page + 8 + day.below(PAGE - free - 8);
                new.copy_within(at..page + PAGE - free, at + len.min(free));
                let bytes = day.bytes(len);
                new[at..at + len].copy_from_slice(&bytes);
                new[page] = new[page].wrapping_add(1);
            }
        }
        Self { old, new }
    }

    /// An archive of a program's source: in the new version half of the files have another version in their head, and some of them
    /// changed lines.
    ///
    /// # Panics
    /// Never: writing into memory does not fail.
    #[must_use]
    pub fn source_archive(len: usize) -> Self {
        let (mut random, mut update) = (Random::new(51), Random::new(52));
        let (mut old, mut new) = (Vec::with_capacity(len), Vec::with_capacity(len));
        let mut number = 0;
        while old.len() < len {
            number += 1;
            let lines: Vec<Vec<u8>> = (0..random.between(20, 400)).map(|_| code_line(&mut random)).collect();
            let changes = update.below(100);
            let mut changed = Vec::new();
            for line in &lines {
                match if changes < 12 { update.below(40) } else { 40 } {
                    0 => changed.extend_from_slice(&code_line(&mut update)),
                    1 => {
                        changed.extend_from_slice(line);
                        changed.extend_from_slice(&code_line(&mut update));
                    }
                    2 => {}
                    _ => changed.extend_from_slice(line),
                }
            }
            let version = if changes < 20 { "6.5.3" } else { "6.5.2" };
            member(&mut old, number, 1_700_000_000, "6.5.2", &lines.concat());
            member(&mut new, number, if changes < 20 { 1_701_000_000 } else { 1_700_000_000 }, version, &changed);
        }
        Self { old, new }
    }

    /// A picture whose description at the front was rewritten, and became longer.
    #[must_use]
    pub fn picture(len: usize) -> Self {
        let image = Random::new(61).bytes(len);
        let head = |seed: u64, len: usize| {
            let mut random = Random::new(seed);
            (0..len).map(|_| *random.pick(b" abcdefghijklmnopqrstuvwxyz<>/=:")).collect::<Vec<u8>>()
        };
        Self { old: [head(62, 12_000), image.clone()].concat(), new: [head(63, 14_500), image].concat() }
    }
}

const WORDS: [&str; 24] = [
    "the", "server", "of", "page", "and", "visitor", "to", "article", "photo", "in", "garden", "is", "winter", "for",
    "house", "that", "recipe", "on", "music", "with", "journey", "as", "market", "river",
];

fn text(random: &mut Random, words: usize) -> String {
    (0..words).map(|_| *random.pick(&WORDS)).collect::<Vec<_>>().join(" ")
}

/// One row as `mysqldump` writes it.
fn row(id: usize, random: &mut Random) -> Vec<u8> {
    let (date, words) = (random.below(28), random.between(5, 60));
    format!(
        "INSERT INTO `wp_posts` VALUES ({id},{},'2024-{:02}-{:02} 10:{:02}:{:02}','{}','{}',{:016x});\n",
        random.below(40),
        1 + random.below(12),
        1 + date,
        random.below(60),
        random.below(60),
        text(random, 4),
        text(random, words),
        random.draw(),
    )
    .into_bytes()
}

fn code_line(random: &mut Random) -> Vec<u8> {
    let indent = 4 * random.below(4);
    format!(
        "{:indent$}${}_{} = {}( '{}', ${} ); // {:x}\n",
        "",
        random.pick(&WORDS),
        random.pick(&WORDS),
        random.pick(&["get_option", "apply_filters", "esc_html", "sprintf", "add_action"]),
        random.pick(&WORDS),
        random.pick(&WORDS),
        random.below(1 << 20),
    )
    .into_bytes()
}

/// One member of an archive: a head of 512 bytes, the content, filled up.
fn member(out: &mut Vec<u8>, number: usize, time: u64, version: &str, content: &[u8]) {
    let start = out.len();
    write!(out, "wordpress/wp-includes/file-{number:05}.php\0 0000644 {:011o} {time:011o}", content.len() + 40)
        .unwrap();
    out.resize(start + 512, 0);
    write!(out, "<?php\n/** @version {version} **/\n").unwrap();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
}
