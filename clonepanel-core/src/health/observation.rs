//! [`Observation`]: what one look at a server showed.

use crate::escape::Escaped;
use std::{fmt, time::Duration};

/// The longest detail that is kept, in bytes.
pub const MAX_DETAIL: usize = 200;

/// What one look at a server showed: something was learned, good or bad.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observation {
    /// What kind of answer there was.
    pub class: Class,
    /// How long it took.
    pub latency: Duration,
    /// How far it got when.
    pub phases: Phases,
    detail: String,
}

/// How long after its beginning each phase of a look was over. What it did not get to, or has not, is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct Phases {
    /// The name has an address.
    pub resolved: Option<Duration>,
    /// There is a connection.
    pub connected: Option<Duration>,
    /// It is encrypted, and the server is who it should be.
    pub encrypted: Option<Duration>,
    /// The answer has begun.
    pub answered: Option<Duration>,
}

impl Phases {
    /// What has not come, in a word or two.
    #[must_use]
    pub const fn missing(&self) -> &'static str {
        match (self.resolved, self.connected, self.answered) {
            (None, _, _) => "no address",
            (_, None, _) => "no connection",
            (_, _, None) => "no answer",
            _ => "no end of the answer",
        }
    }
}

/// What kind of answer there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Class {
    /// As it should be.
    Good,
    /// As it should be, but slowly: that is alive.
    Slow,
    /// The certificate is none for this name, or is not valid now.
    Certificate,
    /// The login or the database says no.
    Denied,
    /// The name cannot be resolved.
    Name,
    /// The server says that it is too busy.
    Overload,
    /// Nobody listens.
    Refused,
    /// The connection broke.
    Reset,
    /// No answer in time.
    TimedOut,
    /// Another answer than the expected one.
    WrongContent,
    /// Another status than the expected one.
    WrongStatus,
}

impl Class {
    /// Whether the server did not do what it is for.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Good | Self::Slow)
    }

    /// In a word or two.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Slow => "slow",
            Self::Certificate => "bad certificate",
            Self::Denied => "denied",
            Self::Name => "no such name",
            Self::Overload => "overloaded",
            Self::Refused => "refused",
            Self::Reset => "connection broke",
            Self::TimedOut => "no answer",
            Self::WrongContent => "wrong content",
            Self::WrongStatus => "wrong status",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Observation {
    /// An observation; the detail is made safe and cut to [`MAX_DETAIL`].
    #[must_use]
    pub fn new(class: Class, latency: Duration, detail: impl AsRef<[u8]>) -> Self {
        // Escaping makes it longer, never shorter: more cannot be shown of it.
        let detail = detail.as_ref();
        let mut text = Escaped(detail.get(..MAX_DETAIL).unwrap_or(detail)).to_string();
        text.truncate(text.floor_char_boundary(MAX_DETAIL));
        Self { class, latency, phases: Phases::default(), detail: text }
    }

    /// With its phases.
    #[must_use]
    pub const fn phases(mut self, phases: Phases) -> Self {
        self.phases = phases;
        self
    }

    /// More about it, in one line that is safe on a terminal, at most [`MAX_DETAIL`] bytes; empty for none.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_short_and_harmless() {
        let long = Observation::new(Class::WrongContent, Duration::ZERO, vec![0x1b; 1000]);
        assert!(long.detail().len() <= MAX_DETAIL && !long.detail().contains(char::is_control));
        assert_eq!(Observation::new(Class::Good, Duration::ZERO, "fine").detail(), "fine");
        assert!(!Class::Slow.is_failure() && Class::Overload.is_failure());
        let mut phases = Phases::default();
        assert_eq!(phases.missing(), "no address");
        (phases.resolved, phases.connected) = (Some(Duration::ZERO), Some(Duration::ZERO));
        assert_eq!(phases.missing(), "no answer");
        assert_eq!(long.phases(phases).phases, phases);
    }
}
