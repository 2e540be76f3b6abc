//! A head that every reader reads alike, as nearly all programs send it: start line, fields of one line each, CRLF behind
//! each. Whatever is taken here, httparse takes with the same result; the rest is left to it.

use std::ops::Range;

use crate::decode::http1::head::{FIELDS_MAX, Head, StartLine, reason};
use crate::decode::http1::lenient::is_token;
use crate::decode::http1::notes::Notes;
use crate::model::{HeaderName, Headers, Side, Version};

/// Reads the head at the start of `bytes` and tells its length; `None` where it is not whole or not plain.
pub(super) fn read(from: Side, bytes: &[u8], fields_max: usize) -> Option<(Head, usize)> {
    let mut ends = [0; FIELDS_MAX + 1];
    let (count, length) = line_ends(bytes, &mut ends)?;
    let (first, fields) = ends.get(..count)?.split_first()?;
    if fields.len() > fields_max {
        return None;
    }
    let text = bytes.get(..length)?;
    let (start, version) = start_line(from, text, *first as usize)?;
    let mut headers = Headers::over(text.to_vec(), fields.len());
    let mut at = *first as usize + CRLF.len();
    for end in fields {
        let end = *end as usize;
        let colon = colon(text, at, end)?;
        let known = headers.push(at..colon, value(text, colon + 1, end));
        if known == HeaderName::Other && !(at < colon && text.get(at..colon)?.iter().all(|byte| is_token(*byte))) {
            return None;
        }
        at = end + CRLF.len();
    }
    Some((Head { start, version, headers, notes: Notes::default() }, length))
}

/// Fills in where each line's CR is, up to the empty line; gives how many there are, and the length of it all. `None` where
/// something else than lines of visible ASCII, blanks and CRLF comes before.
fn line_ends(bytes: &[u8], ends: &mut [u32; FIELDS_MAX + 1]) -> Option<(usize, usize)> {
    let (mut line, mut at, mut count) = (0, 0, 0);
    loop {
        at += octets_before_odd(bytes.get(at..)?)?;
        if bytes.get(at..at + CRLF.len())? != CRLF {
            return None;
        }
        if at == line {
            return Some((count, at + CRLF.len()));
        }
        *ends.get_mut(count)? = u32::try_from(at).ok()?;
        count += 1;
        at += CRLF.len();
        line = at;
    }
}

/// How many octets are visible ASCII or SP before the first that is not; `None` where all are. Many are looked at in one step
/// where they are all alike, then eight.
#[inline]
fn octets_before_odd(bytes: &[u8]) -> Option<usize> {
    let (blocks, rest) = bytes.as_chunks::<32>();
    // Compilers make a few instructions of a loop over a block that has no way out.
    let is_plain = |block: &&[u8; 32]| !block.iter().fold(false, |odd, byte| odd | is_odd(*byte));
    let clean = blocks.iter().take_while(is_plain).count();
    let block = blocks.get(clean).map_or(rest, <[u8; 32]>::as_slice);
    let (words, rest) = block.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let marks = odd_octets(u64::from_le_bytes(*word));
        if marks != 0 {
            return Some(clean * 32 + index * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    let found = rest.iter().position(|byte| is_odd(*byte))?;
    Some(clean * 32 + words.len() * 8 + found)
}

/// Whether an octet is neither visible ASCII nor SP.
const fn is_odd(byte: u8) -> bool {
    byte.wrapping_sub(b' ') > b'~' - b' '
}

/// Marks the octets below SP, DEL and those beyond ASCII in their highest bit. A carry out of one octet may mark the next, so
/// that only the lowest mark counts.
const fn odd_octets(word: u64) -> u64 {
    (word.wrapping_sub(BLANKS) | word.wrapping_add(LOW_BITS)) & HIGH_BITS
}

fn start_line(from: Side, text: &[u8], end: usize) -> Option<(StartLine, Version)> {
    let line = text.get(..end)?;
    match from {
        Side::Client => {
            let (rest, version) = line.split_at_checked(end.checked_sub(VERSION_BYTES)?)?;
            let (rest, version) = (rest.strip_suffix(b" ")?, version_of(version)?);
            let method = rest.iter().position(|byte| !byte.is_ascii_uppercase())?;
            let target = rest.get(method..)?.strip_prefix(b" ")?;
            // All octets are visible or blank by now.
            let is_one_word = !target.is_empty() && memchr::memchr(b' ', target).is_none();
            (method > 0 && is_one_word)
                .then_some((StartLine::Request { method: 0..method, target: method + 1..rest.len() }, version))
        }
        Side::Server => {
            let version = version_of(line.get(..VERSION_BYTES)?)?;
            let (code, rest) = line.get(VERSION_BYTES..)?.strip_prefix(b" ")?.split_first_chunk::<3>()?;
            let is_code = code.iter().all(u8::is_ascii_digit) && matches!(rest.first(), None | Some(b' '));
            let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit.wrapping_sub(b'0')));
            is_code.then(|| (StartLine::Status { code, reason: reason(text) }, version))
        }
    }
}

fn version_of(word: &[u8]) -> Option<Version> {
    match word {
        b"HTTP/1.1" => Some(Version::Http11),
        b"HTTP/1.0" => Some(Version::Http10),
        _ => None,
    }
}

