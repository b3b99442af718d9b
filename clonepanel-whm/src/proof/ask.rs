//! One question to one name server.

use super::{DnsTransport, PATIENCE, TRIES, rdata};
use clonepanel_core::{
    dns::{RecordData, RecordKey},
    escape::Escaped,
};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout, timeout_at},
};

/// The longest datagram, in bytes.
const DATAGRAM: usize = 65_535;

/// The records that an authority has for a name and type, with their times to live in seconds.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) data: Vec<(RecordData, u32)>,
}

/// Asks an authority. The error says in one line why there is no answer that counts.
pub(super) async fn ask(server: SocketAddr, transport: DnsTransport, key: &RecordKey) -> Result<Answer, String> {
    let name = rdata::name(&key.name).map_err(|error| error.to_string())?;
    let query = Query::query(name, RecordType::from(key.record_type.number()));
    let answer = match transport {
        DnsTransport::Tcp => over_tcp(server, &query).await?,
        DnsTransport::Udp => {
            let answer = over_udp(server, &query).await?;
            if answer.metadata.truncation { over_tcp(server, &query).await? } else { answer }
        }
    };
    let metadata = &answer.metadata;
    if !matches!(metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err(format!("it answers {}", Escaped(metadata.response_code.to_string().as_bytes())));
    }
    if !metadata.authoritative {
        return Err("it is no authority for the zone".to_owned());
    }
    let mut data = Vec::new();
    for record in &answer.answers {
        let (name, value) = rdata::read(record).map_err(|why| Escaped(why.as_bytes()).to_string())?;
        if name == key.name && value.record_type() == key.record_type {
            data.push((value, record.ttl));
        }
    }
    Ok(Answer { data })
}

/// A question under a number that nobody else knows.
fn message(query: &Query) -> Message {
    let [first, second, ..] = RandomState::new().hash_one(0u8).to_be_bytes();
    let mut message = Message::new(u16::from_be_bytes([first, second]), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = false;
    message.add_query(query.clone());
    message
}

/// Whether a message answers a question.
fn answers(answer: &Message, asked: &Message) -> bool {
    answer.metadata.id == asked.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries.len() == 1
        && answer.queries.iter().zip(&asked.queries).all(|(answer, asked)| {
            same(&answer.name, &asked.name)
                && answer.query_type == asked.query_type
                && answer.query_class == asked.query_class
        })
}

fn same(a: &Name, b: &Name) -> bool {
    a.eq_ignore_root(b)
}

fn line(error: &io::Error) -> String {
    Escaped(error.to_string().as_bytes()).to_string()
}

async fn over_udp(server: SocketAddr, query: &Query) -> Result<Message, String> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let mut said = format!("no answer within {} s", PATIENCE.as_secs());
    for _ in 0..TRIES {
        // A port of its own each time, and no datagram of anybody else.
        let socket = UdpSocket::bind(any).await.map_err(|error| line(&error))?;
        socket.connect(server).await.map_err(|error| line(&error))?;
        let asked = message(query);
        let octets = asked.to_vec().map_err(|error| error.to_string())?;
        socket.send(&octets).await.map_err(|error| line(&error))?;
        let until = Instant::now() + PATIENCE;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            match timeout_at(until, socket.recv(&mut buffer)).await {
                Ok(Ok(len)) => {
                    // What is no answer to this is not ours, or forged: the right one may still come.
                    let answer = Message::from_vec(buffer.get(..len).unwrap_or_default());
                    if let Some(answer) = answer.ok().filter(|answer| answers(answer, &asked)) {
                        return Ok(answer);
                    }
                }
                Ok(Err(error)) => {
                    said = line(&error);
                    break;
                }
                Err(_) => break,
            }
        }
    }
    Err(said)
}

async fn over_tcp(server: SocketAddr, query: &Query) -> Result<Message, String> {
    let talk = async {
        let mut stream = TcpStream::connect(server).await.map_err(|error| line(&error))?;
        let asked = message(query);
        let octets = asked.to_vec().map_err(|error| error.to_string())?;
        let len = u16::try_from(octets.len()).map_err(|_| "the question is too long".to_owned())?;
        let framed = [&len.to_be_bytes()[..], &octets].concat();
        stream.write_all(&framed).await.map_err(|error| line(&error))?;
        let len = stream.read_u16().await.map_err(|error| line(&error))?;
        let mut octets = vec![0; usize::from(len)];
        stream.read_exact(&mut octets).await.map_err(|error| line(&error))?;
        let answer = Message::from_vec(&octets).map_err(|_| "its answer makes no sense".to_owned())?;
        if answers(&answer, &asked) { Ok(answer) } else { Err("it answers something else".to_owned()) }
    };
    timeout(PATIENCE, talk).await.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}
