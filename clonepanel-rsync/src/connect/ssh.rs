//! [`SshConnect`]: a program at the far end of an OpenSSH login.

use super::{Connect, Connection, RemoteCommand, local};
use async_trait::async_trait;
use clonepanel_core::transport::TransportError;
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};
use tokio::process::Command;

/// Starts programs through the `ssh` of OpenSSH as a child process: the user's configuration, agent, jump hosts and known
/// hosts apply as always. Host keys are checked, whatever the options; a password is never asked for.
#[derive(Debug, Clone)]
pub struct SshConnect {
    host: String,
    endpoint: String,
    user: Option<String>,
    port: Option<u16>,
    identity_file: Option<PathBuf>,
    known_hosts_file: Option<PathBuf>,
    program: PathBuf,
    options: Vec<String>,
}

impl SshConnect {
    /// The option that prefers AES-GCM, which is about twice as fast as the default cipher on machines with AES instructions.
    pub const FAST_CIPHER: &'static str = "Ciphers=^aes128-gcm@openssh.com";

    /// A login on `host`, which may be a name of the user's ssh configuration.
    #[must_use]
    pub fn new(host: impl Into<String>) -> Self {
        let host = host.into();
        Self {
            endpoint: host.clone(),
            host,
            user: None,
            port: None,
            identity_file: None,
            known_hosts_file: None,
            program: "ssh".into(),
            options: Vec::new(),
        }
    }

    /// As this user.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        let user = user.into();
        self.endpoint = format!("{user}@{}", self.host);
        self.user = Some(user);
        self
    }

    /// On this port.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// With this key, and no other.
    #[must_use]
    pub fn identity_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.identity_file = Some(path.into());
        self
    }

    /// With the host keys of this file instead of the user's own.
    #[must_use]
    pub fn known_hosts_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.known_hosts_file = Some(path.into());
        self
    }

    /// With this program instead of `ssh`.
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = path.into();
        self
    }

    /// With an option of `ssh_config(5)`, as `Key=value`; see [`Self::FAST_CIPHER`]. Host key checks cannot be switched off.
    #[must_use]
    pub fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    pub(super) fn program_path(&self) -> &std::path::Path {
        &self.program
    }

    pub(super) fn arguments(&self) -> Result<Vec<OsString>, TransportError> {
        let refused = |detail: &str| TransportError::Unsupported {
            endpoint: clonepanel_core::escape::Escaped(self.endpoint.as_bytes()).to_string(),
            detail: detail.to_owned(),
        };
        // A name that begins with a dash would be an option (CVE-2026-53790).
        for name in [Some(&self.host), self.user.as_ref()].into_iter().flatten() {
            if name.is_empty() || name.starts_with('-') || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
                return Err(refused("this is no name of a host or user"));
            }
        }
        let mut arguments: Vec<OsString> =
            ["-T", "-a", "-x", "-oBatchMode=yes", "-oClearAllForwardings=yes"].map(OsString::from).to_vec();
        let mut option = |key: &str, value: &OsStr| {
            let mut text = OsString::from(format!("-o{key}="));
            text.push(value);
            arguments.push(text);
        };
        // The first value of an option counts: these cannot be taken back by the user's options below. "accept-new" and
        // "ask" in the user's configuration both end in a refusal here, as they should for an unattended run.
        option("StrictHostKeyChecking", "yes".as_ref());
        if let Some(path) = &self.known_hosts_file {
            option("UserKnownHostsFile", &quoted(path.as_os_str()));
            option("GlobalKnownHostsFile", "/dev/null".as_ref());
        }
        if let Some(path) = &self.identity_file {
            option("IdentitiesOnly", "yes".as_ref());
            option("IdentityFile", &quoted(path.as_os_str()));
        }
        if let Some(port) = self.port {
            option("Port", port.to_string().as_ref());
        }
        for text in &self.options {
            if text.starts_with('-') || text.chars().any(char::is_control) {
                return Err(refused("an ssh option is not of the form Key=value"));
            }
            let (key, value) =
                text.split_once('=').ok_or_else(|| refused("an ssh option is not of the form Key=value"))?;
            option(key, value.as_ref());
        }
        if let Some(user) = &self.user {
            arguments.extend(["-l".into(), user.into()]);
        }
        arguments.extend(["--".into(), self.host.clone().into()]);
        Ok(arguments)
    }
}

