//! The aws-chunked framing of uploads: framed octets in, in any cutting; object octets, signatures and trailers out.

use crate::s3::payload::Payload;

/// How chunks are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every chunk carries `;chunk-signature=`, and there is no trailer.
    Signed,
    /// Every chunk carries `;chunk-signature=`, and a signed trailer follows.
    SignedTrailer,
    /// No chunk is signed; a trailer follows.
    UnsignedTrailer,
}

impl Mode {
    /// The framing of a payload mode; `None` where the body is not aws-chunked.
    pub const fn of_payload(payload: Payload) -> Option<Self> {
        match payload {
            Payload::StreamingSigned | Payload::StreamingEcdsa => Some(Self::Signed),
            Payload::StreamingSignedTrailer | Payload::StreamingEcdsaTrailer => Some(Self::SignedTrailer),
            Payload::StreamingUnsignedTrailer => Some(Self::UnsignedTrailer),
            _ => None,
        }
    }

    const fn is_signed(self) -> bool {
        matches!(self, Self::Signed | Self::SignedTrailer)
    }

    const fn has_trailer(self) -> bool {
        matches!(self, Self::SignedTrailer | Self::UnsignedTrailer)
    }
}

/// Why framing could not be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// A size that is no hexadecimal number below 2^60, or none.
    Size,
    /// A size line or trailer line longer than the limit.
    LineTooLong,
    /// A chunk without the signature that the mode asks for, or one that is not 64 to 144 hexadecimal digits.
    Signature,
    /// A chunk that does not end in CR LF.
    ChunkEnd,
    /// A trailer line without a colon.
    Trailer,
    /// More trailer lines than the limit.
    TooManyTrailers,
    /// Octets after the end.
    AfterEnd,
}

impl Malformed {
    /// A stable word for reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Size => "invalid-chunk-size",
            Self::LineTooLong => "chunk-line-too-long",
            Self::Signature => "invalid-chunk-signature",
            Self::ChunkEnd => "invalid-chunk-end",
            Self::Trailer => "invalid-trailer",
            Self::TooManyTrailers => "too-many-trailers",
            Self::AfterEnd => "octets-after-end",
        }
    }
}

/// What is known of a framed body so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Octets of the object.
    pub object_bytes: u64,
    /// Chunks with data (the last, empty one aside) whose size line was seen.
    pub chunks: u64,
    /// The signature of the first chunk.
    pub first_signature: Option<Vec<u8>>,
    /// The signature of the latest chunk; with the end seen, that of the empty one.
    pub last_signature: Option<Vec<u8>>,
    /// The trailer, in order: name and value. The signature of a signed trailer is among them.
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether the end was seen.
    pub is_complete: bool,
    /// Why framing could not be followed; what stands before it holds all the same.
    pub malformed: Option<Malformed>,
}

/// Follows a framed body. Memory is bounded: one line and the trailer.
#[derive(Clone, Debug)]
pub struct Decoder {
    mode: Mode,
    state: State,
    line: Vec<u8>,
    summary: Summary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SizeLine,
    Data {
        left: u64,
    },
    /// CR LF after data; `seen_cr` tells that the CR was there.
    DataEnd {
        seen_cr: bool,
    },
    /// CR LF after the last chunk, or a trailer line.
    Trailer,
    Done,
    Broken,
}

impl Decoder {
    /// At the start of a body.
    pub fn new(mode: Mode) -> Self {
        Self { mode, state: State::SizeLine, line: Vec::new(), summary: Summary::default() }
    }

