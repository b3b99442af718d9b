//! [`AgentTransport`]: a directory at a far end that runs our own program.

use super::{
    hello::Hello,
    link::{Broken, Far, Link},
    message::{self, Failure, FailureKind, Message, Ready},
    options::AgentOptions,
    pump::{Manners, Pump, Throttle},
    receiver::{Receiver, Tells},
    request::{Request, Task},
    sender::{Sender, Sent},
    session::{drive, greet, unexpected},
};
use crate::{
    connect::{Connect, Connection, RemoteCommand},
    error::ProtocolError,
    messages::{Messages, Severity},
};
use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    escape::Escaped,
    observer::{Event, Observer},
    path::RelPath,
    problem::{Problem, ProblemKind},
    time::Timestamp,
    transport::{PullRequest, PushRequest, TransferReport, Transport, TransportError},
    tree::{TreeSink, TreeSource},
};
use std::{sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How long a far end may take to go away once everything is said.
const FAREWELL: Duration = Duration::from_secs(10);
/// So many problems may still be told after the end.
const MAX_LATE: u64 = 1_000_000;
/// Exit codes of a shell that cannot run a program.
const NOT_RUNNABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
/// What ssh says of itself.
const SSH_FAILED: i32 = 255;
/// A program that does not know what it is asked for.
const USAGE: i32 = 2;

/// A directory at a far end that has the program `clonepanel`; what runs there is `clonepanel agent`.
#[derive(Debug, Clone)]
pub struct AgentTransport {
    connect: Arc<dyn Connect>,
    root: Bytes,
    endpoint: String,
    options: AgentOptions,
}

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentFacts {
    /// Its name and version, escaped.
    pub program: String,
    /// Whether it takes no push.
    pub is_read_only: bool,
    /// Which of the paths asked about do not exist.
    pub missing: Vec<RelPath>,
    /// Its clock.
    pub clock: Timestamp,
    /// What the login prints by itself, escaped. Harmless here, but other tools stumble over it.
    pub banner: Option<String>,
}

/// How a conversation went.
struct Talked<T> {
    outcome: T,
    received: u64,
    sent: u64,
    noise: Vec<u8>,
}

impl AgentTransport {
    /// The directory `root`, absolute or below the home of the login; empty for the home itself.
    #[must_use]
    pub fn new(connect: impl Connect + 'static, root: impl Into<Vec<u8>>) -> Self {
        let root: Vec<u8> = root.into();
        let endpoint = format!("{}:{}", connect.endpoint(), Escaped(&root));
        Self { connect: Arc::new(connect), root: root.into(), endpoint, options: AgentOptions::new() }
    }

    /// With these options.
    #[must_use]
    pub fn options(mut self, options: AgentOptions) -> Self {
        self.options = options;
        self
    }

    /// Logs in and tells what is there, without transferring anything: above all whether these paths exist.
    ///
    /// # Errors
    /// As a pull: the login is refused, the root does not exist, the program is missing.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn probe(&self, paths: &[RelPath]) -> Result<AgentFacts, TransportError> {
        let (mut link, far) = Link::new();
        let request = self.request(Task::Probe(paths.to_vec()))?;
        let worker = async move { begin(&mut link, &request).await };
        let talked = self.talk(far, &(), worker).await?;
        let (hello, ready) = talked.outcome;
        let missing = ready.missing.iter().filter_map(|at| paths.get(usize::try_from(*at).ok()?).cloned()).collect();
        Ok(AgentFacts {
            program: hello.program,
            is_read_only: hello.features & Hello::READ_ONLY != 0,
            missing,
            clock: ready.clock,
            banner: Some(Escaped(talked.noise.trim_ascii()).to_string()).filter(|text| !text.is_empty()),
        })
    }

    fn request(&self, task: Task) -> Result<Request, TransportError> {
        let request = Request { root: self.root.clone(), task };
        if request.is_too_long() {
            let detail = "the request has more paths or rules than the agent takes".to_owned();
            return Err(TransportError::Unsupported { endpoint: self.endpoint.clone(), detail });
        }
        Ok(request)
    }

    /// Starts the program there, and moves bytes for a worker until that is done.
    async fn talk<T>(
        &self,
        far: Far,
        observer: &dyn Observer,
        worker: impl Future<Output = Result<T, Broken>> + Send,
    ) -> Result<Talked<T>, TransportError> {
        let command = RemoteCommand::new(vec![self.options.agent_program.clone(), b"agent".to_vec()]);
        let Connection { mut input, mut output, mut errors, mut exit } = self.connect.open(&command).await?;
        let mut stderr = Messages::default();
        let throttle = Throttle::new(self.options.bandwidth);
        let mut pump = Pump::new(&mut output, &mut input, far, throttle, self.options.progress_timeout);
        let result = tokio::select! {
            biased;
            result = drive(&mut pump, Manners::ListenFirst, worker) => result,
            never = listen(&mut errors, &mut stderr, observer) => match never {},
        };
        match result {
            Ok(outcome) => {
                pump.finish().await;
                let (received, sent, noise) = (pump.received, pump.sent, pump.noise().to_vec());
                drop((input, output));
                // It has nothing more to say; how it ends does not matter, and not for how long either.
                let _ = tokio::time::timeout(FAREWELL, &mut exit).await;
                Ok(Talked { outcome, received, sent, noise })
            }
            Err(Broken::Sink(error)) => Err(TransportError::Sink(error)),
            Err(Broken::Source(error)) => Err(TransportError::Source(error)),
            Err(broken) => {
                let heard = if pump.has_heard() { Heard::Agent } else { Heard::Only(pump.noise().to_vec()) };
                drop((input, output));
                let patience = if matches!(broken, Broken::Closed) { FAREWELL } else { FAREWELL / 5 };
                let end = async {
                    let mut text = [0; 4096];
                    while let Ok(len @ 1..) = errors.read(&mut text).await {
                        stderr.feed(&text[..len]);
                    }
                    exit.await.ok().flatten()
                };
                let code = tokio::time::timeout(patience, end).await.ok().flatten();
                stderr.end_line(Severity::Other);
                Err(self.explain(broken, &heard, code, &stderr))
            }
        }
    }

    fn explain(&self, broken: Broken, heard: &Heard, code: Option<i32>, stderr: &Messages) -> TransportError {
        let endpoint = self.connect.endpoint().to_owned();
        if let Heard::Only(noise) = heard {
            // Once the far end was heard, it is not the login that failed, whatever it says.
            if let Some(error) = self.connect.explain(code, &stderr.text()) {
                return error;
            }
            let program = Escaped(&self.options.agent_program).to_string();
            let said = stderr.reason().unwrap_or_else(|| Escaped(noise.trim_ascii()).to_string());
            if matches!(code, Some(NOT_FOUND | NOT_RUNNABLE)) {
                let detail = format!("{program} does not run there: install ClonePanel, or say where it is");
                return TransportError::Unsupported { endpoint, detail };
            }
            if code == Some(USAGE) {
                let detail = format!("{program} there knows no agent, so it is too old: {said}");
                return TransportError::Unsupported { endpoint, detail };
            }
            if matches!(broken, Broken::Closed) && code == Some(0) {
                let detail = format!("{program} there is no ClonePanel, or the login runs no commands: {said}");
                return TransportError::Unsupported { endpoint, detail };
            }
        }
        match broken {
            Broken::Closed if matches!(code, Some(1..)) && code != Some(SSH_FAILED) => {
                let code = code.unwrap_or_default();
                let said = stderr.reason().map(|said| format!("{said} ")).unwrap_or_default();
                TransportError::Remote { endpoint, detail: format!("{said}(code {code})") }
            }
            Broken::Closed => TransportError::Interrupted { endpoint, detail: "it hung up in the middle".to_owned() },
            Broken::Silent => {
                let secs = self.options.progress_timeout.as_secs();
                TransportError::Interrupted { endpoint, detail: format!("nothing came for {secs} s") }
            }
            Broken::Protocol(error @ ProtocolError::Unsupported(_)) => {
                TransportError::Unsupported { endpoint, detail: error.to_string() }
            }
            Broken::Protocol(error) => {
                TransportError::Protocol { endpoint, detail: error.to_string(), source: Some(error.into()) }
            }
            Broken::Far(Failure { kind, text }) | Broken::Refused(Failure { kind, text }) => {
                self.far_failure(endpoint, kind, text)
            }
            Broken::Sink(error) => TransportError::Sink(error),
            Broken::Source(error) => TransportError::Source(error),
        }
    }

    fn far_failure(&self, endpoint: String, kind: FailureKind, text: String) -> TransportError {
        match kind {
            FailureKind::Denied => TransportError::Denied { endpoint, detail: text },
            FailureKind::NotFound => {
                let root = || if self.root.is_empty() { "home".to_owned() } else { Escaped(&self.root).to_string() };
                TransportError::NotFound { endpoint, path: if text.is_empty() { root() } else { text } }
            }
            FailureKind::Unsupported => TransportError::Unsupported { endpoint, detail: text },
            FailureKind::Failed => TransportError::Remote { endpoint, detail: text },
            FailureKind::Protocol => {
                let detail = format!("it says that we do not keep to it: {text}");
                TransportError::Protocol { endpoint, detail, source: None }
            }
        }
    }
}

