//! A folder of the newest snapshot, written back to this machine.
//!
//! ```sh
//! cargo run --example restore -- /srv/backup example.org public_html ./restored
//! ```

#![allow(clippy::print_stdout, reason = "programs talk to people")]

use clonepanel_core::{job::RestoreJob, path::RelPath, snapshot_id::SourceName, store::SnapshotStore};
use clonepanel_store::{HardLinkStore, LocalTree};
use std::{env, error::Error};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [store, source, folder, target] = arguments.as_slice() else {
        return Err("give a store, a source, a folder of it and a folder to write to".into());
    };

    let store = HardLinkStore::open(store)?;
    let newest = store.list(&SourceName::new(source.as_str())?).await?.pop().ok_or("there is no snapshot of it")?;
    let path = RelPath::try_from("files")?.join(&RelPath::try_from(folder.as_str())?)?;

    let target = LocalTree::new(target);
    let outcome = RestoreJob::new(store.open(&newest.id).await?, path).run(&target, &()).await?;
    // Times of folders come last: writing into a folder changes its own.
    target.finish().await?;
    println!("restored {} files of {}", outcome.report.files, outcome.id);
    Ok(())
}
