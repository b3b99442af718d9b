//! Local directories as trees: what is replaced, what is left alone, and where links do not lead.
#![allow(clippy::unwrap_used)]

mod common;

use clonepanel_core::{
    entry::{Entry, EntryKind, EntryMeta, Freshness, LinkTarget},
    path::RelPath,
    testkit::{
        block_on, differences,
        generator::{Shape, edit},
        materialise, path, scan,
    },
    time::Timestamp,
    transport::{PullRequest, Transport as _, TransportError},
    tree::{CopyError, Listed, TreeError, TreeSink as _, TreeSource as _, Want, copy},
};
use clonepanel_store::{LocalTransport, LocalTree, Owners, SpecialBits, Unfinished};
use common::{Asked, ask, basis_content, long, old, send, tree};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    time::SystemTime,
};

fn entry(name: &str, len: usize) -> Entry {
    Entry::file(path(name), len as u64, old(1))
}

fn root() -> Entry {
    Entry::dir(RelPath::root())
}

#[test]
fn one_tree_after_the_other_comes_out_exactly() {
    block_on(async {
        let temp = tempfile::tempdir().unwrap();
        let shape = Shape::new().entries(60);
        let mut now = shape.tree(1);
        for seed in 2..8 {
            let target = temp.path().join(format!("to{seed}"));
            let target = LocalTree::new(target).special_bits(SpecialBits::Set);
            copy(&now, &target, &()).await.unwrap();
            assert!(target.finish().await.unwrap().is_empty());
            let to = temp.path().join(format!("to{seed}"));
            assert_eq!(differences(&scan(&to).unwrap(), &now), Vec::<String>::new());
            // And read back by this crate too.
            let again = clonepanel_core::testkit::read_tree(&LocalTree::new(&to)).await.unwrap();
            assert_eq!(differences(&again, &now), Vec::<String>::new());
            now = edit(&now, &shape, seed);
        }
    });
}

#[tokio::test]
async fn equal_files_are_left_alone_and_others_replaced_as_a_whole() {
    let temp = tempfile::tempdir().unwrap();
    materialise(&tree(&[("same", &long(b's')), ("other", &long(b'o'))]), temp.path()).unwrap();
    fs::hard_link(temp.path().join("other"), temp.path().join("witness")).unwrap();
    let inode = fs::metadata(temp.path().join("same")).unwrap().ino();
    let target = LocalTree::new(temp.path());
    assert_eq!(ask(&target, &root()).await, Asked::No);
    assert_eq!(ask(&target, &entry("same", 5000)).await, Asked::No);
    let other = entry("other", 6000);
    let Want::Data { basis: Some(basis) } = target.offer(&other).await.unwrap() else { panic!("a basis is there") };
    assert_eq!(basis_content(&basis).await, long(b'o'));
    // One that is given up changes nothing.
    target.file(&other).await.unwrap().write(vec![0; 700_000].into()).await.unwrap();
    assert_eq!(fs::read(temp.path().join("other")).unwrap(), long(b'o'));
    send(&target, &other, &[b'n'; 6000]).await;
    target.finish().await.unwrap();
    assert_eq!(fs::read(temp.path().join("other")).unwrap(), [b'n'; 6000]);
    assert_eq!(
        fs::read(temp.path().join("witness")).unwrap(),
        long(b'o'),
        "another name of the old file is not touched"
    );
    assert_eq!(fs::metadata(temp.path().join("same")).unwrap().ino(), inode);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 3, "no temporary file is left");
}

