//! [`LocalTransport`]: a local directory as a far end.

use super::{
    scan::Scan,
    tree::{LocalTree, Owners, SpecialBits},
    walk::Walk,
};
use crate::{blocking, handle};
use async_trait::async_trait;
use clonepanel_core::{
    escape::Escaped,
    observer::{Event, Observer},
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    time::Timestamp,
    transport::{Deletion, PullRequest, PushRequest, TransferReport, Transport, TransportError},
    tree::{Listed, TreeError, TreeSink, TreeSource, copy_covered},
};
use rustix::{fd::OwnedFd, fs::AtFlags, io::Errno};
use std::{
    collections::HashSet,
    io,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::SystemTime,
};

/// Moves trees between here and a local directory, by plain reading and writing.
///
/// What it tells about [freshness](PullRequest::since) comes from the change times of the file system, which no program can
/// set.
#[derive(Debug, Clone)]
pub struct LocalTransport {
    root: PathBuf,
    endpoint: String,
    special_bits: SpecialBits,
    owners: Owners,
}

impl LocalTransport {
    /// A transport to and from the directory at `root`. A pull needs it, a push makes it.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let endpoint = Escaped(root.as_os_str().as_bytes()).to_string();
        Self { root, endpoint, special_bits: SpecialBits::default(), owners: Owners::default() }
    }

    /// Says what a push does with setuid, setgid and sticky bits. By default they are left out.
    #[must_use]
    pub const fn special_bits(mut self, bits: SpecialBits) -> Self {
        self.special_bits = bits;
        self
    }

    /// Says whom a push gives the files to. By default to whoever runs the program.
    #[must_use]
    pub const fn owners(mut self, owners: Owners) -> Self {
        self.owners = owners;
        self
    }

    fn not_found(&self, path: &RelPath) -> TransportError {
        let path = if path.is_root() { "such directory".to_owned() } else { path.to_string() };
        TransportError::NotFound { endpoint: self.endpoint.clone(), path }
    }

    async fn open_root(&self) -> Result<Arc<OwnedFd>, TransportError> {
        let opened = LocalTree::new(&self.root).open_root().await;
        opened.map_err(|error| match error {
            TreeError::NotFound { path } => self.not_found(&path),
            TreeError::Denied { .. } => TransportError::Denied {
                endpoint: self.endpoint.clone(),
                detail: "the directory may not be read".to_owned(),
            },
            other => TransportError::Source(other),
        })
    }

    /// What was asked for by name must be there: its absence may be a misspelling.
    async fn check_paths(&self, root: &Arc<OwnedFd>, request: &PullRequest) -> Result<(), TransportError> {
        let (root, paths) = (Arc::clone(root), request.wanted_paths().to_vec());
        let look = move || {
            let missing = paths.into_iter().find(|path| {
                let (_, name) = handle::split(path.as_bytes());
                let found = handle::parent_of(&root, path).and_then(|dir| handle::stat_in(dir, name));
                !path.is_root() && !matches!(found, Ok(Some(_)))
            });
            Ok(missing)
        };
        let lost = |error| TransportError::Source(TreeError::from_io("list", &RelPath::root(), error));
        match blocking::run(look, lost).await? {
            None => Ok(()),
            Some(missing) => Err(self.not_found(&missing)),
        }
    }
}

#[async_trait]
impl Transport for LocalTransport {
    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    async fn pull(
        &self,
        request: &PullRequest,
        sink: &dyn TreeSink,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let clock = Timestamp::from(SystemTime::now());
        let root = self.open_root().await?;
        self.check_paths(&root, request).await?;
        let scan = Scan { root, request: request.clone(), changed: Arc::default() };
        let mut report = copy_covered(&scan, request, sink, observer).await?;
        report.source_clock = Some(clock);
        let changed = std::mem::take(&mut *scan.changed.lock().unwrap_or_else(PoisonError::into_inner));
        let mut told: HashSet<RelPath> = report.problems.listed().iter().map(|problem| problem.path.clone()).collect();
        for path in changed {
            if told.insert(path.clone()) {
                tell(
                    &mut report.problems,
                    observer,
                    Problem::new(path, ProblemKind::Changed, "it was written to while it was read"),
                );
            }
        }
        Ok(report)
    }

