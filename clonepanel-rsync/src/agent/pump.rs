//! [`Pump`]: the one loop that moves bytes between a pair of pipes and a [`Link`](super::link::Link).
//!
//! Against deadlock: the sender's worker takes every message as it comes, since what may be on its way is limited by credits. So
//! the receiver's frames always drain, and the receiver may stop reading for as long as it is busy.

use super::{
    frame::{FrameDecoder, MAGIC},
    link::{Broken, Far},
    message::{self, Message},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

/// One read takes at most this much; a pipe of Linux holds as much.
const READ: usize = 64 << 10;
/// A peer that only says that it is alive, or drips, is believed for so many time-outs.
const PATIENCE: u32 = 12;
/// So many bytes that move within that time are no drip.
const SUBSTANCE: u64 = 1024;
/// A frame without a body, in bytes.
const ALIVE_LEN: u64 = 5;
/// How long the last frames may take.
const FAREWELL: Duration = Duration::from_secs(10);

/// Reads from the peer, boxed or borrowed.
pub(super) type Input<'a> = &'a mut (dyn AsyncRead + Send + Unpin);
/// Writes to the peer, boxed or borrowed.
pub(super) type Output<'a> = &'a mut (dyn AsyncWrite + Send + Unpin);

/// The moving of bytes, with its meters.
pub(super) struct Pump<'a> {
    input: Input<'a>,
    output: Output<'a>,
    far: Far,
    decoder: FrameDecoder,
    /// A message that the worker has no room for yet.
    arrived: Option<Result<Message, Broken>>,
    /// Nothing comes any more.
    is_deaf: bool,
    /// The peer does not read any more: what it still says tells why.
    is_mute: bool,
    leaving: Bytes,
    is_flushed: bool,
    throttle: Throttle,
    timeout: Duration,
    pub(super) received: u64,
    pub(super) sent: u64,
    /// Of what was received, in bytes.
    signs_of_life: u64,
}

/// Who says the first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manners {
    /// Nothing is said before the peer was heard: a shell would take it for commands.
    ListenFirst,
    SpeakFirst,
}

/// How fast may be read and written.
#[derive(Debug)]
pub(super) struct Throttle {
    bandwidth: Option<u64>,
    next_read: Instant,
    next_write: Instant,
}

impl Throttle {
    pub(super) fn new(bandwidth: Option<u64>) -> Self {
        let now = Instant::now();
        Self { bandwidth, next_read: now, next_write: now }
    }

    fn after(&self, next: Instant, len: usize) -> Instant {
        match self.bandwidth {
            // What was not used before does not add up to a burst.
            Some(bandwidth) => next.max(Instant::now()) + Duration::from_secs_f64(len as f64 / bandwidth as f64),
            None => next,
        }
    }

    /// The longest piece: a tenth of a second's worth.
    fn piece(&self) -> usize {
        let tenth = self.bandwidth.map_or(READ, |bandwidth| usize::try_from(bandwidth / 10).unwrap_or(READ));
        tenth.clamp(100, READ)
    }
}

impl<'a> Pump<'a> {
    pub(super) fn new(input: Input<'a>, output: Output<'a>, far: Far, throttle: Throttle, timeout: Duration) -> Self {
        Self {
            input,
            output,
            far,
            decoder: FrameDecoder::new(),
            arrived: None,
            is_deaf: false,
            is_mute: false,
            leaving: Bytes::from_static(MAGIC),
            is_flushed: true,
            throttle,
            timeout,
            received: 0,
            sent: 0,
            signs_of_life: 0,
        }
    }

    /// Whether the peer was heard.
    pub(super) const fn has_heard(&self) -> bool {
        self.decoder.has_begun()
    }

    /// What came before the peer's first word.
    pub(super) fn noise(&self) -> &[u8] {
        self.decoder.noise()
    }