#[tokio::test]
async fn what_is_in_the_way_goes_unless_it_is_a_full_directory() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir_all(temp.path().join("full/inner")).unwrap();
    fs::create_dir_all(temp.path().join("empty")).unwrap();
    fs::write(temp.path().join("dir"), "a file").unwrap();
    let target = LocalTree::new(temp.path());
    assert_eq!(ask(&target, &root()).await, Asked::No);
    assert_eq!(ask(&target, &Entry::dir(path("dir"))).await, Asked::No);
    for (name, refused) in [("empty", false), ("full", true)] {
        assert_eq!(ask(&target, &entry(name, 1)).await, Asked::Plain);
        let mut sink = target.file(&entry(name, 1)).await.unwrap();
        sink.write("x".into()).await.unwrap();
        let result = sink.finish().await;
        assert_eq!(matches!(result, Err(TreeError::Refused { .. })), refused, "{result:?}");
    }
    target.finish().await.unwrap();
    assert!(temp.path().join("dir").is_dir() && temp.path().join("empty").is_file());
    assert!(temp.path().join("full/inner").is_dir());
}

#[tokio::test]
async fn links_lead_nowhere() {
    let temp = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path(), temp.path().join("dir")).unwrap();
    symlink(outside.path().join("secret"), temp.path().join("file")).unwrap();
    let source = LocalTree::new(temp.path());
    for name in ["dir/secret", "file"] {
        assert!(matches!(source.open(&path(name)).await, Err(TreeError::NotFound { .. })), "{name}");
    }
    let mut names = Vec::new();
    let mut entries = source.entries().await.unwrap();
    while let Some(Listed::Entry(entry)) = entries.next().await.unwrap() {
        names.push(entry.path);
    }
    assert_eq!(names, [RelPath::root(), path("dir"), path("file")]);

    // A listing that has a link and something below it cannot be written through the link.
    let target = LocalTree::new(temp.path());
    assert_eq!(ask(&target, &root()).await, Asked::No);
    let mut link = Entry::dir(path("link"));
    link.kind = EntryKind::Symlink(LinkTarget::new(outside.path().as_os_str().as_encoded_bytes().to_vec()).unwrap());
    assert_eq!(ask(&target, &link).await, Asked::No);
    assert!(matches!(target.offer(&entry("link/new", 1)).await, Err(TreeError::Refused { .. })));
    // A link that stands where a directory or a file is to be is replaced, not followed.
    assert_eq!(ask(&target, &Entry::dir(path("dir"))).await, Asked::No);
    for name in ["dir/secret", "file"] {
        assert_eq!(ask(&target, &entry(name, 3)).await, Asked::Plain);
        send(&target, &entry(name, 3), b"new").await;
    }
    target.finish().await.unwrap();
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
    assert_eq!(fs::read(temp.path().join("dir/secret")).unwrap(), b"new");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn change_times_tell_what_size_and_time_do_not() {
    let temp = tempfile::tempdir().unwrap();
    materialise(&tree(&[("a", &long(b'a'))]), temp.path()).unwrap();
    let now = Timestamp::from(SystemTime::now());
    let hour = std::time::Duration::from_secs(3600);
    for (since, freshness) in [
        (None, Freshness::Unknown),
        (Some(now.before(hour)), Freshness::Touched),
        (Some(now.after(hour)), Freshness::Settled),
    ] {
        let sink = Seen::default();
        let request = PullRequest::new().since(since);
        let report = LocalTransport::new(temp.path()).pull(&request, &sink, &()).await.unwrap();
        assert!(report.source_clock.is_some());
        let seen = sink.0.lock().unwrap();
        let file = seen.iter().find(|entry| entry.path == path("a")).unwrap();
        assert_eq!(file.meta.freshness, freshness);
    }
}

/// Notes what is offered and wants nothing.
#[derive(Default)]
struct Seen(std::sync::Mutex<Vec<Entry>>);

