//! The receiver against recorded streams of stock rsync: as recorded, cut anywhere, cut off anywhere, and changed anywhere.
//!
//! The recordings are made from the installed rsync by `CLONEPANEL_RECORD=1 cargo nextest run -p clonepanel-rsync golden`;
//! beside each lies the command that made it and what the client made of it.

use super::{Answer, Receiver, Step, Wanted};
use crate::{
    delta::{BlockRule, Hasher, StrongLength, WireSignatureBuilder},
    error::ProtocolError,
    wire::Demux,
};
use clonepanel_core::{
    entry::{Entry, EntryKind},
    transport::PullRequest,
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A client that keeps everything in memory and writes down what happens.
struct Client {
    receiver: Receiver,
    bases: BTreeMap<String, Vec<u8>>,
    paths: BTreeMap<u32, String>,
    content: Vec<u8>,
    hasher: Option<Hasher>,
    log: String,
    is_finished: bool,
}

impl Client {
    fn new(wanted: Wanted, bases: &BTreeMap<String, Vec<u8>>) -> Self {
        Self {
            receiver: Receiver::new(PullRequest::new(), wanted),
            bases: bases.clone(),
            paths: BTreeMap::new(),
            content: Vec::new(),
            hasher: None,
            log: String::new(),
            is_finished: false,
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        self.receiver.feed(bytes)?;
        while let Some(step) = self.receiver.poll()? {
            self.take(step)?;
            // A recording holds the replies already; they make sense once the requests are made.
            while let Some((index, entry)) = self.receiver.next_entry() {
                self.answer(index, &entry)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, index: u32, entry: &Entry) -> Result<(), ProtocolError> {
        let path = entry.path.to_string();
        let kind = match &entry.kind {
            EntryKind::File { len, hardlink_to: None } => format!("file {len}"),
            EntryKind::File { hardlink_to: Some(leader), .. } => format!("link to {leader}"),
            other => format!("{other:?}"),
        };
        writeln!(self.log, "{path}: {kind} {:o} {}", entry.meta.mode, entry.meta.mtime).unwrap();
        if entry.has_content() {
            let answer = self.sums(&path, StrongLength::ByLength);
            self.receiver.ask(index, entry.len().unwrap(), &answer)?;
            self.paths.insert(index, path);
        } else {
            self.receiver.settle(index);
        }
        Ok(())
    }

    fn sums(&self, path: &str, strong: StrongLength) -> Answer {
        let agreed = *self.receiver.agreed().unwrap();
        let basis = self.bases.get(path).map(Vec::as_slice).unwrap_or_default();
        let head = BlockRule::any().head(basis.len() as u64, agreed.checksum, strong);
        let mut builder = WireSignatureBuilder::new(head, agreed.checksum, agreed.seed);
        if !basis.is_empty() {
            builder.update(basis);
        }
        let (head, sums) = builder.finish();
        Answer { head, sums }
    }

    fn take(&mut self, step: Step) -> Result<(), ProtocolError> {
        match step {
            Step::Begin { index } => {
                self.content.clear();
                self.hasher = Some(Hasher::new(self.receiver.agreed().unwrap().checksum));
                let path = &self.paths[&index];
                writeln!(self.log, "{path}: begins").unwrap();
            }
            Step::Literal(bytes) => self.append(&bytes),
            Step::Copy { offset, len } => {
                // Only one file is in progress, and its path is that of the last "begins".
                let path = self.log.lines().rfind(|line| line.ends_with(": begins")).unwrap();
                let basis = &self.bases[path.trim_end_matches(": begins")];
                let part = basis[offset as usize..(offset + len) as usize].to_vec();
                writeln!(self.log, "copies {len} at {offset}").unwrap();
                if self.receiver.wants_copies() {
                    self.receiver.copied(&part)?;
                }
                self.append(&part);
            }
            Step::End { index, digest } => {
                let is_good = self.hasher.take().unwrap().is(&digest);
                let path = self.paths[&index].clone();
                let hash = clonepanel_core::digest::ContentHash::of(&self.content);
                writeln!(self.log, "{path}: ends, {} bytes, {hash}, good: {is_good}", self.content.len()).unwrap();
                if !is_good && self.receiver.may_retry(index) {
                    let answer = self.sums(&path, StrongLength::Full);
                    self.receiver.ask(index, self.content.len() as u64, &answer)?;
                } else {
                    self.receiver.settle(index);
                }
            }
            Step::Finished => self.is_finished = true,
            Step::Listed => {}
            Step::Unsent { index } => {
                writeln!(self.log, "{}: unsent", self.paths[&index]).unwrap();
                self.receiver.settle(index);
            }
            Step::Refused(refusal) => writeln!(self.log, "{:?}", refusal.why).unwrap(),
            Step::Text(_, text) => writeln!(self.log, "text {:?}", clonepanel_core::escape::Escaped(&text)).unwrap(),
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) {
        self.content.extend_from_slice(bytes);
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }
}

/// A recorded session.
struct Golden {
    name: &'static str,
    options: &'static [&'static str],
    checksum: &'static str,
    compressor: &'static str,
    /// Whether the client has something already.
    has_bases: bool,
}

const GOLDEN: &[Golden] = &[
    Golden {
        name: "modern-zstd",
        options: &["-logDtprHze.iLsfxCvu"],
        checksum: "xxh128",
        compressor: "zstd",
        has_bases: true,
    },
    Golden {
        name: "modern-plain",
        options: &["-logDtprHe.iLsfxCvu"],
        checksum: "xxh3",
        compressor: "",
        has_bases: true,
    },
    Golden {
        name: "modern-lz4",
        options: &["-logDtprHze.iLsfxCvu"],
        checksum: "xxh64",
        compressor: "lz4",
        has_bases: true,
    },
    Golden {
        name: "whole-list",
        options: &["-logDtprHze.LsfxCvu"],
        checksum: "md5",
        compressor: "zlibx",
        has_bases: true,
    },
    Golden {
        name: "protocol-31",
        options: &["-logDtprHze.iLsfxC", "--protocol=31"],
        checksum: "md5",
        compressor: "zlib",
        has_bases: true,
    },
    Golden {
        name: "protocol-30",
        options: &["-logDtprHze.iLs", "--protocol=30"],
        checksum: "md5",
        compressor: "zlib",
        has_bases: true,
    },
    Golden {
        name: "new-zstd",
        options: &["-logDtprHze.iLsfxCvu"],
        checksum: "md5",
        compressor: "zstd",
        has_bases: false,
    },
    Golden {
        name: "new-zlib",
        options: &["-logDtprHze.iLsfxC"],
        checksum: "md5",
        compressor: "zlib",
        has_bases: false,
    },
    Golden { name: "new-plain", options: &["-logDtprHe.LsfxCvu"], checksum: "md5", compressor: "", has_bases: false },
];

impl Golden {
    fn wanted(&self) -> Wanted {
        let compressors = if self.compressor.is_empty() { vec![] } else { vec![self.compressor] };
        Wanted { checksums: vec![self.checksum], compressors }
    }

    fn bases(&self) -> BTreeMap<String, Vec<u8>> {
        if self.has_bases { bases() } else { BTreeMap::new() }
    }

    fn file(&self, ending: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{}.{ending}", self.name))
    }

    fn command(&self) -> Vec<String> {
        let mut command: Vec<String> = ["rsync", "--server", "--sender"].map(String::from).to_vec();
        command.extend(self.options.iter().map(|option| (*option).to_owned()));
        command.extend(["--checksum-seed=1", ".", "./"].map(String::from));
        command
    }

    /// Runs a real session and writes down both directions.
    fn record(&self, folder: &Path, bases: &BTreeMap<String, Vec<u8>>) {
        let command = self.command();
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut client = Client::new(self.wanted(), bases);
        let (mut server, mut sent, mut buffer) = (Vec::new(), Vec::new(), [0; 8192]);
        loop {
            let out = client.receiver.transmit();
            sent.extend_from_slice(&out);
            let _ = input.write_all(&out);
            let len = output.read(&mut buffer).unwrap();
            if len == 0 {
                break;
            }
            server.extend_from_slice(&buffer[..len]);
            client.feed(&buffer[..len]).unwrap();
        }
        drop(input);
        assert!(child.wait().unwrap().success() && client.is_finished, "{}", client.log);
        std::fs::write(self.file("server.bin"), server).unwrap();
        std::fs::write(self.file("client.bin"), sent).unwrap();
        std::fs::write(self.file("txt"), format!("{}\n{}", command.join(" "), client.log)).unwrap();
    }

    fn server(&self) -> Vec<u8> {
        std::fs::read(self.file("server.bin")).unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.file("txt")).unwrap().split_once('\n').unwrap().1.to_owned()
    }
}

fn content(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(len)
    .collect()
}

/// What the client has already: an older version of one file, and one whose first sum matches by chance but is wrong.
fn bases() -> BTreeMap<String, Vec<u8>> {
    let mut old = content(5, 30_000);
    old[10_000..10_100].fill(b'-');
    BTreeMap::from([("sub/changed".to_owned(), old), ("same".to_owned(), content(6, 2_000))])
}

fn make(folder: &Path) {
    std::fs::create_dir_all(folder.join("sub/deep/er")).unwrap();
    for (name, content) in [
        ("empty", Vec::new()),
        ("same", content(6, 2_000)),
        ("sub/changed", content(5, 30_000)),
        ("sub/text", b"hello, hello, hello, hello\n".repeat(40)),
        ("sub/deep/er/new", content(7, 701)),
    ] {
        std::fs::write(folder.join(name), content).unwrap();
    }
    std::fs::hard_link(folder.join("same"), folder.join("sub/deep/link")).unwrap();
    std::os::unix::fs::symlink("../same", folder.join("sub/symlink")).unwrap();
    let time = "2024-02-29T12:00:00.123456789Z";
    let status = Command::new("find")
        .args([".", "-exec", "touch", "-h", "-d", time, "{}", "+"])
        .current_dir(folder)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn golden_streams_give_what_they_gave() {
    for golden in GOLDEN {
        if std::env::var_os("CLONEPANEL_RECORD").is_some() {
            let folder = tempfile::tempdir().unwrap();
            make(folder.path());
            golden.record(folder.path(), &golden.bases());
        }
        let server = golden.server();
        let mut client = Client::new(golden.wanted(), &golden.bases());
        client.feed(&server).unwrap();
        assert!(client.is_finished, "{}", golden.name);
        assert_eq!(client.log, golden.log(), "{}", golden.name);
        // What we say is what was said then, whatever the frames.
        let sent = client.receiver.transmit();
        let recorded = std::fs::read(golden.file("client.bin")).unwrap();
        assert_eq!(said(&sent, golden), said(&recorded, golden), "{}", golden.name);
    }
}

/// The data that a client sent, without the handshake and the frames.
fn said(bytes: &[u8], golden: &Golden) -> Vec<u8> {
    let has_lists = golden.options.iter().any(|option| option.ends_with("vu"));
    let mut names = 4;
    if has_lists {
        names += 1 + golden.checksum.len();
        names += if golden.compressor.is_empty() { 0 } else { 1 + golden.compressor.len() };
    }
    let mut demux = Demux::default();
    demux.feed(&bytes[names..]).unwrap();
    demux.data().to_vec()
}

#[test]
fn golden_streams_may_be_cut_anywhere() {
    for golden in GOLDEN {
        let (server, log) = (golden.server(), golden.log());
        for step in (1..40).chain([1000, 1021, 4096]) {
            let mut client = Client::new(golden.wanted(), &golden.bases());
            server.chunks(step).for_each(|part| client.feed(part).unwrap());
            assert!(client.is_finished);
            assert_eq!(sorted(&client.log), sorted(&log), "{} in pieces of {step}", golden.name);
        }
    }
}

/// Listing and content interleave differently when bytes come later; what is said of each path does not.
fn sorted(log: &str) -> Vec<&str> {
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_stream_that_is_cut_off_is_not_finished() {
    for golden in GOLDEN {
        let server = golden.server();
        for len in 0..server.len() {
            let mut client = Client::new(golden.wanted(), &golden.bases());
            client.feed(&server[..len]).unwrap();
            assert!(!client.is_finished, "{} cut at {len}", golden.name);
        }
    }
}

#[test]
fn a_stream_that_is_changed_is_an_error_or_a_file_that_fails_its_check() {
    for golden in GOLDEN {
        let server = golden.server();
        let good: Vec<String> = sorted(&golden.log()).iter().map(|line| (*line).to_owned()).collect();
        for at in 0..server.len() {
            let flip = [0x01, 0x80, 0xff][at % 3];
            let mut changed = server.clone();
            changed[at] ^= flip;
            let mut client = Client::new(golden.wanted(), &golden.bases());
            let outcome = changed.chunks(997).try_for_each(|part| client.feed(part));
            if outcome.is_err() {
                continue;
            }
            // Whatever passed its check has a content that the far end really has, under some name.
            for line in client.log.lines().filter(|line| line.ends_with("good: true")) {
                let content = line.split_once(": ends, ").unwrap().1;
                let is_known = good.iter().any(|line| line.ends_with(content));
                assert!(is_known, "{} changed at {at} by {flip:#x}: {line}", golden.name);
            }
        }
    }
}
