//! A tree like that of a server full of small WordPress sites, and what one night does to it.
//!
//! What matters for a backup is modelled: core files are the same in all sites of one version (three versions), plugins and
//! themes come from a shared catalogue; sizes of code are log-normal with a median of some 3.5 KiB; pictures come in series of
//! thumbnails and do not compress; Maildir messages; a log that is appended to; one SQL dump a site. Everything, times
//! included, depends on the seed alone. At 100,000 files it is some 2.3 GB.

use crate::random::Random;
use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use walkdir::WalkDir;

const T0: u64 = 1_700_000_000;
const NIGHT: u64 = T0 + 86_400;
pub(crate) const WORDS: &str = "the of and to in is for that on with as this by from post page user option value name array function \
    return if else foreach class public static private protected new null true false wp add_action add_filter \
    apply_filters get_option update_option esc_html esc_attr sprintf query sql meta key term taxonomy widget menu block \
    theme plugin admin ajax nonce cron cache width height color margin padding border display flex grid auto none inline \
    px em rem var let const document window addEventListener querySelector innerHTML style onclick data";
const CORE_DIRS: [&str; 14] = [
    "wp-admin/css",
    "wp-admin/js",
    "wp-admin/includes",
    "wp-admin/images",
    "wp-admin/network",
    "wp-includes/blocks/a",
    "wp-includes/blocks/b",
    "wp-includes/js/dist",
    "wp-includes/js/tinymce",
    "wp-includes/css",
    "wp-includes/rest-api/endpoints",
    "wp-includes/sodium/src",
    "wp-includes/ID3",
    "wp-includes/fonts",
];
const PLUGIN_DIRS: [&str; 6] = ["includes", "assets/js", "assets/css", "assets/img", "vendor/lib/src", "languages"];
const THEME_DIRS: [&str; 4] = ["inc", "templates", "assets", "parts"];

/// How large the tree is.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_structs)]
pub struct Shape {
    /// Sites.
    pub sites: usize,
    /// Files, all sites together.
    pub files: usize,
    /// MiB of a common site's SQL dump; sites have a fifth to twice of it.
    pub dump_mib: f64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { sites: 50, files: 100_000, dump_mib: 4.0 }
    }
}

/// What was written or changed.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct Count {
    /// Files written or rewritten.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files whose time alone changed.
    pub touched: u64,
    /// Files removed.
    pub removed: u64,
}

/// Writes the tree into `root`.
///
/// # Errors
/// When the disk fails.
pub fn build(root: &Path, shape: Shape) -> io::Result<Count> {
    let mut host = Host::new(root, Random::new(1));
    for number in 0..shape.sites {
        host.site(number, shape)?;
    }
    Ok(host.count)
}

/// Changes the tree as one night does: plugin updates in a fifth of the sites, a core update in a few, uploads, mail that comes
/// and goes, dumps that grow, logs that are appended to.
///
/// # Errors
/// When the disk fails.
pub fn evolve(root: &Path, seed: u64) -> io::Result<Count> {
    let mut host = Host::new(root, Random::new(seed));
    let mut sites: Vec<_> = fs::read_dir(root)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    sites.sort();
    for site in sites {
        host.night(&site, seed)?;
    }
    Ok(host.count)
}

struct Host {
    root: PathBuf,
    random: Random,
    pools: [Vec<u8>; 3],
    picture: Vec<u8>,
    words: Vec<&'static str>,
    count: Count,
}

impl Host {
    fn new(root: &Path, random: Random) -> Self {
        let words: Vec<_> = WORDS.split_whitespace().collect();
        let pools = [0, 1, 2].map(|kind| text(&mut Random::new(kind), &words, kind));
        Self {
            root: root.to_owned(),
            random,
            pools,
            picture: Random::of("picture").bytes(8 << 20),
            words,
            count: Count::default(),
        }
    }

