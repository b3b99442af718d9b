//! The agent through the built tool and a real sshd: backups, limits of a key, what is missing, random trees, kills, memory.
//! `tests/campaign agent-trees 200`, `agent-kill 500` and `agent-memory 10` do more of it.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use clonepanel_core::{
    entry::EntryMeta,
    job::BackupJob,
    memory::MemoryTree,
    path::RelPath,
    snapshot_id::SourceName,
    store::SnapshotStore,
    testkit::{
        block_on, differences,
        generator::{Devices, Random, Shape, Unreadable, edit},
        materialise, owner_differences, scan,
    },
    time::{SystemClock, Timestamp},
    transport::{Deletion, PullRequest, PushRequest, Transport, TransportError},
};
use clonepanel_rsync::{
    LocalConnect, SshConnect,
    agent::{AgentOptions, AgentTransport},
};
use clonepanel_store::{HardLinkStore, LocalTree, Owners, SpecialBits};
use clonepanel_tests::{Login, Proxy, Ran, Site, Sshd, SshdOptions, Tool, may_lack};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

fn program() -> String {
    Tool::program().to_str().unwrap().to_owned()
}

fn over_ssh(login: &Login, root: &str) -> AgentTransport {
    let ssh = SshConnect::new(&login.host)
        .port(login.port)
        .identity_file(&login.identity_file)
        .known_hosts_file(&login.known_hosts_file);
    AgentTransport::new(ssh, root).options(AgentOptions::new().agent_program(program()))
}

fn as_a_child(root: &Path) -> AgentTransport {
    let options = AgentOptions::new().agent_program(program());
    AgentTransport::new(LocalConnect::new(), root.to_str().unwrap()).options(options)
}

fn path(text: &str) -> RelPath {
    RelPath::try_from(text).unwrap()
}

fn rounds(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn backups_by_way_of_the_agent() {
    let sshd = Sshd::start();
    let site = Site::new();
    let back_up = |program: &str| {
        let mut command = site.tool.back_up_over_ssh(&sshd.login(), &site.tree);
        command.args(["--transport", "agent", "--agent-program", program, "--json"]);
        Ran::of(&mut command)
    };
    back_up(&program()).assert(0, &["\"complete\":1"]);
    fs::write(site.tree.join("public_html/index.php"), "changed").unwrap();
    let ran = back_up(&program());
    // The others are too young to be trusted, and cost a hash.
    ran.assert(0, &["\"literal_bytes\":7"]);
    site.tool.assert_verifies();
    let newest = site.tool.snapshots().pop().unwrap();
    assert_eq!(fs::read_to_string(newest.join("files/public_html/index.php")).unwrap(), "changed");
    back_up("/nowhere/clonepanel").assert(1, &["does not run there"]);
    back_up("true").assert(1, &["there is no ClonePanel"]);
    assert_eq!(site.tool.snapshots().len(), 2);
}

#[test]
fn check_asks_the_agent() {
    let sshd = Sshd::start();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("here")).unwrap();
    let login = sshd.login();
    let config = folder.path().join("clonepanel.toml");
    let user = String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let written = format!(
        r#"
[store]
path = "snapshots"
[retention]
daily = 7
[server.alpha]
ssh = {{ host = "{}", port = {}, known_hosts_file = "{}", identity_file = "{}" }}
[site.one]
primary = "alpha"
[site.one.account.alpha]
user = "{}"
paths = ["{here}", "{here}-not"]
transport = "agent"
agent_program = "{}"
"#,
        login.host,
        login.port,
        login.known_hosts_file.display(),
        login.identity_file.display(),
        user.trim(),
        program(),
        here = folder.path().join("here").strip_prefix(home()).map_or("none", |path| path.to_str().unwrap()),
    );
    fs::write(&config, written).unwrap();
    let mut command = std::process::Command::new(program());
    command.args(["check", "--config"]).arg(&config).env("NO_COLOR", "1").current_dir(folder.path());
    Ran::of(&mut command).assert(1, &["the agent there is clonepanel", "does not exist there"]);
}

/// Where logins begin.
fn home() -> String {
    std::env::var("HOME").unwrap_or_default()
}

