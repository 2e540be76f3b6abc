//! Reads one input: fills batches from its bytes, follows records through them, and goes on after damage where it can.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use crate::capture::batch::{Batch, Left};
use crate::capture::bytes::{Bytes, copy_front, fill_at};
use crate::capture::decompress::decompress;
use crate::capture::pcap::Pcap;
use crate::capture::pcapng::Pcapng;
use crate::capture::snoop::Snoop;
use crate::capture::walk::{Format, Jump, PACKET_BYTES_USUAL, Stop, Walk};
use crate::capture::{
    CaptureError, Compression, Damage, FileFormat, Input, Interface, Kind, ProblemKind, ReadAt, SourceSummary, resync, sniff,
};
use crate::model::LinkType;

/// The reader of one input.
pub(super) struct Reader {
    bytes: Bytes,
    /// Bytes that were read and not yet walked over.
    carry: Vec<u8>,
    /// Where the first byte not walked over stands in the (uncompressed) file.
    offset: u64,
    format: Format,
    summary: SourceSummary,
    /// The file, where records may be jumped.
    jumpable: Option<Arc<dyn ReadAt>>,
    /// Whether the records of the last batch were long enough for jumping.
    jump: bool,
    /// Whether the records read last were long.
    is_bulk: bool,
    /// Whether there are no more bytes to read; there may be some in `carry`.
    exhausted: bool,
    ended: bool,
    /// The file's index among the inputs.
    file: u16,
    /// The number of the next record.
    number: u64,
    /// The time of the last packet read.
    last: Option<i64>,
}

impl Reader {
    /// Recognises the format of the input and reads its header.
    pub(super) fn open(input: Input, file: u16) -> Result<Self, CaptureError> {
        let Input { name, stream, positioned } = input;
        let head = read_head(&name, stream)?;
        let (format, file_format, header_bytes) = match (open_format(&name, &head), head.failure.as_ref()) {
            (Ok(opened), _) => opened,
            // That it broke off explains more than what its first bytes are not.
            (Err(_), Some(source)) => return Err(read_failed(&name, source)),
            (Err(error), None) => return Err(error),
        };
        let jumpable = positioned.filter(|_| head.compression.is_none());
        let bytes = match &jumpable {
            Some(positioned) => Bytes::Positioned(Arc::clone(positioned), head.bytes.len() as u64),
            None => Bytes::Stream(head.stream),
        };
        let mut summary = SourceSummary {
            name,
            format: Some(file_format),
            compression: head.compression,
            file_bytes: header_bytes as u64,
            ..SourceSummary::default()
        };
        let link = match &format {
            Format::Pcap(pcap) => Some(pcap.link()),
            Format::Snoop(snoop) => Some(snoop.link()),
            Format::Pcapng(_) => None,
        };
        if let Some(link) = link {
            let link = Some(LinkType(u32::from(link)));
            summary.interfaces.push(Interface { link, ..Interface::default() });
        }
        let carry = head.bytes.get(header_bytes..).unwrap_or_default().to_vec();
        let mut reader = Self {
            bytes,
            carry,
            offset: header_bytes as u64,
            format,
            summary,
            jumpable,
            jump: false,
            is_bulk: false,
            exhausted: false,
            ended: false,
            file,
            number: 1,
            last: None,
        };
        if let Some(failure) = head.failure {
            reader.fail(&failure);
        }
        Ok(reader)
    }

    /// What was read so far.
    pub(super) fn summary(&self) -> &SourceSummary {
        &self.summary
    }

    /// Fills a cleared batch; `false` if the input has ended and the batch is empty.
    pub(super) fn read_batch(&mut self, batch: &mut Batch) -> bool {
        batch.found.file = self.file;
        batch.found.first_number = self.number;
        batch.found.next_number = 0;
        while !self.ended && batch.found.is_empty() {
            let start = self.offset;
            batch.aim(self.is_bulk);
            if !(self.jump && self.read_jumping(batch)) {
                self.read_in_order(batch);
            }
            self.summary.file_bytes = self.offset;
            self.last = batch.found.records.last().map(|record| record.at).or(self.last);
            let records = batch.len() as u64;
            let mean_bytes = (self.offset - start).checked_div(records).unwrap_or(0);
            self.jump = self.jumpable.is_some() && mean_bytes >= JUMP_RECORD_BYTES_MIN;
            self.is_bulk = mean_bytes >= BULK_RECORD_BYTES_MIN;
        }
        self.number = batch.found.number();
        self.summary.count(&batch.found.records);
        !batch.found.is_empty()
    }

