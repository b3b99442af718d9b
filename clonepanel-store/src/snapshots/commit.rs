//! Makes a snapshot visible.

use super::{
    copy::{self, RecordSum},
    draft::Draft,
    format::sync_dir,
    place::MANIFEST,
    queue::Batch,
    remove::remove_tree,
    settle::{Settled, settle},
    store::Root,
    table::{CARRIED, LOST, RowId, RowKind, STORED, SUCCEEDS, Table, UNCHANGED},
    work::Op,
    writer::Writer,
};
use crate::{
    blocking::Stop,
    handle,
    snapshots::staging::{Staging, TREE, random_name},
};
use clonepanel_core::{
    entry::EntryKind,
    manifest::Encoder,
    path::RelPath,
    problem::{Problem, ProblemKind, Problems},
    snapshot_id::SnapshotId,
    store::{Seal, SnapshotInfo, SnapshotState, StoreError, Tally},
    suspicion,
    tree::TreeError,
};
use rustix::{fd::OwnedFd, fs::RenameFlags, io::Errno};
use std::{
    collections::{HashMap, HashSet},
    io::Write as _,
    sync::Arc,
};

/// Work is handed over in batches of this size.
const BATCH: usize = 256;
/// The manifest is written in pieces of about this length.
const PIECE: usize = 256 << 10;

/// Completes the snapshot and publishes it with one rename.
///
/// The order: everything in the tree; `syncfs`; the manifest under a temporary name, synced; its name; the directory synced;
/// the rename of the whole; both parents synced. What comes after that (the content index, `latest`, tidying up) may be cut
/// short without harm.
pub(crate) fn commit(writer: Writer, seal: Seal, stop: &Stop) -> Result<SnapshotInfo, StoreError> {
    let draft = Arc::clone(&writer.draft);
    let (now, source_clock, mut problems, rules) = seal.into_parts();
    draft.flush();
    finish_queue(&draft, stop)?;
    let (mut dropped, groups) = if draft.copied.is_some() {
        if let Some(path) = copy::first_missing(&draft) {
            return Err(StoreError::Damaged { id: writer.id.clone(), path });
        }
        (HashSet::new(), std::mem::take(&mut draft.lock().groups))
    } else {
        let Settled { mut dropped, groups, ops } = settle(&draft, &mut problems);
        run(&draft, ops, stop)?;
        drop_lost(&draft, &mut dropped, &mut problems);
        (dropped, groups)
    };
    link_groups(&draft, &groups, &mut dropped, &mut problems, stop)?;
    if draft.copied.is_some() && !dropped.is_empty() {
        let path = problems.listed().first().map(|problem| problem.path.clone()).unwrap_or_default();
        return Err(StoreError::Damaged { id: writer.id.clone(), path });
    }

    let table = Arc::new(draft.lock().take_table());
    let order: Vec<RowId> = table.sorted().into_iter().filter(|id| !dropped.contains(id)).collect();
    let dressed = order.iter().filter(|&&id| {
        let path = table.path(id);
        table.row(id).is_some_and(|row| row.kind == RowKind::Dir) && !path.is_empty() && draft.places.is_plain(path)
    });
    run(&draft, dressed.map(|&row| Op::Dress { table: Arc::clone(&table), row }), stop)?;

    let base = draft.base.as_ref().map(|base| &base.info);
    let tally = tally(&draft, &table, &order);
    let made = SnapshotInfo {
        id: writer.id.clone(),
        begun: writer.begun,
        committed: now,
        source_clock,
        base: base.map(|base| base.id.clone()),
        tally,
        problems,
        suspicions: suspicion::judge(&rules, base, &tally),
    };
    let info = draft.copied.clone().unwrap_or(made);
    let failed = |error| StoreError::from_io("write the snapshot", error);
    rustix::fs::syncfs(&draft.staging.tree).map_err(|error| failed(error.into()))?;
    let written = write_manifest(&draft.staging, &info, &table, &order, &groups).map_err(failed)?;
    if draft.copied.is_some() && written != draft.lock().offered {
        return Err(StoreError::Damaged { id: writer.id.clone(), path: RelPath::root() });
    }
    if let Some(root) = table.row(order.first().copied().unwrap_or_default()).filter(|_| is_root(&table, &order)) {
        handle::set_mtime(&draft.staging.tree, b".", root.mtime()).map_err(failed)?;
    }
    if stop.is_set() {
        return Err(failed(std::io::ErrorKind::Interrupted.into()));
    }
    let replaces = if draft.copied.is_some() { Replaces::WhatIsDamaged } else { Replaces::Nothing };
    publish(&writer.root, &draft.staging, &writer.id, replaces).map_err(failed)?;

    // The snapshot exists: nothing from here on can change that.
    let stored = order.iter().filter(|&&id| table.row(id).is_some_and(|row| row.has(STORED)));
    drop(run(&draft, stored.map(|&row| Op::Index { table: Arc::clone(&table), row }), stop));
    if info.state() == SnapshotState::Complete && !writer.root.leads_later(&info.id) {
        drop(writer.root.point_latest(&info.id));
    }
    tidy(&writer.root, &draft);
    Ok(info)
}

