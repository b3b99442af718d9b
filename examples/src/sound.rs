//! [`list_sound`]: the snapshots of a site, also when one of them is damaged.

use clonepanel_core::{
    snapshot_id::{SnapshotId, SourceName},
    store::{SnapshotInfo, SnapshotStore, StoreError},
};
use clonepanel_store::HardLinkStore;
use std::{fs, path::Path};

/// The snapshots that can be read, oldest first, and the ids of those that cannot.
pub(crate) async fn list_sound(
    store: &HardLinkStore,
    root: &Path,
    site: &SourceName,
) -> Result<(Vec<SnapshotInfo>, Vec<SnapshotId>), StoreError> {
    match store.list(site).await {
        Err(StoreError::Damaged { .. }) => {}
        listed => return Ok((listed?, Vec::new())),
    }
    // One damaged manifest fails the list as a whole: each snapshot by itself, as the folder has them.
    let failed = |error| StoreError::from_io("list the snapshots", error);
    let (mut ids, mut sound, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
    for entry in fs::read_dir(root.join(site.as_str())).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        ids.extend(name.to_str().and_then(|stem| SnapshotId::parse_stem(site.clone(), stem).ok()));
    }
    ids.sort();
    for id in ids {
        match store.open(&id).await {
            Ok(reader) => sound.push(reader.info().clone()),
            Err(StoreError::Damaged { .. }) => damaged.push(id),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((sound, damaged))
}
