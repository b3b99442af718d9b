//! Both workers over a narrow pipe, with credits that bind.

use super::{
    link::{Broken, Link},
    message,
    pump::{Manners, Pump, Throttle},
    receiver::{Got, Receiver, Tells},
    sender::Sender,
    session::drive,
};
use clonepanel_core::{
    memory::MemoryTree,
    path::RelPath,
    testkit::{differences, generator::Random},
    time::Timestamp,
    transport::PullRequest,
};
use std::time::Duration;
use tokio::runtime::Builder;

const HANGS: Duration = Duration::from_secs(120);

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..len.div_ceil(8)).flat_map(|_| random.number().to_le_bytes()).take(len).collect()
}

/// Files of several windows whose halves alternate between old and new, and names that cannot be read in between.
fn two_states(files: u64) -> (MemoryTree, MemoryTree) {
    let (older, newer) = (MemoryTree::new(), MemoryTree::new());
    for number in 0..files {
        let path = RelPath::try_from(format!("f{number:03}").as_str()).unwrap();
        let old = noise(5 << 19, number);
        let mut new = old.clone();
        new.chunks_mut(80_000).step_by(2).for_each(|piece| piece.copy_from_slice(&noise(piece.len(), 1000 + number)));
        new.extend_from_slice(b"longer");
        older.put_file(path.clone(), old, Timestamp::from_secs(1)).unwrap();
        newer.put_file(path, new, Timestamp::from_secs(2)).unwrap();
        for lost in 0..60 {
            let path = RelPath::try_from(format!("f{number:03}-lost-{lost:02}").as_str()).unwrap();
            newer.put_file(path.clone(), "cannot be read", Timestamp::from_secs(2)).unwrap();
            newer.forbid_reading(&path).unwrap();
        }
    }
    (older, newer)
}

/// Sends `newer` over `older`, through a pipe of so many bytes.
fn send(older: &MemoryTree, newer: &MemoryTree, pipe: usize, credit: usize) -> Got {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let request = PullRequest::new();
    let transfer = async {
        let (near, far) = tokio::io::duplex(pipe);
        let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (tokio::io::split(near), tokio::io::split(far));
        let receiver = async {
            let (link, ends) = Link::new();
            let mut pump = Pump::new(&mut near_in, &mut near_out, ends, Throttle::new(None), HANGS);
            let worker = async {
                let receiver = Receiver::new(older, &request, &(), Tells::Nobody, link).credit(credit);
                let (got, mut link) = receiver.run().await?;
                link.outbound.send(message::finished(&got.tally)).await?;
                link.outbound.flush().await?;
                Ok::<_, Broken>(got)
            };
            let got = drive(&mut pump, Manners::SpeakFirst, worker).await;
            pump.finish().await;
            got
        };
        let sender = async {
            let (link, ends) = Link::new();
            let mut pump = Pump::new(&mut far_in, &mut far_out, ends, Throttle::new(None), HANGS);
            let sender = Sender::new(newer, &request, &(), link).credit(credit);
            let sent = drive(&mut pump, Manners::SpeakFirst, sender.run()).await.map(drop);
            pump.finish().await;
            sent
        };
        let (got, sent) = tokio::join!(receiver, sender);
        sent.unwrap();
        got.unwrap()
    };
    runtime.block_on(async { tokio::time::timeout(HANGS, Box::pin(transfer)).await.expect("it hangs") })
}

fn check(files: u64, pipe: usize, credit: usize) {
    let (older, newer) = two_states(files);
    let got = send(&older, &newer, pipe, credit);
    assert_eq!(got.tally.files, files);
    assert!(got.tally.matched_bytes > 0 && got.tally.literal_bytes > 0, "{:?}", got.tally);
    assert_eq!(got.problems.total(), files * 60);
    let differences = differences(&newer, &older);
    assert!(differences.iter().all(|difference| difference.contains("-lost-")), "{differences:?}");
}

/// A signature is counted until the last window at both ends, or an honest end would be called a liar.
#[test]
fn more_signatures_than_the_credit() {
    // Two of them at most, and twelve files of three windows.
    check(12, 1 << 10, 60_000);
}

/// Large signatures one way and windows the other, with no room in between.
#[test]
fn both_directions_are_saturated() {
    check(12, 1 << 10, 16 << 20);
}
