//! The stock rsync programs that this machine has.

use std::{path::PathBuf, process::Command};

/// One rsync program.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_structs)]
pub struct StockRsync {
    /// Where it is.
    pub program: PathBuf,
    /// Its version, as it tells: `3.5.0`.
    pub version: String,
    /// The newest protocol that it speaks.
    pub protocol: u32,
}

/// The installed rsync, then those that `CLONEPANEL_RSYNCS` names (absolute paths with colons between): older ones, fetched
/// by the set-up of the tests or built by hand.
///
/// # Panics
/// When one of them does not run.
#[must_use]
pub fn stock_rsyncs() -> Vec<StockRsync> {
    let named = std::env::var_os("CLONEPANEL_RSYNCS").unwrap_or_default();
    let named = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect::<Vec<_>>();
    let all = std::iter::once(PathBuf::from("rsync")).chain(named);
    all.map(|program| {
        let output = Command::new(&program).arg("--version").output();
        let text = output.unwrap_or_else(|error| panic!("{} does not run: {error}", program.display())).stdout;
        let text = String::from_utf8_lossy(&text).into_owned();
        let version = text.split_whitespace().nth(2).unwrap_or("unknown").trim_start_matches('v').to_owned();
        let protocol = text.lines().next().and_then(|line| line.rsplit(' ').next()?.parse().ok());
        StockRsync { program, version, protocol: protocol.expect("the version tells the protocol") }
    })
    .collect()
}
