//! A backup of a hosting account, over ssh and the rsync that is there, into a hard-link store.
//!
//! ```sh
//! cargo run --example backup -- /srv/backup alice alpha.example.net public_html
//! ```

#![allow(clippy::print_stdout, reason = "programs talk to people")]

use clonepanel_core::{
    filter::{Filter, Rule},
    job::BackupJob,
    observer::{Event, Observer},
    path::RelPath,
    snapshot_id::SourceName,
    time::SystemClock,
    transport::PullRequest,
};
use clonepanel_rsync::{RsyncTransport, SshConnect};
use clonepanel_store::HardLinkStore;
use std::{env, error::Error, sync::Arc};

/// Tells what happens while it happens.
struct Loud;

impl Observer for Loud {
    fn notice(&self, event: &Event<'_>) {
        match event {
            Event::Finished { path } => println!("{path}"),
            Event::Problem(problem) => println!("problem: {problem}"),
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [store, user, host, folder] = arguments.as_slice() else {
        return Err("give a store, a user, a host and a folder of the account".into());
    };

    let connect = SshConnect::new(host).user(user);
    let transport = RsyncTransport::new(connect, folder.as_bytes());
    let rules = vec![Rule::parse("cache/")?, Rule::parse("*.tmp")?];
    let request = PullRequest::new().filter(Filter::new(rules));

    let outcome = BackupJob::new(Arc::new(HardLinkStore::init(store)?), SourceName::new(host.as_str())?)
        .part(RelPath::try_from("files")?, Arc::new(transport), request)
        .run(&SystemClock, &Loud)
        .await?;

    let (info, tally) = (&outcome.info, &outcome.info.tally);
    println!("{} is {}: {} files, {} new bytes", info.id, info.state().word(), tally.files, tally.new_bytes);
    Ok(())
}
