//! The header of a manifest: a [`SnapshotInfo`] as lines of a word and its value.

use super::{
    MAGIC, field,
    line::{parse_path, push_path},
};
use crate::{
    problem::{MAX_LISTED, Problem, ProblemKind, Problems},
    snapshot_id::SnapshotId,
    store::{SnapshotInfo, Tally},
    suspicion::Suspicion,
    time::Timestamp,
};

/// The words in their order. All but the last stand before a space and a value.
const WORDS: [&str; 10] =
    ["id", "begun", "committed", "source-clock", "base", "tally", "problems", "problem", "suspicion", "records"];

/// How many suspicions are read: there are not so many kinds.
const MAX_SUSPICIONS: usize = 100;

pub(super) fn encode(info: &SnapshotInfo, out: &mut Vec<u8>) {
    let SnapshotInfo { id, begun, committed, source_clock, base, tally, problems, suspicions } = info;
    out.extend_from_slice(MAGIC);
    push(out, "\nid ", id.to_string().as_bytes());
    push_time(out, "\nbegun ", *begun);
    push_time(out, "\ncommitted ", *committed);
    if let Some(clock) = source_clock {
        push_time(out, "\nsource-clock ", *clock);
    }
    if let Some(base) = base {
        push(out, "\nbase ", base.to_string().as_bytes());
    }
    out.extend_from_slice(b"\ntally");
    for (name, number) in numbers(tally) {
        push(out, " ", name.as_bytes());
        out.push(b'=');
        field::push_decimal(out, number);
    }
    push_number(out, "\nproblems ", problems.total());
    push_number(out, " ", problems.losses());
    for problem in problems.listed() {
        push(out, "\nproblem ", problem.kind.word().as_bytes());
        out.push(b' ');
        push_path(out, &problem.path);
        if !problem.detail().is_empty() {
            push(out, " ", problem.detail().as_bytes());
        }
    }
    for suspicion in suspicions.iter().take(MAX_SUSPICIONS) {
        push(out, "\nsuspicion ", suspicion.word().as_bytes());
        for number in suspicion.numbers() {
            push_number(out, " ", number);
        }
    }
    out.extend_from_slice(b"\nrecords\n");
}

fn push(out: &mut Vec<u8>, word: &str, value: &[u8]) {
    out.extend_from_slice(word.as_bytes());
    out.extend_from_slice(value);
}

fn push_number(out: &mut Vec<u8>, word: &str, number: u64) {
    out.extend_from_slice(word.as_bytes());
    field::push_decimal(out, number);
}

fn push_time(out: &mut Vec<u8>, word: &str, time: Timestamp) {
    out.extend_from_slice(word.as_bytes());
    field::push_time(out, time);
}

/// What was read of a header so far.
#[derive(Debug, Default)]
pub(super) struct Header {
    word: usize,
    id: Option<SnapshotId>,
    begun: Option<Timestamp>,
    committed: Option<Timestamp>,
    source_clock: Option<Timestamp>,
    base: Option<SnapshotId>,
    tally: Option<Tally>,
    counts: Option<(u64, u64)>,
    problems: Vec<Problem>,
    suspicions: Vec<Suspicion>,
}

