//! Driving a worker and its [`Pump`] together, and the words that every session begins with.

use super::{
    hello::Hello,
    link::{Broken, Link},
    message::{self, Message},
    pump::{Manners, Pump},
};
use crate::error::ProtocolError;
use std::pin::pin;

/// Runs a worker to its end while the pump moves its bytes.
pub(super) async fn drive<T>(
    pump: &mut Pump<'_>,
    manners: Manners,
    worker: impl Future<Output = Result<T, Broken>>,
) -> Result<T, Broken> {
    let worker = pin!(worker);
    tokio::select! {
        biased;
        result = worker => result,
        broken = pump.run(manners) => Err(broken),
    }
}

/// Says hello and waits for the peer's.
pub(super) async fn greet(link: &mut Link, features: u64) -> Result<Hello, Broken> {
    link.outbound.send(message::hello(&Hello::ours(features))).await?;
    match link.next().await? {
        Message::Hello(hello) => {
            hello.agree()?;
            Ok(hello)
        }
        _ => Err(unexpected()),
    }
}

/// A message that has no place here.
pub(super) const fn unexpected() -> Broken {
    Broken::Protocol(ProtocolError::Violation("a message that has no place here"))
}
