//! The sender against recorded streams of stock rsync that takes a tree, and against a peer that lies.
//!
//! Recordings are made as those of the receiver: `CLONEPANEL_RECORD=1 cargo nextest run -p clonepanel-rsync golden`.

use super::{Deletions, Sender, SenderStep, Wanted};
use crate::{
    error::ProtocolError,
    wire::{Demux, NDX_DEL_STATS, NDX_DONE, NdxWriter, SumHead, put_data, put_vstring},
};
use clonepanel_core::{entry::Entry, path::RelPath, time::Timestamp};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A client that has everything in memory and writes down what is asked of it.
struct Client {
    sender: Sender,
    entries: Vec<Entry>,
    contents: BTreeMap<RelPath, Vec<u8>>,
    log: String,
    is_finished: bool,
}

fn path(text: &str) -> RelPath {
    RelPath::try_from(text).unwrap()
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

fn contents() -> BTreeMap<RelPath, Vec<u8>> {
    let text = b"hello, hello, hello, hello\n".repeat(40);
    let files = [("changed", content(5, 30_000)), ("empty", vec![]), ("sub/new", content(7, 701)), ("sub/text", text)];
    files.map(|(name, content)| (path(name), content)).into()
}

fn entries(contents: &BTreeMap<RelPath, Vec<u8>>) -> Vec<Entry> {
    let at = Timestamp::new(1_700_000_000, 5_000);
    let dir = |name: &str| {
        let mut dir = Entry::dir(path(name));
        dir.meta.mtime = at;
        dir
    };
    let files = contents.iter().map(|(path, content)| Entry::file(path.clone(), content.len() as u64, at));
    [dir(""), dir("sub")].into_iter().chain(files).collect()
}

impl Client {
    fn new(wanted: Wanted, deletions: Deletions) -> Self {
        let contents = contents();
        let sender = Sender::new(wanted, deletions, &[b"- kept".to_vec()]);
        Self { sender, entries: entries(&contents), contents, log: String::new(), is_finished: false }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        self.sender.feed(bytes)?;
        while let Some(step) = self.sender.poll()? {
            match step {
                SenderStep::Agreed => self.sender.list(&self.entries, &[]),
                SenderStep::Asked(asked) => {
                    let path = &self.entries[asked.entry].path;
                    let head = asked.head;
                    let matched = self.sender.answer(asked, &self.contents[path])?;
                    writeln!(self.log, "{path}: asked with {} blocks, {matched} bytes matched", head.count).unwrap();
                }
                SenderStep::Finished => self.is_finished = true,
                SenderStep::Text(_, text) => {
                    writeln!(self.log, "{:?}", clonepanel_core::escape::Escaped(&text)).unwrap();
                }
            }
        }
        Ok(())
    }

    fn log(&self) -> String {
        format!("{}{} deleted\n", self.log, self.sender.deleted())
    }
}

struct Golden {
    name: &'static str,
    options: &'static [&'static str],
    checksum: &'static str,
    compressor: &'static str,
}

const GOLDEN: &[Golden] = &[
    Golden { name: "push-zstd", options: &["-logDtprHze.LfxCvu"], checksum: "xxh128", compressor: "zstd" },
    Golden { name: "push-plain", options: &["-logDtprHe.LfxCvu"], checksum: "xxh3", compressor: "" },
    Golden { name: "push-31", options: &["-logDtprHze.LfxC", "--protocol=31"], checksum: "md5", compressor: "zlib" },
    Golden { name: "push-30", options: &["-logDtprHze.L", "--protocol=30"], checksum: "md5", compressor: "zlib" },
];

impl Golden {
    fn client(&self) -> Client {
        let compressors = if self.compressor.is_empty() { vec![] } else { vec![self.compressor] };
        Client::new(Wanted { checksums: vec![self.checksum], compressors }, Deletions::Expected)
    }

    fn file(&self, ending: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{}.{ending}", self.name))
    }

    /// Runs a real session and writes down both directions.
    fn record(&self) {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("changed", older()), ("gone/away", vec![1]), ("kept", vec![2])] {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), content).unwrap();
        }
        let mut command: Vec<&str> = vec!["rsync", "--server"];
        command.extend(self.options);
        command.extend(["--delete-after", "--log-format=%i", "--max-delete=2", "--checksum-seed=1", ".", "./"]);
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut client = self.client();
        let (mut server, mut sent, mut buffer) = (Vec::new(), Vec::new(), [0; 8192]);
        loop {
            let out = client.sender.transmit();
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
        for (path, content) in contents() {
            assert!(fs::read(folder.path().join(path.to_string())).unwrap() == content, "{path}");
        }
        assert!(!folder.path().join("gone").exists() && folder.path().join("kept").exists());
        fs::write(self.file("server.bin"), server).unwrap();
        fs::write(self.file("client.bin"), sent).unwrap();
        fs::write(self.file("txt"), format!("{}\n{}", command.join(" "), client.log())).unwrap();
    }

    fn server(&self) -> Vec<u8> {
        fs::read(self.file("server.bin")).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("txt")).unwrap().split_once('\n').unwrap().1.to_owned()
    }
}

