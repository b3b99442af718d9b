//! The variable-length integers of protocol 30 and later: varint, varlong, vstring and the stateful file index (ndx).

use super::{Cursor, Stop};
use crate::error::ProtocolError;

/// End of a list's requests or of a phase.
pub(crate) const NDX_DONE: i32 = -1;
/// No more incremental file lists.
pub(crate) const NDX_FLIST_EOF: i32 = -2;
/// Deletion counters follow.
pub(crate) const NDX_DEL_STATS: i32 = -3;
/// `NDX_FLIST_OFFSET - d` announces the file list of directory number d.
pub(crate) const NDX_FLIST_OFFSET: i32 = -101;

/// How many bytes follow a first byte: as many as it has leading ones, with the two longest forms folded.
const fn extra_bytes(first: u8) -> usize {
    match first {
        0x00..=0x7f => 0,
        0x80..=0xbf => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        0xf8..=0xfb => 5,
        0xfc..=0xff => 6,
    }
}

impl Cursor<'_> {
    /// A 32-bit integer in 1 to 5 bytes.
    pub(crate) fn varint(&mut self) -> Result<i32, Stop> {
        let first = self.byte()?;
        let extra = extra_bytes(first);
        if extra > 4 || (extra == 4 && first & 0x07 != 0) {
            return Err(ProtocolError::Malformed("varint").into());
        }
        let mut value = [0; 4];
        let rest = self.bytes(extra)?;
        value[..extra].copy_from_slice(rest);
        if extra < 4 {
            value[extra] = first & (0xff >> (extra + 1));
        }
        Ok(i32::from_le_bytes(value))
    }

    /// A varint that must not be negative.
    pub(crate) fn count(&mut self, what: &'static str) -> Result<u32, Stop> {
        u32::try_from(self.varint()?).map_err(|_| ProtocolError::Malformed(what).into())
    }

    /// A 64-bit integer that takes at least `min` bytes.
    pub(crate) fn varlong(&mut self, min: usize) -> Result<i64, Stop> {
        let first = self.byte()?;
        let extra = extra_bytes(first);
        let len = min - 1 + extra;
        if len > 8 {
            return Err(ProtocolError::Malformed("varlong").into());
        }
        let mut value = [0; 8];
        value[..len].copy_from_slice(self.bytes(len)?);
        if len < 8 {
            value[len] = first & (0xff_u16 >> (extra + 1)) as u8;
        }
        Ok(i64::from_le_bytes(value))
    }

    /// A string of at most 32,767 bytes.
    pub(crate) fn vstring(&mut self) -> Result<&[u8], Stop> {
        let first = self.byte()?;
        let len = match first {
            0x80.. => usize::from(first & 0x7f) << 8 | usize::from(self.byte()?),
            _ => usize::from(first),
        };
        self.bytes(len)
    }
}

/// Appends a string of at most 32,767 bytes; longer ones are cut.
pub(crate) fn put_vstring(out: &mut Vec<u8>, text: &[u8]) {
    let text = text.get(..0x7fff).unwrap_or(text);
    if text.len() > 0x7f {
        out.push((text.len() >> 8) as u8 | 0x80);
    }
    out.push((text.len() & 0xff) as u8);
    out.extend_from_slice(text);
}

/// Appends a 32-bit integer in 1 to 5 bytes.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_long(out, i64::from(value.cast_unsigned()), 1);
}

/// Appends a 64-bit integer in at least `min` bytes.
pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64, min: usize) {
    put_long(out, value, min);
}

/// The first byte tells by its leading ones how many bytes there are beyond `min`, and holds the highest bits where they fit.
fn put_long(out: &mut Vec<u8>, value: i64, min: usize) {
    let bytes = value.to_le_bytes();
    let len = bytes.iter().rposition(|&byte| byte != 0).map_or(min, |last| (last + 1).max(min));
    let (extra, highest) = (len - min, bytes[len - 1]);
    let ones = |count: usize| !(0xff_u16 >> count) as u8;
    if u16::from(highest) < 0x80 >> extra {
        out.push(ones(extra) | highest);
        out.extend_from_slice(&bytes[..len - 1]);
    } else {
        out.push(ones(extra + 1));
        out.extend_from_slice(&bytes[..len]);
    }
}

