//! [`serve`]: the serving end.

use super::{
    hello::Hello,
    link::{Broken, Link},
    message::{self, Failure, FailureKind, Message, Ready},
    options::ServeOptions,
    pump::{Manners, Pump, Throttle},
    receiver::{Receiver, Tells},
    request::{Request, Task},
    sender::Sender,
    served::{Place, Served, ServedSource},
    session::{drive, greet, unexpected},
};
use crate::error::ProtocolError;
use clonepanel_core::{
    path::RelPath,
    problem::{Problem, ProblemKind},
    time::Timestamp,
    transport::{PullRequest, PushRequest},
    tree::TreeError,
};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite};

/// Why a session did not come to its end. The calling end was told, if it still listens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The calling end gave up.
    #[error("the calling end gave up: {0}")]
    GivenUp(String),
    /// The calling end hung up, or nothing came from it for too long.
    #[error("the connection broke: {0}")]
    Interrupted(&'static str),
    /// The calling end broke the protocol.
    #[error("the calling end does not keep to the protocol")]
    Protocol(#[source] ProtocolError),
    /// What was asked for is not granted, or is not there.
    #[error("refused: {0}")]
    Refused(String),
    /// Reading or writing here failed.
    #[error("serving the tree failed")]
    Tree(#[source] TreeError),
}

/// Serves one calling end: one transfer, from the greeting to the goodbye, over a pair of pipes.
///
/// # Errors
/// [`ServeError`]; it was told to the calling end as well.
///
/// # Cancel safety
/// Harmless to drop: the calling end sees the connection end, and each file that was being written is old or new.
pub async fn serve(
    mut input: impl AsyncRead + Send + Unpin,
    mut output: impl AsyncWrite + Send + Unpin,
    served: &dyn Served,
    options: &ServeOptions,
) -> Result<(), ServeError> {
    let (link, far) = Link::new();
    let mut pump = Pump::new(&mut input, &mut output, far, Throttle::new(None), options.progress_timeout);
    let worker = Box::pin(session(link, served, options));
    let broken = drive(&mut pump, Manners::SpeakFirst, worker).await.err();
    pump.finish().await;
    let Some(broken) = broken else { return Ok(()) };
    let (kind, text) = match &broken {
        Broken::Closed | Broken::Far(_) => (None, String::new()),
        Broken::Refused(failure) => (Some(failure.kind), failure.text.clone()),
        Broken::Silent => (Some(FailureKind::Failed), "nothing came for too long".to_owned()),
        Broken::Protocol(error @ ProtocolError::Unsupported(_)) => (Some(FailureKind::Unsupported), error.to_string()),
        Broken::Protocol(error) => (Some(FailureKind::Protocol), error.to_string()),
        Broken::Sink(error) | Broken::Source(error) => (Some(FailureKind::Failed), chain(error)),
    };
    if let Some(kind) = kind {
        pump.say(message::failure(kind, &text)).await;
    }
    Err(match broken {
        Broken::Closed => ServeError::Interrupted("the calling end hung up"),
        Broken::Silent => ServeError::Interrupted("nothing came for too long"),
        Broken::Far(failure) => ServeError::GivenUp(failure.text),
        Broken::Protocol(error) => ServeError::Protocol(error),
        Broken::Refused(failure) => ServeError::Refused(failure.text),
        Broken::Sink(error) | Broken::Source(error) => ServeError::Tree(error),
    })
}

async fn session(mut link: Link, served: &dyn Served, options: &ServeOptions) -> Result<(), Broken> {
    let features = if options.access.is_read_only() { Hello::READ_ONLY } else { 0 };
    greet(&mut link, features).await?;
    let Message::Request(request) = link.next().await? else { return Err(unexpected()) };
    let Request { root, task } = *request;
    let home = std::env::current_dir().map_err(|error| {
        let text = format!("there is no working directory: {error}");
        Broken::Refused(Failure::new(FailureKind::Failed, text))
    })?;
    match task {
        Task::Probe(paths) => {
            let granted = options.access.to_read(&home, &root, &paths)?;
            probe(link, served, &granted.place, &paths).await
        }
        Task::Pull(request) => {
            let granted = options.access.to_read(&home, &root, request.wanted_paths())?;
            pull(link, served, &granted.place, &request.paths(granted.paths)).await
        }
        Task::Push(request) => push(link, served, &options.access.to_write(&home, &root)?, &request).await,
    }
}

fn clock() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

async fn probe(mut link: Link, served: &dyn Served, place: &Place, paths: &[RelPath]) -> Result<(), Broken> {
    let source = open(served, place, &PullRequest::new()).await?;
    let gone = source.missing(paths).await.map_err(Broken::Source)?;
    let missing = paths.iter().enumerate().filter(|(_, path)| gone.contains(path)).map(|(at, _)| at as u64).collect();
    link.outbound.send(message::ready(&Ready { clock: clock(), missing })).await?;
    link.outbound.flush().await
}

async fn open(served: &dyn Served, place: &Place, request: &PullRequest) -> Result<Box<dyn ServedSource>, Broken> {
    served.source(place, request).await.map_err(|error| {
        // Without a text it is the root that was asked for.
        match error {
            TreeError::NotFound { .. } => Broken::Refused(Failure::new(FailureKind::NotFound, "")),
            TreeError::Denied { .. } => {
                Broken::Refused(Failure::new(FailureKind::Denied, "the directory may not be read"))
            }
            error => Broken::Source(error),
        }
    })
}

async fn pull(mut link: Link, served: &dyn Served, place: &Place, request: &PullRequest) -> Result<(), Broken> {
    let clock = clock();
    let source = open(served, place, request).await?;
    // What was asked for by name must be there: its absence may be a misspelling.
    if let Some(path) = source.missing(request.wanted_paths()).await.map_err(Broken::Source)?.first() {
        return Err(Broken::Refused(Failure::new(FailureKind::NotFound, path.to_string())));
    }
    link.outbound.send(message::ready(&Ready { clock, missing: Vec::new() })).await?;
    let (_, mut link) = Sender::new(&*source, request, &(), link).run().await?;
    for path in source.changed() {
        let problem = Problem::new(path, ProblemKind::Changed, "it was written to while it was read");
        link.outbound.send(message::problem_at(&problem)).await?;
    }
    link.outbound.send(message::done()).await?;
    link.outbound.flush().await
}

async fn push(mut link: Link, served: &dyn Served, place: &Place, request: &PushRequest) -> Result<(), Broken> {
    let sink = served.sink(place).await.map_err(Broken::Sink)?;
    link.outbound.send(message::ready(&Ready { clock: clock(), missing: Vec::new() })).await?;
    let everything = PullRequest::new();
    let receiver = Receiver::new(&*sink, &everything, &(), Tells::Peer, link).deleting(&*sink, request);
    let (got, mut link) = receiver.run().await?;
    for problem in sink.finish().await.map_err(Broken::Sink)?.listed() {
        link.outbound.send(message::problem_at(problem)).await?;
    }
    link.outbound.send(message::finished(&got.tally)).await?;
    match link.next().await? {
        Message::Done => Ok(()),
        _ => Err(unexpected()),
    }
}

/// An error and what caused it, in one line.
fn chain(error: &TreeError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}
