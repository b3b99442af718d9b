//! Record data as words: the elements in which panels exchange it, and the fields of a master file.

use super::{
    data::{Caa, Opaque, OpaqueForm, RecordData, Soa, Srv},
    name::{DomainName, NameError},
    record_type::RecordType,
    strings::Strings,
};
use crate::escape::Escaped;
use bytes::Bytes;
use std::{fmt, str::FromStr};

/// Why words are not the data of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WordsError {
    /// There are more or fewer words than the type has fields.
    #[error("wrong number of fields")]
    Count,
    /// A number is no number, or too large for its field.
    #[error("not a number that fits")]
    Number,
    /// An address is none.
    #[error("not an address")]
    Address,
    /// A name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A text is too long, or a tag is none.
    #[error("not a text that fits")]
    Text,
}

impl RecordData {
    /// Reads words. Names are in master-file form, below `origin` without a trailing dot; the strings of a TXT record and the
    /// value of a CAA record are raw octets, without quotes and escapes. Types that are not read here become [`Opaque`].
    ///
    /// # Errors
    /// [`WordsError`] says what is wrong. Whoever must not fail takes [`RecordData::Opaque`] in its place.
    pub fn from_words(record_type: RecordType, words: &[Bytes], origin: &DomainName) -> Result<Self, WordsError> {
        let words_of = Words { words, origin };
        Ok(match record_type {
            RecordType::A => Self::A(words_of.only()?.parse().map_err(|_| WordsError::Address)?),
            RecordType::AAAA => Self::Aaaa(words_of.only()?.parse().map_err(|_| WordsError::Address)?),
            RecordType::CNAME => Self::Cname(words_of.only_name()?),
            RecordType::NS => Self::Ns(words_of.only_name()?),
            RecordType::PTR => Self::Ptr(words_of.only_name()?),
            RecordType::MX => {
                let [preference, exchange] = words_of.exactly()?;
                Self::Mx(number(preference)?, words_of.name(exchange)?)
            }
            RecordType::SRV => {
                let [priority, weight, port, target] = words_of.exactly()?;
                let target = words_of.name(target)?;
                Self::Srv(Srv { priority: number(priority)?, weight: number(weight)?, port: number(port)?, target })
            }
            RecordType::CAA => {
                let [flags, tag, value] = words_of.exactly()?;
                let tag = std::str::from_utf8(tag).map_err(|_| WordsError::Text)?;
                Self::Caa(Caa::new(number(flags)?, tag, value.clone()).ok_or(WordsError::Text)?)
            }
            RecordType::TXT => Self::Txt(Strings::from_strings(words.iter().cloned()).ok_or(WordsError::Text)?),
            RecordType::SOA => Self::Soa(words_of.soa()?),
            record_type => {
                let form = generic(words).unwrap_or_else(|| OpaqueForm::Words(words.to_vec()));
                Self::Opaque(Opaque { record_type, form })
            }
        })
    }

    /// The words that [`Self::from_words`] reads: names are absolute, texts raw.
    #[must_use]
    pub fn to_words(&self) -> Vec<Bytes> {
        let word = |shown: &dyn fmt::Display| Bytes::from(shown.to_string());
        match self {
            Self::A(address) => vec![word(address)],
            Self::Aaaa(address) => vec![word(address)],
            Self::Caa(caa) => vec![word(&caa.flags()), word(&caa.tag()), caa.value().clone()],
            Self::Cname(name) | Self::Ns(name) | Self::Ptr(name) => vec![word(name)],
            Self::Mx(preference, exchange) => vec![word(preference), word(exchange)],
            Self::Opaque(Opaque { form: OpaqueForm::Words(words), .. }) => words.clone(),
            Self::Opaque(Opaque { form: OpaqueForm::Wire(octets), .. }) => {
                let mut words = vec![Bytes::from_static(b"\\#"), word(&octets.len())];
                if !octets.is_empty() {
                    words.push(word(&octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>()));
                }
                words
            }
            Self::Soa(soa) => {
                let numbers = [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum];
                let names = [word(&soa.primary), word(&soa.responsible)];
                names.into_iter().chain(numbers.iter().map(|number| word(number))).collect()
            }
            Self::Srv(srv) => vec![word(&srv.priority), word(&srv.weight), word(&srv.port), word(&srv.target)],
            Self::Txt(strings) => strings.iter().cloned().collect(),
        }
    }
}

