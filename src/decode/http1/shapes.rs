//! The shapes of heads: which fields they have, in which order. A program sends few of them again and again, so that a head
//! whose lines begin as those of one before is read by comparison, and no name has to be found and recognised.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::decode::http1::marks::{LINE_START, same_octets};
use crate::model::{Headers, Side, Spans};

/// Which shapes were seen by the connections that share it, such as those of one table of flows. What is read does not depend on
/// it, so a connection that finds it in use by another thread does without.
#[derive(Clone, Default)]
pub struct Shapes {
    by_key: Arc<Mutex<Vec<Option<Shape>>>>,
}

impl fmt::Debug for Shapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shapes").finish_non_exhaustive()
    }
}

/// How many shapes are kept; those of one key take each other's place.
const SHAPES_MAX: usize = 256;
/// Octets that a line of a shape may begin with: longer names are not worth their memory.
const LINE_START_MAX: usize = 128;
/// How many heads of other shapes with the same key a shape outlives.
const CREDIT_MAX: u8 = 4;

/// The fields of one shape of head.
struct Shape {
    lines: Vec<Line>,
    /// The names, and no text.
    names: Headers,
    credit: u8,
}

/// How a line of a shape begins: a name, a colon and SP.
struct Line {
    length: u32,
    /// The first octets, and a bit for each of them that counts.
    start: [u8; LINE_START],
    mask: u32,
    /// Those behind `start`.
    more: Box<[u8]>,
}

/// The lines of a head: its octets with what follows, where the first field starts, and where each one's CR is.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) start: usize,
    pub(super) ends: &'a [u32],
    /// Octets of the head.
    pub(super) length: usize,
}

impl Shapes {
    /// The fields of a head of a shape that was seen before; what `read` makes of any other, whose shape is then kept.
    pub(super) fn fields(&self, from: Side, lines: Lines<'_>, read: impl FnOnce() -> Option<Headers>) -> Option<Headers> {
        let Ok(mut by_key) = self.by_key.try_lock() else { return read() };
        if by_key.is_empty() {
            by_key.resize_with(SHAPES_MAX, || None);
        }
        let place = by_key.get_mut(lines.key(from) % SHAPES_MAX)?;
        if let Some(shape) = place {
            if let Some(spans) = shape.spans(lines) {
                shape.credit = CREDIT_MAX;
                return Some(Headers::like(&shape.names, lines.bytes.get(..lines.length)?.to_vec(), spans));
            }
            shape.credit = shape.credit.saturating_sub(1);
        }
        let headers = read()?;
        if place.as_ref().is_none_or(|shape| shape.credit == 0) {
            *place = Shape::of(&headers);
        }
        Some(headers)
    }
}

impl Lines<'_> {
    /// A number that heads of one shape share: of their method or status, how many fields there are, and how the first three
    /// and the last begin.
    #[inline]
    fn key(&self, from: Side) -> usize {
        let word = |at: usize| self.bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |octets| u64::from_le_bytes(*octets));
        let behind = |end: u32| word(end as usize + CRLF_BYTES);
        let kind = match from {
            Side::Client => word(0) & u64::from(u32::MAX),
            Side::Server => word(STATUS_AT),
        };
        let mix = |mixed: u64, word: u64| (mixed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(29);
        let mixed = mix(mix(kind, self.ends.len() as u64), word(self.start));
        let mixed = match self.ends {
            [first, second, .., before, _] => mix(mix(mix(mixed, behind(*first)), behind(*second)), behind(*before)),
            _ => mixed,
        };
        mixed as usize
    }
}

impl Shape {
    /// The shape of a head; `None` where some line begins in another way than with a name of usual length, colon and SP.
    fn of(headers: &Headers) -> Option<Self> {
        let lines = headers.spans().iter().map(|spans| Line::of(headers.text(), spans)).collect::<Option<_>>()?;
        Some(Self { lines, names: Headers::like(headers, Vec::new(), Vec::new()), credit: CREDIT_MAX })
    }

    /// Where the fields of a head of this shape are; `None` for any other, and where more SP stands around a value.
    #[inline(never)] // Few values live here, so that they stay in registers.
    fn spans(&self, lines: Lines<'_>) -> Option<Vec<Spans>> {
        if self.lines.len() != lines.ends.len() {
            return None;
        }
        let mut spans = Vec::with_capacity(lines.ends.len());
        let mut start = lines.start;
        for (line, end) in self.lines.iter().zip(lines.ends) {
            let rest = lines.bytes.get(start..)?;
            let value = start + line.length as usize;
            let end = *end as usize;
            let text = lines.bytes.get(value..end)?;
            if !line.begins(rest) || matches!(text.first(), None | Some(b' ')) || text.last() == Some(&b' ') {
                return None;
            }
            // No plain head is so long that these do not fit.
            let name = (start as u32, (value - SEPARATOR.len()) as u32);
            spans.push(Spans { name, value: (value as u32, end as u32) });
            start = end + CRLF_BYTES;
        }
        Some(spans)
    }
}

impl Line {
    fn of(text: &[u8], spans: &Spans) -> Option<Self> {
        let (name, colon) = spans.name;
        let text = text.get(name as usize..colon as usize + SEPARATOR.len())?;
        if !text.ends_with(SEPARATOR) || text.len() > LINE_START_MAX {
            return None;
        }
        let (begin, more) = text.split_at_checked(LINE_START).unwrap_or((text, &[]));
        let mut start = [0; LINE_START];
        start.get_mut(..begin.len())?.copy_from_slice(begin);
        let mask = u32::MAX.checked_shr((LINE_START - begin.len()) as u32)?;
        Some(Self { length: text.len() as u32, start, mask, more: more.into() })
    }

    #[inline]
    fn begins(&self, rest: &[u8]) -> bool {
        match rest.first_chunk() {
            Some(start) => {
                same_octets(start, &self.start) & self.mask == self.mask
                    && (self.more.is_empty() || rest.get(LINE_START..).is_some_and(|rest| rest.starts_with(&self.more)))
            }
            // The whole is shorter than what is compared at once.
            None => self.start.get(..self.length as usize).is_some_and(|start| rest.starts_with(start)),
        }
    }
}

/// What stands between name and value.
const SEPARATOR: &[u8] = b": ";
const CRLF_BYTES: usize = 2;
/// Where a status line has its status.
const STATUS_AT: usize = b"HTTP/1.1".len();
