//! One whole head in, its start line and fields out: read on the slice where it lies, copied once.

use std::mem::MaybeUninit;
use std::ops::Range;

use httparse::{Header, Status};

use crate::decode::http1::notes::Notes;
use crate::decode::http1::plain;
use crate::decode::http1::shapes::Shapes;
use crate::model::{Anomaly, Headers, Side, Version};

/// A decoded head.
pub(super) struct Head {
    pub(super) start: StartLine,
    pub(super) version: Version,
    pub(super) headers: Headers,
    pub(super) notes: Notes,
}

/// The start line; ranges of the head's text.
pub(super) enum StartLine {
    Request { method: Range<usize>, target: Range<usize> },
    Status { code: u16, reason: Range<usize> },
}

/// What the strict reader makes of some octets.
pub(super) enum Parsed {
    /// A head and its length.
    Whole(Head, usize),
    /// The octets end before the head does.
    Partial,
    /// Only the lenient reader may make sense of it.
    Odd,
}

/// Fields that the strict readers take; heads with more go to the lenient one.
pub(super) const FIELDS_MAX: usize = 64;

/// Reads the head at the start of `bytes` as a strict recipient does. A head of more than `fields_max` fields is odd.
pub(super) fn parse(from: Side, bytes: &[u8], fields_max: usize, shapes: &Shapes) -> Parsed {
    match plain::read(from, bytes, fields_max, shapes) {
        Some((head, length)) => Parsed::Whole(head, length),
        None => parse_odd(from, bytes, fields_max),
    }
}

/// Reads what is not plain, as httparse does.
pub(super) fn parse_odd(from: Side, bytes: &[u8], fields_max: usize) -> Parsed {
    let mut slots = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS_MAX];
    match from {
        Side::Client => {
            let mut request = httparse::Request::new(&mut []);
            let length = match request.parse_with_uninit_headers(bytes, &mut slots) {
                Ok(Status::Complete(length)) => length,
                Ok(Status::Partial) => return Parsed::Partial,
                Err(_) => return Parsed::Odd,
            };
            let (Some(method), Some(target)) = (request.method, request.path) else { return Parsed::Odd };
            let start = StartLine::Request { method: span(bytes, method.as_bytes()), target: span(bytes, target.as_bytes()) };
            build(bytes, length, start, request.version, request.headers, fields_max)
        }
        Side::Server => {
            let mut response = httparse::Response::new(&mut []);
            let config = httparse::ParserConfig::default();
            let length = match config.parse_response_with_uninit_headers(&mut response, bytes, &mut slots) {
                Ok(Status::Complete(length)) => length,
                Ok(Status::Partial) => return Parsed::Partial,
                Err(_) => return Parsed::Odd,
            };
            let Some(code) = response.code else { return Parsed::Odd };
            let start = StartLine::Status { code, reason: reason(bytes) };
            build(bytes, length, start, response.version, response.headers, fields_max)
        }
    }
}

fn build(bytes: &[u8], length: usize, start: StartLine, version: Option<u8>, fields: &[Header<'_>], fields_max: usize) -> Parsed {
    let Some(text) = bytes.get(..length) else { return Parsed::Odd };
    if fields.len() > fields_max {
        return Parsed::Odd;
    }
    let mut notes = Notes::default();
    let mut bare = !text.ends_with(b"\r\n\r\n");
    let mut headers = Headers::over(text.to_vec(), fields.len());
    for field in fields {
        let name = span(bytes, field.name.as_bytes());
        // httparse takes a bare LF for a line end: the octets before each name tell whether there was one.
        bare |= text.get(name.start.wrapping_sub(2)) != Some(&b'\r');
        headers.push(name, span(bytes, field.value));
    }
    if bare {
        notes.add(Anomaly::BareLineFeed);
    }
    let version = if version == Some(0) { Version::Http10 } else { Version::Http11 };
    Parsed::Whole(Head { start, version, headers, notes }, length)
}

/// Where `part`, a piece of `whole`, lies in it.
fn span(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
    start..start.wrapping_add(part.len())
}

/// The reason phrase of a status line that a strict reader accepts: `HTTP/1.x NNN` is twelve octets. httparse itself drops
/// phrases outside ASCII.
fn reason(bytes: &[u8]) -> Range<usize> {
    const AFTER_CODE: usize = 12;
    let line = bytes.get(AFTER_CODE..).unwrap_or_default();
    let end = memchr::memchr2(b'\r', b'\n', line).unwrap_or(0);
    let start = usize::from(line.first() == Some(&b' ')).min(end);
    AFTER_CODE + start..AFTER_CODE + end
}
