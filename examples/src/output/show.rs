//! How things look to a person.

use clonepanel_core::{
    entry::{Entry, EntryKind},
    store::SnapshotState,
    time::Timestamp,
};
use indicatif::{BinaryBytes, HumanCount, HumanDuration};
use std::{fmt, time::Duration};

/// A number of bytes: `1.20 MiB`.
pub(crate) fn bytes(bytes: u64) -> impl fmt::Display {
    BinaryBytes(bytes)
}

/// A number: `12,345`.
pub(crate) fn count(count: u64) -> impl fmt::Display {
    HumanCount(count)
}

/// A number of things, in the singular or the plural.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    match (count, thing) {
        (1, thing) => format!("1 {thing}"),
        (count, "entry") => format!("{} entries", HumanCount(count)),
        (count, thing) => format!("{} {thing}s", HumanCount(count)),
    }
}

/// How long ago: `3 weeks ago`.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    if then > now {
        return "in the future".to_owned();
    }
    match now.since(then) {
        age if age < Duration::from_secs(1) => "just now".to_owned(),
        age => format!("{} ago", HumanDuration(age)),
    }
}

/// A moment to the second: `2026-08-23 02:15:00`, in UTC.
pub(crate) fn moment(moment: Timestamp) -> String {
    Timestamp::from_secs(moment.secs()).to_string().replace('T', " ").replace('Z', "")
}

/// What an entry is and who may do what: `drwxr-xr-x`.
pub(crate) fn permissions(entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::BlockDevice(_) => 'b',
        EntryKind::CharDevice(_) => 'c',
        EntryKind::Dir => 'd',
        EntryKind::Fifo => 'p',
        EntryKind::File { .. } => '-',
        EntryKind::Socket => 's',
        EntryKind::Symlink(_) => 'l',
    };
    let mode = entry.meta.mode;
    let mut text = String::from(kind);
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => set,
            (true, false) => 'x',
            (false, true) => unset,
            (false, false) => '-',
        });
    }
    text
}

/// The state of a snapshot, in its colour.
pub(crate) fn state(state: SnapshotState) -> String {
    let style = match state {
        SnapshotState::Complete => super::style::GOOD,
        SnapshotState::Partial => super::style::NOTE,
        SnapshotState::Suspect => super::style::BAD,
    };
    format!("{style}{}{style:#}", state.word())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clonepanel_core::path::RelPath;

    #[test]
    fn permissions_look_as_in_ls() {
        let mut entry = Entry::dir(RelPath::root());
        for (mode, text) in [(0o755, "drwxr-xr-x"), (0o4711, "drws--x--x"), (0o3640, "drw-r-S--T"), (0, "d---------")] {
            entry.meta.mode = mode;
            assert_eq!(permissions(&entry), text);
        }
    }

    #[test]
    fn ages_are_in_words() {
        let now = Timestamp::from_secs(10_000_000);
        assert_eq!(age(Timestamp::from_secs(10_000_000 - 21 * 86_400), now), "3 weeks ago");
        assert_eq!(age(now, now), "just now");
        assert_eq!(age(Timestamp::from_secs(10_000_001), now), "in the future");
    }
}
