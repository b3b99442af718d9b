//! Our own far end: [`AgentTransport`] and [`serve()`] speak the protocol of `docs/agent-protocol.md` over any pair of pipes.
//!
//! In a pull the serving end is the sender and in a push the calling end is; so there is one `sender` (over a
//! [`TreeSource`](clonepanel_core::tree::TreeSource)) and one `receiver` (over a [`TreeSink`](clonepanel_core::tree::TreeSink)), and
//! each end runs either. `field` < `frame` < `message` are codecs without I/O; `pump` is the one loop that moves bytes.

mod access;
mod content;
mod delta;
mod field;
mod frame;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod hello;
mod incoming;
mod link;
mod listing;
mod message;
mod options;
mod outgoing;
mod preparing;
mod pump;
mod receiver;
mod request;
mod sender;
mod serve;
mod served;
mod session;
#[cfg(test)]
mod tests;
mod transport;
mod window;

pub use access::Access;
pub use options::{AgentOptions, ServeOptions};
pub use serve::{ServeError, serve};
pub use served::{Place, Served, ServedSink, ServedSource};
pub use transport::{AgentFacts, AgentTransport};