/// Where the colon of a field line is: eight octets at a time, since names are short and a call would cost more.
fn colon(text: &[u8], start: usize, end: usize) -> Option<usize> {
    let mut at = start;
    while let Some(octets) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let difference = u64::from_le_bytes(*octets) ^ COLONS;
        // The lowest octet marked here is a colon; those above may be marked by its borrow.
        let marks = difference.wrapping_sub(LOW_BITS) & !difference & HIGH_BITS;
        if marks != 0 {
            at += marks.trailing_zeros() as usize / 8;
            return (at < end).then_some(at);
        }
        at += octets.len();
        if at >= end {
            return None;
        }
    }
    let rest = text.get(at..end)?;
    rest.iter().position(|byte| *byte == b':').map(|found| at + found)
}

/// The value without the white space around it (RFC 9110 section 5.5).
fn value(text: &[u8], start: usize, end: usize) -> Range<usize> {
    let is_blank = |at: usize| text.get(at) == Some(&b' ');
    let (mut from, mut to) = (start, end);
    while from < to && is_blank(from) {
        from += 1;
    }
    while from < to && is_blank(to - 1) {
        to -= 1;
    }
    from..to
}

const CRLF: &[u8] = b"\r\n";
const VERSION_BYTES: usize = b"HTTP/1.1".len();

const BLANKS: u64 = 0x2020_2020_2020_2020;
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
const COLONS: u64 = 0x3a3a_3a3a_3a3a_3a3a;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::http1::head::{Parsed, parse_odd};
    use proptest::prelude::*;

    /// What a head is, to be compared.
    type Read = (Version, Vec<u8>, Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>, Notes, usize);

    fn told(head: &Head, length: usize) -> Read {
        let text = head.headers.text();
        let part = |range: &Range<usize>| text.get(range.clone()).unwrap().to_vec();
        let (first, second) = match &head.start {
            StartLine::Request { method, target } => (part(method), part(target)),
            StartLine::Status { code, reason } => (code.to_string().into_bytes(), part(reason)),
        };
        let fields = head.headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        (head.version, first, second, fields, head.notes, length)
    }

    /// Holds a plain reading to that of httparse; tells whether it was plain.
    fn agrees(from: Side, bytes: &[u8], fields_max: usize) -> bool {
        let Some((head, length)) = read(from, bytes, fields_max) else { return false };
        let Parsed::Whole(expected, expected_length) = parse_odd(from, bytes, fields_max) else {
            panic!("only plain: {:?}", bytes.escape_ascii().to_string())
        };
        assert_eq!(told(&head, length), told(&expected, expected_length), "{:?}", bytes.escape_ascii().to_string());
        assert!(head.headers.names() == expected.headers.names());
        true
    }

    #[test]
    fn usual_heads_are_plain() {
        let put = b"PUT /b/k%20?partNumber=1&uploadId=x HTTP/1.1\r\nHost: s3:9000\r\nX-Odd_Name:  v \r\nexpect:100-continue\r\nEmpty:\r\nBlank: \r\n\r\nbody";
        assert!(agrees(Side::Client, put, 64));
        assert!(agrees(Side::Client, b"GET / HTTP/1.0\r\n\r\n", 0));
        assert!(agrees(Side::Server, b"HTTP/1.1 206 Partial Content\r\nETag: \"x\"\r\nServer: ~\r\n\r\n", 64));
        assert!(agrees(Side::Server, b"HTTP/1.0 204\r\nte:x y\r\n\r\n", 64));
    }

    #[test]
    fn what_readers_may_differ_on_is_not_plain() {
        for head in [
            &b"GET / HTTP/1.1\r\nHost: x\r\n"[..],
            b"GET / HTTP/1.1\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\rY: z\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: \0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: \x7f\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: \xff\xff\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost:\tx\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\n: x\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.2\r\n\r\n",
            b"get / HTTP/1.1\r\n\r\n",
            b"GET /\xc3\xa4 HTTP/1.1\r\n\r\n",
            b"\r\nGET / HTTP/1.1\r\n\r\n",
            b"\r\n",
        ] {
            assert!(read(Side::Client, head, 64).is_none(), "{:?}", head.escape_ascii().to_string());
        }
        for head in
            [&b"HTTP/1.1 2000 OK\r\n\r\n"[..], b"HTTP/1.1  200 OK\r\n\r\n", b"HTTP/1.1 20x\r\n\r\n", b"ICY 200 OK\r\n\r\n"]
        {
            assert!(read(Side::Server, head, 64).is_none(), "{:?}", head.escape_ascii().to_string());
        }
        assert!(read(Side::Client, b"GET / HTTP/1.1\r\na: b\r\nc: d\r\n\r\n", 1).is_none());
    }

    proptest! {
        #[test]
        fn no_plain_reading_differs_from_that_of_httparse(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "GET ", "PUT /b/k", " HTTP/1.1", "HTTP/1.1 ", "HTTP/1.0", "200", " OK", "\r\n", "\r\n", "\r\n", "Host", ":", ": ", ":\t",
                " ", "\t", "\n", "\r", "\u{7f}", "\u{0}", "x-amz-date", "X_y", "value", "\u{e4}", "(", "te", "\u{1f}", "/",
            ]), 0..24),
            fields_max in 0..5_usize,
        ) {
            let text = pieces.concat();
            for start in ["", "GET / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n"] {
                let bytes = format!("{start}{text}\r\n\r\n").into_bytes();
                agrees(Side::Client, &bytes, fields_max);
                agrees(Side::Server, &bytes, fields_max);
            }
        }
    }
}
