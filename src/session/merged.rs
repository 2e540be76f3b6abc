//! Several recordings as one session: their records in the order of time, numbered so that nothing of one is taken for
//! something of another. Who judges, converts, compares or sends a recording again reads it through this.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;

use thiserror::Error;

use crate::model::{ExchangeId, FlowId, Frame, Frames, Handshake, Outcome, Protocol, SealedPartner, Timestamp};
use crate::session::jsonl::{ReadError, Reader, Record, Totals};
use crate::session::source::Source;

/// The records of recordings that are read at the same time.
///
/// The records of one recording come in their turns, as they happened: a line that was written late, since it waited for what
/// belongs to it, is read in its place. So many lines are held at most: [`HELD_MAX`], or [`HELD_BYTES_MAX`] bytes of them.
///
/// A single recording keeps its numbers. Of several, connections are numbered in blocks of 10^12: those of the first that comes
/// up to there, those of the next from there on. Their files are numbered in the order in which records name them.
pub struct Merged<R> {
    parts: Vec<Part<R>>,
    numbers: Numbers,
}

/// One of the recordings.
struct Part<R> {
    name: String,
    reader: Reader<R>,
    next: Option<Record>,
    /// Lines that were read before their turn, with their lengths.
    held: BTreeMap<u64, (Record, usize)>,
    held_bytes: usize,
    /// The turn that is due.
    due: u64,
    is_at_end: bool,
    sources: Vec<Source>,
    totals: Option<Totals>,
    is_begun: bool,
}

/// Why a recording cannot be read on.
#[derive(Debug, Error)]
#[error("{name}")]
pub struct MergeError {
    /// The recording.
    pub name: String,
    /// What is wrong with it.
    pub source: ReadError,
}

/// What is known of the recordings when all was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The captures that they were recorded from, by the file number of frames; a recording that names none stands for itself.
    pub sources: Vec<Source>,
    /// What the recording runs counted.
    pub totals: Totals,
    /// Recordings whose last line was cut, each with the number of that line: what is before it was read.
    pub torn: Vec<(String, u64)>,
}

impl<R: BufRead> Merged<R> {
    /// Reads these recordings, each with its name.
    pub fn new(recordings: impl IntoIterator<Item = (String, R)>) -> Self {
        let part = |(name, input)| Part {
            name,
            reader: Reader::new(input),
            next: None,
            held: BTreeMap::new(),
            held_bytes: 0,
            due: 1,
            is_at_end: false,
            sources: Vec::new(),
            totals: None,
            is_begun: false,
        };
        let parts: Vec<_> = recordings.into_iter().map(part).collect();
        Self { numbers: Numbers::new(parts.len() > 1), parts }
    }

    /// The next record: an exchange, a connection or a loss. Sources and totals are gathered for [`Merged::finish`].
    ///
    /// # Errors
    /// Where a recording cannot be read, or is none.
    pub fn read(&mut self) -> Result<Option<Record>, MergeError> {
        for part in self.parts.iter_mut().filter(|part| !part.is_begun) {
            part.is_begun = true;
            part.advance()?;
        }
        let waiting = self.parts.iter_mut().enumerate().filter(|(_, part)| part.next.is_some());
        let Some((index, part)) = waiting.min_by_key(|(_, part)| part.next.as_ref().map(time_of)) else { return Ok(None) };
        let Some(mut record) = part.next.take() else { return Ok(None) };
        part.advance()?;
        self.numbers.renumber(index, &mut record);
        Ok(Some(record))
    }

    /// What is known of the recordings at the end.
    pub fn finish(self) -> Origin {
        let Self { parts, mut numbers } = self;
        let mut origin = Origin::default();
        for (index, part) in parts.into_iter().enumerate() {
            if part.reader.is_torn() {
                origin.torn.push((part.name.clone(), part.reader.line()));
            }
            if let Some(totals) = part.totals {
                origin.totals.add(totals);
            }
            let itself = || vec![Source { file: part.name.clone(), format: "jsonl".to_owned(), ..Source::default() }];
            let sources = if part.sources.is_empty() { itself() } else { part.sources };
            for (file, source) in (0..).zip(sources) {
                let place = usize::from(numbers.file(index, file));
                if origin.sources.len() <= place {
                    origin.sources.resize_with(place + 1, Source::default);
                }
                if let Some(slot) = origin.sources.get_mut(place) {
                    *slot = source;
                }
            }
        }
        origin
    }
}