#[async_trait::async_trait]
impl clonepanel_core::tree::TreeSink for Seen {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        self.0.lock().unwrap().push(entry.clone());
        Ok(Want::Nothing)
    }
    async fn file(&self, entry: &Entry) -> Result<Box<dyn clonepanel_core::tree::FileSink>, TreeError> {
        Err(TreeError::NotFound { path: entry.path.clone() })
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_missing() {
    let temp = tempfile::tempdir().unwrap();
    let sink = Seen::default();
    let absent = LocalTransport::new(temp.path().join("absent"));
    assert!(matches!(absent.pull(&PullRequest::new(), &sink, &()).await, Err(TransportError::NotFound { .. })));
    let misspelt = PullRequest::new().paths(vec![path("public_htm")]);
    let result = LocalTransport::new(temp.path()).pull(&misspelt, &sink, &()).await;
    assert!(matches!(result, Err(TransportError::NotFound { path, .. }) if path == "public_htm"));
    assert!(sink.0.lock().unwrap().is_empty());
}

#[test]
fn too_many_open_files_are_no_problem_of_a_directory() {
    const TREE: &str = "CLONEPANEL_TEST_TREE";
    if let Some(tree) = std::env::var_os(TREE) {
        let read = block_on(async { clonepanel_core::testkit::read_tree(&LocalTree::new(tree)).await.map(drop) });
        assert!(matches!(read, Err(TreeError::Exhausted { .. })), "{read:?}");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir_all(temp.path().join(["d"; 60].join("/"))).unwrap();
    assert!(block_on(async { clonepanel_core::testkit::read_tree(&LocalTree::new(temp.path())).await }).is_ok());
    // The limit is that of a whole process: this test once more, in one of its own.
    let again = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 40; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "too_many_open_files_are_no_problem_of_a_directory"])
        .env(TREE, temp.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
}

/// Takes every descriptor that is left as soon as a file is offered, so that the file cannot be opened.
#[derive(Default)]
struct Greedy(std::sync::Mutex<Vec<fs::File>>);

#[async_trait::async_trait]
impl clonepanel_core::tree::TreeSink for Greedy {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        if !matches!(entry.kind, EntryKind::File { .. }) {
            return Ok(Want::Nothing);
        }
        let mut held = self.0.lock().unwrap();
        while let Ok(file) = fs::File::open("/dev/null") {
            held.push(file);
        }
        Ok(Want::Data { basis: None })
    }
    async fn file(&self, entry: &Entry) -> Result<Box<dyn clonepanel_core::tree::FileSink>, TreeError> {
        Err(TreeError::NotFound { path: entry.path.clone() })
    }
}

