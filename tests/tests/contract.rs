//! The contract of transports against real far ends: rsync as a child process and rsync over a real sshd.
//!
//! The back ends that need no server run theirs in their own crates; the store and the local transport run here too, so that this
//! file is the whole list.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use async_trait::async_trait;
use clonepanel_core::{
    memory::MemoryTree,
    path::RelPath,
    store::SnapshotStore,
    testkit::{
        store::StoreFixture,
        transport::{Directory, Lack, TransportFixture},
    },
    transport::{Transport, TransportError},
};
use clonepanel_rsync::{
    Connect, Connection, LocalConnect, RemoteCommand, RsyncOptions, RsyncTransport, SshConnect,
    agent::{AgentOptions, AgentTransport},
};
use clonepanel_store::{HardLinkStore, LocalTransport};
use clonepanel_tests::{AgentWords, Login, Sshd, SshdOptions, Tool};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

struct Store(TempDir);

#[async_trait]
impl StoreFixture for Store {
    async fn open(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(HardLinkStore::init(self.0.path()).unwrap())
    }
}

clonepanel_core::store_contract!(hard_link_store, Store(tempfile::tempdir().unwrap()));

/// A directory that a transport reads by itself.
struct Local {
    folder: TempDir,
    far: Directory,
}

impl Local {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let far = Directory::new(folder.path().join("far"));
        Self { folder, far }
    }
}

#[async_trait]
impl TransportFixture for Local {
    async fn place(&self, tree: &MemoryTree) {
        self.far.place(tree);
    }

    async fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(LocalTransport::new(self.folder.path().join("far")))
    }

    async fn far(&self) -> MemoryTree {
        self.far.far()
    }

    async fn remove(&self, path: &RelPath) {
        self.far.remove(path);
    }

    async fn forbid_reading(&self, path: &RelPath) -> bool {
        self.far.forbid_reading(path)
    }

    fn lacks(&self) -> &[Lack] {
        // The superuser could, an ordinary account cannot give files away: see the options of the local tree.
        &[Lack::SetIds]
    }
}

clonepanel_core::transport_contract!(local_directory, Local::new());

/// A directory read by a stock rsync, which a login starts or which runs as a child.
struct Rsync {
    folder: TempDir,
    far: Directory,
    /// Logs in as somebody who may not read everything, also when the tests run as root.
    sshd: Option<Sshd>,
}

impl Rsync {
    fn here() -> Self {
        Self::new(None)
    }

    fn over_ssh() -> Self {
        Self::new(Some(Sshd::start()))
    }

    fn new(sshd: Option<Sshd>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let far = Directory::new(folder.path().join("far"));
        Self { folder, far, sshd }
    }

    fn reach(&self, root: &Path, options: RsyncOptions) -> Arc<dyn Transport> {
        let root = root.to_str().unwrap();
        match &self.sshd {
            None => transport(LocalConnect::new(), root, options),
            Some(sshd) => transport(ssh(&sshd.login()), root, options),
        }
    }
}

fn transport(connect: impl Connect + 'static, root: &str, options: RsyncOptions) -> Arc<dyn Transport> {
    Arc::new(RsyncTransport::new(connect, root).options(options))
}

fn ssh(login: &Login) -> SshConnect {
    SshConnect::new(&login.host)
        .port(login.port)
        .identity_file(&login.identity_file)
        .known_hosts_file(&login.known_hosts_file)
}

#[async_trait]
impl TransportFixture for Rsync {
    async fn place(&self, tree: &MemoryTree) {
        self.far.place(tree);
    }

    async fn transport(&self) -> Arc<dyn Transport> {
        self.reach(&self.folder.path().join("far"), RsyncOptions::new())
    }

    async fn far(&self) -> MemoryTree {
        self.far.far()
    }

    async fn remove(&self, path: &RelPath) {
        self.far.remove(path);
    }

    async fn forbid_reading(&self, path: &RelPath) -> bool {
        self.far.forbid_reading(path)
    }

    async fn hostile(&self) -> Option<Arc<dyn Transport>> {
        let root = self.folder.path().join("hostile");
        place_hostile(&root);
        let program = self.folder.path().join("hostile-rsync");
        write_script(&program, HOSTILE_RSYNC);
        Some(self.reach(&root, RsyncOptions::new().rsync_program(program.to_str().unwrap())))
    }
}