impl<R: BufRead> Part<R> {
    /// Reads on to the next record that has a time.
    fn advance(&mut self) -> Result<(), MergeError> {
        loop {
            if let Some(record) = self.take_due() {
                self.next = Some(record);
                return Ok(());
            }
            if self.is_at_end {
                return Ok(());
            }
            let record = self.reader.read().map_err(|source| MergeError { name: self.name.clone(), source })?;
            match (record, self.reader.turn()) {
                (Some(Record::Source(source)), _) => self.sources.push(source),
                (Some(Record::Summary(totals)), _) => self.totals = Some(totals),
                (Some(record), Some(turn)) => {
                    let bytes = self.reader.line_bytes();
                    self.held_bytes += bytes;
                    // Two lines of one turn are of no writer of ours: the later one is read as if it had none.
                    if let Some((record, bytes)) = self.held.insert(turn, (record, bytes)) {
                        self.held_bytes -= bytes;
                        self.next = Some(record);
                        return Ok(());
                    }
                }
                (Some(record), None) => {
                    self.next = Some(record);
                    return Ok(());
                }
                (None, _) => self.is_at_end = true,
            }
        }
    }

    /// The held line whose turn it is; where that does not come, the first one.
    fn take_due(&mut self) -> Option<Record> {
        let (turn, _) = self.held.first_key_value()?;
        let is_full = self.held.len() > HELD_MAX || self.held_bytes > HELD_BYTES_MAX;
        if *turn > self.due && !is_full && !self.is_at_end {
            return None;
        }
        let (turn, (record, bytes)) = self.held.pop_first()?;
        self.held_bytes -= bytes;
        self.due = turn.saturating_add(1);
        Some(record)
    }
}

/// Lines that are held until those before them have come.
pub const HELD_MAX: usize = 1 << 16;
/// Bytes of such lines.
pub const HELD_BYTES_MAX: usize = 64 << 20;

fn time_of(record: &Record) -> Timestamp {
    match record {
        Record::Exchange(recorded) => recorded.exchange.request.start,
        Record::Sealed(recorded) => recorded.exchange.response.end,
        Record::Opened(opened) => opened.first.at,
        Record::Flow(recorded) => recorded.closed.last.at,
        Record::Loss(loss) => loss.stamp.at,
        Record::Source(_) | Record::Summary(_) => Timestamp::EPOCH,
    }
}

/// The numbers that records get.
struct Numbers {
    is_used: bool,
    /// By recording and block of its own numbers: the block here.
    blocks: HashMap<(usize, u64), u64>,
    files: HashMap<(usize, u16), u16>,
}

/// Connections are numbered in blocks, so that their own numbers stay readable.
const BLOCK: u64 = 1_000_000_000_000;

impl Numbers {
    fn new(is_used: bool) -> Self {
        Self { is_used, blocks: HashMap::new(), files: HashMap::new() }
    }

    fn renumber(&mut self, index: usize, record: &mut Record) {
        if !self.is_used {
            return;
        }
        match record {
            Record::Exchange(recorded) => {
                let exchange = &mut recorded.exchange;
                exchange.id = self.id(index, exchange.id);
                recorded.trace = recorded.trace.map(|trace| self.id(index, trace));
                self.frames(index, &mut exchange.request.frames);
                if let Outcome::Answered(response) = &mut exchange.outcome {
                    self.frames(index, &mut response.frames);
                }
                if let Some(ending) = &mut exchange.ending {
                    ending.stamp.frame = self.frame(index, ending.stamp.frame);
                }
            }
            Record::Sealed(recorded) => {
                let exchange = &mut recorded.exchange;
                exchange.id = self.id(index, exchange.id);
                for message in [&mut exchange.request, &mut exchange.response] {
                    message.frames = message.frames.map(|frame| self.frame(index, frame));
                }
                recorded.partner = recorded.partner.map(|partner| SealedPartner {
                    trace: self.id(index, partner.trace),
                    downstream: self.id(index, partner.downstream),
                    is_sole: partner.is_sole,
                });
            }
            Record::Opened(opened) => {
                opened.flow = self.flow(index, opened.flow);
                opened.first.frame = self.frame(index, opened.first.frame);
            }
            Record::Flow(recorded) => {
                let closed = &mut recorded.closed;
                closed.flow = self.flow(index, closed.flow);
                for stamp in [&mut closed.first, &mut closed.last] {
                    stamp.frame = self.frame(index, stamp.frame);
                }
                closed.first_gap = closed.first_gap.map(|frame| self.frame(index, frame));
                if let Protocol::Tls { handshake: Handshake::Failed(failure), .. } = &mut closed.protocol {
                    failure.stamp.frame = self.frame(index, failure.stamp.frame);
                }
                for undecoded in &mut closed.undecoded {
                    undecoded.first = self.frame(index, undecoded.first);
                }
            }
            Record::Loss(loss) => {
                loss.flow = loss.flow.map(|flow| self.flow(index, flow));
                loss.stamp.frame = self.frame(index, loss.stamp.frame);
            }
            Record::Source(_) | Record::Summary(_) => {}
        }
    }

