//! Operations of a delta in librsync's format, written and read. All numbers are big-endian.

const MAGIC: [u8; 4] = 0x7273_0236_u32.to_be_bytes();
const END: u8 = 0;
/// Literals of up to so many bytes have their length as operation code.
const SHORT_LITERAL: u64 = 64;
const LITERAL_BY_WIDTH: u8 = 0x41;
const COPY_BY_WIDTHS: u8 = 0x45;
const LAST_COPY: u8 = COPY_BY_WIDTHS + 15;

/// Bytes of a delta that tell nothing: magic number and end.
pub(super) const FRAME_LEN: usize = MAGIC.len() + 1;

/// Writes one delta. Copies that continue each other become one.
#[derive(Debug)]
pub(super) struct OperationWriter<'o> {
    out: &'o mut Vec<u8>,
    copy: Option<(u64, u64)>,
}

impl<'o> OperationWriter<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        out.extend_from_slice(&MAGIC);
        Self { out, copy: None }
    }

    pub(super) fn literal(&mut self, data: &[u8]) {
        self.put_copy();
        let len = data.len() as u64;
        if len <= SHORT_LITERAL {
            self.out.push(len as u8);
        } else {
            let width = width(len);
            self.out.push(LITERAL_BY_WIDTH + width);
            self.number(len, width);
        }
        self.out.extend_from_slice(data);
    }

    pub(super) fn copy(&mut self, offset: u64, len: u64) {
        match &mut self.copy {
            Some((start, before)) if *start + *before == offset => *before += len,
            _ => {
                self.put_copy();
                self.copy = Some((offset, len));
            }
        }
    }

    pub(super) fn finish(mut self) {
        self.put_copy();
        self.out.push(END);
    }

    fn put_copy(&mut self) {
        if let Some((offset, len)) = self.copy.take() {
            let (offset_width, len_width) = (width(offset), width(len));
            self.out.push(COPY_BY_WIDTHS + 4 * offset_width + len_width);
            self.number(offset, offset_width);
            self.number(len, len_width);
        }
    }

    fn number(&mut self, value: u64, width: u8) {
        self.out.extend_from_slice(&value.to_be_bytes()[8 - (1 << width)..]);
    }
}

/// The power of two of the bytes that a number takes: 1, 2, 4 or 8.
const fn width(value: u64) -> u8 {
    match value {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        0x1_0000..=0xffff_ffff => 2,
        _ => 3,
    }
}

/// One step of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Operation<'d> {
    /// New bytes, never empty.
    Literal(&'d [u8]),
    /// Bytes of the basis, never none, and inside of it.
    Copy {
        /// Where they are in the basis.
        offset: u64,
        /// How many.
        len: u64,
    },
}

/// The operations of one delta, checked one by one. Nothing comes after an error.
#[derive(Debug, Clone)]
pub struct Operations<'d> {
    rest: &'d [u8],
    basis_len: u64,
    allowed: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Magic,
    Open,
    Over,
}

impl<'d> Operations<'d> {
    /// Of a delta against a basis of `basis_len` bytes that makes at most `limit` bytes. A few bytes can ask for a copy of any
    /// length, so the limit is what the receiver is ready for, not what the delta says.
    #[must_use]
    pub const fn new(delta: &'d [u8], basis_len: u64, limit: u64) -> Self {
        Self { rest: delta, basis_len, allowed: limit, state: State::Magic }
    }

    fn take(&mut self, len: u64) -> Result<&'d [u8], DeltaError> {
        let len = usize::try_from(len).map_err(|_| DeltaError::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DeltaError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self, width: u8) -> Result<u64, DeltaError> {
        let bytes = self.take(1 << width)?;
        Ok(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn step(&mut self) -> Result<Option<Operation<'d>>, DeltaError> {
        if self.state == State::Magic {
            if self.take(4)? != MAGIC {
                return Err(DeltaError::Format);
            }
            self.state = State::Open;
        }
        let code = self.take(1)?[0];
        let len = match code {
            END if self.rest.is_empty() => return Ok(None),
            1..LITERAL_BY_WIDTH => u64::from(code),
            LITERAL_BY_WIDTH..COPY_BY_WIDTHS => self.number(code - LITERAL_BY_WIDTH)?,
            COPY_BY_WIDTHS..=LAST_COPY => {
                let widths = code - COPY_BY_WIDTHS;
                let (offset, len) = (self.number(widths / 4)?, self.number(widths % 4)?);
                self.count(len)?;
                if offset.checked_add(len).is_none_or(|end| end > self.basis_len) {
                    return Err(DeltaError::OutsideBasis);
                }
                return Ok(Some(Operation::Copy { offset, len }));
            }
            _ => return Err(DeltaError::Format),
        };
        self.count(len)?;
        Ok(Some(Operation::Literal(self.take(len)?)))
    }

    /// Empty operations make nothing and would make a decoder work for nothing.
    fn count(&mut self, len: u64) -> Result<(), DeltaError> {
        if len == 0 {
            return Err(DeltaError::Format);
        }
        self.allowed = self.allowed.checked_sub(len).ok_or(DeltaError::TooLong)?;
        Ok(())
    }
}

impl<'d> Iterator for Operations<'d> {
    type Item = Result<Operation<'d>, DeltaError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Over {
            return None;
        }
        let step = self.step().transpose();
        if !matches!(step, Some(Ok(_))) {
            self.state = State::Over;
        }
        step
    }
}

/// Why a delta cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// It is not a delta in this format.
    #[error("not a delta, or a damaged one")]
    Format,
    /// It ends in the middle.
    #[error("a delta that ends too early")]
    Truncated,
    /// It copies from outside the basis.
    #[error("a delta that does not belong to this basis")]
    OutsideBasis,
    /// It makes more bytes than were announced.
    #[error("a delta that makes more than was announced")]
    TooLong,
}
