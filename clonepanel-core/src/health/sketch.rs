//! [`LatencySketch`]: how long answers took, in few bytes, for any share of them.

use std::{collections::BTreeMap, time::Duration};

/// Neighbouring buckets differ by this factor, so that the middle of one is at most 2 % away from what is in it.
const GAMMA: f64 = 1.04;
/// What is shorter is in the first bucket, what is longer in the last one.
const SHORTEST: f64 = 1e-4;
const LONGEST_BUCKET: u16 = 400;

/// Counts of latencies in buckets that grow by a factor (a `DDSketch`, Masson and others, VLDB 2019): quantiles from 0.1 ms to 10 min are
/// at most 2 % wrong. Sketches are added without a loss, in any order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LatencySketch {
    counts: BTreeMap<u16, u64>,
}

impl LatencySketch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a latency.
    pub fn add(&mut self, latency: Duration) {
        let bucket = ((latency.as_secs_f64() / SHORTEST).max(1.0).ln() / GAMMA.ln()).ceil();
        // Within 0 and 400.
        let bucket = (bucket as u16).min(LONGEST_BUCKET);
        *self.counts.entry(bucket).or_default() += 1;
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            let sum = self.counts.entry(*bucket).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The latency that a share of all, from 0.0 to 1.0, does not exceed; `None` when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let last = self.count().checked_sub(1)?;
        let rank = (share.clamp(0.0, 1.0) * last as f64) as u64;
        let mut before = 0;
        let bucket = self.counts.iter().find(|(_, count)| {
            before += **count;
            before > rank
        });
        let middle = 2.0 / (1.0 + GAMMA);
        bucket.map(|(bucket, _)| Duration::from_secs_f64(SHORTEST * GAMMA.powi(i32::from(*bucket)) * middle))
    }

    /// As bytes: for each bucket with something in it, how many buckets it is behind the last one, and the count, as LEB128 numbers.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (mut bytes, mut last) = (Vec::new(), 0);
        for (bucket, count) in &self.counts {
            put(u64::from(bucket - last), &mut bytes);
            put(*count, &mut bytes);
            last = *bucket;
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] writes; `None` when it is something else.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let (mut sketch, mut bucket) = (Self::default(), 0_u16);
        while !bytes.is_empty() {
            bucket = bucket.checked_add(u16::try_from(take(&mut bytes)?).ok()?)?;
            let count = take(&mut bytes)?;
            if bucket > LONGEST_BUCKET || count == 0 || sketch.counts.insert(bucket, count).is_some() {
                return None;
            }
        }
        Some(sketch)
    }
}

fn put(mut number: u64, bytes: &mut Vec<u8>) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(first & 0x7f);
        number |= part.checked_shl(shift).filter(|shifted| shifted >> shift == part)?;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sketch(micros: &[u64]) -> LatencySketch {
        let mut sketch = LatencySketch::new();
        micros.iter().for_each(|micros| sketch.add(Duration::from_micros(*micros)));
        sketch
    }

    #[test]
    fn an_hour_takes_few_bytes() {
        // 60 answers around 80 ms, and two slow ones.
        let hour: Vec<_> = (0..60).map(|n| 70_000 + n * 331).chain([900_000, 2_100_000]).collect();
        assert!(sketch(&hour).to_bytes().len() <= 32, "{}", sketch(&hour).to_bytes().len());
        assert_eq!(LatencySketch::new().quantile(0.5), None);
        assert_eq!(sketch(&[0]).quantile(1.0).unwrap().as_micros() / 10, 9);
    }

    proptest! {
        #[test]
        fn quantiles_are_close(mut micros in proptest::collection::vec(100u64..600_000_000, 1..300), share in 0.0f64..=1.0) {
            let quantile = sketch(&micros).quantile(share).unwrap().as_secs_f64();
            micros.sort_unstable();
            let exact = micros[(share * (micros.len() - 1) as f64) as usize] as f64 / 1e6;
            prop_assert!((quantile - exact).abs() <= exact * 0.021, "{quantile} {exact}");
        }

        #[test]
        fn parts_make_the_whole(micros in proptest::collection::vec(0u64..1_000_000_000, 0..100), cut in 0usize..100) {
            let (one, other) = micros.split_at(cut.min(micros.len()));
            let mut merged = sketch(other);
            merged.merge(&sketch(one));
            prop_assert_eq!(&merged, &sketch(&micros));
            prop_assert_eq!(LatencySketch::from_bytes(&merged.to_bytes()), Some(merged));
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some(sketch) = LatencySketch::from_bytes(&bytes) {
                let _ = sketch.quantile(0.5);
                prop_assert_eq!(LatencySketch::from_bytes(&sketch.to_bytes()), Some(sketch));
            }
        }
    }
}
