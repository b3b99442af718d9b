//! [`Preamble`]: what a login tells before rsync starts in it: missing paths, its clock, and which files were touched.
//!
//! One script runs in the login: it goes to the root of the transfer, reports, and becomes rsync. Whatever the login shell
//! prints before it is skipped, because the report begins with a line that is new each time.

use crate::{
    connect::RemoteCommand,
    error::ProtocolError,
    options::{ChangeDetection, RsyncOptions},
};
use bytes::{Buf, BytesMut};
use clonepanel_core::{entry::Freshness, path::RelPath, time::Timestamp, transport::PullRequest};
use std::{collections::HashSet, time::Duration};

/// How much text a login shell may print before the report.
const MAX_NOISE: usize = 64 * 1024;
/// The longest line of the report.
const MAX_LINE: usize = 256;
/// Touched files that are told apart; with more, every file counts as touched.
const MAX_TOUCHED: usize = 1 << 20;
/// Changes this close before the last scan began may have come after it looked.
const UNSETTLED: Duration = Duration::from_secs(2);

/// The command of a pull: the script and what its report begins with, or rsync alone.
#[derive(Debug)]
pub(crate) struct PullCommand {
    pub(crate) command: RemoteCommand,
    pub(crate) marker: Option<Vec<u8>>,
}

impl PullCommand {
    pub(crate) fn new(root: &[u8], request: &PullRequest, options: &RsyncOptions) -> Self {
        let paths: Vec<_> = wanted_paths(request).iter().map(operand).collect();
        if options.change_detection == ChangeDetection::SizeAndTime {
            let mut words = server(options, !request.wanted_paths().is_empty());
            words.extend(paths.iter().map(|path| under(root, path)));
            return Self { command: RemoteCommand::new(words), marker: None };
        }
        let marker = marker();
        let mut script = Script::new(&marker, root);
        script.look_for(&paths).add(b"echo \"clock $(date +%s)\"\n");
        if let Some(since) = request.fresh_since() {
            let since = since.before(UNSETTLED);
            script.add(b"if find . -maxdepth 0 -newerct @0 >/dev/null 2>&1; then echo touched; find");
            for path in &paths {
                script.add(b" ").word(path);
            }
            script
                .add(format!(" -type f -newerct @{} -print0 2>/dev/null; printf '\\0'; fi\n", since.secs()).as_bytes());
        }
        script.add(b"echo go\nexec");
        let mut words = server(options, !request.wanted_paths().is_empty());
        words.extend(paths);
        for word in &words {
            script.add(b" ").word(word);
        }
        Self { command: RemoteCommand::script(script.text), marker: Some(marker) }
    }
}

/// A script that says what a login has: [`Preamble::facts`] are the first line of `rsync --version`, then `find` if changes
/// can be found with it.
pub(crate) fn probe_command(root: &[u8], request: &PullRequest, options: &RsyncOptions) -> PullCommand {
    let marker = marker();
    let mut script = Script::new(&marker, root);
    let paths: Vec<_> = wanted_paths(request).iter().map(operand).collect();
    script.look_for(&paths).add(b"echo \"clock $(date +%s)\"\necho \"fact $(").word(&options.rsync_program);
    script.add(b" --version 2>/dev/null | head -n 1)\"\n");
    script.add(b"if find . -maxdepth 0 -newerct @0 >/dev/null 2>&1; then echo fact find; fi\necho go\n");
    PullCommand { command: RemoteCommand::script(script.text), marker: Some(marker) }
}

struct Script {
    text: Vec<u8>,
}

impl Script {
    fn new(marker: &[u8], root: &[u8]) -> Self {
        let mut script = Self { text: Vec::new() };
        // A line of its own, even after a prompt without a line end.
        script.add(b"LC_ALL=C; export LC_ALL\necho; echo ").add(marker).add(b"\n");
        if !root.is_empty() {
            // CDPATH would make cd go elsewhere and print where.
            script.add(b"CDPATH=; cd ").word(&not_an_option(root)).add(b" 2>/dev/null || { echo noroot; exit 0; }\n");
        }
        script
    }

    /// Names those that do not exist by their number.
    fn look_for(&mut self, paths: &[Vec<u8>]) -> &mut Self {
        for (index, path) in paths.iter().enumerate() {
            self.add(b"[ -e ").word(path).add(b" ] || [ -L ").word(path);
            self.add(format!(" ] || echo missing {index}\n").as_bytes());
        }
        self
    }

    fn add(&mut self, text: &[u8]) -> &mut Self {
        self.text.extend_from_slice(text);
        self
    }

    fn word(&mut self, word: &[u8]) -> &mut Self {
        crate::connect::quote_into(word, &mut self.text);
        self
    }
}

