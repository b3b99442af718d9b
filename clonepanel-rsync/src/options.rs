//! [`RsyncOptions`]: how a transfer is done.

use crate::{partial::Partials, session::Wanted};
use std::time::Duration;

/// How a transfer is done. The defaults suit an ordinary hosting account.
#[derive(Debug, Clone)]
pub struct RsyncOptions {
    pub(crate) bandwidth: Option<u64>,
    pub(crate) change_detection: ChangeDetection,
    pub(crate) checksum: Checksum,
    pub(crate) compression: Compression,
    pub(crate) minimum_progress: u64,
    pub(crate) partials: Partials,
    pub(crate) progress_timeout: Duration,
    pub(crate) rsync_program: Vec<u8>,
}

/// How changes are found that leave size and time as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ChangeDetection {
    /// One `find` over the same login names the files whose change time (ctime) moved since the last run. Where the account
    /// has no shell or no GNU find, size and time alone are compared, and every entry says so.
    #[default]
    Auto,
    /// Size and time alone; the login runs nothing but rsync. For accounts with a forced command.
    SizeAndTime,
}

/// How literal data is compressed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// The best that both ends have: zstd, else lz4, zlibx, zlib.
    #[default]
    Auto,
    /// Only lz4.
    Lz4,
    /// None.
    Off,
    /// Only the classic zlib with matched data in its history.
    Zlib,
    /// Only zlib without matched data in its history.
    Zlibx,
    /// Only zstd.
    Zstd,
}

/// How content is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Checksum {
    /// The best that both ends have: xxh128, else xxh3, xxh64, md5, sha1.
    #[default]
    Auto,
    /// Only MD5, which every version has.
    Md5,
    /// Only SHA-1.
    Sha1,
    /// Only XXH3 with 128 bits.
    Xxh128,
    /// Only XXH3 with 64 bits.
    Xxh3,
    /// Only XXH64.
    Xxh64,
}

impl Default for RsyncOptions {
    fn default() -> Self {
        Self {
            bandwidth: None,
            change_detection: ChangeDetection::Auto,
            checksum: Checksum::Auto,
            compression: Compression::Auto,
            minimum_progress: 1024,
            partials: Partials::default(),
            progress_timeout: Duration::from_secs(300),
            rsync_program: b"rsync".to_vec(),
        }
    }
}

impl RsyncOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads (in a push: writes) at most so many bytes a second; at least 1024.
    #[must_use]
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = Some(bytes_per_second.max(1024));
        self
    }

    /// How changes are found that leave size and time as they were.
    #[must_use]
    pub const fn change_detection(mut self, change_detection: ChangeDetection) -> Self {
        self.change_detection = change_detection;
        self
    }

    /// How content is compared.
    #[must_use]
    pub const fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = checksum;
        self
    }

    /// How literal data is compressed on the way.
    #[must_use]
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Gives up on a transfer in which less than this moved or was matched within a progress timeout, in bytes, on the average of
    /// four in a row: a far end that drips would hold it up for ever. 1024 unless set, which no host is too slow for.
    #[must_use]
    pub const fn minimum_progress(mut self, bytes: u64) -> Self {
        self.minimum_progress = bytes;
        self
    }

    /// Gives up when nothing arrived for so long, empty keepalives aside; five minutes unless set. A far end that may be searching
    /// for what changed, or looking through what it has, gets several times as long before it counts as silent.
    #[must_use]
    pub const fn progress_timeout(mut self, timeout: Duration) -> Self {
        self.progress_timeout = timeout;
        self
    }

    /// What rsync is called at the far end: a name or a path, one word.
    #[must_use]
    pub fn rsync_program(mut self, program: impl Into<Vec<u8>>) -> Self {
        self.rsync_program = program.into();
        self
    }

    pub(crate) fn wanted(&self) -> Wanted {
        let checksums = match self.checksum {
            Checksum::Auto => vec!["xxh128", "xxh3", "xxh64", "md5", "sha1"],
            Checksum::Md5 => vec!["md5"],
            Checksum::Sha1 => vec!["sha1"],
            Checksum::Xxh128 => vec!["xxh128"],
            Checksum::Xxh3 => vec!["xxh3"],
            Checksum::Xxh64 => vec!["xxh64"],
        };
        let compressors = match self.compression {
            Compression::Auto => vec!["zstd", "lz4", "zlibx", "zlib"],
            Compression::Lz4 => vec!["lz4"],
            Compression::Off => vec![],
            Compression::Zlib => vec!["zlib"],
            Compression::Zlibx => vec!["zlibx"],
            Compression::Zstd => vec!["zstd"],
        };
        Wanted { checksums, compressors }
    }
}
