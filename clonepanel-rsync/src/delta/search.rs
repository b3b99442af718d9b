//! [`Search`]: finds the blocks of a basis in new data, window by window.

use super::{
    rolling::{ByteValue, Rolling, weak_sum},
    table::Table,
};
use std::ops::Deref;

/// After a block that differs, so many more are looked at where they stand if nothing was inserted or removed.
const LOOK_AHEAD: usize = 2;
/// Bytes of strong sums that may be computed in vain: so many at the start, and more with all new data. Ordinary data waste
/// less; data crafted to have the weak sums of blocks (which is easy) become literal. Source: `delta-performance`, section 6.
const WASTE_AT_START: u64 = 8 << 20;
const WASTE_PER_BYTE: u64 = 4;
/// A strong sum of a short block costs as much as one of so many bytes.
const SHORTEST_WASTE: u64 = 256;

/// The sums of a basis, in one of the dialects.
pub(crate) trait BlockSums: Send + Sync {
    /// What bytes count in the weak sum.
    type Value: ByteValue;
    /// Length of all blocks but the last.
    fn block_len(&self) -> usize;
    /// Number of blocks that are as long as that.
    fn whole_blocks(&self) -> u32;
    /// Length of a shorter block after these; zero when there is none.
    fn tail_len(&self) -> usize;
    /// The weak sum of a block, the tail included.
    fn weak(&self, block: u32) -> u32;
    /// How many blocks are best compared at once, after `equal` ones in a row. At most 64.
    fn batch(&self, equal: usize) -> usize;
    /// Which of the whole blocks in `data` are equal, by their strong sums, to the ones from `first` on: bit by bit from the
    /// lowest.
    fn equal(&self, first: u32, data: &[u8]) -> u64;
    /// Which of some blocks `data` is equal to, by its strong sum. All have its length.
    fn find(&self, candidates: impl Iterator<Item = u32>, data: &[u8]) -> Option<u32>;
}

/// Block sums that can be searched.
#[derive(Debug)]
pub(crate) struct Searchable<S> {
    sums: S,
    table: Table,
}

impl<S: BlockSums> Searchable<S> {
    pub(crate) fn new(sums: S) -> Self {
        let table = Table::new((0..sums.whole_blocks()).map(|block| sums.weak(block)));
        Self { sums, table }
    }

    pub(crate) const fn sums(&self) -> &S {
        &self.sums
    }

    /// The length of the basis' tail if the new data end with it.
    fn tail(&self, rest: &[u8]) -> usize {
        let len = self.sums.tail_len();
        if rest.len() >= len && self.is_tail(&rest[rest.len() - len..]) { len } else { 0 }
    }

    fn is_tail(&self, data: &[u8]) -> bool {
        let sums = &self.sums;
        let block = sums.whole_blocks();
        !data.is_empty()
            && data.len() == sums.tail_len()
            && weak_sum::<S::Value>(data) == sums.weak(block)
            && sums.find(std::iter::once(block), data).is_some()
    }
}

/// A step from the basis to the new data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'w> {
    /// New bytes, never empty.
    Literal(&'w [u8]),
    /// `count` blocks of the basis, from block `first` on.
    Blocks { first: u32, count: u32 },
}

/// Goes through new data once.
///
/// The data come in windows. Whoever has them keeps what is not decided yet, always less than two blocks, and puts the same bytes
/// at the start of the next window.
#[derive(Debug)]
pub(crate) struct Search<B> {
    basis: B,
    progress: Progress,
}