/// A path as the value of an option that takes several, separated by blanks, and expands `%`.
fn quoted(path: &OsStr) -> OsString {
    let bytes = path.as_bytes();
    let mut text = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        text.extend(std::iter::repeat_n(byte, if byte == b'%' { 2 } else { 1 }));
    }
    if bytes.iter().any(u8::is_ascii_whitespace) {
        text.insert(0, b'"');
        text.push(b'"');
    }
    OsString::from_vec(text)
}

#[async_trait]
impl Connect for SshConnect {
    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    async fn open(&self, command: &RemoteCommand) -> Result<Connection, TransportError> {
        let mut process = Command::new(&self.program);
        process.args(self.arguments()?).arg(OsStr::from_bytes(&command.shell_line()));
        local::start(process, &self.endpoint)
    }

    fn explain(&self, code: Option<i32>, text: &str) -> Option<TransportError> {
        // 255 is ssh's own; a remote command could use it too, but rsync and the shells do not.
        if code != Some(255) {
            return None;
        }
        let endpoint = self.endpoint.clone();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("ssh said nothing").trim();
        let mut detail = last.to_owned();
        detail.truncate(detail.floor_char_boundary(300));
        Some(if has(&["REMOTE HOST IDENTIFICATION HAS CHANGED"]) {
            let detail = "its host key has changed; if that is right, remove the old key with ssh-keygen -R".to_owned();
            TransportError::Untrusted { endpoint, detail }
        } else if has(&["Host key verification failed", "host key is known", "Host key not found"]) {
            let detail =
                "its host key is not known; check it and add it to the known hosts, e.g. by logging in once".to_owned();
            TransportError::Untrusted { endpoint, detail }
        } else if has(&["Permission denied", "Too many authentication failures", "No supported authentication"]) {
            TransportError::Denied { endpoint, detail }
        } else if has(&["Could not resolve", "Connection refused", "No route to host", "Network is unreachable"])
            || (has(&["timed out"]) && has(&["connect to host"]))
        {
            TransportError::Unreachable { endpoint, detail }
        } else if has(&[
            "Bad configuration option",
            "command-line: line",
            "no such identity",
            "UNPROTECTED PRIVATE KEY",
        ]) {
            TransportError::Denied { endpoint, detail }
        } else {
            TransportError::Interrupted { endpoint, detail }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injected_options_are_refused() {
        for host in ["-oProxyCommand=x", "", "a b", "a\nb"] {
            assert!(SshConnect::new(host).arguments().is_err(), "{host}");
            assert!(SshConnect::new("host").user(host).arguments().is_err(), "{host}");
        }
        assert!(SshConnect::new("host").option("-v").arguments().is_err());
    }

    #[test]
    fn host_key_checks_come_first() {
        let ssh = SshConnect::new("host").option("StrictHostKeyChecking=no").user("alice").port(2222);
        let arguments: Vec<_> = ssh.arguments().unwrap().into_iter().map(|a| a.into_string().unwrap()).collect();
        let first = arguments.iter().find(|a| a.starts_with("-oStrictHostKeyChecking"));
        assert_eq!(first.map(String::as_str), Some("-oStrictHostKeyChecking=yes"));
        assert_eq!(arguments[arguments.len() - 4..], ["-l", "alice", "--", "host"]);
    }

    #[test]
    fn failures_are_told_apart() {
        let ssh = SshConnect::new("host");
        let kind = |text: &str| match ssh.explain(Some(255), text) {
            Some(TransportError::Untrusted { .. }) => "untrusted",
            Some(TransportError::Denied { .. }) => "denied",
            Some(TransportError::Unreachable { .. }) => "unreachable",
            Some(TransportError::Interrupted { .. }) => "interrupted",
            _ => "?",
        };
        assert_eq!(
            kind("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed."),
            "untrusted"
        );
        assert_eq!(kind("No ED25519 host key is known for x and you have requested strict checking."), "untrusted");
        assert_eq!(kind("alice@host: Permission denied (publickey)."), "denied");
        assert_eq!(kind("ssh: connect to host x port 22: Connection refused"), "unreachable");
        assert_eq!(kind("ssh: Could not resolve hostname x: Name or service not known"), "unreachable");
        assert_eq!(kind("Connection to host closed by remote host."), "interrupted");
        assert!(ssh.explain(Some(127), "").is_none());
    }
}
