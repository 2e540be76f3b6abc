//! How long a message is (RFC 9112 section 6.3). Where fields conflict, a strict recipient refuses the message; a passive
//! reader cannot, so it names the conflict and takes the reading below:
//!
//! - `Transfer-Encoding` that ends in `chunked` wins over any `Content-Length`, in HTTP/1.0 too.
//! - `chunked` that is not last (`chunked, identity`): chunked in requests, until close in responses.
//! - Any other coding (`xchunked`, `identity`): as if it were not there.
//! - Several lengths: the longest, so that no octet of the body is taken for a message.
//! - A length such as `+5` or `5;x`: its digits, in base ten also behind zeros. One without usable digits (`-5`, `0x5`, or
//!   beyond 63 bits, where readers overflow and no body can reach): none.
//! - No usable length: no body for requests, until close for responses.

use crate::decode::http1::notes::Notes;
use crate::model::{Anomaly, Framing, HeaderName, Headers, Version};

/// What the fields of one head say about its body and its connection, gathered in one pass.
#[derive(Default)]
pub(super) struct Facts {
    hosts: usize,
    length: Length,
    coding: Coding,
}

#[derive(Clone, Copy, Default)]
struct Length {
    longest: Option<u64>,
    first: Option<u64>,
    fields: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    Absent,
    /// No coding is `chunked`.
    Unknown,
    /// `chunked` is the last one.
    Chunked,
    /// `chunked` is followed by another one.
    ChunkedNotLast,
}

impl Facts {
    /// Reads the fields, and names what is odd about those that frame the message.
    pub(super) fn of(headers: &Headers, version: Version, notes: &mut Notes) -> Self {
        let mut facts = Self::default();
        headers.all(HeaderName::ContentLength).for_each(|value| facts.add_length(value, notes));
        headers.all(HeaderName::TransferEncoding).for_each(|value| facts.add_coding(value, notes));
        facts.hosts = headers.all(HeaderName::Host).count();
        if facts.coding != Coding::Absent {
            if facts.length.fields > 0 {
                notes.add(Anomaly::LengthAndTransferEncoding);
            }
            if version != Version::Http11 {
                notes.add(Anomaly::TransferEncodingInHttp10);
            }
        }
        facts
    }

    /// Names a `Host` that is missing from HTTP/1.1, or there more than once.
    pub(super) const fn check_host(&self, version: Version, notes: &mut Notes) {
        if self.hosts > 1 || (self.hosts == 0 && matches!(version, Version::Http11)) {
            notes.add(Anomaly::InvalidHost);
        }
    }

    /// The framing of a request.
    pub(super) fn of_request(&self, method: &[u8], notes: &mut Notes) -> Framing {
        let framing = match self.coding {
            Coding::Chunked | Coding::ChunkedNotLast => Framing::Chunked,
            Coding::Absent | Coding::Unknown => self.length.longest.map_or(Framing::None, Framing::Length),
        };
        let bodiless = matches!(method, b"GET" | b"HEAD" | b"TRACE" | b"CONNECT");
        if bodiless && !matches!(framing, Framing::None | Framing::Length(0)) {
            notes.add(Anomaly::UnexpectedBody);
        }
        framing
    }

    /// The framing of a final response to a request of this method (empty where it is not known).
    pub(super) fn of_response(&self, method: &[u8], status: u16, notes: &mut Notes) -> Framing {
        if status == 101 || (method == b"CONNECT" && (200..300).contains(&status)) {
            return Framing::Tunnel;
        }
        if status == 204 && (self.coding != Coding::Absent || self.length.longest.is_some_and(|length| length > 0)) {
            notes.add(Anomaly::UnexpectedBody);
        }
        if method == b"HEAD" || matches!(status, 204 | 304) {
            return Framing::None;
        }
        match self.coding {
            Coding::Chunked => Framing::Chunked,
            Coding::ChunkedNotLast => Framing::UntilClose,
            Coding::Absent | Coding::Unknown => self.length.longest.map_or(Framing::UntilClose, Framing::Length),
        }
    }

