//! [`Fault`]: what goes wrong with one call.

use std::time::Duration;

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Fault {
    /// The connection ends and nothing was done.
    LostBefore,
    /// It was done and the connection ends.
    LostAfter,
    /// It was done, and half the answer comes.
    Truncated,
    /// A page with status 500, and nothing was done.
    ErrorPage,
    /// A page with status 500, and it was done.
    ErrorPageAfter,
    /// A page with status 200, and nothing was done.
    Page,
    /// A login page with status 401.
    LoginPage,
    /// An exception inside of the server: status 200, an id, nothing done.
    Exception,
    /// The same after it was done.
    ExceptionAfter,
    /// It takes so long until it is done.
    Slow(Duration),
    /// It was done at once, and the answer takes so long.
    SlowAnswer(Duration),
    /// An answer that never ends.
    Endless,
    /// One octet of the answer every tenth of a second.
    Drip,
    /// JSON that is a hundred thousand lists deep.
    Deep,
    /// Sent elsewhere.
    Redirect,
    /// Too many calls.
    TooMany,
    /// Somebody else changes the zone just before.
    SomebodyElse,
    /// Success is reported and nothing was done.
    Lie,
    /// Success is reported and the records are damaged.
    Damage,
    /// It was done and the name server was not told.
    NoReload,
}