/// A key whose forced command only reads below one folder.
#[test]
fn a_key_that_only_reads() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir_all(home.join("site/sub")).unwrap();
    fs::write(home.join("site/sub/page"), "shown").unwrap();
    fs::write(home.join("secret"), "not shown").unwrap();
    symlink(&home, home.join("site/up")).unwrap();
    let forced = format!("exec {} agent --read-only --root site", program());
    let sshd = SshdOptions::new().home(&home).command(&forced).start();
    let pull = |root: &str, paths: &[&str]| {
        let here = MemoryTree::new();
        let request = PullRequest::new().paths(paths.iter().map(|text| path(text)).collect());
        block_on(over_ssh(&sshd.login(), root).pull(&request, &here, &())).map(|report| {
            assert!(report.problems.is_empty(), "{:?}", report.problems);
            here.list().into_iter().map(|entry| entry.path.to_string()).collect::<Vec<_>>()
        })
    };
    assert_eq!(pull("site", &[]).unwrap(), [".", "sub", "sub/page", "up"]);
    assert_eq!(pull("site/sub", &[]).unwrap(), [".", "page"]);
    assert_eq!(pull("", &[]).unwrap(), [".", "site", "site/sub", "site/sub/page", "site/up"]);
    assert_eq!(pull("", &["site/sub"]).unwrap(), [".", "site", "site/sub", "site/sub/page"]);
    for (root, paths) in [("", &["secret"][..]), ("/", &["etc"]), ("/etc", &[]), ("site/..", &[])] {
        let refused = pull(root, paths);
        assert!(matches!(refused, Err(TransportError::Denied { .. })), "{root} {paths:?}: {refused:?}");
    }
    assert!(matches!(pull("site/up", &[]), Err(TransportError::NotFound { .. })));
    assert!(matches!(pull("site", &["none"]), Err(TransportError::NotFound { .. })));
    let pushed = block_on(over_ssh(&sshd.login(), "site").push(&PushRequest::new(), &MemoryTree::new(), &()));
    assert!(matches!(pushed, Err(TransportError::Unsupported { .. })), "{pushed:?}");
    let facts = block_on(over_ssh(&sshd.login(), "site").probe(&[path("sub"), path("none")])).unwrap();
    assert!(facts.is_read_only && facts.program.starts_with("clonepanel "), "{facts:?}");
    assert_eq!(facts.missing, [path("none")]);
}

/// A key that may write to a folder writes there alone, and makes nothing that gives rights.
#[test]
fn a_key_that_writes_to_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir_all(home.join("site")).unwrap();
    let tree = MemoryTree::new();
    tree.put_file(path("tool"), b"#!/bin/sh".to_vec(), Timestamp::from_secs(1_700_000_000)).unwrap();
    tree.set_meta(&path("tool"), &EntryMeta { mode: 0o4755, uid: 65_534, gid: 65_534, ..EntryMeta::default() })
        .unwrap();
    for (option, mode) in [("", 0o755), (" --keep-owners", 0o4755)] {
        let forced = format!("exec {} agent --root site{option}", program());
        let sshd = SshdOptions::new().home(&home).command(&forced).start();
        let push = |root: &str| block_on(over_ssh(&sshd.login(), root).push(&PushRequest::new(), &tree, &()));
        push("site").unwrap();
        let there = fs::metadata(home.join("site/tool")).unwrap();
        assert_eq!(there.mode() & 0o7777, mode);
        let is_given = is_root() && !option.is_empty();
        assert_eq!(there.uid() == 65_534, is_given);
        for root in ["", "other", "site/../other"] {
            let refused = push(root);
            assert!(matches!(refused, Err(TransportError::Denied { .. })), "{root}: {refused:?}");
        }
        fs::remove_file(home.join("site/tool")).unwrap();
    }
    let upwards = Ran::of(std::process::Command::new(program()).args(["agent", "--root", "../x"]));
    upwards.assert(2, &["leads up"]);
}

