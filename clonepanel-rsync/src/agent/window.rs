//! [`Window`]: a piece of a content, as itself or as differences to a basis.

use super::{
    content::{Packer, unpack},
    field::{Fields, put_hash, put_number},
};
use crate::error::ProtocolError;
use bytes::Bytes;
use clonepanel_core::digest::ContentHash;

/// The longest window, in bytes of content.
pub(super) const MAX_WINDOW: usize = 1 << 20;

const DELTA: u8 = 1;
const LAST: u8 = 2;

/// A window of a content; windows of one content follow each other without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) id: u64,
    /// Where it begins, in bytes of the content.
    pub(super) offset: u64,
    /// How long it is, in bytes of the content.
    pub(super) len: u64,
    pub(super) form: Form,
    pub(super) place: Place,
    /// BLAKE3 of the window; of the whole content when it is the last one.
    pub(super) hash: ContentHash,
    /// Packed.
    pub(super) data: Bytes,
}

/// What the data of a window are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Delta,
    Literal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Last,
    Middle,
}

/// What does not compress is not tried again for so many windows.
const REST: u32 = 7;

/// Whether trying to compress is worth it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Patience(u32);

impl Patience {
    pub(super) fn pack(&mut self, packer: &mut Packer, bytes: &[u8], out: &mut Vec<u8>) {
        if self.0 > 0 {
            self.0 -= 1;
            Packer::plain_into(bytes, out);
        } else if !packer.pack_into(bytes, out) {
            self.0 = REST;
        }
    }
}

impl Window {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let delta = if self.form == Form::Delta { DELTA } else { 0 };
        let last = if self.place == Place::Last { LAST } else { 0 };
        put_number(out, self.id);
        out.push(delta | last);
        put_number(out, self.offset);
        put_number(out, self.len);
        put_hash(out, &self.hash);
        out.extend_from_slice(&self.data);
    }

    pub(super) fn parse(body: Bytes) -> Result<Self, ProtocolError> {
        let mut fields = Fields::new(body);
        let (id, flags) = (fields.number()?, fields.byte()?);
        if flags > (DELTA | LAST) {
            return Err(ProtocolError::Malformed("window"));
        }
        let offset = fields.number()?;
        let len = fields.number_to(MAX_WINDOW as u64, "window: it is too long")?;
        if offset.checked_add(len).is_none_or(|end| end > i64::MAX as u64) {
            return Err(ProtocolError::Malformed("window"));
        }
        Ok(Self {
            id,
            offset,
            len,
            form: if flags & DELTA == 0 { Form::Literal } else { Form::Delta },
            place: if flags & LAST == 0 { Place::Middle } else { Place::Last },
            hash: fields.hash()?,
            data: fields.rest(),
        })
    }

    /// The data, which are at most as long as the window or, for a delta, as a window may be.
    pub(super) fn unpack(&self) -> Result<Bytes, ProtocolError> {
        match self.form {
            Form::Delta => unpack(self.data.clone(), MAX_WINDOW),
            Form::Literal => {
                let bytes = unpack(self.data.clone(), self.len as usize)?;
                if bytes.len() as u64 == self.len { Ok(bytes) } else { Err(ProtocolError::Malformed("window")) }
            }
        }
    }
}