/// Reads file indexes of one direction; the differences run on for the whole connection.
#[derive(Debug, Clone)]
pub(crate) struct NdxReader {
    positive: i32,
    negative: i32,
}

impl NdxReader {
    pub(crate) const fn new() -> Self {
        Self { positive: -1, negative: 1 }
    }

    /// Reads one; the caller keeps the new state only when it consumes the bytes.
    pub(crate) fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<i32, Stop> {
        let mut byte = cursor.byte()?;
        if byte == 0 {
            return Ok(NDX_DONE);
        }
        let is_negative = byte == 0xff;
        if is_negative {
            byte = cursor.byte()?;
        }
        let previous = if is_negative { self.negative } else { self.positive };
        let value = if byte == 0xfe {
            let [high, low] = [cursor.byte()?, cursor.byte()?];
            if high & 0x80 == 0 {
                previous.checked_add(i32::from(high) << 8 | i32::from(low))
            } else {
                let [b1, b2] = [cursor.byte()?, cursor.byte()?];
                Some(i32::from_le_bytes([low, b1, b2, high & 0x7f]))
            }
        } else {
            previous.checked_add(i32::from(byte))
        };
        let value = value.filter(|value| *value >= 0).ok_or(ProtocolError::Malformed("file index"))?;
        if is_negative {
            self.negative = value;
            Ok(-value)
        } else {
            self.positive = value;
            Ok(value)
        }
    }
}

/// Writes file indexes of one direction.
#[derive(Debug)]
pub(crate) struct NdxWriter {
    positive: i32,
    negative: i32,
}

impl NdxWriter {
    pub(crate) const fn new() -> Self {
        Self { positive: -1, negative: 1 }
    }

