//! [`RecordType`]: the kinds of records, by the numbers of the wire.

use std::{fmt, str::FromStr};

/// A record type by its number (IANA's registry of resource record types). `Display` is the mnemonic, or `TYPE65280` for a
/// number without one here (RFC 3597, section 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(u16);

/// The text names no record type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such record type")]
#[non_exhaustive]
pub struct UnknownRecordType;

macro_rules! record_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        impl RecordType {
            $($(#[$doc])* pub const $name: Self = Self($number);)*
        }
        const MNEMONICS: &[(&str, RecordType)] = &[$((stringify!($name), RecordType::$name)),*];
    };
}

record_types! {
    /// An IPv4 address.
    A = 1,
    /// A name server.
    NS = 2,
    /// Another name for the same.
    CNAME = 5,
    /// The start of a zone's authority.
    SOA = 6,
    /// The name of an address.
    PTR = 12,
    /// What a machine is.
    HINFO = 13,
    /// Where mail goes.
    MX = 15,
    /// Text.
    TXT = 16,
    /// Who is responsible.
    RP = 17,
    /// A cell database.
    AFSDB = 18,
    /// An IPv6 address.
    AAAA = 28,
    /// A place on earth.
    LOC = 29,
    /// Where a service is.
    SRV = 33,
    /// A rewriting rule.
    NAPTR = 35,
    /// Another name for everything below.
    DNAME = 39,
    /// The fingerprint of a delegated zone's key.
    DS = 43,
    /// The fingerprint of an ssh host key.
    SSHFP = 44,
    /// A signature.
    RRSIG = 46,
    /// What does not exist.
    NSEC = 47,
    /// A zone's key.
    DNSKEY = 48,
    /// What does not exist, hashed.
    NSEC3 = 50,
    /// How names are hashed.
    NSEC3PARAM = 51,
    /// A certificate's fingerprint.
    TLSA = 52,
    /// A DS for the parent to take over.
    CDS = 59,
    /// A DNSKEY for the parent to take over.
    CDNSKEY = 60,
    /// How a service is reached.
    SVCB = 64,
    /// How a web site is reached.
    HTTPS = 65,
    /// Who may issue certificates.
    CAA = 257,
    /// PowerDNS's flattened CNAME; only inside of such a server.
    ALIAS = 65401,
}

impl RecordType {
    /// A type by its number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl FromStr for RecordType {
    type Err = UnknownRecordType;

    /// Reads a mnemonic in any case, or `TYPE` and a number.
    fn from_str(text: &str) -> Result<Self, UnknownRecordType> {
        if let Some((_, found)) = MNEMONICS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)) {
            return Ok(*found);
        }
        let number = text.split_at_checked(4).filter(|(word, _)| word.eq_ignore_ascii_case("TYPE"));
        let digits = number.map(|(_, digits)| digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).map(Self).ok_or(UnknownRecordType)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MNEMONICS.iter().find(|(_, known)| known == self) {
            Some((name, _)) => f.pad(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_name_that_is_read_back() {
        for number in 0..=u16::MAX {
            let found = RecordType::new(number);
            assert_eq!(found.to_string().parse(), Ok(found));
            assert_eq!(found.to_string().to_lowercase().parse(), Ok(found));
        }
        for text in ["", "TYPE", "TYPE65536", "TYPE+1", "TYPE-1", "B", "täpe1"] {
            assert_eq!(text.parse::<RecordType>(), Err(UnknownRecordType), "{text}");
        }
    }
}
