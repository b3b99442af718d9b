//! The receiver against a server that lies: each rule of what a peer may say, broken once.

use super::{Answer, Receiver, Step, Wanted};
use crate::{
    error::ProtocolError,
    wire::{NDX_DONE, NDX_FLIST_EOF, NdxWriter, SumHead, put_data, put_vstring},
};
use clonepanel_core::{
    filter::{Filter, Rule},
    path::RelPath,
    transport::PullRequest,
};

const DIR: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;

/// A server that says whatever a test wants it to.
struct Server {
    data: Vec<u8>,
    ndx: NdxWriter,
}

impl Server {
    fn new() -> Self {
        Self { data: Vec::new(), ndx: NdxWriter::new() }
    }

    /// An entry without anything in common with the one before.
    fn entry(mut self, name: &[u8], mode: u32) -> Self {
        // Same uid, same gid, long name: what is left are length, time and mode.
        self.data.extend_from_slice(&[0x58, 0x80 | (name.len() >> 8) as u8, name.len() as u8]);
        self.data.extend_from_slice(name);
        self.data.extend_from_slice(&[0, 100, 0]);
        self.data.extend_from_slice(&[0x65, 0, 0xf1, 0x53]);
        self.data.extend_from_slice(&mode.to_le_bytes());
        if mode == LINK {
            self.data.extend_from_slice(b"\x03a/b");
        }
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.data.extend_from_slice(bytes);
        self
    }

    fn end(self) -> Self {
        self.raw(&[0, 0])
    }

    fn ndx(mut self, ndx: i32) -> Self {
        self.ndx.write(&mut self.data, ndx);
        self
    }

    /// The list of a directory begins.
    fn list(self, dir: i32) -> Self {
        self.ndx(-101 - dir)
    }

    fn reply(self, index: i32, flags: u16, head: SumHead) -> Self {
        let mut server = self.ndx(index).raw(&flags.to_le_bytes());
        head.put(&mut server.data);
        server
    }

    /// Everything, from the handshake on.
    fn stream(&self) -> Vec<u8> {
        let mut bytes = vec![32, 0, 0, 0, 0x81, 0xff];
        put_vstring(&mut bytes, b"md5");
        bytes.extend_from_slice(&[1, 0, 0, 0]);
        put_data(&mut bytes, &self.data);
        bytes
    }

    /// What a client makes of it: the paths that it offers, and what it refuses.
    fn talk_about(&self, request: PullRequest) -> Result<(Vec<String>, Vec<&'static str>), ProtocolError> {
        let mut receiver = Receiver::new(request, Wanted { checksums: vec!["md5"], compressors: vec![] });
        let (mut offered, mut refused) = (Vec::new(), Vec::new());
        receiver.feed(&self.stream())?;
        while let Some(step) = receiver.poll()? {
            match step {
                Step::Refused(refusal) => refused.push(refusal.why),
                Step::End { index, .. } => receiver.settle(index),
                _ => {}
            }
            while let Some((index, entry)) = receiver.next_entry() {
                offered.push(entry.path.to_string());
                if entry.has_content() {
                    receiver.ask(index, 100, &Answer { head: SumHead::default(), sums: Vec::new() })?;
                } else {
                    receiver.settle(index);
                }
            }
        }
        Ok((offered, refused))
    }

    fn talk(&self) -> Result<(Vec<String>, Vec<&'static str>), ProtocolError> {
        self.talk_about(PullRequest::new())
    }
}

fn root() -> Server {
    Server::new().entry(b".", DIR)
}

const NULL: SumHead = SumHead { count: 0, block_len: 0, strong_len: 0, remainder: 0 };

#[test]
fn an_honest_server_is_understood() {
    let server = root().entry(b"f", FILE).entry(b"d", DIR).end().list(1).entry(b"d/g", FILE).end().ndx(NDX_FLIST_EOF);
    let (offered, refused) = server.talk().unwrap();
    assert_eq!(offered, [".", "f", "d", "d/g"]);
    assert!(refused.is_empty());
}