    pub(crate) fn write(&mut self, out: &mut Vec<u8>, ndx: i32) {
        if ndx == NDX_DONE {
            out.push(0);
            return;
        }
        let (value, previous) = if ndx < 0 {
            out.push(0xff);
            (-ndx, &mut self.negative)
        } else {
            (ndx, &mut self.positive)
        };
        let difference = i64::from(value) - i64::from(*previous);
        *previous = value;
        match difference {
            1..=0xfd => out.push(difference as u8),
            0 | 0xfe..=0x7fff => out.extend_from_slice(&[0xfe, (difference >> 8) as u8, difference as u8]),
            _ => {
                let [b0, b1, b2, b3] = value.to_le_bytes();
                out.extend_from_slice(&[0xfe, b3 | 0x80, b0, b1, b2]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Result<i32, Stop> {
        let mut cursor = Cursor::new(bytes);
        let value = cursor.varint()?;
        assert_eq!(cursor.position(), bytes.len());
        Ok(value)
    }

    #[test]
    fn varints_as_captured() {
        for (bytes, value) in [
            (&[0x00][..], 0),
            (&[0x7f], 127),
            (&[0x80, 0x80], 128),
            (&[0x81, 0x00], 256),
            (&[0x81, 0xff], 511),
            (&[0xa0, 0x1a], 0x201a),
            (&[0xbf, 0xff], 16383),
            (&[0xc0, 0x00, 0x40], 16384),
            (&[0xdf, 0xff, 0xff], 0x1f_ffff),
            (&[0xe0, 0x00, 0x00, 0x20], 0x20_0000),
            (&[0xef, 0xff, 0xff, 0xff], 0x0fff_ffff),
            (&[0xf0, 0xff, 0xff, 0xff, 0xff], -1),
        ] {
            assert_eq!(varint(bytes), Ok(value), "{bytes:x?}");
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes, "{value}");
            for len in 0..bytes.len() {
                assert_eq!(Cursor::new(&bytes[..len]).varint(), Err(Stop::More));
            }
        }
        assert!(matches!(varint(&[0xf8, 0, 0, 0, 0, 0]), Err(Stop::Bad(_))));
        assert!(matches!(varint(&[0xf1, 0, 0, 0, 0]), Err(Stop::Bad(_))));
    }

    #[test]
    fn varlongs_as_captured() {
        for (min, bytes, value) in [
            (3, &[0, 0, 0][..], 0),
            (3, &[0, 1, 0], 1),
            (3, &[0, 0xff, 0xff], 0xffff),
            (3, &[1, 0, 0], 0x1_0000),
            (3, &[0x7f, 0xff, 0xff], 0x7f_ffff),
            (3, &[0x80, 0, 0, 0x80], 0x80_0000),
            (3, &[0xc1, 0, 0, 0, 0], 1 << 32),
            (3, &[0xe1, 5, 0, 0, 0, 0], (1 << 40) + 5),
            (4, &[0, 0, 0, 0], 0),
            (4, &[0x65, 0x00, 0xf1, 0x53], 1_700_000_000),
            (4, &[0x7f, 0xff, 0xff, 0xff], 0x7fff_ffff),
            (4, &[0x80, 0, 0, 0, 0x80], 0x8000_0000),
            (4, &[0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], -1),
            (4, &[0xf8, 0x9f, 0x95, 0xea, 0xf6, 0xff, 0xff, 0xff, 0xff], -152_398_433),
        ] {
            let mut cursor = Cursor::new(bytes);
            assert_eq!(cursor.varlong(min), Ok(value), "{bytes:x?}");
            let mut out = Vec::new();
            put_varlong(&mut out, value, min);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(cursor.position(), bytes.len());
        }
        assert!(matches!(Cursor::new(&[0xff; 12]).varlong(4), Err(Stop::Bad(_))));
    }

    #[test]
    fn indexes_as_captured() {
        let script: &[(i32, &[u8])] = &[
            (0, &[0x01]),
            (1, &[0x01]),
            (5, &[0x04]),
            (258, &[0xfd]),
            (259, &[0x01]),
            (600, &[0xfe, 0x01, 0x55]),
            (40000, &[0xfe, 0x80, 0x40, 0x9c, 0x00]),
            (39999, &[0xfe, 0x80, 0x3f, 0x9c, 0x00]),
            (NDX_DONE, &[0x00]),
            (-2, &[0xff, 0x01]),
            (-101, &[0xff, 0x63]),
            (-102, &[0xff, 0x01]),
            (-3, &[0xff, 0xfe, 0x80, 0x03, 0x00, 0x00]),
            (40001, &[0x02]),
        ];
        let (mut reader, mut writer) = (NdxReader::new(), NdxWriter::new());
        for &(ndx, bytes) in script {
            let mut out = Vec::new();
            writer.write(&mut out, ndx);
            assert_eq!(out, bytes, "{ndx}");
            assert_eq!(reader.read(&mut Cursor::new(bytes)), Ok(ndx));
        }
    }

    #[test]
    fn vstrings_as_captured() {
        for (len, head) in [(0, &[0][..]), (127, &[0x7f]), (128, &[0x80, 0x80]), (300, &[0x81, 0x2c])] {
            let (mut out, text) = (Vec::new(), vec![b'x'; len]);
            put_vstring(&mut out, &text);
            assert_eq!(&out[..head.len()], head);
            assert_eq!(Cursor::new(&out).vstring(), Ok(&text[..]));
        }
    }

    proptest::proptest! {
        #[test]
        fn integers_round_trip(short: i32, long: i64, small in 0_i64..1 << 26) {
            let mut out = Vec::new();
            put_varint(&mut out, short);
            for (value, min) in [(long, 3), (long, 4), (small, 3), (small, 4)] {
                put_varlong(&mut out, value, min);
            }
            let mut cursor = Cursor::new(&out);
            proptest::prop_assert_eq!(cursor.varint(), Ok(short));
            for (value, min) in [(long, 3), (long, 4), (small, 3), (small, 4)] {
                proptest::prop_assert_eq!(cursor.varlong(min), Ok(value));
            }
            proptest::prop_assert_eq!(cursor.position(), out.len());
        }

        #[test]
        fn indexes_round_trip(indexes: Vec<i32>) {
            let (mut reader, mut writer) = (NdxReader::new(), NdxWriter::new());
            for ndx in indexes.into_iter().filter(|ndx| *ndx != i32::MIN) {
                let mut out = Vec::new();
                writer.write(&mut out, ndx);
                proptest::prop_assert_eq!(reader.read(&mut Cursor::new(&out)), Ok(ndx));
            }
        }
    }
}
