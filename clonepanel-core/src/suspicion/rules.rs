//! [`judge`]: whether a run looks like an accident.

use super::Suspicion;
use crate::store::{SnapshotInfo, Tally};

/// From when on a change looks like an accident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspicionRules {
    judged: Judged,
    most_percent: u64,
    min_files: u64,
    min_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    Everything,
    Nothing,
}

impl Default for SuspicionRules {
    /// More than half, and more than 100 files or 16 MiB.
    fn default() -> Self {
        Self { judged: Judged::Everything, most_percent: 50, min_files: 100, min_bytes: 16 << 20 }
    }
}

impl SuspicionRules {
    /// As [`Self::default`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing is suspicious: accepts what the snapshots before were suspected of.
    #[must_use]
    pub fn accept_everything() -> Self {
        Self { judged: Judged::Nothing, ..Self::default() }
    }

    /// More than so many of a hundred are "most".
    #[must_use]
    pub fn most_percent(mut self, percent: u8) -> Self {
        self.most_percent = percent.min(100).into();
        self
    }

    /// Changes of so few files are never suspicious, unless none is left.
    #[must_use]
    pub const fn min_files(mut self, files: u64) -> Self {
        self.min_files = files;
        self
    }

    /// Losses of so few bytes are never suspicious.
    #[must_use]
    pub const fn min_bytes(mut self, bytes: u64) -> Self {
        self.min_bytes = bytes;
        self
    }

    /// Whether `part` is most of `whole`, and more than `min`.
    fn is_most(&self, part: u64, whole: u64, min: u64) -> bool {
        part > min && u128::from(part) * 100 > u128::from(whole) * u128::from(self.most_percent)
    }
}

/// Judges a run by its numbers before the commit, against the snapshot that it builds on.
///
/// What the base is suspected of lasts until it has come back or was accepted ([`SuspicionRules::accept_everything`]):
/// otherwise a second run after an accident, which finds nothing changed, would look good.
#[must_use]
pub fn judge(rules: &SuspicionRules, base: &SnapshotInfo, now: &Tally) -> Vec<Suspicion> {
    if rules.judged == Judged::Nothing {
        return Vec::new();
    }
    let was = &base.tally;
    let mut found = Vec::new();
    if now.files == 0 && (was.files > 0 || base.suspicions.contains(&Suspicion::Emptied)) {
        found.push(Suspicion::Emptied);
    }
    found.extend(count_collapsed(rules, base, now));
    found.extend(bytes_collapsed(rules, base, now));
    found.extend(mass_deleted(rules, base, now));
    found.extend(contents_changed(rules, base, now));
    if found.is_empty() {
        found.extend(nothing_linked(rules, was, now));
    }
    found
}

fn count_collapsed(rules: &SuspicionRules, base: &SnapshotInfo, now: &Tally) -> Option<Suspicion> {
    let suspected = base.suspicions.iter().filter_map(|suspicion| match suspicion {
        Suspicion::CountCollapsed { before, .. } => Some(*before),
        _ => None,
    });
    let before = suspected.fold(base.tally.files, u64::max);
    rules
        .is_most(before.saturating_sub(now.files), before, rules.min_files)
        .then_some(Suspicion::CountCollapsed { before, now: now.files })
}

fn bytes_collapsed(rules: &SuspicionRules, base: &SnapshotInfo, now: &Tally) -> Option<Suspicion> {
    let suspected = base.suspicions.iter().filter_map(|suspicion| match suspicion {
        Suspicion::BytesCollapsed { before, .. } => Some(*before),
        _ => None,
    });
    let before = suspected.fold(base.tally.bytes, u64::max);
    rules
        .is_most(before.saturating_sub(now.bytes), before, rules.min_bytes)
        .then_some(Suspicion::BytesCollapsed { before, now: now.bytes })
}

fn mass_deleted(rules: &SuspicionRules, base: &SnapshotInfo, now: &Tally) -> Option<Suspicion> {
    // How many were removed is only counted at the commit, but what is here and not new was there before.
    let (of, surviving) = (base.tally.files, now.files.saturating_sub(now.added_files));
    let removed = of.saturating_sub(surviving);
    if rules.is_most(removed, of, rules.min_files) {
        return Some(Suspicion::MassDeleted { removed, of });
    }
    let came_back = |removed: u64| now.added_files >= removed.div_ceil(2);
    let suspected = base.suspicions.iter().find(|suspicion| matches!(suspicion, Suspicion::MassDeleted { .. }));
    suspected.copied().filter(|suspicion| match suspicion {
        Suspicion::MassDeleted { removed, .. } => !came_back(*removed),
        _ => false,
    })
}

fn contents_changed(rules: &SuspicionRules, base: &SnapshotInfo, now: &Tally) -> Option<Suspicion> {
    let (changed, of) = (now.changed_files, now.changed_files + now.unchanged_files);
    if rules.is_most(changed, of, rules.min_files) && has_new_content(now) {
        return Some(Suspicion::ContentsChanged { changed, of });
    }
    base.suspicions.iter().find(|suspicion| matches!(suspicion, Suspicion::ContentsChanged { .. })).copied()
}

fn nothing_linked(rules: &SuspicionRules, was: &Tally, now: &Tally) -> Option<Suspicion> {
    // Only a share that was good can collapse: the run before was incremental, and this one is not.
    let linked_before = rules.is_most(was.unchanged_files, was.files, 0);
    let of = now.changed_files + now.unchanged_files;
    let full = rules.is_most(now.changed_files, of, rules.min_files);
    (linked_before && full && !has_new_content(now))
        .then_some(Suspicion::NothingLinked { unchanged: now.unchanged_files, of })
}

