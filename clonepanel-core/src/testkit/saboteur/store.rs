//! [`StoreSaboteur`]: stores that break one rule.

use super::rules;
use crate::{
    entry::{Entry, Freshness},
    manifest::{Marks, Record},
    memory::MemoryStore,
    path::RelPath,
    problem::{ProblemKind, Problems},
    retry::Retry,
    snapshot_id::{SnapshotId, SourceName},
    store::{
        NewSnapshot, RecordStream, Seal, SnapshotInfo, SnapshotReader, SnapshotStore, SnapshotWriter, StoreError,
        StoredCopy, Tally,
    },
    suspicion::{self, Suspicion},
    testkit::{gate::yield_once, store::StoreFixture},
    tree::{EntryStream, FileSink, FileStream, Listed, TreeError, TreeSink, TreeSource, Want},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

rules! {
    /// A rule of [`SnapshotStore`].
    StoreRule: S1 S2 S3 S4 S5 S6 S7 S8 S9 S10 S11 S12 S13 S14 S15 S16 S17 S18 S19
}

/// A store in memory that breaks one rule and keeps the others; its own fixture.
#[derive(Debug, Clone)]
pub struct StoreSaboteur {
    breaks: Option<StoreRule>,
    inner: MemoryStore,
    shadow: MemoryStore,
    harm: Arc<Mutex<Harm>>,
}

#[derive(Debug, Default)]
struct Harm {
    /// Sources that show before anything of them is committed.
    early_sources: BTreeSet<SourceName>,
    /// Snapshots that are listed before they are there.
    early: Vec<SnapshotInfo>,
    /// Snapshots whose metadata a later commit has changed.
    aliased: BTreeSet<SnapshotId>,
    /// Snapshots whose contents went when another one was deleted.
    hollow: BTreeSet<SnapshotId>,
    /// Files that were not transferred and read back wrong.
    swapped: BTreeMap<SnapshotId, BTreeSet<RelPath>>,
    /// The numbers before the commit settled what was missing, and what was suspected of them.
    listed: BTreeMap<SnapshotId, (Tally, Vec<Suspicion>)>,
}

impl Harm {
    fn tell(&self, info: &mut SnapshotInfo) {
        if let Some((tally, suspicions)) = self.listed.get(&info.id) {
            info.tally = *tally;
            info.suspicions.clone_from(suspicions);
        }
    }
}

impl StoreSaboteur {
    /// A store that breaks `rule`.
    #[must_use]
    pub fn new(rule: StoreRule) -> Self {
        Self { breaks: Some(rule), ..Self::honest() }
    }

    /// A store that breaks none.
    #[must_use]
    pub fn honest() -> Self {
        Self { breaks: None, inner: MemoryStore::new(), shadow: MemoryStore::new(), harm: Arc::default() }
    }

    fn breaks(&self, rule: StoreRule) -> bool {
        self.breaks == Some(rule)
    }

    fn harm<T>(&self, change: impl FnOnce(&mut Harm) -> T) -> T {
        change(&mut self.harm.lock().expect("no panic"))
    }
}

#[async_trait]
impl StoreFixture for StoreSaboteur {
    async fn open(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl SnapshotStore for StoreSaboteur {
    async fn begin(&self, new: NewSnapshot) -> Result<Box<dyn SnapshotWriter>, StoreError> {
        let inner = match self.inner.begin(new.clone()).await {
            Err(StoreError::Busy { .. }) if self.breaks(StoreRule::S11) => self.shadow.begin(new.clone()).await?,
            begun => begun?,
        };
        if self.breaks(StoreRule::S1) {
            self.harm(|harm| harm.early_sources.insert(new.source().clone()));
        }
        Ok(Box::new(Writer { store: self.clone(), new, inner: Some(inner), seen: Mutex::default() }))
    }

    async fn open(&self, id: &SnapshotId) -> Result<Arc<dyn SnapshotReader>, StoreError> {
        let inner = self.inner.open(id).await?;
        let mut info = inner.info().clone();
        self.harm(|harm| harm.tell(&mut info));
        let lie = self.harm(|harm| {
            if harm.aliased.contains(id) {
                Lie::Modes
            } else if harm.hollow.contains(id) {
                Lie::AllContents
            } else if self.breaks(StoreRule::S10) {
                Lie::Names
            } else {
                Lie::Contents(harm.swapped.get(id).cloned().unwrap_or_default())
            }
        });
        Ok(Arc::new(Reader { inner, info, lie, forgets: self.breaks(StoreRule::S16) }))
    }

    async fn list(&self, source: &SourceName) -> Result<Vec<SnapshotInfo>, StoreError> {
        let mut list = self.inner.list(source).await?;
        self.harm(|harm| list.iter_mut().for_each(|info| harm.tell(info)));
        list.extend(self.harm(|harm| harm.early.clone()).into_iter().filter(|info| info.id.source() == source));
        match self.breaks {
            // As the names of directories sort: the tenth of a second before the second.
            Some(StoreRule::S7) => list.sort_by_key(|info| info.id.stem()),
            Some(StoreRule::S13) => list.sort_by_key(|info| info.begun),
            _ => {}
        }
        Ok(list)
    }

    async fn sources(&self) -> Result<Vec<SourceName>, StoreError> {
        let mut sources: BTreeSet<_> = self.inner.sources().await?.into_iter().collect();
        sources.extend(self.harm(|harm| harm.early_sources.clone()));
        Ok(sources.into_iter().collect())
    }

    async fn delete(&self, id: &SnapshotId) -> Result<(), StoreError> {
        match self.inner.delete(id).await {
            Err(StoreError::NotFound { .. }) if self.breaks(StoreRule::S9) => return Ok(()),
            deleted => deleted?,
        }
        if self.breaks(StoreRule::S8) {
            let others = self.inner.list(id.source()).await?;
            self.harm(|harm| harm.hollow.extend(others.into_iter().map(|info| info.id)));
        }
        Ok(())
    }
}

struct Writer {
    store: StoreSaboteur,
    new: NewSnapshot,
    /// `None` only on the way out.
    inner: Option<Box<dyn SnapshotWriter>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    not_transferred: BTreeSet<RelPath>,
    awaited: BTreeSet<RelPath>,
}

impl Writer {
    fn inner(&self) -> &dyn SnapshotWriter {
        self.inner.as_deref().expect("the writer is still open")
    }

    fn seal(&self, seal: Seal) -> Seal {
        if !self.store.breaks(StoreRule::S14) {
            return seal;
        }
        let (now, clock, problems, rules) = seal.into_parts();
        let mut others = Problems::new();
        for problem in problems.listed().iter().filter(|problem| problem.kind != ProblemKind::Unlisted) {
            others.push(problem.clone());
        }
        Seal::new(now).source_clock(clock).problems(others).judge(rules)
    }
}

#[async_trait]
impl TreeSink for Writer {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        let want = self.inner().offer(entry).await?;
        let mut seen = self.seen.lock().expect("no panic");
        match want {
            Want::Data { .. } => drop(seen.awaited.insert(entry.path.clone())),
            Want::Nothing if entry.has_content() && entry.meta.freshness == Freshness::Settled => {
                seen.not_transferred.insert(entry.path.clone());
            }
            Want::Nothing => {}
        }
        Ok(want)
    }

    async fn file(&self, entry: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        self.seen.lock().expect("no panic").awaited.remove(&entry.path);
        self.inner().file(entry).await
    }
}

#[async_trait]
impl SnapshotWriter for Writer {
    fn id(&self) -> &SnapshotId {
        self.inner().id()
    }

    fn base(&self) -> Option<&SnapshotInfo> {
        self.inner().base()
    }

    fn tally(&self) -> Tally {
        self.inner().tally()
    }

    async fn offer_kept(&self, record: &Record) -> Result<Want, TreeError> {
        let mut record = record.clone();
        if self.store.breaks(StoreRule::S17) {
            record.marks = Marks::default();
        }
        let want = self.inner().offer_kept(&record).await?;
        let all = self.store.breaks(StoreRule::S18) && record.entry.has_content();
        Ok(if all { Want::Data { basis: None } } else { want })
    }

    async fn commit(mut self: Box<Self>, seal: Seal) -> Result<SnapshotInfo, StoreError> {
        if let Some(copied) = self.new.copied().cloned() {
            let Some(inner) = self.inner.take() else { return Err(gone()) };
            let committed = inner.commit(seal).await;
            return if self.store.breaks(StoreRule::S19) { Ok(committed.unwrap_or(copied)) } else { committed };
        }
        let seal = self.seal(seal);
        let store = self.store.clone();
        let Some(inner) = self.inner.take() else { return Err(gone()) };
        let seen = std::mem::take(&mut *self.seen.lock().expect("no panic"));
        if store.breaks(StoreRule::S12) && !seen.awaited.is_empty() {
            return Err(gone());
        }
        if store.breaks(StoreRule::S3) {
            let early = early_info(&*inner, &self.new);
            store.harm(|harm| harm.early.push(early));
            for _ in 0..3 {
                yield_once().await;
            }
        }
        let older = store.inner.list(self.new.source()).await?;
        let listed = inner.tally();
        let (.., rules) = seal.clone().into_parts();
        let suspicions = suspicion::judge(&rules, inner.base(), &listed);
        let mut info = inner.commit(seal).await?;
        store.harm(|harm| harm.early.retain(|early| early.id != info.id));
        match store.breaks {
            Some(StoreRule::S2) => info.committed = info.committed.after(Duration::from_secs(1)),
            Some(StoreRule::S5) => {
                store.harm(|harm| harm.swapped.insert(info.id.clone(), seen.not_transferred));
            }
            Some(StoreRule::S15) => store.harm(|harm| {
                harm.listed.insert(info.id.clone(), (listed, suspicions));
                harm.tell(&mut info);
            }),
            Some(StoreRule::S6) => store.harm(|harm| harm.aliased.extend(older.into_iter().map(|info| info.id))),
            _ => {}
        }
        Ok(info)
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        match self.inner.take() {
            Some(inner) => inner.abort().await,
            None => Err(gone()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take()
            && self.store.breaks(StoreRule::S4)
        {
            let commit = pin!(inner.commit(Seal::new(self.new.now())));
            // A commit in memory is done at once.
            drop(commit.poll(&mut Context::from_waker(Waker::noop())));
        }
    }
}

fn early_info(writer: &dyn SnapshotWriter, new: &NewSnapshot) -> SnapshotInfo {
    SnapshotInfo {
        id: writer.id().clone(),
        begun: new.now(),
        committed: new.now(),
        source_clock: None,
        base: writer.base().map(|base| base.id.clone()),
        tally: writer.tally(),
        problems: Problems::new(),
        suspicions: Vec::new(),
    }
}

fn gone() -> StoreError {
    StoreError::Backend { action: "commit the snapshot", retry: Retry::Never, source: "sabotage".into() }
}

struct Reader {
    inner: Arc<dyn SnapshotReader>,
    info: SnapshotInfo,
    lie: Lie,
    /// What it is told of damage.
    forgets: bool,
}

#[derive(Clone)]
enum Lie {
    AllContents,
    Contents(BTreeSet<RelPath>),
    Modes,
    /// Names that are not UTF-8 are left out.
    Names,
}

impl Lie {
    /// The entry as it is told; `None` when it is kept back.
    fn told(&self, mut entry: Entry) -> Option<Entry> {
        match self {
            Self::Modes => entry.meta.mode ^= 0o100,
            Self::Names => return std::str::from_utf8(entry.path.as_bytes()).is_ok().then_some(entry),
            Self::AllContents | Self::Contents(_) => {}
        }
        Some(entry)
    }
}

#[async_trait]
impl SnapshotReader for Reader {
    fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    async fn records(&self) -> Result<Box<dyn RecordStream>, StoreError> {
        Ok(Box::new(Told { inner: self.inner.records().await?, lie: self.lie.clone() }))
    }

    async fn record(&self, path: &RelPath) -> Result<Option<Record>, StoreError> {
        let told = |record: Record| Some(Record { entry: self.lie.told(record.entry)?, ..record });
        Ok(self.inner.record(path).await?.and_then(told))
    }

    async fn stored_copies(&self, paths: &[RelPath]) -> Result<Vec<Option<StoredCopy>>, StoreError> {
        self.inner.stored_copies(paths).await
    }

    async fn distrust(&self, path: &RelPath) -> Result<(), StoreError> {
        if self.forgets { Ok(()) } else { self.inner.distrust(path).await }
    }
}

#[async_trait]
impl TreeSource for Reader {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        Ok(Box::new(Told { inner: self.inner.entries().await?, lie: self.lie.clone() }))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        let inner = self.inner.open(path).await?;
        let wrong = match &self.lie {
            Lie::AllContents => true,
            Lie::Contents(paths) => paths.contains(path),
            Lie::Modes | Lie::Names => false,
        };
        Ok(if wrong { Box::new(Swapped(inner)) } else { inner })
    }
}

struct Told<T> {
    inner: T,
    lie: Lie,
}

#[async_trait]
impl RecordStream for Told<Box<dyn RecordStream>> {
    async fn next(&mut self) -> Result<Option<Record>, StoreError> {
        while let Some(record) = self.inner.next().await? {
            if let Some(entry) = self.lie.told(record.entry) {
                return Ok(Some(Record { entry, ..record }));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl EntryStream for Told<Box<dyn EntryStream>> {
    async fn next(&mut self) -> Result<Option<Listed>, TreeError> {
        while let Some(listed) = self.inner.next().await? {
            match listed {
                Listed::Entry(entry) => {
                    if let Some(entry) = self.lie.told(entry) {
                        return Ok(Some(Listed::Entry(entry)));
                    }
                }
                problem => return Ok(Some(problem)),
            }
        }
        Ok(None)
    }
}

/// A content in which every byte is another one.
struct Swapped(Box<dyn FileStream>);

#[async_trait]
impl FileStream for Swapped {
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError> {
        Ok(self.0.read().await?.map(|chunk| chunk.iter().map(|byte| !byte).collect()))
    }
}
