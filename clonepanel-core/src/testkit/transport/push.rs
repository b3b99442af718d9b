//! T9 to T12: what a push writes and deletes.

use super::{
    super::store::hold,
    fixture::{Lack, TransportFixture, fit, leave_out, suitable, tree_of},
};
use crate::{
    entry::EntryMeta,
    filter::{Filter, Rule},
    memory::MemoryTree,
    path::RelPath,
    testkit::{
        differences,
        generator::{Shape, edit},
        path,
    },
    transport::{Comparison, Deletion, PushRequest, TransferReport, TransportError},
};

/// T9: after a push, the far end holds every entry of the source, exactly.
pub async fn t9_a_push_is_exact(fixture: &dyn TransportFixture) {
    if reads_only(fixture, "T9").await {
        return;
    }
    let mut request = PushRequest::new();
    fixture.place(&MemoryTree::new()).await;
    for seed in 0..4 {
        let tree = suitable(fixture, "T9", seed);
        if seed > 0 {
            // Over an older state of the same tree, in which anything may be of another kind.
            let older = edit(&tree, &Shape::new().longest(70_000), seed);
            fit(fixture, "T9", &older);
            fixture.place(&older).await;
            request = PushRequest::new().deletion(Deletion::UpTo(u64::MAX));
        }
        let report = fixture.transport().await.push(&request, &tree, &()).await;
        hold!("T9", report.is_ok(), "a push fails: {report:?}");
        let problems = report.unwrap_or_default().problems;
        hold!("T9", problems.is_empty(), "there are problems: {problems:?}");
        let differences = differences(&tree, &fixture.far().await);
        hold!("T9", differences.is_empty(), "the far end differs: {differences:?}");
    }
}

/// T10: nothing is deleted at the far end unless the request says so, and never more than it allows.
pub async fn t10_nothing_is_deleted_unasked(fixture: &dyn TransportFixture) {
    if reads_only(fixture, "T10").await {
        return;
    }
    let source = tree_of(&[("shared/file", b"in both"), ("only here", b"to be pushed")]);
    let far = tree_of(&[
        ("shared/file", b"an older version"),
        ("shared/extra", b"only there"),
        ("extra/one", b"only there"),
        ("extra/two", b"only there"),
        ("kept/by.filter", b"only there, and excluded"),
    ]);
    far.set_meta(&path("shared/file"), &EntryMeta { mode: 0o644, ..Default::default() }).expect("a file");
    let filter = Filter::new(vec![Rule::parse("by.filter").expect("a valid rule")]);
    let request = PushRequest::new().filter(filter);
    let extras = ["shared/extra", "extra/one", "extra/two", "extra", "kept/by.filter", "kept"].map(path);
    // Of the six, the filter keeps the last two; beside them there are "shared" and the file in it.
    for (deletion, share, deleted, left) in [
        (Deletion::Keep, 100, 0, 6),
        (Deletion::UpTo(3), 100, 0, 6),
        (Deletion::UpTo(u64::MAX), 49, 0, 6),
        (Deletion::UpTo(4), 50, 4, 2),
        (Deletion::UpTo(0), 100, 0, 6),
    ] {
        fixture.place(&far).await;
        let report = fixture
            .transport()
            .await
            .push(&request.clone().deletion(deletion).deletion_share(share), &source, &())
            .await;
        hold!("T10", report.is_ok(), "a push with {deletion:?} fails: {report:?}");
        let TransferReport { deleted: counted, problems, .. } = report.unwrap_or_default();
        let now = fixture.far().await;
        let still = extras.iter().filter(|path| now.entry(path).is_some()).count();
        hold!("T10", still == left, "with {deletion:?}, {still} of the entries only there are left, not {left}");
        hold!("T10", counted == deleted, "with {deletion:?}, {counted} entries are said to be deleted, not {deleted}");
        let refused = deletion != Deletion::Keep && deleted == 0;
        hold!("T10", refused != problems.is_empty(), "with {deletion:?}, the problems are {problems:?}");
        for (name, content) in [("shared/file", "in both"), ("only here", "to be pushed")] {
            let arrived = now.content(&path(name));
            hold!("T10", arrived.as_deref() == Some(content.as_bytes()), "with {deletion:?}, {name} is {arrived:?}");
        }
    }
}

