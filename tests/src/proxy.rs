//! [`Proxy`]: a TCP connection with a meter and a pair of scissors.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// Passes connections on to a port of this machine, counts what goes through and cuts them where it is told to.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accept: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    cut_after: AtomicU64,
    cut_sent_after: AtomicU64,
    stalls: AtomicBool,
    from_target: AtomicU64,
    to_target: AtomicU64,
    ended: AtomicBool,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 for connections to port `target`.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
        let port = listener.local_addr().expect("address").port();
        let shared = Arc::new(Shared {
            target,
            cut_after: AtomicU64::new(u64::MAX),
            cut_sent_after: AtomicU64::new(u64::MAX),
            stalls: AtomicBool::new(false),
            from_target: AtomicU64::new(0),
            to_target: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        let accept = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", accepting.target)) else { continue };
                accepting.pass(client, server);
            }
        });
        Self { port, shared, accept: Some(accept) }
    }

    /// The port to connect to.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Cuts each connection when the target has sent so many bytes over it. `u64::MAX`: never.
    pub fn cut_after(&self, bytes: u64) {
        self.shared.cut_after.store(bytes, Ordering::SeqCst);
    }

    /// Cuts each connection when so many bytes were sent to the target over it. `u64::MAX`: never.
    pub fn cut_sent_after(&self, bytes: u64) {
        self.shared.cut_sent_after.store(bytes, Ordering::SeqCst);
    }

    /// At the limit of [`Self::cut_after`] the connection goes silent and stays open, as behind a router that forgot it.
    pub fn stall_instead(&self) {
        self.shared.stalls.store(true, Ordering::SeqCst);
    }

    /// Bytes that the target sent and that were sent to it, so far, over all connections.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.shared.from_target.load(Ordering::SeqCst), self.shared.to_target.load(Ordering::SeqCst))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread from its wait for a connection.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(accept) = self.accept.take() {
            drop(accept.join());
        }
    }
}

impl Shared {
    /// The two threads end with their connection; they own nothing that outlives it.
    fn pass(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        // A meter must not slow down what it measures: small packets go on at once.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (Ok(client_in), Ok(server_in)) = (client.try_clone(), server.try_clone()) else { return };
        let up = Arc::clone(self);
        let limit = self.cut_sent_after.load(Ordering::SeqCst);
        thread::spawn(move || up.pump(client_in, server, limit, &up.to_target));
        let down = Arc::clone(self);
        let limit = self.cut_after.load(Ordering::SeqCst);
        thread::spawn(move || down.pump(server_in, client, limit, &down.from_target));
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, limit: u64, counter: &AtomicU64) {
        let mut buffer = vec![0; 256 * 1024];
        let mut left = limit;
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            let passed = usize::try_from(left).map_or(read, |left| read.min(left));
            counter.fetch_add(passed as u64, Ordering::SeqCst);
            if to.write_all(&buffer[..passed]).is_err() {
                break;
            }
            left -= passed as u64;
            if left == 0 {
                if self.stalls.load(Ordering::SeqCst) {
                    // Swallows the rest until the client gives up.
                    while matches!(from.read(&mut buffer), Ok(n) if n > 0) {}
                }
                drop(from.shutdown(Shutdown::Both));
                break;
            }
        }
        let how = if left == 0 { Shutdown::Both } else { Shutdown::Write };
        drop(to.shutdown(how));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let mut out = client.try_clone().unwrap();
                thread::spawn(move || std::io::copy(&mut client, &mut out));
            }
        });
        port
    }

    #[test]
    fn it_counts_and_cuts() {
        let proxy = Proxy::to(echo());
        let talk = |text: &[u8]| {
            let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
            stream.write_all(text).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut back = Vec::new();
            // A cut connection may end with a reset; what came before it counts.
            drop(stream.read_to_end(&mut back));
            back
        };
        assert_eq!(talk(b"hello"), b"hello");
        assert_eq!(proxy.bytes(), (5, 5));
        proxy.cut_after(3);
        assert_eq!(talk(b"hello"), b"hel");
    }
}