    fn site(&mut self, number: usize, shape: Shape) -> io::Result<()> {
        let site = format!("site{number:02}");
        let public = format!("{site}/public_html");
        let per = shape.files / shape.sites;
        let share = |part: f64| (per as f64 * part) as usize;
        let mut left = per;
        let version = *self.random.pick(&["6.4", "6.5", "6.6"]);
        self.pack(&public, &format!("core-{version}"), share(0.36), &CORE_DIRS)?;
        let config = format!("<?php define('DB_NAME','{site}'); // {}\n{}", self.random.draw(), "x".repeat(2500));
        self.write(&format!("{public}/wp-config.php"), config.as_bytes(), None)?;
        left -= share(0.36) + 1;
        let mut plugins = share(0.26);
        while plugins > 20 {
            let plugin = self.random.below(40);
            let size = *Random::of(&format!("plugin size {plugin}")).pick(&[12, 25, 60, 120, 260]);
            let files = size.min(plugins);
            let key = format!("plugin-{plugin:02}-v{}", self.random.between(1, 2));
            self.pack(&format!("{public}/wp-content/plugins/plugin-{plugin:02}"), &key, files, &PLUGIN_DIRS)?;
            plugins -= files;
            left -= files;
        }
        let first = self.random.below(12);
        for theme in [first, (first + 5) % 12, (first + 9) % 12] {
            let base = format!("{public}/wp-content/themes/theme-{theme:02}");
            self.pack(&base, &format!("theme-{theme:02}"), share(0.03), &THEME_DIRS)?;
            left -= share(0.03);
        }
        for message in 0..share(0.07) {
            self.message(&site, &format!("{}.M{message}P{number}.host", T0 as usize + message), None)?;
        }
        left -= share(0.07);
        self.log(&site)?;
        let rows = self.random.pick(&[0.2, 0.5, 1.0, 2.0]) * shape.dump_mib * 1_048_576.0;
        let dump = self.dump(&site, rows as usize);
        self.write(&format!("{site}/db/{site}.sql"), &dump, None)?;
        left -= 2;
        self.uploads(&public, number, left)
    }

    /// Files of a package: what they are depends on `key` alone, so that equal packages have equal files.
    fn pack(&mut self, base: &str, key: &str, files: usize, dirs: &[&str]) -> io::Result<()> {
        let mut random = Random::of(key);
        for number in 0..files {
            let kind = random.below(100);
            let (extension, median) = match kind {
                0..52 => ("php", 3500.0),
                52..70 => ("js", 6000.0),
                70..84 => ("css", 3500.0),
                84..96 => ("png", 6000.0),
                _ => ("woff2", 6000.0),
            };
            let dir = if random.below(10) == 0 { "" } else { *random.pick(dirs) };
            let size = size(&mut random, median, 1.5, 20, 4 << 20);
            let name = format!("{}-{}-{number}.{extension}", random.pick(&self.words), random.pick(&self.words));
            let content = self.code(&format!("{key}/{number}"), extension, size);
            let mtime = T0 - random.below(30_000_000) as u64;
            self.write(&format!("{base}/{dir}/{name}"), &content, Some(mtime))?;
        }
        Ok(())
    }

    fn code(&self, key: &str, extension: &str, size: usize) -> Vec<u8> {
        let mut random = Random::of(key);
        let pool = match extension {
            "php" => &self.pools[0],
            "js" => &self.pools[1],
            "css" => &self.pools[2],
            _ => {
                let mut content = random.bytes(32);
                content.extend(self.pixels(random.below(self.picture.len()), size));
                return content;
            }
        };
        let mut content = format!("/** {key} */\n").into_bytes();
        while content.len() < size {
            let from = random.below(pool.len() - 4096);
            let len = (size - content.len()).min(random.between(2000, 60_000)).min(pool.len() - from);
            content.extend_from_slice(&pool[from..from + len]);
        }
        content
    }

