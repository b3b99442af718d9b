//! [`lies_within`]: whether one folder is in another, whatever way they are written.

use std::path::Path;

/// Whether `path`, which need not be there yet, would lie in `folder`.
pub(crate) fn lies_within(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    let mut parts = path.ancestors().map(|part| if part.as_os_str().is_empty() { Path::new(".") } else { part });
    parts.find_map(|part| part.canonicalize().ok()).is_some_and(|real| real.starts_with(&folder))
}