/// A stock rsync whose words are forged on the way out: three directories become the parent, an absolute path and the name of a
/// symbolic link that leads out.
const HOSTILE_RSYNC: &str = r#"rsync "$@" | perl -e '
    $| = 1;
    while (sysread(STDIN, $text, 65536)) {
        $text =~ s/qZ/../g;
        $text =~ s/QtmpQ/\/tmp\/x/g;
        $text =~ s/lQ/lZ/g;
        syswrite(STDOUT, $text);
    }'"#;

fn place_hostile(root: &Path) {
    for name in ["good", "qZ/escaped", "QtmpQ/escaped", "lQ/escaped"] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "content").unwrap();
    }
    let link: PathBuf = root.join("lZ");
    if !link.is_symlink() {
        symlink("/tmp", link).unwrap();
    }
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

clonepanel_core::transport_contract!(rsync_as_a_child, Rsync::here());
clonepanel_core::transport_contract!(rsync_over_sshd, Rsync::over_ssh());

/// A directory read and written by the built tool, which a login starts or which runs as a child.
struct Agent {
    folder: TempDir,
    far: Directory,
    sshd: Option<Sshd>,
}

impl Agent {
    fn new(sshd: Option<Sshd>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let far = Directory::new(folder.path().join("far"));
        Self { folder, far, sshd }
    }
}

#[async_trait]
impl TransportFixture for Agent {
    async fn place(&self, tree: &MemoryTree) {
        self.far.place(tree);
    }

    async fn transport(&self) -> Arc<dyn Transport> {
        let root = self.folder.path().join("far").to_str().unwrap().to_owned();
        let options = AgentOptions::new().agent_program(Tool::program().to_str().unwrap());
        match &self.sshd {
            None => Arc::new(AgentTransport::new(LocalConnect::new(), root).options(options)),
            Some(sshd) => Arc::new(AgentTransport::new(ssh(&sshd.login()), root).options(options)),
        }
    }

    async fn far(&self) -> MemoryTree {
        self.far.far()
    }

    async fn remove(&self, path: &RelPath) {
        self.far.remove(path);
    }

    async fn forbid_reading(&self, path: &RelPath) -> bool {
        self.far.forbid_reading(path)
    }

    async fn hostile(&self) -> Option<Arc<dyn Transport>> {
        Some(Arc::new(AgentTransport::new(LyingAgent, "")))
    }
}

clonepanel_core::transport_contract!(agent_as_a_child, Agent::new(None));
clonepanel_core::transport_contract!(agent_over_sshd, Agent::new(Some(Sshd::start())));

/// An agent that lists paths which lead out, written byte by byte after docs/agent-protocol.md.
#[derive(Debug)]
struct LyingAgent;

#[async_trait]
impl Connect for LyingAgent {
    fn endpoint(&self) -> &str {
        "liar"
    }

    async fn open(&self, _: &RemoteCommand) -> Result<Connection, TransportError> {
        let said = AgentWords::new().hello().ready().list(&[(b"good", b'f'), (b"../escaped", b'f')]).listed().said();
        let (near, mut far) = tokio::io::duplex(1 << 20);
        far.write_all(&said).await.unwrap();
        let (output, input) = tokio::io::split(near);
        Ok(Connection {
            input: Box::new(input),
            output: Box::new(output),
            errors: Box::new(tokio::io::empty()),
            exit: Box::pin(async move {
                drop(far);
                Ok(Some(0))
            }),
        })
    }

    fn explain(&self, _: Option<i32>, _: &str) -> Option<TransportError> {
        None
    }
}

/// The same as an account without root rights, whose unreadable files are unreadable.
fn unprivileged() -> Rsync {
    let fixture = Rsync::new(Some(SshdOptions::new().unprivileged().start()));
    fs::set_permissions(fixture.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fixture
}

#[test]
fn unreadable_files_over_sshd() {
    use clonepanel_core::testkit::{block_on, transport::t5_vanished_files_are_problems};
    block_on(t5_vanished_files_are_problems(&unprivileged()));
}
