//! State machines of a session, without I/O: bytes in, steps out, bytes to send.

mod handshake;
mod lists;
mod outgoing;
mod receiver;
mod sender;
#[cfg(any(test, feature = "fuzz"))]
mod sender_at_once;

pub(crate) use handshake::{Agreed, Wanted};
pub(crate) use lists::Refusal;
pub(crate) use receiver::{Answer, Receiver, Step};
pub(crate) use sender::{Asked, Deletions, Sender, SenderStep};

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod sender_tests;
#[cfg(test)]
mod tests;
