//! [`SecretSource`]: where a secret is found. It is never in the configuration itself.

use super::{ConfigError, section::Section};
use clonepanel_core::secret::Secret;
use std::{
    env, fmt, fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

const MAX_LEN: u64 = 64 << 10;

/// Where a secret is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file that nobody else can read.
    File(PathBuf),
}

/// Why a secret cannot be had. Says where it was looked for, never what was found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("{0} is empty")]
    Empty(SecretSource),
    #[error("{source_of_it} is open to others (mode {mode:04o})")]
    Open { source_of_it: SecretSource, mode: u32 },
    #[error("{source_of_it} cannot be read: {cause}")]
    Unreadable { source_of_it: SecretSource, cause: io::Error },
    #[error("{0} is not set")]
    Unset(SecretSource),
}

impl SecretSource {
    /// Takes `<env_key>` or `<file_key>` out of a section, and refuses the secret itself under `plain_key`.
    pub(super) fn read_from(
        section: &mut Section<'_>,
        plain_key: &'static str,
        env_key: &'static str,
        file_key: &'static str,
    ) -> Result<Option<Self>, ConfigError> {
        let variable = section.optional::<String>(env_key)?;
        let file = section.located::<PathBuf>(file_key)?;
        if let Some(plain) = section.located::<String>(plain_key)? {
            return Err(section
                .document()
                .error(plain.at, format!("a secret does not belong into the configuration: `{plain_key}`"))
                .hint(format!("name an environment variable with `{env_key}` or a file with `{file_key}`")));
        }
        match (variable, file) {
            (Some(_), Some(file)) => {
                Err(section.document().error(file.at, format!("`{env_key}` and `{file_key}` exclude each other")))
            }
            (Some(variable), None) => Ok(Some(Self::Env(variable))),
            (None, Some(file)) => Ok(Some(Self::File(section.document().resolve(file.value)))),
            (None, None) => Ok(None),
        }
    }

    /// Fetches the secret. One newline at the end of a file does not belong to it.
    pub(crate) fn fetch(&self) -> Result<Secret, SecretError> {
        let text = match self {
            Self::Env(name) => env::var(name).map_err(|_| SecretError::Unset(self.clone()))?,
            Self::File(path) => {
                let unreadable = |cause| SecretError::Unreadable { source_of_it: self.clone(), cause };
                let file = fs::File::open(path).map_err(unreadable)?;
                let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
                if mode & 0o077 != 0 {
                    return Err(SecretError::Open { source_of_it: self.clone(), mode });
                }
                let mut text = String::new();
                file.take(MAX_LEN).read_to_string(&mut text).map_err(unreadable)?;
                text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
            }
        };
        if text.is_empty() { Err(SecretError::Empty(self.clone())) } else { Ok(Secret::new(text)) }
    }
}

impl SecretError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Open { source_of_it: SecretSource::File(path), .. } => format!("chmod 600 {}", path.display()),
            Self::Empty(_) | Self::Open { .. } | Self::Unreadable { .. } => "put the secret there, alone".to_owned(),
            Self::Unset(_) => "set it where clonepanel is started".to_owned(),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "secret file {}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "sesame\n").unwrap();
        let source = SecretSource::File(path.clone());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = source.fetch().unwrap_err();
        assert!(error.to_string().contains("open to others (mode 0640)"), "{error}");
        assert!(error.hint().starts_with("chmod 600 "), "{}", error.hint());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(source.fetch().unwrap().expose(), "sesame");
    }
}
