//! [`ScriptedProbe`]: a probe that sees what a script says.

use crate::{
    health::{HealthProbe, Observation, ProbeError},
    time::Timer,
};
use async_trait::async_trait;
use std::{fmt, sync::Arc, time::Duration};

type Script = dyn Fn(Duration) -> Result<Observation, ProbeError> + Send + Sync;

/// A probe for tests. What it sees depends on when it looks; it takes as long as the observation says.
#[derive(Clone)]
pub struct ScriptedProbe {
    name: String,
    timer: Arc<dyn Timer>,
    script: Arc<Script>,
}

impl ScriptedProbe {
    /// Sees what `script` says about a moment, counted by the timer.
    pub fn new(
        name: impl Into<String>,
        timer: Arc<dyn Timer>,
        script: impl Fn(Duration) -> Result<Observation, ProbeError> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), timer, script: Arc::new(script) }
    }
}

impl fmt::Debug for ScriptedProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScriptedProbe").field(&self.name).finish()
    }
}

#[async_trait]
impl HealthProbe for ScriptedProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Observation, ProbeError> {
        let look = (self.script)(self.timer.elapsed());
        if let Ok(seen) = &look {
            self.timer.sleep_until(self.timer.elapsed().saturating_add(seen.latency)).await;
        }
        look
    }
}
