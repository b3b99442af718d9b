//! A transport of your own: one that has two ways to the same account and takes the second when the first is not reachable.
//!
//! It shows all that a transport has to implement, and how its contract is run: `cargo test --example custom_transport`.
//!
//! ```sh
//! cargo run --example custom_transport
//! ```

#![allow(clippy::print_stdout, reason = "programs talk to people")]

use async_trait::async_trait;
use clonepanel_core::{
    job::BackupJob,
    memory::{MemoryStore, MemoryTransport, MemoryTree},
    observer::{Event, Observer},
    path::RelPath,
    snapshot_id::SourceName,
    time::{SystemClock, Timestamp},
    transport::{PullRequest, PushRequest, TransferReport, Transport, TransportError},
    tree::{TreeSink, TreeSource},
};
use std::{error::Error, sync::Arc};

/// Two ways to the same far end: the direct one, say, and one through another host.
struct TwoWays<A, B> {
    first: A,
    second: B,
}

#[async_trait]
impl<A: Transport, B: Transport> Transport for TwoWays<A, B> {
    fn endpoint(&self) -> &str {
        self.first.endpoint()
    }

    async fn pull(
        &self,
        request: &PullRequest,
        sink: &dyn TreeSink,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        match self.first.pull(request, sink, observer).await {
            // Nothing was offered to the sink by then: it can be filled from the other side. After any other error it cannot.
            Err(error @ TransportError::Unreachable { .. }) => {
                observer.notice(&Event::Message { text: &format!("{error}; going the other way") });
                self.second.pull(request, sink, observer).await
            }
            ended => ended,
        }
    }

    async fn push(
        &self,
        request: &PushRequest,
        source: &dyn TreeSource,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        match self.first.push(request, source, observer).await {
            Err(TransportError::Unreachable { .. }) => self.second.push(request, source, observer).await,
            ended => ended,
        }
    }
}

/// A way that is blocked.
struct Blocked;

impl Blocked {
    fn unreachable() -> TransportError {
        TransportError::Unreachable { endpoint: "the direct way".to_owned(), detail: "no route to host".to_owned() }
    }
}

#[async_trait]
impl Transport for Blocked {
    fn endpoint(&self) -> &str {
        "the direct way"
    }

    async fn pull(
        &self,
        _: &PullRequest,
        _: &dyn TreeSink,
        _: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        Err(Self::unreachable())
    }

    async fn push(
        &self,
        _: &PushRequest,
        _: &dyn TreeSource,
        _: &dyn Observer,
    ) -> Result<TransferReport, TransportError> {
        Err(Self::unreachable())
    }
}

/// Shows what transports say.
struct Messages;

impl Observer for Messages {
    fn notice(&self, event: &Event<'_>) {
        if let Event::Message { text } = event {
            println!("{text}");
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let site = MemoryTree::new();
    site.put_file(RelPath::try_from("index.html")?, "<h1>Welcome</h1>", Timestamp::from_secs(1))?;
    let transport = TwoWays { first: Blocked, second: MemoryTransport::new(site) };
    let outcome = BackupJob::new(Arc::new(MemoryStore::new()), SourceName::new("example.org")?)
        .part(RelPath::try_from("files")?, Arc::new(transport), PullRequest::new())
        .run(&SystemClock, &Messages)
        .await?;
    println!("{}: {} files", outcome.info.id, outcome.info.tally.files);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clonepanel_core::testkit::transport::TransportFixture;

    /// What a contract is run against: a far end that the tests can fill, change and look at.
    struct Fixture(MemoryTree);

    #[async_trait]
    impl TransportFixture for Fixture {
        async fn place(&self, tree: &MemoryTree) {
            self.0.assign(tree);
        }

        async fn transport(&self) -> Arc<dyn Transport> {
            Arc::new(TwoWays { first: Blocked, second: MemoryTransport::new(self.0.clone()) })
        }

        async fn far(&self) -> MemoryTree {
            self.0.fork()
        }

        async fn remove(&self, path: &RelPath) {
            self.0.remove(path);
        }
    }

    clonepanel_core::transport_contract!(two_ways, Fixture(MemoryTree::new()));
}
