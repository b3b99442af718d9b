//! [`Value`]: the kinds of values that a configuration has, and how each is read.

use clonepanel_core::{filter::Rule, path::RelPath};
use std::{fmt, net::IpAddr, net::SocketAddr, path::PathBuf, time::Duration};
use toml::de::DeValue;

/// A kind of value.
pub(crate) trait Value: Sized {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected>;
}

/// What a value should have been; `Display` goes on after the name of the key.
#[derive(Debug)]
pub(crate) struct Expected {
    text: String,
    hint: Option<String>,
}

impl Expected {
    fn kind(what: &str, value: &DeValue<'_>) -> Self {
        Self::new(format!("must be {what}, not {}", with_article(value.type_str())))
    }

    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hint: None }
    }

    fn hint_text(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

impl Value for String {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected> {
        match value.as_str() {
            Some("") => Err(Expected::new("must not be empty")),
            Some(text) if text.contains('\0') => Err(Expected::new("must not have a NUL character")),
            Some(text) => Ok(text.to_owned()),
            None => Err(Expected::kind("a string", value)),
        }
    }
}

impl Value for PathBuf {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected> {
        String::read(value).map(Self::from)
    }
}

impl Value for bool {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected> {
        value.as_bool().ok_or_else(|| Expected::kind("true or false", value))
    }
}

impl Value for u32 {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected> {
        let number = value.as_integer().ok_or_else(|| Expected::kind("a whole number", value))?;
        Self::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| Expected::new(format!("must be a whole number from 0 to {}", Self::MAX)))
    }
}

impl Value for u16 {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected> {
        let number = u32::read(value)?;
        match Self::try_from(number) {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(Expected::new("must be from 1 to 65535")),
        }
    }
}

impl Value for f64 {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected> {
        let text = match value {
            DeValue::Integer(number) => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return Err(Expected::kind("a number", value)),
        };
        match text.parse::<Self>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
            _ => Err(Expected::new("must be a number that is not negative")),
        }
    }
}

impl Value for Duration {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected> {
        let text = String::read(value)?;
        humantime::parse_duration(&text).map_err(|_| {
            Expected::new(format!("is no duration: {text:?}")).hint_text("write it as \"90s\", \"48h\" or \"3w\"")
        })
    }
}

/// Bytes in a second: `4MiB/s`, `500kB/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u64);

impl std::str::FromStr for Rate {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_suffix("/s").unwrap_or(text);
        match text.parse::<bytesize::ByteSize>() {
            Ok(size) if size.as_u64() > 0 => Ok(Self(size.as_u64())),
            _ => Err("not a rate such as 4MiB/s or 500kB/s"),
        }
    }
}

impl Value for Rate {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected> {
        let text = String::read(value)?;
        text.parse().map_err(|why| Expected::new(format!("is {why}: {text:?}")))
    }
}

impl Value for IpAddr {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected> {
        let text = String::read(value)?;
        text.parse().map_err(|_| Expected::new(format!("is no IP address: {text:?}")))
    }
}

/// Where name servers listen.
const DNS_PORT: u16 = 53;

/// An authoritative server: an address, with a port or without.
#[derive(Debug)]
pub(crate) struct NameserverAddress(pub(crate) SocketAddr);

impl Value for NameserverAddress {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected> {
        let text = String::read(value)?;
        let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)).or_else(|_| text.parse());
        address.map(Self).map_err(|_| Expected::new(format!("is neither an IP address nor address:port: {text:?}")))
    }
}

impl Value for RelPath {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected> {
        let text = String::read(value)?;
        let trimmed = text.strip_prefix("./").unwrap_or(&text).trim_end_matches('/');
        Self::try_from(if trimmed == "." { "" } else { trimmed }).map_err(|error| {
            Expected::new(format!("is not usable: {error}: {text:?}"))
                .hint_text("paths are relative to the account's home")
        })
    }
}

impl Value for Rule {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected> {
        let text = String::read(value)?;
        Self::parse(&text).map_err(|error| Expected::new(format!("has a bad pattern: {error}")))
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(value: &DeValue<'_>) -> Result<Self, Expected> {
        let items = value.as_array().ok_or_else(|| Expected::kind("an array", value))?;
        items.iter().map(|item| T::read(item.get_ref())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        assert_eq!("4MiB/s".parse(), Ok(Rate(4 << 20)));
        assert_eq!("500kB/s".parse(), Ok(Rate(500_000)));
        assert_eq!("4 MiB".parse(), Ok(Rate(4 << 20)));
        for bad in ["", "fast", "0", "-1MiB/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