impl Header {
    /// Takes a line; the last one gives everything.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<Option<SnapshotInfo>, &'static str> {
        if line == b"records" {
            return std::mem::take(self).info().map(Some).ok_or("a header that lacks something or has wrong counts");
        }
        let space = line.iter().position(|&b| b == b' ').ok_or("a header line without a value")?;
        let (word, value) = (&line[..space], &line[space + 1..]);
        let at = WORDS.iter().position(|known| known.as_bytes() == word).ok_or("a header line with an unknown word")?;
        let again = at + 1 == self.word && matches!(WORDS[at], "problem" | "suspicion");
        if at < self.word && !again {
            return Err("a header line out of its order");
        }
        self.word = at + 1;
        self.value(WORDS[at], value).ok_or("a header line with a malformed value")?;
        Ok(None)
    }

    fn value(&mut self, word: &str, value: &[u8]) -> Option<()> {
        match word {
            "id" => self.id = Some(id(value)?),
            "begun" => self.begun = Some(field::parse_time(value)?),
            "committed" => self.committed = Some(field::parse_time(value)?),
            "source-clock" => self.source_clock = Some(field::parse_time(value)?),
            "base" => self.base = Some(id(value)?),
            "tally" => self.tally = Some(tally(value)?),
            "problems" => {
                let [total, losses] = <[u64; 2]>::try_from(decimals(value)?).ok()?;
                self.counts = Some((total, losses));
            }
            "problem" if self.problems.len() < MAX_LISTED => self.problems.push(problem(value)?),
            "suspicion" if self.suspicions.len() < MAX_SUSPICIONS => self.suspicions.push(suspicion(value)?),
            _ => return None,
        }
        Some(())
    }

    fn info(self) -> Option<SnapshotInfo> {
        let (total, losses) = self.counts?;
        Some(SnapshotInfo {
            id: self.id?,
            begun: self.begun?,
            committed: self.committed?,
            source_clock: self.source_clock,
            base: self.base,
            tally: self.tally?,
            problems: Problems::restored(self.problems, total, losses)?,
            suspicions: self.suspicions,
        })
    }
}

fn id(value: &[u8]) -> Option<SnapshotId> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn decimals(value: &[u8]) -> Option<Vec<u64>> {
    value.split(|&b| b == b' ').map(field::parse_decimal).collect()
}

fn problem(value: &[u8]) -> Option<Problem> {
    let mut fields = value.splitn(3, |&b| b == b' ');
    let kind = ProblemKind::parse(std::str::from_utf8(fields.next()?).ok()?)?;
    let path = parse_path(fields.next()?)?;
    let detail = match fields.next() {
        None => "",
        Some(detail) => std::str::from_utf8(detail).ok().filter(|detail| !detail.is_empty())?,
    };
    Problem::restored(path, kind, detail)
}

fn suspicion(value: &[u8]) -> Option<Suspicion> {
    let (word, numbers) = match value.iter().position(|&b| b == b' ') {
        None => (value, Vec::new()),
        Some(space) => (&value[..space], decimals(&value[space + 1..])?),
    };
    Suspicion::restored(std::str::from_utf8(word).ok()?, &numbers)
}

fn tally(value: &[u8]) -> Option<Tally> {
    let mut tally = Tally::default();
    let mut fields = value.split(|&b| b == b' ').peekable();
    for (name, number) in slots(&mut tally) {
        let value = fields.next_if(|field| name != CONFIRMED || field.starts_with(name.as_bytes()));
        let Some(value) = value else {
            // What is only written where it is not zero.
            if name == CONFIRMED { continue } else { return None }
        };
        *number = field::parse_decimal(value.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?)?;
    }
    fields.next().is_none().then_some(tally)
}

/// Came later than the others: a manifest without it is one of a version that did not count them, or has none.
const CONFIRMED: &str = "confirmed";

fn numbers(tally: &Tally) -> impl Iterator<Item = (&'static str, u64)> {
    let numbers = slots(&mut { *tally }).map(|(name, number)| (name, *number));
    numbers.into_iter().filter(|&(name, number)| name != CONFIRMED || number > 0)
}

fn slots(tally: &mut Tally) -> [(&'static str, &mut u64); 11] {
    let Tally {
        dirs,
        files,
        others,
        bytes,
        unchanged_files,
        added_files,
        changed_files,
        confirmed_files,
        removed_files,
        carried_files,
        new_bytes,
    } = tally;
    [
        ("dirs", dirs),
        ("files", files),
        ("others", others),
        ("bytes", bytes),
        ("unchanged", unchanged_files),
        ("added", added_files),
        ("changed", changed_files),
        ("removed", removed_files),
        ("carried", carried_files),
        ("new-bytes", new_bytes),
        (CONFIRMED, confirmed_files),
    ]
}
