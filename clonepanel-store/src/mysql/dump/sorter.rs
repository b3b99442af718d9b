//! [`Sorter`]: the rows of a table without a key, in an order of our own.

use crate::blocking;
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// So many bytes are sorted at once.
const RUN: usize = 8 << 20;
/// So many bytes of lines are given out at once.
const BATCH: usize = 1 << 20;
/// Each run is read in pieces of this length.
const PIECE: usize = 32 << 10;

/// Sorts lines by their bytes, with bounded memory: rows that begin with a time, as logs do, stay in the order of time.
#[derive(Debug)]
pub(crate) struct Sorter {
    directory: PathBuf,
    lines: Vec<Box<[u8]>>,
    len: usize,
    runs: Vec<File>,
}

/// Lines in order.
#[derive(Debug)]
pub(crate) struct Sorted {
    lines: std::vec::IntoIter<Box<[u8]>>,
    runs: Vec<BufReader<File>>,
    heads: BinaryHeap<Reverse<(Box<[u8]>, usize)>>,
}

impl Sorter {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), lines: Vec::new(), len: 0, runs: Vec::new() }
    }

    pub(crate) async fn push(&mut self, line: &[u8]) -> io::Result<()> {
        self.lines.push(line.into());
        self.len += line.len() + size_of::<Box<[u8]>>();
        if self.len < RUN {
            return Ok(());
        }
        self.len = 0;
        let mut lines = std::mem::take(&mut self.lines);
        let directory = self.directory.clone();
        let write = move || {
            lines.sort_unstable();
            let mut file = BufWriter::new(tempfile::tempfile_in(directory)?);
            for line in lines {
                file.write_all(&(line.len() as u64).to_le_bytes())?;
                file.write_all(&line)?;
            }
            file.into_inner().map_err(io::IntoInnerError::into_error)
        };
        self.runs.push(blocking::run(write, |error| error).await?);
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> io::Result<Sorted> {
        let merge = move || {
            self.lines.sort_unstable();
            let mut sorted = Sorted { lines: Vec::new().into_iter(), runs: Vec::new(), heads: BinaryHeap::new() };
            for mut file in self.runs {
                io::Seek::rewind(&mut file)?;
                sorted.runs.push(BufReader::with_capacity(PIECE, file));
                sorted.advance(sorted.runs.len() - 1)?;
            }
            sorted.lines = self.lines.into_iter();
            sorted.advance(sorted.runs.len())?;
            Ok(sorted)
        };
        blocking::run(merge, |error| error).await
    }
}

impl Sorted {
    /// The next lines; none at the end.
    pub(crate) async fn next(mut self) -> io::Result<(Vec<Box<[u8]>>, Self)> {
        let take = move || {
            let mut batch = Vec::new();
            let mut len = 0;
            while len < BATCH
                && let Some(Reverse((line, run))) = self.heads.pop()
            {
                self.advance(run)?;
                len += line.len();
                batch.push(line);
            }
            Ok((batch, self))
        };
        blocking::run(take, |error| error).await
    }

    /// Takes the next line of a run; the last run is the one that is still in memory.
    fn advance(&mut self, run: usize) -> io::Result<()> {
        let line = match self.runs.get_mut(run) {
            None => self.lines.next(),
            Some(file) => {
                let mut len = [0; 8];
                match file.read_exact(&mut len) {
                    Ok(()) => {
                        let mut line = vec![0; usize::try_from(u64::from_le_bytes(len)).map_err(io::Error::other)?];
                        file.read_exact(&mut line)?;
                        Some(line.into())
                    }
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
                    Err(error) => return Err(error),
                }
            }
        };
        self.heads.extend(line.map(|line| Reverse((line, run))));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_runs_become_one_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(folder.path());
        let line = |n: u64| format!("{:05} {}", n.wrapping_mul(7919) % 20_000, "x".repeat(1000));
        for n in 0..20_000 {
            sorter.push(line(n).as_bytes()).await.unwrap();
        }
        assert!(sorter.runs.len() > 1);
        let mut sorted = sorter.finish().await.unwrap();
        let mut found = Vec::new();
        loop {
            let (batch, rest) = sorted.next().await.unwrap();
            if batch.is_empty() {
                break;
            }
            found.extend(batch);
            sorted = rest;
        }
        let mut expected: Vec<Box<[u8]>> = (0..20_000).map(|n| line(n).into_bytes().into()).collect();
        expected.sort();
        assert!(found == expected);
    }
}
