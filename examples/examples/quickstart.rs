//! A backup, a second one, and a look at both: all in memory, nothing to install.
//!
//! ```sh
//! cargo run --example quickstart
//! ```

#![allow(clippy::print_stdout, reason = "programs talk to people")]

use clonepanel_core::{
    job::BackupJob,
    memory::{MemoryStore, MemoryTransport, MemoryTree},
    path::RelPath,
    snapshot_id::SourceName,
    store::SnapshotStore,
    time::{Clock, SystemClock},
    transport::PullRequest,
};
use std::{error::Error, sync::Arc};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The far end: any `Transport` will do. This one shows a tree in memory.
    let site = MemoryTree::new();
    let (index, about) = (RelPath::try_from("index.html")?, RelPath::try_from("about.html")?);
    site.put_file(index.clone(), "<h1>Welcome</h1>", SystemClock.now())?;
    site.put_file(about.clone(), "<h1>About us</h1>", SystemClock.now())?;

    // The store: any `SnapshotStore` will do.
    let store = Arc::new(MemoryStore::new());
    let source = SourceName::new("example.org")?;
    let files = RelPath::try_from("files")?;
    let job = BackupJob::new(store.clone(), source.clone()).part(
        files.clone(),
        Arc::new(MemoryTransport::new(site.clone())),
        PullRequest::new(),
    );

    let first = job.run(&SystemClock, &()).await?;
    println!("{}: {} files, {} new bytes", first.info.id, first.info.tally.files, first.info.tally.new_bytes);

    // A night later: one file is written, one is gone.
    site.write(&index, "<h1>Welcome back</h1>", SystemClock.now())?;
    site.remove(&about);
    let second = job.run(&SystemClock, &()).await?;
    println!("{}: {} files, {} new bytes", second.info.id, second.info.tally.files, second.info.tally.new_bytes);

    // Nothing is lost: the older snapshot still has what is gone.
    let oldest = store.list(&source).await?.into_iter().next().ok_or("no snapshot")?;
    let mut content = store.open(&oldest.id).await?.open(&files.join(&about)?).await?;
    while let Some(piece) = content.read().await? {
        println!("{about} of {}: {}", oldest.id, String::from_utf8_lossy(&piece));
    }
    Ok(())
}
