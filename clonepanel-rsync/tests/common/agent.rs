//! Both ends of the agent protocol in this process, with pipes between them that can be cut and narrowed.

use async_trait::async_trait;
use clonepanel_core::{
    entry::Entry,
    memory::MemoryTree,
    path::RelPath,
    problem::{Problem, Problems},
    transport::{PullRequest, PushRequest, TransportError, leaving},
    tree::{EntryStream, FileSink, FileStream, TreeError, TreeSink, TreeSource, Want},
};
use clonepanel_rsync::{
    Connect, Connection, RemoteCommand,
    agent::{Access, AgentTransport, Place, ServeOptions, Served, ServedSink, ServedSource, serve},
};
use std::{
    collections::HashSet,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, ReadBuf};

/// A far end in memory.
#[derive(Debug, Clone)]
pub(crate) struct InMemory {
    pub(crate) far: MemoryTree,
    /// So many bytes come through from the far end, and so many to it.
    pub(crate) cuts: [usize; 2],
    /// The longest piece that comes through at once.
    pub(crate) piece: usize,
    /// How many bytes came through, from the far end and to it.
    pub(crate) passed: [Arc<AtomicUsize>; 2],
}

impl InMemory {
    pub(crate) fn new(far: &MemoryTree) -> Self {
        Self { far: far.clone(), cuts: [usize::MAX; 2], piece: usize::MAX, passed: Default::default() }
    }

    pub(crate) fn transport(&self) -> AgentTransport {
        AgentTransport::new(self.clone(), "")
    }
}

#[async_trait]
impl Connect for InMemory {
    fn endpoint(&self) -> &str {
        "memory"
    }

    async fn open(&self, _: &RemoteCommand) -> Result<Connection, TransportError> {
        let (near_output, far_output) = tokio::io::duplex(64 << 10);
        let (far_input, near_input) = tokio::io::duplex(64 << 10);
        let narrow = |inner, way: usize| Narrow {
            inner,
            left: self.cuts[way],
            piece: self.piece,
            passed: Arc::clone(&self.passed[way]),
        };
        let far = self.far.clone();
        let far_input = narrow(far_input, 1);
        let served = tokio::spawn(async move {
            let options = ServeOptions::new(Access::full());
            serve(far_input, far_output, &Memory(far), &options).await
        });
        Ok(Connection {
            input: Box::new(near_input),
            output: Box::new(narrow(near_output, 0)),
            errors: Box::new(tokio::io::empty()),
            exit: Box::pin(async move { Ok(Some(i32::from(!matches!(served.await, Ok(Ok(())))))) }),
        })
    }

    fn explain(&self, _: Option<i32>, _: &str) -> Option<TransportError> {
        None
    }
}

/// A pipe that ends after so many bytes.
struct Narrow {
    inner: tokio::io::DuplexStream,
    left: usize,
    piece: usize,
    passed: Arc<AtomicUsize>,
}

impl AsyncRead for Narrow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = self.left.min(self.piece).min(buffer.remaining());
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut piece = vec![0; room];
        let mut piece = ReadBuf::new(&mut piece);
        std::task::ready!(Pin::new(&mut self.inner).poll_read(context, &mut piece))?;
        buffer.put_slice(piece.filled());
        self.left -= piece.filled().len();
        self.passed.fetch_add(piece.filled().len(), SeqCst);
        Poll::Ready(Ok(()))
    }
}

/// A tree in memory, whatever place is asked for.
struct Memory(MemoryTree);

#[async_trait]
impl Served for Memory {
    async fn source(&self, _: &Place, _: &PullRequest) -> Result<Box<dyn ServedSource>, TreeError> {
        Ok(Box::new(Self(self.0.clone())))
    }

    async fn sink(&self, _: &Place) -> Result<Box<dyn ServedSink>, TreeError> {
        Ok(Box::new(Self(self.0.pass())))
    }
}

#[async_trait]
impl TreeSource for Memory {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        self.0.entries().await
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        self.0.open(path).await
    }
}

#[async_trait]
impl ServedSource for Memory {
    async fn missing(&self, paths: &[RelPath]) -> Result<Vec<RelPath>, TreeError> {
        Ok(paths.iter().filter(|path| self.0.entry(path).is_none()).cloned().collect())
    }

    fn changed(&self) -> Vec<RelPath> {
        Vec::new()
    }
}

#[async_trait]
impl TreeSink for Memory {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        self.0.offer(entry).await
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.0.file(entry).await
    }
}

#[async_trait]
impl ServedSink for Memory {
    async fn leaving(
        &self,
        request: &PushRequest,
        staying: HashSet<RelPath>,
    ) -> Result<Result<Vec<RelPath>, Problem>, TreeError> {
        let far = self.0.list().into_iter().map(|entry| (entry.path.clone(), entry.is_dir()));
        Ok(leaving(request, &staying, far))
    }

    async fn delete(&self, leaving: Vec<RelPath>) -> Result<(u64, Problems), TreeError> {
        Ok((leaving.iter().map(|path| self.0.remove(path) as u64).sum(), Problems::new()))
    }

    async fn finish(&self) -> Result<Problems, TreeError> {
        Ok(Problems::new())
    }
}
