//! [`KnownRanges`]: what an older snapshot has, and which of it a server need not be asked for again.

use super::{
    super::{
        format::range_record::{MAX_RECORD, Range, RangeRecord, TableRanges},
        layout,
    },
    content::Kept,
};
use clonepanel_core::{path::RelPath, problem::Problems, store::SnapshotReader, time::Timestamp};
use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

/// All of a table is read when the last time is so long ago.
const WHOLE: Duration = Duration::from_secs(30 * 86_400);
/// The longest pause between two questions.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Asks the server for sums over ranges of rows, and reads only those ranges whose sums are not those of an older snapshot. The others
/// are listed with the time of the older file and [`Settled`](clonepanel_core::entry::Freshness::Settled), so a store links them;
/// whoever wants their content gets the older snapshot's.
///
/// A sum is the number of rows and 64 bits of the SHA-256 of each. It is computed from what was read, so a server that writes a value in
/// another way in a sum than in an answer only costs the saving. A table is read whole when it has no key, when its definition or the
/// server's version changed, and every 30 days.
#[derive(Clone)]
pub struct RangeSums {
    older: Option<(Arc<dyn SnapshotReader>, RelPath)>,
    whole: Duration,
    load: f64,
}

impl fmt::Debug for RangeSums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let older = self.older.as_ref().map(|(_, dump)| dump);
        f.debug_struct("RangeSums")
            .field("older", &older)
            .field("whole", &self.whole)
            .field("load", &self.load)
            .finish()
    }
}

impl Default for RangeSums {
    fn default() -> Self {
        Self::new()
    }
}

impl RangeSums {
    /// Sums for a later dump, compared with none.
    #[must_use]
    pub const fn new() -> Self {
        Self { older: None, whole: WHOLE, load: 1.0 }
    }

    /// Compares with the dump that stands at `dump` in an older snapshot, best the one that the new snapshot is based on.
    #[must_use]
    pub fn compare(mut self, snapshot: Arc<dyn SnapshotReader>, dump: RelPath) -> Self {
        self.older = Some((snapshot, dump));
        self
    }

    /// Reads a table whole when that was last done so long ago. 30 days unless said otherwise.
    #[must_use]
    pub const fn whole_after(mut self, age: Duration) -> Self {
        self.whole = age;
        self
    }

    /// The share of the time in which the server has a question to answer, from 0.01 to 1; in between there are pauses, except while
    /// tables are locked. 1 unless said otherwise.
    #[must_use]
    pub const fn load(mut self, share: f64) -> Self {
        self.load = if share >= 0.01 && share <= 1.0 { share } else { 1.0 };
        self
    }

    /// Whether the older snapshot has sums of this database that can be relied on: then little will be read, unless much changed.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn is_known(&self) -> bool {
        self.known().await.is_some()
    }

    /// How long to pause after a question that took so long.
    pub(crate) fn pause(&self, took: Duration) -> Duration {
        took.mul_f64((1.0 - self.load) / self.load).min(LONGEST_PAUSE)
    }

    /// What the older snapshot knows; nothing when it is not to be relied on.
    pub(crate) async fn known(&self) -> Option<KnownRanges> {
        let (snapshot, dump) = self.older.as_ref()?;
        if is_in_doubt(&snapshot.info().problems, dump) {
            return None;
        }
        let path = dump.join(&layout::path(layout::RANGES)).ok()?;
        let len = snapshot.record(&path).await.ok()??.content?.len;
        if len > MAX_RECORD {
            return None;
        }
        let text = Kept { snapshot: Arc::clone(snapshot), path }.read().await?;
        let tables = RangeRecord::parse(&text)?.tables.into_iter().map(|table| (table.name.clone(), table)).collect();
        Some(KnownRanges { snapshot: Arc::clone(snapshot), dump: dump.clone(), whole: self.whole, tables })
    }
}

/// Whether what stands in for something that was lost may be among the rows.
fn is_in_doubt(problems: &Problems, dump: &RelPath) -> bool {
    let at = |text| dump.join(&layout::path(text)).ok();
    let (Some(rows), Some(record)) = (at(layout::ROWS), at(layout::RANGES)) else { return true };
    let touches = |path: &RelPath| path.is_within(&rows) || rows.is_within(path) || *path == record;
    problems.hides_losses() || problems.listed().iter().any(|problem| touches(&problem.path))
}

/// What an older snapshot has.
pub(crate) struct KnownRanges {
    snapshot: Arc<dyn SnapshotReader>,
    dump: RelPath,
    whole: Duration,
    tables: HashMap<String, TableRanges>,
}

impl fmt::Debug for KnownRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownRanges").field("dump", &self.dump).finish_non_exhaustive()
    }
}

impl KnownRanges {
    /// The ranges of a table; `None` when it must be read whole.
    pub(crate) fn table(&self, name: &str, fingerprint: &str, now: Timestamp) -> Option<&TableRanges> {
        let table = self.tables.get(name).filter(|table| table.fingerprint == fingerprint)?;
        let read = Timestamp::from_secs(table.whole);
        let is_recent = read <= now && now.since(read) < self.whole;
        (is_recent && !table.ranges.is_empty()).then_some(table)
    }

    /// The file of a range, if it is the one that was read then.
    pub(crate) async fn file(&self, stem: &str, range: &Range) -> Option<Kept> {
        let below = format!("{}/{}.sql", layout::rows(stem), range.file);
        let path = self.dump.join(&RelPath::try_from(below.as_str()).ok()?).ok()?;
        let record = self.snapshot.record(&path).await.ok()??;
        let is_it = record.content.is_some_and(|content| content.len == range.len)
            && record.entry.has_content()
            && record.entry.meta.mtime == range.time();
        is_it.then(|| Kept { snapshot: Arc::clone(&self.snapshot), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clonepanel_core::problem::{Problem, ProblemKind};

    #[test]
    fn what_stands_in_for_lost_rows_is_not_relied_on() {
        let dump = RelPath::try_from("databases/a").unwrap();
        let doubt = |path: &str| {
            let mut problems = Problems::new();
            problems.push(Problem::new(RelPath::try_from(path).unwrap(), ProblemKind::Failed, "x"));
            is_in_doubt(&problems, &dump)
        };
        for path in [
            "databases",
            "databases/a",
            "databases/a/10-data",
            "databases/a/10-data/t/0.sql",
            "databases/a/ranges.json",
        ] {
            assert!(doubt(path), "{path}");
        }
        for path in ["files/a", "databases/ab", "databases/a/90-after/30-triggers", "databases/b/10-data"] {
            assert!(!doubt(path), "{path}");
        }
        assert!(!is_in_doubt(&Problems::new(), &dump));
    }

    #[test]
    fn pauses_keep_the_share() {
        let second = Duration::from_secs(1);
        assert_eq!(RangeSums::new().pause(second), Duration::ZERO);
        assert_eq!(RangeSums::new().load(0.25).pause(second), 3 * second);
        assert_eq!(RangeSums::new().load(0.01).pause(second), LONGEST_PAUSE);
        assert_eq!(RangeSums::new().load(f64::NAN).pause(second), Duration::ZERO);
    }
}