    /// Fills the buffer to the brim and walks over it. A record that is cut by the end of the buffer starts the next one.
    fn read_in_order(&mut self, batch: &mut Batch) {
        let mut filled = self.fill(&mut batch.buffer, 0, batch.target_bytes);
        let (mut at, mut stop) = self.walk(batch, filled, 0);
        if let (0, Stop::Partial(needed_bytes)) = (at, &stop)
            && *needed_bytes > filled
            && !self.is_at_end()
        {
            filled = self.fill_for_record(&mut batch.buffer, filled, *needed_bytes);
            (at, stop) = self.walk(batch, filled, 0);
        }
        match stop {
            Stop::Partial(needed_bytes) if self.is_at_end() && needed_bytes <= RECORD_BYTES_USUAL => {
                self.end_cut(needed_bytes, filled - at, batch);
            }
            // So long a record that does not even fit the file is a damaged length rather than a cut, if records go on.
            Stop::Partial(needed_bytes) if self.is_at_end() && at == 0 => {
                if !self.skip_to_record(batch, filled, Damage::RecordLength(needed_bytes as u32)) {
                    self.end_cut(needed_bytes, filled, batch);
                }
            }
            Stop::Damage(damage) if at == 0 => self.resynchronise(batch, filled, damage),
            Stop::Partial(_) | Stop::Damage(_) => self.put_back(batch.buffer.get(at..filled).unwrap_or_default()),
        }
    }

    /// Reads the first bytes of each record only and leaves the rest in the file. `false` if nothing came of it: then the same
    /// place is to be read in order, which also finds out what is wrong where something is.
    fn read_jumping(&mut self, batch: &mut Batch) -> bool {
        let Some(file) = self.jumpable.clone() else { return false };
        let (mut at, mut filled) = (0, 0);
        // Whether what stands at `at` was read from there on, so that reading it again would give no more.
        let mut is_fresh = false;
        loop {
            let (next, stop) = self.walk(batch, filled, at);
            is_fresh &= next == at;
            at = next;
            if matches!(stop, Stop::Damage(_)) {
                break;
            }
            let window = batch.buffer.get(at..filled).unwrap_or_default();
            let room = batch.target_bytes.saturating_sub(PREFIX_BYTES);
            let jump = self.format.peek(window).filter(|jump| is_worth_it(jump, window.len()));
            let (position, start) = match &jump {
                Some(jump) => {
                    (self.offset + (jump.header_bytes + jump.record.captured as usize - jump.check_back) as u64, filled)
                }
                None if is_fresh => break,
                None => (self.offset, at),
            };
            if start > room {
                break;
            }
            let Some(part) = batch.buffer.get_mut(start..start + PREFIX_BYTES) else { break };
            let read = fill_at(file.as_ref(), position, part);
            let part = batch.buffer.get(start..start + read.bytes).unwrap_or_default();
            is_fresh = jump.is_none();
            let Some(jump) = jump else {
                filled = start + read.bytes;
                continue;
            };
            if !self.format.check(&jump, part, &mut batch.found) {
                // Cut or damaged; comments were not taken, and reading in order will say what it is.
                break;
            }
            self.push_jumped(&jump, at, filled, batch);
            at = start + jump.check_back + jump.rest_bytes;
            filled = start + read.bytes;
        }
        self.carry.clear();
        self.bytes = Bytes::Positioned(file, self.offset);
        self.exhausted = false;
        !batch.found.is_empty()
    }

    fn push_jumped(&mut self, jump: &Jump, at: usize, filled: usize, batch: &mut Batch) {
        let offset = at + jump.header_bytes;
        let index = batch.found.records.len() as u32;
        let position = self.offset + jump.header_bytes as u64;
        batch.found.left.push(Left { index, file: self.file, position });
        let mut record = jump.record;
        record.offset = offset as u32;
        record.held = (filled - offset) as u32;
        record.number = batch.found.next_number;
        batch.found.records.push(record);
        batch.found.pass();
        self.offset = position + u64::from(record.captured) + jump.rest_bytes as u64;
    }

    /// Walks from `at` on; gives where it stopped.
    fn walk(&mut self, batch: &mut Batch, filled: usize, at: usize) -> (usize, Stop) {
        let window = batch.buffer.get(..filled).unwrap_or_default();
        let mut walk = Walk { window, at, position: self.offset, found: &mut batch.found, summary: &mut self.summary };
        let stop = self.format.walk(&mut walk);
        self.offset = walk.position;
        (walk.at, stop)
    }

