//! [`Incoming`]: a file whose content is arriving.

use super::{
    content::stored_mode,
    draft::Draft,
    table::{LOST, RowId, RowKind, STORED, SUCCEEDS, TORN, WAITING},
    work::{Body, Keep, Op, SameAsBase},
};
use crate::{blocking, handle};
use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    digest::{DigestBuilder, FileDigest},
    entry::{Entry, EntryKind},
    manifest::{Marks, Record},
    tree::{FileSink, TreeError},
};
use std::{fs::File, io, io::Write as _, sync::Arc};
use tokio::task::JoinHandle;

/// Files up to this length are kept in memory until they are complete.
const MAX_IN_MEMORY: usize = 256 << 10;
/// Larger ones are written in pieces of this length.
const PIECE: usize = 512 << 10;
/// A file of which so much arrived is worth keeping when the rest does not come.
const WORTH_KEEPING: u64 = 1 << 20;

/// Takes the content of one file. The digest is taken on the way; a large file is written one piece behind.
pub(crate) struct Incoming {
    draft: Arc<Draft>,
    row: RowId,
    entry: Entry,
    buffer: Vec<u8>,
    large: Option<Large>,
}

/// A file that does not fit in memory.
struct Large {
    name: Vec<u8>,
    written: u64,
    writing: Option<JoinHandle<io::Result<(File, DigestBuilder)>>>,
    /// Dropped without being finished, a file of some size stays for the next run.
    draft: Arc<Draft>,
    finished: bool,
}

impl Incoming {
    /// For an entry that was offered and whose content is wanted.
    pub(crate) fn new(draft: &Arc<Draft>, entry: &Entry) -> Result<Self, TreeError> {
        let state = draft.lock();
        let row = state.by_path.get(&draft.key(entry.path.as_bytes())).copied();
        let row = row.filter(|&row| state.table.row(row).is_some_and(|row| row.kind == RowKind::File));
        drop(state);
        let refused = || TreeError::Refused { path: entry.path.clone(), why: "it was not offered as a file" };
        let row = row.filter(|_| entry.has_content()).ok_or_else(refused)?;
        Ok(Self { draft: Arc::clone(draft), row, entry: entry.clone(), buffer: Vec::new(), large: None })
    }

    /// Of a copy, the record says what the content is.
    fn is_what_was_copied(&self, content: &FileDigest) -> bool {
        self.draft.lock().table.row(self.row).and_then(super::table::Row::content).as_ref() == Some(content)
    }

    /// A full disk ends the writing for all.
    fn failed(&self, error: io::Error) -> TreeError {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            self.draft.fail("write", self.entry.path.as_bytes(), error);
            return TreeError::NoSpace { path: self.entry.path.clone() };
        }
        TreeError::from_io("write", &self.entry.path, error)
    }

    /// Hands the buffer over for writing, after what was handed over before is written.
    async fn write_piece(&mut self) -> Result<(), TreeError> {
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        let draft = Arc::clone(&self.draft);
        let (file, digest) = match &mut self.large {
            Some(large) => {
                let settled = large.settle().await;
                settled.map_err(|error| self.failed(error))?
            }
            None => {
                let path = self.entry.path.clone();
                let opener = Arc::clone(&draft);
                let (name, file) = blocking::run(move || opener.staging.temporary(&path), |error| error)
                    .await
                    .map_err(|error| self.failed(error))?;
                let draft = Arc::clone(&draft);
                self.large = Some(Large { name, written: 0, writing: None, draft, finished: false });
                (file, DigestBuilder::new())
            }
        };
        if let Some(large) = &mut self.large {
            large.written += piece.len() as u64;
            large.writing = Some(tokio::task::spawn_blocking(move || write(file, digest, &piece, &draft)));
        }
        Ok(())
    }
}

fn write(mut file: File, mut digest: DigestBuilder, piece: &[u8], draft: &Draft) -> io::Result<(File, DigestBuilder)> {
    draft.space.use_up(piece.len() as u64, 0)?;
    digest.update(piece);
    file.write_all(piece)?;
    Ok((file, digest))
}

