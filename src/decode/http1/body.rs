//! Body octets in; counted, kept and hashed content out, and where the body ends.

use std::ops::Range;

use ring::digest::Context;

use crate::decode::http1::framing::chunk_size;
use crate::decode::http1::gather::Gather;
use crate::decode::http1::lenient::read_fields;
use crate::decode::http1::notes::Notes;
use crate::decode::http1::pending::Message;
use crate::decode::http1::reader::Reader;
use crate::model::{Anomaly, Body, Chunks, Headers, Stamp};

/// How far a body has come.
#[derive(Clone, Copy)]
pub(super) enum Progress {
    /// So many octets are to come.
    Length(u64),
    /// All octets up to the close are content.
    UntilClose,
    /// Inside chunked framing.
    Chunk(Chunk),
}

/// A place in chunked framing.
#[derive(Clone, Copy)]
pub(super) enum Chunk {
    /// In a chunk-size line.
    Size,
    /// So many octets of the chunk are to come.
    Content(u64),
    /// At the CR LF after a chunk.
    End,
    /// At the LF after a chunk.
    EndLf,
    /// In the trailer section.
    Trailer,
}

/// What some octets did to a body.
pub(super) enum Step {
    /// They were used, and more is to come.
    Used(usize, Progress),
    /// The body ended after them.
    Ended(usize),
    /// After so many octets used, the chunked framing turned out to be none: these came last.
    Broken(usize, Vec<u8>),
}

/// Bounds that body reading needs.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) head_bytes_max: usize,
    pub(super) fields_max: usize,
}

/// Feeds the octets that follow to the body; uses at least one of them, or ends it.
pub(super) fn feed(
    progress: Progress,
    data: &[u8],
    stamp: Stamp,
    reader: &mut Reader,
    message: &mut Message<'_>,
    bounds: Bounds,
) -> Step {
    message.frames.push(stamp.frame);
    *message.end = Some(stamp.at);
    match progress {
        Progress::Length(left) => {
            let used = add_up_to(left, data, reader, message);
            match left - used as u64 {
                0 => Step::Ended(used),
                left => Step::Used(used, Progress::Length(left)),
            }
        }
        Progress::UntilClose => {
            add(data, reader, message);
            Step::Used(data.len(), progress)
        }
        Progress::Chunk(chunk) => feed_chunk(chunk, data, stamp, reader, message, bounds),
    }
}

/// Counts content that is known but not at hand.
pub(super) fn pass(length: u64, reader: &mut Reader, message: &mut Message<'_>) {
    message.body.length = message.body.length.saturating_add(length);
    reader.body_fresh = false;
    reader.keep_left = 0;
    if let Some(digest) = reader.digest.take_if(|_| length > 0)
        && digest.is_given
        && let Some(observer) = &mut message.observer
    {
        observer.missing(message.from, length);
    }
}

/// Counts content that the capture lacks.
pub(super) fn miss(length: u64, reader: &mut Reader, message: &mut Message<'_>) {
    let start = message.body.length;
    pass(length, reader, message);
    add_range(&mut message.body.missing, start..message.body.length);
    message.notes.add(Anomaly::GapInBody);
    *message.end = None;
}

/// Gaps of one body that are kept apart; beyond it the last one grows over what lies between.
const MISSING_MAX: usize = 1024;

fn add_range(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    let full = ranges.len() >= MISSING_MAX;
    if range.is_empty() {
        return;
    }
    match ranges.last_mut() {
        Some(last) if last.end == range.start || full => last.end = range.end,
        _ => ranges.push(range),
    }
}

fn feed_chunk(chunk: Chunk, data: &[u8], stamp: Stamp, reader: &mut Reader, message: &mut Message<'_>, bounds: Bounds) -> Step {
    let used = |count: usize, chunk: Chunk| Step::Used(count, Progress::Chunk(chunk));
    match chunk {
        Chunk::Size => feed_size(data, stamp, reader, message),
        Chunk::Content(left) => {
            let count = add_up_to(left, data, reader, message);
            match left - count as u64 {
                0 => used(count, Chunk::End),
                left => used(count, Chunk::Content(left)),
            }
        }
        Chunk::End => match data.first() {
            Some(b'\r') => used(1, Chunk::EndLf),
            Some(b'\n') => {
                message.note_odd_end();
                used(1, Chunk::Size)
            }
            _ => {
                // The next chunk seems to follow at once.
                message.note_odd_end();
                feed_size(data, stamp, reader, message)
            }
        },
        Chunk::EndLf if data.first() == Some(&b'\n') => used(1, Chunk::Size),
        Chunk::EndLf => {
            message.note_odd_end();
            feed_size(data, stamp, reader, message)
        }
        Chunk::Trailer => feed_trailer(data, stamp, reader, message, bounds),
    }
}

/// A chunk-size line longer than this is judged by its start.
const SIZE_LINE_MAX: usize = 4096;