/// A login that greets is heard all the same; one with an older program says what to do.
#[test]
fn logins_that_are_not_quite_right() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "content").unwrap();
    let root = folder.path().to_str().unwrap();
    let greets = SshdOptions::new().prelude("echo 'Welcome to alpha'; echo '\u{1b}[31mmind the gap'").start();
    let here = MemoryTree::new();
    block_on(over_ssh(&greets.login(), root).pull(&PullRequest::new(), &here, &())).unwrap();
    assert_eq!(here.content(&path("file")).unwrap(), "content");
    let banner = block_on(over_ssh(&greets.login(), root).probe(&[])).unwrap().banner.unwrap();
    assert!(banner.starts_with("Welcome to alpha") && !banner.contains('\u{1b}'), "{banner}");

    let old = SshdOptions::new().command("echo 'error: unrecognized subcommand' >&2; exit 2").start();
    let failed = block_on(over_ssh(&old.login(), root).probe(&[])).unwrap_err();
    let said = matches!(&failed, TransportError::Unsupported { detail, .. } if detail.contains("too old"));
    assert!(said, "{failed:?}");
    let dies = SshdOptions::new().command("kill -9 $$").start();
    block_on(over_ssh(&dies.login(), root).pull(&PullRequest::new(), &here, &())).expect_err("it is dead");
}

/// Pulled and pushed, and compared by a walker that shares nothing with either end.
#[test]
fn random_trees_travel_exactly() {
    let sshd = Sshd::start();
    for seed in 0..rounds("CLONEPANEL_RANDOM_TREES", 5) {
        let shape =
            if is_root() { Shape::new().devices(Devices::With).unreadable(Unreadable::With) } else { Shape::new() };
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut tree = shape.tree(seed);
        for round in 0..4 {
            materialise(&tree, &at("far")).unwrap();
            let far = scan(&at("far")).unwrap();
            let compare = |name: &str| {
                let here = scan(&at(name)).unwrap();
                assert_eq!(differences(&far, &here), [""; 0], "seed {seed}, round {round}, {name}");
                if is_root() {
                    assert_eq!(owner_differences(&far, &here), [""; 0], "seed {seed}, round {round}, {name}");
                }
            };
            let transport = |name: &str| -> Box<dyn Transport> {
                let root = at(name);
                if round % 2 == 0 {
                    Box::new(as_a_child(&root))
                } else {
                    Box::new(over_ssh(&sshd.login(), root.to_str().unwrap()))
                }
            };
            block_on(async {
                let pulled = LocalTree::new(at("pulled")).special_bits(SpecialBits::Set);
                let pulled = if is_root() { pulled.owners(Owners::Listed) } else { pulled };
                let report = transport("far").pull(&PullRequest::new(), &pulled, &()).await.unwrap();
                assert!(report.problems.is_empty(), "seed {seed}, round {round}: {:?}", report.problems);
                pulled.finish().await.unwrap();
                compare("pulled");
                let request = PushRequest::new().deletion(Deletion::UpTo(u64::MAX));
                let report = transport("pushed").push(&request, &LocalTree::new(at("far")), &()).await.unwrap();
                assert!(report.problems.is_empty(), "seed {seed}, round {round}: {:?}", report.problems);
                compare("pushed");
            });
            tree = edit(&tree, &shape, seed * 4 + round);
            // A pull deletes nothing, so it begins anew each time; the push goes over the older state.
            fs::remove_dir_all(at("pulled")).unwrap();
        }
        println!("seed {seed} ok");
    }
}

