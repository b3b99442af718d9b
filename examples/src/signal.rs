//! Being asked to stop.

use crate::failure::Failure;
use std::future::Future;
use tokio::signal::unix::{SignalKind, signal};

/// Ends when the process is asked to stop, with the name of what asked.
pub(crate) fn stopped() -> Result<impl Future<Output = &'static str>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::failed(format!("signals cannot be heard: {error}")));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "an interrupt",
            _ = terminate.recv() => "SIGTERM",
        }
    })
}
