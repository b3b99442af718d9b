//! [`Connect`]: how a program at the far end is started and talked to.

mod command;
mod forward;
mod local;
mod relay;
mod ssh;
mod words;

pub use command::RemoteCommand;
pub(crate) use command::quote_into;
pub use forward::Forward;
pub use local::LocalConnect;
pub use relay::Relay;
pub use ssh::SshConnect;

use async_trait::async_trait;
use clonepanel_core::transport::TransportError;
use std::{fmt, future::Future, io, pin::Pin};
use tokio::io::{AsyncRead, AsyncWrite};

/// Starts programs at a far end.
#[async_trait]
pub trait Connect: Send + Sync + fmt::Debug {
    /// What the far end is called in messages; holds no secret.
    fn endpoint(&self) -> &str;

    /// Starts `command` there.
    ///
    /// # Errors
    /// [`TransportError::Unreachable`] when the connection cannot even be tried.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn open(&self, command: &RemoteCommand) -> Result<Connection, TransportError>;

    /// Says what the end of a connection means over which the program was never heard, if this way of connecting knows: `code` is the exit code (`None` after a
    /// signal), `text` what stood on its standard error, escaped. `None` when it says nothing about the connection itself.
    fn explain(&self, code: Option<i32>, text: &str) -> Option<TransportError>;
}

/// The pipes of a started program. Dropping it ends the program.
pub struct Connection {
    /// To its standard input.
    pub input: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    /// From its standard output.
    pub output: Box<dyn AsyncRead + Send + Sync + Unpin>,
    /// From its standard error.
    pub errors: Box<dyn AsyncRead + Send + Sync + Unpin>,
    /// Its end: the exit code, or `None` after a signal.
    pub exit: Pin<Box<dyn Future<Output = io::Result<Option<i32>>> + Send + Sync>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}
