//! Deleting what a source does not have.

use super::walk::{Partials, Walk};
use crate::handle;
use clonepanel_core::{
    partial::{holder, is_partial},
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    transport::{self, PullRequest, PushRequest},
    tree::Listed,
};
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{AtFlags, FileType},
    io::Errno,
};
use std::{collections::HashSet, io, sync::Arc};

/// What is leaving; the problem when that is more than the request allows.
pub(super) fn leaving(
    root: &Arc<OwnedFd>,
    request: &PushRequest,
    staying: &HashSet<RelPath>,
) -> io::Result<Result<Vec<RelPath>, Problem>> {
    let Here { entries, unknown } = here(root)?;
    // What arrived in part goes with the directory that it is in, and stays otherwise.
    let (partial, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(path, _)| is_partial(path.as_bytes()));
    let leaving = transport::leaving(request, staying, entries);
    // What cannot be looked at stays, with what it is in and what is in it.
    let above: HashSet<RelPath> = unknown.iter().flat_map(up_from).collect();
    let stays = |path: &RelPath| above.contains(path) || up_from(path).any(|path| unknown.contains(&path));
    Ok(leaving.map(|leaving| {
        let going: HashSet<_> = leaving.iter().collect();
        let with_them = partial.into_iter().map(|(path, _)| path).rev();
        let with_them = with_them.filter(|path| holder(path).is_some_and(|holder| going.contains(&holder)));
        let mut all: Vec<_> = with_them.collect();
        all.extend(leaving);
        all.retain(|path| !stays(path));
        all
    }))
}

/// A path and all that it is in.
fn up_from(path: &RelPath) -> impl Iterator<Item = RelPath> + use<> {
    std::iter::successors(Some(path.clone()), RelPath::parent)
}

/// Deletes these names, directories only when they are empty; tells how many that were.
pub(super) fn delete(root: &Arc<OwnedFd>, leaving: Vec<RelPath>) -> (u64, Problems) {
    let (mut deleted, mut problems) = (0, Problems::new());
    for path in leaving {
        match delete_one(root, &path) {
            Ok(()) => deleted += 1,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {}
            Err(error) => problems.push(Problem::new(path, ProblemKind::Failed, error.to_string())),
        }
    }
    (deleted, problems)
}

fn delete_one(root: &Arc<OwnedFd>, path: &RelPath) -> io::Result<()> {
    let (_, name) = handle::split(path.as_bytes());
    let dir = handle::parent_of(root, path)?;
    let stat = handle::stat_in(dir.as_fd(), name)?.ok_or(Errno::NOENT)?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    Ok(rustix::fs::unlinkat(dir, name, flags)?)
}

/// What is there, and whether it is a directory.
#[derive(Default)]
struct Here {
    entries: Vec<(RelPath, bool)>,
    /// What could not be looked at.
    unknown: HashSet<RelPath>,
}

fn here(root: &Arc<OwnedFd>) -> io::Result<Here> {
    let mut walk = Walk::new(Arc::clone(root), PullRequest::new(), Partials::Listed);
    let mut here = Here::default();
    while let Some(listed) = walk.next()? {
        match listed {
            Listed::Entry(entry) => here.entries.push((entry.path.clone(), entry.is_dir())),
            Listed::Problem(problem) => drop(here.unknown.insert(problem.path)),
        }
    }
    Ok(here)
}