/// Kills at many moments of a push: each file is old or new, and the next push is exact.
#[test]
fn a_killed_push_leaves_each_file_old_or_new() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let shape = Shape::new().entries(150).longest(300_000);
    let (mut killed, mut late) = (0, 0);
    for round in 0..rounds("CLONEPANEL_KILLS", 12) {
        let older = shape.tree(round);
        let newer = edit(&edit(&older, &shape, round), &shape, round + 1_000_000);
        drop(fs::remove_dir_all(at("far")));
        materialise(&older, &at("far")).unwrap();
        let (older, pid) = (scan(&at("far")).unwrap(), at("pid"));
        drop(fs::remove_file(&pid));
        // The far end leaves its number, so that it alone is killed.
        let wrapper = at("agent");
        fs::write(&wrapper, format!("#!/bin/sh\necho $$ > '{}'\nexec '{}' \"$@\"\n", pid.display(), program()))
            .unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        let options = AgentOptions::new().agent_program(wrapper.to_str().unwrap());
        let transport = AgentTransport::new(LocalConnect::new(), at("far").to_str().unwrap()).options(options);
        let request = PushRequest::new().deletion(Deletion::UpTo(u64::MAX));
        let pushed = block_on(async {
            let push = transport.push(&request, &newer, &());
            let kill = async {
                let number = loop {
                    match fs::read_to_string(&pid).ok().and_then(|text| text.trim().parse::<u32>().ok()) {
                        Some(number) => break number,
                        None => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                };
                tokio::time::sleep(Duration::from_micros(2000 + round * 7919 % 60_000)).await;
                let killed = std::process::Command::new("kill").args(["-9", &number.to_string()]).output();
                drop(killed);
            };
            tokio::join!(push, kill).0
        });
        *if pushed.is_err() { &mut killed } else { &mut late } += 1;
        let now = scan(&at("far")).unwrap();
        for entry in now.list().into_iter().filter(|entry| entry.len().is_some()) {
            let is_temporary = entry.path.name().starts_with(b".clonepanel-");
            let known = [older.content(&entry.path), newer.content(&entry.path)];
            let content = now.content(&entry.path);
            assert!(is_temporary || known.contains(&content), "round {round}: {} is neither old nor new", entry.path);
        }
        block_on(as_a_child(&at("far")).push(&request, &newer, &())).unwrap();
        assert_eq!(differences(&newer, &scan(&at("far")).unwrap()), [""; 0], "round {round}, the next time");
    }
    println!("{killed} killed on the way, {late} had ended before");
    assert!(killed > 0, "every kill came too late: {late}");
}

const LARGE: u64 = 12_000_000;

/// A file that no compression makes shorter.
fn large(seed: u64) -> MemoryTree {
    let tree = MemoryTree::new();
    let mut random = Random::new(seed);
    let content: Vec<u8> = (0..LARGE / 8).flat_map(|_| random.number().to_le_bytes()).collect();
    tree.put_dir(path("d")).unwrap();
    tree.put_file(path("d/large"), content, Timestamp::from_secs(1_700_000_000)).unwrap();
    tree
}

/// What arrived of a file before the connection broke is not sent again.
#[test]
fn a_broken_push_goes_on_where_it_was() {
    let sshd = Sshd::start();
    let proxy = Proxy::to(sshd.port());
    let folder = tempfile::tempdir().unwrap();
    let far = folder.path().join("far");
    for older in [None, Some(b"an older version".to_vec())] {
        drop(fs::remove_dir_all(&far));
        fs::create_dir_all(far.join("d")).unwrap();
        if let Some(older) = &older {
            fs::write(far.join("d/large"), older).unwrap();
        }
        let tree = large(older.is_some().into());
        let transport = over_ssh(&sshd.login_at(proxy.port()), far.to_str().unwrap());
        proxy.cut_sent_after(LARGE * 2 / 3);
        block_on(transport.push(&PushRequest::new(), &tree, &())).unwrap_err();
        proxy.cut_sent_after(u64::MAX);
        // The far end notices by itself, a little later.
        let kept = far.join("d/.clonepanel-partial/large");
        let begun = Instant::now();
        while !kept.exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "nothing was kept");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(fs::read(far.join("d/large")).ok(), older, "the file was touched");
        // It is no part of the tree, for whoever looks.
        let backup = block_on(transport.pull(&PullRequest::new(), &MemoryTree::new(), &())).unwrap();
        assert_eq!(backup.entries, 2 + u64::from(older.is_some()));

        let report = block_on(transport.push(&PushRequest::new(), &tree, &())).unwrap();
        assert!(report.literal_bytes < LARGE * 2 / 3, "{report:?}");
        assert_eq!(differences(&tree, &scan(&far).unwrap()), [""; 0]);
        // What was kept of a file that is no more goes with its directory, and only then.
        fs::create_dir_all(far.join("d/.clonepanel-partial")).unwrap();
        fs::write(&kept, "kept").unwrap();
        let request = PushRequest::new().deletion(Deletion::UpTo(10));
        block_on(transport.push(&request, &tree, &())).unwrap();
        assert!(kept.exists());
        block_on(transport.push(&request, &MemoryTree::new(), &())).unwrap();
        assert!(!far.join("d").exists());
    }
}

