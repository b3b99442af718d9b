//! [`leaving`]: which entries of a far end a push deletes, decided before anything is deleted.

use super::{Deletion, PushRequest};
use crate::{
    path::RelPath,
    problem::{Problem, ProblemKind},
};
use std::collections::HashSet;

/// What of the far end has to go, children before their parents: entries below a directory of the source that are neither
/// `listed` by it nor excluded, and below the wanted paths if there are some. A directory stays when something in it does. `far` has every entry there, in any order, and
/// whether it is a directory.
///
/// # Errors
/// The problem to report when more would go than the request allows, by number or by share: then nothing must.
pub fn leaving(
    request: &PushRequest,
    listed: &HashSet<RelPath>,
    far: impl IntoIterator<Item = (RelPath, bool)>,
) -> Result<Vec<RelPath>, Problem> {
    let Deletion::UpTo(limit) = request.allowed_deletion() else { return Ok(Vec::new()) };
    let mut far: Vec<_> = far.into_iter().filter(|(path, _)| !path.is_root() && request.reaches(path)).collect();
    far.sort();
    let held = far.len() as u64;
    let mut candidates: HashSet<RelPath> = HashSet::new();
    for (path, is_dir) in &far {
        let is_below = path.parent().is_some_and(|parent| listed.contains(&parent) || candidates.contains(&parent));
        if is_below && !listed.contains(path) && !request.wanted_filter().excludes_with_parents(path, *is_dir) {
            candidates.insert(path.clone());
        }
    }
    let (mut leaving, mut kept) = (Vec::new(), HashSet::new());
    for (path, _) in far.into_iter().rev() {
        if candidates.contains(&path) && !kept.contains(&path) {
            leaving.push(path);
        } else {
            kept.extend(path.parent());
        }
    }
    let (count, share) = (leaving.len() as u64, u64::from(request.allowed_share()));
    let detail = if count > limit {
        format!("{count} entries would be deleted and at most {limit} may be: none was")
    } else if count * 100 > held * share {
        format!("{count} of {held} entries would be deleted and at most {share} % may be: none was")
    } else {
        return Ok(leaving);
    };
    Err(Problem::new(RelPath::root(), ProblemKind::Refused, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;

    fn path(text: &str) -> RelPath {
        RelPath::try_from(text).unwrap()
    }

    fn leaving_of(request: &PushRequest, listed: &[&str]) -> Result<Vec<String>, String> {
        let listed = listed.iter().map(|text| path(text)).collect();
        let far = ["", "a/", "a/b", "a/c/", "a/c/keep", "d/", "d/e/", "d/e/f", "g"];
        let far = far.map(|text| (path(text.trim_end_matches('/')), text.ends_with('/')));
        let left = leaving(request, &listed, far).map_err(|problem| problem.detail().to_owned())?;
        Ok(left.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn only_what_is_below_a_listed_directory_goes() {
        let request = PushRequest::new().deletion(Deletion::UpTo(10));
        assert_eq!(leaving_of(&request, &["", "a", "a/b"]).unwrap(), ["g", "d/e/f", "d/e", "d", "a/c/keep", "a/c"]);
        // Nothing is said about the root.
        assert_eq!(leaving_of(&request, &["a", "a/b", "x"]).unwrap(), ["a/c/keep", "a/c"]);
        // A file takes the place of a directory.
        assert_eq!(leaving_of(&request, &["d/e"]).unwrap(), ["d/e/f"]);
        assert!(leaving_of(&PushRequest::new(), &[""]).unwrap().is_empty());
        // Only below what is wanted, even if that itself is not there.
        let of = |wanted| request.clone().paths(vec![path(wanted)]);
        assert_eq!(leaving_of(&of("a/c"), &["a", "a/c"]).unwrap(), ["a/c/keep"]);
        assert!(leaving_of(&of("a/c"), &["a"]).unwrap().is_empty());
        assert_eq!(leaving_of(&of(""), &["", "a", "a/b"]).unwrap().len(), 6);
        let filter = Filter::parse(["keep"]).unwrap();
        assert_eq!(leaving_of(&request.filter(filter), &["", "d", "g"]).unwrap(), ["d/e/f", "d/e", "a/b"]);
    }

    #[test]
    fn too_much_is_nothing() {
        let request = |limit, share| PushRequest::new().deletion(Deletion::UpTo(limit)).deletion_share(share);
        let listed = ["", "a", "a/b", "g"];
        assert_eq!(leaving_of(&request(5, 63), &listed).unwrap().len(), 5);
        assert!(
            leaving_of(&request(4, 100), &listed).unwrap_err().contains("5 entries would be deleted and at most 4")
        );
        assert!(leaving_of(&request(5, 62), &listed).unwrap_err().contains("5 of 8"));
        assert!(leaving_of(&request(0, 0), &["", "a", "a/b", "a/c", "a/c/keep", "d", "d/e", "d/e/f", "g"]).is_ok());
    }
}
