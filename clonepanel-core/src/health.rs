//! What state a server is in, seen from several places: [`HealthProbe`] looks, [`Watch`] judges what one vantage sees, and [`Quorum`]
//! what they see together.
//!
//! Judging is pure: time is an argument, counted from any beginning by a clock that only goes forwards, so that no step of the
//! machine's calendar makes anybody look down. What could not be looked at is never taken for a failure.
//!
//! ```
//! use clonepanel_core::health::{Class, Observation, Quorum, State, Watch, WatchPolicy};
//! use std::time::Duration;
//!
//! let policy = WatchPolicy::new(Duration::from_secs(15));
//! let mut watch = Watch::new(policy);
//! let refused = Observation::new(Class::Refused, Duration::from_millis(2), "connection refused");
//! for second in [0, 2, 4] {
//!     watch.observe(Duration::from_secs(second), &refused);
//! }
//! // Never seen up, so nothing can be said to have gone down.
//! assert_eq!(watch.state(), State::Unknown);
//! let votes = [watch.vote("home", Duration::from_secs(4))];
//! assert_eq!(Quorum::new().verdict(&votes).state, State::Unknown);
//! ```

mod observation;
mod probe;
mod quorum;
mod watch;

pub use observation::{Class, MAX_DETAIL, Observation};
pub use probe::{HealthProbe, ProbeError};
pub use quorum::{Quorum, Reason, Verdict, Vote};
pub use watch::{State, Transition, Watch, WatchPolicy};
