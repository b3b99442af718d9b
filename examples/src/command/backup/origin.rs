//! [`claim`]: whose snapshots a source without a configuration holds, so that two places never share one.

use crate::{failure::Failure, location::Location};
use clonepanel_core::{escape::Escaped, snapshot_id::SourceName};
use std::{
    fs,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// Beside the snapshots of a source, for people too: the place that they are of.
const NAME: &str = "place";

/// Who chose the name that the snapshots are filed under?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// The person: it may be another place than before, such as one that moved.
    Given,
    /// It was made from the place.
    Made,
}

/// Notes that the snapshots of `source` are of this place, and refuses a made name that another place has already: with
/// the snapshots of two places in one row, files of the one would be taken for those of the other.
pub(super) fn claim(
    store: &Path,
    source: &SourceName,
    naming: Naming,
    location: &Location,
    port: Option<u16>,
) -> Result<(), Failure> {
    let place = described(location, port);
    let dir = store.join(source.as_str());
    let failed = |error: io::Error| Failure::failed(format!("{} cannot be written to: {error}", dir.display()));
    let has_snapshots = match fs::read_dir(&dir) {
        Ok(mut entries) => entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != NAME)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed(error)),
    };
    let noted = match fs::read_to_string(dir.join(NAME)) {
        Ok(text) => Some(text.trim_end().to_owned()).filter(|text| !text.is_empty()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    match noted {
        Some(noted) if noted == place => Ok(()),
        _ if naming == Naming::Given && has_snapshots => Ok(()),
        Some(noted) if naming == Naming::Made => Err(refusal(source, &noted, &place)),
        None if has_snapshots => Err(refusal(source, "another place", &place)),
        _ => note(&dir, &place).map_err(failed),
    }
}

fn refusal(source: &SourceName, noted: &str, place: &str) -> Failure {
    let noted = noted.chars().filter(|c| !c.is_control()).collect::<String>();
    Failure::guard(format!("the snapshots of `{source}` are of {noted}, not of {place}"))
        .hint(format!("give this place a name of its own: --source NAME; or say --source {source} if it only moved"))
}

fn note(dir: &Path, place: &str) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut file = fs::File::create(dir.join(NAME))?;
    writeln!(file, "{place}")?;
    file.sync_all()
}

/// The place in one line, whatever way it was written.
fn described(location: &Location, port: Option<u16>) -> String {
    match location {
        Location::Local(path) => {
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            Escaped(real.as_os_str().as_bytes()).to_string()
        }
        Location::Remote { user, host, path } => {
            let login = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
            let mut path = path.as_slice();
            while let [rest @ .., b'/'] = path
                && !rest.is_empty()
            {
                path = rest;
            }
            let port = port.map(|port| format!(" port {port}")).unwrap_or_default();
            format!("{}:{}{port}", Escaped(format!("{login}{host}").as_bytes()), Escaped(path))
        }
    }
}
