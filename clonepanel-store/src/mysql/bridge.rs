//! [`Bridge`]: one connection to a Unix socket, made over TCP.
//!
//! `caching_sha2_password` of MySQL sends a password as it is over a Unix socket, where nobody can listen, and encrypted with the
//! server's key over plain TCP. A socket that is the near end of a forward to a port is the one thing for us and the other for the
//! server. So we use TCP too, for the way to ourselves.

use std::{io, net::Ipv4Addr, path::PathBuf};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
    task::JoinSet,
};

/// A port of this machine that leads to a Unix socket, for a single connection. It ends with this.
#[derive(Debug)]
pub(crate) struct Bridge {
    port: u16,
    _passing: JoinSet<()>,
}

impl Bridge {
    /// The first connection is the only one that leads anywhere; the port is kept, so that nobody else can wait there for ours. Whoever comes
    /// first gets as far as to be asked for a password, and ours is closed.
    pub(crate) async fn to(socket: PathBuf) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let mut passing = JoinSet::new();
        passing.spawn(async move {
            let Ok((mut near, _)) = listener.accept().await else { return };
            // Without a delay, as questions and answers are small.
            let _ = near.set_nodelay(true);
            let Ok(mut far) = UnixStream::connect(socket).await else { return };
            let passing = async {
                // Both ends learn from the end of the connection what has gone wrong.
                let _ = copy_bidirectional(&mut near, &mut far).await;
            };
            let refusing = async { while listener.accept().await.is_ok() {} };
            tokio::select! {
                () = passing => {}
                () = refusing => {}
            }
        });
        Ok(Self { port, _passing: passing })
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}
