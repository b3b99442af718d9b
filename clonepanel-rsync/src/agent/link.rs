//! [`Link`]: what the state machines see of a connection: messages that came, and a queue for those that go.

use super::message::{Failure, Message};
use crate::error::ProtocolError;
use bytes::Bytes;
use clonepanel_core::tree::TreeError;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::sync::mpsc::{self, error::TrySendError};

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
    /// What goes before `gathered`: at most one large frame, and the small ones before it.
    pieces: VecDeque<Bytes>,
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
        let outbound =
            Outbound { channel: outbound, activity: activity.clone(), pieces: VecDeque::new(), gathered: Vec::new() };
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
    /// Waits for room for one piece. Cancel safe.
    pub(super) async fn room(&self) -> Result<(), Broken> {
        self.channel.reserve().await.map(drop).map_err(|_| Broken::Closed)
    }

    /// Whether frames wait for [`Self::flush`] or [`Self::pass_one`].
    pub(super) fn is_gathering(&self) -> bool {
        !self.pieces.is_empty() || !self.gathered.is_empty()
    }

    /// Whether a whole piece waits.
    pub(super) fn is_full(&self) -> bool {
        !self.pieces.is_empty() || self.gathered.len() >= GATHERED
    }

    /// Keeps a frame for [`Self::pass_one`] or [`Self::flush`], without waiting.
    pub(super) fn put(&mut self, frame: Bytes) {
        if frame.len() >= GATHERED {
            self.close_piece();
            self.pieces.push_back(frame);
        } else {
            self.gathered.extend_from_slice(&frame);
        }
    }

    /// Queues one piece, if there is room for it at once.
    pub(super) fn pass_one(&mut self) -> Result<(), Broken> {
        if self.pieces.is_empty() {
            self.close_piece();
        }
        let Some(piece) = self.pieces.pop_front() else { return Ok(()) };
        match self.channel.try_send(piece) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(piece)) => {
                self.pieces.push_front(piece);
                Ok(())
            }
            Err(TrySendError::Closed(_)) => Err(Broken::Closed),
        }
    }

    /// Queues a frame: at once when it is large, else with those that follow or the next flush.
    pub(super) async fn send(&mut self, frame: Bytes) -> Result<(), Broken> {
        self.put(frame);
        if self.is_full() { self.flush().await } else { Ok(()) }
    }

    /// Queues all that was kept.
    pub(super) async fn flush(&mut self) -> Result<(), Broken> {
        self.close_piece();
        while let Some(piece) = self.pieces.pop_front() {
            self.pass(piece).await?;
        }
        Ok(())
    }

    fn close_piece(&mut self) {
        if !self.gathered.is_empty() {
            self.pieces.push_back(std::mem::take(&mut self.gathered).into());
        }
    }

    async fn pass(&self, bytes: Bytes) -> Result<(), Broken> {
        let was_waiting = self.activity.is_waiting();
        self.activity.set_waiting(true);
        let sent = self.channel.send(bytes).await;
        self.activity.set_waiting(was_waiting);
        sent.map_err(|_| Broken::Closed)
    }
}
