//! State machines of a session, without I/O: bytes in, steps out, bytes to send.

mod handshake;
mod lists;
mod receiver;

pub(crate) use handshake::{Agreed, Wanted};
pub(crate) use lists::Refusal;
pub(crate) use receiver::{Answer, Receiver, Step};

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