    /// Takes the next octets of the body; `object` is given the octets of the object in order.
    pub fn handle_data(&mut self, mut data: &[u8], mut object: impl FnMut(&[u8])) {
        while !data.is_empty() {
            match self.state {
                State::Data { left } => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                    let (now, rest) = data.split_at_checked(take).unwrap_or_default();
                    object(now);
                    data = rest;
                    self.summary.object_bytes = self.summary.object_bytes.saturating_add(now.len() as u64);
                    let left = left.saturating_sub(now.len() as u64);
                    self.state = if left == 0 { State::DataEnd { seen_cr: false } } else { State::Data { left } };
                }
                State::DataEnd { seen_cr } => {
                    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
                    data = rest;
                    self.state = match (seen_cr, first) {
                        (false, b'\r') => State::DataEnd { seen_cr: true },
                        (true, b'\n') => State::SizeLine,
                        _ => self.broken(Malformed::ChunkEnd),
                    };
                }
                State::SizeLine | State::Trailer => data = self.take_line(data),
                State::Done => {
                    self.summary.malformed = Some(Malformed::AfterEnd);
                    self.state = State::Broken;
                }
                State::Broken => return,
            }
        }
    }

    /// What is known so far.
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Collects up to the next LF; gives what comes after it.
    fn take_line<'d>(&mut self, data: &'d [u8]) -> &'d [u8] {
        let end = memchr::memchr(b'\n', data);
        let (now, rest) = match end {
            Some(at) => (data.get(..at).unwrap_or_default(), data.get(at + 1..).unwrap_or_default()),
            None => (data, &[][..]),
        };
        if self.line.len() + now.len() > LINE_BYTES_MAX {
            self.state = self.broken(Malformed::LineTooLong);
            return &[];
        }
        self.line.extend_from_slice(now);
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            let text = line.strip_suffix(b"\r").unwrap_or(&line);
            self.state = if self.state == State::SizeLine { self.after_size_line(text) } else { self.after_trailer_line(text) };
        }
        rest
    }

    fn after_size_line(&mut self, line: &[u8]) -> State {
        let end = memchr::memchr(b';', line).unwrap_or(line.len());
        let Some(size) = line.get(..end).and_then(parse_size) else {
            return self.broken(Malformed::Size);
        };
        let extensions = line.get(end..).unwrap_or_default();
        let signature =
            extensions.split(|byte| *byte == b';').find_map(|part| part.trim_ascii().strip_prefix(b"chunk-signature="));
        match signature {
            Some(signature) if is_signature(signature) => {
                if self.summary.first_signature.is_none() {
                    self.summary.first_signature = Some(signature.to_vec());
                }
                self.summary.last_signature = Some(signature.to_vec());
            }
            None if !self.mode.is_signed() => {}
            _ => return self.broken(Malformed::Signature),
        }
        if size > 0 {
            self.summary.chunks += 1;
            return State::Data { left: size };
        }
        State::Trailer
    }

    /// After the last chunk there is an empty line, or a trailer and then an empty line. Some clients end a trailer without
    /// the empty line, so a body with its last trailer line counts as whole.
    fn after_trailer_line(&mut self, line: &[u8]) -> State {
        if line.is_empty() {
            // The form without a signed trailer may have an empty line before the signature of the trailer.
            self.summary.is_complete = true;
            return State::Done;
        }
        let Some(at) = memchr::memchr(b':', line).filter(|at| *at > 0) else {
            return self.broken(Malformed::Trailer);
        };
        if self.summary.trailers.len() >= TRAILERS_MAX {
            return self.broken(Malformed::TooManyTrailers);
        }
        let name = line.get(..at).unwrap_or_default().trim_ascii().to_vec();
        let value = line.get(at + 1..).unwrap_or_default().trim_ascii().to_vec();
        self.summary.trailers.push((name, value));
        State::Trailer
    }

    const fn broken(&mut self, reason: Malformed) -> State {
        self.summary.malformed = Some(reason);
        State::Broken
    }
}

fn parse_size(digits: &[u8]) -> Option<u64> {
    let digits = digits.trim_ascii();
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// 64 hexadecimal digits for HMAC-SHA256, up to 144 for ECDSA (padded with `*`).
fn is_signature(signature: &[u8]) -> bool {
    (64..=144).contains(&signature.len()) && signature.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'*')
}

const LINE_BYTES_MAX: usize = 4096;
const TRAILERS_MAX: usize = 32;