    fn pixels(&self, from: usize, len: usize) -> impl Iterator<Item = u8> + '_ {
        self.picture.iter().copied().cycle().skip(from).take(len)
    }

    fn message(&mut self, site: &str, name: &str, mtime: Option<u64>) -> io::Result<()> {
        let size = size(&mut self.random, 4000.0, 1.3, 400, 2 << 20);
        let pool = &self.pools[0];
        let from = self.random.below(pool.len() - 70_000);
        let mut content = format!("Message-Id: <{name}@x>\n").into_bytes();
        content.extend_from_slice(&pool[from..from + size.min(65_536)]);
        content.extend(self.pixels(0, size.saturating_sub(65_536)));
        self.write(&format!("{site}/mail/info/cur/{name},S={size}:2,S"), &content, mtime)
    }

    fn log(&mut self, site: &str) -> io::Result<()> {
        let mut log = String::new();
        for _ in 0..6000 {
            let (a, b, page, bytes) =
                (self.random.below(256), self.random.below(256), self.random.below(9999), self.random.below(99_999));
            writeln!(log, "10.0.{a}.{b} - - \"GET /?p={page} HTTP/1.1\" 200 {bytes}").expect("write to a string");
        }
        self.write(&format!("{site}/logs/access.log"), log.as_bytes(), None)
    }

    fn dump(&self, site: &str, size: usize) -> Vec<u8> {
        let mut dump = b"-- dump\nCREATE TABLE `wp_posts` (`ID` bigint);\nLOCK TABLES `wp_posts` WRITE;\n".to_vec();
        let mut row = 1;
        while dump.len() < size {
            dump.extend_from_slice(b"INSERT INTO `wp_posts` VALUES ");
            for nth in 0..50 {
                let text = self.row(&mut Random::of(&format!("{site}:{row}")), row);
                dump.extend_from_slice(text.as_bytes());
                dump.extend_from_slice(if nth == 49 { b";\n" } else { b",\n" });
                row += 1;
            }
        }
        dump.extend_from_slice(b"UNLOCK TABLES;\n");
        dump
    }

    fn row(&self, random: &mut Random, number: usize) -> String {
        let words: Vec<_> = (0..random.between(20, 160)).map(|_| *random.pick(&self.words)).collect();
        format!(
            "({number},{},'{}','title {}','publish','open')",
            random.between(1, 9),
            words.join(" "),
            random.below(1_000_000)
        )
    }

    fn uploads(&mut self, public: &str, site: usize, mut left: usize) -> io::Result<()> {
        for number in 0.. {
            let (year, month) = (self.random.between(2021, 2024), self.random.between(1, 12));
            let base = format!("{public}/wp-content/uploads/{year}/{month:02}/img-{site}-{number}");
            let big = size(&mut self.random, 110_000.0, 0.9, 2000, 3 << 20);
            for (suffix, part) in
                [("", 1.0), ("-1024x768", 0.35), ("-768x576", 0.22), ("-300x225", 0.06), ("-150x150", 0.025)]
            {
                if left == 0 {
                    return Ok(());
                }
                let mut content = b"\xff\xd8\xff\xe0".to_vec();
                content.extend(self.random.bytes(32));
                let from = self.random.below(self.picture.len());
                content.extend(self.pixels(from, ((big as f64 * part) as usize).max(300)));
                self.write(&format!("{base}{suffix}.jpg"), &content, None)?;
                left -= 1;
            }
        }
        Ok(())
    }

    fn night(&mut self, path: &Path, seed: u64) -> io::Result<()> {
        let site = path.file_name().expect("site").to_string_lossy().into_owned();
        let public = path.join("public_html");
        if self.random.below(5) == 0 {
            let plugins = sorted(&public.join("wp-content/plugins"))?;
            if !plugins.is_empty() {
                let plugin = self.random.pick(&plugins).clone();
                self.update(&plugin)?;
            }
        }
        if self.random.below(25) == 0 {
            self.update(&public.join("wp-admin"))?;
            self.update(&public.join("wp-includes"))?;
        }
        for number in 0..self.random.below(6) {
            for part in [1.0, 0.35, 0.06] {
                let size = size(&mut self.random, 110_000.0, 0.9, 2000, 3 << 20) as f64 * part;
                let content = self.random.bytes(size as usize);
                let name = format!("{site}/public_html/wp-content/uploads/2024/12/new-{seed}-{number}-{part}.jpg");
                self.write(&name, &content, Some(NIGHT))?;
            }
        }
        let mail = sorted(&path.join("mail/info/cur"))?;
        for _ in 0..3.min(mail.len()) {
            // The same one may be drawn twice.
            if fs::remove_file(self.random.pick(&mail)).is_ok() {
                self.count.removed += 1;
            }
        }
        for number in 0..self.random.below(8) {
            self.message(&site, &format!("{T0}.N{seed}_{number}"), Some(NIGHT))?;
        }
        let log = format!("{site}/logs/access.log");
        let mut text = fs::read(self.root.join(&log))?;
        text.extend(b"10.0.0.1 - - \"GET /new HTTP/1.1\" 200 1\n".repeat(900));
        self.write(&log, &text, Some(NIGHT + seed))?;
        self.grow_dump(&format!("{site}/db/{site}.sql"), seed)
    }

    /// A new version of a package: some files edited, most only written anew, a few gone.
    fn update(&mut self, package: &Path) -> io::Result<()> {
        for entry in WalkDir::new(package).sort_by_file_name() {
            let entry = entry?;
            if !entry.file_type().is_file() {
                continue;
            }
            let content = fs::read(entry.path())?;
            let chance = self.random.below(100);
            let code = entry.path().extension().is_some_and(|e| e == "php" || e == "js" || e == "css");
            let name = entry.path().strip_prefix(&self.root).expect("below").to_string_lossy().into_owned();
            if chance < 35 && code && content.len() > 200 {
                let at = self.random.between(100, content.len() - 1);
                let mut edited = content[..at].to_vec();
                edited.extend_from_slice(format!("/* v{} */ changed();\n", self.random.below(999)).as_bytes());
                edited.extend_from_slice(&content[(at + self.random.below(40)).min(content.len())..]);
                self.write(&name, &edited, Some(NIGHT))?;
            } else if (90..93).contains(&chance) {
                fs::remove_file(entry.path())?;
                self.count.removed += 1;
            } else {
                set_mtime(entry.path(), NIGHT)?;
                self.count.touched += 1;
            }
        }
        Ok(())
    }

    fn grow_dump(&mut self, name: &str, seed: u64) -> io::Result<()> {
        let old = fs::read(self.root.join(name))?;
        let mut lines: Vec<Vec<u8>> = old.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
        for _ in 0..5 {
            let at = self.random.between(3, lines.len() - 3);
            let line = String::from_utf8_lossy(&lines[at]).replacen("publish", "draft  ", 1);
            lines[at] = line.into_bytes();
        }
        for _ in 0..20 {
            let at = self.random.between(3, lines.len() - 3);
            let number = self.random.between(1_000_000, 9_999_999);
            let row = self.row(&mut Random::new(seed ^ number as u64), number);
            lines.insert(at, format!("INSERT INTO `wp_posts` VALUES {row};").into_bytes());
        }
        self.write(name, &lines.join(&b'\n'), Some(NIGHT + seed))
    }

    fn write(&mut self, name: &str, content: &[u8], mtime: Option<u64>) -> io::Result<()> {
        let path = self.root.join(name);
        if !path.exists() {
            fs::create_dir_all(path.parent().expect("folder"))?;
        }
        fs::write(&path, content)?;
        set_mtime(&path, mtime.unwrap_or_else(|| T0 - self.random.below(40_000_000) as u64))?;
        self.count.files += 1;
        self.count.bytes += content.len() as u64;
        Ok(())
    }
}