/// The form of RFC 3597, section 5, for data of any type.
fn generic(words: &[Bytes]) -> Option<OpaqueForm> {
    let [mark, len, hex @ ..] = words else { return None };
    let hex = hex.concat();
    if mark != "\\#" || number::<usize>(len).ok()? * 2 != hex.len() {
        return None;
    }
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, _) = hex.as_chunks::<2>();
    let octets: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? * 16 + digit(*low)?)).collect();
    octets.map(|octets| OpaqueForm::Wire(octets.into()))
}

struct Words<'a> {
    words: &'a [Bytes],
    origin: &'a DomainName,
}

impl<'a> Words<'a> {
    fn exactly<const N: usize>(&self) -> Result<&'a [Bytes; N], WordsError> {
        self.words.try_into().map_err(|_| WordsError::Count)
    }

    fn only(&self) -> Result<&'a str, WordsError> {
        let [word] = self.exactly()?;
        std::str::from_utf8(word).map_err(|_| WordsError::Address)
    }

    fn only_name(&self) -> Result<DomainName, WordsError> {
        let [word] = self.exactly()?;
        self.name(word)
    }

    fn name(&self, word: &Bytes) -> Result<DomainName, WordsError> {
        let text = std::str::from_utf8(word).map_err(|_| NameError::NotAscii)?;
        Ok(DomainName::parse_in(text, self.origin)?)
    }

    fn soa(&self) -> Result<Soa, WordsError> {
        let [primary, responsible, serial, refresh, retry, expire, minimum] = self.exactly()?;
        Ok(Soa {
            primary: self.name(primary)?,
            responsible: self.name(responsible)?,
            serial: number(serial)?,
            refresh: seconds(refresh)?,
            retry: seconds(retry)?,
            expire: seconds(expire)?,
            minimum: seconds(minimum)?,
        })
    }
}

fn number<N: FromStr>(word: &[u8]) -> Result<N, WordsError> {
    let text = std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or(WordsError::Number)
}

/// A time in seconds, also in the form that BIND's master files allow: `1w2d3h4m5s`.
pub(super) fn seconds(word: &[u8]) -> Result<u32, WordsError> {
    if let Ok(seconds) = number(word) {
        return Ok(seconds);
    }
    let mut total = 0u32;
    let mut rest = word;
    while !rest.is_empty() {
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).ok_or(WordsError::Number)?;
        let (count, after) = rest.split_at(digits);
        let (unit, after) = after.split_first().ok_or(WordsError::Number)?;
        let unit: u32 = match unit.to_ascii_lowercase() {
            b'w' => 604_800,
            b'd' => 86_400,
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return Err(WordsError::Number),
        };
        let part = number::<u32>(count)?.checked_mul(unit);
        total = part.and_then(|part| total.checked_add(part)).ok_or(WordsError::Number)?;
        rest = after;
    }
    if word.is_empty() { Err(WordsError::Number) } else { Ok(total) }
}

impl fmt::Display for RecordData {
    /// The fields of a master file; strings stand in quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Txt(strings) => {
                for (index, string) in strings.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { " " })?;
                    write_quoted(f, string)?;
                }
                Ok(())
            }
            Self::Caa(caa) => {
                write!(f, "{} {} ", caa.flags(), caa.tag())?;
                write_quoted(f, caa.value())
            }
            Self::Opaque(Opaque { form: OpaqueForm::Words(words), .. }) => {
                for (index, word) in words.iter().enumerate() {
                    write!(f, "{}{}", if index == 0 { "" } else { " " }, OpaqueWord(word))?;
                }
                Ok(())
            }
            data => {
                for (index, word) in data.to_words().iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { " " })?;
                    f.write_str(&String::from_utf8_lossy(word))?;
                }
                Ok(())
            }
        }
    }
}

/// A word of a record that is not read here: as it is, unless that could harm a terminal.
struct OpaqueWord<'a>(&'a [u8]);

impl fmt::Display for OpaqueWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) => f.write_str(text),
            _ => Escaped(self.0).fmt(f),
        }
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    use fmt::Write as _;
    f.write_char('"')?;
    for &octet in octets {
        match octet {
            b'"' | b'\\' => write!(f, "\\{}", char::from(octet))?,
            0x20..=0x7e => f.write_char(octet.into())?,
            _ => write!(f, "\\{octet:03}")?,
        }
    }
    f.write_char('"')
}
