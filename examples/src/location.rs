//! [`Location`]: a place that is named on the command line, as scp and rsync name it.

use crate::failure::Failure;
use clonepanel_core::{escape::Escaped, snapshot_id::SourceName};
use std::{ffi::OsString, os::unix::ffi::OsStrExt, path::PathBuf};

/// A place that is named on the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A folder of this machine.
    Local(PathBuf),
    /// A folder at the far end of an ssh login.
    Remote {
        user: Option<String>,
        host: String,
        /// Relative to the login's home; empty for all of it.
        path: Vec<u8>,
    },
}

impl Location {
    /// Reads `./folder`, `host:path` or `user@host:path`: what has a colon before the first slash is on another machine.
    pub(crate) fn parse(argument: &OsString) -> Result<Self, Failure> {
        let bytes = argument.as_bytes();
        let shown = Escaped(bytes);
        if bytes.starts_with(b"rsync://") || bytes.windows(2).any(|pair| pair == b"::") && !bytes.contains(&b'/') {
            return Err(Failure::usage(format!("{shown} is an rsync server; only ssh logins are spoken to"))
                .hint("write user@host:path"));
        }
        let at = bytes.iter().position(|&b| matches!(b, b':' | b'/')).filter(|&at| bytes.get(at) == Some(&b':'));
        let Some(at) = at else { return Ok(Self::Local(argument.into())) };
        let (login, path) = bytes.split_at(at);
        let bad = |why: &str| Failure::usage(format!("{shown}: {why}")).hint("write user@host:path, or ./folder");
        let login = std::str::from_utf8(login).map_err(|_| bad("user and host must be plain text"))?;
        let (user, host) = match login.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, login),
        };
        for part in user.iter().chain([&host]) {
            // What begins with a hyphen would be an option of ssh.
            if part.is_empty() || part.starts_with('-') || part.contains(|c: char| c.is_whitespace() || c.is_control())
            {
                return Err(bad("this is no user and host"));
            }
        }
        let path = path.get(1..).unwrap_or_default().to_vec();
        Ok(Self::Remote { user: user.map(str::to_owned), host: host.to_owned(), path })
    }

    /// The name that its snapshots are filed under unless one is given: the folder's own name, or `user-host-path`.
    pub(crate) fn source_name(&self) -> Result<SourceName, Failure> {
        let text = match self {
            Self::Local(path) => {
                let real = path.canonicalize().map_err(|error| {
                    Failure::failed(format!("{} cannot be read: {error}", Escaped(path.as_os_str().as_bytes())))
                        .hint("name a folder of this machine, or user@host:path")
                })?;
                real.file_name().map_or_else(|| "root".to_owned(), |name| name.to_string_lossy().into_owned())
            }
            Self::Remote { user, host, path } => {
                let path = String::from_utf8_lossy(path);
                let parts = [user.as_deref().unwrap_or_default(), host, path.trim_matches(['/', '.', '~'])];
                parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
            }
        };
        let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
        let name: String = text.trim_start_matches(['.', '-']).chars().map(fit).take(200).collect();
        SourceName::new(name).map_err(|_| {
            Failure::usage("no name for the snapshots can be made from this place").hint("give one: --source NAME")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(user: Option<&str>, host: &str, path: &str) -> Location {
        Location::Remote { user: user.map(str::to_owned), host: host.to_owned(), path: path.as_bytes().to_vec() }
    }

    #[test]
    fn places_are_told_apart_as_scp_does() {
        for (text, location) in [
            ("./a", Location::Local("./a".into())),
            ("a", Location::Local("a".into())),
            ("./a:b", Location::Local("./a:b".into())),
            ("/srv/a:b", Location::Local("/srv/a:b".into())),
            ("alpha:", remote(None, "alpha", "")),
            ("alice@alpha:public_html", remote(Some("alice"), "alpha", "public_html")),
            ("alice@alpha:/home/alice/x:y", remote(Some("alice"), "alpha", "/home/alice/x:y")),
            ("a@b@alpha:x", remote(Some("a@b"), "alpha", "x")),
        ] {
            assert_eq!(Location::parse(&text.into()).unwrap(), location, "{text}");
        }
        for bad in [":x", "-oProxyCommand=x:y", "a@:x", "@h:x", "a@-h:x", "rsync://h/x", "h::module"] {
            assert!(Location::parse(&bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_made_from_places() {
        for (location, name) in [
            (remote(Some("alice"), "alpha.example.net", "public_html"), "alice-alpha.example.net-public_html"),
            (remote(None, "alpha", "~/a b/"), "alpha-a-b"),
            (remote(None, "alpha", ""), "alpha"),
        ] {
            assert_eq!(location.source_name().unwrap().as_str(), name);
        }
    }
}
