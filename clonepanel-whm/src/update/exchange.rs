//! One signed exchange with a name server over TCP.

use crate::error::quote;
use clonepanel_core::dns::DnsError;
use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{RecordType, TSigVerifier, TSigner},
};
use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The longest transfer, in bytes, that is read.
const MAX_TRANSFER_LEN: usize = 64 << 20;
/// Why a server did not take a signature (RFC 8945, section 3).
const TSIG_ERRORS: &str = "the key, its secret or the clock differs from the server's";

#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) endpoint: String,
    pub(super) signer: TSigner,
    pub(super) deadline: Duration,
}

/// Why there is no answer that can be used.
#[derive(Debug)]
pub(super) enum Failure {
    /// A signed answer with an error in it.
    Code(ResponseCode),
    /// The key was not accepted.
    Denied(String),
    /// It was sent, and nothing usable came back.
    Lost(String),
    /// What came back is no answer.
    Protocol(String),
    /// Nothing was sent.
    Unreachable(String),
}

impl Server {
    pub(super) fn protocol(&self, detail: String) -> DnsError {
        DnsError::Protocol { endpoint: self.endpoint.clone(), detail, source: None }
    }

    /// Sends a message, signed, and reads its answer: one message, or all of a transfer.
    pub(super) async fn exchange(&self, message: Message) -> Result<Vec<Message>, Failure> {
        let connecting = timeout(self.deadline, TcpStream::connect(self.address)).await;
        let late = || format!("no answer within {:?}", self.deadline);
        let connected = connecting.map_err(|_| Failure::Unreachable(late()))?;
        let mut stream = connected.map_err(|error| Failure::Unreachable(error.to_string()))?;
        match timeout(self.deadline, self.converse(&mut stream, message)).await {
            Ok(answers) => answers,
            Err(_) => Err(Failure::Lost(late())),
        }
    }

    async fn converse(&self, stream: &mut TcpStream, mut message: Message) -> Result<Vec<Message>, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let signed = message.finalize(&self.signer, now).map_err(|error| Failure::Unreachable(error.to_string()))?;
        let mut verifier = signed.ok_or_else(|| Failure::Unreachable("it cannot be signed".to_owned()))?;
        let octets = message.to_vec().map_err(|error| Failure::Unreachable(error.to_string()))?;
        let len = u16::try_from(octets.len()).map_err(|_| Failure::Unreachable("it is too long".to_owned()))?;
        let lost = |error: std::io::Error| Failure::Lost(format!("the connection broke: {error}"));
        stream.write_all(&[&len.to_be_bytes()[..], &octets].concat()).await.map_err(lost)?;
        let mut answers = Vec::new();
        let (mut total, mut authorities) = (0, 0);
        loop {
            let len = usize::from(stream.read_u16().await.map_err(lost)?);
            total += len;
            if total > MAX_TRANSFER_LEN {
                return Err(Failure::Protocol(format!("a transfer of more than {MAX_TRANSFER_LEN} bytes")));
            }
            let mut octets = vec![0; len];
            stream.read_exact(&mut octets).await.map_err(lost)?;
            let answer = believe(&mut verifier, &octets)?;
            if answer.metadata.id != message.metadata.id {
                return Err(Failure::Protocol("an answer to something else".to_owned()));
            }
            if answer.metadata.response_code != ResponseCode::NoError {
                return Err(Failure::Code(answer.metadata.response_code));
            }
            authorities += answer.answers.iter().filter(|record| record.record_type() == RecordType::SOA).count();
            let begins_well = !answers.is_empty() || authorities > 0;
            answers.push(answer);
            if message.metadata.op_code == OpCode::Update || authorities >= 2 {
                return Ok(answers);
            }
            if !begins_well {
                return Err(Failure::Protocol("a transfer that does not begin with the SOA".to_owned()));
            }
        }
    }
}

/// An answer whose signature is right.
fn believe(verifier: &mut TSigVerifier, octets: &[u8]) -> Result<Message, Failure> {
    let unsigned = match verifier.verify(octets) {
        Ok(answer) => return Ok(answer.into_message()),
        Err(error) => error,
    };
    // An answer to a signature that is not accepted is not signed itself.
    let said = Message::from_vec(octets).map_err(|error| Failure::Protocol(quote(error.to_string().as_bytes())))?;
    match said.metadata.response_code {
        // Knot does not sign that it lacks a zone; a key that it does not accept has a TSIG record with the reason.
        ResponseCode::NotAuth if said.signature().is_none() => Err(Failure::Code(ResponseCode::NotAuth)),
        ResponseCode::NotAuth => Err(Failure::Denied(TSIG_ERRORS.to_owned())),
        ResponseCode::NoError => Err(Failure::Protocol(format!("an answer that is not signed rightly: {unsigned}"))),
        code => Err(Failure::Denied(format!("an answer that is not signed: {code}"))),
    }
}

/// A message's number; nobody between can use it, as the connection is our own and all is signed.
pub(super) fn id() -> u16 {
    let [first, second, ..] = RandomState::new().hash_one(0u8).to_be_bytes();
    u16::from_be_bytes([first, second])
}
