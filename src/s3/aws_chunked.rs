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
    was_empty_line: bool,
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
    /// After the end. `line_ends` counts the octets of an empty line too many, which minio-go sends.
    Done {
        line_ends: u8,
    },
    Broken,
}

/// A piece of a framed body, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'d> {
    /// A size line: a chunk begins; the last one is empty.
    Chunk {
        /// Its signature, where the mode signs chunks.
        signature: Option<&'d [u8]>,
    },
    /// Bytes of the object.
    Data(&'d [u8]),
}

impl Decoder {
    /// At the start of a body.
    pub fn new(mode: Mode) -> Self {
        Self { mode, state: State::SizeLine, line: Vec::new(), was_empty_line: false, summary: Summary::default() }
    }

    /// Takes the next octets of the body; `object` is given the octets of the object in order.
    pub fn handle_data(&mut self, data: &[u8], mut object: impl FnMut(&[u8])) {
        self.handle_parts(data, |part| {
            if let Part::Data(data) = part {
                object(data);
            }
        });
    }

    /// As [`Decoder::handle_data`]; `take` is given the beginnings of chunks too.
    pub fn handle_parts(&mut self, mut data: &[u8], mut emit: impl FnMut(Part<'_>)) {
        while !data.is_empty() {
            match self.state {
                State::Data { left } => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                    let (now, rest) = data.split_at_checked(take).unwrap_or_default();
                    emit(Part::Data(now));
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
                State::SizeLine => {
                    data = self.take_line(data);
                    if matches!(self.state, State::Data { .. } | State::Trailer) {
                        emit(Part::Chunk { signature: self.summary.last_signature.as_deref() });
                    }
                }
                State::Trailer => data = self.take_line(data),
                State::Done { line_ends } => {
                    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
                    data = rest;
                    self.state = match (line_ends, first) {
                        (0, b'\r') | (1, b'\n') => State::Done { line_ends: line_ends + 1 },
                        _ => self.broken(Malformed::AfterEnd),
                    };
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

    /// After the last chunk there is an empty line, or a trailer and then an empty line. minio-go sends an empty line before
    /// the signature of a trailer as well.
    fn after_trailer_line(&mut self, line: &[u8]) -> State {
        if line.is_empty() {
            let last = self.summary.trailers.last().map(|(name, _)| name.as_slice());
            let lacks_signature = self.mode == Mode::SignedTrailer
                && last.is_some_and(|name| !name.eq_ignore_ascii_case(b"x-amz-trailer-signature"));
            if lacks_signature && !self.was_empty_line {
                self.was_empty_line = true;
                return State::Trailer;
            }
            self.summary.is_complete = !lacks_signature;
            return State::Done { line_ends: 0 };
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIGNATURE: &str = "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648";

    /// Frames `object` in chunks of `size` as the mode wants it.
    fn frame(mode: Mode, object: &[u8], size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let extension = if mode.is_signed() { format!(";chunk-signature={SIGNATURE}") } else { String::new() };
        for chunk in object.chunks(size) {
            out.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
            out.extend(chunk);
            out.extend(b"\r\n");
        }
        out.extend(format!("0{extension}\r\n").bytes());
        match mode {
            Mode::Signed => {}
            Mode::SignedTrailer => {
                out.extend(format!("x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{SIGNATURE}\r\n").bytes());
            }
            Mode::UnsignedTrailer => out.extend(b"x-amz-checksum-crc64nvme:9z1FSAMn0Vw=\r\n"),
        }
        out.extend(b"\r\n");
        out
    }

    fn decode(mode: Mode, pieces: &[&[u8]]) -> (Vec<u8>, Summary) {
        let mut decoder = Decoder::new(mode);
        let mut object = Vec::new();
        for piece in pieces {
            decoder.handle_data(piece, |octets| object.extend_from_slice(octets));
        }
        (object, decoder.summary().clone())
    }

    #[test]
    fn an_empty_marker_is_86_octets() {
        let framed = frame(Mode::Signed, b"", 1);
        assert_eq!(framed.len(), 86);
        let (object, summary) = decode(Mode::Signed, &[&framed]);
        assert_eq!((object.len(), summary.chunks, summary.is_complete, summary.malformed), (0, 0, true, None));
        assert_eq!(summary.last_signature.as_deref(), Some(SIGNATURE.as_bytes()));
    }

    #[test]
    fn trailers_and_signatures_are_found() {
        let (object, summary) = decode(Mode::SignedTrailer, &[&frame(Mode::SignedTrailer, b"hello", 3)]);
        assert_eq!((&*object, summary.object_bytes, summary.chunks, summary.is_complete), (&b"hello"[..], 5, 2, true));
        assert_eq!(summary.trailers[0], (b"x-amz-checksum-crc32c".to_vec(), b"sOO8/Q==".to_vec()));
        assert_eq!(summary.trailers[1].0, b"x-amz-trailer-signature");
        let (_, summary) = decode(Mode::UnsignedTrailer, &[&frame(Mode::UnsignedTrailer, b"hello", 9)]);
        assert_eq!((summary.first_signature, summary.trailers.len(), summary.is_complete), (None, 1, true));
    }

    #[test]
    fn the_empty_lines_of_minio_go_are_taken() {
        let signed =
            format!("0;chunk-signature={SIGNATURE}\r\nx-amz-checksum-crc32c:a\n\r\nx-amz-trailer-signature:{SIGNATURE}\r\n\r\n");
        let unsigned = "0\r\nx-amz-checksum-crc32c:a\n\r\n\r\n".to_owned();
        for (mode, body, trailers) in [(Mode::SignedTrailer, signed, 2), (Mode::UnsignedTrailer, unsigned, 1)] {
            let (_, summary) = decode(mode, &[body.as_bytes()]);
            assert_eq!((summary.is_complete, summary.malformed, summary.trailers.len()), (true, None, trailers));
        }
    }

    #[test]
    fn what_breaks_the_framing_is_named() {
        let long = "1".repeat(LINE_BYTES_MAX + 1);
        let many = format!("0\r\n{}", "a:b\r\n".repeat(TRAILERS_MAX + 1));
        for (mode, body, reason) in [
            (Mode::UnsignedTrailer, "x\r\n", Malformed::Size),
            (Mode::UnsignedTrailer, "\r\n", Malformed::Size),
            (Mode::UnsignedTrailer, "ffffffffffffffff\r\n", Malformed::Size),
            (Mode::UnsignedTrailer, "-1\r\n", Malformed::Size),
            (Mode::UnsignedTrailer, &long, Malformed::LineTooLong),
            (Mode::Signed, "3\r\nabc\r\n", Malformed::Signature),
            (Mode::Signed, "3;chunk-signature=12\r\nabc\r\n", Malformed::Signature),
            (Mode::UnsignedTrailer, "3\r\nabcd", Malformed::ChunkEnd),
            (Mode::UnsignedTrailer, "0\r\nabc\r\n", Malformed::Trailer),
            (Mode::UnsignedTrailer, &many, Malformed::TooManyTrailers),
            (Mode::UnsignedTrailer, "0\r\n\r\nmore", Malformed::AfterEnd),
        ] {
            assert_eq!(decode(mode, &[body.as_bytes()]).1.malformed, Some(reason), "{}", reason.label());
        }
    }

    #[test]
    fn a_body_cut_short_is_not_complete() {
        let framed = frame(Mode::SignedTrailer, b"hello", 3);
        for end in 0..framed.len() {
            assert!(!decode(Mode::SignedTrailer, &[&framed[..end]]).1.is_complete, "{end}");
        }
    }

    fn modes() -> impl Strategy<Value = Mode> {
        prop_oneof![Just(Mode::Signed), Just(Mode::SignedTrailer), Just(Mode::UnsignedTrailer)]
    }

    proptest! {
        #[test]
        fn any_cutting_equals_the_whole(mode in modes(), object in prop::collection::vec(any::<u8>(), 0..400), size in 1_usize..200, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
            let framed = frame(mode, &object, size);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(framed.len() + 1)).collect();
            cuts.extend([0, framed.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &framed[pair[0]..pair[1]]).collect();
            let (read, summary) = decode(mode, &pieces);
            prop_assert_eq!(&read, &object);
            prop_assert_eq!(summary.object_bytes, object.len() as u64);
            prop_assert!(summary.is_complete && summary.malformed.is_none());
            prop_assert_eq!((read, summary), decode(mode, &[&framed]));
        }

        #[test]
        fn any_octets_are_survived(mode in modes(), body in prop::collection::vec(prop::sample::select(b"01aF;:=\r\n x-".to_vec()), 0..120), at in 0_usize..120) {
            let (start, end) = body.split_at(at.min(body.len()));
            prop_assert_eq!(decode(mode, &[start, end]), decode(mode, &[&body]));
        }
    }
}
