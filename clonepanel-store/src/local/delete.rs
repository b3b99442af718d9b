//! Deleting what a source does not have.

use super::walk::Walk;
use crate::handle;
use clonepanel_core::{
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    transport::{PullRequest, PushRequest, leaving},
    tree::Listed,
};
use rustix::{fd::OwnedFd, fs::AtFlags, io::Errno};
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
};

/// Deletes what is [`leaving`]; if that is more than the request allows, nothing.
pub(super) fn delete_others(
    root: &Arc<OwnedFd>,
    request: &PushRequest,
    mut staying: HashSet<RelPath>,
) -> io::Result<(u64, Problems)> {
    let here = here(root, &mut staying)?;
    let mut problems = Problems::new();
    let far = here.iter().map(|(path, is_dir)| (path.clone(), *is_dir));
    let leaving = match leaving(request, &staying, far) {
        Ok(leaving) => leaving,
        Err(problem) => {
            problems.push(problem);
            return Ok((0, problems));
        }
    };
    let mut deleted = 0;
    for path in leaving {
        let is_dir = here.get(&path) == Some(&true);
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

/// What is here, and whether it is a directory. What cannot be looked at stays.
fn here(root: &Arc<OwnedFd>, staying: &mut HashSet<RelPath>) -> io::Result<HashMap<RelPath, bool>> {
    let mut walk = Walk::new(Arc::clone(root), PullRequest::new());
    let mut here = HashMap::new();
    while let Some(listed) = walk.next()? {
        match listed {
            Listed::Entry(entry) => drop(here.insert(entry.path.clone(), entry.is_dir())),
            Listed::Problem(problem) => drop(staying.insert(problem.path)),
        }
    }
    Ok(here)
}
