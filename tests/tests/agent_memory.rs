//! How much memory either end of the agent takes for a large file. `tests/campaign agent-memory 10` does it for 10 GiB.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::result_large_err,
    clippy::unwrap_used
)]

use async_trait::async_trait;
use bytes::Bytes;
use clonepanel_core::{
    digest::{DigestBuilder, FileDigest},
    entry::Entry,
    testkit::generator::Random,
    transport::{PullRequest, PushRequest, Transport},
    tree::{Basis, FileSink, TreeError, TreeSink, Want},
};
use clonepanel_rsync::{
    LocalConnect,
    agent::{AgentOptions, AgentTransport},
};
use clonepanel_store::LocalTree;
use clonepanel_tests::Tool;
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// What either end may take at the most, in KiB.
const MOST: u64 = 64 << 10;

/// Throws away what comes, and has an older version to compare with.
struct Discard {
    basis: Option<Arc<File>>,
    got: Arc<Mutex<Vec<FileDigest>>>,
}

struct OldFile(Arc<File>, u64);

struct Counted {
    digest: DigestBuilder,
    got: Arc<Mutex<Vec<FileDigest>>>,
}

#[async_trait]
impl TreeSink for Discard {
    async fn offer(&self, entry: &Entry) -> Result<Want, TreeError> {
        if !entry.has_content() {
            return Ok(Want::Nothing);
        }
        let old =
            |file: &Arc<File>| Arc::new(OldFile(Arc::clone(file), file.metadata().unwrap().len())) as Arc<dyn Basis>;
        Ok(Want::Data { basis: self.basis.as_ref().map(old) })
    }

    async fn file(&self, _: &Entry) -> Result<Box<dyn FileSink>, TreeError> {
        Ok(Box::new(Counted { digest: DigestBuilder::new(), got: Arc::clone(&self.got) }))
    }
}

#[async_trait]
impl Basis for OldFile {
    fn len(&self) -> u64 {
        self.1
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, TreeError> {
        let mut buffer = vec![0; len];
        self.0.read_exact_at(&mut buffer, offset).unwrap();
        Ok(buffer.into())
    }
}

#[async_trait]
impl FileSink for Counted {
    async fn write(&mut self, chunk: Bytes) -> Result<(), TreeError> {
        self.digest.update(&chunk);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<FileDigest, TreeError> {
        let digest = self.digest.finish();
        self.got.lock().unwrap().push(digest);
        Ok(digest)
    }
}

/// The most memory that a process took so far, in KiB.
fn peak(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// An agent that leaves its number, and a way to its memory while it runs.
struct Far {
    folder: tempfile::TempDir,
}

impl Far {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wrapper = folder.path().join("agent");
        let pid = folder.path().join("pid");
        let text = format!("#!/bin/sh\necho $$ > '{}'\nexec '{}' \"$@\"\n", pid.display(), Tool::program().display());
        fs::write(&wrapper, text).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn transport(&self, root: &Path) -> AgentTransport {
        let wrapper = self.folder.path().join("agent");
        let options = AgentOptions::new().agent_program(wrapper.to_str().unwrap());
        AgentTransport::new(LocalConnect::new(), root.to_str().unwrap()).options(options)
    }

    /// Runs a transfer; gives the peaks of this process and of the far end, in KiB.
    fn measure<T>(&self, what: &str, transfer: impl Future<Output = T>) -> T {
        // This process's peak begins anew.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let started = Instant::now();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut far = 0;
        let done = runtime.block_on(async {
            let mut transfer = std::pin::pin!(transfer);
            loop {
                tokio::select! {
                    done = &mut transfer => return done,
                    () = tokio::time::sleep(Duration::from_millis(20)) => {
                        let pid = fs::read_to_string(self.folder.path().join("pid")).unwrap_or_default();
                        far = far.max(peak(pid.trim()).unwrap_or(0));
                    }
                }
            }
        });
        let near = peak("self").unwrap();
        println!("{what}: {:.1} s, near {near} KiB, far {far} KiB", started.elapsed().as_secs_f64());
        assert!(far > 0, "{what}: the far end was never seen");
        assert!(near <= MOST && far <= MOST, "{what}: near {near} KiB, far {far} KiB");
        done
    }
}

#[test]
fn a_large_file_takes_little_memory() {
    let gib: f64 = std::env::var("CLONEPANEL_MEMORY_GIB").map_or(0.25, |text| text.parse().unwrap());
    let len = (gib * f64::from(1 << 30)) as u64;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("tree")).unwrap();
    let (old, new) = (File::create(at("old")).unwrap(), File::create(at("tree/dump.sql")).unwrap());
    // Holes with data here and there, at the same places and a little further on.
    let mut random = Random::new(7);
    for number in 0..64 {
        let noise: Vec<u8> = (0..32_768).flat_map(|_| random.number().to_le_bytes()).collect();
        old.write_all_at(&noise, len / 64 * number).unwrap();
        new.write_all_at(&noise, len / 64 * number + number % 2 * 1000).unwrap();
    }
    old.set_len(len - 5_000).unwrap();
    new.set_len(len).unwrap();
    let expected = {
        let mut digest = DigestBuilder::new();
        let mut buffer = vec![0; 1 << 20];
        while digest.len() < len {
            let part = buffer.len().min((len - digest.len()) as usize);
            File::open(at("tree/dump.sql")).unwrap().read_exact_at(&mut buffer[..part], digest.len()).unwrap();
            digest.update(&buffer[..part]);
        }
        digest.finish()
    };
    let far = Far::new();
    for (what, basis) in [("whole", None), ("differences", Some(Arc::new(File::open(at("old")).unwrap())))] {
        let sink = Discard { basis, got: Arc::default() };
        let transport = far.transport(&at("tree"));
        let report = far.measure(what, transport.pull(&PullRequest::new(), &sink, &())).unwrap();
        assert!(report.problems.is_empty(), "{what}: {:?}", report.problems);
        assert_eq!(*sink.got.lock().unwrap(), [expected], "{what}");
        println!("{what}: {report:?}");
        if what == "differences" {
            assert!(report.literal_bytes < 80 << 20, "{report:?}");
        }
    }
    // Over an older version, and with what is there now.
    let transport = far.transport(&at("pushed"));
    let source = LocalTree::new(at("tree"));
    for what in ["push", "push again"] {
        let report = far.measure(what, transport.push(&PushRequest::new(), &source, &())).unwrap();
        assert!(report.problems.is_empty(), "{what}: {:?}", report.problems);
        println!("{what}: {report:?}");
        let pushed = File::options().write(true).open(at("pushed/dump.sql")).unwrap();
        assert_eq!(pushed.metadata().unwrap().len(), len, "{what}");
        pushed.write_all_at(b"changed since", len / 2).unwrap();
    }
}