/// T11: when only some paths are wanted, nothing beside them is written or deleted.
pub async fn t11_only_wanted_paths_are_touched(fixture: &dyn TransportFixture) {
    if reads_only(fixture, "T11").await {
        return;
    }
    let source =
        tree_of(&[("a/changed", b"new"), ("a/added", b"new"), ("b/y", b"new"), ("c/d/z", b"new"), ("top", b"new")]);
    source.set_meta(&RelPath::root(), &EntryMeta { mode: 0o700, ..Default::default() }).expect("the root");
    let far = tree_of(&[
        ("a/changed", b"an older version"),
        ("a/extra", b"only there"),
        ("b/extra", b"only there"),
        ("c/extra", b"only there"),
        ("c/d/extra", b"only there"),
        ("f", b"only there"),
    ]);
    fixture.place(&far).await;
    let request = PushRequest::new().paths(vec![path("a"), path("c/d")]).deletion(Deletion::UpTo(2));
    let report = fixture.transport().await.push(&request, &source, &()).await;
    hold!("T11", report.is_ok(), "a push fails: {report:?}");
    let TransferReport { deleted, problems, .. } = report.unwrap_or_default();
    hold!("T11", problems.is_empty(), "there are problems: {problems:?}");
    let now = fixture.far().await;
    let files = now.list().into_iter().filter(|entry| entry.len().is_some());
    let files: Vec<_> = files.map(|entry| entry.path.to_string()).collect();
    let expected = ["a/added", "a/changed", "b/extra", "c/d/z", "c/extra", "f"];
    hold!("T11", files == expected, "the far end has {files:?}");
    hold!("T11", deleted == 2, "{deleted} entries are said to be deleted, not 2");
    let mode = now.entry(&RelPath::root()).map(|root| root.meta.mode);
    hold!("T11", mode == Some(0o755), "the root was touched: its mode is {mode:?}");
    let content = now.content(&path("a/changed"));
    hold!("T11", content.as_deref() == Some(b"new"), "a/changed is {content:?}");
}

/// T12: what looks the same is looked into when that is asked for, in files small and large.
pub async fn t12_contents_are_compared_when_asked(fixture: &dyn TransportFixture) {
    if reads_only(fixture, "T12").await {
        return;
    }
    let large = vec![b'x'; 70_000];
    let source = tree_of(&[("d/small", b"the good page"), ("large", &large), ("same", b"the same")]);
    fit(fixture, "T12", &source);
    let mut bad = large.clone();
    bad[40_000] = b'y';
    let far = tree_of(&[("d/small", b"an evil page!"), ("large", &bad), ("same", b"the same")]);
    for name in ["d/small", "large", "same"].map(path) {
        let meta = source.entry(&name).expect("an entry").meta;
        far.set_meta(&name, &meta).expect("a file");
    }
    fixture.place(&far).await;
    let request = PushRequest::new().comparison(Comparison::Content);
    let report = fixture.transport().await.push(&request, &source, &()).await;
    hold!("T12", report.is_ok(), "a push fails: {report:?}");
    let problems = report.unwrap_or_default().problems;
    hold!("T12", problems.is_empty(), "there are problems: {problems:?}");
    let now = fixture.far().await;
    for name in ["d/small", "large", "same"].map(path) {
        hold!("T12", now.content(&name) == source.content(&name), "{name} has not the content of the source");
    }
}

/// Whether there is no push, which must then say so.
async fn reads_only(fixture: &dyn TransportFixture, rule: &str) -> bool {
    if !fixture.lacks().contains(&Lack::Push) {
        return false;
    }
    leave_out(rule, "this transport only reads; its push must say so");
    let pushed = fixture.transport().await.push(&PushRequest::new(), &MemoryTree::new(), &()).await;
    assert!(
        matches!(pushed, Err(TransportError::Unsupported { .. })),
        "{rule}: a push that is not there says {pushed:?}"
    );
    true
}
