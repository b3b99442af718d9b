//! A server that is not what it seems.

use clonepanel_core::{secret::Secret, tree::TreeSource as _};
use clonepanel_store::mysql::{DatabaseAddress, DatabaseError, DatabaseSource};
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// A packet of MySQL's protocol: its number and what is in it.
fn read(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).ok()?;
    let mut body = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
    stream.read_exact(&mut body).ok()?;
    Some((head[3], body))
}

fn write(stream: &mut TcpStream, number: u8, body: &[u8]) {
    let len = u32::try_from(body.len()).unwrap().to_le_bytes();
    let _ = stream.write_all(&[&len[..3], &[number], body].concat());
}

/// Lets anybody in, and answers each question in the same way. What it was told afterwards comes out at the end.
fn server(answer: &'static [u8]) -> (u16, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let talking = thread::spawn(move || {
        let mut told = Vec::new();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        // Protocol 10, all capabilities that there are, `mysql_native_password`.
        let greeting = [
            &b"\x0a8.0.99\0\x01\0\0\0abcdefgh\0"[..],
            &[0xff, 0xf7, 45, 2, 0, 0xff, 0x81, 21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            b"ijklmnopqrst\0mysql_native_password\0",
        ];
        write(&mut stream, 0, &greeting.concat());
        let Some((number, _)) = read(&mut stream) else { return told };
        write(&mut stream, number + 1, &[0, 0, 0, 2, 0, 0, 0]);
        while let Some((number, body)) = read(&mut stream) {
            // A question; the goodbye is 1.
            if number == 0 && body.first() == Some(&3) {
                write(&mut stream, 1, answer);
            } else if body.first() != Some(&1) {
                told.push(body);
            }
        }
        told
    });
    (port, talking)
}

fn dump(port: u16) -> Result<(), String> {
    let address = DatabaseAddress::tcp("127.0.0.1", port, "wp", "alice").password(Secret::new("sesame"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listed = runtime.block_on(async {
        DatabaseSource::new(address.clone()).audit().await.map_err(|error: DatabaseError| format!("{error:?}"))?;
        DatabaseSource::new(address).entries().await.map(drop).map_err(|error| format!("{error:?}"))
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    listed
}

#[test]
fn a_server_that_asks_for_local_files_gets_none() {
    let (port, talking) = server(b"\xfb/etc/passwd");
    let error = dump(port).unwrap_err();
    assert!(!error.contains("sesame"), "{error}");
    let told = talking.join().unwrap();
    // An empty packet is how a client says that it has nothing to send.
    assert!(told.iter().all(|packet| !packet.windows(5).any(|part| part == b"root:")), "{told:?}");
    assert!(told.iter().all(|packet| packet.len() < 16), "{told:?}");
}

#[test]
fn answers_that_cannot_be_are_errors_and_take_no_time() {
    let begun = Instant::now();
    for answer in [
        &b"\x00\x00\x00\x02\x00\x00\x00"[..],
        b"\xff\x15\x04#28000go away \x1b[2J",
        b"",
        // So many columns, and none of them comes.
        b"\xfd\xff\xff\xff",
        b"\x01",
        b"\xfe\x00\x00\x02\x00",
        b"\xfc",
    ] {
        let (port, talking) = server(answer);
        let done = thread::spawn(move || dump(port));
        // Whoever waits for more is let go by the other end, which waits no longer than 3 s.
        let told = done.join().unwrap();
        let error = told.expect_err("nothing was said that a dump can be made of");
        assert!(!error.contains('\x1b') && !error.contains("sesame"), "{error}");
        talking.join().unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(300), "{:?}", begun.elapsed());
}
