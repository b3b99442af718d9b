//! [`Preamble`]: what a login tells before rsync starts in it: missing paths, its clock, and which files were touched.
//!
//! One script runs in the login: it goes to the root of the transfer, reports, and becomes rsync. Whatever the login shell
//! prints before it is skipped, because the report begins with a line that is new each time.

use crate::{
    connect::RemoteCommand,
    error::ProtocolError,
    options::{ChangeDetection, RsyncOptions},
    partial::PARTIAL_DIR,
};
use bytes::{Buf, BytesMut};
use clonepanel_core::{
    entry::Freshness,
    path::RelPath,
    time::Timestamp,
    transport::{Comparison, PullRequest},
};
use std::{collections::HashSet, time::Duration};

/// How much text a login shell may print before the report.
const MAX_NOISE: usize = 64 * 1024;
/// The longest line of the report.
const MAX_LINE: usize = 256;
/// What the names of touched files may take; with more, nothing is known.
const MAX_TOUCHED_BYTES: usize = 64 << 20;
const NAME_BYTES: usize = 64;
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
        let mut script = Script::new(&marker, root, Root::Expected);
        script.look_for(&paths).add(CLOCK);
        if let Some(since) = request.fresh_since() {
            script.find_touched(&paths, since.before(UNSETTLED));
        }
        script.add(b"; echo go; exec");
        let mut words = server(options, !request.wanted_paths().is_empty());
        words.extend(paths);
        for word in &words {
            script.add(b" ").word(word);
        }
        Self { command: RemoteCommand::script(script.text), marker: Some(marker) }
    }
}

/// The command of a push: the script and what its report begins with, or rsync alone.
#[derive(Debug)]
pub(crate) struct PushCommand {
    pub(crate) command: RemoteCommand,
    pub(crate) marker: Option<Vec<u8>>,
}

impl PushCommand {
    /// Writes to `root`, which is made when it is missing. With a limit the far end deletes what it was not told of, last of
    /// all.
    pub(crate) fn new(root: &[u8], comparison: Comparison, max_delete: Option<u64>, options: &RsyncOptions) -> Self {
        // Behind `e`: without `i`, the whole list goes first; without `I`, partial files are no place to write to.
        let compresses = if options.wanted().compressors.is_empty() { "" } else { "z" };
        // The far end asks for every file, with the sums of what it has: there is no need to know all hashes beforehand.
        let ignores_times = if comparison == Comparison::Content { "I" } else { "" };
        let letters = format!("-logDtprH{ignores_times}{compresses}e.LfxCvu");
        let mut words = vec![options.rsync_program.clone(), b"--server".to_vec(), letters.into_bytes()];
        words.extend([b"--partial-dir".to_vec(), PARTIAL_DIR.to_vec()]);
        if let Some(limit) = max_delete {
            // With a format, each deletion is told by name: protocol 30 has no counter.
            words.extend([b"--delete-after".to_vec(), b"--log-format=%i".to_vec()]);
            words.push(format!("--max-delete={}", limit.min(MAX_DELETE)).into_bytes());
        }
        words.push(b".".to_vec());
        if options.change_detection == ChangeDetection::SizeAndTime {
            words.push(under(root, b"./"));
            return Self { command: RemoteCommand::new(words), marker: None };
        }
        words.push(b"./".to_vec());
        let marker = marker();
        let mut script = Script::new(&marker, root, Root::Made);
        script.add(b"; echo go; exec");
        for word in &words {
            script.add(b" ").word(word);
        }
        Self { command: RemoteCommand::script(script.text), marker: Some(marker) }
    }
}

/// The largest number that rsync takes.
const MAX_DELETE: u64 = i32::MAX as u64;

/// Tells the login's own time.
const CLOCK: &[u8] = b"; echo \"clock $(date +%s)\"";
/// Whether there is a `find` that can do what is needed (GNU's).
const CAN_FIND: &[u8] = b"find . -maxdepth 0 -newerct @0 -printf '' >/dev/null 2>&1";

/// A script that says what a login has: [`Preamble::facts`] are the first line of `rsync --version`, then `find` if changes
/// can be found with it.
pub(crate) fn probe_command(root: &[u8], request: &PullRequest, options: &RsyncOptions) -> PullCommand {
    let marker = marker();
    let mut script = Script::new(&marker, root, Root::Expected);
    let paths: Vec<_> = wanted_paths(request).iter().map(operand).collect();
    script.look_for(&paths).add(CLOCK).add(b"; echo \"fact $(").word(&options.rsync_program);
    script.add(b" --version 2>/dev/null | head -n 1)\"; if ").add(CAN_FIND).add(b"; then echo fact find; fi; echo go");
    PullCommand { command: RemoteCommand::script(script.text), marker: Some(marker) }
}

