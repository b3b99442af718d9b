//! Refused logins are not tried again and again: the firewalls of hosts block whoever does.

use std::{sync::Mutex, time::Duration};
use tokio::time::Instant;

const MOST_IN_A_ROW: u32 = 2;
/// How long nothing is sent after that.
const PAUSE: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    in_a_row: u32,
    last: Option<Instant>,
}

impl Refusals {
    /// Whether the login may be tried.
    pub(crate) fn allow(&self, now: Instant) -> bool {
        let mut state = self.lock();
        if state.last.is_some_and(|last| now.duration_since(last) >= PAUSE) {
            *state = State::default();
        }
        state.in_a_row < MOST_IN_A_ROW
    }

    pub(crate) fn refused(&self, now: Instant) {
        let mut state = self.lock();
        state.in_a_row += 1;
        state.last = Some(now);
    }

    pub(crate) fn let_in(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_two_refusals_there_is_a_pause() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        refusals.refused(start);
        assert!(refusals.allow(start));
        refusals.let_in();
        refusals.refused(start);
        refusals.refused(start);
        assert!(!refusals.allow(start + Duration::from_secs(899)));
        assert!(refusals.allow(start + Duration::from_secs(900)));
    }
}