fn older() -> Vec<u8> {
    let mut old = content(5, 30_000);
    old[10_000..10_100].fill(b'-');
    old
}

#[test]
fn golden_pushes_say_what_they_said() {
    for golden in GOLDEN {
        if std::env::var_os("CLONEPANEL_RECORD").is_some() {
            golden.record();
        }
        let mut client = golden.client();
        client.feed(&golden.server()).unwrap();
        assert!(client.is_finished, "{}", golden.name);
        assert_eq!(client.log(), golden.log(), "{}", golden.name);
        assert!(client.log().contains("2 deleted"), "{}", client.log());
        let sent = client.sender.transmit();
        let recorded = fs::read(golden.file("client.bin")).unwrap();
        // What a compressor makes of it may differ between its versions.
        if golden.compressor.is_empty() {
            assert_eq!(said(&sent, golden), said(&recorded, golden), "{}", golden.name);
        }
    }
}

/// The data that a client sent, without the handshake and the frames.
fn said(bytes: &[u8], golden: &Golden) -> Vec<u8> {
    let mut demux = Demux::default();
    demux.feed(&bytes[4 + 1 + golden.checksum.len()..]).unwrap();
    demux.data().to_vec()
}

#[test]
fn golden_pushes_may_be_cut_anywhere() {
    for golden in GOLDEN {
        let (server, log) = (golden.server(), golden.log());
        for step in (1..40).chain([1000]) {
            let mut client = golden.client();
            server.chunks(step).for_each(|part| client.feed(part).unwrap());
            assert!(client.is_finished);
            assert_eq!(client.log(), log, "{} in pieces of {step}", golden.name);
        }
    }
}

#[test]
fn a_push_that_is_cut_off_is_not_finished() {
    for golden in GOLDEN {
        let server = golden.server();
        let mut last = 0;
        for len in 0..server.len() {
            let mut client = golden.client();
            client.feed(&server[..len]).unwrap();
            last = if client.is_finished { last } else { len };
        }
        // Words may come after the last end.
        assert!(last + 10 > server.len(), "{} is finished after {last} of {} bytes", golden.name, server.len());
    }
}

#[test]
fn a_push_that_is_changed_ends_somehow() {
    for golden in GOLDEN {
        let server = golden.server();
        for at in 0..server.len() {
            let mut changed = server.clone();
            changed[at] ^= [0x01, 0x80, 0xff][at % 3];
            let mut client = golden.client();
            let _ = changed.chunks(997).try_for_each(|part| client.feed(part));
            // Nothing is sent more than twice.
            assert!(client.log.matches(": asked").count() <= 2 * client.contents.len());
        }
    }
}

const TRANSFER: u16 = 0x8000;
const NULL: SumHead = SumHead { count: 0, block_len: 0, strong_len: 0, remainder: 0 };

/// A peer that says whatever a test wants it to, after an honest handshake. The list has `.` as 0, `changed` as 1, `empty` as 2,
/// `sub` as 3.
struct Peer {
    data: Vec<u8>,
    frames: Vec<u8>,
    ndx: NdxWriter,
    deletions: Deletions,
}

impl Peer {
    fn new() -> Self {
        Self { data: Vec::new(), frames: Vec::new(), ndx: NdxWriter::new(), deletions: Deletions::None }
    }

    fn deleting() -> Self {
        Self { deletions: Deletions::Expected, ..Self::new() }
    }

    fn ndx(mut self, ndx: i32) -> Self {
        self.ndx.write(&mut self.data, ndx);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.data.extend_from_slice(bytes);
        self
    }

    fn remark(self, index: i32, flags: u16) -> Self {
        self.ndx(index).raw(&flags.to_le_bytes())
    }

    fn ask(self, index: i32, head: SumHead) -> Self {
        let mut peer = self.remark(index, TRANSFER);
        head.put(&mut peer.data);
        peer.data.extend(std::iter::repeat_n(7, (head.count as usize).min(100) * (4 + head.strong_len as usize)));
        peer
    }

    fn dones(self, count: usize) -> Self {
        (0..count).fold(self, |peer, _| peer.ndx(NDX_DONE))
    }

