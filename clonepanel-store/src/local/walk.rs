//! [`Walk`]: lists a directory tree in the order of its paths.

use super::names::Names;
use crate::{
    handle,
    stack::{DirStack, Missing},
};
use clonepanel_core::{
    entry::{Entry, EntryKind, EntryMeta, Freshness},
    partial::is_partial,
    path::RelPath,
    problem::{Problem, ProblemKind},
    time::Timestamp,
    transport::PullRequest,
    tree::Listed,
};
use rustix::{
    fd::OwnedFd,
    fs::{FileType, Stat},
};
use std::{collections::HashMap, io, sync::Arc, time::Duration};

/// File systems stamp changes by a clock that lags a little, some by whole seconds.
const CLOCK_GRAIN: Duration = Duration::from_secs(2);

/// Lists a tree, a directory at a time: the root, then everything in the order of [`RelPath`]. Links are not followed.
pub(super) struct Walk {
    dirs: DirStack,
    request: PullRequest,
    names: Names,
    /// First names of files with several.
    groups: HashMap<(u64, u64), RelPath>,
    /// What is still to be looked at, the next one last.
    todo: Vec<RelPath>,
    problems: Vec<Problem>,
    partials: Partials,
}

/// Whether files that arrived in part are listed, which are no part of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Partials {
    LeftOut,
    Listed,
}

impl Walk {
    /// A walk through what the request covers.
    pub(super) fn new(root: Arc<OwnedFd>, request: PullRequest, partials: Partials) -> Self {
        Self {
            dirs: DirStack::new(root, Missing::Fail),
            request,
            names: Names::read(),
            groups: HashMap::new(),
            todo: vec![RelPath::root()],
            problems: Vec::new(),
            partials,
        }
    }

    /// The next entry or problem.
    pub(super) fn next(&mut self) -> io::Result<Option<Listed>> {
        loop {
            if let Some(problem) = self.problems.pop() {
                return Ok(Some(Listed::Problem(problem)));
            }
            let Some(path) = self.todo.pop() else { return Ok(None) };
            match self.look_at(&path) {
                Ok(Some(entry)) => {
                    if entry.is_dir() {
                        self.look_into(&path)?;
                    }
                    return Ok(Some(Listed::Entry(entry)));
                }
                Ok(None) => {}
                Err(error) if path.is_root() || handle::is_exhausted(&error) => return Err(error),
                // It was there when its directory was listed.
                Err(error) if is_gone(&error) => {}
                Err(error) => {
                    return Ok(Some(Listed::Problem(Problem::new(path, ProblemKind::Unreadable, error.to_string()))));
                }
            }
        }
    }

    fn look_at(&mut self, path: &RelPath) -> io::Result<Option<Entry>> {
        let (parent, name) = handle::split(path.as_bytes());
        let name = if path.is_root() { b"." } else { name };
        let dir = self.dirs.enter(parent)?;
        let stat = handle::stat_in(dir, name)?.ok_or(io::ErrorKind::NotFound)?;
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !path.is_root() && !self.request.covers(path, is_dir) {
            return Ok(None);
        }
        let Some(mut kind) = handle::kind(&stat, dir, name)? else {
            self.problems.push(Problem::new(path.clone(), ProblemKind::Refused, "it is of a kind that cannot be kept"));
            return Ok(None);
        };
        if let EntryKind::File { hardlink_to, .. } = &mut kind
            && stat.st_nlink > 1
        {
            let first = self.groups.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| path.clone());
            *hardlink_to = (first != path).then(|| first.clone());
        }
        let meta = self.meta(&stat);
        Ok(Some(Entry { path: path.clone(), kind, meta }))
    }

    fn meta(&self, stat: &Stat) -> EntryMeta {
        let freshness = match self.request.fresh_since() {
            None => Freshness::Unknown,
            Some(since) if handle::ctime(stat) >= earlier(since) => Freshness::Touched,
            Some(_) => Freshness::Settled,
        };
        EntryMeta {
            user: self.names.user(stat.st_uid),
            group: self.names.group(stat.st_gid),
            freshness,
            ..handle::meta(stat)
        }
    }

    fn look_into(&mut self, path: &RelPath) -> io::Result<()> {
        let names =
            self.dirs.enter(path.as_bytes()).and_then(|dir| handle::names_in(handle::listed_dir_in(dir, b".")?));
        let mut names = match names {
            Ok(names) => names,
            Err(error) if handle::is_exhausted(&error) => return Err(error),
            Err(error) => {
                self.problems.push(Problem::new(path.clone(), ProblemKind::Unlisted, error.to_string()));
                return Ok(());
            }
        };
        names.sort_unstable_by(|a, b| b.name.cmp(&a.name));
        for name in names {
            if self.partials == Partials::LeftOut && is_partial(&name.name) {
                continue;
            }
            let joined = RelPath::try_from(&*name.name).and_then(|name| path.join(&name));
            match joined {
                Ok(inner) => self.todo.push(inner),
                // Names are valid by themselves, so it is the whole that is too long.
                Err(error) => {
                    let detail = format!("something in it cannot be kept: {error}");
                    self.problems.push(Problem::new(path.clone(), ProblemKind::Refused, detail));
                }
            }
        }
        Ok(())
    }
}

fn earlier(since: Timestamp) -> Timestamp {
    since.before(CLOCK_GRAIN)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
