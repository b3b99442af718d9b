//! [`TransportSaboteur`]: transports that break one rule.

use super::rules;
use crate::{
    digest::FileDigest,
    entry::Entry,
    memory::{MemoryTransport, MemoryTree},
    observer::Observer,
    path::RelPath,
    problem::{Problem, ProblemKind},
    testkit::{gate::yield_once, transport::TransportFixture},
    time::Timestamp,
    transport::{Comparison, Deletion, PullRequest, PushRequest, TransferReport, Transport, TransportError},
    tree::{EntryStream, FileSink, FileStream, Listed, TreeError, TreeSink, TreeSource, Want},
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

rules! {
    /// A rule of [`Transport`].
    TransportRule: T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12
}

const ENDPOINT: &str = "saboteur";
/// What a hostile far end lists.
const NAMES: [&[u8]; 5] = [b"good", b"../escaped", b"/tmp/escaped", b"good/../../escaped", b"link/escaped"];

/// A transport in memory that breaks one rule and keeps the others; its own fixture.
#[derive(Debug, Clone)]
pub struct TransportSaboteur {
    breaks: Option<TransportRule>,
    far: MemoryTree,
}

impl TransportSaboteur {
    /// A transport that breaks `rule`.
    #[must_use]
    pub fn new(rule: TransportRule) -> Self {
        Self { breaks: Some(rule), ..Self::honest() }
    }

    /// A transport that breaks none.
    #[must_use]
    pub fn honest() -> Self {
        Self { breaks: None, far: MemoryTree::new() }
    }
}

#[async_trait]
impl TransportFixture for TransportSaboteur {
    async fn place(&self, tree: &MemoryTree) {
        self.far.assign(tree);
    }

    async fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.clone())
    }

    async fn far(&self) -> MemoryTree {
        self.far.fork()
    }

    async fn remove(&self, path: &RelPath) {
        self.far.remove(path);
    }

    async fn forbid_reading(&self, path: &RelPath) -> bool {
        self.far.forbid_reading(path).is_ok()
    }

    async fn hostile(&self) -> Option<Arc<dyn Transport>> {
        Some(Arc::new(Hostile { breaks: self.breaks }))
    }
}

#[async_trait]
impl Transport for TransportSaboteur {
    fn endpoint(&self) -> &str {
        ENDPOINT
    }

    async fn pull(
        &self,
        request: &PullRequest,
        sink: &dyn TreeSink,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let request = match self.breaks {
            Some(TransportRule::T7) => PullRequest::new().since(request.fresh_since()),
            _ => request.clone(),
        };
        let sink =
            Sink { breaks: self.breaks, inner: sink, unwanted: AtomicU64::new(0), unwanted_bytes: AtomicU64::new(0) };
        let mut report = MemoryTransport::new(self.far.clone()).pull(&request, &sink, observer).await?;
        report.files += sink.unwanted.load(Relaxed);
        report.literal_bytes += sink.unwanted_bytes.load(Relaxed);
        let lost = report.problems.listed().iter().find(|problem| problem.kind != ProblemKind::Refused);
        match lost {
            Some(problem) if self.breaks == Some(TransportRule::T5) => {
                Err(TransportError::Remote { endpoint: ENDPOINT.to_owned(), detail: problem.to_string() })
            }
            _ => Ok(report),
        }
    }

    async fn push(
        &self,
        request: &PushRequest,
        source: &dyn TreeSource,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let far = MemoryTransport::new(self.far.clone());
        match self.breaks {
            Some(TransportRule::T9) => far.push(request, &Source(source), observer).await,
            Some(TransportRule::T10) => {
                far.push(&request.clone().deletion(Deletion::UpTo(u64::MAX)), source, observer).await
            }
            Some(TransportRule::T11) => far.push(&request.clone().paths(Vec::new()), source, observer).await,
            Some(TransportRule::T12) => {
                far.push(&request.clone().comparison(Comparison::LengthAndTime), source, observer).await
            }
            _ => far.push(request, source, observer).await,
        }
    }
}

struct Sink<'a> {
    breaks: Option<TransportRule>,
    inner: &'a dyn TreeSink,
    unwanted: AtomicU64,
    unwanted_bytes: AtomicU64,
}

