//! [`real_path`]: where a path leads, whatever way it is written, and what that lies in.

use crate::failure::Failure;
use std::{
    io::ErrorKind,
    path::{Component, Path, PathBuf},
};

/// What the root of every store has in it.
const STORE: &str = ".clonepanel";

/// Where `path` leads; its last parts need not be there yet.
///
/// # Errors
/// What cannot be looked at is refused, and so is `..` below what is not there: it leads elsewhere once that is made.
pub(crate) fn real_path(path: &Path) -> Result<PathBuf, Failure> {
    let parts: Vec<_> = path.components().collect();
    let refused = |why: String| Failure::guard(format!("{}: {why}", path.display()));
    for there in (0..=parts.len()).rev() {
        let (known, missing) = parts.split_at(there);
        let known: PathBuf = if known.is_empty() { Path::new(".").into() } else { known.iter().collect() };
        match known.canonicalize() {
            Ok(real) if missing.iter().all(|part| matches!(part, Component::Normal(_))) => {
                return Ok(missing.iter().fold(real, |real, part| real.join(part)));
            }
            Ok(_) => {
                return Err(refused("`..` below a folder that is not there".to_owned())
                    .hint("write it without `..`, or make the folder first"));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(
                    refused(format!("{} cannot be looked at: {error}", known.display())).hint("name another folder")
                );
            }
        }
    }
    Err(refused("the current folder is gone".to_owned()).hint("go to another one"))
}

/// Whether `path`, which need not be there yet, would lie in `folder`.
///
/// # Errors
/// As [`real_path`].
pub(crate) fn lies_within(path: &Path, folder: &Path) -> Result<bool, Failure> {
    Ok(real_path(path)?.starts_with(real_path(folder)?))
}

/// The store that a [`real_path`] lies in or is.
pub(crate) fn store_around(real: &Path) -> Option<&Path> {
    // What cannot be looked at may be one.
    let may_be_store = |folder: &&Path| match folder.join(STORE).symlink_metadata() {
        Ok(stat) => stat.is_dir(),
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    };
    real.ancestors().find(may_be_store)
}