    /// Looks for the next believable record after one that makes no sense at the start of the buffer.
    fn resynchronise(&mut self, batch: &mut Batch, mut filled: usize, damage: Damage) {
        let (start, number) = (self.offset, batch.found.number());
        let mut first = 1;
        loop {
            if batch.buffer.len() < resync::WINDOW_BYTES {
                batch.buffer.resize(resync::WINDOW_BYTES, 0);
            }
            filled = self.fill(&mut batch.buffer, filled, resync::WINDOW_BYTES);
            let at_end = self.is_at_end();
            let candidates = first..if at_end { filled } else { resync::STEP_BYTES };
            let window = batch.buffer.get(..filled).unwrap_or_default();
            if start == self.offset && has_translated_line_ends(window) {
                self.summary.note(ProblemKind::LineEnds, start, number);
            }
            if let Some(at) = resync::find(&self.format, window, candidates, self.last, at_end) {
                self.put_back(window.get(at..).unwrap_or_default());
                self.offset += at as u64;
                self.summary.note(ProblemKind::Skipped { bytes: self.offset - start, damage }, start, number);
                return;
            }
            if at_end {
                self.offset += filled as u64;
                self.summary.note(ProblemKind::Unreadable { bytes: self.offset - start, damage }, start, number);
                self.ended = true;
                return;
            }
            let dropped = resync::STEP_BYTES.min(filled);
            batch.buffer.copy_within(dropped..filled, 0);
            filled -= dropped;
            self.offset += dropped as u64;
            first = 0;
        }
    }

    /// Passes over a damaged record at the start of the last bytes of the input; `false` if no record comes after it.
    fn skip_to_record(&mut self, batch: &mut Batch, filled: usize, damage: Damage) -> bool {
        let window = batch.buffer.get(..filled).unwrap_or_default();
        if has_translated_line_ends(window) {
            self.summary.note(ProblemKind::LineEnds, self.offset, batch.found.number());
        }
        let Some(at) = resync::find(&self.format, window, 1..filled, self.last, true) else { return false };
        self.put_back(window.get(at..).unwrap_or_default());
        self.summary.note(ProblemKind::Skipped { bytes: at as u64, damage }, self.offset, batch.found.number());
        self.offset += at as u64;
        true
    }

    /// Whether all bytes of the input are in the buffer or walked over.
    fn is_at_end(&self) -> bool {
        self.exhausted && self.carry.is_empty()
    }

    /// Notes what is missing of the last record, where anything of it is there.
    fn end_cut(&mut self, needed_bytes: usize, found_bytes: usize, batch: &Batch) {
        self.ended = true;
        if found_bytes > 0 {
            let kind = ProblemKind::Cut { expected_bytes: needed_bytes as u64, found_bytes: found_bytes as u64 };
            self.summary.note(kind, self.offset, batch.found.number());
        }
    }

    /// Makes room for a record that is longer than the buffer, step by step as its bytes really come.
    fn fill_for_record(&mut self, buffer: &mut Vec<u8>, mut filled: usize, needed_bytes: usize) -> usize {
        while filled < needed_bytes && !self.is_at_end() {
            let target = needed_bytes.min(filled.max(GROWTH_BYTES_MIN) * 2);
            if buffer.len() < target {
                buffer.resize(target, 0);
            }
            filled = self.fill(buffer, filled, target);
        }
        filled
    }

    /// Fills `buffer[filled..target]` from what was carried over and then from the input; gives up to where it is filled.
    fn fill(&mut self, buffer: &mut [u8], mut filled: usize, target: usize) -> usize {
        if let Some(room) = buffer.get_mut(filled..target)
            && !self.carry.is_empty()
        {
            let (count, _) = copy_front(&self.carry, room);
            self.carry.drain(..count);
            filled += count;
        }
        if let Some(room) = buffer.get_mut(filled..target)
            && !room.is_empty()
            && !self.exhausted
        {
            let wanted = room.len();
            let read = self.bytes.fill(room);
            filled += read.bytes;
            self.exhausted = read.bytes < wanted;
            if let Some(failure) = read.failure {
                self.fail(&failure);
            }
        }
        filled
    }

    /// Keeps bytes for the next batch.
    fn put_back(&mut self, bytes: &[u8]) {
        if self.carry.is_empty() {
            self.carry.extend_from_slice(bytes);
        } else {
            self.carry.splice(0..0, bytes.iter().copied());
        }
    }

    fn fail(&mut self, failure: &io::Error) {
        self.exhausted = true;
        self.summary.note(ProblemKind::ReadFailed(failure.to_string()), self.offset, self.number);
    }
}

/// Whether no LF is without a CR before it, which in packets of this length is no chance: one byte in 256 is an LF.
fn has_translated_line_ends(window: &[u8]) -> bool {
    let mut feeds = 0;
    for at in memchr::memchr_iter(b'\n', window) {
        // What is before the first byte is not known.
        if at > 0 && window.get(at - 1) != Some(&b'\r') {
            return false;
        }
        feeds += 1;
    }
    feeds >= LINE_FEEDS_MIN
}

