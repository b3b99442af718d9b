//! [`AgentOptions`] and [`ServeOptions`]: how the calling and the serving end do their part.

use super::Access;
use std::time::Duration;

/// How a transfer with our own far end is done.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    pub(super) agent_program: Vec<u8>,
    pub(super) bandwidth: Option<u64>,
    pub(super) progress_timeout: Duration,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self { agent_program: b"clonepanel".to_vec(), bandwidth: None, progress_timeout: Duration::from_secs(300) }
    }
}

impl AgentOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the program is called at the far end: a name or a path, one word. It is started with the argument `agent`.
    #[must_use]
    pub fn agent_program(mut self, program: impl Into<Vec<u8>>) -> Self {
        self.agent_program = program.into();
        self
    }

    /// Reads and writes at most so many bytes a second each; at least 1024.
    #[must_use]
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = Some(bytes_per_second.max(1024));
        self
    }

    /// Gives up when the far end kept us waiting for so long without a sign of life; five minutes unless set.
    #[must_use]
    pub const fn progress_timeout(mut self, timeout: Duration) -> Self {
        self.progress_timeout = timeout;
        self
    }
}

/// How the serving end does its part.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    pub(super) access: Access,
    pub(super) progress_timeout: Duration,
}

impl ServeOptions {
    /// What the calling end may do.
    #[must_use]
    pub const fn new(access: Access) -> Self {
        Self { access, progress_timeout: Duration::from_secs(300) }
    }

    /// Gives up when the calling end kept us waiting for so long without a sign of life; five minutes unless set.
    #[must_use]
    pub const fn progress_timeout(mut self, timeout: Duration) -> Self {
        self.progress_timeout = timeout;
        self
    }
}