impl Large {
    async fn settle(&mut self) -> io::Result<(File, DigestBuilder)> {
        match self.writing.take() {
            Some(writing) => writing.await.map_err(io::Error::other)?,
            None => Err(io::Error::other("an earlier write failed")),
        }
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        if !self.finished && self.written < WORTH_KEEPING {
            // One unlink of a small file; what is still being written goes with it.
            drop(handle::unlink_in(&self.draft.staging.tmp, &self.name));
        }
    }
}

#[async_trait]
impl FileSink for Incoming {
    async fn write(&mut self, chunk: Bytes) -> Result<(), TreeError> {
        self.draft.check()?;
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let limit = if self.large.is_some() { PIECE } else { MAX_IN_MEMORY };
            if self.buffer.len() >= limit {
                self.write_piece().await?;
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(limit - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            rest = later;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<FileDigest, TreeError> {
        self.draft.check()?;
        if self.large.is_some() && !self.buffer.is_empty() {
            self.write_piece().await?;
        }
        let (content, body) = match &mut self.large {
            Some(large) => {
                let name = large.name.clone();
                let (file, digest) = match large.settle().await {
                    Ok(settled) => settled,
                    Err(error) => return Err(self.failed(error)),
                };
                (digest.finish(), Body::File(name, file))
            }
            None => (FileDigest::of(&self.buffer), Body::Memory(std::mem::take(&mut self.buffer))),
        };
        if self.draft.copied.is_some() && !self.is_what_was_copied(&content) {
            return Err(TreeError::Damaged { path: self.entry.path.clone() });
        }
        let waiting = match &body {
            Body::Memory(bytes) => self.draft.room_for_content(bytes.len()).await,
            Body::File(..) => self.draft.room_for_content(0).await,
        };
        if waiting.is_none() {
            return self.draft.closed();
        }
        if !self.draft.lock().table.row(self.row).is_some_and(|row| row.has(WAITING)) {
            // Content for this entry came before: what is queued about it must be done first.
            self.draft.flush();
            let draft = Arc::clone(&self.draft);
            blocking::run(
                move || {
                    draft.queue.wait_idle();
                    Ok(())
                },
                |error| self.failed(error),
            )
            .await?;
        }
        self.draft.make_way().await?;
        // From here to the end nothing waits.
        if let Some(large) = &mut self.large {
            large.finished = true;
        }
        self.draft.keep(self.row, &self.entry, content, body, waiting);
        Ok(content)
    }
}

impl Draft {
    /// Records content as arrived and queues the work of keeping it.
    fn keep(
        &self,
        row: RowId,
        entry: &Entry,
        content: FileDigest,
        body: Body,
        room: Option<tokio::sync::OwnedSemaphorePermit>,
    ) {
        let path = entry.path.as_bytes();
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(kept) = state.table.row_mut(row) {
            kept.flags &= !(WAITING | LOST | STORED | SUCCEEDS);
            if self.copied.is_none() {
                let torn = if entry.len() == Some(content.len) { 0 } else { TORN };
                kept.flags = kept.flags & !TORN | torn;
            }
            kept.set_content(&content);
        }
        let old = self.base.as_ref().and_then(|base| base.table.row(base.table.find(path, state.near)?));
        let same = old.is_some_and(|old| {
            old.content() == Some(content) && stored_mode(old.mode()) == stored_mode(entry.meta.mode)
        });
        let mut record = Record { entry: entry.clone(), content: Some(content), marks: Marks::default() };
        record.entry.kind = EntryKind::File { len: content.len, hardlink_to: None };
        let keep =
            Keep { row, record, content, body, same: if same { SameAsBase::Yes } else { SameAsBase::No }, _room: room };
        let (parent, _) = handle::split(path);
        state.gather(parent, Op::Keep(Box::new(keep)), &self.queue);
    }

    /// Waits until so much more content may wait to be written.
    async fn room_for_content(&self, bytes: usize) -> Option<tokio::sync::OwnedSemaphorePermit> {
        if let Some(room) = self.queue.try_room_for_content(bytes) {
            return Some(room);
        }
        // What takes the room may be gathered and not yet handed over.
        self.flush();
        self.queue.room_for_content(bytes).await
    }
}
