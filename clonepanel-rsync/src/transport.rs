//! [`RsyncTransport`]: a directory of a hosting account, read and written through its rsync.

use crate::{
    connect::{Connect, Connection},
    messages::{Messages, Severity},
    options::{ChangeDetection, RsyncOptions},
    partial::{self, Partials},
    preamble::{self, Preamble, PullCommand, PushCommand},
    pull::{Pull, Started},
    push::{Collected, Push, in_the_way},
    session::Deletions,
};
use async_trait::async_trait;
use bytes::BytesMut;
use clonepanel_core::{
    escape::Escaped,
    observer::{Event, Observer},
    path::RelPath,
    problem::{Problem, ProblemKind},
    time::Timestamp,
    transport::{Deletion, PullRequest, PushRequest, TransferReport, Transport, TransportError, leaving, list_far},
    tree::{TreeSink, TreeSource},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::io::AsyncReadExt;

/// How long a login may take to end once it said what was asked.
const GOODBYE: Duration = Duration::from_secs(5);

/// A directory at a far end that has rsync 3.0 or later.
///
/// A push leaves a file as it is that has the listed length and time, even when it is one file with others there and a single one in the
/// source: rsync makes links and does not take them apart.
#[derive(Debug, Clone)]
pub struct RsyncTransport {
    connect: Arc<dyn Connect>,
    root: Vec<u8>,
    endpoint: String,
    options: RsyncOptions,
}

impl RsyncTransport {
    /// The directory `root`, absolute or below the home of the login; empty for the home itself.
    #[must_use]
    pub fn new(connect: impl Connect + 'static, root: impl Into<Vec<u8>>) -> Self {
        let root = root.into();
        let endpoint = format!("{}:{}", connect.endpoint(), Escaped(&root));
        Self { connect: Arc::new(connect), root, endpoint, options: RsyncOptions::new() }
    }

    /// With these options.
    #[must_use]
    pub fn options(mut self, options: RsyncOptions) -> Self {
        self.options = options;
        self
    }

    /// Logs in and tells what is there, without transferring anything: above all whether the paths of `request` exist.
    ///
    /// # Errors
    /// As a pull: the login is refused, the root does not exist, rsync is missing.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn probe(&self, request: &PullRequest) -> Result<FarEnd, TransportError> {
        let command = preamble::probe_command(&self.root, request, &self.options);
        let Connection { input, mut output, mut errors, exit } = self.connect.open(&command.command).await?;
        drop(input);
        let mut preamble = Preamble::new(command.marker);
        let (mut buffer, mut stderr) = (BytesMut::new(), Messages::default());
        let talk = async {
            let mut text = [0; 4096];
            let (mut is_open, mut errors_are_open) = (true, true);
            while is_open || errors_are_open {
                tokio::select! {
                    read = output.read_buf(&mut buffer), if is_open => {
                        is_open = read.unwrap_or(0) > 0;
                        if preamble.read(&mut buffer, request).is_err() || preamble.is_done() {
                            break;
                        }
                    }
                    read = errors.read(&mut text), if errors_are_open => {
                        let len = read.unwrap_or(0);
                        errors_are_open = len > 0;
                        stderr.feed(&text[..len]);
                    }
                }
            }
            // What still comes is of no interest, and must not keep the far end waiting.
            drop((output, errors));
            tokio::time::timeout(GOODBYE, exit).await.ok()?.ok().flatten()
        };
        let silent =
            |_| TransportError::Interrupted { endpoint: self.endpoint.clone(), detail: "nothing came".to_owned() };
        let code = tokio::time::timeout(self.options.progress_timeout, talk).await.map_err(silent)?;
        stderr.end_line(Severity::Other);
        if !preamble.has_spoken()
            && let Some(error) = self.connect.explain(code, &stderr.text())
        {
            return Err(error);
        }
        self.far_end(&preamble, request)
    }

    fn far_end(&self, preamble: &Preamble, request: &PullRequest) -> Result<FarEnd, TransportError> {
        let endpoint = self.endpoint.clone();
        if !preamble.is_done() {
            let detail = "the login runs no commands".to_owned();
            return Err(TransportError::Unsupported { endpoint, detail });
        }
        if preamble.root_is_missing {
            let endpoint = self.connect.endpoint().to_owned();
            return Err(TransportError::NotFound { endpoint, path: Escaped(&self.root).to_string() });
        }
        if preamble.root_is_denied {
            let detail = format!("{} may not be entered", Escaped(&self.root));
            return Err(TransportError::Remote { endpoint: self.connect.endpoint().to_owned(), detail });
        }
        let version = preamble.facts.iter().find(|fact| !fact.is_empty() && *fact != b"find");
        let Some(version) = version else {
            let program = Escaped(&self.options.rsync_program).to_string();
            let detail = format!("{program} does not run there: install it, or say where it is");
            return Err(TransportError::Unsupported { endpoint, detail });
        };
        let paths = preamble::wanted_paths(request);
        Ok(FarEnd {
            missing: preamble
                .missing
                .iter()
                .chain(&preamble.denied)
                .filter_map(|&index| paths.get(index).cloned())
                .collect(),
            rsync: Escaped(version.trim_ascii()).to_string(),
            finds_changes: preamble.facts.iter().any(|fact| fact == b"find"),
            clock: preamble.clock,
            banner: Some(Escaped(preamble.noise.trim_ascii()).to_string()).filter(|text| !text.is_empty()),
        })
    }
}