/// Whether a part of the content worth the name was not in the store before: a tenth.
const fn has_new_content(now: &Tally) -> bool {
    now.new_bytes > now.bytes / 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{problem::Problems, time::Timestamp};

    fn base(tally: Tally, suspicions: Vec<Suspicion>) -> SnapshotInfo {
        SnapshotInfo {
            id: "a/20260823T021500Z".parse().unwrap(),
            begun: Timestamp::default(),
            committed: Timestamp::default(),
            source_clock: None,
            base: None,
            tally,
            problems: Problems::new(),
            suspicions,
        }
    }

    /// 1000 files of 1 MiB, as an ordinary night leaves them.
    fn ordinary() -> Tally {
        Tally { dirs: 10, files: 1000, bytes: 1000 << 20, unchanged_files: 990, changed_files: 10, ..Tally::default() }
    }

    fn judged(suspicions: &[Suspicion], now: Tally) -> Vec<&'static str> {
        let found = judge(&SuspicionRules::new(), &base(ordinary(), suspicions.to_vec()), &now);
        assert_eq!(judge(&SuspicionRules::accept_everything(), &base(ordinary(), suspicions.to_vec()), &now), []);
        found.into_iter().map(Suspicion::word).collect()
    }

    #[test]
    fn ordinary_changes_are_not_suspicious() {
        let half = Tally { files: 500, bytes: 500 << 20, unchanged_files: 500, changed_files: 0, ..ordinary() };
        let doubled = Tally { files: 2000, bytes: 2000 << 20, added_files: 1000, new_bytes: 1000 << 20, ..ordinary() };
        let half_changed = Tally { unchanged_files: 500, changed_files: 500, new_bytes: 500 << 20, ..ordinary() };
        for now in [ordinary(), half, doubled, half_changed] {
            assert_eq!(judged(&[], now), [""; 0], "{now:?}");
        }
        // A small source may lose what it has, but not all.
        let small = base(Tally { files: 5, bytes: 100, ..Tally::default() }, vec![]);
        let left = |files| judge(&SuspicionRules::new(), &small, &Tally { files, ..Tally::default() });
        assert_eq!((left(1), left(0)), (vec![], vec![Suspicion::Emptied]));
    }

    #[test]
    fn accidents_are_suspicious() {
        let emptied = Tally { dirs: 1, ..Tally::default() };
        assert_eq!(judged(&[], emptied), ["emptied", "count-collapsed", "bytes-collapsed", "mass-deleted"]);
        let most_gone = Tally { files: 499, bytes: 600 << 20, unchanged_files: 499, changed_files: 0, ..ordinary() };
        assert_eq!(judged(&[], most_gone), ["count-collapsed", "mass-deleted"]);
        let truncated = Tally { bytes: 100, changed_files: 400, unchanged_files: 600, ..ordinary() };
        assert_eq!(judged(&[], truncated), ["bytes-collapsed"]);
        let replaced =
            Tally { unchanged_files: 0, changed_files: 0, added_files: 1000, new_bytes: 1000 << 20, ..ordinary() };
        assert_eq!(judged(&[], replaced), ["mass-deleted"]);
        let encrypted = Tally { unchanged_files: 100, changed_files: 900, new_bytes: 900 << 20, ..ordinary() };
        assert_eq!(judged(&[], encrypted), ["contents-changed"]);
        let touched = Tally { unchanged_files: 0, changed_files: 1000, ..ordinary() };
        assert_eq!(judged(&[], touched), ["nothing-linked"]);
    }

    #[test]
    fn a_suspicion_lasts_until_it_is_undone() {
        let encrypted = Suspicion::ContentsChanged { changed: 900, of: 1000 };
        assert_eq!(judged(&[encrypted], ordinary()), ["contents-changed"]);
        let deleted = Suspicion::MassDeleted { removed: 900, of: 1000 };
        assert_eq!(judged(&[deleted], ordinary()), ["mass-deleted"]);
        let back = Tally { files: 1900, added_files: 900, ..ordinary() };
        assert_eq!(judged(&[deleted], back), [""; 0]);
        let collapsed = Suspicion::CountCollapsed { before: 9000, now: 1000 };
        assert_eq!(judged(&[collapsed], ordinary()), ["count-collapsed"]);
        assert_eq!(judged(&[collapsed], Tally { files: 4500, added_files: 3500, ..ordinary() }), [""; 0]);
        let shrunk = Suspicion::BytesCollapsed { before: 9000 << 20, now: 1000 << 20 };
        assert_eq!(judged(&[shrunk], ordinary()), ["bytes-collapsed"]);
        // Emptied, and still empty.
        let empty = base(Tally::default(), vec![Suspicion::Emptied]);
        assert_eq!(judge(&SuspicionRules::new(), &empty, &Tally::default()), [Suspicion::Emptied]);
        assert_eq!(judge(&SuspicionRules::new(), &empty, &Tally { files: 1, ..Tally::default() }), []);
    }

    #[test]
    fn limits_can_be_moved() {
        let rules = SuspicionRules::new().most_percent(90).min_files(0).min_bytes(u64::MAX);
        let left = |files| {
            judge(&rules, &base(ordinary(), vec![]), &Tally { files, unchanged_files: files, ..Tally::default() })
        };
        assert_eq!((left(100).len(), left(99).len()), (0, 2));
    }
}
