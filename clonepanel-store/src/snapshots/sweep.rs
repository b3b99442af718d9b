//! Frees what deleted snapshots have left: their trees, and contents that no snapshot has any more.

use super::{
    damage,
    format::sync_dir,
    lock,
    place::MANIFEST,
    remove::{LastNames, remove_snapshot},
    store::Root,
};
use crate::{blocking::Stop, handle};
use clonepanel_core::{
    manifest::{Decoder, Item},
    time::Timestamp,
};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, Timespec, Timestamps},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read as _},
    time::Duration,
};

/// When the whole content index was last looked through.
const SWEPT: &[u8] = b"swept";
/// It is looked through so often, for what was deleted by hand, and for what runs that ended early had taken.
const WHOLE: Duration = Duration::from_hours(24 * 7);
/// A manifest is read in pieces of this length.
const PIECE: usize = 256 << 10;

/// Which contents of a deleted snapshot are looked for in the index.
#[derive(Clone, Copy)]
enum Named<'a> {
    All,
    These(&'a LastNames),
}

/// Whether a manifest was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Damage,
    End,
}

/// What two parts of the work freed, or the first error of theirs.
fn both(one: io::Result<u64>, other: io::Result<u64>) -> io::Result<u64> {
    Ok(one? + other?)
}

impl Root {
    /// Removes everything that nobody has any more, wherever it is.
    /// Whatever fails does not keep the rest: the first error is told when all is done.
    pub(super) fn sweep_all(&self, stop: &Stop) -> io::Result<u64> {
        let freed = self.sweep_left(stop);
        both(freed, self.sweep_index(stop))
    }

    /// Removes what is in the trash, and what its snapshots alone had; now and then everything.
    pub(super) fn sweep_deleted(&self, stop: &Stop) -> io::Result<u64> {
        // On a full disk there may be no room even for noting that.
        if self.is_whole_sweep_due().unwrap_or(false) { self.sweep_all(stop) } else { self.sweep_left(stop) }
    }

    fn sweep_left(&self, stop: &Stop) -> io::Result<u64> {
        self.retire_full();
        let freed = self.empty_trash(stop);
        let freed = both(freed, self.sweep_due(stop));
        both(freed, damage::sweep(&self.damaged))
    }

    /// Removes what can be removed, and tells how many bytes of contents that freed; what cannot does not keep the rest. The first
    /// error is told when all is done.
    pub(super) fn empty_trash(&self, stop: &Stop) -> io::Result<u64> {
        let mut result = Ok(0);
        for name in handle::names_in(handle::listed_dir_in(&self.trash, b".")?)? {
            let Ok(dir) = handle::listed_dir_in(&self.trash, &name.name) else { continue };
            // A run may be building on it, somebody reading it, or somebody else be removing it.
            let removed = lock::take_dir(&dir).and_then(|taken| match taken {
                true => self.remove_from_trash(&dir, &name.name, stop),
                false => Ok(0),
            });
            result = both(result, removed);
        }
        result
    }

    /// The manifest says which contents the index may have for nobody: it is kept in `due` until they are looked for, so that this
    /// is made up for when it is cut short.
    fn remove_from_trash(&self, dir: &OwnedFd, name: &[u8], stop: &Stop) -> io::Result<u64> {
        // On a full disk there may be no room for the name.
        let kept = rustix::fs::renameat(dir, MANIFEST, &self.due, name);
        let moved = kept.is_ok();
        if moved {
            sync_dir(&self.due)?;
        }
        let due = self.take_due(name)?;
        let last = remove_snapshot(&self.trash, name, self.options.threads(), stop)?;
        match due {
            Some(due) if !stop.is_set() => {
                // Which names an earlier removal took that was cut short, nobody knows.
                let named = if moved { Named::These(&last) } else { Named::All };
                self.settle_due(&due, name, named, stop)
            }
            // Nothing tells any more what it had.
            None if !matches!(kept, Ok(()) | Err(Errno::NOENT)) && !stop.is_set() => self.sweep_index(stop),
            _ => Ok(0),
        }
    }

    fn sweep_due(&self, stop: &Stop) -> io::Result<u64> {
        let mut freed = Ok(0);
        for name in handle::names_in(handle::listed_dir_in(&self.due, b".")?)? {
            if stop.is_set() {
                break;
            }
            // Those that are not taken are of somebody who is at it, or of a snapshot in use.
            if handle::stat_in(&self.trash, &name.name)?.is_none()
                && let Some(due) = self.take_due(&name.name)?
            {
                freed = both(freed, self.settle_due(&due, &name.name, Named::All, stop));
            }
        }
        freed
    }

    /// Takes the manifest of a deleted snapshot, if nobody else has it.
    fn take_due(&self, name: &[u8]) -> io::Result<Option<File>> {
        match handle::file_in(&self.due, name) {
            Ok(due) => Ok(lock::take_dir(&due)?.then_some(due)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn settle_due(&self, due: &File, name: &[u8], named: Named<'_>, stop: &Stop) -> io::Result<u64> {
        let mut freed = 0;
        if !matches!(named, Named::These(last) if last.is_empty()) {
            let reached = self.sweep_contents(due, named, &mut freed)?;
            if reached == Reached::Damage {
                freed += self.sweep_index(stop)?;
            }
        }
        handle::unlink_in(&self.due, name)?;
        Ok(freed)
    }

    fn sweep_contents(&self, mut manifest: &File, named: Named<'_>, freed: &mut u64) -> io::Result<Reached> {
        let mut decoder = Decoder::new();
        let mut buffer = vec![0; PIECE];
        loop {
            match decoder.next() {
                Ok(Some(Item::Record(record))) => {
                    let Some(content) = record.content else { continue };
                    let place = self.places.of(record.entry.path.as_bytes());
                    if match named {
                        Named::All => true,
                        Named::These(last) => last.may_have(handle::split(&place).1, content.len),
                    } {
                        *freed += self.content.sweep_one(&content, record.entry.meta.mode)?;
                    }
                }
                Ok(Some(Item::Info(_))) => {}
                Ok(Some(Item::End)) => return Ok(Reached::End),
                Ok(None) => match manifest.read(&mut buffer)? {
                    0 => return Ok(Reached::Damage),
                    read => decoder.feed(buffer.get(..read).unwrap_or_default()),
                },
                Err(_) => return Ok(Reached::Damage),
            }
        }
    }

    fn sweep_index(&self, stop: &Stop) -> io::Result<u64> {
        let freed = self.content.sweep(self.options.threads(), stop)?;
        if !stop.is_set() {
            // Not noted, it is done once more than needed.
            drop(self.note_whole_sweep());
        }
        Ok(freed)
    }

    /// A store that never was looked through is young.
    fn is_whole_sweep_due(&self) -> io::Result<bool> {
        let Some(stat) = handle::stat_in(&self.own, SWEPT)? else {
            self.note_whole_sweep()?;
            return Ok(false);
        };
        let (now, last) = (Timestamp::from(std::time::SystemTime::now()), handle::mtime(&stat));
        Ok(now.since(last).max(last.since(now)) > WHOLE)
    }

    fn note_whole_sweep(&self) -> io::Result<()> {
        match handle::create_in(&self.own, SWEPT, 0o600) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let now = || Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
                let times = Timestamps { last_access: now(), last_modification: now() };
                Ok(rustix::fs::utimensat(&self.own, SWEPT, &times, AtFlags::SYMLINK_NOFOLLOW)?)
            }
            Err(error) => Err(error),
        }
    }
}
