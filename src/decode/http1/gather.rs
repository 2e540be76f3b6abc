//! Octets that wait for the rest of their line or head. Each octet is looked at once, however finely the input is cut.

use crate::model::{Frame, Frames, Stamp};

/// What was gathered of a head, a trailer section or a chunk-size line.
pub(super) struct Gather {
    /// The first octets, up to a bound.
    pub(super) text: Vec<u8>,
    /// When the first octet came.
    pub(super) start: Stamp,
    /// The frames that brought octets.
    pub(super) frames: Frames,
    /// How many octets came, also those beyond the bound, which were dropped.
    pub(super) length: u64,
    /// Whether the octets are known to start a message.
    pub(super) trust: Trust,
    /// Whether a gap swallowed the start of the request line.
    pub(super) start_missing: bool,
    line: Line,
}

/// How far it is known that gathered octets start a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// They do.
    Known,
    /// More octets are needed; in the place where a message is due.
    Due,
    /// More octets are needed; in a place found by searching, where the test is stricter.
    Sought,
}

/// What the current line holds so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Empty,
    OnlyCr,
    Some,
}

impl Gather {
    /// Starts to gather a head, whose first line is not empty.
    pub(super) fn head(start: Stamp, trust: Trust) -> Box<Self> {
        Box::new(Self {
            text: Vec::new(),
            start,
            frames: Frames::default(),
            length: 0,
            trust,
            start_missing: false,
            line: Line::Some,
        })
    }

    /// Starts to gather lines of which the first may be the empty one that ends them.
    pub(super) fn lines(start: Stamp) -> Box<Self> {
        let mut gather = Self::head(start, Trust::Known);
        gather.line = Line::Empty;
        gather
    }

    /// Adds octets up to and with the empty line that ends the head; gives how many were used, and whether the end was met.
    pub(super) fn add(&mut self, data: &[u8], frame: Frame, bytes_max: usize) -> (usize, bool) {
        let end = self.find_end(data);
        let used = end.unwrap_or(data.len());
        self.frames.push(frame);
        self.append(data.get(..used).unwrap_or_default(), bytes_max);
        (used, end.is_some())
    }

    /// Adds octets without looking for an end, up to the bound.
    pub(super) fn append(&mut self, data: &[u8], bytes_max: usize) {
        let room = bytes_max.saturating_sub(self.text.len());
        self.length = self.length.saturating_add(data.len() as u64);
        self.text.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
    }

    /// Whether octets beyond the bound were dropped.
    pub(super) const fn is_overlong(&self) -> bool {
        self.length > self.text.len() as u64
    }

    fn find_end(&mut self, data: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = data.get(at..)?;
            match (self.line, rest.first()?) {
                (Line::Empty | Line::OnlyCr, b'\n') => return Some(at + 1),
                (Line::Empty, b'\r') => {
                    self.line = Line::OnlyCr;
                    at += 1;
                }
                _ => {
                    self.line = Line::Some;
                    at += memchr::memchr(b'\n', rest)? + 1;
                    self.line = Line::Empty;
                }
            }
        }
    }
}