/// So many LF are enough to tell.
const LINE_FEEDS_MIN: usize = 8;

/// Whether enough of a packet is held to jump over the rest of it, and the rest holds enough to be worth a jump.
fn is_worth_it(jump: &Jump, held_bytes: usize) -> bool {
    let held = held_bytes.saturating_sub(jump.header_bytes);
    let captured = jump.record.captured as usize;
    held >= PREFIX_BYTES_MIN && held < captured && captured <= RECORD_JUMP_MAX && jump.rest_bytes <= PREFIX_BYTES / 2
}

/// The first bytes of an input, and the rest of it.
struct Head {
    bytes: Vec<u8>,
    stream: Box<dyn Read + Send>,
    compression: Option<Compression>,
    failure: Option<io::Error>,
}

/// Reads the first bytes of what is inside any compression.
fn read_head(name: &str, stream: Box<dyn Read + Send>) -> Result<Head, CaptureError> {
    let mut stream = Bytes::Stream(stream);
    let mut compression = None;
    for _ in 0..=COMPRESSIONS_MAX {
        let mut bytes = vec![0; HEAD_BYTES];
        let filled = stream.fill(&mut bytes);
        bytes.truncate(filled.bytes);
        if let (0, Some(source)) = (filled.bytes, filled.failure.as_ref()) {
            return Err(read_failed(name, source));
        }
        let Bytes::Stream(rest) = stream else { break };
        let inner = match sniff(&bytes) {
            Kind::Gzip => Compression::Gzip,
            Kind::Zstd => Compression::Zstd,
            _ => return Ok(Head { bytes, stream: rest, compression, failure: filled.failure }),
        };
        compression = compression.or(Some(inner));
        let whole = Box::new(Cursor::new(bytes).chain(rest));
        let decoder = decompress(whole, inner).map_err(|source| CaptureError::Read { name: name.to_owned(), source })?;
        stream = Bytes::Stream(decoder);
    }
    Err(CaptureError::CompressedTooOften { name: name.to_owned(), max: COMPRESSIONS_MAX })
}

fn read_failed(name: &str, source: &io::Error) -> CaptureError {
    CaptureError::Read { name: name.to_owned(), source: io::Error::new(source.kind(), source.to_string()) }
}

/// The format, and the length of the file header.
fn open_format(name: &str, head: &Head) -> Result<(Format, FileFormat, usize), CaptureError> {
    let bytes = head.bytes.as_slice();
    let kind = sniff(bytes);
    let opened = match kind {
        Kind::Pcap => Pcap::open(bytes).map(|(pcap, header_bytes)| {
            let format = if pcap.has_nanos() { FileFormat::PcapNanos } else { FileFormat::Pcap };
            (Format::Pcap(pcap), format, header_bytes)
        }),
        Kind::Pcapng => Pcapng::open(bytes).map(|pcapng| (Format::Pcapng(pcapng), FileFormat::Pcapng, 0)),
        Kind::Snoop => Snoop::open(bytes).map(|(snoop, length)| (Format::Snoop(snoop), FileFormat::Snoop, length)),
        _ => return Err(CaptureError::NotACapture { name: name.to_owned(), kind }),
    };
    opened.ok_or_else(|| {
        let name = name.to_owned();
        if bytes.len() < FILE_HEADER_BYTES {
            CaptureError::CutHeader { name, bytes: bytes.len() }
        } else {
            CaptureError::BadHeader { name }
        }
    })
}

/// Bytes read to recognise an input.
const HEAD_BYTES: usize = 4096;

/// Bytes of the longest file header.
const FILE_HEADER_BYTES: usize = 28;

/// How often an input may be compressed over.
const COMPRESSIONS_MAX: usize = 3;

/// Bytes read of each record while jumping.
const PREFIX_BYTES: usize = 2048;

/// Bytes of a packet to be held at least when the rest is left in the file: room for all headers and most heads.
const PREFIX_BYTES_MIN: usize = 1024;

/// The mean length of records from which jumping pays.
const JUMP_RECORD_BYTES_MIN: u64 = 8 << 10;

/// The mean length of records from which they are mostly bodies.
const BULK_RECORD_BYTES_MIN: u64 = 900;

/// The longest packet that is jumped.
const RECORD_JUMP_MAX: usize = 16 << 20;

/// The longest record that is usual: a packet of tcpdump's largest snap length, with its header and options.
const RECORD_BYTES_USUAL: usize = PACKET_BYTES_USUAL as usize + 1024;

/// The buffer grows at least to twice this for a long record.
const GROWTH_BYTES_MIN: usize = 64 << 10;
