//! Where messages begin and end in the bytes that pass, without holding bodies: it says how much may be forwarded as it is.
//!
//! Nothing is forwarded before its end is certain: heads and chunk sizes wait until they are complete and were found to be
//! unambiguous. The bytes themselves are never changed here.

use std::collections::VecDeque;

use crate::proxy::head::{self, Framing, Head, Kind};
use crate::proxy::refusal::Refusal;

/// What comes next in the bytes of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A whole head of so many bytes.
    Head(usize),
    /// So many bytes of a body, or of something that is not read.
    Body(usize),
    /// More is needed before anything can be forwarded.
    Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a head, or in one that is not complete.
    Head,
    Length(u64),
    ChunkSize,
    Chunk(u64),
    /// The CR LF after the content of a chunk.
    ChunkEnd,
    Trailers,
    UntilClose,
    /// A response decides what the next bytes are.
    AwaitsResponse,
    /// Bytes of another protocol, or of messages that nobody reads any more.
    Opaque,
}

/// The requests of one connection and their responses.
pub(super) struct Gate {
    client: Reader,
    server: Reader,
    /// Requests whose final response has not begun, oldest first.
    waiting: VecDeque<Waiting>,
    /// Whether the response in progress is the final one of the oldest request.
    answering: bool,
    requests: u64,
    /// Whether both sides want to go on after what was seen.
    keeps_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    kind: Kind,
    /// Its number on the connection, from 1.
    number: u64,
}

struct Reader {
    place: Place,
    /// How much of the bytes that wait was searched for the end of the head.
    searched: usize,
}

impl Reader {
    const NEW: Self = Self { place: Place::Head, searched: 0 };
}

/// A final response has begun, or an interim one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    /// The number of its request; 0 where there is none.
    pub(super) request: u64,
}

impl Gate {
    pub(super) const fn new() -> Self {
        Self {
            client: Reader::NEW,
            server: Reader::NEW,
            waiting: VecDeque::new(),
            answering: false,
            requests: 0,
            keeps_alive: true,
        }
    }