    fn message(mut self, tag: u8, payload: &[u8]) -> Self {
        let header = u32::from(7 + tag) << 24 | payload.len() as u32;
        self.frames.extend_from_slice(&header.to_le_bytes());
        self.frames.extend_from_slice(payload);
        self
    }

    fn talk(&self) -> Result<bool, ProtocolError> {
        let mut bytes = vec![32, 0, 0, 0, 0x81, 0xfe];
        put_vstring(&mut bytes, b"md5");
        bytes.extend_from_slice(&[1, 0, 0, 0]);
        bytes.extend_from_slice(&self.frames);
        put_data(&mut bytes, &self.data);
        let mut client = Client::new(Wanted { checksums: vec!["md5"], compressors: vec![] }, self.deletions);
        client.feed(&bytes)?;
        Ok(client.is_finished)
    }
}

fn head(count: u32, block_len: u32, strong_len: u32, remainder: u32) -> SumHead {
    SumHead { count, block_len, strong_len, remainder }
}

#[test]
fn an_honest_receiver_is_served() {
    let peer =
        Peer::new().remark(0, 0x0008).ask(1, NULL).ask(2, head(3, 700, 2, 6)).dones(1).ask(1, head(1, 700, 16, 0));
    assert_eq!(peer.dones(4).talk(), Ok(true));
    assert_eq!(Peer::deleting().dones(3).ndx(NDX_DEL_STATS).raw(&[1, 0, 0, 0, 0]).dones(2).talk(), Ok(true));
    // Sums of blocks too short to be searched are read and forgotten.
    assert_eq!(Peer::new().ask(1, head(3, 100, 2, 6)).dones(5).talk(), Ok(true));
    // A type and a name are given back unread.
    assert_eq!(Peer::new().remark(1, 0x1800).raw(b"\x83\x02ab").dones(5).talk(), Ok(true));
}

#[test]
fn a_receiver_that_breaks_a_rule_is_refused() {
    for (what, peer) in [
        ("an entry that was not listed", Peer::new().ask(6, NULL)),
        ("a remark about what was not listed", Peer::new().remark(6, 0)),
        ("the content of a directory", Peer::new().ask(0, NULL)),
        ("the content of another one", Peer::new().ask(3, NULL)),
        ("a third try", Peer::new().ask(1, NULL).ask(1, NULL).ask(1, NULL)),
        ("a request after the phase of requests", Peer::new().dones(2).ask(1, NULL)),
        ("remarks without end", (0..9).fold(Peer::new(), |peer, _| peer.remark(1, 0))),
        ("blocks without a length", Peer::new().ask(1, head(1, 0, 2, 0))),
        ("blocks that are too long", Peer::new().ask(1, head(1, 128 * 1024 + 1, 2, 0))),
        ("sums that everything matches", Peer::new().ask(1, head(1, 700, 1, 0))),
        ("sums longer than the digest", Peer::new().ask(1, head(1, 700, 17, 0))),
        ("a last block longer than the others", Peer::new().ask(1, head(1, 700, 2, 701))),
        ("more blocks than memory", Peer::new().ask(1, head(u32::MAX, 700, 16, 0))),
        ("attributes", Peer::new().remark(1, 0x0100)),
        ("an end of lists", Peer::new().ndx(-2)),
        ("a list", Peer::new().ndx(-101)),
        ("a count of deletions", Peer::new().dones(3).ndx(NDX_DEL_STATS).raw(&[0; 5])),
        ("a count too early", Peer::deleting().dones(2).ndx(NDX_DEL_STATS).raw(&[0; 5])),
        ("a second count", Peer::deleting().dones(3).ndx(NDX_DEL_STATS).raw(&[0; 5]).ndx(NDX_DEL_STATS).raw(&[0; 5])),
        ("a deletion", Peer::new().message(101, b"changed")),
        ("a refusal", Peer::new().message(102, &[1, 0, 0, 0])),
        ("a success", Peer::new().message(100, &[1, 0, 0, 0])),
    ] {
        let outcome = peer.talk();
        assert!(
            matches!(outcome, Err(ProtocolError::Violation(_) | ProtocolError::Malformed(_))),
            "{what}: {outcome:?}"
        );
    }
    assert_eq!(Peer::new().message(86, &[3, 0, 0, 0]).talk(), Err(ProtocolError::Remote(3)));
}

#[test]
fn lists_that_were_not_offered_are_refused() {
    let mut client = Client::new(Wanted { checksums: vec!["md5"], compressors: vec![] }, Deletions::None);
    let mut bytes = vec![32, 0, 0, 0, 0x81, 0xff];
    put_vstring(&mut bytes, b"md5");
    bytes.extend_from_slice(&[1, 0, 0, 0]);
    assert!(matches!(client.feed(&bytes), Err(ProtocolError::Violation(_))));
}