    fn add_length(&mut self, value: &[u8], notes: &mut Notes) {
        if self.length.fields == 0
            && let Some(length) = plain_length(value)
        {
            self.length = Length { longest: Some(length), first: Some(length), fields: 1 };
            return;
        }
        for text in value.split(|&byte| byte == b',') {
            let text = text.trim_ascii();
            self.length.fields = self.length.fields.saturating_add(1);
            // Behind a zero, some readers take digits for octal.
            let plain = text.iter().all(u8::is_ascii_digit) && matches!(text, [b'1'..=b'9', ..] | [b'0']);
            let length = if plain { decimal(text) } else { odd_decimal(text) }.filter(|length| *length <= LENGTH_MAX);
            if !plain || length.is_none() {
                notes.add(Anomaly::InvalidLength);
            }
            if self.length.fields > 1 {
                let same = length.is_some() && self.length.first == length;
                notes.add(if same { Anomaly::RepeatedLength } else { Anomaly::ConflictingLengths });
            } else {
                self.length.first = length;
            }
            self.length.longest = self.length.longest.max(length);
        }
    }

    fn add_coding(&mut self, value: &[u8], notes: &mut Notes) {
        let first = self.coding == Coding::Absent;
        if !first || !value.eq_ignore_ascii_case(b"chunked") {
            notes.add(Anomaly::InvalidTransferEncoding);
        }
        if first {
            self.coding = Coding::Unknown;
        }
        for coding in value.split(|&byte| byte == b',').map(|coding| coding.trim_ascii()).filter(|coding| !coding.is_empty()) {
            self.coding = match (coding.eq_ignore_ascii_case(b"chunked"), self.coding) {
                (true, _) => Coding::Chunked,
                (false, Coding::Chunked | Coding::ChunkedNotLast) => Coding::ChunkedNotLast,
                (false, _) => Coding::Unknown,
            };
        }
    }
}

/// Reads a chunk-size line without its LF; `None` where it holds no size.
pub(super) fn chunk_size(line: &[u8], notes: &mut Notes) -> Option<u64> {
    let line = match line {
        [line @ .., b'\r'] => line,
        line => {
            notes.add(Anomaly::BareLineFeed);
            line
        }
    };
    let end = memchr::memchr(b';', line).unwrap_or(line.len());
    let size = line.get(..end)?;
    // RFC 9112 section 7.1.1 allows white space before an extension.
    let size = if end < line.len() { size.trim_ascii_end() } else { size };
    let (size, radix_mark) = match size.trim_ascii() {
        [b'0', b'x' | b'X', digits @ ..] | [b'+', digits @ ..] => (digits, true),
        digits => (digits, digits.len() != size.len()),
    };
    let count = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if count == 0 {
        return None;
    }
    let value = size
        .iter()
        .take(count)
        .try_fold(0u64, |value, &digit| value.checked_mul(16)?.checked_add(u64::from(char::from(digit).to_digit(16)?)))?;
    if radix_mark || count < size.len() || count >= CHUNK_DIGITS_SUSPECT {
        notes.add(Anomaly::InvalidChunkSize);
    }
    if end < line.len() {
        notes.add(Anomaly::ChunkExtension);
    }
    Some(value)
}

/// Sizes of so many digits overflow 64 bits in some readers or are padded to confuse others.
const CHUNK_DIGITS_SUSPECT: usize = 16;

/// No body is longer; many readers keep a length in a signed number.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// A length as nearly all are written: few digits, and no zero before them.
#[inline]
fn plain_length(value: &[u8]) -> Option<u64> {
    let is_plain = matches!(value, [b'1'..=b'9', ..] | [b'0']) && value.len() <= PLAIN_DIGITS_MAX;
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    if is_plain { value.iter().try_fold(0, |length, byte| Some(length * 10 + digit(byte)?)) } else { None }
}

/// So many digits fit whatever they are.
const PLAIN_DIGITS_MAX: usize = 18;

fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, &digit| value.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0'))))
}

fn odd_decimal(text: &[u8]) -> Option<u64> {
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 || matches!(text.get(count), Some(b'x' | b'X')) {
        return None;
    }
    decimal(text.get(..count)?)
}
