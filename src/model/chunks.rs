//! How the content of a chunked body was cut, so that the message can be sent again as it was.

/// The chunks of a body (RFC 9112 section 7.1) in order, with the last one, whose size is 0. Chunks in a row that began with the
/// same line are one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    runs: Vec<ChunkRun>,
    is_inexact: bool,
}

/// Chunks in a row that began with the same line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRun {
    /// Bytes of content in each.
    pub size: u64,
    /// How many there are.
    pub count: u64,
    /// Their first line without CR LF, where it is not the size in plain lower-case hexadecimal.
    pub line: Option<Box<[u8]>>,
}

impl Chunks {
    /// Runs that are kept. What has more was cut at random, and any other cut will do as well.
    pub const RUNS_MAX: usize = 4096;

    /// Adds a chunk that began with this line (without CR LF).
    pub fn push(&mut self, size: u64, line: &[u8]) {
        if self.is_inexact {
            return;
        }
        let is_plain = line == format!("{size:x}").as_bytes();
        if let Some(last) = self.runs.last_mut()
            && last.size == size
            && last.line.as_deref() == (!is_plain).then_some(line)
        {
            last.count += 1;
        } else if self.runs.len() < Self::RUNS_MAX {
            self.runs.push(ChunkRun { size, count: 1, line: (!is_plain).then(|| line.into()) });
        } else {
            self.give_up();
        }
    }

    /// Adds a run.
    pub fn push_run(&mut self, run: ChunkRun) {
        if self.runs.len() < Self::RUNS_MAX {
            self.runs.push(run);
        } else {
            self.give_up();
        }
    }

    /// The framing was odd, or cut into too many pieces: it cannot be given again.
    pub fn give_up(&mut self) {
        *self = Self { runs: Vec::new(), is_inexact: true };
    }

    /// The runs; `None` where they are not known exactly.
    pub fn runs(&self) -> Option<&[ChunkRun]> {
        (!self.is_inexact && !self.runs.is_empty()).then_some(&self.runs)
    }

    /// Bytes that they hold in memory.
    pub fn held_bytes(&self) -> usize {
        let lines = self.runs.iter().filter_map(|run| run.line.as_deref()).map(<[u8]>::len).sum::<usize>();
        lines + self.runs.len() * size_of::<ChunkRun>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_chunks_in_a_row_are_one_run_and_odd_lines_are_kept() {
        let mut chunks = Chunks::default();
        for (size, line) in [(16, "10"), (16, "10"), (16, "0010"), (10, "A"), (0, "0;last")] {
            chunks.push(size, line.as_bytes());
        }
        let runs = chunks.runs().unwrap();
        let shown: Vec<_> = runs.iter().map(|run| (run.size, run.count, run.line.as_deref())).collect();
        let expected = [(16, 2, None), (16, 1, Some(&b"0010"[..])), (10, 1, Some(b"A")), (0, 1, Some(b"0;last"))];
        assert_eq!(shown, expected);
    }

    #[test]
    fn memory_is_bounded_and_what_is_beyond_makes_them_unknown() {
        let mut chunks = Chunks::default();
        for size in 0..2 * Chunks::RUNS_MAX as u64 {
            chunks.push(size, format!("{size:x}").as_bytes());
        }
        assert_eq!((chunks.runs(), chunks.held_bytes()), (None, 0));
    }
}