/// What was heard of a far end.
enum Heard {
    Agent,
    /// The agent was not heard, only this.
    Only(Vec<u8>),
}

enum Never {}

/// Collects what comes on standard error, for as long as it is asked to.
async fn listen(
    errors: &mut Box<dyn AsyncRead + Send + Sync + Unpin>,
    stderr: &mut Messages,
    observer: &dyn Observer,
) -> Never {
    let mut text = [0; 4096];
    while let Ok(len @ 1..) = errors.read(&mut text).await {
        for line in stderr.feed(&text[..len]) {
            observer.notice(&Event::Message { text: &Escaped(&line).to_string() });
        }
    }
    std::future::pending().await
}

async fn begin(link: &mut Link, request: &Request) -> Result<(Hello, Ready), Broken> {
    let hello = greet(link, 0).await?;
    link.outbound.send(message::request(request)).await?;
    match link.next().await? {
        Message::Ready(ready) => Ok((hello, ready)),
        _ => Err(unexpected()),
    }
}

#[async_trait]
impl Transport for AgentTransport {
    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    async fn pull(
        &self,
        request: &PullRequest,
        sink: &dyn TreeSink,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let (mut link, far) = Link::new();
        let asked = self.request(Task::Pull(request.clone()))?;
        let worker = Box::pin(async move {
            let (_, ready) = begin(&mut link, &asked).await?;
            let (mut got, mut link) = Receiver::new(sink, request, observer, Tells::Nobody, link).run().await?;
            link.outbound.send(message::finished(&got.tally)).await?;
            for _ in 0..=MAX_LATE {
                match link.next().await? {
                    Message::Done => return Ok((got, ready.clock)),
                    Message::Problem(problem) => {
                        let is_told = problem.kind == ProblemKind::Changed && got.changed.contains(&problem.path);
                        if !is_told && request.covers_problem(&problem) {
                            tell(&mut got.problems, observer, problem);
                        }
                    }
                    _ => return Err(unexpected()),
                }
            }
            Err(Broken::Protocol(ProtocolError::Violation("problems without end")))
        });
        let Talked { outcome: (got, clock), received, sent, .. } = Box::pin(self.talk(far, observer, worker)).await?;
        Ok(TransferReport {
            entries: got.entries,
            files: got.tally.files,
            literal_bytes: got.tally.literal_bytes,
            matched_bytes: got.tally.matched_bytes,
            received_bytes: received,
            sent_bytes: sent,
            deleted: 0,
            source_clock: Some(clock),
            problems: got.problems,
        })
    }

    async fn push(
        &self,
        request: &PushRequest,
        source: &dyn TreeSource,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let (mut link, far) = Link::new();
        let asked = self.request(Task::Push(request.clone()))?;
        let covered = request.covered();
        let covered = &covered;
        let worker = Box::pin(async move {
            begin(&mut link, &asked).await?;
            let (sent, mut link) = Sender::new(source, covered, observer, link).run().await?;
            link.outbound.send(message::done()).await?;
            link.outbound.flush().await?;
            Ok(sent)
        });
        let talked = Box::pin(self.talk(far, observer, worker)).await?;
        let Sent { entries, tally, problems } = talked.outcome;
        Ok(TransferReport {
            entries,
            files: tally.files,
            literal_bytes: tally.literal_bytes,
            matched_bytes: tally.matched_bytes,
            received_bytes: talked.received,
            sent_bytes: talked.sent,
            deleted: tally.deleted,
            source_clock: None,
            problems,
        })
    }
}

fn tell(problems: &mut clonepanel_core::problem::Problems, observer: &dyn Observer, problem: Problem) {
    observer.notice(&Event::Problem(&problem));
    problems.push(problem);
}
