//! Trees on disk: written and read with nothing but plain calls by path, so that it shares no code with what it tests.

use crate::{
    entry::{DeviceNumber, Entry, EntryKind, EntryMeta, LinkTarget},
    memory::MemoryTree,
    path::RelPath,
    time::Timestamp,
};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT, makedev, mknodat, utimensat};
use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink},
    },
    path::{Path, PathBuf},
};

/// Makes the directory `root` equal to `tree`, touching only what differs. Owners are set, and devices made, only by the
/// superuser; a file whose content alone changed is written in place.
///
/// # Errors
/// As the file system.
pub fn materialise(tree: &MemoryTree, root: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let privileged = rustix::process::geteuid().is_root();
    let (here, there) = (Named::new(&scan(root)?), Named::new(tree));
    for (path, old) in here.entries.iter().rev() {
        let stays = there.entries.get(path).is_some_and(|new| match (&old.kind, &new.kind) {
            (EntryKind::File { .. }, EntryKind::File { .. }) => here.names(old) == there.names(new),
            (old, new) => old == new,
        });
        match old.kind {
            _ if stays || path.is_root() => {}
            EntryKind::Dir => fs::remove_dir(on_disk(root, path))?,
            _ => fs::remove_file(on_disk(root, path))?,
        }
    }
    let mut dirs = Vec::new();
    for entry in tree.list() {
        let at = on_disk(root, &entry.path);
        let is_device = matches!(entry.kind, EntryKind::BlockDevice(_) | EntryKind::CharDevice(_));
        if is_device && !privileged {
            continue;
        }
        let exists = fs::symlink_metadata(&at).is_ok();
        match &entry.kind {
            EntryKind::Dir if exists => {}
            EntryKind::Dir => fs::create_dir(&at)?,
            EntryKind::File { hardlink_to: Some(_), .. } if exists => {}
            EntryKind::File { hardlink_to: Some(leader), .. } => fs::hard_link(on_disk(root, leader), &at)?,
            EntryKind::File { .. } => {
                let content = tree.content(&entry.path).unwrap_or_default();
                if !exists || fs::read(&at)? != content {
                    fs::write(&at, &content)?;
                }
            }
            _ if exists => {}
            EntryKind::Symlink(target) => symlink(OsStr::from_bytes(target.as_bytes()), &at)?,
            EntryKind::Fifo => mknod(&at, FileType::Fifo, DeviceNumber { major: 0, minor: 0 })?,
            EntryKind::Socket => mknod(&at, FileType::Socket, DeviceNumber { major: 0, minor: 0 })?,
            EntryKind::BlockDevice(number) => mknod(&at, FileType::BlockDevice, *number)?,
            EntryKind::CharDevice(number) => mknod(&at, FileType::CharacterDevice, *number)?,
        }
        if entry.is_dir() {
            dirs.push((at, entry));
        } else {
            set_meta(&at, &entry, privileged)?;
        }
    }
    // What is in a directory changes its time, and a mode may lock us out.
    dirs.iter().rev().try_for_each(|(at, entry)| set_meta(at, entry, privileged))
}

/// Reads the directory `root`, without following links.
///
/// # Errors
/// As the file system, and for a name that is no [`RelPath`].
pub fn scan(root: &Path) -> io::Result<MemoryTree> {
    let tree = MemoryTree::new();
    let mut first_names = HashMap::new();
    let mut todo = vec![RelPath::root()];
    while let Some(path) = todo.pop() {
        let at = on_disk(root, &path);
        let found = fs::symlink_metadata(&at)?;
        let number = || DeviceNumber { major: rustix::fs::major(found.rdev()), minor: rustix::fs::minor(found.rdev()) };
        let mut content = Vec::new();
        let kind = match found.file_type() {
            kind if kind.is_dir() => {
                let names: Vec<_> =
                    fs::read_dir(&at)?.map(|child| Ok(child?.file_name())).collect::<io::Result<_>>()?;
                for name in names {
                    let name = RelPath::try_from(name.as_bytes()).map_err(io::Error::other)?;
                    todo.push(path.join(&name).map_err(io::Error::other)?);
                }
                EntryKind::Dir
            }
            kind if kind.is_file() => {
                let first = first_names.entry((found.dev(), found.ino())).or_insert_with(|| path.clone());
                if *first == path {
                    content = fs::read(&at)?;
                }
                EntryKind::File { len: found.len(), hardlink_to: (*first != path).then(|| first.clone()) }
            }
            kind if kind.is_symlink() => {
                let target = fs::read_link(&at)?.into_os_string();
                let target = LinkTarget::new(target.as_bytes().to_vec());
                EntryKind::Symlink(target.ok_or_else(|| io::Error::other("a link without a target"))?)
            }
            kind if kind.is_fifo() => EntryKind::Fifo,
            kind if kind.is_socket() => EntryKind::Socket,
            kind if kind.is_block_device() => EntryKind::BlockDevice(number()),
            _ => EntryKind::CharDevice(number()),
        };
        let nanos = u32::try_from(found.mtime_nsec()).map_err(io::Error::other)?;
        let meta = EntryMeta {
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            mtime: Timestamp::new(found.mtime(), nanos),
            ..EntryMeta::default()
        };
        tree.put(&Entry { path, kind, meta }, content).map_err(io::Error::other)?;
    }
    Ok(tree)
}

/// A listing by path, and which names each hard-link group has.
struct Named {
    entries: BTreeMap<RelPath, Entry>,
    groups: HashMap<RelPath, Vec<RelPath>>,
}

impl Named {
    fn new(tree: &MemoryTree) -> Self {
        let mut groups: HashMap<_, Vec<_>> = HashMap::new();
        let entries = tree.list().into_iter().map(|entry| {
            groups.entry(leader(&entry).clone()).or_default().push(entry.path.clone());
            (entry.path.clone(), entry)
        });
        Self { entries: entries.collect(), groups }
    }

    fn names(&self, entry: &Entry) -> Option<&[RelPath]> {
        self.groups.get(leader(entry)).map(Vec::as_slice)
    }
}

fn leader(entry: &Entry) -> &RelPath {
    match &entry.kind {
        EntryKind::File { hardlink_to: Some(leader), .. } => leader,
        _ => &entry.path,
    }
}

fn on_disk(root: &Path, path: &RelPath) -> PathBuf {
    if path.is_root() { root.to_owned() } else { root.join(OsStr::from_bytes(path.as_bytes())) }
}

fn mknod(at: &Path, kind: FileType, number: DeviceNumber) -> io::Result<()> {
    Ok(mknodat(CWD, at, kind, Mode::from_raw_mode(0o600), makedev(number.major, number.minor))?)
}

fn set_meta(at: &Path, entry: &Entry, privileged: bool) -> io::Result<()> {
    let (found, meta) = (fs::symlink_metadata(at)?, &entry.meta);
    if privileged && (found.uid(), found.gid()) != (meta.uid, meta.gid) {
        lchown(at, Some(meta.uid), Some(meta.gid))?;
    }
    // A change of owner or content drops the setuid bit.
    let found = fs::symlink_metadata(at)?;
    if !found.is_symlink() && found.mode() & 0o7777 != meta.mode {
        fs::set_permissions(at, fs::Permissions::from_mode(meta.mode))?;
    }
    if (found.mtime(), found.mtime_nsec()) != (meta.mtime.secs(), i64::from(meta.mtime.nanos())) {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: meta.mtime.secs(), tv_nsec: meta.mtime.nanos().into() },
        };
        utimensat(CWD, at, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}
