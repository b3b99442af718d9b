//! Answers of the sender from memory, for tests and fuzzers.

use super::sender::{Asked, Sender};
use crate::{
    delta::{Hasher, Search, Searchable, Step, WireSums},
    error::ProtocolError,
};

impl Sender {
    /// Answers with a content that is all here; tells how many bytes of it were matched.
    pub(crate) fn answer(&mut self, asked: Asked, content: &[u8]) -> Result<u64, ProtocolError> {
        let agreed = *self.agreed().ok_or(ProtocolError::Violation("a request before the handshake"))?;
        let mut hasher = Hasher::new(agreed.checksum);
        hasher.update(content);
        self.begin();
        let (mut at, mut matched, mut sent) = (0, 0, Ok(()));
        let head = asked.head;
        match WireSums::new(head, asked.sums.into(), agreed.checksum, agreed.seed).map(Searchable::new) {
            None => self.literal(content)?,
            Some(basis) => Search::new(&basis).finish(content, |step| {
                let done = match step {
                    Step::Literal(bytes) => {
                        at += bytes.len();
                        self.literal(bytes)
                    }
                    Step::Blocks { first, count } => {
                        let len = head.range(first, count).map_or(0, |(_, len)| len);
                        let data = content.get(at..at + len as usize).unwrap_or_default();
                        at += len as usize;
                        matched += len;
                        self.blocks(first, count, data)
                    }
                };
                sent = std::mem::replace(&mut sent, Ok(())).and(done);
            }),
        }
        sent?;
        self.finish(&hasher.finish())?;
        Ok(matched)
    }
}
