//! Where the configuration is.

use std::{
    env,
    path::{Path, PathBuf},
};

const NAME: &str = "clonepanel.toml";

/// The configuration to use: the given one, else `$CLONEPANEL_CONFIG`, else `./clonepanel.toml`, else the one in the user's
/// configuration folder. `None` when neither of the latter two exists.
pub(crate) fn locate(given: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = given {
        return Some(path.to_owned());
    }
    if let Some(path) = env::var_os("CLONEPANEL_CONFIG").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let here = PathBuf::from(NAME);
    [Some(here), default_path()].into_iter().flatten().find(|path| path.exists())
}

/// The place in the user's configuration folder, if there is one.
pub(crate) fn default_path() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("clonepanel").join(NAME))
}
