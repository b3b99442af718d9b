//! What runs that ended early left in `staging`: taken over by the next run of their source, or removed.

use super::{
    adopt::Adopted,
    draft::Base,
    lock::SourceLock,
    remove::remove_tree,
    staging::{COPY, JOURNAL, Makes, OWNER, Staging, random_name},
    store::{Root, is_full},
};
use crate::{blocking::Stop, handle};
use clonepanel_core::{
    snapshot_id::SourceName,
    store::{NewSnapshot, StoreError},
    time::Timestamp,
};
use rustix::fd::OwnedFd;
use std::{
    io::{self, Read as _},
    time::Duration,
};

/// Ends the name of a staging folder whose run found the disk full.
const FULL: &[u8] = b".full";
/// What an interrupted run of a source left behind is kept so long for the next run of that source.
const KEEP: Duration = Duration::from_hours(24 * 7);
/// A folder that says nothing about its owner is left alone so long, as somebody may just be making it.
const UNOWNED: Duration = Duration::from_hours(1);
const MAX_OWNER_LEN: u64 = 1024;

/// A folder in `staging`; whether a living run works in it is for the locks to tell.
#[derive(Debug)]
struct Leftover {
    name: Vec<u8>,
    /// Whose it is; nobody's if its maker died at once, or somebody died removing it.
    source: Option<SourceName>,
    begun: Timestamp,
    makes: Makes,
    /// Length of its journal in bytes.
    journal: u64,
}

impl Leftover {
    fn all(staging: &OwnedFd) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for name in handle::names_in(handle::listed_dir_in(staging, b".")?)? {
            let (source, begun, makes, journal) = look_at(staging, &name.name).unwrap_or_default();
            found.push(Self { name: name.name.into(), source, begun, makes, journal });
        }
        Ok(found)
    }

    fn is_full(&self) -> bool {
        self.name.ends_with(FULL)
    }
}

fn look_at(staging: &OwnedFd, name: &[u8]) -> io::Result<(Option<SourceName>, Timestamp, Makes, u64)> {
    let dir = handle::dir_in(staging, name)?;
    let mut text = String::new();
    handle::file_in(&dir, OWNER)?.take(MAX_OWNER_LEN).read_to_string(&mut text)?;
    let mut lines = text.lines();
    let source = lines.next().and_then(|line| SourceName::new(line).ok());
    let begun = lines
        .next()
        .and_then(|line| line.split_once('.'))
        .and_then(|(secs, nanos)| Some(Timestamp::new(secs.parse().ok()?, nanos.parse().ok()?)));
    let makes = if lines.next() == Some(COPY.trim_end()) { Makes::Copy } else { Makes::Backup };
    let journal = handle::stat_in(&dir, JOURNAL)?.map_or(0, |stat| handle::len(&stat));
    Ok((source, begun.unwrap_or_default(), makes, journal))
}

impl Root {
    /// Takes over what interrupted runs of this source left, and removes the rest of it. The caller holds the source's lock.
    /// Nothing here can fail the run: what cannot be read is not taken over, what cannot be removed stays.
    pub(super) fn adopt(&self, source: &SourceName, new: &NewSnapshot, stop: &Stop) -> Option<Adopted> {
        let mut all = Leftover::all(&self.staging).unwrap_or_default();
        all.sort_by_key(|left| std::cmp::Reverse(left.journal));
        let makes = Makes::of(new);
        let mut own =
            all.iter().filter(|left| left.source.as_ref() == Some(source) && left.makes == makes && left.journal > 0);
        let adopted = own.find_map(|left| {
            self.may_be_adopted(left).then(|| Adopted::read(&self.staging, &left.name, left.begun)).flatten()
        });
        let kept = adopted.as_ref().map(|adopted| &*adopted.name);
        for left in all.iter().filter(|left| kept != Some(&*left.name)) {
            match &left.source {
                Some(other) if other == source => self.retire(&left.name),
                Some(_) if new.now().since(left.begun) <= KEEP => {}
                _ => self.retire_others(left),
            }
        }
        drop(self.empty_trash(stop));
        adopted
    }

    /// Checks the free space. What runs left that found the disk full goes if there is too little, and what this run would
    /// take over goes in the end.
    pub(super) fn make_room(
        &self,
        base: Option<&Base>,
        adopted: Option<Adopted>,
        stop: &Stop,
    ) -> Result<Option<Adopted>, StoreError> {
        let Err(StoreError::NoSpace { .. }) = self.check_space(base) else { return Ok(adopted) };
        self.retire_full();
        drop(self.empty_trash(stop));
        match (self.check_space(base), adopted) {
            (Err(StoreError::NoSpace { .. }), Some(adopted)) => {
                self.give_up(adopted, stop);
                self.check_space(base).map(|()| None)
            }
            (result, adopted) => result.map(|()| adopted),
        }
    }

    /// Makes the staging folder. What an interrupted run left gives way if there is no room for both.
    pub(super) fn stage(
        &self,
        adopted: Option<Adopted>,
        source: &SourceName,
        new: &NewSnapshot,
        stop: &Stop,
    ) -> io::Result<(Option<Adopted>, Staging)> {
        let create = || Staging::create(&self.staging, source, new.now(), Makes::of(new));
        match (create(), adopted) {
            (Err(error), Some(adopted)) if is_full(&error) => {
                self.give_up(adopted, stop);
                Ok((None, create()?))
            }
            (staging, adopted) => Ok((adopted, staging?)),
        }
    }

    /// Marks the staging folder of a run that found the disk full: a rename, which needs no space.
    pub(crate) fn mark_full(&self, name: &[u8]) {
        rustix::fs::renameat(&self.staging, name, &self.staging, [name, FULL].concat()).ok();
    }

    /// Moves to the trash what dead runs left that found the disk full.
    pub(super) fn retire_full(&self) {
        for left in Leftover::all(&self.staging).unwrap_or_default().iter().filter(|left| left.is_full()) {
            self.retire_others(left);
        }
    }

    /// One that filled the disk up would do it again if the next run started with all it had.
    fn may_be_adopted(&self, left: &Leftover) -> bool {
        !left.is_full() || self.space().is_ample().unwrap_or(false)
    }

    /// Retires what is not of this run's source, if no run is at work in it.
    fn retire_others(&self, left: &Leftover) {
        match &left.source {
            // The lock is held until the folder is out of the way of that source's next run.
            Some(source) => {
                if let Ok(Some(_lock)) = SourceLock::try_take(&self.locks, source) {
                    self.retire(&left.name);
                }
            }
            // Either just being made by somebody, or left by one who died at that moment.
            None if left.is_full() || self.was_left_alone(&left.name) => self.retire(&left.name),
            None => {}
        }
    }

    /// Moves a folder to the trash, where it is nobody's any more. Where that needs space that is not there, it is removed on
    /// the spot. What fails is made up for by another run.
    fn retire(&self, name: &[u8]) {
        if rustix::fs::renameat(&self.staging, name, &self.trash, random_name()).is_err() {
            drop(remove_tree(&self.staging, name, self.options.threads(), &Stop::default()));
        }
    }

    fn give_up(&self, adopted: Adopted, stop: &Stop) {
        self.retire(&adopted.name);
        // Its open handles would keep the space.
        drop(adopted);
        drop(self.empty_trash(stop));
    }

    fn was_left_alone(&self, name: &[u8]) -> bool {
        let now = Timestamp::from(std::time::SystemTime::now());
        let changed = handle::stat_in(&self.staging, name).ok().flatten().map(|stat| handle::ctime(&stat));
        changed.is_some_and(|changed| now.since(changed) > UNOWNED)
    }
}
