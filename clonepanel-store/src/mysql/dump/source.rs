//! [`DatabaseSource`]: a database as a tree.

use super::{
    super::{
        DatabaseAddress, DatabaseError, MissingObject, ObjectKind,
        format::name::quote,
        session::{Purpose, Session},
    },
    catalogue::Catalogue,
    content::Content,
    known_ranges::RangeSums,
    listing::Listing,
    objects,
    rights::Rights,
    spool::Held,
};
use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    path::RelPath,
    tree::{EntryStream, FileStream, TreeError, TreeSource},
};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Contents are given out in pieces of this length.
const PIECE: usize = 256 << 10;

/// A database as a tree of plain SQL that any client can load in the order of names.
///
/// Each listing is a dump of its own, of one consistent moment, and is made as it is read: [`TreeSource::open`] gives the content of
/// what was listed last, until it was read to its end. What is listed and not read is kept in memory if it is little and in a
/// temporary file without a name otherwise.
///
/// What cannot be had with the user's rights is a problem of the listing and in `dump.json`, which [`DumpDescription`](crate::mysql::DumpDescription) reads.
#[derive(Debug)]
pub struct DatabaseSource {
    address: DatabaseAddress,
    directory: PathBuf,
    sums: Option<RangeSums>,
    contents: Contents,
}

impl DatabaseSource {
    /// The database at `address`. What does not fit into memory goes to the folder for temporary files.
    #[must_use]
    pub fn new(address: DatabaseAddress) -> Self {
        Self { address, directory: std::env::temp_dir(), sums: None, contents: Contents::default() }
    }

    /// Another folder for what does not fit into memory: up to the length of the longest table.
    #[must_use]
    pub fn spool_in(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Reads only those ranges of rows whose sums at the server are not those of an older dump. Without this, all is read.
    #[must_use]
    pub fn range_sums(mut self, sums: RangeSums) -> Self {
        self.sums = Some(sums);
        self
    }

    /// What a dump would miss because of the user's rights, and what would mend it. Reads definitions and no rows.
    ///
    /// # Errors
    /// [`DatabaseError`], when the database cannot be reached or its catalogue cannot be read.
    ///
    /// # Cancel safety
    /// Harmless to drop.
    pub async fn audit(&self) -> Result<Vec<MissingObject>, DatabaseError> {
        let mut session = Session::open(&self.address, Purpose::Catalogue).await?;
        let name = self.address.name();
        let rights = Rights::read(&mut session, name).await?;
        let catalogue = Catalogue::read(&mut session, name).await?;
        let mut missing = rights.unseen(&catalogue, session.flavour(), name);
        for table in &catalogue.tables {
            let question = format!("SELECT 1 FROM {} LIMIT 0", quote(&table.name));
            match session.run("reading a table", &question).await {
                Ok(()) => {}
                Err(error @ DatabaseError::Denied { .. }) => missing.push(MissingObject {
                    kind: ObjectKind::Table,
                    name: Some(table.name.clone()),
                    why: error.line(),
                    mend: Some(rights.mend("SELECT", name)),
                }),
                Err(error) if error.ends_the_session() => return Err(error),
                // A broken table is no question of rights.
                Err(_) => {}
            }
        }
        for read in objects::read(&catalogue.objects, name, &mut session).await? {
            if let Err((object, error @ DatabaseError::Denied { .. })) = read {
                let mend = Some(rights.mend(object.right(session.flavour()), name));
                missing.push(MissingObject { kind: object.kind, name: Some(object.name), why: error.line(), mend });
            }
        }
        session.close().await;
        Ok(missing)
    }
}

#[async_trait]
impl TreeSource for DatabaseSource {
    async fn entries(&self) -> Result<Box<dyn EntryStream>, TreeError> {
        self.contents.clear();
        let (address, directory) = (self.address.clone(), self.directory.clone());
        let begun = Listing::begin(address, directory, self.sums.clone(), self.contents.clone()).await;
        Ok(Box::new(begun.map_err(|error| error.at(&RelPath::root()))?))
    }

    async fn open(&self, path: &RelPath) -> Result<Box<dyn FileStream>, TreeError> {
        match self.contents.take(path).ok_or_else(|| TreeError::NotFound { path: path.clone() })? {
            Content::Held(held) => {
                let contents = self.contents.clone();
                Ok(Box::new(HeldStream { path: path.clone(), held: Some(held), at: 0, contents }))
            }
            Content::Kept(kept) => {
                self.contents.put(path.clone(), Content::Kept(kept.clone()));
                kept.snapshot.open(&kept.path).await
            }
        }
    }
}

/// What was listed and not yet read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents(Arc<Mutex<HashMap<RelPath, Content>>>);

impl Contents {
    pub(crate) fn put(&self, path: RelPath, content: Content) {
        self.lock().insert(path, content);
    }

    fn take(&self, path: &RelPath) -> Option<Content> {
        self.lock().remove(path)
    }

    fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RelPath, Content>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A content that is being read. Dropped before its end, it can be opened again.
struct HeldStream {
    path: RelPath,
    held: Option<Held>,
    at: u64,
    contents: Contents,
}

#[async_trait]
impl FileStream for HeldStream {
    async fn read(&mut self) -> Result<Option<Bytes>, TreeError> {
        let Some(held) = &self.held else { return Ok(None) };
        let piece = held.read(self.at, PIECE).await;
        let piece = piece.map_err(|error| TreeError::from_io("read", &self.path, error))?;
        self.at += piece.len() as u64;
        if self.at >= held.len() {
            self.held = None;
        }
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

impl Drop for HeldStream {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.contents.put(std::mem::take(&mut self.path), Content::Held(held));
        }
    }
}