/// A line that no login prints by chance.
fn marker() -> Vec<u8> {
    let now = Timestamp::from(std::time::SystemTime::now());
    format!("clonepanel-{:x}-{:x}-{:x}", std::process::id(), now.secs(), now.nanos()).into_bytes()
}

/// The server's side of a pull. The letters decide the layout of the wire: see `wire::entry`.
fn server(options: &RsyncOptions, is_relative: bool) -> Vec<Vec<u8>> {
    let mut letters = String::from("-logDtpr");
    letters.push('H');
    if is_relative {
        letters.push('R');
    }
    if !options.wanted().compressors.is_empty() {
        letters.push('z');
    }
    letters.push_str("e.iLfxCvu");
    let mut words = vec![options.rsync_program.clone(), b"--server".to_vec(), b"--sender".to_vec(), letters.into()];
    if let Some(bandwidth) = options.bandwidth {
        words.push(format!("--bwlimit={}", bandwidth.div_ceil(1024)).into());
    }
    words.push(b".".to_vec());
    words
}

/// What is asked for, below the root, without what another path covers; the root alone when everything is.
pub(crate) fn wanted_paths(request: &PullRequest) -> Vec<RelPath> {
    let mut paths = request.wanted_paths().to_vec();
    paths.sort();
    // A path stands right before what is below it.
    paths.dedup_by(|path, before| path.is_within(before));
    if paths.is_empty() { vec![RelPath::root()] } else { paths }
}

/// A path as an operand of a command that runs in the root.
fn operand(path: &RelPath) -> Vec<u8> {
    [b"./", path.as_bytes()].concat()
}

fn under(root: &[u8], path: &[u8]) -> Vec<u8> {
    match root {
        b"" => path.to_vec(),
        root if path == b"./" => [&not_an_option(root), &b"/"[..]].concat(),
        root => [&not_an_option(root), &b"/"[..], path].concat(),
    }
}

fn not_an_option(path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"-") { [b"./", path].concat() } else { path.to_vec() }
}

/// What the script reported.
#[derive(Debug, Default)]
pub(crate) struct Preamble {
    marker: Vec<u8>,
    state: State,
    /// What the login shell printed before the report.
    pub(crate) noise: Vec<u8>,
    pub(crate) root_is_missing: bool,
    /// Which of the wanted paths do not exist.
    pub(crate) missing: Vec<usize>,
    pub(crate) clock: Option<Timestamp>,
    pub(crate) facts: Vec<Vec<u8>>,
    touched: Option<HashSet<RelPath>>,
    is_overfull: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Noise,
    Lines,
    Touched,
    Done,
}

impl Preamble {
    pub(crate) fn new(marker: Option<Vec<u8>>) -> Self {
        let state = if marker.is_some() { State::Noise } else { State::Done };
        Self { marker: marker.unwrap_or_default(), state, ..Self::default() }
    }

    /// Whether the report is complete: what follows belongs to rsync.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the report began.
    pub(crate) fn has_begun(&self) -> bool {
        self.state != State::Noise
    }

    /// Takes its part of the output off `buffer`.
    pub(crate) fn read(&mut self, buffer: &mut BytesMut) -> Result<(), ProtocolError> {
        loop {
            let (end, limit) = match self.state {
                State::Done => return Ok(()),
                State::Touched => (0, clonepanel_core::path::MAX_PATH_LEN + 2),
                State::Noise | State::Lines => (b'\n', MAX_LINE),
            };
            let Some(at) = buffer.iter().position(|&byte| byte == end) else {
                let limit = if self.state == State::Noise { MAX_NOISE } else { limit };
                return if buffer.len() > limit {
                    Err(ProtocolError::Malformed("report of the login"))
                } else {
                    Ok(())
                };
            };
            let line = buffer.split_to(at);
            buffer.advance(1);
            match self.state {
                State::Touched => self.touched(&line),
                State::Noise => self.noise(&line)?,
                _ => self.line(&line)?,
            }
        }
    }

