//! [`Access`]: what a calling end may do, whatever it asks for.

use super::{
    message::{Failure, FailureKind},
    served::Place,
};
use clonepanel_core::{escape::Escaped, path::RelPath};
use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// What a calling end may do, whatever it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    roots: Vec<PathBuf>,
    writing: Writing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Allowed,
    Refused,
}

/// What is meant by a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) place: Place,
    /// All that may be read below it; everything when empty.
    pub(super) paths: Vec<RelPath>,
}

impl Access {
    /// Whatever the account may do that the serving end runs as.
    #[must_use]
    pub const fn full() -> Self {
        Self { roots: Vec::new(), writing: Writing::Allowed }
    }

    /// Nothing is written.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.writing = Writing::Refused;
        self
    }

    /// Only what lies in these directories, absolute or relative to the working directory. With none, everything.
    #[must_use]
    pub fn roots(mut self, roots: Vec<PathBuf>) -> Self {
        self.roots = roots;
        self
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.writing == Writing::Refused
    }

    /// What a request to read `root` (and of it `wanted`, or everything) means.
    pub(super) fn to_read(&self, home: &Path, root: &[u8], wanted: &[RelPath]) -> Result<Granted, Failure> {
        if self.roots.is_empty() {
            let place = Place::new(home.join(OsStr::from_bytes(root)), RelPath::root());
            return Ok(Granted { place, paths: wanted.to_vec() });
        }
        let asked = absolute(home, root).ok_or_else(|| denied(root))?;
        if let Some(place) = self.inside(home, &asked) {
            return Ok(Granted { place, paths: wanted.to_vec() });
        }
        // Further up: what is shown of it is what lies on the way to the roots, and these.
        let shown: Vec<_> = self.absolute_roots(home).filter_map(|root| root.strip_prefix(&asked)).collect();
        if shown.is_empty() {
            return Err(denied(root));
        }
        let mut paths = if wanted.is_empty() { shown.clone() } else { Vec::new() };
        for path in wanted {
            let before = paths.len();
            paths.extend(shown.iter().filter_map(|root| {
                if path.is_within(root) {
                    return Some(path.clone());
                }
                root.is_within(path).then(|| root.clone())
            }));
            if paths.len() == before {
                return Err(denied(path.as_bytes()));
            }
        }
        let directory = Path::new("/").join(OsStr::from_bytes(asked.as_bytes()));
        Ok(Granted { place: Place::new(directory, RelPath::root()), paths })
    }

    /// What a request to write `root` means.
    pub(super) fn to_write(&self, home: &Path, root: &[u8]) -> Result<Place, Failure> {
        if self.is_read_only() {
            return Err(Failure::new(FailureKind::Unsupported, "this agent only reads"));
        }
        if self.roots.is_empty() {
            return Ok(Place::new(home.join(OsStr::from_bytes(root)), RelPath::root()));
        }
        absolute(home, root).and_then(|asked| self.inside(home, &asked)).ok_or_else(|| denied(root))
    }

    fn inside(&self, home: &Path, asked: &RelPath) -> Option<Place> {
        self.absolute_roots(home).find_map(|root| {
            let below = asked.strip_prefix(&root)?;
            Some(Place::new(Path::new("/").join(OsStr::from_bytes(root.as_bytes())), below))
        })
    }

    fn absolute_roots(&self, home: &Path) -> impl Iterator<Item = RelPath> {
        self.roots.iter().filter_map(move |root| absolute(home, root.as_os_str().as_bytes()))
    }
}

/// A path from the root of the file system, without looking at it; `None` for what leads up or is no path.
fn absolute(home: &Path, path: &[u8]) -> Option<RelPath> {
    let path = home.join(OsStr::from_bytes(path));
    let parts: Vec<_> =
        path.as_os_str().as_bytes().split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    RelPath::new(parts.join(&b'/')).ok()
}

fn denied(path: &[u8]) -> Failure {
    let path = if path.is_empty() { b"the home".as_slice() } else { path };
    Failure::new(FailureKind::Denied, format!("this agent does not show {}", Escaped(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(texts: &[&str]) -> Vec<RelPath> {
        texts.iter().map(|text| RelPath::try_from(*text).unwrap()).collect()
    }

    fn read(roots: &[&str], root: &str, wanted: &[&str]) -> Option<(String, String, Vec<RelPath>)> {
        let access = Access::full().read_only().roots(roots.iter().map(PathBuf::from).collect());
        let granted = access.to_read(Path::new("/home/alice"), root.as_bytes(), &paths(wanted)).ok()?;
        let (directory, below) = (granted.place.directory().display().to_string(), granted.place.below().to_string());
        Some((directory, below, granted.paths))
    }

    fn some(directory: &str, below: &str, wanted: &[&str]) -> Option<(String, String, Vec<RelPath>)> {
        Some((directory.to_owned(), below.to_owned(), paths(wanted)))
    }

    #[test]
    fn without_roots_everything_is_shown() {
        assert_eq!(read(&[], "../bob", &["a"]), some("/home/alice/../bob", ".", &["a"]));
        assert_eq!(read(&[], "", &[]), some("/home/alice/", ".", &[]));
    }

    #[test]
    fn below_a_root_the_way_is_relative_to_it() {
        assert_eq!(read(&["public_html"], "public_html", &[]), some("/home/alice/public_html", ".", &[]));
        assert_eq!(
            read(&["/srv/", "public_html"], "public_html//./wp", &["a"]),
            some("/home/alice/public_html", "wp", &["a"])
        );
        assert_eq!(read(&["/srv"], "/srv/x", &[]), some("/srv", "x", &[]));
    }

    #[test]
    fn above_a_root_only_the_roots_are_shown() {
        let roots = &["public_html", "mail"];
        assert_eq!(read(roots, "", &[]), some("/home/alice", ".", &["public_html", "mail"]));
        assert_eq!(read(roots, "", &["public_html/wp"]), some("/home/alice", ".", &["public_html/wp"]));
        assert_eq!(read(roots, "/home", &["alice"]), some("/home", ".", &["alice/public_html", "alice/mail"]));
        assert_eq!(read(roots, "", &["public_html", ".ssh"]), None);
    }

    #[test]
    fn everything_else_is_refused() {
        for root in ["/etc", "public_html/..", "public_html/../.ssh", ".ssh", "public_html2", "/home/bob", ".."] {
            assert_eq!(read(&["public_html"], root, &[]), None, "{root}");
        }
    }

    #[test]
    fn writing_has_its_own_rules() {
        let home = Path::new("/home/alice");
        let write = |access: &Access, root: &[u8]| access.to_write(home, root).is_ok();
        assert!(write(&Access::full(), b"anywhere"));
        assert!(!write(&Access::full().read_only(), b"anywhere"));
        let inside = Access::full().roots(vec!["public_html".into()]);
        assert!(write(&inside, b"public_html/x"));
        assert!(!write(&inside, b"") && !write(&inside, b"public_html/../x"));
    }
}