fn is_root(table: &Table, order: &[RowId]) -> bool {
    order.first().is_some_and(|&first| table.path(first).is_empty())
}

fn finish_queue(draft: &Draft, stop: &Stop) -> Result<(), StoreError> {
    draft.queue.wait_idle();
    match draft.check() {
        Err(TreeError::NoSpace { .. }) => return Err(StoreError::NoSpace { what: draft.shortage() }),
        other => other?,
    }
    if stop.is_set() {
        return Err(StoreError::from_io("commit the snapshot", std::io::ErrorKind::Interrupted.into()));
    }
    Ok(())
}

/// Lets the workers do all of this, and waits for them.
fn run(draft: &Draft, ops: impl IntoIterator<Item = Op>, stop: &Stop) -> Result<(), StoreError> {
    let mut ops = ops.into_iter();
    loop {
        let batch: Vec<_> = ops.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return finish_queue(draft, stop);
        }
        draft.queue.push_waiting(Batch { ops: batch, _room: None });
    }
}

/// Leaves out what could not be put on its place.
fn drop_lost(draft: &Draft, dropped: &mut HashSet<RowId>, problems: &mut Problems) {
    let state = draft.lock();
    for id in state.table.ids() {
        if state.table.row(id).is_some_and(|row| row.has(LOST)) && dropped.insert(id) {
            push_failed(problems, state.table.path(id), "its stored copy is gone or damaged");
        }
    }
}

fn push_failed(problems: &mut Problems, path: &[u8], why: &str) {
    if let Ok(path) = RelPath::try_from(path) {
        problems.push(Problem::new(path, ProblemKind::Failed, why));
    }
}

/// Gives the further names of each group the content of the first.
fn link_groups(
    draft: &Draft,
    groups: &[(RowId, RowId)],
    dropped: &mut HashSet<RowId>,
    problems: &mut Problems,
    stop: &Stop,
) -> Result<(), StoreError> {
    let mut ops = Vec::new();
    let mut state = draft.lock();
    for &(row, first) in groups {
        let content = state.table.row(first).and_then(|first| Some((first.content()?, first.mode())));
        match content.filter(|_| !dropped.contains(&first)) {
            Some((content, mode)) => {
                if let Some(row) = state.table.row_mut(row) {
                    row.set_content(&content);
                }
                ops.push(Op::Name { row, first, content, mode });
            }
            None => {
                dropped.insert(row);
                push_failed(problems, state.table.path(row), "the file that it is a further name of is gone");
            }
        }
    }
    drop(state);
    run(draft, ops, stop)?;
    drop_lost(draft, dropped, problems);
    Ok(())
}

/// Counts what is in the snapshot, and compares it with the base: both are sorted.
fn tally(draft: &Draft, table: &Table, order: &[RowId]) -> Tally {
    let base = draft.base.as_ref().map(|base| &*base.table);
    let mut tally = Tally::default();
    let mut near = None;
    let mut kept = 0;
    for &id in order {
        let Some(row) = table.row(id) else { continue };
        if !row.is_file() {
            *(if row.kind == RowKind::Dir { &mut tally.dirs } else { &mut tally.others }) += 1;
            continue;
        }
        tally.files += 1;
        tally.bytes += row.len;
        let old = base.and_then(|base| {
            let old = base.find(table.path(id), near)?;
            near = Some(old);
            base.row(old)
        });
        let old = old.filter(|old| old.is_file());
        kept += u64::from(old.is_some());
        // A further copy, because the one that is here has no links left, is no new content.
        if row.has(STORED) && !row.has(SUCCEEDS) && old.is_none_or(|old| old.content() != row.content()) {
            tally.new_bytes += row.len;
        }
        if let Some(old) = old
            && !row.has(CARRIED)
            && !row.has(UNCHANGED)
        {
            tally.confirmed_files += u64::from(old.content() == row.content());
        }
        *match old {
            _ if row.has(CARRIED) => &mut tally.carried_files,
            Some(_) if row.has(UNCHANGED) => &mut tally.unchanged_files,
            Some(_) => &mut tally.changed_files,
            None => &mut tally.added_files,
        } += 1;
    }
    let old_files =
        base.map_or(0, |base| base.ids().filter(|&id| base.row(id).is_some_and(|row| row.is_file())).count());
    tally.removed_files = (old_files as u64).saturating_sub(kept);
    tally
}

