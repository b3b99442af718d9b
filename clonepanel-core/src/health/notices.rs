//! [`Notices`]: which changes of state a person is told, each once.

use super::watch::State;
use crate::time::Timestamp;
use std::{collections::BTreeMap, time::Duration};

/// What a person was told of each target last, and so what there is to tell. Pure: what was told is kept by whoever tells it, so that nothing is told
/// twice after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notices {
    told: BTreeMap<String, Told>,
}

/// What a person was told of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Told {
    /// Down, or up again.
    pub is_down: bool,
    /// Since when.
    pub since: Timestamp,
    /// When that was said last.
    pub last: Timestamp,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Notice {
    /// Which target.
    pub target: String,
    /// What about it.
    pub kind: NoticeKind,
    /// Since when it is what it is.
    pub since: Timestamp,
    /// What was seen, one line; empty for nothing.
    pub cause: String,
}

/// What is told of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum NoticeKind {
    /// It is down.
    Down,
    /// It is down still.
    StillDown,
    /// It is up again, and was down for so long.
    UpAgain(Duration),
}

impl NoticeKind {
    /// In a word or two.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::StillDown => "still down",
            Self::UpAgain(_) => "up again",
        }
    }
}

impl Notice {
    /// The same for the same notice, whoever tells it how often: who is told twice can know it.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{} {} {}", self.target, self.kind.word(), self.since)
    }
}

impl Notices {
    /// Goes on with what was told before.
    #[must_use]
    pub fn resume(told: impl IntoIterator<Item = (String, Told)>) -> Self {
        Self { told: told.into_iter().collect() }
    }

    /// What was told, to be kept.
    pub fn told(&self) -> impl Iterator<Item = (&str, &Told)> {
        self.told.iter().map(|(target, told)| (target.as_str(), told))
    }

    /// What there is to tell of a target that is in a state now. A target that fails, recovers or is not known is told of when it is down, or up
    /// again. It is told as often as it is asked for until [`Self::was_told`].
    #[must_use]
    pub fn of(&self, target: &str, state: State, since: Timestamp, cause: &str) -> Option<Notice> {
        let told = self.told.get(target).filter(|told| told.is_down);
        let kind = match (state, told) {
            (State::Down, None) => NoticeKind::Down,
            (State::Up, Some(told)) => NoticeKind::UpAgain(since.since(told.since)),
            _ => return None,
        };
        Some(Notice { target: target.to_owned(), kind, since, cause: cause.to_owned() })
    }

    /// What to remind of: whatever was told to be down, and was last spoken of so long ago.
    pub fn reminders(&self, now: Timestamp, every: Duration) -> impl Iterator<Item = Notice> {
        let due = move |told: &Told| told.is_down && now.since(told.last) >= every;
        self.told.iter().filter(move |(_, told)| due(told)).map(|(target, told)| Notice {
            target: target.clone(),
            kind: NoticeKind::StillDown,
            since: told.since,
            cause: String::new(),
        })
    }

    /// A notice was told.
    pub fn was_told(&mut self, notice: &Notice, now: Timestamp) {
        let is_down = !matches!(notice.kind, NoticeKind::UpAgain(_));
        self.told.insert(notice.target.clone(), Told { is_down, since: notice.since, last: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs(second)
    }

    #[test]
    fn an_outage_is_told_once_remembered_and_ended() {
        let mut notices = Notices::default();
        assert_eq!(notices.of("page", State::Failing, at(0), "x"), None);
        let down = notices.of("page", State::Down, at(10), "refused").unwrap();
        assert_eq!((down.kind, down.id()), (NoticeKind::Down, "page down 1970-01-01T00:00:10Z".to_owned()));
        // As long as nobody could be told.
        assert_eq!(notices.of("page", State::Down, at(10), "refused"), Some(down.clone()));
        notices.was_told(&down, at(12));
        assert_eq!(notices.of("page", State::Down, at(10), "refused"), None);
        for state in [State::Unknown, State::Failing, State::Recovering, State::Down] {
            assert_eq!(notices.of("page", state, at(20), ""), None, "{state}");
        }
        let hour = Duration::from_hours(1);
        assert_eq!(notices.reminders(at(3611), hour).count(), 0);
        let reminder = notices.reminders(at(3612), hour).next().unwrap();
        assert_eq!((reminder.kind, reminder.since), (NoticeKind::StillDown, at(10)));
        notices.was_told(&reminder, at(3612));
        assert_eq!(notices.reminders(at(3613), hour).count(), 0);
        // After a restart nothing is told again.
        let mut notices = Notices::resume(notices.told().map(|(target, told)| (target.to_owned(), told.clone())));
        assert_eq!(notices.of("page", State::Down, at(5000), ""), None);
        let up = notices.of("page", State::Up, at(7210), "").unwrap();
        assert_eq!(up.kind, NoticeKind::UpAgain(Duration::from_secs(7200)));
        notices.was_told(&up, at(7211));
        assert_eq!(
            (notices.of("page", State::Up, at(7300), ""), notices.reminders(at(99_999), hour).count()),
            (None, 0)
        );
    }

    proptest! {
        /// Whatever happens, down and up again are told in turns.
        #[test]
        fn in_turns(states in proptest::collection::vec(0usize..5, 0..100)) {
            let all = [State::Unknown, State::Up, State::Failing, State::Down, State::Recovering];
            let (mut notices, mut last) = (Notices::default(), NoticeKind::UpAgain(Duration::ZERO));
            for (second, state) in states.into_iter().enumerate() {
                let now = at(second as i64);
                if let Some(notice) = notices.of("t", all[state], now, "") {
                    prop_assert!(notice.kind.word() != last.word());
                    last = notice.kind;
                    notices.was_told(&notice, now);
                }
            }
        }
    }
}