    fn noise(&mut self, line: &[u8]) -> Result<(), ProtocolError> {
        if line == self.marker {
            self.state = State::Lines;
            return Ok(());
        }
        self.noise.extend_from_slice(line);
        self.noise.push(b'\n');
        if self.noise.len() > MAX_NOISE {
            Err(ProtocolError::Malformed("login: it prints without end"))
        } else {
            Ok(())
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), ProtocolError> {
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.trim().parse::<i64>().ok();
        match line {
            b"go" => self.state = State::Done,
            b"noroot" => {
                self.root_is_missing = true;
                self.state = State::Done;
            }
            b"touched" => {
                self.touched = Some(HashSet::new());
                self.state = State::Touched;
            }
            line => {
                if let Some(secs) = line.strip_prefix(b"clock ").and_then(number) {
                    self.clock = Some(Timestamp::from_secs(secs));
                } else if let Some(index) = line.strip_prefix(b"missing ").and_then(number) {
                    self.missing.extend(usize::try_from(index).ok().filter(|_| self.missing.len() < 1000));
                } else if let Some(fact) = line.strip_prefix(b"fact ") {
                    self.facts.extend(Some(fact.to_vec()).filter(|_| self.facts.len() < 10));
                } else if !line.starts_with(b"clock ") {
                    return Err(ProtocolError::Malformed("report of the login"));
                }
            }
        }
        Ok(())
    }

    fn touched(&mut self, path: &[u8]) {
        if path.is_empty() {
            self.state = State::Lines;
            return;
        }
        let path = path.strip_prefix(b"./").unwrap_or(path);
        let path = path.strip_prefix(b"/").unwrap_or(path);
        if let (Some(touched), Ok(path)) = (&mut self.touched, RelPath::try_from(path)) {
            if touched.len() < MAX_TOUCHED {
                touched.insert(path);
            } else {
                self.is_overfull = true;
            }
        }
    }

    /// A clock that went back behind the last scan names too few files: nothing it says about changes can be believed.
    pub(crate) fn check_clock(&mut self, since: Option<Timestamp>) {
        if self.clock.is_none_or(|clock| since.is_some_and(|since| clock < since)) {
            self.touched = None;
        }
    }

    /// What the report says about a file.
    pub(crate) fn freshness(&self, path: &RelPath) -> Freshness {
        match &self.touched {
            None => Freshness::Unknown,
            Some(touched) if self.is_overfull || touched.contains(path) => Freshness::Touched,
            Some(_) => Freshness::Settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], step: usize) -> Result<(Preamble, Vec<u8>), ProtocolError> {
        let mut preamble = Preamble::new(Some(b"mark".to_vec()));
        let mut buffer = BytesMut::new();
        for part in bytes.chunks(step) {
            buffer.extend_from_slice(part);
            preamble.read(&mut buffer)?;
        }
        Ok((preamble, buffer.to_vec()))
    }

    #[test]
    fn a_banner_is_skipped_wherever_it_is_cut() {
        let bytes = b"Welcome!\n\nmark\nclock 17\ntouched\n./a\n/b\0./c\0\0go\n\x20\0\0\0";
        for step in 1..bytes.len() {
            let (preamble, rest) = read(bytes, step).unwrap();
            assert!(preamble.is_done());
            assert_eq!(rest, b"\x20\0\0\0");
            assert_eq!(preamble.noise, b"Welcome!\n\n");
            assert_eq!(preamble.clock, Some(Timestamp::from_secs(17)));
            let fresh = |path: &str| preamble.freshness(&RelPath::try_from(path).unwrap());
            assert_eq!(
                [fresh("a\n/b"), fresh("c"), fresh("d")],
                [Freshness::Touched, Freshness::Touched, Freshness::Settled]
            );
        }
    }

    #[test]
    fn a_clock_that_went_back_is_not_believed() {
        let mut preamble = read(b"mark\nclock 17\ntouched\n\0go\n", 1).unwrap().0;
        preamble.check_clock(Some(Timestamp::from_secs(17)));
        assert_eq!(preamble.freshness(&RelPath::root()), Freshness::Settled);
        preamble.check_clock(Some(Timestamp::from_secs(18)));
        assert_eq!(preamble.freshness(&RelPath::root()), Freshness::Unknown);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(read(&[b'x'; MAX_NOISE + 1], 1000).is_err());
        assert!(read(&[&b"mark\n"[..], &[b'x'; MAX_LINE + 1]].concat(), 1000).is_err());
        assert!(read(b"mark\nwhat\n", 1).is_err());
        assert!(read(&b"line\n".repeat(MAX_NOISE), 1000).is_err());
    }

    #[test]
    fn covered_paths_are_asked_for_once() {
        let request = PullRequest::new().paths(["a/b", "c", "a"].map(|p| RelPath::try_from(p).unwrap()).to_vec());
        let paths: Vec<_> = wanted_paths(&request).iter().map(operand).collect();
        assert_eq!(paths, [b"./a".to_vec(), b"./c".to_vec()]);
        assert_eq!(wanted_paths(&PullRequest::new()).iter().map(operand).collect::<Vec<_>>(), [b"./".to_vec()]);
        assert_eq!(under(b"-x", b"./"), b"./-x/");
        assert_eq!(under(b"/home/x", b"./a"), b"/home/x/./a");
    }
}
