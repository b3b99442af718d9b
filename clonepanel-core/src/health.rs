//! What state a server is in, seen from several places: [`HealthProbe`] looks, [`Watch`] judges what one vantage sees, and [`Quorum`]
//! what they see together.
//!
//! Judging is pure: time is an argument, counted from any beginning by a clock that only goes forwards, so that no step of the
//! machine's calendar makes anybody look down. What could not be looked at is never taken for a failure.
//!
//! ```
//! use clonepanel_core::health::{Class, Life, Observation, Quorum, Reason, State, Watch, WatchPolicy};
//! use std::time::Duration;
//!
//! let policy = WatchPolicy::new(Duration::from_secs(15));
//! let mut watch = Watch::new(policy);
//! let refused = Observation::new(Class::Refused, Duration::from_millis(2), "connection refused");
//! for second in [0, 2, 4] {
//!     watch.observe(Duration::from_secs(second), &refused);
//! }
//! assert_eq!(watch.state(), State::Down);
//! // Seen by one alone, nobody may act on it.
//! let votes = [watch.vote("home", Duration::from_secs(4))];
//! let verdict = Quorum::new().verdict(&votes, Life::NoSign);
//! assert_eq!((verdict.state, verdict.reason), (State::Down, Reason::TooFewVantages));
//! assert!(!verdict.may_act);
//! ```

mod agenda;
mod log;
mod notices;
mod observation;
mod probe;
mod quorum;
mod sketch;
mod watch;

pub use agenda::{Agenda, Due};
pub use log::{HealthLog, HealthLogError, HealthRecord, HealthSummary, Outage};
pub use notices::{Notice, NoticeKind, Notices, Told};
pub use observation::{Class, MAX_DETAIL, Observation, Phases};
pub use probe::{HealthProbe, ProbeError};
pub use quorum::{Life, Quorum, Reason, Verdict, Vote};
pub use sketch::LatencySketch;
pub use watch::{State, Transition, Watch, WatchPolicy};
