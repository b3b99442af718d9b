//! The header of a store: its version and what its file system was found to do.

use crate::handle;
use clonepanel_core::store::StoreError;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};
use std::io::{self, Read as _, Write as _};

const FIRST_LINE: &str = "clonepanel-store 1";
const NAME: &[u8] = b"format";
/// A header of this version is far shorter.
const MAX_HEADER_LEN: u64 = 4096;

/// What the file system of a store was found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    /// The longest name it takes, in bytes: 255 on most, 143 on eCryptfs.
    pub(crate) longest_name: usize,
}

impl Format {
    /// Reads the header in the store's own directory; `None` when there is none.
    pub(crate) fn read(own: &OwnedFd) -> Result<Option<Self>, StoreError> {
        let file = match handle::file_in(own, NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::from_io("read the store's header", error)),
        };
        let mut text = String::new();
        file.take(MAX_HEADER_LEN)
            .read_to_string(&mut text)
            .map_err(|error| StoreError::from_io("read the store's header", error))?;
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            let why = "its header is not of a version that is understood here".to_owned();
            return Err(StoreError::Unusable { why });
        }
        let longest = lines.find_map(|line| line.strip_prefix("longest-name ")).and_then(|number| number.parse().ok());
        match longest {
            Some(longest_name @ 64..=255) => Ok(Some(Self { longest_name })),
            _ => Err(StoreError::Unusable { why: "its header is damaged".to_owned() }),
        }
    }

    /// Tries out the file system and writes the header.
    pub(crate) fn init(own: &OwnedFd) -> Result<Self, StoreError> {
        let format = Self::probe(own)?;
        let text = format!(
            "{FIRST_LINE}\nnames case-sensitive, bytes kept as they are\nlongest-name {}\nlinks hard\n",
            format.longest_name
        );
        write_whole(own, NAME, text.as_bytes())
            .map_err(|error| StoreError::from_io("write the store's header", error))?;
        Ok(format)
    }

    fn probe(own: &OwnedFd) -> Result<Self, StoreError> {
        let failed = |error| StoreError::from_io("try out the file system", error);
        let unusable = |why: &str| StoreError::Unusable { why: why.to_owned() };
        handle::make_dir(own, b"probe").map_err(failed)?;
        let dir = handle::listed_dir_in(own, b"probe").map_err(failed)?;
        clear(&dir).map_err(failed)?;

        // é in its composed and its decomposed form: a file system that normalises takes them for one.
        for (name, other, why) in [
            (&b"case"[..], &b"CASE"[..], "its file system takes upper and lower case for the same"),
            (
                "\u{e9}".as_bytes(),
                "e\u{301}".as_bytes(),
                "its file system takes differently composed letters for the same",
            ),
        ] {
            drop(handle::create_in(&dir, name, 0o600).map_err(failed)?);
            if handle::stat_in(&dir, other).map_err(failed)?.is_some() {
                return Err(unusable(why));
            }
        }
        let odd = b"\xff \x01:\\\n";
        let kept = handle::create_in(&dir, odd, 0o600).is_ok()
            && handle::names_in(&dir).map_err(failed)?.iter().any(|name| *name.name == odd[..]);
        if !kept {
            return Err(unusable("its file system does not take names of any bytes"));
        }
        match rustix::fs::linkat(&dir, "case", &dir, "link", AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                return Err(unusable("its file system has no hard links"));
            }
            Err(error) => return Err(failed(error.into())),
        }
        let takes = |len: usize| handle::create_in(&dir, &vec![b'n'; len], 0o600).is_ok();
        let longest_name = [255, 143, 64].into_iter().find(|&len| takes(len));
        clear(&dir).map_err(failed)?;
        rustix::fs::unlinkat(own, "probe", AtFlags::REMOVEDIR).ok();
        longest_name
            .map(|longest_name| Self { longest_name })
            .ok_or_else(|| unusable("its file system takes only short names"))
    }
}

fn clear(dir: &OwnedFd) -> io::Result<()> {
    handle::names_in(dir)?.iter().try_for_each(|name| handle::unlink_in(dir, &name.name))
}

/// Writes a small file so that its name stands for the old content or the new one, whatever happens.
pub(crate) fn write_whole(dir: &OwnedFd, name: &[u8], content: &[u8]) -> io::Result<()> {
    let new = [name, b".new"].concat();
    handle::unlink_in(dir, &new)?;
    let mut file = handle::create_in(dir, &new, 0o600)?;
    file.write_all(content)?;
    file.sync_all()?;
    rustix::fs::renameat(dir, &new, dir, name)?;
    sync_dir(dir)
}

/// Makes the names in a directory last.
pub(crate) fn sync_dir(dir: impl AsFd) -> io::Result<()> {
    // A handle that was opened for its path alone cannot be synced.
    let listed = rustix::fs::openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::fs::fsync(listed)?)
}