    async fn push(
        &self,
        request: &PushRequest,
        source: &dyn TreeSource,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let mut problems = Problems::new();
        let deleted = match request.allowed_deletion() {
            Deletion::Keep => 0,
            Deletion::UpTo(limit) => self.delete_others(request, limit, source, &mut problems, observer).await?,
        };
        let tree = LocalTree::new(&self.root).special_bits(self.special_bits).owners(self.owners);
        let covered = PullRequest::new().filter(request.wanted_filter().clone());
        let mut report = copy_covered(source, &covered, &tree, observer).await?;
        for problem in tree.finish().await.map_err(TransportError::Sink)?.listed() {
            tell(&mut report.problems, observer, problem.clone());
        }
        report.problems.extend_under(&RelPath::root(), problems);
        report.deleted = deleted;
        Ok(report)
    }
}

impl LocalTransport {
    /// Deletes what the source does not have, unless it cannot be told, or is too much.
    async fn delete_others(
        &self,
        request: &PushRequest,
        limit: u64,
        source: &dyn TreeSource,
        problems: &mut Problems,
        observer: &dyn Observer,
    ) -> Result<u64, TransportError> {
        let mut staying = HashSet::new();
        let mut entries = source.entries().await.map_err(TransportError::Source)?;
        while let Some(listed) = entries.next().await.map_err(TransportError::Source)? {
            match listed {
                Listed::Entry(entry) => drop(staying.insert(entry.path)),
                // What could not be listed may well be there: an error is no absence.
                Listed::Problem(problem) if problem.kind.is_loss() => return Ok(0),
                Listed::Problem(_) => {}
            }
        }
        let (root, filter) = (self.root.clone(), request.wanted_filter().clone());
        let excluded = move |path: &RelPath, is_dir| filter.excludes_with_parents(path, is_dir);
        let delete = move || {
            let root = match handle::open_root(&root) {
                Ok(root) => Arc::new(root),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Deleted::default()),
                Err(error) => return Err(error),
            };
            let leaving = leaving(&root, &excluded, staying)?;
            Ok(if leaving.len() as u64 > limit {
                Deleted::too_many(leaving.len(), limit)
            } else {
                delete(&root, leaving)
            })
        };
        let lost = |error| TransportError::Sink(TreeError::from_io("delete in", &RelPath::root(), error));
        let deleted = blocking::run(delete, |error| error).await.map_err(lost)?;
        for problem in deleted.problems {
            tell(problems, observer, problem);
        }
        Ok(deleted.count)
    }
}

fn tell(problems: &mut Problems, observer: &dyn Observer, problem: Problem) {
    observer.notice(&Event::Problem(&problem));
    problems.push(problem);
}

#[derive(Default)]
struct Deleted {
    count: u64,
    problems: Vec<Problem>,
}

impl Deleted {
    fn too_many(count: usize, limit: u64) -> Self {
        let detail = format!("{count} entries would be deleted and at most {limit} may be: none was");
        Self { count: 0, problems: vec![Problem::new(RelPath::root(), ProblemKind::Refused, detail)] }
    }
}

/// What is here, is not among `staying` and not excluded; children before their parents. A directory stays when something in
/// it does.
fn leaving(
    root: &Arc<OwnedFd>,
    excluded: &dyn Fn(&RelPath, bool) -> bool,
    mut staying: HashSet<RelPath>,
) -> io::Result<Vec<(RelPath, bool)>> {
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
        if path.is_root() || staying.contains(&path) || kept.contains(&path) || excluded(&path, is_dir) {
            kept.extend(path.parent());
        } else {
            leaving.push((path, is_dir));
        }
    }
    Ok(leaving)
}

fn delete(root: &OwnedFd, leaving: Vec<(RelPath, bool)>) -> Deleted {
    let mut deleted = Deleted::default();
    for (path, is_dir) in leaving {
        let (_, name) = handle::split(path.as_bytes());
        let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let result = handle::parent_of(root, &path)
            .and_then(|dir| rustix::fs::unlinkat(dir, name, flags).map_err(io::Error::from));
        match result {
            Ok(()) => deleted.count += 1,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {}
            Err(error) => deleted.problems.push(Problem::new(path, ProblemKind::Failed, error.to_string())),
        }
    }
    deleted
}
