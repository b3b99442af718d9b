//! [`Hello`]: which versions of the protocol an end speaks.

use super::field::{Fields, put_bytes, put_number};
use crate::error::ProtocolError;
use bytes::Bytes;
use clonepanel_core::escape::Escaped;

/// The oldest and the newest version that are spoken here.
const OLDEST: u64 = 1;
const NEWEST: u64 = 1;
/// The longest name of a program, in bytes.
const MAX_PROGRAM: usize = 64;

/// The first frame from either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    oldest: u64,
    newest: u64,
    /// One bit each; those that are not known here mean nothing.
    pub(super) features: u64,
    /// What the end is called, escaped: `clonepanel 0.1.0`.
    pub(super) program: String,
}

impl Hello {
    /// The end takes no push.
    pub(super) const READ_ONLY: u64 = 1;

    pub(super) fn ours(features: u64) -> Self {
        let program = concat!("clonepanel ", env!("CARGO_PKG_VERSION")).to_owned();
        Self { oldest: OLDEST, newest: NEWEST, features, program }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_number(out, self.oldest);
        put_number(out, self.newest);
        put_number(out, self.features);
        put_bytes(out, self.program.as_bytes());
    }

    /// Later versions may add fields at the end.
    pub(super) fn parse(body: Bytes) -> Result<Self, ProtocolError> {
        let mut fields = Fields::new(body);
        let (oldest, newest, features) = (fields.number()?, fields.number()?, fields.number()?);
        if oldest > newest {
            return Err(ProtocolError::Malformed("range of versions"));
        }
        let program = Escaped(&fields.bytes(MAX_PROGRAM, "name of a program")?).to_string();
        Ok(Self { oldest, newest, features, program })
    }

    /// The newest version that both ends speak.
    pub(super) fn agree(&self) -> Result<u64, ProtocolError> {
        let agreed = self.newest.min(NEWEST);
        if agreed >= self.oldest.max(OLDEST) {
            return Ok(agreed);
        }
        let Self { oldest, newest, program, .. } = self;
        let theirs = if oldest == newest { newest.to_string() } else { format!("{oldest} to {newest}") };
        let older = if *newest < OLDEST { "there" } else { "here" };
        Err(ProtocolError::Unsupported(format!(
            "{program} speaks version {theirs} of the agent protocol and this is version {NEWEST}: update ClonePanel {older}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(oldest: u64, newest: u64) -> Hello {
        Hello { oldest, newest, ..Hello::ours(0) }
    }

    #[test]
    fn versions_are_agreed_or_refused() {
        assert_eq!(hello(1, 1).agree(), Ok(1));
        assert_eq!(hello(1, 9).agree(), Ok(1));
        let newer = hello(2, 3).agree().unwrap_err().to_string();
        assert!(newer.contains("version 2 to 3") && newer.ends_with("update ClonePanel here"), "{newer}");
        let older = hello(0, 0).agree().unwrap_err().to_string();
        assert!(older.ends_with("update ClonePanel there"), "{older}");
    }

    #[test]
    fn a_later_version_may_say_more() {
        let mut out = Vec::new();
        hello(1, 2).put(&mut out);
        out.extend_from_slice(b"more");
        assert_eq!(Hello::parse(out.into()), Ok(hello(1, 2)));
        assert!(Hello::parse(Bytes::from_static(&[2, 1, 0, 0])).is_err());
    }
}
