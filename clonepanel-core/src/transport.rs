//! [`Transport`]: how trees travel to and from a hosting account.
//!
//! # Contract
//! The numbered rules (`T1`, `T2`, …) stand at the methods and are the tests of `testkit::transport`; a transport of your own
//! runs them with [`transport_contract!`](crate::transport_contract).

mod error;
mod far;
mod leaving;
mod report;
mod request;

pub use error::TransportError;
pub use far::list_far;
pub use leaving::leaving;
pub use report::TransferReport;
pub use request::{Comparison, Deletion, PullRequest, PushRequest};

use crate::{
    observer::Observer,
    tree::{TreeSink, TreeSource},
};
use async_trait::async_trait;
use std::sync::Arc;

/// Moves trees between here and one far end.
#[async_trait]
pub trait Transport: Send + Sync {
    /// What the far end is called in messages: `alice@alpha.example.net:public_html`. Holds no secret.
    fn endpoint(&self) -> &str;

    /// Reads the tree at the far end into `sink`.
    ///
    /// - **T1** the sink ends up with exactly what [`tree::copy`](crate::tree::copy) of the same tree would give it;
    /// - **T2** for a file that the sink answers with `Nothing`, no content travels;
    /// - **T3** for a changed file with a basis, far less than the file travels;
    /// - **T4** dropping it at any point leaves the sink committable and abortable;
    /// - **T5** a file that vanishes or cannot be read on the way is a problem in the report, not an error;
    /// - **T6** a path that leaves the root is refused, whatever the far end says;
    /// - **T7** excluded paths are neither offered nor read;
    /// - **T8** an error of the sink ends the pull with [`TransportError::Sink`], except `Refused`, which is a problem of that file,
    ///   whenever the sink says it.
    ///
    /// # Errors
    /// [`TransportError`] by what to do next; the sink may have received a part.
    ///
    /// # Cancel safety
    /// Harmless to drop: the connection ends, child processes are killed.
    async fn pull(
        &self,
        request: &PullRequest,
        sink: &dyn TreeSink,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError>;

    /// Writes the tree of `source` to the far end.
    ///
    /// - **T9** afterwards the far end holds every entry of the source, exactly, but for what T12 is about;
    /// - **T10** nothing is deleted there unless the request says so, and never more than it allows, by number or by share:
    ///   what is [`leaving()`] is counted before anything is deleted;
    /// - **T11** when only some paths are wanted, nothing beside them is written or deleted;
    /// - **T12** with [`Comparison::Content`] a file that is there in the same length and time has the source's content afterwards,
    ///   too.
    ///
    /// # Errors
    /// [`TransportError`] by what to do next; [`TransportError::Unsupported`] from a transport that only reads.
    ///
    /// # Cancel safety
    /// Harmless to drop: each file at the far end is old or new, never mixed.
    async fn push(
        &self,
        request: &PushRequest,
        source: &dyn TreeSource,
        observer: &dyn Observer,
    ) -> Result<TransferReport, TransportError>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Transport + ?Sized> Transport for $pointer {
            fn endpoint(&self) -> &str {
                (**self).endpoint()
            }
            async fn pull(
                &self,
                request: &PullRequest,
                sink: &dyn TreeSink,
                observer: &dyn Observer,
            ) -> Result<TransferReport, TransportError> {
                (**self).pull(request, sink, observer).await
            }
            async fn push(
                &self,
                request: &PushRequest,
                source: &dyn TreeSource,
                observer: &dyn Observer,
            ) -> Result<TransferReport, TransportError> {
                (**self).push(request, source, observer).await
            }
        }
    )*};
}
forward!(&T, Arc<T>, Box<T>);
