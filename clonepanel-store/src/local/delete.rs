//! Deleting what a source does not have.

use super::walk::Walk;
use crate::handle;
use clonepanel_core::{
    filter::Filter,
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    transport::PullRequest,
    tree::Listed,
};
use rustix::{fd::OwnedFd, fs::AtFlags, io::Errno};
use std::{collections::HashSet, io, sync::Arc};

/// Deletes what is here, is not among `staying` and not excluded; if that is more than `limit` entries, none.
pub(super) fn delete_others(
    root: &Arc<OwnedFd>,
    limit: u64,
    filter: &Filter,
    staying: HashSet<RelPath>,
) -> io::Result<(u64, Problems)> {
    let leaving = leaving(root, filter, staying)?;
    let mut problems = Problems::new();
    if leaving.len() as u64 > limit {
        let detail = format!("{} entries would be deleted and at most {limit} may be: none was", leaving.len());
        problems.push(Problem::new(RelPath::root(), ProblemKind::Refused, detail));
        return Ok((0, problems));
    }
    let mut deleted = 0;
    for (path, is_dir) in leaving {
        let (_, name) = handle::split(path.as_bytes());
        let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let result = handle::parent_of(root, &path)
            .and_then(|dir| rustix::fs::unlinkat(dir, name, flags).map_err(io::Error::from));
        match result {
            Ok(()) => deleted += 1,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {}
            Err(error) => problems.push(Problem::new(path, ProblemKind::Failed, error.to_string())),
        }
    }
    Ok((deleted, problems))
}

/// What is to go, children before their parents. A directory stays when something in it does.
fn leaving(root: &Arc<OwnedFd>, filter: &Filter, mut staying: HashSet<RelPath>) -> io::Result<Vec<(RelPath, bool)>> {
    let mut walk = Walk::new(Arc::clone(root), PullRequest::new());
    let mut here = Vec::new();
    while let Some(listed) = walk.next()? {
        match listed {
            Listed::Entry(entry) => here.push((entry.path.clone(), entry.is_dir())),
            Listed::Problem(problem) => drop(staying.insert(problem.path)),
        }
    }
    let mut leaving = Vec::new();
    let mut kept = HashSet::new();
    for (path, is_dir) in here.into_iter().rev() {
        let stays = path.is_root() || staying.contains(&path) || kept.contains(&path);
        if stays || filter.excludes_with_parents(&path, is_dir) {
            kept.extend(path.parent());
        } else {
            leaving.push((path, is_dir));
        }
    }
    Ok(leaving)
}
