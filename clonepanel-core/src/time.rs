//! [`Timestamp`]: a moment with nanoseconds, in UTC, before and after 1970.

use async_trait::async_trait;
use std::{
    fmt,
    time::{Duration, SystemTime},
};

const DAY: i64 = 86_400;

/// A moment: seconds since 1970-01-01T00:00:00Z (negative before) and nanoseconds (0 to 999,999,999) after that second.
///
/// Leap seconds do not exist here, as on any Unix system. `Display` is RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    secs: i64,
    nanos: u32,
}

impl Timestamp {
    /// A moment from its parts; nanoseconds beyond a second are cut to 999,999,999.
    #[must_use]
    pub const fn new(secs: i64, nanos: u32) -> Self {
        Self { secs, nanos: if nanos > 999_999_999 { 999_999_999 } else { nanos } }
    }

    /// A whole second.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self { secs, nanos: 0 }
    }

    /// Seconds since the epoch, rounded down.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.secs
    }

    /// Nanoseconds after [`Self::secs`].
    #[must_use]
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        if self <= earlier {
            return Duration::ZERO;
        }
        let mut secs = self.secs.abs_diff(earlier.secs);
        let nanos = if self.nanos >= earlier.nanos {
            self.nanos - earlier.nanos
        } else {
            secs -= 1;
            self.nanos + 1_000_000_000 - earlier.nanos
        };
        Duration::new(secs, nanos)
    }

    /// This moment moved back by `by`, saturating.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        let secs = self.secs.saturating_sub(i64::try_from(by.as_secs()).unwrap_or(i64::MAX));
        if self.nanos >= by.subsec_nanos() {
            Self { secs, nanos: self.nanos - by.subsec_nanos() }
        } else {
            Self { secs: secs.saturating_sub(1), nanos: self.nanos + 1_000_000_000 - by.subsec_nanos() }
        }
    }

    /// This moment moved on by `by`, saturating.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let nanos = self.nanos + by.subsec_nanos();
        let secs = self.secs.saturating_add(i64::try_from(by.as_secs()).unwrap_or(i64::MAX));
        Self { secs: secs.saturating_add(i64::from(nanos / 1_000_000_000)), nanos: nanos % 1_000_000_000 }
    }

    /// Year, month (1 to 12) and day (1 to 31) in UTC.
    #[must_use]
    pub const fn date(self) -> (i64, u32, u32) {
        civil(self.secs.div_euclid(DAY))
    }

    /// Days since the epoch in UTC, rounded down; day 0 was a Thursday.
    #[must_use]
    pub const fn day_number(self) -> i64 {
        self.secs.div_euclid(DAY)
    }

    /// The whole second as it stands in snapshot names, `20260823T021500Z`.
    #[must_use]
    pub fn compact(self) -> String {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.clock();
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }

    /// Reads what [`Self::compact`] writes, for the years 1 to 9999.
    #[must_use]
    pub fn parse_compact(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 16 || bytes.get(8) != Some(&b'T') || bytes.get(15) != Some(&b'Z') {
            return None;
        }
        let n = |from: usize, to: usize| digits(bytes.get(from..to)?);
        from_civil([n(0, 4)?, n(4, 6)?, n(6, 8)?, n(9, 11)?, n(11, 13)?, n(13, 15)?])
    }

    /// Reads RFC 3339 in UTC (`2026-08-23T02:15:00Z`, with a fraction or not), or a date alone (its midnight).
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let n = |from: usize, to: usize| digits(bytes.get(from..to)?);
        let separators = |marks: &[(usize, u8)]| marks.iter().all(|&(at, mark)| bytes.get(at) == Some(&mark));
        if !separators(&[(4, b'-'), (7, b'-')]) {
            return None;
        }
        if bytes.len() == 10 {
            return from_civil([n(0, 4)?, n(5, 7)?, n(8, 10)?, 0, 0, 0]);
        }
        if !separators(&[(10, b'T'), (13, b':'), (16, b':')]) || bytes.last() != Some(&b'Z') {
            return None;
        }
        let whole = from_civil([n(0, 4)?, n(5, 7)?, n(8, 10)?, n(11, 13)?, n(14, 16)?, n(17, 19)?])?;
        let fraction = bytes.get(19..bytes.len() - 1)?;
        match fraction {
            [] => Some(whole),
            [b'.', figures @ ..] if (1..=9).contains(&figures.len()) => {
                let value = digits(figures)? * 10_i64.pow(9 - u32::try_from(figures.len()).ok()?);
                Some(Self { nanos: u32::try_from(value).ok()?, ..whole })
            }
            _ => None,
        }
    }

    const fn clock(self) -> (i64, i64, i64) {
        let second = self.secs.rem_euclid(DAY);
        (second / 3600, second / 60 % 60, second % 60)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.clock();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos > 0 {
            write!(f, ".{:09}", self.nanos)?;
        }
        f.write_str("Z")
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Self::default().after(after),
            Err(before) => Self::default().before(before.duration()),
        }
    }
}