fn size(random: &mut Random, median: f64, sigma: f64, low: usize, high: usize) -> usize {
    (random.log_normal(median, sigma) as usize).clamp(low, high)
}

fn text(random: &mut Random, words: &[&str], kind: u64) -> Vec<u8> {
    let mut text = String::new();
    while text.len() < 3 << 20 {
        let w: Vec<_> = (0..random.between(6, 16)).map(|_| *random.pick(words)).collect();
        let tabs = "\t".repeat(random.below(5));
        let n = random.below(100_000);
        let line = match kind {
            0 => writeln!(
                text,
                "{tabs}${} = {}( '{}', ${}_{n} ); // {}",
                w[0],
                w[1],
                w[2..5].join("_"),
                w[5],
                w[3..].join(" ")
            ),
            1 => writeln!(
                text,
                "{tabs}{}.{}=function({}){{return {}*{n}}};",
                w[0],
                w[1],
                w[2..4].join(","),
                w[3..].join("+")
            ),
            _ => writeln!(text, ".{}-{}{{{}:{}px;{}:#{n:06x}}}", w[0], w[1], w[2], random.below(2000), w[5]),
        };
        line.expect("write to a string");
    }
    text.into_bytes()
}

fn sorted(dir: &Path) -> io::Result<Vec<PathBuf>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let mut paths: Vec<_> = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn set_mtime(path: &Path, secs: u64) -> io::Result<()> {
    fs::File::options().append(true).open(path)?.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_server_and_a_night() {
        let dir = tempfile::tempdir().unwrap();
        let shape = Shape { sites: 10, files: 2000, dump_mib: 0.1 };
        let built = build(dir.path(), shape).unwrap();
        assert!((1900..=2100).contains(&built.files), "{built:?}");
        let night = evolve(dir.path(), 2).unwrap();
        assert!(night.files > 20 && night.files < 400 && night.removed > 0, "{night:?}");
        let again = tempfile::tempdir().unwrap();
        assert_eq!(build(again.path(), shape).unwrap().bytes, built.bytes, "the seed decides everything");
    }
}