    fn id(&mut self, index: usize, id: ExchangeId) -> ExchangeId {
        ExchangeId { flow: self.flow(index, id.flow), ..id }
    }

    fn flow(&mut self, index: usize, flow: FlowId) -> FlowId {
        let fresh = self.blocks.len() as u64;
        let block = *self.blocks.entry((index, flow.0 / BLOCK)).or_insert(fresh);
        FlowId(block.saturating_mul(BLOCK).saturating_add(flow.0 % BLOCK))
    }

    fn file(&mut self, index: usize, file: u16) -> u16 {
        if !self.is_used {
            return file;
        }
        let fresh = u16::try_from(self.files.len()).unwrap_or(u16::MAX);
        *self.files.entry((index, file)).or_insert(fresh)
    }

    fn frame(&mut self, index: usize, frame: Frame) -> Frame {
        // Zero stands for data that came without packets.
        if frame.number() == 0 { frame } else { Frame::new(self.file(index, frame.file()), frame.number()) }
    }

    fn frames(&mut self, index: usize, frames: &mut Frames) {
        let count = frames.count();
        *frames = frames.iter().map(|frame| self.frame(index, frame)).collect::<Frames>().with_count(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Loss, LossReason, Stamp};
    use crate::session::jsonl::Writer;

    /// A recording of losses of these sizes, each with its turn, where it has one.
    fn recording(losses: &[(u64, Option<u64>)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (bytes, turn) in losses {
            let at = Timestamp::from_nanos(bytes.cast_signed());
            let stamp = Stamp { at, frame: Frame::new(0, *bytes) };
            let loss = Loss { reason: LossReason::NotHttp, flow: Some(FlowId(7)), bytes: *bytes, stamp };
            match turn {
                Some(turn) => writer.at(*turn).write_loss(&loss).unwrap(),
                None => writer.write_loss(&loss).unwrap(),
            }
        }
        writer.finish().unwrap()
    }

    /// The sizes of the losses in order, with their connections and files.
    fn read(recordings: &[Vec<u8>]) -> Vec<(u64, u64, u16)> {
        let named = recordings.iter().map(|recording| ("x".to_owned(), recording.as_slice()));
        let mut merged = Merged::new(named);
        let mut seen = Vec::new();
        while let Some(record) = merged.read().unwrap() {
            let Record::Loss(loss) = record else { panic!("{record:?}") };
            seen.push((loss.bytes, loss.flow.unwrap().0, loss.stamp.frame.file()));
        }
        seen
    }

    #[test]
    fn a_line_that_was_written_late_is_read_in_its_turn() {
        let sizes = |recording: Vec<u8>| read(&[recording]).into_iter().map(|(bytes, ..)| bytes).collect::<Vec<_>>();
        assert_eq!(sizes(recording(&[(20, Some(2)), (30, Some(3)), (10, Some(1)), (40, Some(4))])), [10, 20, 30, 40]);
        // A turn that never comes, and lines without one.
        assert_eq!(sizes(recording(&[(30, Some(3)), (20, Some(2)), (5, None), (90, Some(9))])), [5, 20, 30, 90]);
        assert_eq!(sizes(recording(&[(1, Some(1)), (2, Some(1))])).len(), 2);
    }

    #[test]
    fn records_of_several_recordings_come_by_time_and_are_told_apart() {
        let seen = read(&[recording(&[(10, Some(1)), (30, Some(2))]), recording(&[(20, Some(1)), (40, Some(2))])]);
        assert_eq!(seen, [(10, 7, 0), (20, BLOCK + 7, 1), (30, 7, 0), (40, BLOCK + 7, 1)]);
    }

    #[test]
    fn what_was_merged_before_can_be_merged_again() {
        let mut numbers = Numbers::new(true);
        let given =
            [(0, 3), (1, 3), (0, BLOCK + 3), (1, BLOCK + 3), (0, 3)].map(|(index, flow)| numbers.flow(index, FlowId(flow)).0);
        assert_eq!(given, [3, BLOCK + 3, 2 * BLOCK + 3, 3 * BLOCK + 3, 3]);
    }

    #[test]
    fn a_line_that_is_cut_is_reported_with_its_recording() {
        let mut text = recording(&[(10, Some(1)), (20, Some(2))]);
        text.truncate(text.len() - 9);
        let mut merged = Merged::new([("run.jsonl".to_owned(), text.as_slice())]);
        while merged.read().unwrap().is_some() {}
        let origin = merged.finish();
        assert_eq!(origin.torn, [("run.jsonl".to_owned(), 2)]);
        assert_eq!(origin.sources[0].file, "run.jsonl");
        let mut broken = Merged::new([("a.jsonl".to_owned(), &b"{}\n{}\n"[..])]);
        assert_eq!(broken.read().unwrap_err().name, "a.jsonl");
    }
}