#[async_trait]
impl TreeSink for Sink<'_> {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        let mut entry = entry.clone();
        if self.breaks == Some(TransportRule::T1) {
            entry.meta.uid += 1;
        }
        let want = match self.inner.offer(&entry).await {
            Err(error) if self.breaks == Some(TransportRule::T8) => return Err(hidden(&entry.path, &error)),
            answer => answer?,
        };
        Ok(match (self.breaks, want) {
            (Some(TransportRule::T2), Want::Nothing) if entry.has_content() => {
                self.unwanted.fetch_add(1, Relaxed);
                self.unwanted_bytes.fetch_add(entry.len().unwrap_or(0), Relaxed);
                Want::Nothing
            }
            (Some(TransportRule::T3), Want::Data { .. }) => Want::Data { basis: None },
            (_, want) => want,
        })
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        let file = match self.inner.file(entry).await {
            Err(error) if self.breaks == Some(TransportRule::T8) => return Err(hidden(&entry.path, &error)),
            file => file?,
        };
        // Two thirds of a long file are called the whole, and then it is written anew.
        if self.breaks == Some(TransportRule::T4) && entry.len() > Some(4096) {
            let again = self.inner.file(entry).await?;
            return Ok(Box::new(Twice { first: file, second: again, content: BytesMut::new() }));
        }
        if self.breaks == Some(TransportRule::T8) {
            return Ok(Box::new(Silent { path: entry.path.clone(), inner: Some(file) }));
        }
        Ok(file)
    }
}

fn hidden(path: &RelPath, _: &TreeError) -> TreeError {
    TreeError::Refused { path: path.clone(), why: "sabotage" }
}

struct Twice {
    first: Box<dyn FileSink>,
    second: Box<dyn FileSink>,
    content: BytesMut,
}

#[async_trait]
impl FileSink for Twice {
    async fn write(&mut self, chunk: Bytes) -> Result<(), TreeError> {
        self.content.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<FileDigest, TreeError> {
        let content = self.content.split().freeze();
        self.first.write(content.slice(..content.len() * 2 / 3)).await?;
        self.first.finish().await?;
        yield_once().await;
        self.second.write(content).await?;
        self.second.finish().await
    }
}

/// Keeps every error of a file to itself.
struct Silent {
    path: RelPath,
    inner: Option<Box<dyn FileSink>>,
}

#[async_trait]
impl FileSink for Silent {
    async fn write(&mut self, chunk: Bytes) -> Result<(), TreeError> {
        if let Some(inner) = &mut self.inner
            && inner.write(chunk).await.is_err()
        {
            self.inner = None;
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<FileDigest, TreeError> {
        let missing = FileDigest::of(self.path.as_bytes());
        match self.inner {
            Some(inner) => Ok(inner.finish().await.unwrap_or(missing)),
            None => Ok(missing),
        }
    }
}

/// A source whose modes are wrong.
struct Source<'a>(&'a dyn TreeSource);

#[async_trait]
impl TreeSource for Source<'_> {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(Loosened(self.0.entries().await?)))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        self.0.open(path).await
    }
}

struct Loosened(Box<dyn EntryStream>);

#[async_trait]
impl EntryStream for Loosened {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        let mut listed = self.0.next().await?;
        if let Some(Listed::Entry(entry)) = &mut listed {
            entry.meta.mode ^= 0o002;
        }
        Ok(listed)
    }
}

/// A transport to a far end that lists what is outside.
struct Hostile {
    breaks: Option<TransportRule>,
}

#[async_trait]
impl Transport for Hostile {
    fn endpoint(&self) -> &str {
        ENDPOINT
    }

    async fn pull(
        &self,
        _: &PullRequest,
        sink: &dyn TreeSink,
        _: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        let mut report = TransferReport::default();
        for name in NAMES {
            let path = match (RelPath::try_from(name), self.breaks) {
                // Made to fit, in place of being refused.
                (_, Some(TransportRule::T6)) => {
                    RelPath::try_from(name.rsplit(|&byte| byte == b'/').next().unwrap_or_default()).unwrap_or_default()
                }
                (Ok(path), _) => path,
                (Err(error), _) => {
                    report.problems.push(Problem::new(RelPath::root(), ProblemKind::Refused, error.to_string()));
                    continue;
                }
            };
            let entry = Entry::file(path, 4, Timestamp::default());
            match sink.offer(&entry).await {
                Ok(Want::Nothing) => {}
                Ok(Want::Data { .. }) => {
                    let mut file = sink.file(&entry).await.map_err(TransportError::Sink)?;
                    file.write(Bytes::from_static(b"evil")).await.map_err(TransportError::Sink)?;
                    file.finish().await.map_err(TransportError::Sink)?;
                }
                Err(error) => {
                    report.problems.push(Problem::new(entry.path, ProblemKind::Refused, error.to_string()));
                }
            }
        }
        Ok(report)
    }

    async fn push(
        &self,
        _: &PushRequest,
        _: &dyn TreeSource,
        _: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        Err(TransportError::Unsupported { endpoint: ENDPOINT.to_owned(), detail: "it only lists".to_owned() })
    }
}
