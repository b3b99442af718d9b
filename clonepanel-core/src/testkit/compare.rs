//! Comparing trees.

use crate::{
    entry::Entry,
    memory::MemoryTree,
    path::RelPath,
    tree::{Listed, TreeError, TreeSource},
};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet};

/// How two trees differ in types, modes, times, lengths, contents, link groups and link targets: one line per difference.
#[must_use]
pub fn differences(left: &MemoryTree, right: &MemoryTree) -> Vec<String> {
    let mut lines = compare(left, right, |left, right| {
        let mut lines = Vec::new();
        if left.kind != right.kind {
            lines.push(format!("{:?} is not {:?}", left.kind, right.kind));
        }
        if left.meta.mode != right.meta.mode {
            lines.push(format!("mode {:04o} is not {:04o}", left.meta.mode, right.meta.mode));
        }
        if left.meta.mtime != right.meta.mtime {
            lines.push(format!("time {} is not {}", left.meta.mtime, right.meta.mtime));
        }
        lines
    });
    for entry in left.list() {
        let (left, right) = (left.content(&entry.path), right.content(&entry.path));
        if let (Some(left), Some(right)) = (left, right)
            && left != right
        {
            let at = left.iter().zip(&right).position(|(left, right)| left != right);
            let at = at.unwrap_or_else(|| left.len().min(right.len()));
            lines.push(format!("{}: contents differ from byte {at}", entry.path));
        }
    }
    lines
}

/// How two trees differ in owners and groups: by number, and by name where both know one.
#[must_use]
pub fn owner_differences(left: &MemoryTree, right: &MemoryTree) -> Vec<String> {
    compare(left, right, |left, right| {
        let (left, right) = (&left.meta, &right.meta);
        let named = |left: &Option<Bytes>, right: &Option<Bytes>| left.is_none() || right.is_none() || left == right;
        if (left.uid, left.gid) != (right.uid, right.gid) {
            vec![format!("owner {}:{} is not {}:{}", left.uid, left.gid, right.uid, right.gid)]
        } else if !named(&left.user, &right.user) || !named(&left.group, &right.group) {
            let names = (&left.user, &left.group, &right.user, &right.group);
            vec![format!("owner {:?}:{:?} is not {:?}:{:?}", names.0, names.1, names.2, names.3)]
        } else {
            Vec::new()
        }
    })
}

fn compare(left: &MemoryTree, right: &MemoryTree, how: impl Fn(&Entry, &Entry) -> Vec<String>) -> Vec<String> {
    let by_path = |tree: &MemoryTree| -> BTreeMap<_, _> {
        tree.list().into_iter().map(|entry| (entry.path.clone(), entry)).collect()
    };
    let (left, right) = (by_path(left), by_path(right));
    let paths: BTreeSet<&RelPath> = left.keys().chain(right.keys()).collect();
    let lines = paths.into_iter().flat_map(|path| {
        match (left.get(path), right.get(path)) {
            (Some(left), Some(right)) => how(left, right),
            (Some(_), None) => vec!["is missing on the right".to_owned()],
            (None, _) => vec!["is missing on the left".to_owned()],
        }
        .into_iter()
        .map(move |line| format!("{path}: {line}"))
    });
    lines.collect()
}

/// Reads a whole source into memory. Its order is checked on the way.
///
/// # Errors
/// As the source; [`TreeError::Refused`] when a parent comes after its child, or a further name before the first one;
/// [`TreeError::Damaged`] when a content has another length than its entry, or a path was listed twice or as a problem.
pub async fn read_tree(source: &dyn TreeSource) -> Result<MemoryTree, TreeError> {
    let tree = MemoryTree::new();
    let mut seen = BTreeSet::new();
    let mut entries = source.entries().await?;
    while let Some(listed) = entries.next().await? {
        let entry = match listed {
            Listed::Entry(entry) if seen.insert(entry.path.clone()) => entry,
            Listed::Entry(Entry { path, .. }) | Listed::Problem(crate::problem::Problem { path, .. }) => {
                return Err(TreeError::Damaged { path });
            }
        };
        let mut content = BytesMut::new();
        if entry.has_content() {
            let mut stream = source.open(&entry.path).await?;
            while let Some(chunk) = stream.read().await? {
                content.extend_from_slice(&chunk);
            }
            if entry.len() != Some(content.len() as u64) {
                return Err(TreeError::Damaged { path: entry.path });
            }
        }
        tree.put(&entry, content.freeze())?;
    }
    Ok(tree)
}