    /// Moves bytes until the peer is silent for too long. Cancel safe: nothing that was read or was to be written is lost.
    pub(super) async fn run(&mut self, manners: Manners) -> Broken {
        let mut tick = interval((self.timeout / 4).clamp(Duration::from_millis(50), Duration::from_secs(15)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut alive, mut substance, mut sent) = (Instant::now(), Instant::now(), self.sent);
        let mut moved = self.moved();
        let to_worker = self.far.arrived.clone();
        loop {
            let now = Instant::now();
            let may_read = self.arrived.is_none() && !self.is_deaf && self.throttle.next_read <= now;
            let may_speak = manners == Manners::SpeakFirst || self.has_heard();
            let has_to_write = !self.leaving.is_empty() || !self.is_flushed;
            let may_write = may_speak && has_to_write && !self.is_mute && self.throttle.next_write <= now;
            let wake = self.throttle.next_read.max(self.throttle.next_write);
            let piece = self.throttle.piece();
            self.decoder.buffer().reserve(READ);
            if self.moved() >= moved + SUBSTANCE {
                (substance, moved) = (now, self.moved());
            }
            tokio::select! {
                room = to_worker.reserve(), if self.arrived.is_some() => {
                    let arrived = self.arrived.take();
                    if let (Ok(room), Some(arrived)) = (room, arrived) {
                        room.send(arrived);
                    }
                    alive = Instant::now();
                    self.decode();
                }
                read = read(self.input, self.decoder.buffer(), piece), if may_read => {
                    match read {
                        Ok(len @ 1..) => {
                            self.received += len as u64;
                            self.throttle.next_read = self.throttle.after(self.throttle.next_read, len);
                            alive = Instant::now();
                            self.decode();
                        }
                        _ => {
                            self.is_deaf = true;
                            self.arrived = Some(Err(Broken::Closed));
                        }
                    }
                }
                written = write(self.output, &self.leaving, piece), if may_write => {
                    self.is_flushed = self.leaving.is_empty();
                    match written {
                        Ok(len) => {
                            self.leaving.advance(len);
                            self.sent += len as u64;
                            self.throttle.next_write = self.throttle.after(self.throttle.next_write, len);
                            alive = Instant::now();
                        }
                        Err(_) => self.is_mute = true,
                    }
                }
                frame = self.far.leaving.recv(), if self.leaving.is_empty() || self.is_mute => {
                    match frame {
                        Some(frame) => self.leaving = frame,
                        // The worker is gone; whoever drives both will notice.
                        None => std::future::pending().await,
                    }
                }
                () = sleep_until(wake), if wake > now => {}
                _ = tick.tick() => {
                    let now = Instant::now();
                    if !self.far.activity.is_waiting() || wake > now {
                        // That is our own time. The peer is told that it goes on.
                        (alive, substance) = (now, now);
                        if self.sent == sent && self.leaving.is_empty() && may_speak {
                            self.leaving = message::alive();
                        }
                    }
                    sent = self.sent;
                    if now - alive > self.timeout || now - substance > self.timeout.saturating_mul(PATIENCE) {
                        return Broken::Silent;
                    }
                }
            }
        }
    }

    /// Says one more thing, after [`Self::finish`].
    pub(super) async fn say(&mut self, frame: Bytes) {
        if self.leaving.is_empty() {
            self.leaving = frame;
            self.finish().await;
        }
    }

    /// How many bytes of substance moved either way.
    const fn moved(&self) -> u64 {
        (self.received + self.sent).saturating_sub(self.signs_of_life)
    }

    /// Takes the next message out of what was read.
    fn decode(&mut self) {
        while self.arrived.is_none() && !self.is_deaf {
            let message = match self.decoder.next() {
                Ok(None) => return,
                Ok(Some(frame)) => Message::parse(frame),
                Err(error) => Err(error),
            };
            match message {
                Ok(Message::Alive) => self.signs_of_life += ALIVE_LEN,
                Ok(message) => self.arrived = Some(Ok(message)),
                Err(error) => {
                    self.is_deaf = true;
                    self.arrived = Some(Err(error.into()));
                }
            }
        }
    }

    /// Writes what is still to be said, once the worker is gone.
    pub(super) async fn finish(&mut self) {
        let farewell = async {
            loop {
                if self.leaving.is_empty() {
                    match self.far.leaving.recv().await {
                        Some(frame) => self.leaving = frame,
                        None => break,
                    }
                }
                match write(self.output, &self.leaving, READ).await {
                    Ok(len) => {
                        self.leaving.advance(len);
                        self.sent += len as u64;
                    }
                    Err(_) => return,
                }
            }
            let _ = self.output.flush().await;
        };
        if !self.is_mute {
            let _ = timeout(FAREWELL, farewell).await;
        }
    }
}

async fn read(input: &mut (dyn AsyncRead + Send + Unpin), buffer: &mut BytesMut, piece: usize) -> io::Result<usize> {
    input.read_buf(&mut buffer.limit(piece)).await
}

/// Writes some bytes; flushes when there are none.
async fn write(output: &mut (dyn AsyncWrite + Send + Unpin), bytes: &[u8], piece: usize) -> io::Result<usize> {
    let piece = bytes.get(..piece).unwrap_or(bytes);
    if piece.is_empty() {
        return output.flush().await.map(|()| 0);
    }
    match output.write(piece).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        len => Ok(len),
    }
}
