//! [`Section`]: one table of the configuration, read key by key, so that every mistake is told with its line.

use super::{error::ConfigError, value::Value};
use crate::nearest::nearest;
use std::path::{Path, PathBuf};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The file that a section stands in.
#[derive(Debug)]
pub(crate) struct Document {
    path: PathBuf,
    text: String,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) at: usize,
}

/// One table. Keys are taken out of it; [`Self::finish`] complains about what nobody asked for.
pub(crate) struct Section<'a> {
    document: &'a Document,
    name: String,
    at: usize,
    rest: DeTable<'a>,
    known: Vec<&'static str>,
}

impl Document {
    pub(crate) fn new(path: PathBuf, text: String) -> Self {
        Self { path, text }
    }

    /// The whole file as a section.
    pub(crate) fn root(&self) -> Result<Section<'_>, ConfigError> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            let at = error.span().map(|span| span.start);
            ConfigError::new(&self.path, at.map(|at| self.line(at)), error.message().replace('\n', ", "))
        })?;
        Ok(Section { document: self, name: String::new(), at: 0, rest: table.into_inner(), known: Vec::new() })
    }

    /// What is wrong at an offset of the text.
    pub(crate) fn error(&self, at: usize, message: impl Into<String>) -> ConfigError {
        ConfigError::new(&self.path, Some(self.line(at)), message.into())
    }

    /// A path of the configuration, which is relative to the file.
    pub(crate) fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.parent().unwrap_or_else(|| Path::new("")).join(path)
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes().iter().take(at).filter(|&&b| b == b'\n').count()
    }
}

impl<'a> Section<'a> {
    /// The file.
    pub(crate) fn document(&self) -> &'a Document {
        self.document
    }

    /// A value, if the key is there.
    pub(crate) fn optional<T: Value>(&mut self, key: &'static str) -> Result<Option<T>, ConfigError> {
        Ok(self.located(key)?.map(|located| located.value))
    }

    /// A value that must be there.
    pub(crate) fn required<T: Value>(&mut self, key: &'static str) -> Result<Located<T>, ConfigError> {
        match self.located(key)? {
            Some(located) => Ok(located),
            None => Err(self.missing(key)),
        }
    }

    /// A value and where it stands, if the key is there.
    pub(crate) fn located<T: Value>(&mut self, key: &'static str) -> Result<Option<Located<T>>, ConfigError> {
        let Some(spanned) = self.take(key) else { return Ok(None) };
        let at = spanned.span().start;
        match T::read(spanned.get_ref()) {
            Ok(value) => Ok(Some(Located { value, at })),
            Err(expected) => {
                let hint = expected.hint();
                Err(self.document.error(at, format!("{} {expected}", self.full(key))).hint_if(hint))
            }
        }
    }

    /// Checks the kind of a value that only later commands use.
    pub(crate) fn check<T: Value>(&mut self, key: &'static str) -> Result<(), ConfigError> {
        self.optional::<T>(key).map(drop)
    }

    /// A table within this one.
    pub(crate) fn section(&mut self, key: &'static str) -> Result<Option<Self>, ConfigError> {
        let Some(spanned) = self.take(key) else { return Ok(None) };
        self.child(self.full(key), spanned).map(Some)
    }

    /// The tables in the table `key`: their names are free.
    pub(crate) fn named_sections(&mut self, key: &'static str) -> Result<Vec<(Located<String>, Self)>, ConfigError> {
        let Some(parent) = self.section(key)? else { return Ok(Vec::new()) };
        let Section { name, rest, .. } = parent;
        let named = rest.into_iter().map(|(key, value)| {
            let located = Located { value: key.get_ref().clone().into_owned(), at: key.span().start };
            let full = format!("{name}.{}", shown_key(&located.value));
            Ok((located, self.child(full, value)?))
        });
        let mut named = named.collect::<Result<Vec<_>, ConfigError>>()?;
        named.sort_by_key(|(name, _)| name.at);
        Ok(named)
    }

    /// The tables of the array `key`.
    pub(crate) fn list_of_sections(&mut self, key: &'static str) -> Result<Vec<Self>, ConfigError> {
        let Some(spanned) = self.take(key) else { return Ok(Vec::new()) };
        let at = spanned.span().start;
        let full = self.full(key);
        match spanned.into_inner() {
            DeValue::Array(items) => items.into_iter().map(|item| self.child(full.clone(), item)).collect(),
            other => Err(self.document.error(at, format!("{full} must be [[...]] tables, not {}", other.type_str()))),
        }
    }

    /// What is wrong with it as a whole.
    pub(crate) fn error(&self, why: &str) -> ConfigError {
        self.document.error(self.at, format!("[{}]: {why}", self.name))
    }

    /// Complains about the first key that nobody asked for.
    pub(crate) fn finish(self) -> Result<(), ConfigError> {
        let mut unknown: Vec<_> = self.rest.keys().collect();
        unknown.sort_by_key(|key| key.span().start);
        let Some(key) = unknown.first() else { return Ok(()) };
        let place = if self.name.is_empty() { "the file".to_owned() } else { format!("[{}]", self.name) };
        let hint = match nearest(key.get_ref(), self.known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here are: {}", self.known.join(", ")),
        };
        let message = format!("unknown key `{}` in {place}", shown_key(key.get_ref()));
        Err(self.document.error(key.span().start, message).hint(hint))
    }

    /// That a key is not there; perhaps because it is misspelt.
    pub(crate) fn missing(&self, key: &'static str) -> ConfigError {
        let unknown = self.rest.keys().filter(|typed| !self.known.contains(&typed.get_ref().as_ref()));
        if let Some(typed) = unknown.into_iter().find(|typed| nearest(typed.get_ref(), [key]).is_some()) {
            let message = format!("unknown key `{}` in [{}]", shown_key(typed.get_ref()), self.name);
            return self.document.error(typed.span().start, message).hint(format!("did you mean `{key}`?"));
        }
        self.document.error(self.at, format!("[{}] lacks `{key}`", self.name))
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.rest.remove(key)
    }

    fn child(&self, name: String, value: Spanned<DeValue<'a>>) -> Result<Self, ConfigError> {
        let at = value.span().start;
        match value.into_inner() {
            DeValue::Table(rest) => Ok(Section { document: self.document, name, at, rest, known: Vec::new() }),
            other => Err(self.document.error(at, format!("{name} must be a table, not {}", other.type_str()))),
        }
    }
}

/// A key as it is written in a header: quoted unless it is bare, and harmless on a terminal.
fn shown_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let shown = clonepanel_core::escape::Escaped(key.as_bytes());
    if bare { key.to_owned() } else { format!("\"{shown}\"") }
}