/// Tells what time it is. Jobs are given one, so that tests can decide.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Lets time pass. Jobs that wait are given one, so that tests need not: they bring their own runtime's timer.
#[async_trait]
pub trait Timer: Clock {
    /// The time since any beginning, by a clock that only goes forwards and knows nothing of the calendar.
    fn elapsed(&self) -> Duration;

    /// Waits until [`Self::elapsed`] has come to `until`; not at all when it has.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    async fn sleep_until(&self, until: Duration);
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// A clock that stands still.
impl Clock for Timestamp {
    fn now(&self) -> Timestamp {
        *self
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0_i64, |sum, &b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
}

/// The calendar date of a day number, by Howard Hinnant's `civil_from_days`.
const fn civil(day_number: i64) -> (i64, u32, u32) {
    let z = day_number + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    (year, month as u32, day as u32)
}

fn from_civil([year, month, day, hour, minute, second]: [i64; 6]) -> Option<Timestamp> {
    if !(1..=9999).contains(&year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let day_number = era * 146_097 + day_of_era - 719_468;
    // An impossible date (30 February) does not come back as itself.
    let same = civil(day_number) == (year, u32::try_from(month).ok()?, u32::try_from(day).ok()?);
    same.then(|| Timestamp::from_secs(day_number * DAY + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_787_451_300, "2026-08-23T02:15:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            let moment = Timestamp::from_secs(secs);
            assert_eq!(moment.to_string(), text);
            assert_eq!(Timestamp::parse_rfc3339(text), Some(moment));
            assert_eq!(Timestamp::parse_compact(&moment.compact()), Some(moment));
        }
        assert_eq!(
            Timestamp::parse_rfc3339("2026-08-23T02:15:00.5Z"),
            Some(Timestamp::new(1_787_451_300, 500_000_000))
        );
        for bad in
            ["", "2026-02-30", "2026-13-01", "2026-08-23T24:00:00Z", "2026-08-23T02:15:00", "2026-08-23T02:15:00.Z"]
        {
            assert_eq!(Timestamp::parse_rfc3339(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn text_round_trips(secs in -62_135_596_800_i64..253_402_300_800, nanos in 0_u32..1_000_000_000) {
            let moment = Timestamp::new(secs, nanos);
            proptest::prop_assert_eq!(Timestamp::parse_rfc3339(&moment.to_string()), Some(moment));
        }

        #[test]
        fn moving_there_and_back(secs: i32, nanos in 0_u32..1_000_000_000, by_ms: u32) {
            let moment = Timestamp::new(i64::from(secs), nanos);
            let by = Duration::from_millis(u64::from(by_ms));
            proptest::prop_assert_eq!(moment.after(by).before(by), moment);
            proptest::prop_assert_eq!(moment.after(by).since(moment), by);
        }
    }
}
