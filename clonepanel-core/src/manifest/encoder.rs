//! [`Encoder`]: writes a manifest, record by record.

use super::{ManifestError, Record, encode_record, field, header, order::Order};
use crate::{digest::ContentHash, store::SnapshotInfo};

/// Writes a manifest as text that is appended to buffers of the caller's, which may be emptied between the calls.
#[derive(Debug)]
pub struct Encoder {
    hasher: blake3::Hasher,
    order: Order,
}

impl Encoder {
    /// Begins with the header: everything that is known about the snapshot.
    #[must_use]
    pub fn new(info: &SnapshotInfo, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        header::encode(info, out);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&out[start..]);
        Self { hasher, order: Order::default() }
    }

    /// Appends the next record.
    ///
    /// # Errors
    /// [`ManifestError::Record`] when it cannot stand here, as the decoder would not take it: nothing is appended then.
    pub fn record(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), ManifestError> {
        let start = out.len();
        encode_record(record, out)?;
        if let Err(why) = self.order.check(record) {
            out.truncate(start);
            return Err(ManifestError::Record { why });
        }
        self.hasher.update(&out[start..]);
        Ok(())
    }

    /// Appends the footer.
    pub fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"end ");
        field::push_decimal(out, self.order.records());
        out.push(b' ');
        field::push_hash(out, &ContentHash::new(self.hasher.finalize().into()));
        out.push(b'\n');
    }
}