/// The store keeps what arrived of a file, and the next backup goes on there.
#[test]
fn a_broken_pull_goes_on_where_it_was() {
    let sshd = Sshd::start();
    let proxy = Proxy::to(sshd.port());
    let folder = tempfile::tempdir().unwrap();
    materialise(&large(2), &folder.path().join("far")).unwrap();
    let transport = over_ssh(&sshd.login_at(proxy.port()), folder.path().join("far").to_str().unwrap());
    let store: Arc<dyn SnapshotStore> = Arc::new(HardLinkStore::init(folder.path().join("store")).unwrap());
    let job = BackupJob::new(store, SourceName::new("site").unwrap()).part(
        path("files"),
        Arc::new(transport),
        PullRequest::new(),
    );
    proxy.cut_after(LARGE * 2 / 3);
    block_on(job.run(&SystemClock, &())).unwrap_err();
    proxy.cut_after(u64::MAX);
    let outcome = block_on(job.run(&SystemClock, &())).unwrap();
    assert!(outcome.parts[0].report.literal_bytes < LARGE * 2 / 3, "{outcome:?}");
    assert_eq!(fs::read(folder.path().join("far/d/large")).unwrap().len() as u64, LARGE);
    let kept = folder.path().join("store/site").join(outcome.info.id.stem()).join("files/d/large");
    assert!(fs::read(kept).unwrap() == fs::read(folder.path().join("far/d/large")).unwrap());
}

/// What belongs to somebody else is told, and the rest arrives.
#[test]
fn needs_root_to_meet_what_belongs_to_others() {
    if !is_root() {
        return may_lack("root", "only root can make files of another owner");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let far = folder.path().join("far");
    let nobody = 65_534;
    for dir in ["", "locked", "open"] {
        fs::create_dir_all(far.join(dir)).unwrap();
    }
    for (name, owner) in [("locked/a", 0), ("open/theirs", 0), ("open/ours", nobody)] {
        fs::write(far.join(name), "old").unwrap();
        std::os::unix::fs::chown(far.join(name), Some(owner), Some(owner)).unwrap();
    }
    for dir in ["", "open"] {
        std::os::unix::fs::chown(far.join(dir), Some(nobody), Some(nobody)).unwrap();
    }
    let tree = MemoryTree::new();
    let time = Timestamp::from_secs(1_700_000_000);
    for name in ["locked", "locked/sub", "open"] {
        tree.put_dir(path(name)).unwrap();
    }
    for name in ["locked/a", "locked/new", "locked/sub/x", "open/ours", "open/theirs", "open/new"] {
        tree.put_file(path(name), vec![b'n'; 400_000], time).unwrap();
    }
    // The tool itself may lie where only its owner can go.
    let copy = folder.path().join("clonepanel");
    fs::copy(program(), &copy).unwrap();
    let wrapper = folder.path().join("agent");
    let script = format!(
        "#!/bin/sh\nexec setpriv --reuid={nobody} --regid={nobody} --clear-groups '{}' \"$@\"\n",
        copy.display()
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let options = AgentOptions::new().agent_program(wrapper.to_str().unwrap());
    let transport = AgentTransport::new(LocalConnect::new(), far.to_str().unwrap()).options(options);
    let report = block_on(transport.push(&PushRequest::new(), &tree, &())).unwrap();
    let told: Vec<_> = report.problems.listed().iter().map(|problem| problem.path.to_string()).collect();
    for refused in ["locked", "locked/a", "locked/new", "locked/sub", "locked/sub/x"] {
        assert!(told.iter().any(|path| path == refused), "{refused}: {told:?}");
    }
    assert_eq!(fs::read(far.join("locked/a")).unwrap(), b"old");
    for arrived in ["open/ours", "open/theirs", "open/new"] {
        assert_eq!(fs::read(far.join(arrived)).unwrap().len(), 400_000, "{arrived}: {told:?}");
    }
}