fn feed_size(data: &[u8], stamp: Stamp, reader: &mut Reader, message: &mut Message<'_>) -> Step {
    let end = memchr::memchr(b'\n', data);
    let part = data.get(..end.unwrap_or(data.len())).unwrap_or_default();
    let used = end.map_or(data.len(), |at| at + 1);
    let size = match (reader.gather.take(), end) {
        (None, Some(_)) => {
            let size = chunk_size(part, message.notes);
            message.note_chunk(size, part);
            size.ok_or_else(|| data.get(..used).unwrap_or_default().to_vec())
        }
        (gather, end) => {
            let mut gather = gather.unwrap_or_else(|| Gather::lines(stamp));
            gather.append(part, SIZE_LINE_MAX);
            if end.is_none() {
                let hopeless = gather.is_overlong() && chunk_size(&gather.text, &mut Notes::default()).is_none();
                if hopeless {
                    return Step::Broken(used, gather.text);
                }
                reader.gather = Some(gather);
                return Step::Used(used, Progress::Chunk(Chunk::Size));
            }
            if gather.is_overlong() {
                // The line's own end was dropped with the rest of its extension.
                gather.text.push(b'\r');
                message.give_up_chunks();
            }
            let size = chunk_size(&gather.text, message.notes);
            message.note_chunk(size, &gather.text);
            gather.text.push(b'\n');
            size.ok_or(gather.text)
        }
    };
    match size {
        Ok(0) => Step::Used(used, Progress::Chunk(Chunk::Trailer)),
        Ok(size) => Step::Used(used, Progress::Chunk(Chunk::Content(size))),
        Err(line) => {
            message.notes.add(Anomaly::InvalidChunkSize);
            message.give_up_chunks();
            if matches!(line.as_slice(), b"\r\n" | b"\n") {
                return Step::Used(used, Progress::Chunk(Chunk::Size));
            }
            Step::Broken(used, line)
        }
    }
}

fn feed_trailer(data: &[u8], stamp: Stamp, reader: &mut Reader, message: &mut Message<'_>, bounds: Bounds) -> Step {
    if reader.gather.is_none() && data.starts_with(b"\r\n") {
        return Step::Ended(2);
    }
    let mut gather = reader.gather.take().unwrap_or_else(|| Gather::lines(stamp));
    let (used, ended) = gather.add(data, stamp.frame, bounds.head_bytes_max);
    if !ended {
        reader.gather = Some(gather);
        return Step::Used(used, Progress::Chunk(Chunk::Trailer));
    }
    if gather.is_overlong() {
        message.notes.add(Anomaly::HeadTooLong);
    }
    if !matches!(gather.text.as_slice(), b"\r\n") {
        let mut trailers = Headers::over(gather.text.clone(), 0);
        read_fields(&gather.text, 0, bounds.fields_max, &mut trailers, message.notes);
        message.body.trailers = Some(Box::new(trailers));
    }
    Step::Ended(used)
}

fn add_up_to(left: u64, data: &[u8], reader: &mut Reader, message: &mut Message<'_>) -> usize {
    let used = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
    add(data.get(..used).unwrap_or_default(), reader, message);
    used
}

/// Counts content, and keeps, hashes and gives it to the observer where that is wanted.
pub(super) fn add(content: &[u8], reader: &mut Reader, message: &mut Message<'_>) {
    message.body.length = message.body.length.saturating_add(content.len() as u64);
    reader.body_fresh = false;
    if reader.keep_left > 0 {
        let kept = content.len().min(reader.keep_left as usize);
        message.body.kept.extend_from_slice(content.get(..kept).unwrap_or_default());
        reader.keep_left -= kept as u32;
    }
    if let Some(digest) = &mut reader.digest {
        digest.context.update(content);
        if digest.is_given
            && let Some(observer) = &mut message.observer
        {
            observer.content(message.from, content);
        }
    }
}

impl Message<'_> {
    /// Remembers how a chunk began, where that is wanted.
    fn note_chunk(&mut self, size: Option<u64>, line: &[u8]) {
        if let Some(chunks) = &mut self.body.chunks {
            match (size, line) {
                (Some(size), [line @ .., b'\r']) => chunks.push(size, line),
                _ => chunks.give_up(),
            }
        }
    }

    /// The framing is such that it cannot be given again.
    fn give_up_chunks(&mut self) {
        if let Some(chunks) = &mut self.body.chunks {
            chunks.give_up();
        }
    }

    /// The chunk does not end where it should.
    fn note_odd_end(&mut self) {
        self.notes.add(Anomaly::InvalidChunkEnd);
        self.give_up_chunks();
    }

    /// The message ended; gives the bytes that its body holds.
    #[inline]
    pub(super) fn finish(self, complete: bool, digest: Option<Box<Digest>>) -> usize {
        self.body.complete = complete;
        if complete {
            self.body.sha256 = digest.and_then(|digest| digest.finish());
        } else {
            *self.end = None;
        }
        if let Some(observer) = self.observer {
            observer.end(self.from, self.body);
        }
        weight(self.body)
    }
}

/// Octets that a body holds.
pub(super) fn weight(body: &Body) -> usize {
    body.kept.len()
        + body.trailers.as_deref().map_or(0, |trailers| trailers.text().len())
        + body.chunks.as_deref().map_or(0, Chunks::held_bytes)
}

/// The hash of a body so far.
pub(super) struct Digest {
    context: Context,
    /// Whether the content is given to the observer too.
    is_given: bool,
}

impl Digest {
    /// Starts to hash a body.
    pub(super) fn new(is_given: bool) -> Box<Self> {
        Box::new(Self { context: Context::new(&ring::digest::SHA256), is_given })
    }

    /// The SHA-256.
    pub(super) fn finish(self) -> Option<Box<[u8; 32]>> {
        self.context.finish().as_ref().try_into().ok().map(Box::new)
    }
}
