//! T1, T2, T3, T7: what a pull brings, and what it leaves.

use super::{
    super::store::hold,
    fixture::{TransportFixture, Watched, content_bytes, old, pull, suitable, tree_of},
};
use crate::{
    filter::{Filter, Rule},
    memory::MemoryTree,
    testkit::{differences, generator::Random, owner_differences, path},
    transport::{PullRequest, TransferReport},
    tree,
};

/// T1: the sink ends up with exactly what [`tree::copy`] of the same tree would give it.
pub async fn t1_a_pull_is_a_copy(fixture: &dyn TransportFixture) {
    for seed in 0..3 {
        fixture.place(&suitable(fixture, "T1", seed)).await;
        let far = fixture.far().await;
        let (pulled, copied) = (MemoryTree::new(), MemoryTree::new());
        tree::copy(&far, &copied, &()).await.expect("copy a tree");
        let report = pull(fixture, &pulled).await;
        hold!("T1", report.is_ok(), "a pull fails: {report:?}");
        let report = report.unwrap_or_default();
        for (left, what) in [(&far, "the far end"), (&copied, "its copy")] {
            let differences = [differences(left, &pulled), owner_differences(left, &pulled)].concat();
            hold!("T1", differences.is_empty(), "the sink differs from {what}: {differences:?}");
        }
        hold!("T1", report.problems.is_empty(), "there are problems: {:?}", report.problems);
        let files = far.list().iter().filter(|entry| entry.has_content()).count() as u64;
        let bytes = report.literal_bytes + report.matched_bytes;
        hold!("T1", report.files == files, "{} files are reported, {files} were transferred", report.files);
        hold!("T1", bytes == content_bytes(&far), "{bytes} bytes are reported of {}", content_bytes(&far));
    }
}

/// T2: for a file that the sink answers with `Nothing`, no content travels.
pub async fn t2_unchanged_files_do_not_travel(fixture: &dyn TransportFixture) {
    fixture.place(&suitable(fixture, "T2", 1)).await;
    let here = fixture.far().await;
    let watched = Watched::new(&here, &());
    let report = pull(fixture, &watched).await.expect("pull a tree");
    hold!("T2", watched.opened().is_empty(), "unwanted contents arrived: {:?}", watched.opened());
    hold!("T2", (report.files, report.literal_bytes) == (0, 0), "unwanted contents travelled: {report:?}");

    let far = fixture.far().await;
    let changed = far.list().into_iter().find(|entry| entry.has_content()).expect("a file").path;
    far.write(&changed, "a new content", old(500)).expect("the file is there");
    fixture.place(&far).await;
    let here = here.fork();
    let watched = Watched::new(&here, &());
    let report = pull(fixture, &watched).await.expect("pull a tree");
    hold!(
        "T2",
        watched.opened() == [changed.clone()],
        "{changed} has changed, and there arrived {:?}",
        watched.opened()
    );
    hold!("T2", report.files == 1, "one file has changed, and {} travelled", report.files);
    let differences = differences(&fixture.far().await, &here);
    hold!("T2", differences.is_empty(), "the sink differs: {differences:?}");
}

/// T3: for a changed file with a basis, far less than the file travels.
pub async fn t3_changed_files_travel_in_part(fixture: &dyn TransportFixture) {
    let mut random = Random::new(3);
    let mut content = Vec::new();
    while content.len() < 1 << 20 {
        content.extend_from_slice(&random.number().to_le_bytes());
    }
    let here = tree_of(&[("changed", &content)]);
    content[500_000..500_100].fill(b'!');
    content.extend_from_slice(&[b'+'; 1000]);
    let far = here.fork();
    far.write(&path("changed"), content.clone(), old(9)).expect("the file is there");
    fixture.place(&far).await;

    let report = pull(fixture, &here).await.expect("pull a tree");
    let TransferReport { literal_bytes, matched_bytes, .. } = report;
    let len = content.len() as u64;
    hold!("T3", here.content(&path("changed")).is_some_and(|here| here == content), "the content is not right");
    hold!("T3", literal_bytes + matched_bytes == len, "{literal_bytes} + {matched_bytes} bytes are not {len}");
    hold!("T3", literal_bytes < len / 8, "{literal_bytes} of {len} bytes travelled for a small change");
}

/// T7: excluded paths are neither offered nor read, nor are those that were not asked for.
pub async fn t7_excluded_paths_stay_away(fixture: &dyn TransportFixture) {
    let far = tree_of(&[
        ("cache/inside", b"excluded with its directory"),
        ("kept/file", b"kept"),
        ("kept/deeper/file", b"kept too"),
        ("kept/deeper/file.tmp", b"excluded by its name"),
        ("unasked/file", b"not asked for in the second pull"),
        ("way/to/wanted/file", b"reached by the way"),
        ("way/to/sibling", b"beside the way"),
    ]);
    fixture.place(&far).await;
    let rules = ["*.tmp", "/cache/"].map(|rule| Rule::parse(rule).expect("a valid rule"));
    let filter = Filter::new(rules.to_vec());
    let all = PullRequest::new().filter(filter);
    let some = all.clone().paths(["kept", "way/to/wanted"].map(path).to_vec());
    for (request, left_out) in [
        (all, &["cache", "cache/inside", "kept/deeper/file.tmp"][..]),
        (some, &["cache", "cache/inside", "kept/deeper/file.tmp", "unasked", "unasked/file", "way/to/sibling"]),
    ] {
        let expected = far.fork();
        for name in left_out {
            expected.remove(&path(name));
        }
        let here = MemoryTree::new();
        let watched = Watched::new(&here, &());
        let transport = fixture.transport().await;
        let report = transport.pull(&request, &watched, &()).await.expect("pull a part of a tree");
        // Whether the root itself is listed when only parts are asked for is left to the transport.
        let offered: Vec<_> = watched.offered().into_iter().filter(|path| !path.is_root()).collect();
        let due: Vec<_> = expected.list().into_iter().map(|entry| entry.path).filter(|path| !path.is_root()).collect();
        hold!("T7", offered == due, "offered were {offered:?}, due were {due:?}");
        let (read, due) = (report.literal_bytes, content_bytes(&expected));
        hold!("T7", read == due, "{read} bytes were read, {due} were due");
    }
}
