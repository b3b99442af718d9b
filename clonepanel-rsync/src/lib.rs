//! A native client of the stock rsync protocol (30 to 32), as a ClonePanel transport.
//!
//! The far end is any hosting account with ssh and rsync 3.0 or later; nothing is installed there. The protocol is written
//! as state machines without I/O (`wire` < `delta` < `session`); one loop for each direction (`pull`, `push`) moves bytes between
//! them, a child process and a [`TreeSink`](clonepanel_core::tree::TreeSink) or
//! [`TreeSource`](clonepanel_core::tree::TreeSource).
//!
//! ```no_run
//! use clonepanel_core::{transport::{PullRequest, Transport}, tree::TreeSink};
//! use clonepanel_rsync::{RsyncTransport, SshConnect};
//!
//! # async fn example(sink: &dyn TreeSink) -> Result<(), Box<dyn std::error::Error>> {
//! let ssh = SshConnect::new("alpha.example.net").user("alice");
//! let account = RsyncTransport::new(ssh, "public_html");
//! let report = account.pull(&PullRequest::new(), sink, &()).await?;
//! println!("{} files, {} bytes travelled", report.files, report.received_bytes);
//! # Ok(())
//! # }
//! ```

pub mod agent;
mod connect;
pub mod delta;
mod error;
mod failure;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod messages;
mod options;
mod pace;
mod partial;
mod preamble;
mod pull;
mod push;
mod session;
mod transport;
mod wire;

pub use connect::{Connect, Connection, Forward, LocalConnect, Relay, RemoteCommand, SshConnect};
pub use error::ProtocolError;
pub use options::{ChangeDetection, Checksum, Compression, RsyncOptions};
pub use transport::{FarEnd, RsyncTransport};
