//! [`RecordData`]: what a record says.

use super::{name::DomainName, record_type::RecordType, strings::Strings};
use bytes::Bytes;
// From `core`, which has addresses and no sockets.
use core::net::{Ipv4Addr, Ipv6Addr};

/// The most octets that the data of one record can have on the wire.
pub const MAX_DATA_OCTETS: usize = 65_535;

/// What one record says. Types that are not read here are [`Opaque`] and pass through untouched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RecordData {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Who may issue certificates (RFC 8659).
    Caa(Caa),
    /// Another name for the same.
    Cname(DomainName),
    /// Where mail goes: a preference (the lowest is asked first) and a name.
    Mx(u16, DomainName),
    /// A name server.
    Ns(DomainName),
    /// Whatever is not read here.
    Opaque(Opaque),
    /// The name of an address.
    Ptr(DomainName),
    /// The start of the zone's authority: it is read and never planned.
    Soa(Soa),
    /// Where a service is (RFC 2782).
    Srv(Srv),
    /// Text.
    Txt(Strings),
}

/// A property of certificates (RFC 8659).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caa {
    flags: u8,
    tag: String,
    value: Bytes,
}

impl Caa {
    /// A property; the tag is kept in lower case. `None` when the tag is not 1 to 255 letters and digits, or the value too long.
    #[must_use]
    pub fn new(flags: u8, tag: &str, value: impl Into<Bytes>) -> Option<Self> {
        let value = value.into();
        let fits = (1..=255).contains(&tag.len()) && value.len() <= MAX_DATA_OCTETS - 2 - tag.len();
        let plain = tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (fits && plain).then(|| Self { flags, tag: tag.to_ascii_lowercase(), value })
    }

    /// 128 when an issuer that does not know the tag must not issue.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// What the property is about: `issue`, `issuewild`, `iodef`.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The property.
    #[must_use]
    pub const fn value(&self) -> &Bytes {
        &self.value
    }
}

/// Where a service is (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs)]
pub struct Srv {
    /// The lowest is asked first.
    pub priority: u16,
    /// The share among equal priorities.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The machine; the root when there is no such service.
    pub target: DomainName,
}

/// The start of a zone's authority (RFC 1035, section 3.3.13). Times are seconds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs)]
pub struct Soa {
    /// The first name server.
    pub primary: DomainName,
    /// The mailbox of who is responsible, as a name.
    pub responsible: DomainName,
    /// The version of the zone; compared as RFC 1982 says.
    pub serial: u32,
    /// How often copies look for a newer version.
    pub refresh: u32,
    /// How soon they try again.
    pub retry: u32,
    /// When they give up.
    pub expire: u32,
    /// How long an absence may be remembered (RFC 2308).
    pub minimum: u32,
}

/// A record that is not read here: of another type, or one whose data makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs)]
pub struct Opaque {
    /// Its type.
    pub record_type: RecordType,
    /// What the provider has, as it has it.
    pub form: OpaqueForm,
}

/// The form in which a provider has what is not read here. Different forms are never equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum OpaqueForm {
    /// Words of a master file, or what a panel gives in their place.
    Words(Vec<Bytes>),
    /// The octets of the wire.
    Wire(Bytes),
}

impl RecordData {
    /// The type that this is data of.
    #[must_use]
    pub const fn record_type(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::AAAA,
            Self::Caa(_) => RecordType::CAA,
            Self::Cname(_) => RecordType::CNAME,
            Self::Mx(..) => RecordType::MX,
            Self::Ns(_) => RecordType::NS,
            Self::Opaque(opaque) => opaque.record_type,
            Self::Ptr(_) => RecordType::PTR,
            Self::Soa(_) => RecordType::SOA,
            Self::Srv(_) => RecordType::SRV,
            Self::Txt(_) => RecordType::TXT,
        }
    }

    /// The name that this leads to, for types that have one.
    #[must_use]
    pub const fn target(&self) -> Option<&DomainName> {
        match self {
            Self::Cname(name) | Self::Mx(_, name) | Self::Ns(name) | Self::Ptr(name) => Some(name),
            Self::Srv(srv) => Some(&srv.target),
            Self::A(_) | Self::Aaaa(_) | Self::Caa(_) | Self::Opaque(_) | Self::Soa(_) | Self::Txt(_) => None,
        }
    }
}