/// A script in one line: csh knows no line ends in quotes.
struct Script {
    text: Vec<u8>,
}

/// Whether a root that is not there is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Expected,
    Made,
}

impl Script {
    fn new(marker: &[u8], root: &[u8], made: Root) -> Self {
        let mut script = Self { text: Vec::new() };
        // A line of its own, even after a prompt without a line end. CDPATH would make cd go elsewhere and print where.
        script.add(b"LC_ALL=C; CDPATH=; export LC_ALL; echo; echo ").add(marker);
        if !root.is_empty() && made == Root::Made {
            script.add(b"; mkdir -p ").word(&not_an_option(root)).add(b" 2>/dev/null");
        }
        if !root.is_empty() {
            let root = not_an_option(root);
            script.add(b"; cd ").word(&root).add(b" 2>/dev/null || { ").unless_there(&root, "noroot", "deniedroot");
            script.add(b"; exit 0; }");
        }
        script
    }

    /// Names those that do not exist, and those that cannot be looked at, by their number.
    fn look_for(&mut self, paths: &[Vec<u8>]) -> &mut Self {
        for (index, path) in paths.iter().enumerate() {
            self.add(b"; [ -e ").word(path).add(b" ] || [ -L ").word(path).add(b" ] || ");
            self.unless_there(path, &format!("missing {index}"), &format!("denied {index}"));
        }
        self
    }

    /// An error is not taken for an absence: only what the system says not to exist is missing.
    fn unless_there(&mut self, path: &[u8], missing: &str, denied: &str) -> &mut Self {
        self.add(b"case $(ls -d ").word(path);
        self.add(
            format!(" 2>&1) in *\"No such file or directory\") echo {missing};; *) echo {denied};; esac").as_bytes(),
        )
    }