fn write_manifest(
    staging: &Staging,
    info: &SnapshotInfo,
    table: &Table,
    order: &[RowId],
    groups: &[(RowId, RowId)],
) -> std::io::Result<RecordSum> {
    const NEW: &[u8] = b"manifest.new";
    let firsts = first_names(order, groups);
    handle::unlink_in(&staging.dir, NEW)?;
    let mut file = handle::create_in(&staging.dir, NEW, 0o600)?;
    let mut text = Vec::with_capacity(PIECE + 8192);
    let mut encoder = Encoder::new(info, &mut text);
    let mut sum = RecordSum::default();
    for &id in order {
        let Some(mut record) = table.record(id) else { continue };
        if let EntryKind::File { hardlink_to, .. } = &mut record.entry.kind {
            *hardlink_to = match firsts.get(&id) {
                Some(&first) if first != id => RelPath::try_from(table.path(first)).ok(),
                _ => None,
            };
        }
        let start = text.len();
        encoder.record(&record, &mut text).map_err(std::io::Error::other)?;
        sum.add(text.get(start..).unwrap_or_default());
        if text.len() >= PIECE {
            file.write_all(&text)?;
            text.clear();
        }
    }
    encoder.finish(&mut text);
    file.write_all(&text)?;
    file.sync_all()?;
    rustix::fs::renameat(&staging.dir, NEW, &staging.tree, MANIFEST)?;
    sync_dir(&staging.tree)?;
    Ok(sum)
}

/// For each file of a hard-link group the name that stands for the group: the first in the order of paths, whichever was
/// listed first.
fn first_names(order: &[RowId], groups: &[(RowId, RowId)]) -> HashMap<RowId, RowId> {
    let leader: HashMap<RowId, RowId> = groups.iter().flat_map(|&(id, first)| [(id, first), (first, first)]).collect();
    let mut standing: HashMap<RowId, RowId> = HashMap::new();
    let mut names = HashMap::new();
    for &id in order {
        if let Some(&group) = leader.get(&id) {
            names.insert(id, *standing.entry(group).or_insert(id));
        }
    }
    names
}

/// What may be in the place of a new snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replaces {
    Nothing,
    /// A snapshot without a whole manifest, of which this is a copy: whoever began it has seen to that.
    WhatIsDamaged,
}

fn publish(root: &Root, staging: &Staging, id: &SnapshotId, replaces: Replaces) -> std::io::Result<()> {
    let source = handle::made_dir_in(&root.dir, id.source().as_str().as_bytes())?;
    sync_dir(&root.dir)?;
    match rustix::fs::renameat(&staging.dir, TREE, &source, id.stem()) {
        Err(Errno::NOTEMPTY | Errno::EXIST) if replaces == Replaces::WhatIsDamaged => {
            replace(root, staging, &source, id)?;
        }
        other => other?,
    }
    sync_dir(&source)?;
    sync_dir(&staging.dir)
}

/// Puts the snapshot into the place of a damaged one, which goes to the trash.
fn replace(root: &Root, staging: &Staging, source: &OwnedFd, id: &SnapshotId) -> std::io::Result<()> {
    let old = random_name();
    match rustix::fs::renameat_with(&staging.dir, TREE, source, id.stem(), RenameFlags::EXCHANGE) {
        // What cannot be moved goes with the staging folder.
        Ok(()) => {
            rustix::fs::renameat(&staging.dir, TREE, &root.trash, old).ok();
        }
        // Not every file system can: all of the new one is on the disk when the old one goes.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            rustix::fs::renameat(source, id.stem(), &root.trash, &old)?;
            if let Err(error) = rustix::fs::renameat(&staging.dir, TREE, source, id.stem()) {
                rustix::fs::renameat(&root.trash, &old, source, id.stem()).ok();
                return Err(error.into());
            }
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Removes the staging folder, and what was adopted from an interrupted run.
fn tidy(root: &Root, draft: &Draft) {
    let adopted = draft.adopted.as_ref().map(|adopted| &*adopted.name);
    for name in [Some(&*draft.staging.name), adopted].into_iter().flatten() {
        // What stays is removed by the next run.
        drop(remove_tree(&root.staging, name, root.options.threads(), &Stop::default()));
    }
}
