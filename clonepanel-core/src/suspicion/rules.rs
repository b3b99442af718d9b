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
    /// More than half, and more than 20 files or 16 MiB.
    fn default() -> Self {
        Self { judged: Judged::Everything, most_percent: 50, min_files: 20, min_bytes: 16 << 20 }
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

/// Judges a snapshot by its final numbers, against the one that it builds on; without one there is nothing to suspect.
///
/// What the base is suspected of lasts until half of what was lost has come back, however many runs that takes, or until it
/// was accepted ([`SuspicionRules::accept_everything`]): otherwise a second run after an accident, which finds nothing changed,
/// would look good.
#[must_use]
pub fn judge(rules: &SuspicionRules, base: Option<&SnapshotInfo>, now: &Tally) -> Vec<Suspicion> {
    let Some(base) = base.filter(|_| rules.judged == Judged::Everything) else { return Vec::new() };
    let mut found = Vec::new();
    if now.files == 0 && (base.tally.files > 0 || base.suspicions.contains(&Suspicion::Emptied)) {
        found.push(Suspicion::Emptied);
    }
    found.extend(count_collapsed(rules, base, now));
    found.extend(bytes_collapsed(rules, base, now));
    found.extend(mass_deleted(rules, base, now));
    found.extend(contents_changed(rules, base, now));
    if found.is_empty() {
        found.extend(nothing_linked(rules, &base.tally, now));
    }
    found
}

/// The number of files is remembered in the suspicion itself, also for a small source that is empty: its first file back does
/// not make it good.
fn count_collapsed(rules: &SuspicionRules, base: &SnapshotInfo, now: &Tally) -> Option<Suspicion> {
    let suspected = base.suspicions.iter().find_map(|suspicion| match suspicion {
        Suspicion::CountCollapsed { before, .. } => Some(*before),
        _ => None,
    });
    let before = suspected.unwrap_or_default().max(base.tally.files);
    let is_empty = now.files == 0 && before > 0;
    let min = if suspected.is_some() { 0 } else { rules.min_files };
    let collapsed = is_empty || rules.is_most(before.saturating_sub(now.files), before, min);
    collapsed.then_some(Suspicion::CountCollapsed { before, now: now.files })
}

fn bytes_collapsed(rules: &SuspicionRules, base: &SnapshotInfo, now: &Tally) -> Option<Suspicion> {
    let suspected = base.suspicions.iter().find_map(|suspicion| match suspicion {
        Suspicion::BytesCollapsed { before, .. } => Some(*before),
        _ => None,
    });
    let before = suspected.unwrap_or_default().max(base.tally.bytes);
    let min = if suspected.is_some() { 0 } else { rules.min_bytes };
    rules
        .is_most(before.saturating_sub(now.bytes), before, min)
        .then_some(Suspicion::BytesCollapsed { before, now: now.bytes })
}

/// Which files come back nobody can tell from numbers: each that there are more than in the base counts as one of those that
/// were deleted.
fn mass_deleted(rules: &SuspicionRules, base: &SnapshotInfo, now: &Tally) -> Option<Suspicion> {
    let suspected = base.suspicions.iter().find_map(|suspicion| match suspicion {
        Suspicion::MassDeleted { removed, of } => Some((*removed, *of)),
        _ => None,
    });
    let still = suspected.map(|(removed, of)| {
        let surviving = of.saturating_sub(removed) + now.files;
        (of.saturating_sub(surviving.saturating_sub(base.tally.files)), of, 0)
    });
    let at_once = (now.removed_files, base.tally.files, rules.min_files);
    [still, Some(at_once)]
        .into_iter()
        .flatten()
        .filter(|&(removed, of, min)| rules.is_most(removed, of, min))
        .max_by_key(|&(removed, ..)| removed)
        .map(|(removed, of, _)| Suspicion::MassDeleted { removed, of })
}

fn contents_changed(rules: &SuspicionRules, base: &SnapshotInfo, now: &Tally) -> Option<Suspicion> {
    let (changed, of) = (now.changed_files - now.confirmed_files, now.changed_files + now.unchanged_files);
    // Contents that were here before are no break-in, as after a restore of an older version: most bytes must be new as well.
    if rules.is_most(changed, of, rules.min_files) && now.new_bytes > now.bytes / 2 {
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
        let base = base(ordinary(), suspicions.to_vec());
        let found = judge(&SuspicionRules::new(), Some(&base), &now);
        assert_eq!(judge(&SuspicionRules::accept_everything(), Some(&base), &now), []);
        assert_eq!(judge(&SuspicionRules::new(), None, &now), []);
        found.into_iter().map(Suspicion::word).collect()
    }

    /// Several nights, each with so many files and so many of the night before removed; whether each is suspect.
    fn nights(rules: &SuspicionRules, files: u64, nights: &[(u64, u64)]) -> Vec<bool> {
        let mut last = base(Tally { files, ..Tally::default() }, vec![]);
        let mut suspect = Vec::new();
        for &(files, removed_files) in nights {
            let added_files = files + removed_files - last.tally.files;
            let unchanged_files = files - added_files;
            let now = Tally { files, added_files, removed_files, unchanged_files, ..Tally::default() };
            last = base(now, judge(rules, Some(&last), &now));
            suspect.push(!last.suspicions.is_empty());
        }
        suspect
    }

    #[test]
    fn ordinary_changes_are_not_suspicious() {
        let half = Tally { files: 500, bytes: 500 << 20, unchanged_files: 500, changed_files: 0, ..ordinary() };
        let doubled = Tally { files: 2000, bytes: 2000 << 20, added_files: 1000, new_bytes: 1000 << 20, ..ordinary() };
        let asked_again = Tally {
            unchanged_files: 100,
            changed_files: 900,
            confirmed_files: 850,
            new_bytes: 900 << 20,
            ..ordinary()
        };
        let half_changed = Tally { unchanged_files: 500, changed_files: 500, new_bytes: 500 << 20, ..ordinary() };
        let carried = Tally { unchanged_files: 10, changed_files: 0, carried_files: 990, ..ordinary() };
        for now in [ordinary(), Tally { removed_files: 500, ..half }, doubled, asked_again, half_changed, carried] {
            assert_eq!(judged(&[], now), [""; 0], "{now:?}");
        }
    }

    #[test]
    fn accidents_are_suspicious() {
        let emptied = Tally { dirs: 1, removed_files: 1000, ..Tally::default() };
        assert_eq!(judged(&[], emptied), ["emptied", "count-collapsed", "bytes-collapsed", "mass-deleted"]);
        let most_gone = Tally {
            files: 499,
            bytes: 600 << 20,
            unchanged_files: 499,
            changed_files: 0,
            removed_files: 501,
            ..ordinary()
        };
        assert_eq!(judged(&[], most_gone), ["count-collapsed", "mass-deleted"]);
        let truncated = Tally { bytes: 100, changed_files: 400, unchanged_files: 600, ..ordinary() };
        assert_eq!(judged(&[], truncated), ["bytes-collapsed"]);
        let replaced = Tally {
            unchanged_files: 0,
            changed_files: 0,
            added_files: 1000,
            removed_files: 1000,
            new_bytes: 1000 << 20,
            ..ordinary()
        };
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
        let collapsed = Suspicion::CountCollapsed { before: 9000, now: 1000 };
        assert_eq!(judged(&[collapsed], ordinary()), ["count-collapsed"]);
        assert_eq!(judged(&[collapsed], Tally { files: 4500, added_files: 3500, ..ordinary() }), [""; 0]);
        let shrunk = Suspicion::BytesCollapsed { before: 9000 << 20, now: 1000 << 20 };
        assert_eq!(judged(&[shrunk], ordinary()), ["bytes-collapsed"]);
    }

    #[test]
    fn deleted_files_may_come_back_in_steps() {
        let rules = SuspicionRules::new();
        // 900 of 1000 are deleted and 1400 others come; then 200, none and 201 more.
        let told = nights(&rules, 1000, &[(1500, 900), (1700, 0), (1700, 0), (1901, 0)]);
        assert_eq!(told, [true, true, true, false]);
        // What comes and goes each night brings nothing back.
        assert_eq!(nights(&rules, 1000, &[(1000, 900), (1000, 300), (1000, 300), (1000, 300)]), [true; 4]);
    }

    #[test]
    fn small_sources_are_judged_too() {
        let rules = SuspicionRules::new();
        assert_eq!(nights(&rules, 80, &[(1, 79), (1, 0), (39, 0), (40, 0)]), [true, true, true, false]);
        assert_eq!(nights(&rules, 20, &[(1, 19)]), [false]);
        // Whatever the size, from nothing half has to come back, with whatever in between.
        assert_eq!(nights(&rules, 5, &[(1, 4)]), [false]);
        assert_eq!(nights(&rules, 5, &[(0, 5), (0, 0), (1, 0), (2, 0), (3, 0)]), [true, true, true, true, false]);
    }

    #[test]
    fn limits_can_be_moved() {
        let rules = SuspicionRules::new().most_percent(90).min_files(0).min_bytes(u64::MAX);
        let left = |files| {
            let now = Tally { files, unchanged_files: files, removed_files: 1000 - files, ..Tally::default() };
            judge(&rules, Some(&base(ordinary(), vec![])), &now)
        };
        assert_eq!((left(100).len(), left(99).len()), (0, 2));
    }
}