    /// Lists the files whose change time moved, and the directories that were renamed, with a `/` behind them: a rename moves
    /// the change time of a directory, but not of what is in it. A `find` that did not come to its end tells nothing.
    fn find_touched(&mut self, paths: &[Vec<u8>], since: Timestamp) -> &mut Self {
        self.add(b"; if ").add(CAN_FIND).add(b"; then echo touched; { e=$(find");
        for path in paths {
            self.add(b" ").word(path);
        }
        let secs = since.secs();
        self.add(
            format!(
                " \\( -type f -newerct @{secs} -print0 \\) -o \\( -type d -newerct @{secs} ! -newermt @{secs} -printf '%p/\\0' \\) \
                 2>&1 >&3); s=$?; }} 3>&1; printf '\\0'; [ $s -le 1 ] || echo untold; echo \"$e\" | \
                 grep -v -e 'Permission denied$' -e 'No such file or directory$' | grep -q . && echo untold; fi"
            )
            .as_bytes(),
        )
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
    /// The root is there, but the login may not go into it.
    pub(crate) root_is_denied: bool,
    /// Which of the wanted paths do not exist.
    pub(crate) missing: Vec<usize>,
    /// Which of them cannot be looked at.
    pub(crate) denied: Vec<usize>,
    pub(crate) clock: Option<Timestamp>,
    pub(crate) facts: Vec<Vec<u8>>,
    touched: Option<HashSet<RelPath>>,
    /// Directories that were renamed: everything below them counts as touched.
    renamed: HashSet<RelPath>,
    touched_bytes: usize,
    /// The rest of a name that is too long is skipped.
    is_skipping: bool,
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

    /// Whether the far end is looking for touched files, which can take long without a word.
    pub(crate) fn is_searching(&self) -> bool {
        self.state == State::Touched
    }

    /// Whether the script runs there: what ends now is not the login itself.
    pub(crate) fn has_spoken(&self) -> bool {
        !self.marker.is_empty() && self.has_begun()
    }

    /// Whether the report began.
    pub(crate) fn has_begun(&self) -> bool {
        self.state != State::Noise
    }

    /// Takes its part of the output off `buffer`.
    pub(crate) fn read(&mut self, buffer: &mut BytesMut, request: &PullRequest) -> Result<(), ProtocolError> {
        loop {
            let (end, limit) = match self.state {
                State::Done => return Ok(()),
                State::Touched => (0, clonepanel_core::path::MAX_PATH_LEN + 3),
                State::Noise | State::Lines => (b'\n', MAX_LINE),
            };
            let Some(at) = buffer.iter().position(|&byte| byte == end) else {
                if self.state == State::Touched && buffer.len() > limit {
                    // Longer names are possible, though rsync does not list them.
                    buffer.clear();
                    self.is_skipping = true;
                }
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
                State::Touched if std::mem::take(&mut self.is_skipping) => {}
                State::Touched => self.touched(&line, request),
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
            b"noroot" | b"deniedroot" => {
                self.root_is_missing = line == b"noroot";
                self.root_is_denied = !self.root_is_missing;
                self.state = State::Done;
            }
            b"untold" => self.touched = None,
            b"touched" => {
                self.touched = Some(HashSet::new());
                self.state = State::Touched;
            }
            line => {
                if let Some(secs) = line.strip_prefix(b"clock ").and_then(number) {
                    self.clock = Some(Timestamp::from_secs(secs));
                } else if let Some(index) = line.strip_prefix(b"missing ").and_then(number) {
                    self.missing.extend(usize::try_from(index).ok().filter(|_| self.missing.len() < 1000));
                } else if let Some(index) = line.strip_prefix(b"denied ").and_then(number) {
                    self.denied.extend(usize::try_from(index).ok().filter(|_| self.denied.len() < 1000));
                } else if let Some(fact) = line.strip_prefix(b"fact ") {
                    self.facts.extend(Some(fact.to_vec()).filter(|_| self.facts.len() < 10));
                } else if !line.starts_with(b"clock ") {
                    return Err(ProtocolError::Malformed("report of the login"));
                }
            }
        }
        Ok(())
    }

    fn touched(&mut self, path: &[u8], request: &PullRequest) {
        if path.is_empty() {
            self.state = State::Lines;
            return;
        }
        let path = path.strip_prefix(b"./").unwrap_or(path);
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let dir = path.strip_suffix(b"/");
        // Caches and sessions that are left out would only fill the memory.
        let Some(path) = RelPath::try_from(dir.unwrap_or(path)).ok().filter(|path| request.covers(path, dir.is_some()))
        else {
            return;
        };
        self.touched_bytes += path.as_bytes().len() + NAME_BYTES;
        if self.touched_bytes > MAX_TOUCHED_BYTES {
            self.touched = None;
        }
        if let Some(touched) = &mut self.touched {
            (if dir.is_some() { &mut self.renamed } else { touched }).insert(path);
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
        let Some(touched) = &self.touched else { return Freshness::Unknown };
        let is_moved = || {
            !self.renamed.is_empty()
                && std::iter::successors(path.parent(), RelPath::parent).any(|parent| self.renamed.contains(&parent))
        };
        if touched.contains(path) || is_moved() { Freshness::Touched } else { Freshness::Settled }
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
            preamble.read(&mut buffer, &PullRequest::new())?;
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
    fn a_search_that_did_not_end_tells_nothing() {
        let fresh = |bytes: &[u8]| read(bytes, 3).unwrap().0.freshness(&RelPath::try_from("x").unwrap());
        assert_eq!(fresh(b"mark\nclock 17\ntouched\n./a\0\0go\n"), Freshness::Settled);
        assert_eq!(fresh(b"mark\nclock 17\ntouched\n./a\0\0untold\ngo\n"), Freshness::Unknown);
    }

    #[test]
    fn what_is_below_a_renamed_directory_is_touched() {
        let preamble = read(b"mark\nclock 17\ntouched\n./a/b/\0\0go\n", 3).unwrap().0;
        let fresh = |path: &str| preamble.freshness(&RelPath::try_from(path).unwrap());
        assert_eq!(
            ["a/b/c", "a/b/c/d", "a/c"].map(fresh),
            [Freshness::Touched, Freshness::Touched, Freshness::Settled]
        );
    }

    #[test]
    fn a_name_that_is_too_long_is_skipped() {
        let bytes = [b"mark\ntouched\n./", &vec![b'x'; 10_000][..], b"\0./a\0\0go\n"].concat();
        for step in [100, 5_000, bytes.len()] {
            let preamble = read(&bytes, step).unwrap().0;
            assert!(preamble.is_done());
            assert_eq!(preamble.freshness(&RelPath::try_from("a").unwrap()), Freshness::Touched);
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
