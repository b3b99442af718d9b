//! [`ConfigError`]: what is wrong with the configuration, where, and what to do.

use clonepanel_core::escape::Escaped;
use std::{os::unix::ffi::OsStrExt, path::Path};

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {message}")]
pub(crate) struct ConfigError {
    place: String,
    message: String,
    hint: Option<String>,
}

impl ConfigError {
    pub(crate) fn new(path: &Path, line: Option<usize>, message: String) -> Self {
        let path = Escaped(path.as_os_str().as_bytes()).to_string();
        let place = match line {
            Some(line) => format!("{path}:{line}"),
            None => path,
        };
        Self { place, message, hint: None }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn hint_if(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    pub(crate) fn into_parts(self) -> (String, Option<String>) {
        (self.to_string(), self.hint)
    }
}
