//! How things look in JSON.

use crate::selector::account_path;
use base64::{Engine, prelude::BASE64_STANDARD};
use clonepanel_core::{
    entry::{Entry, EntryKind},
    path::RelPath,
    problem::Problem,
    snapshot_id::SnapshotId,
    store::SnapshotInfo,
};
use serde_json::{Map, Value, json};

/// Escapes what JSON allows in strings but a terminal should not see: control characters beyond ASCII, and those that
/// reorder or hide text.
pub(crate) fn harmless(json: &str) -> String {
    let shown = |c: char| c.is_ascii() && c != '\x7f' || c.is_alphanumeric();
    if json.chars().all(shown) {
        return json.to_owned();
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if shown(c) || !is_unsafe(c) {
            safe.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    safe
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

/// Of what are the paths?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paths {
    /// Of a folder that is written to: they stay as they are.
    Destination,
    /// Of a snapshot: they are told as people write them.
    Snapshot,
}

impl Paths {
    fn told(self, path: &RelPath) -> RelPath {
        match self {
            Self::Destination => path.clone(),
            Self::Snapshot => account_path(path),
        }
    }
}

/// Puts a path into an object: `path`, and `path_b64` when it is not UTF-8.
pub(crate) fn put_path(object: &mut Map<String, Value>, path: &RelPath, paths: Paths) {
    put_bytes(object, "path", paths.told(path).as_bytes());
}

/// Puts bytes that are usually text into an object.
pub(crate) fn put_bytes(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            object.insert(key.to_owned(), text.into());
        }
        Err(_) => {
            object.insert(key.to_owned(), clonepanel_core::escape::Escaped(bytes).to_string().into());
            object.insert(format!("{key}_b64"), BASE64_STANDARD.encode(bytes).into());
        }
    }
}

/// An object that begins with `event` and a path of a snapshot.
pub(crate) fn path_event(event: &str, path: &RelPath) -> Map<String, Value> {
    begun(event, path, Paths::Snapshot)
}

fn begun(event: &str, path: &RelPath, paths: Paths) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("event".to_owned(), event.into());
    put_path(&mut object, path, paths);
    object
}

/// Bytes in base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// A snapshot.
pub(crate) fn snapshot(info: &SnapshotInfo) -> Value {
    let tally = &info.tally;
    json!({
        "event": "snapshot",
        "site": info.id.source().as_str(),
        "id": info.id.stem(),
        "state": info.state().word(),
        "begun": info.begun.to_string(),
        "committed": info.committed.to_string(),
        "base": info.base.as_ref().map(|base| base.stem()),
        "dirs": tally.dirs,
        "files": tally.files,
        "others": tally.others,
        "bytes": tally.bytes,
        "unchanged_files": tally.unchanged_files,
        "added_files": tally.added_files,
        "changed_files": tally.changed_files,
        "confirmed_files": tally.confirmed_files,
        "removed_files": tally.removed_files,
        "carried_files": tally.carried_files,
        "new_bytes": tally.new_bytes,
        "problems": info.problems.total(),
        "losses": info.problems.losses(),
        "suspicions": info.suspicions.iter().map(|suspicion| suspicion.word()).collect::<Vec<_>>(),
    })
}

/// A problem with one path, of this snapshot or on the way out of it.
pub(crate) fn problem(id: &SnapshotId, problem: &Problem, paths: Paths) -> Value {
    let mut object = begun("problem", &problem.path, paths);
    object.insert("site".to_owned(), id.source().as_str().into());
    object.insert("id".to_owned(), id.stem().into());
    object.insert("kind".to_owned(), problem.kind.word().into());
    object.insert("loss".to_owned(), problem.kind.is_loss().into());
    object.insert("detail".to_owned(), problem.detail().into());
    Value::Object(object)
}

/// An entry of a tree.
pub(crate) fn entry(event: &str, entry: &Entry, paths: Paths) -> Map<String, Value> {
    let mut object = begun(event, &entry.path, paths);
    object.insert("type".to_owned(), kind_word(&entry.kind).into());
    object.insert("mode".to_owned(), format!("{:04o}", entry.meta.mode).into());
    object.insert("uid".to_owned(), entry.meta.uid.into());
    object.insert("gid".to_owned(), entry.meta.gid.into());
    object.insert("mtime".to_owned(), entry.meta.mtime.to_string().into());
    match &entry.kind {
        EntryKind::File { len, hardlink_to } => {
            object.insert("size".to_owned(), (*len).into());
            if let Some(leader) = hardlink_to {
                put_bytes(&mut object, "hardlink_to", paths.told(leader).as_bytes());
            }
        }
        EntryKind::Symlink(target) => put_bytes(&mut object, "target", target.as_bytes()),
        _ => {}
    }
    object
}

/// The word for what an entry is.
pub(crate) fn kind_word(kind: &EntryKind) -> &'static str {
    match kind {
        EntryKind::BlockDevice(_) => "block device",
        EntryKind::CharDevice(_) => "character device",
        EntryKind::Dir => "dir",
        EntryKind::Fifo => "fifo",
        EntryKind::File { .. } => "file",
        EntryKind::Socket => "socket",
        EntryKind::Symlink(_) => "symlink",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_harmless_and_means_the_same() {
        let value = json!({ "path": "a\u{9b}31m\u{202e}b\u{7f}é\x1b" });
        let safe = harmless(&value.to_string());
        assert_eq!(safe, "{\"path\":\"a\\u009b31m\\u202eb\\u007fé\\u001b\"}");
        assert_eq!(serde_json::from_str::<Value>(&safe).unwrap(), value);
    }

    #[test]
    fn bytes_that_are_no_text_travel_as_base64() {
        let path = RelPath::new(&b"files/a\xff"[..]).unwrap();
        let mut object = Map::new();
        put_path(&mut object, &path, Paths::Snapshot);
        assert_eq!(Value::Object(object), json!({ "path": "a\\xff", "path_b64": "Yf8=" }));
    }
}