/// What a far end has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FarEnd {
    /// The first line of `rsync --version`, escaped.
    pub rsync: String,
    /// Whether files can be found there by their change time.
    pub finds_changes: bool,
    /// Which of the paths asked about do not exist, or cannot be looked at.
    pub missing: Vec<RelPath>,
    /// Its clock.
    pub clock: Option<Timestamp>,
    /// What the login prints by itself, escaped. Harmless here, but other tools stumble over it.
    pub banner: Option<String>,
}

#[async_trait]
impl Transport for RsyncTransport {
    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    async fn pull(
        &self,
        request: &PullRequest,
        sink: &dyn TreeSink,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let connect = self.connect.as_ref();
        let command = PullCommand::new(&self.root, request, &self.options);
        let pull = Pull::new(connect, &self.root, request, &self.options, sink, observer);
        let (result, started) = Box::pin(pull.run(&command)).await;
        if started == Started::Yes || !is_about_commands(&result) || command.marker.is_none() {
            return result;
        }
        let options = self.options.clone().change_detection(ChangeDetection::SizeAndTime);
        let command = PullCommand::new(&self.root, request, &options);
        Box::pin(Pull::new(connect, &self.root, request, &options, sink, observer).run(&command)).await.0
    }

    async fn push(
        &self,
        request: &PushRequest,
        source: &dyn TreeSource,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let mut collected = Collected::from(source, request).await?;
        let leaving = Box::pin(self.count_leaving(request, &mut collected)).await?;
        let mut problems = std::mem::take(&mut collected.problems);
        let limit = match leaving {
            Ok(0) => None,
            Ok(limit) => Some(limit),
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
        for entry in &collected.entries {
            observer.notice(&Event::Listed { entries: 1, bytes: entry.len().unwrap_or(0) });
        }
        let mut report = self.write(request, limit, source, &collected, observer).await?;
        for problem in problems {
            observer.notice(&Event::Problem(&problem));
            report.problems.push(problem);
        }
        Ok(report)
    }
}

impl RsyncTransport {
    /// How much a push would delete; the problem when that is too much or cannot be told.
    async fn count_leaving(
        &self,
        request: &PushRequest,
        collected: &mut Collected,
    ) -> Result<Result<u64, Problem>, TransportError> {
        if request.allowed_deletion() == Deletion::Keep {
            return Ok(Ok(0));
        }
        let unknown = |detail: &str| {
            Ok(Err(Problem::new(RelPath::root(), ProblemKind::Refused, format!("{detail}: nothing was deleted"))))
        };
        if collected.lacks_something() {
            return unknown("a part of the source could not be listed");
        }
        // Partial files count for a far end when their directory goes.
        let mut lister = self.clone();
        lister.options.partials = Partials::Listed;
        let (far, problems) = list_far(&lister, request).await?;
        if problems.losses() > 0 {
            return unknown("a part of what the far end holds could not be listed");
        }
        let mut far: HashMap<_, _> = far.into_iter().map(|entry| (entry.path.clone(), entry.is_dir())).collect();
        let mut holders: Vec<RelPath> = Vec::new();
        far.retain(|path, _| {
            let holder = partial::holder(path);
            let is_whole = holder.is_none();
            holders.extend(holder);
            is_whole
        });
        let places = in_the_way::places(request, collected, &far);
        if !places.is_empty() {
            far.retain(|path, _| !in_the_way::is_within(path, &places));
            collected.keep(places);
        }
        Ok(leaving(request, &collected.paths(), far).map(|leaving| {
            if holders.is_empty() {
                return leaving.len() as u64;
            }
            let leaving: HashSet<_> = leaving.into_iter().collect();
            (leaving.len() + holders.iter().filter(|holder| leaving.contains(*holder)).count()) as u64
        }))
    }

    /// Writes what was collected; with a limit, deletes so many entries at the most.
    async fn write(
        &self,
        request: &PushRequest,
        limit: Option<u64>,
        source: &dyn TreeSource,
        collected: &Collected,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let deletions = if limit.is_some() { Deletions::Expected } else { Deletions::None };
        let run = async |options: &RsyncOptions| {
            let command = PushCommand::new(&self.root, request.wanted_comparison(), limit, options);
            let what = (source, collected);
            let push = Push::new(self.connect.as_ref(), &self.root, request, deletions, options, what, observer);
            let (result, started) = Box::pin(push.run(&command)).await;
            (result, started == Started::No && command.marker.is_some())
        };
        let (result, was_in_vain) = run(&self.options).await;
        if !was_in_vain || !is_about_commands(&result) {
            return result;
        }
        run(&self.options.clone().change_detection(ChangeDetection::SizeAndTime)).await.0
    }
}

/// Whether a login may have refused our script: one with a forced command may run rsync and nothing else.
const fn is_about_commands(result: &Result<TransferReport, TransportError>) -> bool {
    matches!(
        result,
        Err(TransportError::Remote { .. } | TransportError::Unsupported { .. } | TransportError::Protocol { .. })
    )
}