#[test]
fn too_many_open_files_are_no_problem_of_a_file() {
    const TREE: &str = "CLONEPANEL_TEST_FILES";
    const NAME: &str = "too_many_open_files_are_no_problem_of_a_file";
    if let Some(tree) = std::env::var_os(TREE) {
        let read = block_on(async { copy(&LocalTree::new(tree), &Greedy::default(), &()).await });
        assert!(matches!(read, Err(CopyError::Source(TreeError::Exhausted { .. }))), "{read:?}");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("file"), long(b'f')).unwrap();
    let again = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 60; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env(TREE, temp.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
}

/// What lies at the place of a first name that did not arrive gets no further name.
#[tokio::test]
async fn no_further_name_for_what_did_not_arrive() {
    let temp = tempfile::tempdir().unwrap();
    materialise(&tree(&[("first", &long(b'o')), ("kept", &long(b'k'))]), temp.path()).unwrap();
    let target = LocalTree::new(temp.path());
    let further = |name: &str, first: &Entry| {
        let kind = EntryKind::File { len: first.len().unwrap(), hardlink_to: Some(first.path.clone()) };
        Entry { path: path(name), kind, meta: first.meta.clone() }
    };
    let (first, kept) = (entry("first", 6000), entry("kept", 5000));
    target.offer(&root()).await.unwrap();
    assert!(matches!(target.offer(&first).await.unwrap(), Want::Data { .. }));
    target.offer(&further("second", &first)).await.unwrap();
    // It is given up in the middle.
    target.file(&first).await.unwrap().write(vec![0; 6000].into()).await.unwrap();
    assert!(matches!(target.offer(&kept).await.unwrap(), Want::Nothing));
    target.offer(&further("kept-too", &kept)).await.unwrap();
    let problems = target.finish().await.unwrap();
    assert_eq!(problems.total(), 1, "{problems:?}");
    assert_eq!(problems.listed()[0].path, path("second"));
    assert!(!temp.path().join("second").exists());
    assert_eq!(fs::read(temp.path().join("kept-too")).unwrap(), long(b'k'));
}

/// Giving a file away takes its special bits, which it keeps all the same.
#[tokio::test]
async fn a_file_that_is_given_away_keeps_its_special_bits() {
    let temp = tempfile::tempdir().unwrap();
    materialise(&tree(&[("program", &long(b'p'))]), temp.path()).unwrap();
    let at = temp.path().join("program");
    let uid = fs::metadata(&at).unwrap().uid();
    // Nobody but the superuser can give files away.
    let other = if uid == 0 { 12_345 } else { uid };
    fs::set_permissions(&at, fs::Permissions::from_mode(0o4755)).unwrap();
    let target = LocalTree::new(temp.path()).special_bits(SpecialBits::Set).owners(Owners::Listed);
    let mut program = entry("program", 5000);
    let gid = fs::metadata(&at).unwrap().gid();
    program.meta = EntryMeta { mode: 0o4755, uid: other, gid, ..program.meta };
    assert!(matches!(target.offer(&program).await.unwrap(), Want::Nothing));
    let now = fs::metadata(&at).unwrap();
    assert_eq!((now.mode() & 0o7777, now.uid()), (0o4755, other));
}

/// A push that is cut off: whoever could go in still can, and what arrived is there for the next one, if that is wanted.
#[tokio::test]
async fn what_a_writing_that_broke_off_leaves() {
    for unfinished in [Unfinished::Discard, Unfinished::Keep] {
        let temp = tempfile::tempdir().unwrap();
        let half = vec![b'x'; 1 << 20];
        let begin = async || {
            let tree = LocalTree::new(temp.path()).unfinished(unfinished);
            let dir = Entry { meta: EntryMeta { mode: 0o755, ..EntryMeta::default() }, ..Entry::dir(path("d")) };
            for entry in [root(), dir] {
                tree.offer(&entry).await.unwrap();
            }
            let want = tree.offer(&entry("d/large", 2 * half.len())).await.unwrap();
            (tree, want)
        };
        let (tree, want) = begin().await;
        assert!(matches!(want, Want::Data { basis: None }));
        let mut file = tree.file(&entry("d/large", 2 * half.len())).await.unwrap();
        for piece in half.chunks(1000) {
            file.write(piece.to_vec().into()).await.unwrap();
        }
        drop((file, tree));
        assert_eq!(fs::metadata(temp.path().join("d")).unwrap().mode() & 0o777, 0o755);
        let names: Vec<_> =
            fs::read_dir(temp.path().join("d")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let kept = [".clonepanel-partial"];
        assert_eq!(names, if unfinished == Unfinished::Keep { &kept[..] } else { &[] });

        let (tree, want) = begin().await;
        let Want::Data { basis } = want else { panic!("not wanted") };
        if unfinished == Unfinished::Keep {
            let basis = basis.unwrap();
            let begun = basis.read_at(0, usize::try_from(basis.len()).unwrap()).await.unwrap();
            assert!(begun.len() > half.len() / 2 && half.starts_with(&begun), "{}", begun.len());
        } else {
            assert!(basis.is_none());
        }
        let mut file = tree.file(&entry("d/large", 2 * half.len())).await.unwrap();
        file.write([&half[..], &half].concat().into()).await.unwrap();
        file.finish().await.unwrap();
        assert!(tree.finish().await.unwrap().is_empty());
        let names: Vec<_> =
            fs::read_dir(temp.path().join("d")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["large"]);
    }
}
