//! [`Link`]: what the state machines see of a connection: messages that came, and a queue for those that go.

use super::message::{Failure, Message};
use crate::error::ProtocolError;
use bytes::Bytes;
use clonepanel_core::tree::TreeError;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use tokio::sync::mpsc;

/// So many messages may have come and not been looked at.
const ARRIVED: usize = 2;
/// So many pieces may wait to be written.
const LEAVING: usize = 4;
/// Small frames are put together up to this length, in bytes.
const GATHERED: usize = 32 << 10;

/// Why a session ended early.
#[derive(Debug)]
pub(super) enum Broken {
    /// The peer hung up.
    Closed,
    /// The peer gave up, and says why.
    Far(Failure),
    /// The peer broke the protocol.
    Protocol(ProtocolError),
    /// What the peer asks for is not granted here, or is not there.
    Refused(Failure),
    /// Nothing came for too long.
    Silent,
    /// Writing here failed.
    Sink(TreeError),
    /// Reading here failed.
    Source(TreeError),
}

impl From<ProtocolError> for Broken {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// One end of a session, as a worker has it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    activity: Activity,
}

/// The messages that come.
#[derive(Debug)]
pub(super) struct Inbound(mpsc::Receiver<Result<Message, Broken>>);

/// The frames that go, small ones together. Waiting for room is waiting for the peer.
#[derive(Debug)]
pub(super) struct Outbound {
    channel: mpsc::Sender<Bytes>,
    activity: Activity,
    gathered: Vec<u8>,
}

/// The other side of a [`Link`], as the pump has it.
#[derive(Debug)]
pub(super) struct Far {
    pub(super) arrived: mpsc::Sender<Result<Message, Broken>>,
    pub(super) leaving: mpsc::Receiver<Bytes>,
    pub(super) activity: Activity,
}

/// Whether a worker does something, or waits for the peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Activity(Arc<AtomicBool>);

impl Activity {
    pub(super) fn is_waiting(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub(super) fn set_waiting(&self, is_waiting: bool) {
        self.0.store(is_waiting, Relaxed);
    }
}

impl Link {
    pub(super) fn new() -> (Self, Far) {
        let (arrived, inbound) = mpsc::channel(ARRIVED);
        let (outbound, leaving) = mpsc::channel(LEAVING);
        let activity = Activity::default();
        let far = Far { arrived, leaving, activity: activity.clone() };
        let outbound = Outbound { channel: outbound, activity: activity.clone(), gathered: Vec::new() };
        (Self { inbound: Inbound(inbound), outbound, activity }, far)
    }

    /// Says whether what comes next is waiting for the peer alone.
    pub(super) fn set_waiting(&self, is_waiting: bool) {
        self.activity.set_waiting(is_waiting);
    }

    /// Says what is to be said and waits for the peer's next message.
    pub(super) async fn next(&mut self) -> Result<Message, Broken> {
        self.outbound.flush().await?;
        self.activity.set_waiting(true);
        let message = self.inbound.next().await;
        self.activity.set_waiting(false);
        message
    }
}

impl Inbound {
    /// The next message. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Message, Broken> {
        match self.0.recv().await.unwrap_or(Err(Broken::Closed))? {
            Message::Failure(failure) => Err(Broken::Far(failure)),
            message => Ok(message),
        }
    }
}

impl Outbound {
    /// Waits for room for one more. Cancel safe.
    pub(super) async fn room(&self) -> Result<(), Broken> {
        self.channel.reserve().await.map(drop).map_err(|_| Broken::Closed)
    }

    /// Whether frames wait for [`Self::flush`].
    pub(super) fn is_gathering(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// Queues a frame: at once when it is large, else with those that follow or the next flush.
    pub(super) async fn send(&mut self, frame: Bytes) -> Result<(), Broken> {
        if frame.len() >= GATHERED {
            self.flush().await?;
            return self.pass(frame).await;
        }
        self.gathered.extend_from_slice(&frame);
        if self.gathered.len() >= GATHERED { self.flush().await } else { Ok(()) }
    }

    /// Queues what was gathered.
    pub(super) async fn flush(&mut self) -> Result<(), Broken> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered);
        self.pass(gathered.into()).await
    }

    async fn pass(&self, bytes: Bytes) -> Result<(), Broken> {
        let was_waiting = self.activity.is_waiting();
        self.activity.set_waiting(true);
        let sent = self.channel.send(bytes).await;
        self.activity.set_waiting(was_waiting);
        sent.map_err(|_| Broken::Closed)
    }
}