    /// Whether no message is in progress on either side.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.client.place == Place::Head && self.server.place == Place::Head && !self.answering
    }

    /// Whether another client may go on with the upstream connection.
    pub(super) fn is_reusable(&self) -> bool {
        self.is_idle() && self.keeps_alive
    }

    /// Whether bytes pass without being read.
    pub(super) const fn is_opaque(&self) -> bool {
        matches!(self.client.place, Place::Opaque)
    }

    /// Whether a head comes next from the client.
    pub(super) const fn awaits_head(&self) -> bool {
        matches!(self.client.place, Place::Head)
    }

    /// Whether requests wait for their responses.
    pub(super) fn awaits_response(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a response has begun and not ended.
    pub(super) const fn is_in_response(&self) -> bool {
        !matches!(self.server.place, Place::Head)
    }

    /// Whether the only request so far is complete, and sending it twice does what sending it once does.
    pub(super) fn may_be_sent_again(&self) -> bool {
        let is_safe = |waiting: &Waiting| matches!(waiting.kind, Kind::Safe | Kind::Head);
        self.requests == 1 && self.client.place == Place::Head && self.waiting.front().is_some_and(is_safe)
    }

    /// How many requests have begun.
    pub(super) const fn requests(&self) -> u64 {
        self.requests
    }

    /// Lets everything pass from here on.
    pub(super) fn open(&mut self) {
        self.client.place = Place::Opaque;
        self.server.place = Place::Opaque;
        self.keeps_alive = false;
    }

    /// Reads on in what the client sent. `data` begins with what the last [`Step::Wait`] left.
    pub(super) fn request(&mut self, data: &[u8]) -> Result<Step, Refusal> {
        if self.client.place != Place::Head {
            return self.client.body(data);
        }
        if data.starts_with(b"\r\n") {
            // An empty line before a request is ignored by servers (RFC 9112 section 2.2).
            return Ok(Step::Body(2));
        }
        let Some(end) = self.client.head_end(data)? else { return Ok(Step::Wait) };
        let (head, kind) = head::request(data, end)?;
        if self.waiting.len() >= PIPELINED_MAX {
            self.client.searched = end.saturating_sub(HEAD_END.len());
            return Ok(Step::Wait);
        }
        self.requests += 1;
        self.keeps_alive &= head.keeps_alive;
        self.waiting.push_back(Waiting { kind, number: self.requests });
        self.client.place = match (kind, head.framing) {
            (Kind::Connect | Kind::Upgrade, Framing::Unsaid | Framing::Length(0)) => Place::AwaitsResponse,
            (_, framing) => after(framing, Place::Head),
        };
        Ok(self.client.step(head))
    }

    /// Reads on in what the server sent; also says which response a head is of.
    pub(super) fn response(&mut self, data: &[u8]) -> Result<(Step, Option<ResponseHead>), Refusal> {
        if self.server.place != Place::Head {
            let step = self.server.body(data)?;
            self.end_response();
            return Ok((step, None));
        }
        let Some(end) = self.server.head_end(data)? else { return Ok((Step::Wait, None)) };
        let (head, status) = head::response(data, end)?;
        let waiting = self.waiting.front().copied();
        let told = ResponseHead { status, request: waiting.map_or(0, |waiting| waiting.number) };
        let step = self.server.step(head);
        if matches!(status, 100..200) && status != 101 {
            return Ok((step, Some(told)));
        }
        self.waiting.pop_front();
        self.answering = true;
        self.keeps_alive &= head.keeps_alive && waiting.is_some();
        let kind = waiting.map_or(Kind::Other, |waiting| waiting.kind);
        if status == 101 || (kind == Kind::Connect && matches!(status, 200..300)) {
            self.open();
            return Ok((step, Some(told)));
        }
        if self.client.place == Place::AwaitsResponse {
            self.client.place = Place::Head;
        }
        let has_no_body = kind == Kind::Head || matches!(status, 204 | 304);
        self.server.place = if has_no_body { Place::Head } else { after(head.framing, Place::UntilClose) };
        self.keeps_alive &= self.server.place != Place::UntilClose;
        self.end_response();
        Ok((step, Some(told)))
    }

    fn end_response(&mut self) {
        if self.server.place == Place::Head {
            self.answering = false;
        }
    }
}

/// What follows a head with these fields; `unsaid` where they say nothing.
const fn after(framing: Framing, unsaid: Place) -> Place {
    match framing {
        Framing::Unsaid => unsaid,
        Framing::Length(0) => Place::Head,
        Framing::Length(length) => Place::Length(length),
        Framing::Chunked => Place::ChunkSize,
    }
}

impl Reader {
    /// Where the head at the start of `data` ends, with its empty line.
    fn head_end(&mut self, data: &[u8]) -> Result<Option<usize>, Refusal> {
        check_start(data)?;
        let from = self.searched.saturating_sub(HEAD_END.len() - 1);
        let found = memchr::memmem::find(data.get(from..).unwrap_or_default(), HEAD_END);
        let Some(at) = found.map(|at| from + at + HEAD_END.len()) else {
            self.searched = data.len();
            // A head whose lines end in LF alone never ends for this search.
            if memchr::memmem::find(data.get(from..).unwrap_or_default(), b"\n\n").is_some() {
                return Err(Refusal::BareLineFeed);
            }
            return if data.len() > HEAD_BYTES_MAX { Err(Refusal::TooLong) } else { Ok(None) };
        };
        if at > HEAD_BYTES_MAX { Err(Refusal::TooLong) } else { Ok(Some(at)) }
    }

    const fn step(&mut self, head: Head) -> Step {
        self.searched = 0;
        Step::Head(head.bytes)
    }