#[test]
fn names_that_lead_out_are_refused() {
    let long = [&b"d/"[..], &[b'x'; 256]].concat();
    for name in [&b".."[..], b"../x", b"/etc/passwd", b"a/../b", b"./x", b"a//b", b"x\0y", b"x/", b"d/.", &long] {
        let (offered, refused) = root().entry(b"d", DIR).entry(name, FILE).end().talk().unwrap();
        assert_eq!(offered, [".", "d"], "{name:?}");
        assert_eq!(refused.len(), 1, "{name:?}");
    }
    let too_long = [b'x'; 4096];
    assert!(root().entry(&too_long, FILE).end().talk().is_err());
}

#[test]
fn entries_outside_of_listed_directories_are_refused() {
    // Below nothing, below a file, below a link.
    for parent in [root(), root().entry(b"p", FILE), root().entry(b"p", LINK)] {
        let (offered, refused) = parent.entry(b"p/x", FILE).end().talk().unwrap();
        assert!(!offered.contains(&"p/x".to_owned()));
        assert_eq!(refused.len(), 1);
    }
    // In the list of another directory, and in the list of one that was refused.
    let two = || root().entry(b"a", DIR).entry(b"b", DIR).end();
    for (dir, name) in [(1, &b"b/x"[..]), (1, b"x"), (2, b"a/x"), (1, b"a/y/x")] {
        let (offered, refused) = two().list(dir).entry(name, FILE).end().talk().unwrap();
        assert_eq!((offered.len(), refused.len()), (3, 1), "{name:?}");
    }
    let (offered, _) = root().entry(b"../e", DIR).end().list(1).entry(b"../e/x", FILE).end().talk().unwrap();
    assert_eq!(offered, ["."]);
}

#[test]
fn a_directory_is_listed_once() {
    let server = || root().entry(b"d", DIR).end().list(1).entry(b"d/x", FILE).end();
    assert!(server().talk().is_ok());
    assert!(server().list(1).end().talk().is_err());
    assert!(server().list(2).end().talk().is_err());
    assert!(server().ndx(NDX_FLIST_EOF).list(0).end().talk().is_err());
    assert!(server().ndx(NDX_FLIST_EOF).ndx(NDX_FLIST_EOF).talk().is_err());
}

#[test]
fn a_root_that_is_no_directory_is_refused() {
    for mode in [FILE, LINK] {
        let (offered, refused) = Server::new().entry(b".", mode).end().talk().unwrap();
        assert_eq!((offered.len(), refused.len()), (0, 1));
    }
    let (offered, refused) = root().entry(b"d", DIR).end().list(1).entry(b".", DIR).end().talk().unwrap();
    assert_eq!((offered.len(), refused.len()), (2, 1));
}

#[test]
fn what_was_not_asked_for_is_refused() {
    let path = |text: &str| RelPath::try_from(text).unwrap();
    let request =
        PullRequest::new().paths(vec![path("site/public")]).filter(Filter::new(vec![Rule::parse("*.key").unwrap()]));
    let server = root()
        .entry(b".bashrc", FILE)
        .entry(b"site", DIR)
        .entry(b"site/private", DIR)
        .entry(b"site/public", DIR)
        .entry(b"site/public.key", FILE)
        .end();
    let (offered, refused) = server.talk_about(request).unwrap();
    assert_eq!(offered, [".", "site", "site/public"]);
    assert_eq!(refused.len(), 3);
}

#[test]
fn equal_names_are_taken_once() {
    let (offered, refused) = root().entry(b"f", FILE).entry(b"f", FILE).entry(b"f", DIR).end().talk().unwrap();
    assert_eq!(offered, [".", "f"]);
    assert_eq!(refused.len(), 2);
}