impl<B, S> Search<B>
where
    B: Deref<Target = Searchable<S>>,
    S: BlockSums,
{
    pub(crate) const fn new(basis: B) -> Self {
        Self { basis, progress: Progress { expected: Some(0), batch: Batch::NONE, before: 0, wasted: 0 } }
    }

    /// Reports the steps for the start of `window` and returns how many bytes that is; more data follow.
    pub(crate) fn advance(&mut self, window: &[u8], mut step: impl FnMut(Step<'_>)) -> usize {
        self.progress.look(&self.basis, window, Behind::More, &mut step)
    }

    /// Reports the steps for all of `window`, behind which the new data end.
    pub(crate) fn finish(mut self, window: &[u8], mut step: impl FnMut(Step<'_>)) {
        self.progress.look(&self.basis, window, Behind::Nothing, &mut step);
    }
}

/// What comes behind a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    More,
    Nothing,
}

/// Where a search is.
#[derive(Debug)]
struct Progress {
    /// The block that stands next if the new data go on as the basis does.
    expected: Option<u32>,
    batch: Batch,
    /// Bytes before the window.
    before: u64,
    wasted: u64,
}

/// Blocks in a row that were compared with the data at one place.
#[derive(Debug, Clone, Copy)]
struct Batch {
    /// Where, from the start of the new data.
    at: u64,
    first: u32,
    len: usize,
    equal: u64,
}

impl Batch {
    const NONE: Self = Self { at: 0, first: 0, len: 0, equal: 0 };
}

/// Blocks of the basis found in the new data.
struct Run {
    at: usize,
    first: u32,
    count: u32,
    len: usize,
}

impl Progress {
    fn look<S: BlockSums>(
        &mut self,
        basis: &Searchable<S>,
        window: &[u8],
        behind: Behind,
        step: &mut impl FnMut(Step<'_>),
    ) -> usize {
        let block_len = basis.sums.block_len();
        // What is before `done` is reported; what is before `at` and not reported is literal.
        let (mut done, mut at) = (0, 0);
        loop {
            let followed = self.follow(basis, window, at, behind);
            if followed.is_none()
                && self.expected.is_some()
                && behind == Behind::More
                && window.len() - at < 2 * block_len
            {
                // Too little to say whether it goes on as the basis does.
                break;
            }
            let run = match followed.map_or_else(|| self.slide(basis, window, at), Ok) {
                Ok(run) => run,
                Err(end) => {
                    self.expected = None;
                    at = end;
                    break;
                }
            };
            if done < run.at {
                step(Step::Literal(&window[done..run.at]));
            }
            step(Step::Blocks { first: run.first, count: run.count });
            at = run.at + run.len;
            done = at;
            self.expected = Some(run.first + run.count);
        }
        if behind == Behind::Nothing {
            let tail = basis.tail(&window[done..]);
            let literal = window.len() - tail;
            if done < literal {
                step(Step::Literal(&window[done..literal]));
            }
            if tail > 0 {
                step(Step::Blocks { first: basis.sums.whole_blocks(), count: 1 });
            }
            at = window.len();
        } else if done < at {
            step(Step::Literal(&window[done..at]));
        }
        self.before += at as u64;
        at
    }

    /// Whether the data at `at` go on as the basis does, perhaps after blocks that differ.
    fn follow<S: BlockSums>(&mut self, basis: &Searchable<S>, window: &[u8], at: usize, behind: Behind) -> Option<Run> {
        let sums = &basis.sums;
        let expected = self.expected?;
        for differing in 0..=LOOK_AHEAD {
            let first = expected.checked_add(differing as u32).filter(|first| *first <= sums.whole_blocks())?;
            let at = at + differing * sums.block_len();
            let rest = window.get(at..)?;
            let count = self.run(basis, first, window, at);
            let len = count as usize * sums.block_len();
            // The tail of the basis is where the new data end, or nowhere.
            if behind == Behind::Nothing && first + count == sums.whole_blocks() && basis.is_tail(&rest[len..]) {
                return Some(Run { at, first, count: count + 1, len: rest.len() });
            }
            if count > 0 {
                return Some(Run { at, first, count, len });
            }
        }
        None
    }

    /// How many whole blocks from `first` on stand at `at`.
    fn run<S: BlockSums>(&mut self, basis: &Searchable<S>, first: u32, window: &[u8], at: usize) -> u32 {
        let sums = &basis.sums;
        let block_len = sums.block_len();
        let possible = ((window.len() - at) / block_len).min((sums.whole_blocks() - first) as usize);
        let mut count = 0;
        while count < possible {
            let (first, at) = (first + count as u32, at + count * block_len);
            let known = self.known(block_len, first, at);
            if known.is_none() && !self.may_waste(at) {
                break;
            }
            let (equal, len) = known.unwrap_or_else(|| {
                let len = sums.batch(count).min(possible - count);
                (self.compare(sums, first, &window[at..at + len * block_len], at), len)
            });
            let run = equal.trailing_ones() as usize;
            count += run;
            if run < len {
                break;
            }
        }
        count.min(possible) as u32
    }

    /// What the last batch tells about the blocks from `first` on at `at`, and about how many.
    fn known(&self, block_len: usize, first: u32, at: usize) -> Option<(u64, usize)> {
        let ahead = first.checked_sub(self.batch.first)? as usize;
        let len = self.batch.len.checked_sub(ahead).filter(|len| *len > 0)?;
        let same_place = self.batch.at + (ahead * block_len) as u64 == self.before + at as u64;
        same_place.then(|| (self.batch.equal >> ahead, len))
    }

    fn compare<S: BlockSums>(&mut self, sums: &S, first: u32, data: &[u8], at: usize) -> u64 {
        let equal = sums.equal(first, data);
        self.batch = Batch { at: self.before + at as u64, first, len: data.len() / sums.block_len(), equal };
        // Even if later ones are equal: whoever can have the first one differ here can have it differ at the next byte as well.
        if equal & 1 == 0 {
            self.waste(data);
        }
        equal
    }

    /// The next blocks of the basis that stand at `at` or later; else where the undecided rest begins.
    fn slide<S: BlockSums>(&mut self, basis: &Searchable<S>, window: &[u8], mut at: usize) -> Result<Run, usize> {
        let block_len = basis.sums.block_len();
        let Some(last) = window.len().checked_sub(block_len).filter(|last| at <= *last) else { return Err(at) };
        let mut rolling = Rolling::<S::Value>::new(&window[at..at + block_len]);
        loop {
            if basis.table.may_have(rolling.sum()) {
                if let Some((first, count)) = self.stands(basis, rolling.sum(), window, at) {
                    return Ok(Run { at, first, count, len: count as usize * block_len });
                }
                let pause = self.pause(at);
                if pause > 0 {
                    at = at.saturating_add(pause);
                    if at > last {
                        return Err(last + 1);
                    }
                    rolling = Rolling::new(&window[at..at + block_len]);
                    continue;
                }
            }
            if at == last {
                return Err(at + 1);
            }
            at += roll_on(&mut rolling, &basis.table, &window[at..last], &window[at + block_len..]);
        }
    }

    /// Which blocks with this weak sum stand at `at`.
    fn stands<S: BlockSums>(
        &mut self,
        basis: &Searchable<S>,
        sum: u32,
        window: &[u8],
        at: usize,
    ) -> Option<(u32, u32)> {
        let mut candidates = basis.table.blocks(sum);
        let first = candidates.next()?;
        let count = self.run(basis, first, window, at);
        if count > 0 {
            return Some((first, count));
        }
        if candidates.clone().next().is_none() || !self.may_waste(at) {
            return None;
        }
        let block = &window[at..at + basis.sums.block_len()];
        let found = basis.sums.find(candidates, block);
        if found.is_none() {
            self.waste(block);
        }
        found.map(|block| (block, 1))
    }

    fn waste(&mut self, hashed: &[u8]) {
        self.wasted += (hashed.len() as u64).max(SHORTEST_WASTE);
    }

    const fn may_waste(&self, at: usize) -> bool {
        self.pause(at) == 0
    }

    /// After how many more bytes strong sums may be computed again.
    const fn pause(&self, at: usize) -> usize {
        let allowed = WASTE_AT_START + WASTE_PER_BYTE * (self.before + at as u64);
        (self.wasted.saturating_sub(allowed).div_ceil(WASTE_PER_BYTE)) as usize
    }
}

/// Rolls until the sum may be that of a block, or to the end of `leaves`; returns how many bytes that is.
fn roll_on<V: ByteValue>(rolling: &mut Rolling<V>, table: &Table, leaves: &[u8], enters: &[u8]) -> usize {
    let mut now = *rolling;
    for (rolled, (&leaves, &enters)) in (1..).zip(leaves.iter().zip(enters)) {
        now.roll(leaves, enters);
        if table.may_have(now.sum()) {
            *rolling = now;
            return rolled;
        }
    }
    *rolling = now;
    leaves.len()
}