    /// Reads on outside of heads.
    fn body(&mut self, data: &[u8]) -> Result<Step, Refusal> {
        let mut used = 0;
        while used < data.len() {
            let rest = data.get(used..).unwrap_or_default();
            match self.place {
                Place::Opaque | Place::UntilClose => used = data.len(),
                Place::Length(left) => {
                    let taken = left.min(rest.len() as u64);
                    used += taken as usize;
                    self.place = if taken == left { Place::Head } else { Place::Length(left - taken) };
                }
                Place::Chunk(left) => {
                    let taken = left.min(rest.len() as u64);
                    used += taken as usize;
                    self.place = if taken == left { Place::ChunkEnd } else { Place::Chunk(left - taken) };
                }
                Place::ChunkEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        used += 2;
                        self.place = Place::ChunkSize;
                    }
                    [b'\r'] => break,
                    _ => return Err(Refusal::Chunk),
                },
                Place::ChunkSize => match line(rest)? {
                    Some(length) => {
                        let size = chunk_size(rest.get(..length - 2).unwrap_or_default())?;
                        used += length;
                        self.place = if size == 0 { Place::Trailers } else { Place::Chunk(size) };
                    }
                    None => break,
                },
                Place::Trailers => match line(rest)? {
                    Some(2) => {
                        used += 2;
                        self.place = Place::Head;
                    }
                    Some(length) => used += length,
                    None => break,
                },
                Place::Head | Place::AwaitsResponse => break,
            }
            if self.place == Place::Head {
                break;
            }
        }
        Ok(if used == 0 { Step::Wait } else { Step::Body(used) })
    }
}

/// What cannot be the start of a message is refused at once, and not waited for.
fn check_start(data: &[u8]) -> Result<(), Refusal> {
    match data {
        [0x16, ..] => Err(Refusal::Tls),
        [b'P', b'R', b'I', b' ', b'*', ..] => Err(Refusal::Http2),
        // It may be an empty line before a request.
        [b'\r'] => Ok(()),
        [byte, ..] if !byte.is_ascii_graphic() => Err(Refusal::NotHttp),
        _ => Ok(()),
    }
}

/// The length of the line at the start of `data` with its CR LF; `None` where it is not complete.
fn line(data: &[u8]) -> Result<Option<usize>, Refusal> {
    match memchr::memchr(b'\n', data) {
        Some(at) if at > LINE_BYTES_MAX => Err(Refusal::TooLong),
        Some(at) if at.checked_sub(1).and_then(|before| data.get(before)) == Some(&b'\r') => Ok(Some(at + 1)),
        Some(_) => Err(Refusal::BareLineFeed),
        None if data.len() > LINE_BYTES_MAX => Err(Refusal::TooLong),
        None => Ok(None),
    }
}

/// A chunk size (RFC 9112 section 7.1) with or without extensions; no line end in `line`.
fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    let end = memchr::memchr(b';', line).unwrap_or(line.len());
    let (size, extension) = line.split_at_checked(end).ok_or(Refusal::Chunk)?;
    let size = if extension.is_empty() { size } else { size.trim_ascii_end() };
    let is_plain = !size.is_empty() && size.len() <= CHUNK_DIGITS_MAX && size.iter().all(u8::is_ascii_hexdigit);
    if !is_plain || memchr::memchr2(b'\r', 0, extension).is_some() {
        return Err(Refusal::Chunk);
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(u64::from);
    size.iter().try_fold(0, |value, byte| Some(value * 16 + digit(byte)?)).ok_or(Refusal::Chunk)
}

const HEAD_END: &[u8] = b"\r\n\r\n";

/// A head may be this long.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A line of a chunk size or a trailer may be this long.
const LINE_BYTES_MAX: usize = 8 << 10;

/// So many digits fit into 64 bits, and into a signed number.
const CHUNK_DIGITS_MAX: usize = 15;

/// Requests that wait for their responses on one connection; further ones wait in the socket.
const PIPELINED_MAX: usize = 256;

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