#[test]
fn replies_must_be_what_was_asked() {
    let list = || root().entry(b"f", FILE).end().ndx(NDX_FLIST_EOF);
    let content = |server: Server| server.raw(&[0; 4]).raw(&[0; 16]);
    let good = || content(list().reply(2, 0x8000, NULL));
    assert!(good().talk().is_ok());
    for bad in [
        // The root, an index below the first list, one that does not exist, one that is answered twice.
        list().reply(1, 0x8000, NULL),
        list().reply(0, 0x8000, NULL),
        list().reply(3, 0x8000, NULL),
        good().reply(2, 0x8000, NULL),
        // Flags that would bring a basis type or a name along, or no data.
        list().reply(2, 0x8800, NULL),
        list().reply(2, 0x9000, NULL),
        list().reply(2, 0x0000, NULL),
        // Another sum head than the one that was sent.
        list().reply(2, 0x8000, SumHead { count: 1, block_len: 700, strong_len: 2, remainder: 0 }),
        list().reply(2, 0x8000, SumHead { strong_len: 1 << 30, ..NULL }),
        // A block where there is no basis.
        list().reply(2, 0x8000, NULL).raw(&(-1_i32).to_le_bytes()),
        list().reply(2, 0x8000, NULL).raw(&i32::MIN.to_le_bytes()),
        // Ends that nobody asked for, and marks that have no place in a pull.
        list().ndx(NDX_DONE),
        list().ndx(-3).raw(&[0; 5]),
        list().ndx(-4),
    ] {
        assert!(bad.talk().is_err(), "{:x?}", bad.data);
    }
}

#[test]
fn a_file_without_end_is_cut() {
    let mut receiver = Receiver::new(PullRequest::new(), Wanted { checksums: vec!["md5"], compressors: vec![] });
    let server = root().entry(b"f", FILE).end().ndx(NDX_FLIST_EOF).reply(2, 0x8000, NULL);
    receiver.feed(&server.stream()).unwrap();
    while receiver.poll().unwrap().is_some() {
        while let Some((index, entry)) = receiver.next_entry() {
            if entry.has_content() {
                receiver.ask(index, 100, &Answer { head: SumHead::default(), sums: Vec::new() }).unwrap();
            } else {
                receiver.settle(index);
            }
        }
    }
    let literal = [&(1_i32 << 20).to_le_bytes()[..], &vec![0; 1 << 20]].concat();
    let mut frames = Vec::new();
    put_data(&mut frames, &literal);
    let mut drain = || {
        receiver.feed(&frames)?;
        while receiver.poll()?.is_some() {}
        Ok::<(), ProtocolError>(())
    };
    // A gibibyte more than the file's length is let pass, since it may have grown.
    assert!((0..1100).any(|_| drain().is_err()));
}

#[test]
fn a_refusal_must_be_of_a_request() {
    let list = root().entry(b"f", FILE).end().ndx(NDX_FLIST_EOF).stream();
    let no_send = |index: u32| [&[4, 0, 0, 109][..], &index.to_le_bytes()].concat();
    for (index, is_good) in [(2, true), (1, false), (7, false), (u32::MAX, false)] {
        let mut receiver = Receiver::new(PullRequest::new(), Wanted { checksums: vec!["md5"], compressors: vec![] });
        receiver.feed(&list).unwrap();
        while receiver.poll().unwrap().is_some() {
            while let Some((index, entry)) = receiver.next_entry() {
                if entry.has_content() {
                    receiver.ask(index, 100, &Answer { head: SumHead::default(), sums: Vec::new() }).unwrap();
                } else {
                    receiver.settle(index);
                }
            }
        }
        receiver.feed(&no_send(index)).unwrap();
        let step = receiver.poll();
        assert_eq!(step == Ok(Some(Step::Unsent { index })), is_good, "{step:?}");
        assert_eq!(step.is_err(), !is_good);
    }
}
