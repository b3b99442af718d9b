//! [`RemoteLoad`]: how busy a server is, as any account on it can see.

use async_trait::async_trait;
use clonepanel_core::health::{Class, HealthProbe, Observation, ProbeError};
use clonepanel_rsync::{Connect, Connection, RemoteCommand, SshConnect};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;

/// Prints the load of the last minute and how many processors there are.
const SCRIPT: &str = "cat /proc/loadavg; getconf _NPROCESSORS_ONLN || nproc";
/// So much of what is printed is read, in bytes.
const MAX_TEXT: u64 = 64 << 10;

/// The load of a server in the last minute, for each of its processors: above one limit it is slow, above the other overloaded.
#[derive(Debug)]
pub(crate) struct RemoteLoad {
    name: String,
    login: SshConnect,
    limits: (f64, f64),
    timeout: Duration,
}

impl RemoteLoad {
    pub(crate) fn new(login: SshConnect, limits: (f64, f64), timeout: Duration) -> Self {
        Self { name: format!("load of {}", login.endpoint()), login, limits, timeout }
    }

    async fn ask(&self) -> Result<String, ProbeError> {
        let local = |error: clonepanel_core::transport::TransportError| ProbeError::Local { source: error.into() };
        let Connection { input, output, errors, exit } =
            self.login.open(&RemoteCommand::script(SCRIPT.into())).await.map_err(local)?;
        drop(input);
        let (mut out, mut err) = (String::new(), String::new());
        let (mut output, mut errors) = (output.take(MAX_TEXT), errors.take(MAX_TEXT));
        let read = tokio::try_join!(output.read_to_string(&mut out), errors.read_to_string(&mut err));
        read.map_err(|error| ProbeError::Local { source: error.into() })?;
        let code = exit.await.map_err(|error| ProbeError::Local { source: error.into() })?;
        match self.login.explain(code, &err) {
            Some(error) => Err(local(error)),
            None => Ok(out),
        }
    }
}

#[async_trait]
impl HealthProbe for RemoteLoad {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Observation, ProbeError> {
        let begun = Instant::now();
        // Who cannot log in cannot look; what that means, other probes say.
        let asked = tokio::time::timeout(self.timeout, self.ask()).await;
        let text = asked.map_err(|_| ProbeError::Unusable { detail: "the login does not answer".to_owned() })??;
        let told = told(&text);
        let (load, processors) =
            told.ok_or_else(|| ProbeError::Unusable { detail: "the account cannot see the load".to_owned() })?;
        let each = load / f64::from(processors);
        let class = match () {
            () if each >= self.limits.1 => Class::Overload,
            () if each >= self.limits.0 => Class::Slow,
            () => Class::Good,
        };
        let detail = format!("load {load:.2} on {processors} processors");
        Ok(Observation::new(class, begun.elapsed(), detail))
    }
}

/// What the last two lines say: whatever the login prints stands before them.
fn told(text: &str) -> Option<(f64, u32)> {
    let mut lines = text.lines().rev();
    let processors = lines.next()?.trim().parse().ok().filter(|count| (1..=65_536).contains(count))?;
    let load = lines.next()?.split(' ').next()?.parse().ok().filter(|load: &f64| (0.0..1e6).contains(load))?;
    Some((load, processors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_login_prints_is_no_load() {
        assert_eq!(told("Welcome!\n0.52 0.58 0.59 1/467 12345\n4\n"), Some((0.52, 4)));
        for nonsense in ["", "4", "0.5 0.5 0.5 1/1 1\n0\n", "x 0.5\n4\n", "NaN 1\n4\n", "-1 0\n4\n"] {
            assert_eq!(told(nonsense), None, "{nonsense:?}");
        }
    }
}
